//! Who may use a route for one client, by the credentials that let the call in.

use std::collections::BTreeMap;

use portcullis_core::call::RouteFacts;
use portcullis_core::dialect::Dialect;
use portcullis_core::dialect::fomalhaut::Form;
use portcullis_core::directory::KeyOwner;
use portcullis_core::memory::ManualClock;
use portcullis_core::model::{Client, Service};
use portcullis_core::policy::Pipeline;
use portcullis_identity::hash_key;
use serde_json::json;

use super::*;
use crate::{Parts, compile, testing};

fn shop() -> Label {
    "shop".parse().expect("a label")
}

/// What the route of the client is known by.
fn route() -> Option<Arc<RouteFacts>> {
    Some(Arc::new(RouteFacts { client: Some(shop()), ..RouteFacts::default() }))
}

fn key(name: &str) -> Option<KeyHolder> {
    Some(KeyHolder::Client(testing::client(name)))
}

#[test]
fn every_credential_on_a_clients_route_is_of_that_client() {
    let disabled = || {
        let client = Client { enabled: false, ..Client::default() };
        Some(Arc::new(ClientEntry::new("shop".parse().expect("a label"), client)))
    };
    let token = |name: &str| Some(testing::client(name));
    let foreign = || Some(testing::foreign("https://idp", "shop"));
    for (let_in, caller) in [
        (true, Caller { key: key("shop"), ..Caller::default() }),
        (true, Caller { token_client: token("shop"), ..Caller::default() }),
        (true, Caller { key: key("shop"), token_client: token("shop"), ..Caller::default() }),
        // A token of another issuer that names no client says nothing against the key.
        (true, Caller { key: key("shop"), token_subject: Some("idp#ada".into()), ..Caller::default() }),
        (false, Caller { key: key("till"), ..Caller::default() }),
        (false, Caller { key: key("Shop"), ..Caller::default() }),
        (false, Caller { key: key("shop"), token_client: token("till"), ..Caller::default() }),
        (false, Caller { key: key("till"), token_client: token("shop"), ..Caller::default() }),
        (false, Caller { key: Some(KeyHolder::Service("orders".into())), ..Caller::default() }),
        (false, Caller { key: Some(KeyHolder::Service("shop".into())), ..Caller::default() }),
        (
            false,
            Caller { key: Some(KeyHolder::Service("orders".into())), token_client: token("shop"), ..Caller::default() },
        ),
        (false, Caller { foreign_client: foreign(), ..Caller::default() }),
        (false, Caller { key: key("shop"), foreign_client: foreign(), ..Caller::default() }),
        (false, Caller { token_client: disabled(), ..Caller::default() }),
        (false, Caller { key: disabled().map(KeyHolder::Client), ..Caller::default() }),
    ] {
        for is_open in [false, true] {
            let found = Granted::ToClient { is_open }.check(Some(&shop()), &caller);
            assert_eq!(found.is_ok(), let_in, "{caller:?}");
            if let Err(refusal) = found {
                assert_eq!((refusal.code(), refusal.facts().detail.contains("shop")), ("forbidden", false));
            }
        }
    }
    // Nobody known: only where nobody is asked for.
    for subject in [None, Some("idp#ada".into())] {
        let nobody = Caller { token_subject: subject, ..Caller::default() };
        let found = |is_open| Granted::ToClient { is_open }.check(Some(&shop()), &nobody);
        assert!(found(true).is_ok() && found(false).is_err());
    }
    // Where nobody knows whose the route is, it is nobody's.
    let caller = Caller { key: key("shop"), ..Caller::default() };
    assert!([true, false].iter().all(|is_open| Granted::ToClient { is_open: *is_open }.check(None, &caller).is_err()));
}

