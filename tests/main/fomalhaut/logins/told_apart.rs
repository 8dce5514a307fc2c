//! Users whom an Auth API lets in: whom the gateway tells apart, and how many of them it takes.

use serde_json::{Value, json};

use super::{House, KIOSK, PASSWORD, Pair, SHOP, answer, pair, refused, said};
use crate::support::Backend;

/// A house whose Auth API lets everybody in, and says of them what they have said as `as`.
fn house(settings: &str) -> House {
    let echo = Backend::serving(|stream, request| {
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        answer(stream, "200 OK", json!({"code": 200, "value": asked["as"]}).to_string().as_bytes())
    });
    House::with(&format!("workers = 2\n{settings}"), echo)
}

fn post(house: &House, user_info: &Value) -> super::Told {
    let body = json!({"name": "ada", "password": PASSWORD, "as": user_info});
    house.post("fo", SHOP, "/auth/v1/login", &body, &json!({}))
}

fn log_in(house: &House, user_info: &Value) -> Pair {
    pair(&said(&post(house, user_info))["data"])
}

#[test]
fn an_auth_api_that_names_everybody_anew_does_not_fill_the_registry() {
    let house = house("[limits]\nauth_api_sessions = 3\n");
    let pairs: Vec<_> = (0..3).map(|id| log_in(&house, &json!({"id": id}))).collect();
    for user_info in [json!({"id": 3}), json!({"nonce": 3}), json!({})] {
        let told = post(&house, &user_info);
        refused("fo", &told, 503, "Overloaded");
        assert!(told.field("retry-after").is_some());
    }
    house.gateway().record("limit=100", |record| record["refusal"] == "overloaded");
    // Nobody has lost anything, refreshes go on, and who leaves makes room for one.
    assert!(pairs.iter().all(|pair| house.is_good("fo", SHOP, &pair.access)));
    let next = house.refresh("fo", SHOP, &pairs[0].refresh).expect("it is good");
    said(&house.post("fo", SHOP, "/account/v1/logout", &json!({}), &json!({"token": next.access})));
    log_in(&house, &json!({"id": 3}));
    refused("fo", &post(&house, &json!({"id": 4})), 503, "Overloaded");
}

#[test]
fn a_single_login_ends_nobody_elses_session() {
    let house = house("");
    let url = format!("{}/login", house.auth_api.url());
    house.declare("shop", &json!({"services": ["auth", "account"], "login_auth_url": url, "single_login": true}));
    for (one, other, stays) in [
        (json!({}), json!({}), true),
        (json!({"role": "member"}), json!({"role": "member"}), true),
        (json!({"name": "Bob", "email": "a@x"}), json!({"name": "Bob", "email": "b@x"}), true),
        (json!({"id": 7}), json!({"id": 7}), false),
    ] {
        let (first, second) = (log_in(&house, &one), log_in(&house, &other));
        assert!(house.is_good("fo", SHOP, &second.access), "{other}");
        assert_eq!(house.is_good("fo", SHOP, &first.access), stays, "{one}, then {other}");
    }
}

#[test]
fn passwords_that_an_auth_api_turns_down_make_their_address_wait() {
    let house = House::with(
        "workers = 2\n[lockout]\naddress_failures = 3\naddress_wait = \"1h\"\nfirst_wait = \"1h\"\n",
        super::auth_api(),
    );
    let log_in = |client: [&str; 2], password: &str, source: &str| {
        let body = json!({"name": "ada", "password": password});
        house.post("fo", client, "/auth/v1/login", &body, &json!({"source": source}))
    };
    let no = json!({"code": 400, "data": null, "msg": "No entrance"});
    for _ in 0..5 {
        // A right one makes up for a wrong one.
        assert_eq!(said(&log_in(SHOP, "guess", "127.0.0.2")), no);
        pair(&said(&log_in(SHOP, PASSWORD, "127.0.0.2"))["data"]);
    }
    for _ in 0..3 {
        assert_eq!(said(&log_in(SHOP, "guess", "127.0.0.2")), no);
    }
    let asked = house.auth_api.received().len();
    // Right or wrong, and the Auth API is not even asked.
    for password in ["guess", PASSWORD] {
        let told = log_in(SHOP, password, "127.0.0.2");
        refused("fo", &told, 429, "Too many failed logins");
        assert!(told.field("retry-after").is_some());
    }
    assert_eq!(house.auth_api.received().len(), asked);
    house.gateway().record("limit=100", |record| record["refusal"] == "login_locked");
    // Nobody else waits.
    pair(&said(&log_in(SHOP, PASSWORD, "127.0.0.3"))["data"]);
    pair(&said(&log_in(KIOSK, PASSWORD, "127.0.0.2"))["data"]);
}
