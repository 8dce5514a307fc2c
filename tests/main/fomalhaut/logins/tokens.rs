//! Two clients' tokens never mix, and none is good for longer than it is: each thing that can be done with a token, by its own
//! client and by another one, with every sort of token, in both dialects, over either worker, and after a restart.

use serde_json::{Value, json};

use super::super::until;
use super::{DIALECTS, House, KIOSK, Pair, SHOP, refreshes, refused, said};

/// Enough connections that either worker has some: they are shared out by the kernel, by their ports.
const TRIES: usize = 6;

/// What has become of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Good,
    /// Its access token is over.
    Expired,
    /// It was refreshed.
    Replaced,
    /// It was logged out of.
    Ended,
    /// Its client was disabled, and is enabled again.
    Revoked,
    /// There was none.
    Invented,
}

/// What ends all that the client has comes first.
const STATES: [State; 6] =
    [State::Revoked, State::Good, State::Expired, State::Replaced, State::Ended, State::Invented];

impl State {
    fn has_access(self) -> bool {
        self == Self::Good
    }

    fn has_refresh(self) -> bool {
        matches!(self, Self::Good | Self::Expired)
    }
}

const GRANTS: [&str; 2] = ["auth", "account"];

/// Makes a pair of the client `shop` and brings it into a state.
fn brought(house: &House, dialect: &str, state: State) -> Pair {
    if state == State::Expired {
        house.declare("shop", &json!({"services": GRANTS, "access_token_ttl": 1}));
    }
    let pair = house.log_in(dialect, SHOP, "ada");
    house.declare("shop", &json!({"services": GRANTS, "access_token_ttl": 864_000}));
    match state {
        State::Good => {}
        State::Expired => until("it is over", || !house.is_good(dialect, SHOP, &pair.access)),
        State::Replaced => assert!(house.refresh(dialect, SHOP, &pair.refresh).is_some()),
        State::Ended => {
            said(&house.post("api", SHOP, "/auth/v1/logout", &json!({"access_token": pair.access}), &json!({})));
        }
        State::Revoked => {
            house.declare("shop", &json!({"services": GRANTS, "enabled": false}));
            house.declare("shop", &json!({"services": GRANTS, "enabled": true}));
        }
        State::Invented => return Pair { access: "A".repeat(27), refresh: "B".repeat(27) },
    }
    pair
}

/// Everything that can be tried with a pair without using it up, by a client whose it is, or is not.
#[track_caller]
fn tried(house: &House, dialect: &str, client: [&str; 2], pair: &Pair, has_access: bool) {
    for round in 0..TRIES {
        assert_eq!(house.is_good(dialect, client, &pair.access), has_access, "{client:?} {round}");
        // The one is never taken for the other.
        assert!(!house.is_good(dialect, client, &pair.refresh));
    }
    assert_eq!(house.refresh(dialect, client, &pair.access), None);
    let body = json!({"access_token": pair.access});
    let left = &said(&house.post("fo", client, "/auth/v1/token/alive", &body, &json!({})))["data"]["expires_in"];
    let left = left.as_i64().expect("a number");
    assert_eq!(left > 0, has_access, "{left}");
    assert!(has_access || left == -2, "{left}");
    let body = json!({"access_token": pair.refresh});
    let left = &said(&house.post("fo", client, "/auth/v1/token/alive", &body, &json!({})))["data"]["expires_in"];
    assert_eq!(left, -2);
}

