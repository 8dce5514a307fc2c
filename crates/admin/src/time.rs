//! Points in time as the API writes them, and spans of time as it reads them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const FORM: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
/// Ten years, in seconds: longer than anything here is meant to live, and far from overflow.
const LONGEST: u64 = 10 * 366 * 86_400;

/// Unix milliseconds in the form of RFC 3339, in UTC.
pub(crate) fn rfc3339(unix_millis: u64) -> String {
    let nanos = i128::from(unix_millis) * 1_000_000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    moment.and_then(|moment| moment.format(FORM).ok()).unwrap_or_default()
}

/// A point in time in the form of RFC 3339, from 1970 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// In Unix milliseconds.
    pub(crate) unix_millis: u64,
}

impl Moment {
    fn read(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(|unix_millis| Self { unix_millis })
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = "a time like \"2030-01-31T12:00:00Z\"";
        Self::read(&text).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
    }
}

/// A span of time: seconds as a number, or a text like `90s`, `24h` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// In milliseconds.
    pub(crate) millis: u64,
}

impl Span {
    fn of_seconds(seconds: u64) -> Option<Self> {
        (1..=LONGEST).contains(&seconds).then(|| Self { millis: seconds * 1_000 })
    }

    fn read(text: &str) -> Option<Self> {
        let mut seconds: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            let unit = match rest.as_bytes()[digits] {
                b's' => 1,
                b'm' => 60,
                b'h' => 3_600,
                b'd' => 86_400,
                b'w' => 604_800,
                _ => return None,
            };
            seconds = seconds.checked_add(number.checked_mul(unit)?)?;
            rest = &rest[digits + 1..];
        }
        Self::of_seconds(seconds)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, or a text like \"24h\", from one second to ten years")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Span, E> {
        Span::of_seconds(seconds).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(seconds), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        Span::read(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_both_forms() {
        for (json, seconds) in [
            ("60", Some(60)),
            ("\"60s\"", Some(60)),
            ("\"24h\"", Some(86_400)),
            ("\"1h30m\"", Some(5_400)),
            ("\"2d\"", Some(172_800)),
            ("\"1w\"", Some(604_800)),
            ("0", None),
            ("-1", None),
            ("1.5", None),
            ("\"\"", None),
            ("\"24\"", None),
            ("\"h\"", None),
            ("\"24 h\"", None),
            ("\"24é\"", None),
            ("\"99999999999999999999h\"", None),
            ("\"9999999w\"", None),
            ("18446744073709551615", None),
        ] {
            let span = serde_json::from_str::<Span>(json).ok();
            assert_eq!(span.map(|span| span.millis / 1_000), seconds, "{json}");
        }
    }

    #[test]
    fn moments_are_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
    }

    #[test]
    fn moments_are_read_with_any_offset() {
        for (text, millis) in [
            ("2023-11-14T22:13:20.007Z", Some(1_700_000_000_007)),
            ("2023-11-15T00:13:20+02:00", Some(1_700_000_000_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59Z", None),
            ("2023-11-14T22:13:20", None),
            ("2023-11-14", None),
            ("24h", None),
            ("", None),
        ] {
            assert_eq!(Moment::read(text).map(|moment| moment.unix_millis), millis, "{text}");
        }
    }

    #[test]
    fn fuzz_spans() {
        crate::fuzzing::run(
            "spans",
            &["90s", "24h", "1h30m", "2w3d", "0s", "18446744073709551615w", "1m1m"],
            |input| {
                let Ok(text) = std::str::from_utf8(input) else { return None };
                let span = Span::read(text)?;
                // Another reader, in larger numbers.
                let (mut sum, mut number) = (0_u128, 0_u128);
                for letter in text.chars() {
                    match letter.to_digit(10) {
                        Some(digit) => number = number * 10 + u128::from(digit),
                        None => {
                            let unit = match letter {
                                's' => 1,
                                'm' => 60,
                                'h' => 3_600,
                                'd' => 86_400,
                                'w' => 604_800,
                                _ => panic!("{letter}"),
                            };
                            sum += number * unit;
                            number = 0;
                        }
                    }
                }
                assert_eq!((u128::from(span.millis), number), (sum * 1_000, 0));
                assert!((1..=LONGEST * 1_000).contains(&span.millis));
                assert_eq!(Span::read(&format!("{}s", span.millis / 1_000)), Some(span));
                assert!(rfc3339(span.millis).ends_with('Z'));
                Some(text.len())
            },
        );
    }
}
