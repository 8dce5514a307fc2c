//! What bounds self-registration: how much may be registered with an enrolment token, and how often a registration may
//! change something. What changes nothing is free, so that a service may say every few seconds that it is there.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_core::model::{Label, Name};
use portcullis_core::ports::Clock;

/// Registrations, and enrolment tokens, whose rates are remembered; and registrations of which it is known when they
/// were last heard of.
const MOST: usize = 65_536;

/// How many changes are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeRate {
    /// So many at once.
    pub at_once: usize,
    /// So many more in each minute.
    pub per_minute: usize,
}

impl ChangeRate {
    fn interval(self) -> Duration {
        Duration::from_secs(60) / u32::try_from(self.per_minute.max(1)).unwrap_or(u32::MAX)
    }

    fn tolerance(self) -> Duration {
        self.interval().saturating_mul(u32::try_from(self.at_once.saturating_sub(1)).unwrap_or(u32::MAX))
    }
}

/// The bounds of self-registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationBounds {
    /// Service names that stand registered with one enrolment token.
    pub services_per_enrolment: usize,
    /// Versions of a name that came by registration.
    pub versions_per_service: usize,
    /// Changes of one registration.
    pub changes: ChangeRate,
    /// Changes of all registrations with one enrolment token together.
    pub enrolment_changes: ChangeRate,
}

impl Default for RegistrationBounds {
    fn default() -> Self {
        Self {
            services_per_enrolment: 1_000,
            versions_per_service: 100,
            changes: ChangeRate { at_once: 60, per_minute: 60 },
            enrolment_changes: ChangeRate { at_once: 1_000, per_minute: 600 },
        }
    }
}

/// A change that was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached {
    /// What it was held against.
    pub limit: &'static str,
    /// What that admits.
    pub rate: ChangeRate,
    /// When it would be admitted.
    pub retry_after: Duration,
}

/// A change that was admitted, to be given back if it does not happen.
#[derive(Debug)]
pub struct Permit {
    name: Name,
    enrolment: Label,
}

/// Holds registrations to their bounds. One for a node.
pub struct Registrar {
    /// The bounds.
    pub bounds: RegistrationBounds,
    clock: Arc<dyn Clock>,
    rates: Mutex<Rates>,
    heard: Mutex<HashMap<Name, u64>>,
}

/// Until when the admitted changes reach (GCRA): nothing is remembered of whoever has been silent long enough.
#[derive(Default)]
struct Rates {
    of_names: HashMap<Name, Duration>,
    of_enrolments: HashMap<Label, Duration>,
}

impl Registrar {
    /// Bounds by this clock.
    pub fn new(bounds: RegistrationBounds, clock: Arc<dyn Clock>) -> Self {
        Self { bounds, clock, rates: Mutex::default(), heard: Mutex::default() }
    }

    /// Admits one change of a registration, or says when it would.
    pub fn admit(&self, name: &Name, enrolment: &Label) -> Result<Permit, LimitReached> {
        let now = self.clock.monotonic();
        let RegistrationBounds { changes, enrolment_changes, .. } = self.bounds;
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let own = look(&mut rates.of_names, name, changes, now).map_err(|retry_after| LimitReached {
            limit: "registration",
            rate: changes,
            retry_after,
        })?;
        let shared = look(&mut rates.of_enrolments, enrolment, enrolment_changes, now)
            .map_err(|retry_after| LimitReached { limit: "enrolment", rate: enrolment_changes, retry_after })?;
        rates.of_names.insert(name.clone(), own);
        rates.of_enrolments.insert(enrolment.clone(), shared);
        Ok(Permit { name: name.clone(), enrolment: enrolment.clone() })
    }

    /// Takes back what was admitted and did not happen.
    pub fn give_back(&self, permit: &Permit) {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = rates.of_names.get_mut(&permit.name) {
            *until = until.saturating_sub(self.bounds.changes.interval());
        }
        if let Some(until) = rates.of_enrolments.get_mut(&permit.enrolment) {
            *until = until.saturating_sub(self.bounds.enrolment_changes.interval());
        }
    }

