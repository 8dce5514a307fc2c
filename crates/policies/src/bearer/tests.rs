//! What `bearer` remembers, and for whom.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::directory::Directory;
use portcullis_core::jobs::{Job, Jobs, QueueFull};
use portcullis_core::memory::{ManualClock, MemoryCaptures, MemoryRegistry};
use portcullis_core::model::{Label, Service};
use portcullis_core::ports::Clock;
use portcullis_identity::{AccessTokens, MasterKey, Sessions, SigningKeys};

use super::*;
use crate::Limiters;

const NOW: u64 = 1_700_000_000;

struct Nobody;

impl Jobs for Nobody {
    fn submit(&self, _: Job) -> Result<(), QueueFull> {
        Err(QueueFull)
    }
}

async fn parts(clock: &Arc<ManualClock>) -> Arc<Parts> {
    let registry = Arc::new(MemoryRegistry::default());
    let keys = SigningKeys::load_or_create(registry.as_ref(), &MasterKey::generate().0, clock.as_ref()).await;
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    Arc::new(Parts {
        directory: Arc::new(Directory::default()),
        tokens: Arc::new(AccessTokens::new(Arc::new(keys.expect("keys")), "http://gate", Arc::clone(&clock))),
        issuer: "http://gate".into(),
        sessions: Arc::new(Sessions::new(registry, Arc::clone(&clock), Duration::ZERO, 1 << 20)),
        jobs: Arc::new(Nobody),
        limiters: Arc::new(Limiters::default()),
        captures: Arc::new(MemoryCaptures::new(0)),
        clock,
        token_memory: 1 << 20,
        client_certificates: false,
        body_limit: 0,
    })
}

fn bearer(parts: &Arc<Parts>) -> Bearer {
    let service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    let id: ServiceId = "orders/v1".parse().expect("a service");
    Bearer::new(&Site { route: "orders", own: &BTreeMap::new(), id: &id, service: &service, parts }, None)
        .expect("built")
}

fn issued(parts: &Parts) -> String {
    let (user, client): (Label, Label) = ("ada".parse().expect("a label"), "default".parse().expect("a label"));
    let claims = parts.tokens.claims_for(&user, &client, SessionId([1; 16]), Duration::from_secs(300));
    parts.tokens.issue(&claims).expect("issued")
}

#[tokio::test]
async fn a_signature_is_verified_once() {
    let clock = Arc::new(ManualClock::at(NOW));
    let parts = parts(&clock).await;
    let (bearer, again) = (bearer(&parts), bearer(&parts));
    let token = issued(&parts);
    let first = bearer.read(&token, NOW, true).expect("good");
    assert!(Rc::ptr_eq(&first, &bearer.read(&token, NOW, true).expect("good")));
    assert!(Rc::ptr_eq(&first, &again.read(&token, NOW, true).expect("good")), "at every service with the same keys");
    assert!(!Rc::ptr_eq(&first, &bearer.read(&token, NOW, false).expect("good")), "but not for a call that is tried");
    assert!(bearer.read(&token[1..], NOW, true).is_err());
    clock.advance(Duration::from_secs(300));
    assert!(bearer.read(&token, NOW + 300, true).is_err(), "ended");
}

#[tokio::test]
async fn what_one_gateway_has_verified_is_nothing_to_another() {
    let clock = Arc::new(ManualClock::at(NOW));
    let (one, other) = (parts(&clock).await, parts(&clock).await);
    let token = issued(&one);
    bearer(&one).read(&token, NOW, true).expect("good");
    assert!(bearer(&other).read(&token, NOW, true).is_err(), "on the same thread");
}
