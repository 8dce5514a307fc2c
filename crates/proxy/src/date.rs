//! The `Date` of every answer (RFC 9110 section 6.6.1), by the gateway's own clock.
//!
//! What hyper would write stands still after the clock was set back until the time that it has written last.

use std::cell::RefCell;
use std::time::SystemTime;

use http::HeaderValue;
use time::UtcDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::clock;
use crate::node::Node;

const FORM: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

thread_local! {
    /// At which of the worker's ticks it was written last, and what.
    static WRITTEN: RefCell<(u32, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// The time of day, looked at anew when the worker's time has moved on, and written as it is then: later or earlier.
pub fn now(node: &Node) -> HeaderValue {
    let tick = clock::tick();
    WRITTEN.with_borrow_mut(|(written, date)| {
        if *written != tick {
            (*written, *date) = (tick, of(node.clock.now()));
        }
        date.clone()
    })
}

/// What has last been looked at on this thread, for those who know no clock. None if nothing has.
fn latest() -> Option<HeaderValue> {
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
pub fn of(time: SystemTime) -> HeaderValue {
    let text = UtcDateTime::from(time).format(FORM).ok();
    // A clock that is set beyond what can be written has no date.
    text.and_then(|text| HeaderValue::try_from(text).ok())
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use portcullis_core::memory::ManualClock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{connections, node, serve};

    #[test]
    fn dates_are_written_as_http_wants_them() {
        assert_eq!(of(UNIX_EPOCH + Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(of(UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    const WELL: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    /// What hyper itself refuses.
    const MALFORMED: &str = "GET / HTTP/1.1\r\nno field\r\n\r\n";

    /// What requests are answered at a time of day and at another one, over a connection that is kept.
    async fn dates(moments: [u64; 2], requests: [&str; 2]) -> [String; 2] {
        let clock = Arc::new(ManualClock::at(moments[0]));
        let node = Arc::new(node::testing::at(clock.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut caller = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let (stream, peer) = listener.accept().await.expect("a connection");
        clock::set(1_000);
        now(&node);
        let (watch, place) = connections::watch();
        let serving = serve::connection(Arc::clone(&node), stream, peer, watch, false);
        let asking = async {
            let mut found = [String::new(), String::new()];
            for (at, found) in found.iter_mut().enumerate() {
                caller.write_all(requests[at].as_bytes()).await.expect("sent");
                let mut answer = Vec::new();
                let date = loop {
                    let mut piece = [0; 4_096];
                    let length = caller.read(&mut piece).await.expect("an answer");
                    answer.extend_from_slice(&piece[..length]);
                    let text = String::from_utf8_lossy(&answer).into_owned();
                    if let Some((_, rest)) = text.split_once("\r\nDate: ") {
                        break rest.split_once("\r\n").expect("a line").0.to_owned();
                    }
                    assert!(length > 0 && !text.contains("\r\n\r\n"), "{text}");
                };
                *found = date;
                if at == 0 {
                    clock.set(moments[1]);
                    clock::set(1_200);
                    now(&node);
                }
            }
            found
        };
        let found = tokio::select! {
            () = serving => panic!("the connection has ended"),
            found = asking => found,
        };
        drop(place);
        found
    }

    #[tokio::test]
    async fn the_date_follows_the_clock_wherever_it_is_set() {
        let wanted = |second: u64| of(UNIX_EPOCH + Duration::from_secs(second));
        for moments in [[1_000_000_000, 999_990_000], [1_000_000_000, 1_000_086_400], [86_400, 0]] {
            for requests in [[WELL, WELL], [WELL, MALFORMED]] {
                let found = dates(moments, requests).await.map(|date| HeaderValue::try_from(date).expect("a value"));
                assert_eq!(moments.map(wanted), found, "{requests:?}");
            }
        }
    }
}
