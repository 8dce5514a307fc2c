//! Interim responses (1xx). A caller is told before its answer that it may send its body (RFC 9110 section 15.2.1), and what the
//! service hints at (RFC 8297).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use http::{Response, StatusCode};
use portcullis_core::call::Hints;
use portcullis_core::message::{FieldMap, Fields, HasFields};
use portcullis_wire::fields::of_hint;

/// How often a service may give hints on one call. Those that come after are not passed on.
const MOST: usize = 8;
/// Bytes of the fields of one hint. One that is longer is not passed on.
const LONGEST: usize = 8 << 10;

/// What is still to be told on one call. Whoever asks for the body or hears the service says it; whoever writes the
/// answer tells the caller.
#[derive(Debug, Default)]
pub struct Interim {
    /// Whether there is anything, so that calls without do not look further.
    any: AtomicBool,
    /// Whether there ever was.
    used: AtomicBool,
    said: Mutex<Said>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Said {
    go_ahead: bool,
    /// Hints that have come in all.
    number: usize,
    hints: VecDeque<FieldMap>,
}

impl Interim {
    /// The body is wanted.
    pub fn go_ahead(&self) {
        self.say(|said| said.go_ahead = true);
    }

    /// Ready with what the caller is to be told next.
    pub fn poll(&self, context: &Context<'_>) -> Poll<Response<()>> {
        self.waker.register(context.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until all of it has been told by somebody else.
    pub async fn told(&self) {
        if self.any.load(Relaxed) {
            poll_fn(|context| self.poll_told(context)).await;
        }
    }

    /// Ready when all of it has been told.
    fn poll_told(&self, context: &Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.any.load(Relaxed) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Forgets all that was said, for another call.
    pub fn begin_anew(&self) {
        if self.used.swap(false, Relaxed) {
            *self.said() = Said::default();
            self.any.store(false, Relaxed);
        }
    }

    /// What the caller is to be told next.
    pub fn take(&self) -> Option<Response<()>> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let mut said = self.said();
        let mut interim = Response::new(());
        if std::mem::take(&mut said.go_ahead) {
            *interim.status_mut() = StatusCode::CONTINUE;
        } else if let Some(fields) = said.hints.pop_front() {
            *interim.status_mut() = StatusCode::EARLY_HINTS;
            interim.fields_mut().replace(fields);
        } else {
            self.any.store(false, Relaxed);
            drop(said);
            self.waker.wake();
            return None;
        }
        Some(interim)
    }

    fn say(&self, say: impl FnOnce(&mut Said)) {
        let mut said = self.said();
        say(&mut said);
        self.any.store(true, Relaxed);
        self.used.store(true, Relaxed);
        drop(said);
        self.waker.wake();
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hints for Interim {
    fn hint(&self, fields: Fields<'_>) {
        let length = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        if length > LONGEST || self.said().number == MOST {
            return;
        }
        let fields = of_hint(fields);
        if !fields.fields().is_empty() {
            self.say(|said| {
                said.number += 1;
                said.hints.push_back(fields);
            });
        }
    }
}

/// An interim answer as HTTP/1.1 has it, its names written as those of other answers are.
pub fn written(interim: &Response<()>) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(b"HTTP/1.1 ");
    bytes.put_slice(interim.status().as_str().as_bytes());
    bytes.put_u8(b' ');
    bytes.put_slice(interim.status().canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in interim.fields().iter() {
        bytes.put_slice(b"\r\n");
        let mut begins = true;
        for byte in name.as_str().bytes() {
            bytes.put_u8(if begins { byte.to_ascii_uppercase() } else { byte });
            begins = byte == b'-';
        }
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
    }
    bytes.put_slice(b"\r\n\r\n");
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::names::{CONNECTION, LINK, SET_COOKIE};
    use portcullis_core::message::{FieldName, FieldValue};

    fn hint(interim: &Interim, link: &str) {
        let mut fields = FieldMap::new();
        fields.add(LINK, FieldValue::of(link).expect("a value"));
        interim.hint(fields.fields());
    }

    fn all(interim: &Interim) -> Vec<String> {
        let link =
            |interim: Response<()>| interim.fields().get(LINK).expect("a field").text().expect("ASCII").to_owned();
        std::iter::from_fn(|| interim.take()).map(link).collect()
    }

    #[test]
    fn no_more_hints_pass_than_may_and_none_that_is_too_long() {
        let interim = Interim::default();
        hint(&interim, &"x".repeat(LONGEST - 3));
        (0..100).for_each(|number| hint(&interim, &number.to_string()));
        let expected: Vec<String> = (0..MOST).map(|number| number.to_string()).collect();
        assert_eq!(all(&interim), expected);
        hint(&interim, "late");
        assert!(all(&interim).is_empty());
    }

    #[test]
    fn what_is_not_the_services_to_hint_at_stays_here() {
        let interim = Interim::default();
        let mut fields = FieldMap::new();
        for (name, value) in [(CONNECTION, "x-hop"), (SET_COOKIE, "a=1"), (LINK, "</a>")] {
            fields.add(name, FieldValue::from_static(value));
        }
        fields.add(FieldName::from_static("x-hop"), FieldValue::from_static("1"));
        fields.add(FieldName::from_static("x-request-id"), FieldValue::from_static("1"));
        fields.add(FieldName::from_static("content-security-policy"), FieldValue::from_static("a"));
        interim.hint(fields.fields());
        let said = interim.take().expect("a hint");
        let written = String::from_utf8(written(&said).to_vec()).expect("ASCII");
        let mut lines: Vec<&str> = written.split("\r\n").collect();
        assert!(written.ends_with("\r\n\r\n") && lines[0] == "HTTP/1.1 103 Early Hints", "{written}");
        lines.sort_unstable();
        assert_eq!(lines[2..], ["Content-Security-Policy: a", "HTTP/1.1 103 Early Hints", "Link: </a>"]);
        fields.fields_mut().remove(LINK);
        fields.fields_mut().remove(FieldName::from_static("content-security-policy"));
        interim.hint(fields.fields());
        assert!(interim.take().is_none(), "nothing is left of it");
    }

    #[test]
    fn whoever_waits_is_told_when_all_has_been_said() {
        let interim = Interim::default();
        let context = Context::from_waker(std::task::Waker::noop());
        assert!(interim.poll_told(&context).is_ready());
        hint(&interim, "a");
        assert!(interim.poll_told(&context).is_pending());
        assert!(interim.take().is_some() && interim.poll_told(&context).is_pending());
        assert!(interim.take().is_none() && interim.poll_told(&context).is_ready());
    }
}
