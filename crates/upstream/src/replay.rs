//! Replay of a request, and early hints (103), on a connection in HTTP/1.1. Kept of the exchange under way is the request as it
//! was written, in case that it has to be written once more, and what the target says before its answer.
//!
//! hyper knows both, but only for a price that every call would pay: a copy of the request's fields, and a listener.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Uri};
use portcullis_core::body::Body;
use portcullis_core::call::Hints;
use portcullis_core::message::{FieldMap, FieldName, FieldValue, HasFields};

/// Bytes of a request's head that are kept. One that is longer is not written a second time.
const LONGEST_REQUEST: usize = 128 << 10;
/// Bytes of one thing that a target says before its answer. Whatever follows on more is not looked at.
const LONGEST_INTERIM: usize = 16 << 10;
/// Fields of it.
const INTERIM_FIELDS: usize = 64;

/// What is still looked at.
const REQUEST: u8 = 1;
const INTERIM: u8 = 2;
/// Part of something has come that may be an interim answer.
const BEGUN: u8 = 4;

/// The exchange under way on one connection.
#[derive(Debug, Default)]
pub struct Exchange {
    looks_at: AtomicU8,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The request's head.
    request: Vec<u8>,
    /// What has come of what may be an interim answer.
    interim: Vec<u8>,
    hints: Option<Arc<dyn Hints>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("request", &self.request.len()).finish_non_exhaustive()
    }
}

impl Exchange {
    /// A request is about to be written. Until what is returned is dropped, its head is kept if it `may_repeat`, and what
    /// the target hints at before the answer is passed on.
    pub fn begin(self: &Arc<Self>, may_repeat: bool, hints: Option<&Arc<dyn Hints>>) -> ExchangeGuard {
        if hints.is_some() {
            self.kept().hints = hints.cloned();
        }
        self.looks_at.store(if may_repeat { REQUEST } else { 0 } | if hints.is_some() { INTERIM } else { 0 }, Relaxed);
        ExchangeGuard(Arc::clone(self))
    }

    /// This is about to be written.
    pub fn writes<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) {
        let looks_at = self.looks_at.load(Relaxed);
        if looks_at & REQUEST == 0 {
            return;
        }
        // A head without a body is offered in one go.
        self.looks_at.store(looks_at & !REQUEST, Relaxed);
        let mut kept = self.kept();
        kept.request.clear();
        for piece in pieces {
            if kept.request.len() + piece.len() > LONGEST_REQUEST {
                kept.request.clear();
                return;
            }
            kept.request.extend_from_slice(piece);
        }
    }

    /// This has been read.
    pub fn has_read(&self, bytes: &[u8]) {
        let looks_at = self.looks_at.load(Relaxed);
        if looks_at & INTERIM == 0 || bytes.is_empty() {
            return;
        }
        if looks_at & BEGUN == 0 && !may_be_interim(bytes) {
            self.looks_at.store(looks_at & !INTERIM, Relaxed);
            return;
        }
        let mut kept = self.kept();
        kept.interim.extend_from_slice(bytes);
        let more = kept.pass_on();
        self.looks_at.store(if more { looks_at | BEGUN } else { looks_at & !INTERIM }, Relaxed);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Passes on the hints that have come whole. Whether more may come.
    fn pass_on(&mut self) -> bool {
        let mut passed = 0;
        let more = loop {
            let rest = &self.interim[passed..];
            if !may_be_interim(rest) {
                break false;
            }
            let mut fields = [httparse::EMPTY_HEADER; INTERIM_FIELDS];
            let mut interim = httparse::Response::new(&mut fields);
            let length = match interim.parse(rest) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) => break rest.len() < LONGEST_INTERIM,
                Err(_) => break false,
            };
            match interim.code {
                Some(101) => break false,
                Some(103) => {
                    if let (Some(fields), Some(hints)) = (fields_of(interim.headers), &self.hints) {
                        hints.hint(fields.fields());
                    }
                }
                _ => {}
            }
            passed += length;
        };
        self.interim.drain(..passed);
        more
    }
}

/// Whether an answer that begins like this may be one before the answer. Of a version that knows them: an answer of 1.0 is
/// the answer.
fn may_be_interim(begins: &[u8]) -> bool {
    const INTERIM: &[u8] = b"HTTP/1.1 1";
    let length = begins.len().min(INTERIM.len());
    begins[..length] == INTERIM[..length]
}

