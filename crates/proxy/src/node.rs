//! What every call on this node shares: settings, the access log, counters.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::address::Network;
use portcullis_core::canonical::Host;
use portcullis_core::message::FieldValue;
use portcullis_core::ports::{AccessLog, Clock, Welcome};
use portcullis_routing::Claims;
use portcullis_telemetry::Counters;

use crate::challenges::Challenges;
use crate::limits::{Limits, Timeouts};
use crate::proxy_protocol::ProxyProtocol;
use crate::redirect::Redirect;
use crate::tls::Termination;

/// What every call on this node shares.
#[derive(Clone)]
pub struct Node {
    /// The name this node goes by in `Via`; a call that carries it already goes in a circle.
    pub pseudonym: FieldValue,
    /// Bounds.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Peers whose `X-Forwarded-*`, `Forwarded`, `X-Request-Id` and PROXY protocol are believed.
    pub trusted_proxies: Vec<Network>,
    /// Hosts, in lower case and without a port, for which a trusted proxy may say that a call was.
    pub forwarded_hosts: Vec<String>,
    /// Whether connections begin with the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// What ends TLS on the listeners that have it.
    pub tls: Option<Arc<Termination>>,
    /// What certificate authorities look for here while they issue.
    pub challenges: Option<Arc<dyn Challenges>>,
    /// What answers over TLS carry in `Strict-Transport-Security`.
    pub strict_transport: Option<FieldValue>,
    /// What answers over TLS carry in `Alt-Svc`: that HTTP/3 is spoken too.
    pub alternative: Option<FieldValue>,
    /// Where calls in clear are sent.
    pub redirect: Option<Redirect>,
    /// Where records go.
    pub log: Arc<dyn AccessLog>,
    /// Whether those who were let in are still welcome.
    pub welcome: Arc<dyn Welcome>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What happens outside of calls.
    pub counters: Arc<Counters>,
    /// Whom calls claim to be of.
    pub claims: Option<Arc<Claims>>,
}

impl Node {
    /// A node that serves in clear, believes nobody, and has every bound as it is by default.
    pub fn plain(log: Arc<dyn AccessLog>, welcome: Arc<dyn Welcome>, clock: Arc<dyn Clock>) -> Self {
        Self {
            pseudonym: FieldValue::from_static("gate"),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            trusted_proxies: Vec::new(),
            forwarded_hosts: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            tls: None,
            challenges: None,
            strict_transport: None,
            alternative: None,
            redirect: None,
            log,
            welcome,
            clock,
            counters: Arc::default(),
            claims: None,
        }
    }

    /// The same for one worker alone, which gets its own way into the access log if there is one.
    pub(crate) fn for_one_worker(&self) -> Self {
        Self { log: self.log.lane().unwrap_or_else(|| Arc::clone(&self.log)), ..self.clone() }
    }

    /// Whether a peer is a proxy whose word counts.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(peer))
    }

    /// Whether a host that a proxy names is one this node is known by. Ports do not matter.
    pub fn goes_by(&self, host: &Host) -> bool {
        self.forwarded_hosts.iter().any(|known| known == host.name())
    }

    /// Whether callers reach this node over TLS by a host.
    pub(crate) fn is_known(&self, host: &Host) -> bool {
        self.goes_by(host) || self.tls.as_ref().is_some_and(|tls| tls.covers(host.name()))
    }
}

/// A node for tests.
#[cfg(test)]
pub(crate) mod testing {
    use async_trait::async_trait;
    use portcullis_core::call::AdmittedBy;
    use portcullis_core::memory::ManualClock;
    use portcullis_core::record::Record;

    use super::*;

    /// To whom everybody is welcome, and who keeps no records.
    pub(crate) struct Anybody;

    #[async_trait]
    impl Welcome for Anybody {
        async fn stands(&self, _: &AdmittedBy) -> bool {
            true
        }
    }

    impl AccessLog for Anybody {
        fn write(&self, _: &Record) {}
    }

    /// One at a clock that stands still.
    pub(crate) fn node() -> Node {
        at(Arc::new(ManualClock::at(1_000_000_000)))
    }

    /// One at this clock.
    pub(crate) fn at(clock: Arc<dyn Clock>) -> Node {
        Node::plain(Arc::new(Anybody), Arc::new(Anybody), clock)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use portcullis_core::memory::ManualClock;
    use portcullis_core::record::Record;

    use super::testing::Anybody;
    use super::*;

    /// Has lanes, and counts those who came for one.
    struct Roads(AtomicUsize);

    struct Lane;

    impl AccessLog for Roads {
        fn write(&self, _: &Record) {}
        fn lane(&self) -> Option<Arc<dyn AccessLog>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Some(Arc::new(Lane))
        }
    }

    impl AccessLog for Lane {
        fn write(&self, _: &Record) {}
    }

    #[test]
    fn each_worker_has_a_lane_of_the_log_if_the_log_has_lanes() {
        let roads = Arc::new(Roads(AtomicUsize::new(0)));
        let log: Arc<dyn AccessLog> = roads.clone();
        let node = Node::plain(Arc::clone(&log), Arc::new(Anybody), Arc::new(ManualClock::at(0)));
        let workers = [node.for_one_worker(), node.for_one_worker()];
        assert_eq!(roads.0.load(Ordering::Relaxed), 2);
        assert!(workers.iter().all(|own| !Arc::ptr_eq(&own.log, &log)));
        assert!(!Arc::ptr_eq(&workers[0].log, &workers[1].log));
        // A lane has none itself, and is shared.
        let [own, _] = workers;
        assert!(Arc::ptr_eq(&own.for_one_worker().log, &own.log));
    }
}
