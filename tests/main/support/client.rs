//! An HTTP/1.1 client that sends exactly what it is told to, and reads answers strictly.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::agreement;

/// How long any test waits for bytes before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The fields in order, names as they were sent.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field, by its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a refusal, having checked that it is a whole RFC 9457 body.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(body["status"], self.status, "{body}");
        for member in ["type", "title", "detail", "code", "request_id"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
        }
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Connects, with time limits on everything.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// The same from another address of this machine: another caller.
pub(crate) fn connect_as(source: &str, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source: SocketAddr = format!("{source}:0").parse().expect("an address");
    socket.bind(&source.into()).expect("bound");
    socket.connect(&address.into()).expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Makes one call over a connection of its own.
pub(crate) fn call(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let named = |name: &str| headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
    if !named("host") {
        head += &format!("Host: {address}\r\n");
    }
    if !named("content-length") && !named("transfer-encoding") && (!body.is_empty() || method == "POST") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Connection: close\r\n\r\n";
    let mut stream = connect(address);
    stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    let answer = read_answer(&mut stream, method == "HEAD");
    agreement::hold(address, &[head.as_bytes(), body].concat(), &answer);
    answer
}

/// Sends bytes as they are and reads until the other side closes; a reset after some bytes is an end too.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // The gateway may have answered and closed before it has read everything.
    let _ = stream.write_all(bytes);
    let answered = read_to_close(&mut stream);
    if let Some(answer) = first_answer(&answered) {
        agreement::hold(address, bytes, &answer);
    }
    answered
}

/// Reads until the other side closes.
pub(crate) fn read_to_close(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

/// Reads one answer off a connection, byte by byte, so that nothing of the next one is lost.
pub(crate) fn read_answer(stream: &mut impl Read, to_head: bool) -> Answer {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut byte).expect("more of the head");
            assert!(length == 1, "closed in the head: {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let (status, headers) = parse_head(&head);
        let mut answer = Answer { status, headers, body: Vec::new() };
        if (100..200).contains(&status) {
            continue;
        }
        if to_head || status == 204 || status == 304 {
            return answer;
        }
        answer.body = read_body(stream, &answer);
        return answer;
    }
}

fn read_body(stream: &mut impl Read, answer: &Answer) -> Vec<u8> {
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        assert!(answer.header("content-length").is_none(), "framed twice: {answer:?}");
        let mut body = Vec::new();
        loop {
            let size =
                usize::from_str_radix(read_line(stream).split(';').next().unwrap_or(""), 16).expect("a chunk size");
            if size == 0 {
                while !read_line(stream).is_empty() {}
                return body;
            }
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).expect("a whole chunk");
            assert!(chunk.ends_with(b"\r\n"), "a chunk that does not end");
            body.extend_from_slice(&chunk[..size]);
        }
    }
    match answer.header("content-length") {
        Some(length) => {
            let mut body = vec![0; length.parse().expect("a length")];
            stream.read_exact(&mut body).expect("the whole body");
            body
        }
        None => read_to_close(stream),
    }
}

fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).expect("a whole line");
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).expect("an ASCII line")
}

/// Status and fields of a head.
pub(crate) fn parse_head(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    // What curl shows of HTTP/2 has the same form.
    let head = match head.strip_prefix(b"HTTP/2 ") {
        Some(rest) => Cow::Owned([b"HTTP/1.1 ", rest].concat()),
        None => Cow::Borrowed(head),
    };
    let mut response = httparse::Response::new(&mut fields);
    assert!(response.parse(&head).expect("a well-formed head").is_complete());
    let headers = response
        .headers
        .iter()
        .map(|field| (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned()))
        .collect();
    (response.code.expect("a status"), headers)
}

/// All answers in a stream of bytes that were read to the close; every one of them must be whole.
pub(crate) fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(read_answer(&mut bytes, false));
    }
    all
}

/// The first answer in some bytes, if there is a whole one that says how long it is.
fn first_answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let (status, headers) = parse_head(&bytes[..end]);
    let mut answer = Answer { status, headers, body: Vec::new() };
    let length: usize = answer.header("content-length")?.parse().ok()?;
    answer.body = bytes.get(end..end + length)?.to_vec();
    Some(answer)
}