fn fields_of(parsed: &[httparse::Header<'_>]) -> Option<FieldMap> {
    let mut fields = FieldMap::with_capacity(parsed.len());
    for field in parsed {
        let name = FieldName::from_bytes(field.name.as_bytes()).ok()?;
        fields.add(name, FieldValue::from_bytes(field.value).ok()?);
    }
    Some(fields)
}

/// A request that is answered, or not, while this lasts.
pub struct ExchangeGuard(Arc<Exchange>);

impl ExchangeGuard {
    /// The request as it was written, if it was and has been kept.
    pub fn again(&self) -> Option<Request<Body>> {
        request(&self.0.kept().request)
    }
}

impl Drop for ExchangeGuard {
    /// Whatever comes from now on is not for this caller.
    fn drop(&mut self) {
        self.0.looks_at.store(0, Relaxed);
        let mut kept = self.0.kept();
        kept.hints = None;
        kept.request.clear();
        if kept.interim.capacity() > 0 {
            kept.interim = Vec::new();
        }
    }
}

/// A request without a body out of a head that was written here.
fn request(head: &[u8]) -> Option<Request<Body>> {
    let mut fields = vec![httparse::EMPTY_HEADER; memchr::memchr_iter(b'\n', head).count()];
    let mut parsed = httparse::Request::new(&mut fields);
    // Whatever of an earlier one had not left yet would stand before it.
    if parsed.parse(head).ok()? != httparse::Status::Complete(head.len()) {
        return None;
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(parsed.path?).ok()?;
    request.fields_mut().replace(fields_of(parsed.headers)?);
    Some(request)
}

#[cfg(test)]
mod tests {
    use portcullis_core::message::Fields;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Hints for Heard {
        fn hint(&self, fields: Fields<'_>) {
            let link = fields.get(FieldName::from_static("link")).and_then(|link| link.text()).unwrap_or("none");
            self.0.lock().expect("not poisoned").push(link.to_owned());
        }
    }

    const HINTED: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 103 Early Hints\r\nX: y\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nLink: </no>\r\n\r\nHTTP/1.1 103 No\r\n\r\n";

    fn hear(pieces: &[&[u8]]) -> Vec<String> {
        let (exchange, heard) = (Arc::new(Exchange::default()), Arc::new(Heard::default()));
        let hints: Arc<dyn Hints> = heard.clone();
        let under_way = exchange.begin(false, Some(&hints));
        pieces.iter().for_each(|piece| exchange.has_read(piece));
        drop(under_way);
        exchange.has_read(HINTED);
        std::mem::take(&mut heard.0.lock().expect("not poisoned"))
    }

    #[test]
    fn hints_are_heard_however_they_are_cut_and_until_the_answer() {
        assert_eq!(hear(&[HINTED]), ["</a>", "</b>"]);
        for cut in 0..HINTED.len() {
            assert_eq!(hear(&[&HINTED[..cut], &HINTED[cut..]]), ["</a>", "</b>"], "{cut}");
        }
        let bytes: Vec<&[u8]> = HINTED.chunks(1).collect();
        assert_eq!(hear(&bytes), ["</a>", "</b>"]);
    }

    #[test]
    fn what_is_no_hint_is_not_taken_for_one() {
        for nothing in [
            &b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 103 No\r\nLink: </no>\r\n\r\n"[..],
            b"HTTP/1.0 103 Early Hints\r\nLink: </no>\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 103 No\r\nLink: </no>\r\n\r\n",
            b"HTTP/1.1 1\0\r\n\r\nHTTP/1.1 103 No\r\nLink: </no>\r\n\r\n",
            b"",
        ] {
            assert_eq!(hear(&[nothing]), [""; 0]);
        }
        let mut long = b"HTTP/1.1 103 Early Hints\r\nX: ".to_vec();
        long.resize(LONGEST_INTERIM, b'x');
        assert_eq!(hear(&[&long, b"\r\n\r\n"]), [""; 0], "too long");
    }

    #[test]
    fn a_request_is_kept_as_it_was_written() {
        let exchange = Arc::new(Exchange::default());
        let head = b"GET /a?b HTTP/1.1\r\nhost: x\r\naccept: 1\r\naccept: 2\r\n\r\n";
        let under_way = exchange.begin(true, None);
        assert!(under_way.again().is_none(), "nothing was written yet");
        exchange.writes([&head[..10], &head[10..]].into_iter());
        exchange.writes([&b"something else"[..]].into_iter());
        let again = under_way.again().expect("kept");
        assert_eq!((again.method(), again.uri()), (&Method::GET, &Uri::from_static("/a?b")));
        let fields: Vec<_> = again.fields().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("host", &b"x"[..]), ("accept", b"1"), ("accept", b"2")]);
        drop(under_way);
        let behind = exchange.begin(true, None);
        exchange.writes([&b"GET /of-another HTTP/1.1\r\n\r\n"[..], head].into_iter());
        assert!(behind.again().is_none(), "another stands before it");
        drop(behind);
        let next = exchange.begin(false, None);
        exchange.writes([&head[..]].into_iter());
        assert!(next.again().is_none(), "it may not be repeated");
        drop(next);
        let long = exchange.begin(true, None);
        exchange.writes([&head[..], &[b'x'; LONGEST_REQUEST]].into_iter());
        assert!(long.again().is_none(), "too long");
    }
}
