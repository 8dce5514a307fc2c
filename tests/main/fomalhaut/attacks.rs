//! Sealed requests that were damaged: whatever is wrong with one, the answer is the same to the byte, and the backend sees
//! nothing of it.

use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Value, json};

use super::{DIALECTS, SECRET, Scene, Told, over, refused};

/// The parts of one sealed request, and where they go.
struct Parts {
    dialect: &'static str,
    uri: String,
    headers: String,
    body: String,
}

const INNER_URI: &str = "/test_api/v1/echo?a=b&c=d&e=f";
const INNER_BODY: &[u8] = b"a body of several blocks, the last of which is not full";

impl Parts {
    fn new(scene: &Scene, dialect: &'static str) -> Self {
        let block = if dialect == "fo" { 16 } else { 32 };
        let headers = json!({"Content-Type": "text/plain", "X-Mine": "mine", "X-Other": "another one"}).to_string();
        let seal = |plain: &[u8]| scene.driver.seal(SECRET, plain, block);
        let (uri, headers, body) = (seal(INNER_URI.as_bytes()), seal(headers.as_bytes()), seal(INNER_BODY));
        Self { dialect, uri, headers, body }
    }

    fn name(&self, which: &str) -> String {
        format!("{}-{which}", if self.dialect == "fo" { "X-Fo" } else { "X-Api" })
    }

    /// A call with these parts. Each is signed as it is here.
    fn call(&self, uri: Option<&str>, headers: Option<&str>, body: &[u8]) -> Value {
        json!({
            "method": "POST", "sealed_call": true, "nonce": "0.5", "outer": "/test_api/v1/?_t=1", "target": INNER_URI,
            "change": [[self.name("Encrypted-Uri"), uri], [self.name("Encrypted-Headers"), headers]],
            "sealed_body": STANDARD.encode(body),
        })
    }

    fn with_uri(&self, uri: &str) -> Value {
        self.call(Some(uri), Some(&self.headers), self.body.as_bytes())
    }

    fn with_headers(&self, headers: &str) -> Value {
        self.call(Some(&self.uri), Some(headers), self.body.as_bytes())
    }

    fn with_body(&self, body: &[u8]) -> Value {
        self.call(Some(&self.uri), Some(&self.headers), body)
    }
}

/// An answer without what differs from call to call: its id, its time, and what follows from them.
fn comparable(told: &Told) -> (u64, String, Vec<(String, String)>, Vec<u8>) {
    let differs = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["date", "x-request-id", "traceparent"].contains(&name.as_str())
            || ["-timestamp", "-nonce", "-signature"].iter().any(|end| name.ends_with(end))
    };
    let fields = told.fields().into_iter().map(|(name, value)| {
        let value = if differs(name) { format!("{} bytes", value.len()) } else { value.to_owned() };
        (name.to_owned(), value)
    });
    let mut fields: Vec<_> = fields.collect();
    // Where a connection is closed, the end of its last answer's head is in another order.
    fields.sort_unstable();
    (told.status(), told.reason().to_owned(), fields, told.body())
}

