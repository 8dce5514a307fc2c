//! Requests that the packages in Python and JavaScript have signed reach the service, by every kind of key; and what of them
//! travels.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::http_signatures::{ask, in_javascript, in_python};
use super::{ACCESS_KEY, HOST, House, LABEL, Signed, content_digest, nonce, seconds};

/// A kind of key: what a client declares of it, and what a peer signs with.
pub(super) struct Kind {
    /// What comes behind the access key in `keyid`.
    pub(super) id: &'static str,
    /// The name of the algorithm.
    pub(super) algorithm: &'static str,
    declared: Value,
    told: Value,
}

impl Kind {
    pub(super) fn keyid(&self) -> String {
        match self.id {
            "" => ACCESS_KEY.to_owned(),
            id => format!("{ACCESS_KEY}/{id}"),
        }
    }

    /// The public key in the forms that everybody has.
    pub(super) fn texts(&self) -> Vec<String> {
        let pem = self.told["public"].as_str().unwrap_or_default();
        vec![pem.to_owned(), pem.trim().to_owned(), self.declared["jwk"].to_string()]
    }
}

/// The secret of `till`, and the test keys of RFC 9421 (appendix B.1), two as JWK and one as PEM.
pub(super) fn kinds(house: &House) -> Vec<Kind> {
    let vectors = include_str!("../../../spec/vectors/http-signatures.json");
    let vectors: Value = serde_json::from_str(vectors).expect("JSON");
    let pair = |name: &str| {
        let pair = &vectors["keys"][name];
        json!({"public": pair["public_pem"], "private": pair["private_pem"], "jwk": pair["private_jwk"]})
    };
    let jwk = |name: &str, members: &[&str]| {
        let all = &vectors["keys"][name]["private_jwk"];
        members.iter().map(|member| ((*member).to_owned(), all[member].clone())).collect::<Map<_, _>>()
    };
    let kind = |id, algorithm, name, form: &str, key: Value| {
        let declared = json!({"id": id, "algorithm": algorithm, form: key});
        Kind { id, algorithm, declared, told: pair(name) }
    };
    let pem = vectors["keys"]["test-key-ecc-p256"]["public_pem"].clone();
    let (ed25519, rsa) = ("test-key-ed25519", "test-key-rsa-pss");
    vec![
        Kind {
            id: "",
            algorithm: "hmac-sha256",
            declared: Value::Null,
            told: json!({"secret": STANDARD.encode(&house.secret)}),
        },
        kind("2026", "ed25519", ed25519, "jwk", jwk(ed25519, &["kty", "crv", "x"]).into()),
        kind("ec", "ecdsa-p256-sha256", "test-key-ecc-p256", "pem", pem),
        kind("rsa", "rsa-pss-sha512", rsa, "jwk", jwk(rsa, &["kty", "n", "e"]).into()),
    ]
}

impl House {
    /// Declares the public keys of `till`.
    pub(super) fn declare_keys(&self, kinds: &[Kind]) {
        let keys: Vec<_> = kinds.iter().map(|kind| kind.declared.clone()).filter(Value::is_object).collect();
        self.change_client(&json!({"keys": keys}));
    }
}

/// A request for a peer to sign.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) body: &'a [u8],
    pub(super) covered: &'a [&'a str],
}

impl Unsigned<'_> {
    fn fields(&self) -> Vec<(String, String)> {
        let digest = (!self.body.is_empty()).then(|| ("Content-Digest".to_owned(), content_digest(self.body)));
        [("Host".to_owned(), HOST.to_owned())].into_iter().chain(digest).collect()
    }

    fn job(&self, kind: &Kind) -> Value {
        let url = format!("http://{HOST}{}", self.target);
        let message = json!({"method": self.method, "url": url, "target": self.target, "fields": self.fields()});
        let spelled: Vec<_> = self.covered.iter().map(|name| format!("\"{name}\"")).collect();
        let named: Vec<_> = self.covered.iter().map(|name| json!({"name": name, "parameters": {}})).collect();
        json!({
            "do": "sign", "algorithm": kind.algorithm, "key": kind.told, "keyid": kind.keyid(), "message": message,
            "components": spelled, "named": named, "label": LABEL, "created": seconds(), "nonce": nonce(),
        })
    }
}

