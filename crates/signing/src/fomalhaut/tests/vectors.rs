//! Every vector of `spec/vectors/fomalhaut.json`: made with the code of the protocols' first implementation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::fomalhaut::{Algorithm, Canonical, Dialect, Head, Signature, SigningKey};

const VECTORS: &str = include_str!("../../../../../spec/vectors/fomalhaut.json");

/// The vectors of one kind. How many there are is said here, so that none is lost unseen.
fn vectors(kind: &str, count: usize) -> Vec<Value> {
    let all: Value = serde_json::from_str(VECTORS).expect("JSON");
    let vectors = all[kind].as_array().expect("a list").clone();
    assert_eq!(vectors.len(), count, "{kind}");
    vectors
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} in {vector}"))
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    STANDARD.decode(text(vector, name)).expect("base64")
}

fn dialect(vector: &Value) -> Dialect {
    match text(vector, "dialect") {
        "fo" => Dialect::Fo,
        "api" => Dialect::Api,
        other => panic!("a dialect called {other}"),
    }
}

fn key(vector: &Value) -> SigningKey {
    SigningKey::new(text(vector, "secret_key").as_bytes()).expect("a secret")
}

fn fields(vector: &Value) -> Vec<(&str, &str)> {
    let fields = vector["headers"].as_object().expect("an object");
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text"))).collect()
}

/// The string to sign byte for byte, then the signature: computed, read and verified.
fn holds(vector: &Value, canonical: &Canonical) {
    let (name, dialect, body, key) = (text(vector, "name"), dialect(vector), bytes(vector, "body_b64"), key(vector));
    let string = [canonical.as_str().as_bytes(), &body].concat();
    assert_eq!(string, bytes(vector, "string_to_sign_b64"), "{name}");
    assert_eq!(canonical.compare(&body, &string), None, "{name}");
    let signature = key.sign(dialect.default_algorithm(), canonical, &body);
    assert_eq!(signature.to_text(), text(vector, "signature"), "{name}");
    assert_eq!(Signature::read(dialect, text(vector, "signature").as_bytes()), Ok(signature), "{name}");
    key.verify(canonical, &body, &signature).expect(name);
}

#[test]
fn requests() {
    for vector in vectors("requests", 32) {
        let head = Head {
            method: text(&vector, "method").as_bytes(),
            target: text(&vector, "request_uri").as_bytes(),
            host: text(&vector, "host").as_bytes(),
        };
        let mut fields = fields(&vector);
        for _ in 0..2 {
            let canonical = Canonical::request(dialect(&vector), head, fields.iter().copied()).expect("canonical");
            holds(&vector, &canonical);
            assert_eq!(canonical.without_forwarded(), None);
            fields.reverse();
        }
        let dialect = dialect(&vector);
        let field =
            |name: &str| fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        assert_eq!(field(dialect.signature()), Some(text(&vector, "signature")));
        assert_eq!(field(dialect.client_id()), Some(text(&vector, "access_key")));
        assert_eq!(field(dialect.encrypt_type()), Some(text(&vector, "encrypt_type")));
        assert!(dialect.asks_for_signature(field(dialect.sign_response()).map(str::as_bytes)));
        assert_eq!((field(dialect.timestamp()), field(dialect.nonce())), (Some("1500000000"), Some("0.123456789")));
    }
}

#[test]
fn responses() {
    for vector in vectors("responses", 5) {
        let (method, target) = (text(&vector, "request_method").as_bytes(), text(&vector, "request_uri").as_bytes());
        let canonical = Canonical::response(dialect(&vector), method, target, fields(&vector)).expect("canonical");
        holds(&vector, &canonical);
    }
}

#[test]
fn sealed_requests() {
    let sealed = vectors("requests", 32).into_iter().filter(|vector| text(vector, "encrypt_type") == "aes");
    let mut opened = 0;
    for vector in sealed {
        let (dialect, fields, plain) = (dialect(&vector), fields(&vector), &vector["plain"]);
        let field = |name: &str| {
            let (_, value) = fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).expect(name);
            value.as_bytes().to_vec()
        };
        assert_eq!(field(dialect.encrypt_type()), b"aes");
        let uri = text(plain, "uri").as_bytes().to_vec();
        let headers = text(plain, "headers_json").as_bytes().to_vec();
        let (body, sealed_body) = (bytes(plain, "body_b64"), bytes(&vector, "body_b64"));
        assert_eq!(body.is_empty(), sealed_body.is_empty(), "an empty body is not sealed");
        opens_and_seals(&vector, &field(dialect.encrypted_uri()), &uri);
        opens_and_seals(&vector, &field(dialect.encrypted_headers()), &headers);
        if !body.is_empty() {
            opens_and_seals(&vector, &sealed_body, &body);
        }
        opened += 1;
    }
    assert_eq!(opened, 8);
}

/// Opens the text, and seals the plaintext to the same text again, with the IV it begins with.
fn opens_and_seals(vector: &Value, sealed: &[u8], plain: &[u8]) {
    let key = key(vector);
    let iv = STANDARD.decode(sealed).expect("base64")[..16].try_into().expect("16 bytes");
    assert_eq!(key.open(sealed).as_deref(), Ok(plain));
    assert_eq!(key.seal_with_iv(dialect(vector), plain, iv).as_bytes(), sealed);
}

#[test]
fn sealed_payloads() {
    for vector in vectors("aes", 33) {
        opens_and_seals(&vector, text(&vector, "ciphertext_b64").as_bytes(), &bytes(&vector, "plaintext_b64"));
    }
}

/// HMAC-SHA256 in the `fo` dialect, which the first implementation cannot verify: the inputs are those of a vector, the
/// results were computed with Python's `hmac` and `base64`.
#[test]
fn sha256_in_fo() {
    let vector = &vectors("requests", 32)[0];
    let head = Head { method: b"GET", target: b"/test_api/v1/resource/", host: b"127.0.0.1:6500" };
    let canonical = Canonical::request(Dialect::Fo, head, fields(vector)).expect("canonical");
    let signature = key(vector).sign(Algorithm::HmacSha256, &canonical, b"");
    assert_eq!(signature.to_text(), "lg3gNX3oyk4D76cJND6ljL0FVnVIMccCQWDZCBSLG7g");
}
