//! The `Date` of every answer (RFC 9110 section 6.6.1), by the gateway's own clock.
//!
//! What hyper would write stands still after the clock was set back until the time that it has written last.

use std::cell::RefCell;
use std::time::SystemTime;

use portcullis_core::message::FieldValue;
use portcullis_core::ports::Clock;
use time::UtcDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::clock;

const FORM: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

thread_local! {
    /// At which of the worker's ticks it was written last, and what.
    static WRITTEN: RefCell<(u32, FieldValue)> = const { RefCell::new((0, FieldValue::from_static(""))) };
}

/// The time of day, looked at anew when the worker's time has moved on, and written as it is then: later or earlier.
#[inline]
pub fn now(clock: &dyn Clock) -> FieldValue {
    let tick = clock::tick();
    WRITTEN.with_borrow_mut(|(written, date)| {
        if *written != tick {
            (*written, *date) = (tick, of(clock.now()));
        }
        date.clone()
    })
}

/// What has last been looked at on this thread, for those who know no clock. None if nothing has.
fn latest() -> Option<FieldValue> {
    WRITTEN.with_borrow(|(written, date)| (*written != 0).then(|| date.clone()))
}

/// An answer that is written by hand, or by hyper, with the date behind its other fields.
pub fn stamped(answer: &[u8]) -> Vec<u8> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (Some(end), Some(date)) = (end, latest()) else { return answer.to_vec() };
    let (head, rest) = answer.split_at(end);
    [head, b"\r\nDate: ", date.as_bytes(), rest].concat()
}

/// A moment as HTTP writes it.
pub fn of(time: SystemTime) -> FieldValue {
    let text = UtcDateTime::from(time).format(FORM).ok();
    // A clock that is set beyond what can be written has no date.
    text.and_then(|text| FieldValue::try_from(text).ok())
        .unwrap_or(FieldValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        assert_eq!(of(UNIX_EPOCH + Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(of(UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
