//! Clients of fomalhaut at a real gateway: a client in Python that shares no line with it calls in both dialects, and a
//! backend keeps what it was sent.

mod attacks;
mod endpoints;
mod errors;
mod logins;
mod others;
mod over_http2;
mod public;
mod replay;
mod rules;
mod sealed;
mod secrets;
mod signed;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::support::backend::Received;
use super::support::scene::until;
use super::support::{Backend, Gateway, python};

/// Both dialects.
const DIALECTS: [&str; 2] = ["fo", "api"];

/// What the client `shop` is known by, and proves itself with.
const ACCESS_KEY: &str = "abcd";
const SECRET: &str = "1234";

/// A body that is no text.
fn binary() -> Vec<u8> {
    (0..=255).rev().cycle().take(1_000).collect()
}

/// The client in Python. It ends with the test.
struct Driver {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Driver {
    fn start() -> Self {
        let script =
            concat!(include_str!("fomalhaut_driver.py"), include_str!("over_http2.py"), include_str!("commands.py"));
        let mut command = Command::new(python());
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, pipes: Mutex::new((stdin, stdout)) }
    }

    /// Has it do something.
    fn ask(&self, what: &str, with: &Value) -> Value {
        let said = self.try_to(what, with);
        assert!(said["failed"].is_null(), "{what} {with}\n{}", said["failed"].as_str().unwrap_or_default());
        said
    }

