//! Backends that keep every byte they are sent, and answer as they are told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::PATIENCE;

/// A request as a backend read it off the wire, strictly.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The method.
    pub(crate) method: String,
    /// The request target.
    pub(crate) target: String,
    /// The fields in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub(crate) body: Vec<u8>,
    /// Trailer fields.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Received {
    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that stands once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} stands {} times", all.len());
        all.first().copied()
    }
}

/// A server on loopback that records what it gets. It lives as long as the test's process.
pub(crate) struct Backend {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
    wire: Arc<Mutex<Vec<Wire>>>,
    faults: Arc<Mutex<usize>>,
}

/// What came over one connection, byte for byte, as far as it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether the backend has stopped reading: the other side closed, or it was told not to go on.
    pub(crate) ended: bool,
}

/// Counts a connection whose thread panicked, because what came over it was not HTTP/1.1 to the letter.
struct Fault(Arc<Mutex<usize>>);

impl Drop for Fault {
    fn drop(&mut self) {
        if thread::panicking() {
            *self.0.lock().expect("not poisoned") += 1;
        }
    }
}

impl Backend {
    /// A backend that answers every request with what it saw of it, as JSON.
    pub(crate) fn echo() -> Self {
        Self::answering(|request| {
            let fields: Vec<Value> = request.headers.iter().map(|(name, value)| json!([name, value])).collect();
            let body = json!({
                "method": request.method,
                "target": request.target,
                "headers": fields,
                "body": String::from_utf8_lossy(&request.body),
            });
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Backend: yes\r\n";
            let body = body.to_string();
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        })
    }

    /// A backend that answers every request with the bytes a function makes of it, and keeps the connection.
    pub(crate) fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serving(move |stream, request| {
            let is_head = request.method == "HEAD";
            let mut bytes = answer(&request);
            if is_head {
                let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
                bytes.truncate(end);
            }
            stream.write_all(&bytes).is_ok()
        })
    }

    /// A backend whose function gets the connection with each request, and says whether to go on with it.
    pub(crate) fn serving(serve: impl Fn(&mut TcpStream, Received) -> bool + Send + Sync + 'static) -> Self {
        let (serve, received) = (Arc::new(serve), Arc::new(Mutex::new(Vec::new())));
        let (seen, wire) = (Arc::clone(&received), Arc::default());
        let log: Arc<Mutex<Vec<Wire>>> = Arc::clone(&wire);
        Self::raw(received, wire, move |stream| {
            let number = {
                let mut log = log.lock().expect("not poisoned");
                log.push(Wire::default());
                log.len() - 1
            };
            let stream_again = stream.try_clone().expect("a second handle");
            let mut reader = Reader { stream: stream_again, buffer: Vec::new(), wire: Arc::clone(&log), number };
            while let Some(request) = reader.request() {
                seen.lock().expect("not poisoned").push(request.clone());
                if !serve(stream, request) {
                    return;
                }
            }
        })
    }

    /// A backend whose function gets the bare connection.
    pub(crate) fn connected(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::raw(Arc::default(), Arc::default(), serve)
    }

    fn raw(
        received: Arc<Mutex<Vec<Received>>>,
        wire: Arc<Mutex<Vec<Wire>>>,
        serve: impl Fn(&mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(Mutex::new(0));
        let (serve, opened) = (Arc::new(serve), Arc::clone(&connections));
        let faults = Arc::default();
        let counted = Arc::clone(&faults);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                *opened.lock().expect("not poisoned") += 1;
                stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
                // What it writes is on the wire when it has been written.
                stream.set_nodelay(true).expect("no delay");
                let (serve, fault) = (Arc::clone(&serve), Fault(Arc::clone(&counted)));
                thread::spawn(move || {
                    let _fault = fault;
                    serve(&mut stream);
                });
            }
        });
        Self { address, received, connections, wire, faults }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has got so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    /// How many connections it has taken.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().expect("not poisoned")
    }

    /// What came over each connection, in the order their requests were first read.
    pub(crate) fn wire(&self) -> Vec<Wire> {
        self.wire.lock().expect("not poisoned").clone()
    }

    /// Waits until this holds of what came over the connections.
    pub(crate) fn wait_for_wire(&self, found: impl Fn(&[Wire]) -> bool) -> Vec<Wire> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wire = self.wire();
            if found(&wire) {
                return wire;
            }
            assert!(Instant::now() < deadline, "the backend has seen something else: {wire:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, requests: usize) -> Vec<Received> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let received = self.received();
            if received.len() >= requests {
                return received;
            }
            assert!(Instant::now() < deadline, "{requests} requests were to come: {received:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Backend {
    /// Whatever a test is about: nothing but strict HTTP/1.1 ever comes to a backend.
    fn drop(&mut self) {
        let faults = *self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if !thread::panicking() {
            assert_eq!(faults, 0, "connections with something on them that was not strict HTTP/1.1");
        }
    }
}

/// Reads requests off a connection and panics at anything that is not strictly HTTP/1.1.
struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    wire: Arc<Mutex<Vec<Wire>>>,
    number: usize,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)[self.number].ended = true;
    }
}

impl Reader {
    fn fill(&mut self) -> bool {
        let mut more = [0; 16_384];
        match self.stream.read(&mut more) {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&more[..length]);
                self.wire.lock().expect("not poisoned")[self.number].bytes.extend_from_slice(&more[..length]);
                true
            }
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|part| part == end) {
                return self.take(at + end.len());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn request(&mut self) -> Option<Received> {
        let head = self.until(b"\r\n\r\n")?;
        let bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
        assert!(!head.windows(2).any(bare), "a line that does not end in CRLF: {:?}", String::from_utf8_lossy(&head));
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut fields);
        assert!(request.parse(&head).expect("a well-formed request").is_complete());
        assert_eq!(request.version, Some(1));
        let mut received = Received {
            method: request.method.expect("a method").to_owned(),
            target: request.path.expect("a target").to_owned(),
            headers: own(request.headers),
            body: Vec::new(),
            trailers: Vec::new(),
        };
        let length = received.header("content-length").map(str::to_owned);
        let coding = received.header("transfer-encoding").map(str::to_owned);
        assert!(length.is_none() || coding.is_none(), "framed twice: {received:?}");
        if let Some(coding) = coding {
            assert_eq!(coding, "chunked");
            loop {
                let line = self.until(b"\r\n")?;
                let size = std::str::from_utf8(&line).expect("ASCII").trim_end();
                assert!(size.bytes().all(|digit| digit.is_ascii_hexdigit()), "{size:?}");
                let size = usize::from_str_radix(size, 16).expect("a size");
                if size == 0 {
                    break;
                }
                let chunk = self.take(size + 2)?;
                assert!(chunk.ends_with(b"\r\n"));
                received.body.extend_from_slice(&chunk[..size]);
            }
            loop {
                let line = self.until(b"\r\n")?;
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                let Some((name, value)) = text.split_once(':') else { break };
                received.trailers.push((name.to_owned(), value.trim().to_owned()));
            }
        } else if let Some(length) = length {
            assert!(length.bytes().all(|digit| digit.is_ascii_digit()), "{length:?}");
            received.body = self.take(length.parse().expect("a length"))?;
        }
        Some(received)
    }
}

fn own(fields: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    fields.iter().map(|field| (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned())).collect()
}
