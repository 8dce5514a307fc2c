//! Failed identification: calls that claim to be of a client and do not prove it are counted by address.
//!
//! Who guesses access keys would learn from the answers which of them there are. So each network has a number of failures;
//! when they are used up, every further failure gets the same answer, whatever failed. Calls that prove what they claim are
//! not held up.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::call::Call;
use portcullis_core::message::FieldValue;
use portcullis_core::ports::Clock;
use portcullis_core::refusal::{LimitFields, Refusal};

use crate::gcra::{Admittance, Pace, SECOND};
use crate::limiters::{KeyText, Limiters};

/// What the limit is called.
const NAME: &str = "failed_identification";

/// Failures that one network may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrangerLimits {
    /// At once.
    pub at_once: u32,
    /// In a minute, from then on.
    pub per_minute: u32,
}

impl Default for StrangerLimits {
    fn default() -> Self {
        Self { at_once: 60, per_minute: 60 }
    }
}

/// Counts failures.
pub struct Strangers {
    limiters: Arc<Limiters>,
    clock: Arc<dyn Clock>,
    limits: StrangerLimits,
    pace: Option<Pace>,
}

impl Strangers {
    /// A count in this memory. A limit of 0 counts nothing.
    pub fn new(limiters: Arc<Limiters>, clock: Arc<dyn Clock>, limits: StrangerLimits) -> Self {
        Self { limiters, clock, limits, pace: Pace::new(limits.per_minute, 60, limits.at_once) }
    }

    /// Counts a failure, and says how it is told to the caller: as itself, or as too many. What is the gateway's own doing, or
    /// is said to a caller who has proved the claim, is no failure.
    pub fn failed(&self, call: &Call, refusal: Refusal) -> Refusal {
        if !is_failure(&refusal) {
            return refusal;
        }
        let (Some(pace), Some(effects)) = (self.pace, call.effects()) else { return refusal };
        let taken = self.limiters.take(&effects, self.text(call).key(), pace, 1, self.now());
        if taken.admitted { refusal } else { self.too_many(&taken) }
    }

    /// What is told to a caller who has proved nothing before anything is looked up for it, if the failures of its network are
    /// used up. Nothing is counted.
    pub(crate) fn turned_away(&self, call: &Call) -> Option<Refusal> {
        let pace = self.pace.filter(|_| call.effects().is_some())?;
        let verdict = self.limiters.look(self.text(call).key(), pace, 1, self.now());
        (!verdict.admitted).then(|| self.too_many(&verdict))
    }

    fn text(&self, call: &Call) -> KeyText {
        let mut text = self.limiters.text();
        text.push(0, NAME.as_bytes());
        text.push_address(call.peer.client_ip);
        text
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }

    fn too_many(&self, verdict: &Admittance) -> Refusal {
        let StrangerLimits { per_minute, .. } = self.limits;
        let value = |text: String| FieldValue::try_from(text).unwrap_or(FieldValue::from_static(""));
        let fields = LimitFields {
            policy: value(format!("\"{NAME}\";q={per_minute};w=60")),
            state: value(format!("\"{NAME}\";r={};t={}", verdict.remaining, verdict.next.div_ceil(SECOND))),
        };
        Refusal::TooManyRequests {
            limit: NAME.into(),
            retry_after: Duration::from_nanos(verdict.wait),
            fields: Box::new(fields),
        }
    }
}

/// Whether a refusal tells somebody who has proved nothing something about a client.
fn is_failure(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::InvalidCredential { .. }
            | Refusal::MissingCredential(_)
            | Refusal::SignatureExpired { .. }
            | Refusal::UnknownClient
            | Refusal::DisabledClient
            | Refusal::RouteDisabled
            | Refusal::NoEndpoint { .. }
            | Refusal::NoRoute
            | Refusal::BodyTooLarge { .. }
            | Refusal::RequestTimeout
            | Refusal::Malformed { .. }
    )
}
