//! When a certificate is renewed, and when an order that has failed is tried again. Pure; times are in milliseconds of
//! Unix time.

use super::Window;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The first wait after a failure, and the longest.
const BACKOFF: (u64, u64) = (MINUTE, HOUR);
/// The longest an authority can ask to be left alone.
const LONGEST_WAIT: u64 = 7 * DAY;
/// The longest and the shortest that an answer about a window is good.
const WINDOW_AGE: (u64, u64) = (MINUTE, DAY);
/// How long it is until an authority that did not answer is asked about its window again.
const WINDOW_RETRY: u64 = 6 * HOUR;
/// How much time is left between two orders for a host, whatever the first came to.
pub(super) const REST: u64 = 5 * SECOND;

/// Something by chance: at least 0, less than 1.
pub(super) fn chance() -> f64 {
    let mut bytes = [0; 4];
    // A generator that fails leaves the zeros, which are as good a moment as any.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

/// When a certificate is renewed of which nobody says more: in the last third of its life, and not all at once.
pub(super) fn by_lifetime(not_before: u64, not_after: u64, chance: f64) -> u64 {
    let life = not_after.saturating_sub(not_before);
    not_before + life / 3 * 2 + part(life / 20, chance)
}

/// When a certificate is renewed whose authority says when (RFC 9773 section 4.2): at a moment of the window by chance;
/// at once if that is over.
pub(super) fn by_window(window: Window, chance: f64) -> u64 {
    window.start + part(window.end.saturating_sub(window.start), chance)
}

/// How long an answer about a window is good.
pub(super) fn window_age(said: u64) -> u64 {
    said.clamp(WINDOW_AGE.0, WINDOW_AGE.1)
}

/// How long it is until an authority that did not answer is asked about its window again, if it says so.
pub(super) fn window_retry(said: Option<u64>) -> u64 {
    said.unwrap_or(WINDOW_RETRY).clamp(MINUTE, LONGEST_WAIT)
}

/// A moment that something waits for; now, if it is further away than anything waits, because the clock was ahead when it
/// was written down. The clocks of nodes may differ by a minute.
pub(super) fn believed(moment: u64, now: u64) -> u64 {
    if moment <= now.saturating_add(LONGEST_WAIT + MINUTE) { moment } else { now }
}

/// How long after so many failures in a row, at least one, the next try is: doubling, by chance a little more, and not
/// before the authority wants it.
pub(super) fn after_failures(failures: u32, retry_after: Option<u64>, chance: f64) -> u64 {
    let doubled = BACKOFF.0.saturating_mul(1_u64 << failures.saturating_sub(1).min(16)).min(BACKOFF.1);
    let wait = doubled + part(doubled / 10, chance);
    wait.max(retry_after.unwrap_or(0).min(LONGEST_WAIT))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a whole number is one")]
#[expect(clippy::cast_precision_loss, reason = "a moment by chance need not be exact")]
fn part(whole: u64, chance: f64) -> u64 {
    (whole as f64 * chance) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_within_its_bounds_and_not_always_the_same() {
        let drawn: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(drawn.iter().all(|drawn| (0.0..1.0).contains(drawn)));
        assert!(drawn.iter().any(|other| (other - drawn[0]).abs() > f64::EPSILON));
    }

    #[test]
    fn a_certificate_is_renewed_in_the_last_third_of_its_life() {
        let (begin, end) = (1_000 * DAY, 1_090 * DAY);
        assert_eq!(by_lifetime(begin, end, 0.0), 1_060 * DAY);
        assert_eq!(by_lifetime(begin, end, 0.5), 1_062 * DAY + 6 * HOUR);
        assert!(by_lifetime(begin, end, 0.999) < 1_065 * DAY);
        assert_eq!(by_lifetime(end, begin, 0.5), end, "one that ends before it begins is renewed when it begins");
    }

    #[test]
    fn a_window_is_met_somewhere_within() {
        let window = Window { start: 10 * DAY, end: 12 * DAY };
        assert_eq!([0.0, 0.5].map(|chance| by_window(window, chance)), [10 * DAY, 11 * DAY]);
        assert_eq!(by_window(Window { start: 10, end: 5 }, 0.9), 10);
        assert_eq!([0, HOUR, 9 * DAY].map(window_age), [MINUTE, HOUR, DAY]);
    }

    #[test]
    fn what_is_further_away_than_anything_waits_is_now() {
        let now = 1_000 * DAY;
        assert_eq!([0, now, now + 7 * DAY].map(|moment| believed(moment, now)), [0, now, now + 7 * DAY]);
        assert_eq!([now + 8 * DAY, u64::MAX].map(|moment| believed(moment, now)), [now, now]);
        let said = [None, Some(0), Some(HOUR), Some(u64::MAX)];
        assert_eq!(said.map(window_retry), [6 * HOUR, MINUTE, HOUR, LONGEST_WAIT]);
    }

    #[test]
    fn waits_double_up_to_an_hour_and_heed_the_authority() {
        let minutes = |failures| after_failures(failures, None, 0.0) / MINUTE;
        assert_eq!([1, 2, 3, 6, 7, 8, 1_000].map(minutes), [1, 2, 4, 32, 60, 60, 60]);
        assert!((66 * SECOND - 10..66 * SECOND).contains(&after_failures(1, None, 0.999_99)));
        assert_eq!(after_failures(1, Some(2 * HOUR), 0.5), 2 * HOUR);
        assert_eq!(after_failures(1, Some(SECOND), 0.0), MINUTE);
        assert_eq!(after_failures(1, Some(u64::MAX), 0.0), LONGEST_WAIT);
    }
}
