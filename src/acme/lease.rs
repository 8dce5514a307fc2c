//! Work that one node does at a time: a row in the registry says who does it and until when. It changes by comparing and
//! setting alone, so two nodes never both have it; one that dies keeps it for no longer than it lasts.
//!
//! The clocks of nodes may differ by less than it lasts.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::call::hex;
use portcullis_core::ports::{Clock, Kind, RegistryError, Upkeep};
use serde::{Deserialize, Serialize};

use super::row::put_over;

/// How long it lasts without being renewed.
pub(super) const LASTS: Duration = Duration::from_secs(15);

/// Who has it, as the registry keeps it.
#[derive(Serialize, Deserialize)]
struct StoredLease {
    holder: String,
    /// Unix milliseconds.
    until: u64,
}

/// A lease that nodes compete for.
pub(super) struct LeaderLease {
    registry: Arc<dyn Upkeep>,
    clock: Arc<dyn Clock>,
    name: &'static str,
    holder: String,
}

/// The lease, held by this node.
pub(super) struct Held<'a> {
    lease: &'a LeaderLease,
    revision: u64,
}

impl LeaderLease {
    /// One that this process competes for under a name of its own.
    pub(super) fn new(name: &'static str, registry: Arc<dyn Upkeep>, clock: Arc<dyn Clock>) -> Self {
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).expect("the generator aborts the process rather than return an error");
        Self { registry, clock, name, holder: hex(&id) }
    }

    /// Takes it, if nobody else has it.
    pub(super) async fn take(&self) -> Result<Option<Held<'_>>, RegistryError> {
        let found = self.registry.kept(Kind::Lease, self.name).await?;
        let stored = found.as_ref().and_then(|row| serde_json::from_str::<StoredLease>(&row.body).ok());
        let now = self.clock.unix_millis();
        // Further away than the clocks of nodes may differ, it was written by a clock that was ahead, and says nothing.
        let furthest = now.saturating_add(2 * millis(LASTS));
        let lasts = |until: u64| until > now && until <= furthest;
        if stored.is_some_and(|stored| stored.holder != self.holder && lasts(stored.until)) {
            return Ok(None);
        }
        let revision = found.map(|row| row.revision);
        let taken = self.put(revision, LASTS).await?;
        Ok(taken.map(|revision| Held { lease: self, revision }))
    }

    /// Writes that this node has it for so long, over this revision and no other. None if that is not there any more.
    async fn put(&self, over: Option<u64>, lasts: Duration) -> Result<Option<u64>, RegistryError> {
        let until = self.clock.unix_millis().saturating_add(millis(lasts));
        let stored = StoredLease { holder: self.holder.clone(), until };
        put_over(self.registry.as_ref(), (Kind::Lease, self.name), over, &stored).await
    }
}

impl Held<'_> {
    /// Does the work while the lease is held, renewing it. None if it was lost: the work is broken off where it stands.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, RegistryError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                () = tokio::time::sleep(LASTS / 3) => if !self.renew().await? {
                    return Ok(None);
                },
            }
        }
    }

    /// Makes it last from now. False if somebody else has it.
    pub(super) async fn renew(&mut self) -> Result<bool, RegistryError> {
        let renewed = self.lease.put(Some(self.revision), LASTS).await?;
        self.revision = renewed.unwrap_or(self.revision);
        Ok(renewed.is_some())
    }

    /// Gives it back before its time.
    pub(super) async fn release(self) -> Result<(), RegistryError> {
        self.lease.put(Some(self.revision), Duration::ZERO).await.map(drop)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use portcullis_core::memory::{ManualClock, MemoryRegistry};

    use super::*;

    fn two() -> (LeaderLease, LeaderLease, Arc<ManualClock>) {
        let registry: Arc<dyn Upkeep> = Arc::new(MemoryRegistry::default());
        let clock = Arc::new(ManualClock::at(1_000_000));
        let lease = || LeaderLease::new("work", Arc::clone(&registry), Arc::clone(&clock) as Arc<dyn Clock>);
        (lease(), lease(), clock)
    }

    #[tokio::test]
    async fn one_has_it_until_it_lapses_or_is_given_back() {
        let (one, other, clock) = two();
        let mut held = one.take().await.expect("a registry").expect("it is free");
        assert!(other.take().await.expect("a registry").is_none());
        clock.advance(LASTS - Duration::from_millis(1));
        assert!(other.take().await.expect("a registry").is_none());
        assert!(held.renew().await.expect("a registry"));
        clock.advance(LASTS - Duration::from_millis(1));
        assert!(other.take().await.expect("a registry").is_none());
        held.release().await.expect("a registry");
        // Another one has it at once; and from one who has died, when it has lapsed.
        assert!(other.take().await.expect("a registry").is_some());
        assert!(one.take().await.expect("a registry").is_none());
        clock.advance(LASTS);
        assert!(one.take().await.expect("a registry").is_some());
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_keeps_nobody_from_it() {
        let (one, other, clock) = two();
        clock.set(1_000_030);
        let _held = one.take().await.expect("a registry").expect("it is free");
        // Clocks may differ by less than it lasts; beyond that, this one was wrong.
        clock.set(1_000_015);
        assert!(other.take().await.expect("a registry").is_none());
        clock.set(1_000_014);
        assert!(other.take().await.expect("a registry").is_some());
    }

    #[tokio::test]
    async fn whoever_has_lost_it_learns_so_and_stops() {
        let (one, other, clock) = two();
        let mut held = one.take().await.expect("a registry").expect("it is free");
        clock.advance(LASTS);
        assert!(other.take().await.expect("a registry").is_some());
        assert!(!held.renew().await.expect("a registry"));
        held.release().await.expect("a registry");
        assert!(one.take().await.expect("a registry").is_none(), "the other one has it still");
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_with_the_lease() {
        let (one, other, clock) = two();
        let mut held = one.take().await.expect("a registry").expect("it is free");
        assert_eq!(held.during(tokio::time::sleep(LASTS * 3)).await.expect("a registry"), Some(()));
        clock.advance(LASTS * 2);
        let _taken = other.take().await.expect("a registry").expect("lapsed");
        assert_eq!(held.during(std::future::pending::<()>()).await.expect("a registry"), None);
    }

    #[tokio::test]
    async fn of_two_who_found_it_free_one_gets_it() {
        let (one, other, _) = two();
        assert_eq!(one.put(None, LASTS).await.expect("a registry"), Some(1));
        assert_eq!(other.put(None, LASTS).await.expect("a registry"), None);
        let mut both =
            [one.put(Some(1), LASTS).await, other.put(Some(1), LASTS).await].map(|put| put.expect("a registry"));
        both.sort_unstable();
        assert_eq!(both, [None, Some(2)]);
    }
}
