//! One counter of failures: a level that sinks by one in every longest wait, and a moment before which no guess is taken.
//!
//! Because the level sinks no faster than one guess in the longest wait is admitted at its top, in any stretch of time
//! `t` at most `top + t / longest` guesses are admitted, where `top` is the level at which the wait is the longest. Times are nanoseconds on a clock that never goes back.

/// What a guess is told that comes while as many as may be are being verified.
const BUSY: u64 = 1_000_000_000;

/// How many failures are free, and how long the waits behind them are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// The failure at which the first wait begins; at least 1.
    pub(super) free: u64,
    /// The first wait; each further one is twice as long.
    pub(super) first: u64,
    /// The longest wait, and the time in which one failure is forgotten.
    pub(super) longest: u64,
}

impl Pace {
    /// The wait that a failure begins which brings the level here.
    fn wait(self, level: u64) -> u64 {
        let Some(doublings) = level.checked_sub(self.free) else { return 0 };
        let factor = u32::try_from(doublings).ok().and_then(|doublings| 1_u64.checked_shl(doublings));
        self.first.saturating_mul(factor.unwrap_or(u64::MAX)).min(self.longest)
    }

    /// The level at which the wait is the longest, for tests of the formula: no guess is admitted while the level is here.
    #[cfg(test)]
    pub(super) fn top(self) -> u64 {
        let mut level = self.free;
        while self.wait(level) < self.longest {
            level += 1;
        }
        level
    }
}

/// Failures that count, and guesses that are being verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counter {
    /// When the last failure will be forgotten.
    clean_at: u64,
    /// Before this no guess is taken.
    until: u64,
    /// Guesses that are being verified: each may become a failure, and is counted as one.
    pending: u64,
}

impl Counter {
    /// Failures that count now.
    pub(super) fn level(&self, pace: Pace, now: u64) -> u64 {
        self.clean_at.saturating_sub(now).div_ceil(pace.longest.max(1))
    }

    /// For how long no guess is taken; 0 when one is.
    pub(super) fn wait(&self, pace: Pace, now: u64) -> u64 {
        if self.until > now {
            return self.until - now;
        }
        let free = self.level(pace, now).saturating_add(self.pending) < pace.free;
        if free || self.pending == 0 { 0 } else { BUSY.min(pace.longest) }
    }

    /// Takes a guess on.
    pub(super) fn reserve(&mut self) {
        self.pending += 1;
    }

    /// The guess was not verified, or does not count.
    pub(super) fn release(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// The guess was wrong.
    pub(super) fn fail(&mut self, pace: Pace, now: u64) {
        self.release();
        self.clean_at = self.clean_at.max(now).saturating_add(pace.longest);
        self.close_for(pace.wait(self.level(pace, now)), now);
    }

    /// The guess was right: what was before is forgotten, except what is under way.
    pub(super) fn succeed(&mut self) {
        self.release();
        (self.clean_at, self.until) = (0, 0);
    }

    /// The guess was right, and makes up for one that was wrong.
    pub(super) fn make_up(&mut self, pace: Pace) {
        self.release();
        self.clean_at = self.clean_at.saturating_sub(pace.longest);
    }

    /// Counts a failure on a counter that holds nobody back, up to the pace's free ones.
    pub(super) fn note(&mut self, pace: Pace, now: u64) {
        let most = now.saturating_add(pace.longest.saturating_mul(pace.free));
        self.clean_at = self.clean_at.max(now).saturating_add(pace.longest).min(most);
    }

    /// Takes no guess for so long.
    pub(super) fn close_for(&mut self, wait: u64, now: u64) {
        self.until = self.until.max(now.saturating_add(wait));
    }

    /// Whether forgetting it would change nothing.
    pub(super) fn is_clean(&self, now: u64) -> bool {
        self.clean_at <= now && self.until <= now && self.pending == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn waits_double_up_to_the_longest_and_failures_are_forgotten_one_by_one() {
        let pace = Pace { free: 3, first: SECOND, longest: 10 * SECOND };
        let (mut counter, mut now) = (Counter::default(), 100 * SECOND);
        for wait in [0, 0, 1, 2, 4, 8, 8, 8, 8, 10, 10, 10] {
            assert_eq!(counter.wait(pace, now), 0);
            counter.reserve();
            counter.fail(pace, now);
            assert_eq!(counter.wait(pace, now), wait * SECOND);
            now += wait * SECOND;
        }
        assert_eq!(counter.level(pace, now), pace.top() - 1);
        assert!(!counter.is_clean(now) && counter.is_clean(now + pace.top() * pace.longest));
        counter.reserve();
        counter.succeed();
        assert_eq!(counter, Counter::default());
    }

    #[test]
    fn guesses_under_way_count_as_failures() {
        let pace = Pace { free: 2, first: SECOND, longest: 8 * SECOND };
        let mut counter = Counter::default();
        counter.reserve();
        counter.reserve();
        assert_eq!(counter.wait(pace, 0), BUSY);
        counter.release();
        assert_eq!(counter.wait(pace, 0), 0, "one was not verified");
        counter.fail(pace, 0);
        assert_eq!(counter.wait(pace, 0), 0);
        counter.reserve();
        assert_eq!(counter.wait(pace, 0), BUSY, "one failure and one under way");
    }

    #[test]
    fn what_only_notes_has_a_most() {
        let pace = Pace { free: 5, first: SECOND, longest: SECOND };
        let mut counter = Counter::default();
        (0..100).for_each(|_| counter.note(pace, 0));
        assert_eq!((counter.level(pace, 0), counter.level(pace, SECOND), counter.wait(pace, 0)), (5, 4, 0));
    }

    proptest! {
        /// Whatever is tried when, and however many at once: no more guesses than the formula says, no longer wait.
        #[test]
        fn never_more_guesses_than_the_formula(
            free in 1_u64..8, first in 1_u64..50, more in 0_u64..2_000,
            steps in proptest::collection::vec((0_u64..3_000, 1_usize..12, any::<bool>()), 1..150),
        ) {
            let pace = Pace { free, first, longest: first + more };
            let (mut now, mut counter) = (7, Counter::default());
            let mut guesses = Vec::new();
            for (pause, tries, patient) in steps {
                now += if patient { counter.wait(pace, now) } else { pause };
                let admitted = (0..tries).filter(|_| {
                    let wait = counter.wait(pace, now);
                    assert!(wait <= pace.longest);
                    (wait == 0).then(|| counter.reserve()).is_some()
                });
                let admitted = admitted.count();
                for _ in 0..admitted {
                    counter.fail(pace, now);
                    guesses.push(now);
                }
            }
            for (from, start) in guesses.iter().enumerate() {
                for (count, at) in guesses[from..].iter().enumerate() {
                    prop_assert!((count as u64) < pace.top() + (at - start).div_ceil(pace.longest));
                }
            }
        }
    }
}
