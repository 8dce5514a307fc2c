//! Calls for unit tests, and a walk through a single step.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use http::{Method, Uri, Version};
use portcullis_core::body::Body;
use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{
    Call, Caller, Dialect, ForeignClient, KeyHolder, Peer, RawRequest, Request, RequestId, Response, RouteFacts,
};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::directory::ClientEntry;
use portcullis_core::message::{FieldMap, FieldName, HasFields};
use portcullis_core::model::Client;
use portcullis_core::policy::{Endpoint, Pipeline, Step};
use portcullis_core::ports::AccessLog;
use portcullis_core::record::{OpenRecord, Record};
use portcullis_core::refusal::Refusal;
use portcullis_signing::fomalhaut::{self, Algorithm, Canonical, Head, SigningKey};

struct Nowhere;

impl AccessLog for Nowhere {
    fn write(&self, _: &Record) {}
}

/// A call from 192.0.2.1 of nobody known, with a path that becomes canonical as at the door.
pub(crate) fn call(method: &str, path: &str, fields: &[(&str, &str)]) -> Call {
    let mut headers = FieldMap::new();
    for (name, value) in fields {
        headers.add(name.parse::<FieldName>().expect("a name"), value.parse().expect("a value"));
    }
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let path = Path::parse(path).expect("a path");
    let id = RequestId::from_random([7; 16]);
    let client_ip = "192.0.2.1".parse().expect("an address");
    let record = Record::begun(SystemTime::UNIX_EPOCH, id.clone(), client_ip, method.clone(), path.shared());
    Call::new(
        id,
        Peer {
            socket: "192.0.2.1:4711".parse().expect("an address"),
            client_ip,
            shared: false,
            scheme: "http",
            certificate: None,
        },
        Request {
            method,
            path,
            query: None,
            host: Host::parse(b"gate").expect("a host"),
            version: Version::HTTP_11,
            fields: headers,
            body: Body::empty(),
        },
        RawRequest { target: Uri::from_static("/"), removed: Vec::new() },
        Dialect::Http,
        OpenRecord::new(record, Instant::now(), Arc::new(Nowhere)),
    )
}

/// Signs a call in the dialect `fo` as of a time in Unix seconds, or seals it as it is and signs that.
pub(crate) fn sign(call: &mut Call, secret: &str, now: u64, sealed: bool) {
    let key = SigningKey::new(secret.as_bytes()).expect("a secret");
    call.dialect = Dialect::Fomalhaut(Form::Fo);
    call.raw.target = call.request.path.forwarded().parse().expect("a target");
    let mut say = |name: &'static str, value: &str| {
        call.raw.removed.push((FieldName::from_static(name), value.parse().expect("a value")));
    };
    say("host", "gate");
    say("x-fo-timestamp", &now.to_string());
    say("x-fo-nonce", "0.5");
    say("x-fo-sign-response", "1");
    say("x-fo-encrypt-type", if sealed { "aes" } else { "raw" });
    if sealed {
        say("x-fo-encrypted-uri", &key.seal(fomalhaut::Dialect::Fo, call.raw.target.path().as_bytes()));
        say("x-fo-encrypted-headers", &key.seal(fomalhaut::Dialect::Fo, b"{\"X-Tenant\": \"a\"}"));
    }
    let target = call.raw.target.to_string();
    let head = Head { method: call.request.method.as_str().as_bytes(), target: target.as_bytes(), host: b"gate" };
    let fields = call.raw.removed.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let canonical = Canonical::request(fomalhaut::Dialect::Fo, head, fields).expect("a string to sign");
    let body = call.request.body.piece().cloned().unwrap_or_default();
    let signature = key.sign(Algorithm::HmacSha1, &canonical, &body).to_text();
    call.raw.removed.push((FieldName::from_static("x-fo-signature"), signature.parse().expect("a value")));
}

/// A client by its name.
pub(crate) fn client(name: &str) -> Arc<ClientEntry> {
    let client = Client::default();
    Arc::new(ClientEntry::new(name.parse().expect("a name"), client))
}

/// A client of another issuer.
pub(crate) fn foreign(issuer: &str, id: &str) -> ForeignClient {
    let name = portcullis_identity::qualified(issuer, id);
    let app_id = name.parse().expect("a value");
    ForeignClient { name: name.into(), app_id }
}

/// A caller that has shown an API key of a client.
pub(crate) fn caller(name: &str) -> Caller {
    Caller { key: Some(KeyHolder::Client(client(name))), ..Caller::default() }
}

/// An endpoint that answers 200.
pub(crate) fn fine() -> Arc<dyn Endpoint> {
    struct Fine;

    #[async_trait]
    impl Endpoint for Fine {
        async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
            Ok(Response::new(Body::empty()))
        }
    }
    Arc::new(Fine)
}

/// Walks a call through one step, before an endpoint that answers with these fields. Tells the answer, and the
/// request's fields as the endpoint saw them, if it was reached.
pub(crate) async fn walk(step: &Step, call: &mut Call, answer: &[(&str, &str)]) -> (Response, Option<FieldMap>) {
    struct Answers(FieldMap, Arc<Mutex<Option<FieldMap>>>);

    #[async_trait]
    impl Endpoint for Answers {
        async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
            *self.1.lock().expect("not poisoned") = Some(call.request.fields.clone());
            let mut response = Response::new(Body::empty());
            response.fields_mut().replace(self.0.clone());
            Ok(response)
        }
    }

    let mut fields = FieldMap::new();
    for (name, value) in answer {
        fields.add(name.parse::<FieldName>().expect("a name"), value.parse().expect("a value"));
    }
    let seen = Arc::default();
    let facts = Arc::new(RouteFacts { name: "test".into(), ..RouteFacts::default() });
    let endpoint = Arc::new(Answers(fields, Arc::clone(&seen)));
    let response = Pipeline::new(facts, vec![("test", step.clone())], endpoint).run(call).await;
    let seen = seen.lock().expect("not poisoned").take();
    (response, seen)
}