#[test]
fn fomalhauts_clients_are_told_that_a_token_of_another_is_a_bad_one() {
    let acl = Acl { granted: Granted::ToClient { is_open: false }, rules: None };
    for (dialect, token, code) in [
        (Dialect::Fomalhaut(Form::Fo), "shop", None),
        (Dialect::Fomalhaut(Form::Fo), "till", Some("invalid_credential")),
        (Dialect::Fomalhaut(Form::Api), "till", Some("invalid_credential")),
        (Dialect::Http, "till", Some("forbidden")),
    ] {
        let mut call = testing::call("GET", "/orders/v1/7", &[]);
        (call.dialect, call.route) = (dialect, route());
        call.caller = Caller { key: key("shop"), token_client: Some(testing::client(token)), ..Caller::default() };
        let refusal = acl.check(&mut call).err();
        assert_eq!(refusal.map(|refusal| refusal.code()), code, "{dialect:?} {token}");
    }
}

/// Whichever alternative lets a call in, its credential is of the client of the route.
#[tokio::test]
async fn no_alternative_lets_the_credential_of_another_client_in() {
    let parts = Parts::for_dry_run("http://gate", Arc::new(ManualClock::at(1_700_000_000))).await.expect("keys");
    let parts = Arc::new(parts);
    let mut entries = parts.directory.copy();
    for (name, services) in [("shop", vec![]), ("till", vec!["*".parse().expect("all")])] {
        let label: Label = name.parse().expect("a label");
        let client = Client { services, ..Client::default() };
        entries.set_client(&label, Some(client));
        entries.set_key(hash_key(name), Some(KeyOwner::Client(label)));
    }
    entries.set_key(hash_key("own"), Some(KeyOwner::Service("orders".parse().expect("a name"))));
    parts.directory.publish(entries);
    let shop = parts.directory.read(|entries| entries.client(&"shop".parse().expect("a label")).cloned());
    let id: ServiceId = "orders/v1".parse().expect("a service");
    let mut service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    let alternatives = || vec![vec!["api_key".to_owned()], vec!["bearer".to_owned()]];
    for (require, scoped, shown, status) in [
        (alternatives(), true, "shop", 200),
        (alternatives(), true, "till", 403),
        (alternatives(), true, "own", 403),
        (alternatives(), true, "unknown", 401),
        (alternatives(), true, "", 401),
        // The same keys on a route for everybody: there the grants decide.
        (alternatives(), false, "shop", 403),
        (alternatives(), false, "till", 200),
        (alternatives(), false, "own", 200),
        // Open to whoever claims the client, whatever key is shown: nobody looks at it.
        (Vec::new(), true, "", 200),
        (Vec::new(), true, "till", 200),
    ] {
        service.require = require;
        let client = shop.as_ref().map(|entry| &entry.name).filter(|_| scoped);
        let steps = compile("orders", client, &BTreeMap::new(), RouteEnd::Service(&id), &service, &parts)
            .expect("good settings");
        let facts = RouteFacts { name: "orders".into(), client: client.cloned(), ..RouteFacts::default() };
        let pipeline = Pipeline::sharing(Arc::new(facts), steps, testing::fine());
        let fields = [("x-api-key", shown)];
        let mut call = testing::call("GET", "/orders/v1/7", if shown.is_empty() { &[] } else { &fields });
        call.claimed.clone_from(&shop);
        call.route = Some(Arc::clone(&pipeline.route));
        let found = pipeline.run(&mut call).await.status().as_u16();
        assert_eq!(found, status, "{:?} {scoped} {shown}", service.require);
    }
}

#[tokio::test]
async fn rules_hold_on_a_clients_route_too() {
    let parts =
        Arc::new(Parts::for_dry_run("http://gate", Arc::new(ManualClock::at(1_700_000_000))).await.expect("keys"));
    let id: ServiceId = "orders/v1".parse().expect("a service");
    let service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    let own = BTreeMap::new();
    let site = PolicyContext {
        route: "orders",
        is_of_client: true,
        own: &own,
        end: RouteEnd::Service(&id),
        service: &service,
        parts: &parts,
    };
    let settings = json!({"rules": [{"path": "/admin", "effect": "deny"}]});
    let step = build(&site, Some(&settings)).expect("good settings").expect("a step");
    for (path, status) in [("/7", 200), ("/admin/7", 403)] {
        let mut call = testing::call("GET", path, &[]);
        (call.caller, call.route) = (testing::caller("shop"), route());
        assert_eq!(testing::walk(&step, &mut call, &[]).await.0.status().as_u16(), status, "{path}");
    }
}