#[test]
fn whatever_cannot_be_opened_is_refused_with_the_same_bytes() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let parts = Parts::new(&scene, dialect);
        scene.call_through(dialect, &parts.with_uri(&parts.uri)).0.is_fine();
        let before = scene.backend.received().len();
        let block = if dialect == "fo" { 16 } else { 32 };
        let seal = |plain: &[u8]| scene.driver.seal(SECRET, plain, block);
        let raw = |text: &str| STANDARD.decode(text).expect("Base64");
        let no_pad = |text: &str| {
            // The last block goes, and what is in front of it does not end in a pad.
            let bytes = raw(text);
            STANDARD.encode(&bytes[..bytes.len() - usize::from(block)])
        };
        let many: serde_json::Map<_, _> = (0..200).map(|number| (format!("X-A{number}"), json!("1"))).collect();
        let large = json!({"X-A": "a".repeat(30_000), "X-B": "b".repeat(40_000)}).to_string();
        let damages: Vec<(&str, Value)> = vec![
            ("a uri in clear", parts.with_uri(INNER_URI)),
            ("an empty uri", parts.with_uri("")),
            ("a uri without a block", parts.with_uri(&STANDARD.encode([7; 16]))),
            ("a uri of half a block", parts.with_uri(&STANDARD.encode([7; 40]))),
            ("a uri without a pad", parts.with_uri(&no_pad(&parts.uri))),
            ("a uri of random bytes", parts.with_uri(&STANDARD.encode([0xa5; 64]))),
            ("a uri under another key", parts.with_uri(&scene.driver.seal("12345", INNER_URI.as_bytes(), 16))),
            ("a uri in another alphabet", parts.with_uri(&format!("{}__", &URL_SAFE.encode(raw(&parts.uri))[2..]))),
            ("a uri without Base64's pad", parts.with_uri(&STANDARD_NO_PAD.encode([7; 33]))),
            ("two uris", parts.with_uri(&format!("{},{}", parts.uri, parts.uri))),
            ("a uri that is no UTF-8", parts.with_uri(&seal(b"/test_api/v1/\xff\xfe"))),
            ("a uri without a slash", parts.with_uri(&seal(b"test_api/v1/echo"))),
            ("a whole url", parts.with_uri(&seal(b"http://127.0.0.1/test_api/v1/echo"))),
            ("an authority", parts.with_uri(&seal(b"//127.0.0.1/test_api/v1/echo"))),
            ("a uri of two lines", parts.with_uri(&seal(b"/test_api/v1/echo HTTP/1.1\r\nX-App-Id: forged"))),
            ("a uri with a space", parts.with_uri(&seal(b"/test_api/v1/ec ho"))),
            ("a uri with a fragment", parts.with_uri(&seal(b"/test_api/v1/echo#a"))),
            ("a uri of nothing", parts.with_uri(&seal(b""))),
            ("another endpoint", parts.with_uri(&seal(b"/test_api/v2/echo"))),
            ("a way up", parts.with_uri(&seal(b"/test_api/v1/../v2/echo"))),
            ("a parameter", parts.with_uri(&seal(b"/test_api/v1/;a=b/echo"))),
            ("a nul", parts.with_uri(&seal(b"/test_api/v1/%00"))),
            ("a backslash", parts.with_uri(&seal(b"/test_api/v1/\\echo"))),
            ("headers in clear", parts.with_headers("{}")),
            ("empty headers", parts.with_headers("")),
            ("headers without a pad", parts.with_headers(&no_pad(&parts.headers))),
            ("headers under another key", parts.with_headers(&scene.driver.seal("12345", b"{}", 16))),
            ("headers that are no JSON", parts.with_headers(&seal(b"{\"A\": \"b\""))),
            ("two objects", parts.with_headers(&seal(b"{}{}"))),
            ("a list", parts.with_headers(&seal(b"[\"A\", \"b\"]"))),
            ("a text", parts.with_headers(&seal(b"\"A\""))),
            ("null", parts.with_headers(&seal(b"null"))),
            ("a number as a value", parts.with_headers(&seal(b"{\"A\": 1}"))),
            ("an object as a value", parts.with_headers(&seal(b"{\"A\": {}}"))),
            ("a name twice", parts.with_headers(&seal(b"{\"A\": \"1\", \"A\": \"2\"}"))),
            ("a name that is none", parts.with_headers(&seal(b"{\"A b\": \"1\"}"))),
            ("an empty name", parts.with_headers(&seal(b"{\"\": \"1\"}"))),
            ("a name of two lines", parts.with_headers(&seal(b"{\"A: 1\\r\\nX-App-Id\": \"1\"}"))),
            ("a value of two lines", parts.with_headers(&seal(b"{\"A\": \"1\\r\\nX-App-Id: forged\"}"))),
            ("too many fields", parts.with_headers(&seal(Value::from(many).to_string().as_bytes()))),
            ("a body in clear", parts.with_body(INNER_BODY)),
            ("a body of a line more", parts.with_body(format!("{}\n", parts.body).as_bytes())),
            ("a body without a pad", parts.with_body(no_pad(&parts.body).as_bytes())),
            ("a body under another key", parts.with_body(scene.driver.seal("12345", INNER_BODY, 16).as_bytes())),
            ("a body that is no Base64", parts.with_body(&raw(&parts.body))),
            ("parts in each other's place", parts.call(Some(&parts.headers), Some(&parts.uri), parts.body.as_bytes())),
            ("the body as the uri", parts.call(Some(&parts.body), Some(&parts.headers), parts.uri.as_bytes())),
            ("everything at once", parts.call(Some("x"), Some("y"), b"z")),
        ];
        let mut first = None;
        for (what, call) in &damages {
            let told = scene.call(dialect, call);
            assert_ne!(told.status(), 200, "{what}");
            refused(dialect, &told, 423, "AES Decrypt Failed");
            told.is_verified();
            assert_eq!(told.field(&parts.name("Encrypt-Type")), None, "{what}");
            let answer = comparable(&told);
            assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer, "{what}");
        }
        // More fields than one head holds are too many before anybody opens them.
        assert_ne!(scene.call(dialect, &parts.with_headers(&seal(large.as_bytes()))).status(), 200);
        assert_eq!(scene.backend.received().len(), before);
    }
}

#[test]
fn a_part_cut_short_is_not_opened() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let parts = Parts::new(&scene, dialect);
        let mut first = None;
        let mut check = |call: &Value, what: &str, length: usize| {
            let told = scene.call(dialect, call);
            assert_ne!(told.status(), 200, "{what} cut to {length}");
            refused(dialect, &told, 423, "AES Decrypt Failed");
            let answer = comparable(&told);
            assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer, "{what} cut to {length}");
        };
        for length in 0..parts.uri.len() {
            check(&parts.with_uri(&parts.uri[..length]), "uri", length);
        }
        for length in 0..parts.headers.len() {
            check(&parts.with_headers(&parts.headers[..length]), "headers", length);
        }
        // No body at all is none that was cut.
        for length in 1..parts.body.len() {
            check(&parts.with_body(&parts.body.as_bytes()[..length]), "body", length);
        }
    }
    assert!(scene.backend.received().is_empty());
}