    /// Has it try to do something; the answer has `failed` where it could not.
    fn try_to(&self, what: &str, with: &Value) -> Value {
        let mut wanted = with.clone();
        wanted["do"] = what.into();
        let mut pipes = self.pipes.lock().expect("not poisoned");
        writeln!(pipes.0, "{wanted}").expect("it listens");
        let mut line = String::new();
        pipes.1.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// A sealed text.
    fn seal(&self, secret: &str, plain: &[u8], block: u8) -> String {
        let said = self.ask("sealing", &json!({"secret": secret, "text": STANDARD.encode(plain), "block": block}));
        said["text"].as_str().expect("a text").to_owned()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the client in Python says of an answer.
#[derive(Debug, Clone)]
struct Told(Value);

impl Told {
    fn status(&self) -> u64 {
        self.0["status"].as_u64().expect("a status")
    }

    fn reason(&self) -> &str {
        self.0["reason"].as_str().expect("a reason")
    }

    /// Name and value of each field, as they came.
    fn fields(&self) -> Vec<(&str, &str)> {
        let pairs = self.0["fields"].as_array().expect("a list");
        pairs.iter().map(|pair| (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value"))).collect()
    }

    /// The one value of a field.
    fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields().into_iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value);
        assert_eq!(found.next(), None, "{name} stands twice: {self:?}");
        value
    }

    /// The body as it came.
    fn body(&self) -> Vec<u8> {
        unpacked(&self.0["body"])
    }

    /// The body, opened where it is sealed.
    fn opened(&self) -> Vec<u8> {
        unpacked(&self.0["opened"])
    }

    /// The target that was called.
    fn target(&self) -> &str {
        self.0["request"]["target"].as_str().expect("a target")
    }

    /// That a client takes the answer's signature.
    #[track_caller]
    fn is_verified(&self) -> &Self {
        assert_eq!(self.0["verified"], "good", "{self:?} {}", String::from_utf8_lossy(&self.body()));
        self
    }

    /// That the answer has no signature.
    #[track_caller]
    fn is_unsigned(&self) -> &Self {
        assert_eq!(self.0["verified"], "not signed", "{self:?}");
        self
    }

    /// That the gateway has let it through, and a client takes the answer.
    #[track_caller]
    fn is_fine(&self) -> &Self {
        assert_eq!(self.status(), 200, "{}", String::from_utf8_lossy(&self.body()));
        self.is_verified()
    }
}

fn unpacked(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_else(|| panic!("{value} is no text"))).expect("Base64")
}

/// One value over another: members of the second go before those of the first.
fn over(under: &Value, more: &Value) -> Value {
    let mut both = under.clone();
    for (member, value) in more.as_object().expect("an object") {
        both[member] = value.clone();
    }
    both
}

/// A gateway with the client `shop` and a route of it to `test_api/v1`, the backend there, and the client in Python.
struct Scene {
    gateway: Gateway,
    backend: Backend,
    driver: Driver,
    callers: AtomicU16,
}

impl Scene {
    fn new() -> Self {
        Self::with("", &json!({}))
    }

    /// With these settings, and these members of the route.
    fn with(settings: &str, route: &Value) -> Self {
        let (gateway, backend, driver) = (Gateway::with(settings), answering(), Driver::start());
        let scene = Self { gateway, backend, driver, callers: AtomicU16::new(0) };
        scene.add_client("shop", ACCESS_KEY, SECRET);
        let service = json!({
            "targets": [{"url": scene.backend.url()}], "default_route": false, "require": [["signature"]],
        });
        scene.gateway.admin_ok("PUT", "/services/test_api/v1", Some(&service), 201);
        scene.route("shop", route);
        scene
    }

    fn add_client(&self, name: &str, access_key: &str, secret: &str) {
        let client = json!({"name": name, "access_key": access_key, "secret_key": secret});
        self.gateway.admin_ok("POST", "/clients", Some(&client), 201);
    }

    /// Declares the route of a client to `test_api/v1`, with these members.
    fn route(&self, client: &str, more: &Value) {
        let matches = json!({"client": client, "path": {"prefix": "/test_api/v1"}});
        let route = over(&json!({"match": matches, "service": "test_api/v1", "strip": true}), more);
        let answer = self.gateway.admin("PUT", &format!("/routes/{client}-test_api"), Some(&route));
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    }

    /// What a call has unless it says otherwise.
    fn usual(&self, dialect: &str) -> Value {
        json!({
            "dialect": dialect, "client": ACCESS_KEY, "secret": SECRET, "host": self.gateway.data.to_string(),
            "method": "GET", "target": "/test_api/v1/resource/",
        })
    }

    /// Has the client in Python make a call.
    fn call(&self, dialect: &str, more: &Value) -> Told {
        Told(self.driver.ask("call", &over(&over(&self.usual(dialect), &self.caller()), more)))
    }

    /// Where calls go, and an address that no call has come from: failures are counted by address.
    fn caller(&self) -> Value {
        let [high, low] = self.callers.fetch_add(1, SeqCst).to_be_bytes();
        json!({"address": self.gateway.data.to_string(), "source": format!("127.9.{high}.{low}")})
    }

    /// The same, and what the backend got of it, which must be one request.
    #[track_caller]
    fn call_through(&self, dialect: &str, more: &Value) -> (Told, Received) {
        let before = self.backend.received().len();
        let told = self.call(dialect, more);
        let mut received = self.backend.received();
        assert_eq!(received.len(), before + 1, "{more}: {} {:?}", told.status(), String::from_utf8_lossy(&told.body()));
        let request = received.pop().expect("one");
        holds_no_field_of_the_dialects(&request);
        (told, request)
    }

    /// The bytes of a request that is not sent yet, in Base64.
    fn written(&self, dialect: &str, more: &Value) -> String {
        let said = self.driver.ask("written", &over(&self.usual(dialect), more));
        said["bytes"].as_str().expect("Base64").to_owned()
    }

    /// Sends bytes as they are.
    fn send(&self, bytes: &str) -> Told {
        Told(self.driver.ask("raw", &over(&self.caller(), &json!({"data": bytes}))))
    }
}

/// What the dialect `api` says to the gateway alone. Of `fo` this is everything that begins like its fields.
const OF_API: [&str; 8] = [
    "x-api-access-token",
    "x-api-timestamp",
    "x-api-nonce",
    "x-api-signature",
    "x-api-encrypt-type",
    "x-api-encrypted-uri",
    "x-api-encrypted-headers",
    "x-api-require-response-signature",
];

/// Whatever a test is about: nothing that a client says to the gateway alone comes to a backend.
#[track_caller]
fn holds_no_field_of_the_dialects(request: &Received) {
    for (name, _) in &request.headers {
        let name = name.to_ascii_lowercase().replace('_', "-");
        assert!(!name.starts_with("x-fo-") && !OF_API.contains(&name.as_str()), "{request:?}");
    }
}

/// That a call was refused with this result code, and said so to the letter. `fo` says the code, `api` its status.
#[track_caller]
fn refused(dialect: &str, told: &Told, code: u64, text: &str) {
    let (status, body) = if dialect == "fo" {
        (949, format!(r#"{{"code":{code},"value":null,"message":"{code} {text}"}}"#))
    } else {
        (600, format!(r#"{{"code":600,"data":null,"msg":"600 {text}"}}"#))
    };
    assert_eq!((told.status(), String::from_utf8(told.opened()).as_deref()), (status, Ok(body.as_str())), "{told:?}");
    assert_eq!(told.reason(), "Invalid Request");
    assert_eq!(told.field("content-type"), Some("application/json; charset=utf-8"));
    assert!(dialect == "api" || told.field("x-fo-timestamp").is_some(), "{told:?}");
}

/// A backend that answers by the end of the path: `/echo` gives the body back, and others do what their names say.
fn answering() -> Backend {
    Backend::serving(|stream, request| {
        let path = request.target.split('?').next().unwrap_or_default();
        let kind = request.header("content-type").unwrap_or("text/plain").to_owned();
        let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}");
        let (head, body) = match path.rsplit('/').next().unwrap_or_default() {
            "echo" => (head(&format!("Content-Type: {kind}\r\n")), request.body.clone()),
            "empty" => (head(""), Vec::new()),
            "nothing" => ("HTTP/1.1 204 No Content\r\n".to_owned(), Vec::new()),
            "odd" => ("HTTP/1.1 799 Odd Indeed\r\n".to_owned(), b"odd".to_vec()),
            "large" => (head(""), vec![b'x'; 300_000]),
            "huge" => (head(""), vec![b'x'; (8 << 20) + 1]),
            "cookies" => (head("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"), b"cookies".to_vec()),
            "forged" => {
                let fo = "X-Fo-Signature: forged\r\nX-Fo-Encrypt-Type: aes\r\nX-Fo-Nonce: 1\r\nX-Fo-Timestamp: 1\r\n";
                let api = fo.replace("X-Fo-", "X-Api-");
                (
                    head(&format!("{fo}{api}X-Fo-Extra: of the service\r\nX-Api-Extra: of the service\r\n")),
                    b"forged".to_vec(),
                )
            }
            "slow" => {
                // Until the other side ends.
                while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
                return false;
            }
            _ => (head("Content-Type: text/plain\r\n"), request.method.to_ascii_lowercase().into_bytes()),
        };
        let length = if head.contains(" 204 ") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let body = if request.method == "HEAD" { Vec::new() } else { body };
        stream.write_all(&[format!("{head}{length}\r\n").as_bytes(), &body].concat()).is_ok()
    })
}

#[test]
fn the_client_in_python_agrees_with_fomalhauts_own() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/spec/vectors/fomalhaut.json");
    let said = Driver::start().ask("vectors", &json!({"path": path}));
    assert_eq!(said["checked"], json!([33, 32, 5]));
}
