//! The ports: everything the gateway needs from the world, as traits.
//!
//! What is durable is parted by what may have another home one day: [`Objects`] are what operators and services change,
//! with the trail of who did it; [`Sessions`] are logins; [`Upkeep`] is what the gateway keeps for itself. A [`Registry`]
//! is all three in one place.

mod changing;
mod error;
mod objects;
mod outbound;
pub mod routes;
mod sessions;
mod shared_state;
mod unseal;
mod upkeep;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

use crate::admitted_by::AdmittedBy;
use crate::budget::Budget;
use crate::capture::Exchange;
use crate::record::Record;

pub use crate::object::{Kind, Row};
pub use crate::session_id::SessionId;
pub use changing::{Becomes, ChangeError, Changing, DECISIONS, Decide, Decision, OfSessions, Outcome};
pub use error::RegistryError;
pub use objects::{Changed, Commit, Ended, Expect, News, Objects, TOLD_CHANGES, Version, Write};
pub use outbound::{Bounds, Outbound, OutboundError};
pub use sessions::{Beside, ForeignPair, Replace, Replaced, Rotate, Rotation, Session, Sessions, SessionsOf};
pub use shared_state::{Once, SharedState, Spent, Unavailable};
pub use unseal::Unseal;
pub use upkeep::Upkeep;

/// The durable store in one place.
pub trait Registry: Objects + Sessions + Upkeep {}

impl<T: Objects + Sessions + Upkeep + ?Sized> Registry for T {}

/// Whether those who were let in are still welcome.
#[async_trait]
pub trait Welcome: Send + Sync {
    /// Whether nothing a caller was let in by has been taken back. What cannot be told now counts as standing.
    async fn stands(&self, admitted_by: &AdmittedBy) -> bool;
}

/// Where records go. Writing waits for nothing that takes long, and never fails; what cannot be kept is counted.
pub trait AccessLog: Send + Sync {
    /// Takes a record.
    fn write(&self, record: &Record);

    /// A way into the same log for one worker alone, which shares it with nobody; none if there is only this one.
    fn lane(&self) -> Option<Arc<dyn AccessLog>> {
        None
    }
}

/// Where captured exchanges go. Keeping never waits and never fails; what cannot be kept is counted.
pub trait Captures: Send + Sync {
    /// What exchanges on their way may take.
    fn budget(&self) -> &Arc<Budget>;
    /// Takes an exchange.
    fn keep(&self, exchange: Box<Exchange>);
    /// Counts an exchange that could not be copied, because there was no budget left.
    fn lost(&self);
}

/// The time of day, and a time that only ever moves on.
pub trait Clock: Send + Sync {
    /// Now. It may be set, forward and back.
    fn now(&self) -> SystemTime;

    /// Time since a start of no meaning. It never goes back, whatever happens to the time of day.
    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Now, in Unix milliseconds.
    fn unix_millis(&self) -> u64 {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the time of day")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
