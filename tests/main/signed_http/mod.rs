//! Calls signed by RFC 9421 (HTTP message signatures), sent to a real gateway: which are let in, which are refused, and what
//! the service and the caller get. The signatures are made here or by others' packages, not by the gateway's code.

mod answers;
mod bodies;
mod claims;
mod frames;
mod hosts;
mod let_in;
mod logins;
mod refusals;
mod repeats;
mod routes;

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::support::client::{connect, read_answer};
use super::support::issuer::now;
use super::support::scene::text;
use super::support::{Answer, Backend, Gateway, Scene};

/// The host that calls name.
const HOST: &str = "api.example.com";
/// The access key of the client `till`.
const ACCESS_KEY: &str = "till-4Xw9";
/// The label of signatures.
const LABEL: &str = "sig1";
/// As many failures from one address as a test likes.
const SETTINGS: &str = "limits.failed_signatures_at_once = 0\n";

/// A gateway whose service `orders/v1` takes only signed calls, and the client `till` with a secret.
struct House {
    gateway: Gateway,
    backend: Backend,
    secret: String,
}

impl House {
    /// In front of a backend that echoes, with these settings of `signature`.
    fn new(signature: &Value) -> Self {
        Self::before(Backend::echo(), SETTINGS, signature)
    }

    fn before(backend: Backend, settings: &str, signature: &Value) -> Self {
        let Scene { gateway, backend, .. } = Scene::before(backend, settings);
        let house = Self { gateway, backend, secret: String::new() };
        house.declare(&json!([["signature"]]), &json!({"signature": signature}));
        let secret = house.client("till", ACCESS_KEY);
        Self { secret, ..house }
    }

    /// Declares `orders/v1` anew.
    fn declare(&self, require: &Value, policies: &Value) {
        let service = json!({"targets": [{"url": self.backend.url()}], "require": require, "policies": policies});
        self.gateway.admin_ok("PUT", "/services/orders/v1", Some(&service), 200);
    }

    /// Makes a client that may call `orders/v1`, and returns its secret.
    fn client(&self, name: &str, access_key: &str) -> String {
        let client = json!({"name": name, "services": ["orders/v1"], "access_key": access_key});
        text(&self.gateway.admin_ok("POST", "/clients", Some(&client), 201), "secret_key")
    }

    /// Declares `till` anew, with these members changed.
    fn change_client(&self, members: &Value) {
        let mut client = json!({"services": ["orders/v1"]});
        let members = members.as_object().expect("members").clone();
        client.as_object_mut().expect("an object").extend(members);
        self.gateway.admin_ok("PUT", "/clients/till", Some(&client), 200);
    }

    /// A draft of a call by `till`.
    fn draft(&self, method: &str, target: &str) -> Draft {
        Draft::new(method, target, ACCESS_KEY, &self.secret)
    }

    /// A draft of a call with a body, by `till`.
    fn post(&self, body: &[u8]) -> Draft {
        self.draft("POST", "/orders/v1/pay?once=1").with_body(body)
    }

    fn send(&self, request: &Signed) -> Answer {
        request.send(&self.gateway)
    }

    /// How many calls have reached the service.
    fn calls(&self) -> usize {
        self.backend.received().len()
    }

    /// Sends a request that must be refused like this and not reach the service.
    fn refused(&self, what: &str, request: &Signed, status: u16, code: &str) {
        let before = self.calls();
        let answer = self.send(request);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {}", answer.text());
        assert_eq!(self.calls(), before, "{what}: it has reached the service");
    }

    /// Sends a request that must be let in.
    fn accepted(&self, what: &str, request: &Signed) -> Answer {
        let before = self.calls();
        let answer = self.send(request);
        assert_eq!(answer.status, 200, "{what}: {} {:?}", answer.text(), self.gateway.logs("limit=1"));
        assert_eq!(self.calls(), before + 1, "{what}");
        answer
    }
}

/// A request before it is signed: each part of it and of its signature can be changed.
#[derive(Clone)]
struct Draft {
    method: String,
    scheme: String,
    host: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// Names of components without parameters.
    covered: Vec<String>,
    created: Option<i64>,
    expires: Option<i64>,
    nonce: Option<String>,
    alg: Option<String>,
    keyid: String,
    tag: Option<String>,
    label: String,
    secret: Vec<u8>,
}

