//! A refresh token that many show at once, and a gateway that is killed while they do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{DIALECTS, House, Pair, SHOP, pair, refreshes};

const CALLERS: usize = 8;

/// So many signed requests to exchange a refresh token, none the same as another.
fn requests(house: &House, dialect: &str, token: &str) -> Vec<Value> {
    let body = json!({"refresh_token": token}).to_string();
    let wanted = json!({
        "method": "POST", "target": refreshes(dialect), "fields": [["Content-Type", "application/json"]],
        "body": STANDARD.encode(body), "asks": false,
    });
    (0..CALLERS).map(|_| house.scene.written(dialect, &wanted).into()).collect()
}

/// The pairs among answers that came.
fn pairs(answers: &Value) -> Vec<Pair> {
    let answers = answers.as_array().expect("a list").iter();
    let bodies = answers.filter_map(|answer| serde_json::from_slice(&super::super::unpacked(&answer[1])).ok());
    bodies.filter(|body: &Value| body["code"] == 200).map(|body| pair(&body["data"])).collect()
}

#[test]
fn of_many_who_refresh_at_once_one_gets_a_pair() {
    let house = House::new();
    let mut pair = house.log_in("fo", SHOP, "ada");
    for round in 0..50 {
        let dialect = DIALECTS[round % 2];
        let with = json!({
            "address": house.gateway().data.to_string(), "data": requests(&house, dialect, &pair.refresh),
        });
        let said = house.scene.driver.ask("volley", &with);
        let answers = said["answers"].as_array().expect("a list");
        assert_eq!(answers.len(), CALLERS);
        assert!(answers.iter().all(|answer| answer[0] == 200), "{said}");
        let found = pairs(&said["answers"]);
        assert_eq!(found.len(), 1, "round {round}: {said}");
        assert!(!house.is_good(dialect, SHOP, &pair.access));
        pair = found.into_iter().next().expect("one");
        assert!(house.is_good(dialect, SHOP, &pair.access));
    }
}

#[test]
fn a_gateway_that_is_killed_meanwhile_never_has_two_pairs() {
    let mut house = House::new();
    for round in 0..8_u64 {
        let dialect = DIALECTS[usize::from(round % 2 == 1)];
        let old = house.log_in(dialect, SHOP, "ada");
        let with = json!({
            "address": house.gateway().data.to_string(), "data": requests(&house, dialect, &old.refresh),
            "kill": house.gateway().pid(), "after": round * 2,
        });
        let said = house.scene.driver.ask("volley", &with);
        let found = pairs(&said["answers"]);
        house = house.killed_and_restarted();
        // Who was told of a pair has it; who was told nothing has the old one, or nobody has any.
        assert!(found.len() <= 1, "round {round}: {found:?}");
        let again = house.refresh(dialect, SHOP, &old.refresh);
        if let Some(found) = found.first() {
            assert!(house.is_good(dialect, SHOP, &found.access), "round {round}");
            assert_eq!(again, None, "round {round}");
        }
        assert!(!house.is_good(dialect, SHOP, &old.access) || again.is_none(), "round {round}");
        if let Some(again) = again {
            assert!(house.is_good(dialect, SHOP, &again.access) && !house.is_good(dialect, SHOP, &old.access));
        }
    }
}
