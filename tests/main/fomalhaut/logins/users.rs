//! Users of the registry at fomalhaut's endpoints: they log in where a client has no Auth API, and are nobody's whom an Auth
//! API lets in.

use serde_json::{Value, json};

use super::super::until;
use super::{DIALECTS, House, KIOSK, Pair, SHOP, auth_api, over, pair, refused, said};

const PASSWORD: &str = "correct horse";

/// Few failures, and waits that no test outlives.
const STRICT: &str = "workers = 2\n[lockout]\nfailures = 3\nfirst_wait = \"10m\"\nlongest_wait = \"1h\"\n";

/// A house whose kiosk has no Auth API, and a user in the registry.
fn house() -> House {
    let house = House::with(STRICT, auth_api());
    house.declare("kiosk", &json!({"services": ["auth", "account"], "login_auth_url": null}));
    let user = json!({"username": "ada", "password": PASSWORD, "user_info": {"id": 7}});
    house.gateway().admin_ok("POST", "/users", Some(&user), 201);
    house
}

/// A login through the kiosk, from an address.
fn log_in(house: &House, dialect: &str, name: &str, password: &str, source: &str) -> super::Told {
    let body = json!({"username": name, "password": password});
    house.post(dialect, KIOSK, "/auth/v1/login", &body, &json!({"source": source}))
}

fn logged_in(house: &House, dialect: &str) -> Pair {
    pair(&said(&log_in(house, dialect, "ada", PASSWORD, "127.0.0.1"))["data"])
}

#[test]
fn without_an_auth_api_the_users_of_the_registry_log_in() {
    let house = house();
    for dialect in DIALECTS {
        for name in ["username", "name"] {
            let body = json!({name: "ada", "password": PASSWORD});
            let answer = said(&house.post(dialect, KIOSK, "/auth/v1/login", &body, &json!({})));
            assert_eq!(answer["data"]["user_info"], json!({"id": 7}));
            assert!(house.is_good(dialect, KIOSK, &pair(&answer["data"]).access));
        }
        let failed = json!({"code": 400, "data": null, "msg": "Login Failed"});
        for (name, password) in [("ada", "a guess"), ("nobody", PASSWORD), ("ada\n", PASSWORD)] {
            assert_eq!(said(&log_in(&house, dialect, name, password, "127.0.0.9")), failed);
        }
        for body in [json!({"username": "ada"}), json!({"username": "ada", "name": "eve", "password": PASSWORD})] {
            let answer = said(&house.post(dialect, KIOSK, "/auth/v1/login", &body, &json!({})));
            assert_eq!(answer, json!({"code": 400, "data": null, "msg": "Invalid Request Data"}));
        }
        let told = house.post(dialect, KIOSK, "/auth/v1/login?login_type=sms", &json!({}), &json!({}));
        refused(dialect, &told, 510, "Bad Client Config");
        // A pair follows its user.
        let pair = logged_in(&house, dialect);
        house.gateway().admin_ok("PUT", "/users/ada", Some(&json!({"user_info": {"id": 8}})), 200);
        let refreshed = house.refresh(dialect, KIOSK, &pair.refresh).expect("it is good");
        let (_, request) = house.protected(dialect, KIOSK, &json!({"token": refreshed.access}));
        assert_eq!(request.expect("it came").header("x-user-json"), Some("eyJpZCI6OH0="));
        house.gateway().admin_ok("PUT", "/users/ada", Some(&json!({"enabled": false})), 200);
        assert!(!house.is_good(dialect, KIOSK, &refreshed.access));
        assert_eq!(house.refresh(dialect, KIOSK, &refreshed.refresh), None);
        let back = json!({"enabled": true, "user_info": {"id": 7}});
        house.gateway().admin_ok("PUT", "/users/ada", Some(&back), 200);
    }
    assert!(house.auth_api.received().is_empty());
    house.kept_quiet_about(&[PASSWORD]);
}

