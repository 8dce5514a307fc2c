//! The examples of RFC 9421 and RFC 9530, from `spec/vectors/http-signatures.json`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::{
    Algorithm, ContentDigest, DigestError, FieldKind, Fields, KnownFields, Limits, Message, Request, Response,
    Signatures, Signer, SigningKey, Stamp, VerifyingKey,
};

const KNOWN: KnownFields<'static> = KnownFields::with(&[("example-dict", FieldKind::Dictionary)]);

#[derive(Deserialize)]
struct Vectors {
    keys: BTreeMap<String, Key>,
    messages: BTreeMap<String, Example>,
    signatures: Vec<Case>,
    components: Vec<Component>,
    digests: Vec<Digest>,
}

#[derive(Deserialize)]
struct Key {
    algorithm: String,
    public_pem: Option<String>,
    private_pem: Option<String>,
    private_jwk: Option<Box<RawValue>>,
    secret_base64: Option<String>,
}

#[derive(Deserialize)]
struct Example {
    method: Option<String>,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    authority: String,
    #[serde(default)]
    target: String,
    status: Option<u16>,
    fields: Vec<(String, String)>,
    body: String,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    message: String,
    request: Option<String>,
    label: String,
    signature_input: String,
    signature: String,
    key: String,
    base: Option<Vec<String>>,
    verifies: bool,
}

#[derive(Deserialize)]
struct Component {
    section: String,
    message: String,
    identifier: String,
    value: Option<String>,
}

#[derive(Deserialize)]
struct Digest {
    section: String,
    content: String,
    content_digest: String,
    matches: Option<bool>,
}

impl Vectors {
    fn read() -> Self {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/http-signatures.json"));
        serde_json::from_str(text).expect("the vectors")
    }

    /// Calls with a message and, for a response, the request it answers.
    fn with<T>(&self, name: &str, request: Option<&str>, call: impl FnOnce(Message<'_>) -> T) -> T {
        let example = &self.messages[name];
        match example.status {
            None => call(Message::Request(&example.request())),
            Some(status) => {
                let request = request.map(|name| self.messages[name].request());
                let response = Response { status, fields: &example.fields, request: request.as_ref() };
                call(Message::Response(&response))
            }
        }
    }
}

impl Example {
    fn request(&self) -> Request<'_> {
        let method = self.method.as_deref().expect("a method");
        Request::new(method, &self.scheme, &self.authority, &self.target, &self.fields)
    }
}

impl Key {
    fn algorithm(&self) -> Algorithm {
        Algorithm::named(&self.algorithm).expect("a supported algorithm")
    }

    fn secret(&self) -> Option<Vec<u8>> {
        self.secret_base64.as_ref().map(|secret| STANDARD.decode(secret).expect("base64"))
    }

    /// The key that verifies, in every form it is given in.
    fn verifying(&self) -> Vec<VerifyingKey> {
        if let Some(secret) = self.secret() {
            return vec![VerifyingKey::hmac(&secret).expect("a key")];
        }
        let pems = [&self.public_pem].into_iter().flatten();
        pems.map(|pem| VerifyingKey::from_pem(pem, self.algorithm()).expect("a key")).collect()
    }

    /// The key that signs, in every form it is given in.
    fn signing(&self) -> Vec<SigningKey> {
        if let Some(secret) = self.secret() {
            return vec![SigningKey::hmac(&secret).expect("a key")];
        }
        let pem = SigningKey::from_pem(self.private_pem.as_ref().expect("a PEM"), self.algorithm());
        let jwk = SigningKey::from_jwk(self.private_jwk.as_ref().expect("a JWK").get(), self.algorithm());
        vec![pem.expect("a key"), jwk.expect("a key")]
    }
}