#[test]
fn a_token_is_good_for_its_own_client_and_as_long_as_it_stands() {
    let mut house = House::new();
    let mut kept = Vec::new();
    for state in STATES {
        for dialect in DIALECTS {
            let pair = brought(&house, dialect, state);
            tried(&house, dialect, SHOP, &pair, state.has_access());
            tried(&house, dialect, KIOSK, &pair, false);
            // What another client does with it changes nothing.
            assert_eq!(house.refresh(dialect, KIOSK, &pair.refresh), None, "{state:?}");
            let body = json!({"access_token": pair.access});
            let answer = said(&house.post("api", KIOSK, "/auth/v1/logout", &body, &json!({})));
            assert_eq!(answer["msg"], "Logout Success", "that is said of any token");
            for path in
                ["/account/v1/logout", "/account/v1/password/change", "/account/v1/password/change?change_type=sms"]
            {
                let body = json!({"old_password": "a", "new_password": "b"});
                let told = house.post("fo", KIOSK, path, &body, &json!({"token": pair.access}));
                refused("fo", &told, 401, "Bad Access Token");
                let told = house.post("fo", KIOSK, path, &body, &json!({"token": pair.refresh}));
                refused("fo", &told, 401, "Bad Access Token");
            }
            tried(&house, dialect, SHOP, &pair, state.has_access());
            kept.push((state, dialect, pair));
        }
    }
    // All of it holds when the gateway comes up again.
    house = house.killed_and_restarted();
    for (state, dialect, pair) in &kept {
        tried(&house, dialect, KIOSK, pair, false);
        tried(&house, dialect, SHOP, pair, state.has_access());
        assert_eq!(house.refresh(dialect, KIOSK, &pair.refresh), None);
        let refreshed = house.refresh(dialect, SHOP, &pair.refresh);
        assert_eq!(refreshed.is_some(), state.has_refresh(), "{state:?}");
    }
    // Each operation of a client with a token of its own that is good.
    for dialect in DIALECTS {
        let pair = house.log_in(dialect, SHOP, "ada");
        tried(&house, dialect, SHOP, &pair, true);
        let second = house.refresh(dialect, SHOP, &pair.refresh).expect("it is good");
        tried(&house, dialect, SHOP, &pair, false);
        tried(&house, dialect, SHOP, &second, true);
    }
}

#[test]
fn a_refresh_token_belongs_to_the_client_that_shows_it_or_to_nobody() {
    let house = House::new();
    for dialect in DIALECTS {
        let (shop, kiosk) = (house.log_in(dialect, SHOP, "ada"), house.log_in(dialect, KIOSK, "ada"));
        for sealed in [false, true] {
            let more = json!({"sealed_call": sealed});
            let exchanged = |client, token: &str| -> Value {
                let body = json!({"refresh_token": token});
                said(&house.post(dialect, client, refreshes(dialect), &body, &more))["code"].clone()
            };
            assert_eq!((exchanged(SHOP, &kiosk.refresh), exchanged(KIOSK, &shop.refresh)), (json!(400), json!(400)));
        }
        assert!(house.is_good(dialect, SHOP, &shop.access) && house.is_good(dialect, KIOSK, &kiosk.access));
        let pairs = [house.refresh(dialect, SHOP, &shop.refresh), house.refresh(dialect, KIOSK, &kiosk.refresh)];
        let [Some(shop), Some(kiosk)] = pairs else { panic!("{pairs:?}") };
        assert!(!house.is_good(dialect, SHOP, &kiosk.access) && !house.is_good(dialect, KIOSK, &shop.access));
        assert!(house.is_good(dialect, SHOP, &shop.access) && house.is_good(dialect, KIOSK, &kiosk.access));
    }
}

#[test]
fn an_opaque_token_is_good_in_the_dialects_alone() {
    let house = House::new();
    let pair = house.log_in("fo", SHOP, "ada");
    let service = json!({"targets": [{"url": house.scene.backend.url()}], "require": [["bearer"]]});
    house.gateway().admin_ok("PUT", "/services/plain/v1", Some(&service), 201);
    let before = house.scene.backend.received().len();
    let bearer = format!("Bearer {}", pair.access);
    for (target, fields) in [
        ("/plain/v1/x".to_owned(), vec![("Authorization", bearer.as_str())]),
        (format!("/plain/v1/x?access_token={}", pair.access), Vec::new()),
    ] {
        assert_eq!(house.gateway().call("GET", &target, &fields, b"").status, 401);
    }
    for path in ["/-/token/refresh", "/-/token/revoke"] {
        let answer = house.gateway().post(path, &[], &json!({"refresh_token": pair.refresh}));
        assert!(answer.status == 401 || answer.status == 204, "{}", answer.text());
    }
    assert_eq!(house.scene.backend.received().len(), before);
    assert!(house.is_good("fo", SHOP, &pair.access));
    // And it is one pair in both dialects.
    assert!(house.is_good("api", SHOP, &pair.access));
    let second = house.refresh("api", SHOP, &pair.refresh).expect("it is good");
    said(&house.post("fo", SHOP, "/account/v1/logout", &json!({}), &json!({"token": second.access})));
    assert!(!house.is_good("api", SHOP, &second.access));
}