    /// Notes that a service has registered itself, or said again where it is. Times are Unix milliseconds.
    pub fn hear(&self, name: &Name, now: u64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() >= MOST && !heard.contains_key(name) {
            let oldest = heard.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| heard.remove(&oldest));
        }
        heard.insert(name.clone(), now);
    }

    /// When that was last, since this node started.
    pub fn last_heard(&self, name: &Name) -> Option<u64> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

/// Until when the changes reach with one more, or how long that one has to wait. A table that is full of those who have
/// just made changes admits no others.
fn look<K: Hash + Eq>(
    table: &mut HashMap<K, Duration>,
    key: &K,
    rate: ChangeRate,
    now: Duration,
) -> Result<Duration, Duration> {
    if table.len() >= MOST && !table.contains_key(key) {
        table.retain(|_, until| *until > now);
        if table.len() >= MOST {
            return Err(rate.interval().max(Duration::from_secs(1)));
        }
    }
    let until = table.get(key).copied().unwrap_or_default().max(now);
    let over = (until - now).saturating_sub(rate.tolerance());
    if over.is_zero() { Ok(until + rate.interval()) } else { Err(over) }
}

#[cfg(test)]
mod tests {
    use portcullis_core::memory::ManualClock;

    use super::*;

    fn registrar(changes: ChangeRate, enrolment_changes: ChangeRate) -> (Registrar, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_700_000_000));
        let bounds = RegistrationBounds { changes, enrolment_changes, ..RegistrationBounds::default() };
        (Registrar::new(bounds, clock.clone()), clock)
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn label(text: &str) -> Label {
        text.parse().expect("a label")
    }

    #[test]
    fn a_registration_changes_so_much_at_once_and_so_much_in_a_minute() {
        let (registrar, clock) =
            registrar(ChangeRate { at_once: 3, per_minute: 6 }, ChangeRate { at_once: 100, per_minute: 100 });
        let admit = |of: &str| registrar.admit(&name(of), &label("e"));
        for _ in 0..3 {
            admit("orders").expect("admitted");
        }
        let limited = admit("orders").expect_err("too many");
        assert_eq!((limited.limit, limited.retry_after), ("registration", Duration::from_secs(10)));
        admit("stock").expect("another one's");
        clock.advance(Duration::from_secs(10));
        let permit = admit("orders").expect("one more");
        admit("orders").expect_err("and no more");
        registrar.give_back(&permit);
        admit("orders").expect("the one that did not happen");
    }

    #[test]
    fn all_registrations_of_a_token_share_a_rate() {
        let (registrar, _) =
            registrar(ChangeRate { at_once: 10, per_minute: 6 }, ChangeRate { at_once: 4, per_minute: 60 });
        let admit = |of: usize, with: &str| registrar.admit(&name(&format!("s{of}")), &label(with));
        for number in 0..4 {
            admit(number, "one").expect("admitted");
        }
        assert_eq!(admit(9, "one").expect_err("too many").limit, "enrolment");
        admit(9, "two").expect("another token's");
    }

    #[test]
    fn a_full_table_admits_nobody_new_until_others_have_been_silent() {
        let (registrar, clock) = registrar(
            ChangeRate { at_once: 10, per_minute: 60 },
            ChangeRate { at_once: MOST * 2, per_minute: usize::from(u16::MAX) },
        );
        for number in 0..MOST {
            registrar.admit(&name(&format!("s{number}")), &label("e")).expect("admitted");
        }
        assert_eq!(registrar.admit(&name("more"), &label("e")).expect_err("full").limit, "registration");
        registrar.admit(&name("s7"), &label("e")).expect("it is known");
        clock.advance(Duration::from_secs(2));
        registrar.admit(&name("more"), &label("e")).expect("there is room");
        for number in 0..MOST as u64 + 3 {
            registrar.hear(&name(&format!("s{number}")), number);
        }
        let heard = ["s2", "s3"].map(|of| registrar.last_heard(&name(of)));
        assert_eq!(heard, [None, Some(3)], "the longest unheard of is forgotten");
    }
}
