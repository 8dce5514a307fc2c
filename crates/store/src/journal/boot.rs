//! Which start of the machine this is: whether what a process has written can have been lost with the page cache.

use std::fs;
use std::time::Duration;

use portcullis_core::ports::Clock;
use rustix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Milliseconds that two readings of one start may be apart.
const TOLERANCE: u64 = 1_000;

/// A start of the machine: its boot id, or, where the process may not see that (`ProcSubset=pid` of systemd), eight bytes of
/// zero and when it was, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boot(pub(super) [u8; 16]);

impl Boot {
    /// This one.
    pub(super) fn this(clock: &dyn Clock) -> Self {
        fs::read_to_string(BOOT_ID).ok().and_then(|text| Self::of_id(&text)).unwrap_or_else(|| Self::by_time(clock))
    }

    fn of_id(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|letter| *letter != '-').collect();
        let id = u128::from_str_radix(&digits, 16).ok()?;
        (id >> 64 != 0).then(|| Self(id.to_be_bytes()))
    }

    fn by_time(clock: &dyn Clock) -> Self {
        let up = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        let up = u64::try_from(up.as_millis()).unwrap_or(u64::MAX);
        Self(u128::from(clock.unix_millis().saturating_sub(up)).to_be_bytes())
    }

    /// Whether two are the same. Where the clock was set between them, they are not.
    pub(super) fn is(self, other: Self) -> bool {
        let [one, other] = [self, other].map(|boot| u128::from_be_bytes(boot.0));
        let are_times = one >> 64 == 0 && other >> 64 == 0;
        one == other || are_times && one.abs_diff(other) <= u128::from(TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::ports::SystemClock;

    use super::*;

    #[test]
    fn a_start_is_known_again_by_its_id_or_by_its_time() {
        assert!(Boot::this(&SystemClock).is(Boot::this(&SystemClock)));
        let id = |text| Boot::of_id(text).expect("an id");
        let one = id("7b2c3d4e-0000-4000-8000-0123456789ab\n");
        assert!(one.is(one) && !one.is(id("7b2c3d4e-0000-4000-8000-0123456789ac")));
        assert_eq!((Boot::of_id(""), Boot::of_id("no"), Boot::of_id("12")), (None, None, None));
        let time = Boot::by_time(&SystemClock);
        assert!(time.is(Boot::by_time(&SystemClock)) && !time.is(one));
        let at = |millis: u128| Boot(millis.to_be_bytes());
        assert!(at(1_700_000_000_000).is(at(1_700_000_001_000)) && !at(1_700_000_000_000).is(at(1_700_000_001_001)));
    }
}
