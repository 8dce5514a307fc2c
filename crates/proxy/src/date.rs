//! The `Date` of answers that hyper does not write (RFC 9110 section 6.6.1).

use std::cell::RefCell;
use std::time::SystemTime;

use http::HeaderValue;
use time::UtcDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::node::Node;
use crate::worker;

const FORM: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

thread_local! {
    /// At which of the worker's ticks it was written last, and what.
    static WRITTEN: RefCell<(u32, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// The time of day, looked at anew when the worker's clock has moved on.
pub fn now(node: &Node) -> HeaderValue {
    let tick = worker::tick();
    WRITTEN.with_borrow_mut(|(written, date)| {
        if *written != tick {
            (*written, *date) = (tick, write(node.clock.now()));
        }
        date.clone()
    })
}

fn write(time: SystemTime) -> HeaderValue {
    let text = UtcDateTime::from(time).format(FORM).ok();
    // A clock that is set beyond what can be written has no date.
    text.and_then(|text| HeaderValue::try_from(text).ok())
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_are_written_as_http_wants_them() {
        assert_eq!(write(UNIX_EPOCH + Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(write(UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
