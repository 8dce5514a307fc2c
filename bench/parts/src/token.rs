//! A token that has been verified before: its hash, and what is remembered of it and of the session behind it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Uri, Version};
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Dialect, Peer, RawRequest, Request};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::memory::ManualClock;
use portcullis_core::message::names::AUTHORIZATION;
use portcullis_core::message::{FieldMap, FieldValue};
use portcullis_core::model::{Client, Label, Service, ServiceId};
use portcullis_core::ports::{AccessLog, Clock, SessionId};
use portcullis_core::record::{OpenRecord, Record};
use portcullis_identity::LiveSession;
use portcullis_policies::credential::Verification;
use portcullis_policies::{Parts, PolicyContext, bearer};

use crate::{Part, log};

const SESSION: SessionId = SessionId([1; 16]);

/// Takes no records.
struct Nobody;

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
    let site = PolicyContext {
        route: "orders",
        is_of_client: false,
        own: &std::collections::BTreeMap::new(),
        id: &id,
        service: &service,
        parts: &parts,
    };
    let bearer = bearer::build(&site, None).expect("built");
    let mut call = call(&format!("Bearer {token}"));
    Box::new(move || {
        let verdict = bearer.verify(black_box(&mut call));
        assert!(matches!(verdict, Ok(Verification::Good)), "good, and known");
    })
}

fn parts(user: &Label, client: &Label) -> Arc<Parts> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_700_000_000));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let parts = runtime.block_on(Parts::for_dry_run("http://gate", clock)).expect("keys");
    let mut entries = parts.directory.copy();
    entries.set_client(client, Some(Client::default()));
    parts.directory.publish(entries);
    let session = LiveSession {
        id: SESSION,
        user: user.shared(),
        client: client.clone(),
        created_at: 0,
        expires_at: u64::MAX,
        user_json: FieldValue::from_static("e30="),
    };
    parts.sessions.remember(&Arc::new(session), parts.sessions.epoch(SESSION));
    Arc::new(Parts { token_memory: 1 << 20, ..parts })
}

fn call(authorization: &str) -> Call {
    let record = log::record("/orders/v1/items/7");
    let path = Path::parse(&record.path).expect("a path");
    let value = FieldValue::of(authorization).expect("a value");
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
            fields: FieldMap::from_iter([(AUTHORIZATION, value)]),
            body: Body::empty(),
        },
        RawRequest { target: Uri::from_static("/"), removed: Vec::new() },
        Dialect::Http,
        OpenRecord::new(record, Instant::now(), Arc::new(Nobody)),
    )
}