/// Requests, each signed by a peer with each kind of key.
pub(super) fn sign<'a>(peer: Command, kinds: &'a [Kind], requests: &[Unsigned<'_>]) -> Vec<(&'a Kind, Signed)> {
    let pairs: Vec<_> = kinds.iter().flat_map(|kind| requests.iter().map(move |request| (kind, request))).collect();
    let jobs: Vec<_> = pairs.iter().map(|(kind, request)| request.job(kind)).collect();
    let results = ask(peer, &jobs);
    let signed = pairs.iter().zip(results).map(|((kind, request), result)| {
        let made =
            |name: &str| result[name].as_str().unwrap_or_else(|| panic!("{}: {result}", kind.algorithm)).to_owned();
        let mut fields = request.fields().split_off(1);
        fields.push(("Signature-Input".to_owned(), made("signature-input")));
        fields.push(("Signature".to_owned(), made("signature")));
        let (method, target) = (request.method.to_owned(), request.target.to_owned());
        (*kind, Signed { method, host: HOST.to_owned(), target, fields, body: request.body.to_vec() })
    });
    signed.collect()
}

fn are_let_in(peer: fn() -> Command) {
    let house = House::new(&json!({}));
    let kinds = kinds(&house);
    house.declare_keys(&kinds);
    let requests = [
        Unsigned {
            method: "POST",
            target: "/orders/v1/pay?a=1&b=%C3%BC",
            body: br#"{"pay": 1}"#,
            covered: &["@method", "@target-uri", "content-digest"],
        },
        Unsigned {
            method: "GET",
            target: "/orders/v1/a%20b/?x=1&x=2",
            body: b"",
            covered: &["@method", "@authority", "@path", "@query"],
        },
        Unsigned {
            method: "DELETE",
            target: "/orders/v1/7",
            body: b"",
            covered: &["@authority", "@request-target", "@method", "@scheme"],
        },
    ];
    for (kind, request) in sign(peer(), &kinds, &requests) {
        let what = format!("{} {} by {}", request.method, request.target, kind.algorithm);
        house.accepted(&what, &request);
        let seen = house.backend.received().pop().expect("a call");
        assert_eq!((seen.method.as_str(), &seen.body), (request.method.as_str(), &request.body), "{what}");
        assert_eq!(seen.target, request.target.trim_start_matches("/orders/v1"), "{what}");
        assert_eq!(seen.header("x-app-id"), Some(ACCESS_KEY), "{what}");
        assert_eq!((seen.header("signature"), seen.header("signature-input")), (None, None), "{what}");
        let digest = (!request.body.is_empty()).then(|| content_digest(&request.body));
        assert_eq!(seen.header("content-digest"), digest.as_deref(), "{what}");
    }
}

#[test]
fn what_the_package_in_python_signs_is_let_in() {
    are_let_in(in_python);
}

#[test]
fn what_the_package_in_javascript_signs_is_let_in() {
    are_let_in(in_javascript);
}

#[test]
fn signatures_travel_where_the_service_wants_them() {
    let house = House::new(&json!({"forward_credentials": true}));
    let request = house.post(b"x").signed();
    house.accepted("forwarded", &request);
    let seen = house.backend.received().pop().expect("a call");
    for name in ["signature", "signature-input"] {
        assert_eq!(seen.header(name), Some(request.field(name)));
    }
    assert_eq!(seen.header("x-app-id"), Some(ACCESS_KEY));
    // What a caller says of itself does not travel, whether it is covered or not.
    let covered = ["@method", "@target-uri", "remote-user", "x-forwarded-for", "x-app-id"];
    let said = [("Remote-User", "root"), ("X-Forwarded-For", "192.0.2.7"), ("X-App-Id", "somebody")];
    let draft = said.iter().fold(house.draft("GET", "/orders/v1/x"), |draft, (name, value)| draft.with(name, value));
    house.accepted("covered", &draft.covering(&covered).signed());
    let seen = house.backend.received().pop().expect("a call");
    assert_eq!((seen.header("remote-user"), seen.header("x-app-id")), (None, Some(ACCESS_KEY)));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    let forged = house.draft("GET", "/orders/v1/x").with("X-App-Id", "somebody").signed();
    house.accepted("forged", &forged);
    assert_eq!(house.backend.received().pop().expect("a call").header("x-app-id"), Some(ACCESS_KEY));
}