#[test]
fn examples_verify_as_the_rfc_says() {
    let vectors = Vectors::read();
    assert!(vectors.signatures.len() >= 19);
    for case in &vectors.signatures {
        let fields = [("Signature-Input", &case.signature_input), ("Signature", &case.signature)];
        let signatures = Signatures::parse(&fields, &Limits::default()).expect(&case.name);
        let signature = signatures.get(&case.label).expect(&case.name);
        let base = vectors.with(&case.message, case.request.as_deref(), |message| signature.base(message, &KNOWN));
        let base = base.expect(&case.name);
        if let Some(expected) = &case.base {
            assert_eq!(base.compare(&expected.join("\n")), None, "{}", case.name);
            assert_eq!(base.as_str(), expected.join("\n"), "{}", case.name);
        }
        for key in vectors.keys[&case.key].verifying() {
            assert_eq!(signature.verify(&base, &key).is_ok(), case.verifies, "{}", case.name);
        }
    }
}

#[test]
fn examples_can_be_signed_again() {
    let vectors = Vectors::read();
    for case in vectors.signatures.iter().filter(|case| case.verifies) {
        let fields = [("Signature-Input", &case.signature_input), ("Signature", &case.signature)];
        let signatures = Signatures::parse(&fields, &Limits::default()).expect(&case.name);
        let parameters = signatures.get(&case.label).expect("there").parameters().expect("sound");
        let components: Vec<_> = parameters.components().map(|component| component.identifier()).collect();
        let mut signer = Signer::new(&case.label, &components).expect(&case.name);
        if let Some(keyid) = &parameters.keyid {
            signer = signer.keyid(keyid);
        }
        if let Some(tag) = &parameters.tag {
            signer = signer.tag(tag);
        }
        let stamp =
            Stamp { created: parameters.created, expires: parameters.expires, nonce: parameters.nonce.as_deref() };
        let key = &vectors.keys[&case.key];
        for signing in key.signing() {
            let signed = vectors.with(&case.message, case.request.as_deref(), |message| {
                signer.sign(message, &stamp, &signing, &KNOWN).expect(&case.name)
            });
            let expected = case.signature_input.split(", proxy_sig").next().expect("a part");
            assert_eq!(signed.signature_input, expected, "{}", case.name);
            if matches!(key.algorithm(), Algorithm::HmacSha256 | Algorithm::Ed25519) {
                assert_eq!(signed.signature, case.signature, "{}", case.name);
            }
            let fields = [("signature-input", &signed.signature_input), ("signature", &signed.signature)];
            let again = Signatures::parse(&fields, &Limits::default()).expect(&case.name);
            for key in key.verifying() {
                assert_eq!(again.get(&case.label).expect("there").verify(&signed.base, &key), Ok(()), "{}", case.name);
            }
        }
    }
}

#[test]
fn components_have_the_values_of_the_rfc() {
    let vectors = Vectors::read();
    assert!(vectors.components.len() >= 40);
    for component in &vectors.components {
        let name = format!("{} {} of {}", component.section, component.identifier, component.message);
        let fields = [("signature-input", format!("s=({})", component.identifier))];
        let signatures = Signatures::parse(&fields, &Limits::default()).expect(&name);
        let base =
            vectors.with(&component.message, None, |message| signatures.get("s").expect("there").base(message, &KNOWN));
        let value = base.as_ref().ok().and_then(|base| base.lines().next());
        assert_eq!(value.map(|line| line.value), component.value.as_deref(), "{name}");
        if let Some(line) = value {
            assert_eq!(line.identifier, component.identifier);
        }
    }
}

#[test]
fn digests_match_as_the_rfc_says() {
    let vectors = Vectors::read();
    for digest in &vectors.digests {
        let parsed = ContentDigest::parse([&digest.content_digest]);
        match digest.matches {
            None => assert_eq!(parsed, Err(DigestError::NoneKnown), "{}", digest.section),
            Some(matches) => {
                let parsed = parsed.expect(&digest.section);
                assert_eq!(parsed.check_content(digest.content.as_bytes()).is_ok(), matches, "{}", digest.section);
            }
        }
    }
}

#[test]
fn bodies_of_signed_examples_have_their_digests() {
    for (name, example) in Vectors::read().messages {
        let mut lines = Vec::new();
        (&example.fields as &dyn Fields).each("content-digest", &mut |line| lines.push(line));
        if !lines.is_empty() {
            let digest = ContentDigest::parse(&lines).expect(&name);
            assert_eq!(digest.check_content(example.body.as_bytes()), Ok(()), "{name}");
        }
    }
}