#[test]
fn guessing_has_to_wait_here_too() {
    let house = house();
    for (dialect, source) in DIALECTS.into_iter().zip(["127.0.0.7", "127.0.0.8"]) {
        for _ in 0..3 {
            assert_eq!(said(&log_in(&house, dialect, "ada", "a guess", source))["code"], 400);
        }
        for password in ["a guess", PASSWORD] {
            let told = log_in(&house, dialect, "ada", password, source);
            refused(dialect, &told, 429, "Too many failed logins");
            let wait: u64 = told.field("retry-after").expect("Retry-After").parse().expect("seconds");
            assert!((1..=600).contains(&wait), "{wait}");
        }
    }
    // Elsewhere the user logs in, and wrong old passwords count like guesses.
    let pair = logged_in(&house, "fo");
    let change = |old: &str| {
        let body = json!({"old_password": old, "new_password": "another horse"});
        let more = json!({"token": pair.access, "source": "127.0.0.5"});
        house.post("fo", KIOSK, "/account/v1/password/change", &body, &more)
    };
    for _ in 0..3 {
        let failed = json!({"code": 400, "data": null, "msg": "Change Password Failed"});
        assert_eq!(said(&change("a guess")), failed);
    }
    refused("fo", &change(PASSWORD), 429, "Too many failed logins");
    assert!(house.is_good("fo", KIOSK, &pair.access));
}

#[test]
fn a_new_password_ends_every_session_of_the_user() {
    let house = house();
    let (one, other) = (logged_in(&house, "fo"), logged_in(&house, "api"));
    let change = |body: Value, token: &str| {
        said(&house.post("fo", KIOSK, "/account/v1/password/change/", &body, &json!({"token": token})))
    };
    for body in [json!({}), json!({"old_password": PASSWORD}), json!({"old_password": PASSWORD, "new_password": 7})] {
        assert_eq!(change(body, &one.access)["msg"], "Invalid Request Data");
    }
    let unfit = change(json!({"old_password": PASSWORD, "new_password": ""}), &one.access);
    assert_eq!(unfit["code"], 400, "{unfit}");
    assert!(house.is_good("fo", KIOSK, &one.access));
    let answer = change(json!({"old_password": PASSWORD, "new_password": "another horse"}), &one.access);
    assert_eq!(answer, json!({"code": 200, "data": null, "msg": "Change Password Success"}));
    for pair in [&one, &other] {
        assert!(!house.is_good("fo", KIOSK, &pair.access));
        assert_eq!(house.refresh("fo", KIOSK, &pair.refresh), None);
    }
    assert_eq!(said(&log_in(&house, "fo", "ada", PASSWORD, "127.0.0.1"))["code"], 400);
    pair(&said(&log_in(&house, "fo", "ada", "another horse", "127.0.0.1"))["data"]);
    house.kept_quiet_about(&[PASSWORD, "another horse"]);
}

#[test]
fn a_user_of_the_registry_is_none_of_an_auth_api() {
    let house = house();
    // The Auth API's user has the id 3 and the name of a user of the registry, who has the name "3" besides.
    let three = json!({"username": "3", "password": PASSWORD, "user_info": {"id": 3}});
    house.gateway().admin_ok("POST", "/users", Some(&three), 201);
    let there = house.log_in("fo", SHOP, "ada");
    for name in ["3", "ada"] {
        house.gateway().admin_ok("PUT", &format!("/users/{name}"), Some(&json!({"enabled": false})), 200);
        house.gateway().admin_ok("DELETE", &format!("/users/{name}"), None, 204);
    }
    assert!(house.is_good("fo", SHOP, &there.access));
    assert!(house.refresh("fo", SHOP, &there.refresh).is_some());
    // And the other way round: of a client that has an Auth API, a user of the registry is not one whose password that changes.
    let ada = json!({"username": "ada", "password": PASSWORD, "user_info": {"id": 3}});
    house.gateway().admin_ok("POST", "/users", Some(&ada), 201);
    let key = house.gateway().admin_ok("POST", "/clients/shop/api-keys", None, 201)["api_key"].clone();
    let key = [("X-API-Key", key.as_str().expect("a key"))];
    let login = house.gateway().post("/-/token", &key, &json!({"username": "ada", "password": PASSWORD})).json();
    let token = login["access_token"].as_str().expect("a token");
    assert!(house.is_good("fo", SHOP, token), "a token of the gateway's own is good in the dialects too");
    let asked = house.auth_api.received().len();
    let change = |query: &str| {
        let body = json!({"old_password": PASSWORD, "new_password": "another horse"});
        house.post("fo", SHOP, &format!("/account/v1/password/change{query}"), &body, &json!({"token": token}))
    };
    refused("fo", &change("?change_type=sms"), 510, "Bad Client Config");
    assert_eq!(said(&change(""))["msg"], "Change Password Success");
    assert_eq!(house.auth_api.received().len(), asked, "the Auth API was not asked");
    assert!(!house.is_good("fo", SHOP, token));
}