/// What a sealed text holds, as the client in Python opens it.
fn opened(scene: &Scene, text: &str) -> Option<Vec<u8>> {
    let said = scene.driver.ask("opening", &json!({"secret": SECRET, "text": text}));
    (!said["plain"].is_null()).then(|| super::unpacked(&said["plain"]))
}

/// A text with one bit of what it encodes turned.
fn turned(text: &str, place: usize) -> String {
    let mut bytes = STANDARD.decode(text).expect("Base64");
    bytes[place] ^= 1 << (place % 8);
    STANDARD.encode(bytes)
}

#[test]
fn a_turned_bit_is_noticed_or_read_as_it_stands() {
    // CBC does not tell that a bit was turned; the signature does. Signed anew by its client, such a part is either no sealed
    // text any more, or it is what the client says: nothing in between.
    let scene = Scene::new();
    for dialect in DIALECTS {
        let parts = Parts::new(&scene, dialect);
        let mut first = None;
        let refusals = Cell::new(0);
        let mut check = |call: &Value, expected: Option<(Option<String>, Option<Vec<u8>>)>| {
            let before = scene.backend.received().len();
            let told = scene.call(dialect, call);
            if told.status() == 200 {
                let request = scene.backend.received().pop().expect("one");
                let (target, body) =
                    expected.unwrap_or_else(|| panic!("{call} is no sealed text, and came as {request:?}"));
                assert!(target.is_none_or(|target| target == request.target), "{call} came as {request:?}");
                assert!(body.is_none_or(|body| body == request.body), "{call} came as {request:?}");
                return;
            }
            refused(dialect, &told, 423, "AES Decrypt Failed");
            let answer = comparable(&told);
            assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer);
            assert_eq!(scene.backend.received().len(), before);
            refusals.set(refusals.get() + 1);
        };
        let mut places = 0;
        for place in 0..STANDARD.decode(&parts.uri).expect("Base64").len() {
            let text = turned(&parts.uri, place);
            let uri = opened(&scene, &text).and_then(|plain| String::from_utf8(plain).ok());
            let rest = uri.and_then(|uri| uri.strip_prefix("/test_api/v1").map(str::to_owned));
            let rest = rest.map(|rest| if rest.starts_with('/') { rest } else { format!("/{rest}") });
            check(&parts.with_uri(&text), rest.map(|rest| (Some(rest), None)));
            places += 1;
        }
        for place in 0..STANDARD.decode(&parts.headers).expect("Base64").len() {
            let text = turned(&parts.headers, place);
            let fields = opened(&scene, &text).filter(|plain| serde_json::from_slice::<Value>(plain).is_ok());
            check(&parts.with_headers(&text), fields.map(|_| (None, None)));
            places += 1;
        }
        assert!(refusals.get() * 4 > places * 3, "{refusals:?} of {places}");
        for place in 0..STANDARD.decode(&parts.body).expect("Base64").len() {
            let text = turned(&parts.body, place);
            check(&parts.with_body(text.as_bytes()), opened(&scene, &text).map(|plain| (None, Some(plain))));
        }
    }
}

#[test]
fn what_is_damaged_on_its_way_has_no_signature() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let parts = Parts::new(&scene, dialect);
        let good = parts.with_uri(&parts.uri);
        let mut first = None;
        let mut check = |change: &Value| {
            let told = scene.call(dialect, &over(&good, change));
            refused(dialect, &told, 431, "Invalid Signature");
            told.is_unsigned();
            let answer = comparable(&told);
            assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer, "{change}");
        };
        let (uri, headers) = (parts.name("Encrypted-Uri"), parts.name("Encrypted-Headers"));
        for place in 0..STANDARD.decode(&parts.uri).expect("Base64").len() {
            check(&json!({"after": [[uri, turned(&parts.uri, place)]]}));
        }
        for place in 0..STANDARD.decode(&parts.headers).expect("Base64").len() {
            check(&json!({"after": [[headers, turned(&parts.headers, place)]]}));
        }
        for place in 0..STANDARD.decode(&parts.body).expect("Base64").len() {
            check(&json!({"body_after": STANDARD.encode(turned(&parts.body, place))}));
        }
        let other = Parts::new(&scene, dialect);
        for change in [
            json!({"after": [[uri, other.uri]]}),
            json!({"after": [[headers, other.headers]]}),
            json!({"body_after": STANDARD.encode(&other.body)}),
            json!({"after": [[uri, parts.headers], [headers, parts.uri]]}),
            json!({"after": [[uri, null]]}),
            json!({"after": [[headers, null]]}),
            json!({"after": [[uri, null], [headers, null]]}),
            json!({"after": [[parts.name("Encrypt-Type"), "raw"]]}),
            json!({"after": [[parts.name("Encrypt-Type"), null]]}),
            json!({"body_after": ""}),
            json!({"body_after": STANDARD.encode(INNER_BODY)}),
            json!({"target_after": "/test_api/v1/echo?_t=1"}),
        ] {
            check(&change);
        }
    }
    assert!(scene.backend.received().is_empty());
}
