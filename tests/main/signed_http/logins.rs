//! fomalhaut's login endpoints for a client that signs by RFC 9421: it gets the shapes of the dialect `fo`.

use serde_json::{Value, json};

use super::{Draft, House};
use crate::support::Answer;
use crate::support::scene::PASSWORD;

#[test]
fn a_client_logs_its_users_in_without_a_dialect() {
    let house = House::new(&json!({}));
    let post = |target: &str, body: &Value, fields: &[(&str, &str)]| -> Answer {
        let draft: Draft = house.draft("POST", target).with_body(body.to_string().as_bytes());
        let draft = draft.with("Content-Type", "application/json");
        fields.iter().fold(draft, |draft, (name, value)| draft.with(name, value)).signed().send(&house.gateway)
    };
    let credentials = json!({"username": "ada", "password": PASSWORD});
    let refused = post("/auth/v1/login", &credentials, &[]);
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "it was not granted");
    house.change_client(&json!({"services": ["auth/v1", "account/v1"]}));
    let body = post("/auth/v1/login", &credentials, &[]).json();
    assert_eq!((&body["code"], &body["data"]["expires_in"]), (&json!(200), &json!(604_800)), "{body}");
    let wrong = post("/auth/v1/login/", &json!({"username": "ada", "password": "a guess"}), &[]);
    assert_eq!((wrong.status, wrong.json()), (200, json!({"code": 400, "data": null, "msg": "Login Failed"})));
    let shown = json!({"refresh_token": body["data"]["refresh_token"]});
    let refreshed = post("/auth/v1/token/refresh", &shown, &[]).json();
    assert_eq!(refreshed["code"], 200, "{refreshed}");
    assert_eq!(post("/auth/v1/token/refresh", &shown, &[]).json()["code"], 400);
    // The dialects alone have fields for such a token; elsewhere a token is one of the gateway's own.
    let token = refreshed["data"]["access_token"].as_str().expect("a token").to_owned();
    let bearer = [("Authorization", &*format!("Bearer {token}"))];
    let refused = post("/account/v1/logout", &json!({}), &bearer);
    assert_eq!((refused.status, refused.code().as_str()), (401, "invalid_credential"));
    let alive = post("/auth/v1/token/alive", &json!({"access_token": token}), &[]).json();
    assert!(alive["data"]["expires_in"].as_u64().is_some_and(|left| left > 604_000), "{alive}");
    // One of these logs out here too.
    let key = house.gateway.admin_ok("POST", "/clients/till/api-keys", None, 201);
    let key = [("X-API-Key", key["api_key"].as_str().expect("a key"))];
    let own = house.gateway.post("/-/token", &key, &credentials).json();
    let bearer = [("Authorization", &*format!("Bearer {}", own["access_token"].as_str().expect("a token")))];
    assert_eq!(post("/account/v1/logout", &json!({}), &bearer).json()["msg"], "Logout Success");
    assert_eq!(post("/account/v1/logout", &json!({}), &bearer).status, 401);
    // And nobody comes without a signature.
    let unsigned = house.gateway.post("/auth/v1/login", &[], &credentials);
    assert_eq!((unsigned.status, unsigned.code().as_str()), (401, "missing_credential"));
    assert!(!house.gateway.access_log().contains(&token));
}
