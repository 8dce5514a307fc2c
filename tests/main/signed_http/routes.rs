//! Routes for one client, chosen by the key that a signature names, which lets nobody in by itself.

use serde_json::json;

use super::super::support::scene::text;
use super::{Answer, Draft, House, answered};

impl House {
    /// Declares a route for `/pay` that leads to this path of the service.
    fn route(&self, name: &str, client: Option<&str>, target: &str) {
        let route = json!({
            "match": {"path": {"exact": "/pay"}, "client": client}, "service": "orders/v1", "rewrite": target,
        });
        self.gateway.admin_ok("PUT", &format!("/routes/{name}"), Some(&route), 201);
    }

    /// Sends a request and tells which path of the service it has reached.
    fn reached(&self, draft: &Draft) -> String {
        self.accepted("good", &draft.signed());
        self.backend.received().pop().expect("a call").target
    }

    fn of(&self, access_key: &str, secret: &str) -> Draft {
        Draft::new("GET", "/pay", access_key, secret)
    }
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code));
}

#[test]
fn the_key_of_a_signature_chooses_among_routes_of_clients() {
    let house = House::new(&json!({}));
    let shop = house.client("shop-2", "shop-7Qm2");
    let third = house.client("third", "third-1");
    house.route("pay-till", Some("till"), "/by-till");
    house.route("pay-shop", Some("shop-2"), "/by-shop");
    let (till, shop, third) =
        (|| house.draft("GET", "/pay"), || house.of("shop-7Qm2", &shop), || house.of("third-1", &third));
    assert_eq!((house.reached(&till()), house.reached(&shop())), ("/by-till".to_owned(), "/by-shop".to_owned()));
    // There is no such path for anybody else.
    house.refused("of nobody's route", &third().signed(), 404, "no_route");
    house.refused("unknown", &house.of("nobody", "0123456789abcdef").signed(), 404, "no_route");
    house.refused("nothing signed", &till().signed().changed(|request| request.fields.clear()), 404, "no_route");
    // A claim alone lets nobody in.
    house.refused("another secret", &till().changed(|draft| draft.secret[0] ^= 1).signed(), 401, "invalid_credential");
    let swapped = third().changed(|draft| "till-4Xw9".clone_into(&mut draft.keyid));
    house.refused("the key id of another client", &swapped.signed(), 401, "invalid_credential");
    house.route("pay", None, "/by-anybody");
    assert_eq!(house.reached(&third()), "/by-anybody");
    assert_eq!(house.reached(&till()), "/by-till");
}

#[test]
fn the_signature_of_another_client_is_refused_on_a_route_of_a_client() {
    let house = House::new(&json!({"sign_answers": true}));
    let shop = house.client("shop-2", "shop-7Qm2");
    house.route("pay-till", Some("till"), "/by-till");
    let key = text(&house.gateway.admin_ok("POST", "/clients/till/api-keys", None, 201), "api_key");
    // An API key of `till` chooses the route, and the signature is of another client.
    let before = house.calls();
    let crossed = house.of("shop-7Qm2", &shop).with("X-API-Key", &key);
    let answer = answered(&house.gateway, &crossed.signed().bytes());
    is(&answer, 403, "forbidden");
    // Who has signed is known, so even this is signed.
    assert!(answer.header("signature").is_some());
    let disabled = house.draft("GET", "/pay").with("X-API-Key", &key);
    house.change_client(&json!({"enabled": false}));
    assert!(answered(&house.gateway, &disabled.signed().bytes()).status >= 400);
    assert_eq!(house.calls(), before);
    house.change_client(&json!({"enabled": true}));
    assert_eq!(house.reached(&disabled.changed(|draft| draft.nonce = Some(super::nonce()))), "/by-till");
}

#[test]
fn a_route_of_a_client_is_a_grant_for_it() {
    let house = House::new(&json!({}));
    house.route("pay-till", Some("till"), "/by-till");
    house.change_client(&json!({"services": []}));
    assert_eq!(house.reached(&house.draft("GET", "/pay")), "/by-till");
    house.refused("by the service's own path", &house.draft("GET", "/orders/v1/x").signed(), 403, "forbidden");
}
