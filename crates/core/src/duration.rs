//! Durations as settings and declarations write them: `500ms`, `10s`, `5m`, `1h`, `1d`.

use std::time::Duration;

/// A hundred years: far enough for any wait, near enough to add to any moment.
pub const REACH: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads a text; a number alone is seconds. None if it is no duration, or one that reaches too far.
///
/// ```
/// use portcullis_core::duration::parse;
///
/// assert_eq!(parse("500ms").map(|time| time.as_millis()), Some(500));
/// assert_eq!(parse("2h").map(|time| time.as_secs()), Some(7_200));
/// assert_eq!(parse("2w"), None);
/// ```
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let seconds = match text[digits..].trim_start() {
        "ms" => return Some(Duration::from_millis(number)).filter(|time| *time <= REACH),
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs).filter(|time| *time <= REACH)
}