#[test]
fn a_client_may_want_each_user_logged_in_once() {
    let house = house();
    for (client, name, urls) in [(SHOP, "shop", json!({})), (KIOSK, "kiosk", json!({"login_auth_url": null}))] {
        let log_in = |name: &str| {
            if client == SHOP { house.log_in("fo", SHOP, name) } else { logged_in(&house, "fo") }
        };
        let several = [log_in("ada"), log_in("ada")];
        assert!(several.iter().all(|pair| house.is_good("fo", client, &pair.access)));
        let single = over(&json!({"services": ["auth", "account"], "single_login": true}), &urls);
        house.declare(name, &single);
        let another = (client == SHOP).then(|| house.log_in("fo", SHOP, "grace"));
        let last = log_in("ada");
        for pair in &several {
            assert!(!house.is_good("fo", client, &pair.access));
            assert_eq!(house.refresh("fo", client, &pair.refresh), None);
        }
        assert!(house.is_good("fo", client, &last.access));
        assert!(another.is_none_or(|another| house.is_good("fo", SHOP, &another.access)), "another user");
        // A refresh is no login, and one through another client is none through this.
        let last = house.refresh("fo", client, &last.refresh).expect("it is good");
        let elsewhere = if client == SHOP { logged_in(&house, "fo") } else { house.log_in("fo", SHOP, "ada") };
        assert!(house.is_good("fo", client, &last.access));
        assert!(house.is_good("fo", if client == SHOP { KIOSK } else { SHOP }, &elsewhere.access));
    }
}

#[test]
fn tokens_last_as_long_as_their_client_says() {
    let house = house();
    let short = json!({"services": ["auth", "account"], "access_token_ttl": 1, "refresh_token_ttl": "1h"});
    for (client, name, urls) in [(SHOP, "shop", json!({})), (KIOSK, "kiosk", json!({"login_auth_url": null}))] {
        let before = if client == SHOP { house.log_in("fo", SHOP, "ada") } else { logged_in(&house, "fo") };
        house.declare(name, &over(&short, &urls));
        let pair = house.refresh("fo", client, &before.refresh).expect("it is good");
        // It is over within its second, and its refresh token is not.
        until("it is over", || !house.is_good("fo", client, &pair.access));
        let alive = house.post("fo", client, "/auth/v1/token/alive", &json!({"access_token": pair.access}), &json!({}));
        assert_eq!(said(&alive)["data"], json!({"expires_in": -2}));
        let told =
            house.post("fo", client, "/auth/v1/token/refresh", &json!({"refresh_token": pair.refresh}), &json!({}));
        assert_eq!(said(&told)["data"]["expires_in"], 1);
        // Both over: there is nothing left to be good.
        let gone = json!({"services": ["auth", "account"], "access_token_ttl": 1, "refresh_token_ttl": 2});
        house.declare(name, &over(&gone, &urls));
        let refresh = super::pair(&said(&told)["data"]).refresh;
        let last = house.refresh("fo", client, &refresh).expect("it is good");
        until("it is over", || !house.is_good("fo", client, &last.access));
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert_eq!(house.refresh("fo", client, &last.refresh), None);
    }
}
