//! Signatures in fomalhaut's dialect `fo`, and sealed payloads: of a call and an answer of 1 KiB each.

use std::hint::black_box;

use portcullis_signing::fomalhaut::{Algorithm, Canonical, Dialect, Head, Signature, SigningKey};

use crate::Part;

const TARGET: &[u8] = b"/orders/v1/items/7?page=2";
const BODY: [u8; 1024] = [b'x'; 1024];
const HEAD: Head<'_> = Head { method: b"POST", target: TARGET, host: b"api.example.com:8443" };
/// What is signed of a call among what is not.
const FIELDS: [(&str, &str); 9] = [
    ("accept", "*/*"),
    ("content-length", "1024"),
    ("content-type", "application/json"),
    ("user-agent", "a-client/1.0"),
    ("x-fo-app-id", "shop-7Qm2"),
    ("x-fo-encrypt-type", "raw"),
    ("x-fo-nonce", "0.123456789012345"),
    ("x-fo-sign-response", "1"),
    ("x-fo-timestamp", "1769860800"),
];
/// The same of an answer.
const ANSWERED: [(&str, &str); 7] = [
    ("content-type", "application/json"),
    ("date", "Sat, 31 Jan 2026 12:00:00 GMT"),
    ("x-fo-encrypt-type", "raw"),
    ("x-fo-nonce", "abababababababababababababababab"),
    ("x-fo-request-nonce", "0.123456789012345"),
    ("x-fo-status", "200"),
    ("x-fo-timestamp", "1769860800"),
];

fn key() -> SigningKey {
    SigningKey::new(b"a secret of a client").expect("a key")
}

fn call() -> Canonical {
    Canonical::request(Dialect::Fo, black_box(HEAD), black_box(FIELDS)).expect("what can be signed")
}

/// Verifies a call, from its fields on.
pub(crate) fn verify() -> Part {
    let key = key();
    let text = key.sign(Algorithm::HmacSha1, &call(), &BODY).to_text();
    Box::new(move || {
        let signature = Signature::read(Dialect::Fo, black_box(text.as_bytes())).expect("a signature");
        let canonical = call();
        assert!(canonical.without_forwarded().is_none(), "no proxy has added anything");
        key.verify(&canonical, black_box(&BODY), &signature).expect("its own");
    })
}

/// Signs an answer, from its fields on.
pub(crate) fn sign_answer() -> Part {
    let key = key();
    Box::new(move || {
        let canonical = Canonical::response(Dialect::Fo, b"POST", TARGET, black_box(ANSWERED)).expect("an answer");
        black_box(key.sign(Algorithm::HmacSha1, &canonical, black_box(&BODY)).to_text());
    })
}

/// Seals an answer.
pub(crate) fn seal() -> Part {
    let key = key();
    Box::new(move || {
        black_box(key.seal(Dialect::Fo, black_box(&BODY)));
    })
}

/// Opens the body of a sealed call.
pub(crate) fn open() -> Part {
    let key = key();
    let text = key.seal(Dialect::Fo, &BODY);
    Box::new(move || {
        black_box(key.open(black_box(text.as_bytes())).expect("its own"));
    })
}
