//! What `bearer` remembers, and for whom.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::memory::ManualClock;
use portcullis_core::model::{Label, Service, ServiceId};

use super::*;

const NOW: u64 = 1_700_000_000;

async fn parts(clock: &Arc<ManualClock>) -> Arc<Parts> {
    let parts = Parts::for_dry_run("http://gate", Arc::<ManualClock>::clone(clock)).await.expect("keys");
    Arc::new(Parts { token_memory: 1 << 20, ..parts })
}

fn bearer(parts: &Arc<Parts>) -> Bearer {
    let service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    let id: ServiceId = "orders/v1".parse().expect("a service");
    Bearer::new(
        &PolicyContext {
            route: "orders",
            is_of_client: false,
            own: &BTreeMap::new(),
            end: RouteEnd::Service(&id),
            service: &service,
            parts,
        },
        None,
    )
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
    let (token, effects) = (issued(&parts), Effects::outside_of_calls());
    let first = bearer.read(&token, NOW, Some(&effects)).expect("good");
    assert!(Rc::ptr_eq(&first, &bearer.read(&token, NOW, Some(&effects)).expect("good")));
    assert!(
        Rc::ptr_eq(&first, &again.read(&token, NOW, Some(&effects)).expect("good")),
        "at every service with the same keys"
    );
    assert!(!Rc::ptr_eq(&first, &bearer.read(&token, NOW, None).expect("good")), "but not for a call that is tried");
    assert!(bearer.read(&token[1..], NOW, Some(&effects)).is_err());
    clock.advance(Duration::from_secs(300));
    assert!(bearer.read(&token, NOW + 300, Some(&effects)).is_err(), "ended");
}

#[tokio::test]
async fn what_one_gateway_has_verified_is_nothing_to_another() {
    let clock = Arc::new(ManualClock::at(NOW));
    let (one, other) = (parts(&clock).await, parts(&clock).await);
    let (token, effects) = (issued(&one), Effects::outside_of_calls());
    bearer(&one).read(&token, NOW, Some(&effects)).expect("good");
    assert!(bearer(&other).read(&token, NOW, Some(&effects)).is_err(), "on the same thread");
}

mod pairs;
