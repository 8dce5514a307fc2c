//! The generic cell rate algorithm: a limit as one moment in time, in integers.
//!
//! Each unit takes one *interval*. A key's state is the moment at which everything admitted so far would be worked off
//! (its *horizon*), if a unit took its interval. A call is admitted if the horizon stays within *span* (a whole burst)
//! of now. So in any stretch of time `t` no more than `t / interval + burst` units are admitted. All times are
//! nanoseconds on a clock that never goes back.

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// How fast, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    interval: u64,
    span: u64,
}

/// What became of a call, and what its key has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admittance {
    /// Whether it is admitted.
    pub(crate) admitted: bool,
    /// Where the horizon was, as far as it counted.
    pub(crate) before: u64,
    /// Where the horizon is.
    pub(crate) after: u64,
    /// Units that would be admitted now.
    pub(crate) remaining: u64,
    /// Until there is one more of them; 0 when all are there.
    pub(crate) next: u64,
    /// Until this call would be admitted; 0 if it is.
    pub(crate) wait: u64,
}

impl Pace {
    /// So many units in so many seconds, and so many at once. None if a burst would take longer than a year to come
    /// back, or if one of them is 0.
    pub(crate) fn new(units: u32, seconds: u32, burst: u32) -> Option<Self> {
        const YEAR: u64 = 366 * 86_400 * SECOND;
        if units == 0 || seconds == 0 || burst == 0 {
            return None;
        }
        // Rounded up: what is rounded away is not admitted.
        let interval = (u64::from(seconds) * SECOND).div_ceil(u64::from(units));
        let span = interval.checked_mul(burst.into()).filter(|span| *span <= YEAR)?;
        Some(Self { interval, span })
    }

    /// The horizon at this pace of a key that stood at another: as many units are used up, but no more than there are.
    pub(crate) fn take_over(self, horizon: u64, former: Self, now: u64) -> u64 {
        let used = u128::from(horizon.saturating_sub(now)) * u128::from(self.interval);
        let used = u64::try_from(used.div_ceil(former.interval.into())).unwrap_or(u64::MAX);
        now.saturating_add(used.min(self.span))
    }

    /// Decides on a call of so many units. The horizon of a refused call stays where it is.
    pub(crate) fn decide(self, horizon: u64, units: u32, now: u64) -> Admittance {
        let before = horizon.max(now);
        let wished = before.saturating_add(self.interval.saturating_mul(units.into()));
        let limit = now.saturating_add(self.span);
        let admitted = wished <= limit;
        let after = if admitted { wished } else { before };
        let free = limit.saturating_sub(after);
        let remaining = free / self.interval;
        let next = if free >= self.span { 0 } else { self.interval - free % self.interval };
        Admittance { admitted, before, after, remaining, next, wait: wished.saturating_sub(limit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_is_admitted_at_once_and_comes_back_unit_by_unit() {
        let pace = Pace::new(60, 60, 3).expect("a pace");
        let mut horizon = 0;
        for remaining in [2, 1, 0] {
            let verdict = pace.decide(horizon, 1, 10 * SECOND);
            assert_eq!((verdict.admitted, verdict.remaining, verdict.next), (true, remaining, SECOND));
            horizon = verdict.after;
        }
        let verdict = pace.decide(horizon, 1, 10 * SECOND);
        assert_eq!((verdict.admitted, verdict.remaining, verdict.wait), (false, 0, SECOND));
        let verdict = pace.decide(horizon, 2, 10 * SECOND + SECOND / 2);
        assert_eq!((verdict.admitted, verdict.next, verdict.wait), (false, SECOND / 2, SECOND + SECOND / 2));
        assert!(pace.decide(horizon, 1, 11 * SECOND).admitted);
        let untouched = pace.decide(0, 0, 99 * SECOND);
        assert_eq!((untouched.remaining, untouched.next), (3, 0));
    }

    #[test]
    fn what_is_no_pace_is_none() {
        for (units, seconds, burst) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 86_400, 1_000_000), (1, u32::MAX, 1)] {
            assert_eq!(Pace::new(units, seconds, burst), None, "{units} in {seconds}, {burst} at once");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_a_burst(
            units in 1_u32..2_000, seconds in 1_u32..5_000, burst in 1_u32..50,
            steps in proptest::collection::vec((0_u64..4 * SECOND, 1_u32..4), 1..200),
        ) {
            let pace = Pace::new(units, seconds, burst).expect("a pace");
            let (mut now, mut horizon) = (7, 0);
            let mut admitted: Vec<(u64, u64)> = Vec::new();
            for (pause, cost) in steps {
                now += pause;
                let verdict = pace.decide(horizon, cost, now);
                if verdict.admitted {
                    horizon = verdict.after;
                    admitted.push((now, cost.into()));
                } else {
                    // Waiting as long as one is told to is enough, if the call can be admitted at all.
                    prop_assert_eq!(pace.decide(horizon, cost, now + verdict.wait).admitted, cost <= burst);
                }
            }
            for (from, (start, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (at, cost) in &admitted[from..] {
                    sum += cost;
                    // sum <= elapsed * units / seconds + burst, without a fraction
                    let elapsed = u128::from(at - start);
                    let most = elapsed * u128::from(units) + u128::from(burst) * u128::from(seconds) * u128::from(SECOND);
                    prop_assert!(u128::from(sum) * u128::from(seconds) * u128::from(SECOND) <= most);
                }
            }
        }
    }
}
