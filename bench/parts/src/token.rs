//! A token that has been verified before: its hash, and what is remembered of it and of the session behind it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Uri, Version};
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Dialect, Peer, RawRequest, Request};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::directory::Directory;
use portcullis_core::jobs::{Job, Jobs, QueueFull};
use portcullis_core::memory::{ManualClock, MemoryCaptures, MemoryRegistry};
use portcullis_core::model::{Client, Label, Service, ServiceId};
use portcullis_core::ports::{AccessLog, Clock, SessionId};
use portcullis_core::record::{OpenRecord, Record};
use portcullis_identity::{AccessTokens, LiveSession, MasterKey, Sessions, SigningKeys};
use portcullis_policies::credential::Verdict;
use portcullis_policies::{Limiters, Parts, Site, bearer};

use crate::{Part, log};

const SESSION: SessionId = SessionId([1; 16]);

/// Takes no work and no records.
struct Nobody;

impl Jobs for Nobody {
    fn submit(&self, _: Job) -> Result<(), QueueFull> {
        Err(QueueFull)
    }
}

impl AccessLog for Nobody {
    fn write(&self, _: &Record) {}
}

/// Verifies the token of a call again.
pub(crate) fn verify() -> Part {
    let (user, client): (Label, Label) = ("ada".parse().expect("a label"), "shop".parse().expect("a label"));
    let parts = parts(&user, &client);
    let claims = parts.tokens.claims_for(&user, &client, SESSION, Duration::from_secs(300));
    let token = parts.tokens.issue(&claims).expect("issued");
    let service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    let id: ServiceId = "orders/v1".parse().expect("a service");
    let site =
        Site { route: "orders", own: &std::collections::BTreeMap::new(), id: &id, service: &service, parts: &parts };
    let bearer = bearer::build(&site, None).expect("built");
    let mut call = call(&format!("Bearer {token}"));
    Box::new(move || {
        let verdict = bearer.verify(black_box(&mut call));
        assert!(matches!(verdict, Ok(Verdict::Good)), "good, and known");
    })
}

fn parts(user: &Label, client: &Label) -> Arc<Parts> {
    let registry = Arc::new(MemoryRegistry::default());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_700_000_000));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let master = MasterKey::generate().0;
    let keys = runtime.block_on(SigningKeys::load_or_create(registry.as_ref(), &master, clock.as_ref())).expect("keys");
    let directory = Directory::default();
    let mut entries = directory.copy();
    entries.set_client(client, Some(Client { services: Vec::new(), access_key: None, enabled: true }));
    directory.publish(entries);
    let sessions = Sessions::new(registry, Arc::clone(&clock), Duration::ZERO, 1 << 20);
    let session = LiveSession {
        id: SESSION,
        user: user.shared(),
        client: client.clone(),
        created_at: 0,
        expires_at: u64::MAX,
        user_json: HeaderValue::from_static("e30="),
    };
    sessions.remember(&Arc::new(session), sessions.epoch(SESSION));
    Arc::new(Parts {
        directory: Arc::new(directory),
        tokens: Arc::new(AccessTokens::new(Arc::new(keys), "http://gate", Arc::clone(&clock))),
        issuer: "http://gate".into(),
        sessions: Arc::new(sessions),
        jobs: Arc::new(Nobody),
        limiters: Arc::new(Limiters::default()),
        captures: Arc::new(MemoryCaptures::new(0)),
        clock,
        token_memory: 1 << 20,
        client_certificates: false,
        body_limit: 0,
    })
}

fn call(authorization: &str) -> Call {
    let record = log::record("/orders/v1/items/7");
    let path = Path::parse(&record.path).expect("a path");
    let value = HeaderValue::from_str(authorization).expect("a value");
    Call::new(
        record.request_id.clone(),
        Peer {
            socket: (record.client_ip, 4711).into(),
            client_ip: record.client_ip,
            shared: false,
            scheme: "http",
            certificate: None,
        },
        Request {
            method: record.method.clone(),
            path,
            query: None,
            host: Host::parse(b"gate").expect("a host"),
            version: Version::HTTP_11,
            headers: HeaderMap::from_iter([(AUTHORIZATION, value)]),
            body: Body::empty(),
        },
        RawRequest { target: Uri::from_static("/"), removed: Vec::new() },
        Dialect::Http,
        OpenRecord::new(record, Instant::now(), Arc::new(Nobody)),
    )
}
