//! The cluster of a service: what all routes to it share of its targets, and what outlives every change of them.
//!
//! Each compiled endpoint has [`Members`] of its own, as they were declared for it, so that a change that is only checked, or
//! is not committed, touches nothing that runs. What they know and how far balancing has come is found here by what it is
//! about ([ADR 23](../../../docs/adr/0023-what-is-known-of-a-target-outlives-its-declaration.md)).

use std::fmt;
use std::sync::Arc;

use portcullis_core::model::ServiceId;

use crate::backend::Backend;
use crate::balance::round_robin::RoundRobin;
use crate::balance::{Balance, Memory, Tried};
use crate::member::{Member, MemberId, MemberState};
use crate::pool_key::Spoken;
use crate::weak_map::WeakMap;

/// The clusters of all services that something compiled holds.
#[derive(Debug, Default)]
pub struct Clusters(WeakMap<ServiceId, Cluster>);

impl Clusters {
    /// The cluster of a service: the one there is, or a new one.
    pub fn of(&self, id: &ServiceId) -> Arc<Cluster> {
        self.0.of(id, Cluster::default)
    }
}

/// What is kept of a service's targets.
#[derive(Debug, Default)]
pub struct Cluster {
    memory: Memory,
    states: WeakMap<MemberId, MemberState>,
}

impl Cluster {
    /// Members as they are declared, with the weight of each. What is known of those that are there already goes along;
    /// nothing of it changes.
    pub fn members(self: Arc<Self>, declared: impl IntoIterator<Item = (Backend, u16)>) -> Members {
        let member = |(backend, weight)| Member {
            state: self.states.of(&MemberId::of(&backend), MemberState::default),
            backend,
            weight,
        };
        let all: Box<[Member]> = declared.into_iter().map(member).collect();
        let balance = RoundRobin::new(all.iter().map(|member| member.weight), &self.memory.turn);
        let speak_http2 = all.iter().all(|member| member.backend.pool.spoken == Spoken::Http2);
        Members { all, balance: Box::new(balance), speak_http2, _cluster: self }
    }
}

/// The targets of a service as one endpoint was compiled with them.
pub struct Members {
    all: Box<[Member]>,
    balance: Box<dyn Balance>,
    speak_http2: bool,
    /// It is there for as long as an endpoint needs it.
    _cluster: Arc<Cluster>,
}

impl Members {
    /// The target for the next attempt of a call, which then has tried it.
    pub fn pick(&self, tried: &mut Tried) -> Option<&Member> {
        if tried.is_full() {
            return None;
        }
        let position = self.balance.pick(&self.all, tried)?;
        tried.add(position);
        self.all.get(position)
    }

    /// Whether all of them are spoken to in HTTP/2 alone.
    pub fn speak_http2(&self) -> bool {
        self.speak_http2
    }

    /// The target a new call would go to now. It takes nobody's turn.
    pub fn peek(&self) -> Option<&Member> {
        self.balance.peek(&self.all).and_then(|position| self.all.get(position))
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("all", &self.all).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{backend, service};
    use crate::weak_map::FEW;

    fn members(clusters: &Clusters, targets: &[&str]) -> Members {
        clusters.of(&service("orders/v1")).members(targets.iter().map(|url| (backend(url), 1)))
    }

    fn picked(members: &Members) -> String {
        members.pick(&mut Tried::default()).expect("a member").backend.url.authority().to_string()
    }

    #[test]
    fn a_service_that_is_declared_anew_goes_on_where_it_was() {
        let clusters = Clusters::default();
        let mut former = members(&clusters, &["http://a", "http://b"]);
        let picks: Vec<_> = (0..6)
            .map(|_| {
                former = members(&clusters, &["http://a", "http://b"]);
                picked(&former)
            })
            .collect();
        assert_eq!(picks, ["a", "b", "a", "b", "a", "b"]);
    }

    #[test]
    fn routes_to_one_service_take_turns_and_those_to_others_do_not() {
        let clusters = Clusters::default();
        let (one, other) =
            (members(&clusters, &["http://a", "http://b"]), members(&clusters, &["http://a", "http://b"]));
        let stranger = clusters.of(&service("orders/v2")).members([(backend("http://a"), 1), (backend("http://b"), 1)]);
        let picks = [&one, &other, &stranger, &other, &one, &stranger].map(picked);
        assert_eq!(picks, ["a", "b", "a", "a", "b", "b"]);
    }

    #[test]
    fn members_that_stay_keep_their_state_and_those_that_come_have_their_own() {
        let clusters = Clusters::default();
        let former = members(&clusters, &["http://a", "http://b", "http://a/base"]);
        former.all[0].state.has_failed();
        assert_eq!(former.all[2].state.failures(), 1, "it is the same server");
        let next = members(&clusters, &["http://c", "http://a:81", "http://a"]);
        drop(former);
        assert_eq!(next.all.iter().map(|member| member.state.failures()).collect::<Vec<_>>(), [0, 0, 1]);
        // One that was taken out and comes again is not known any more.
        let without = members(&clusters, &["http://c"]);
        drop(next);
        let again = members(&clusters, &["http://a"]);
        assert_eq!(again.all[0].state.failures(), 0);
        drop(without);
    }

    #[test]
    fn what_is_only_checked_changes_nothing_that_runs() {
        let clusters = Clusters::default();
        let running = members(&clusters, &["http://a", "http://b"]);
        let mut picks = Vec::new();
        for _ in 0..6 {
            let checked = members(&clusters, &["http://b", "http://c", "http://d"]);
            assert!(checked.peek().is_some());
            picks.push(picked(&running));
        }
        assert_eq!(picks, ["a", "b", "a", "b", "a", "b"]);
    }

    #[test]
    fn what_nobody_holds_is_let_go() {
        let clusters = Clusters::default();
        let held: Vec<_> = (0..100).map(|number| clusters.of(&service(&format!("held/v{number}")))).collect();
        for number in 0..10_000 {
            drop(clusters.of(&service(&format!("gone/v{number}"))));
        }
        let entries = clusters.0.len();
        assert!((100..=2 * 100 + FEW).contains(&entries), "{entries}");
        drop(held);
        let cluster = clusters.of(&service("orders/v1"));
        for number in 0..10_000 {
            drop(Arc::clone(&cluster).members([(backend(&format!("http://a{number}")), 1)]));
        }
        assert!(cluster.states.len() <= FEW);
    }
}