impl Draft {
    fn new(method: &str, target: &str, keyid: &str, secret: &str) -> Self {
        Self {
            method: method.to_owned(),
            scheme: "http".to_owned(),
            host: HOST.to_owned(),
            target: target.to_owned(),
            fields: Vec::new(),
            body: Vec::new(),
            covered: vec!["@method".to_owned(), "@target-uri".to_owned()],
            created: Some(seconds()),
            expires: None,
            nonce: Some(nonce()),
            alg: None,
            keyid: keyid.to_owned(),
            tag: None,
            label: LABEL.to_owned(),
            secret: secret.as_bytes().to_vec(),
        }
    }

    /// With a body and its digest, which is covered.
    fn with_body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.fields.push(("Content-Digest".to_owned(), content_digest(body)));
        self.covered.push("content-digest".to_owned());
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn covering(mut self, covered: &[&str]) -> Self {
        self.covered = covered.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn parameters(&self) -> String {
        let covered: Vec<_> = self.covered.iter().map(|name| format!("\"{name}\"")).collect();
        let mut parameters = format!("({})", covered.join(" "));
        let numbers = [("created", self.created), ("expires", self.expires)];
        for (name, number) in numbers.iter().filter_map(|(name, number)| Some((name, (*number)?))) {
            parameters += &format!(";{name}={number}");
        }
        let keyid = Some(self.keyid.clone());
        for (name, value) in [("nonce", &self.nonce), ("alg", &self.alg), ("keyid", &keyid), ("tag", &self.tag)] {
            if let Some(value) = value {
                parameters += &format!(";{name}=\"{value}\"");
            }
        }
        parameters
    }

    fn component(&self, name: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        match name {
            "@method" => self.method.clone(),
            "@scheme" => self.scheme.clone(),
            "@authority" => self.host.clone(),
            "@target-uri" => format!("{}://{}{}", self.scheme, self.host, self.target),
            "@request-target" => self.target.clone(),
            "@path" => path.to_owned(),
            "@query" => format!("?{query}"),
            _ => {
                let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
                named.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Signs it with HMAC-SHA256.
    fn signed(&self) -> Signed {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        self.signed_by(|base| hmac::sign(&key, base).as_ref().to_vec())
    }

    fn signed_by(&self, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Signed {
        let parameters = self.parameters();
        let lines = self.covered.iter().map(|name| format!("\"{name}\": {}\n", self.component(name)));
        let base = lines.collect::<String>() + &format!("\"@signature-params\": {parameters}");
        let signature = STANDARD.encode(sign(base.as_bytes()));
        let mut fields = self.fields.clone();
        fields.push(("Signature-Input".to_owned(), format!("{}={parameters}", self.label)));
        fields.push(("Signature".to_owned(), format!("{}=:{signature}:", self.label)));
        let (method, host, target) = (self.method.clone(), self.host.clone(), self.target.clone());
        Signed { method, host, target, fields, body: self.body.clone() }
    }
}

/// A change of a draft or of a request, by its name.
type Change<'a, T> = (&'a str, &'a dyn Fn(&mut T));

/// A request with its signature, as it is sent.
#[derive(Clone)]
struct Signed {
    method: String,
    host: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Signed {
    fn changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).expect(name)
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let host = [("Host", self.host.as_str())].into_iter();
        host.chain(self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
    }

    fn send(&self, gateway: &Gateway) -> Answer {
        gateway.call(&self.method, &self.target, &self.headers(), &self.body)
    }

    /// The bytes of it, with these fields of the framing.
    fn head(&self, framing: &str) -> String {
        let fields: String = self.headers().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\n{fields}{framing}\r\n", self.method, self.target)
    }

    /// The bytes of it.
    fn bytes(&self) -> Vec<u8> {
        let head = self.head(&format!("Content-Length: {}\r\nConnection: close\r\n", self.body.len()));
        [head.as_bytes(), &self.body].concat()
    }
}

/// Sends bytes on a connection of their own and reads one answer. Nothing is explained beforehand: `explain` is not asked about
/// bodies.
fn answered(gateway: &Gateway, bytes: &[u8]) -> Answer {
    use std::io::Write;
    let mut stream = connect(gateway.data);
    stream.write_all(bytes).expect("sent");
    read_answer(&mut stream, bytes.starts_with(b"HEAD"))
}

/// Now, in Unix seconds.
fn seconds() -> i64 {
    i64::try_from(now()).expect("in range")
}

/// Another one each time.
fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The value of `Content-Digest` for some content.
fn content_digest(content: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest::digest(&digest::SHA256, content)))
}
