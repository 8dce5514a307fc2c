//! `grpc-timeout`: how long a caller waits, as 1 to 8 digits and a unit.

use std::time::Duration;

use crate::message::{FieldValue, Value};

/// The largest number that is written.
const MOST: u128 = 99_999_999;

/// The units, finest first, with how many nanoseconds they have.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Reads it; none if it is malformed.
pub fn parse(value: Value<'_>) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'n' => Duration::from_nanos(number),
        b'u' => Duration::from_micros(number),
        b'm' => Duration::from_millis(number),
        b'S' => Duration::from_secs(number),
        b'M' => Duration::from_secs(number * 60),
        b'H' => Duration::from_secs(number * 3_600),
        _ => return None,
    })
}

/// Writes it in the finest unit it fits into. What is finer is left out, so that nobody waits longer than the caller.
pub fn write(timeout: Duration) -> FieldValue {
    let nanos = timeout.as_nanos();
    let (unit, size) = UNITS.into_iter().find(|(_, size)| nanos / size <= MOST).unwrap_or(UNITS[UNITS.len() - 1]);
    let text = format!("{}{}", (nanos / size).min(MOST), char::from(unit));
    FieldValue::try_from(text).unwrap_or(FieldValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timeouts_are_read_strictly() {
        for (text, expected) in [
            ("1n", Some(Duration::from_nanos(1))),
            ("20u", Some(Duration::from_micros(20))),
            ("300m", Some(Duration::from_millis(300))),
            ("00000005S", Some(Duration::from_secs(5))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("0S", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("123456789S", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            (" 1S", None),
            ("1.5S", None),
            ("1S ", None),
        ] {
            assert_eq!(parse(FieldValue::from_static(text).value()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_never_longer(seconds in 0_u64..=u64::MAX >> 8, nanos in 0_u32..1_000_000_000) {
            let timeout = Duration::new(seconds, nanos);
            let read = parse(write(timeout).value()).expect("well formed");
            prop_assert!(read <= timeout);
            // Not more is lost than the unit leaves out.
            let longest = Duration::from_secs(99_999_999 * 3_600);
            prop_assert!(timeout > longest || read >= timeout - timeout / 1_000_000);
        }
    }

    #[test]
    fn fuzz_grpc_timeout() {
        crate::fuzzing::run("grpc_timeout", &["1n", "99999999H", "100m", "20S", "3u", "0M"], |input| {
            let read = parse(FieldValue::from_bytes(input).ok()?.value())?;
            let again = parse(write(read).value()).expect("what is written is read");
            assert!(again <= read && input.len() <= 9, "{read:?}");
            assert!(read - again < Duration::from_secs(3_600) || read > Duration::from_secs(99_999_999 * 3_600));
            Some((input.last().copied(), read == again))
        });
    }
}
