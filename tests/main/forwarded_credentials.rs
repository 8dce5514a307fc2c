//! What of the credentials a call shows goes on to the service: what was verified on that call, and only where its route
//! says so.

use serde_json::{Value, json};

use crate::support::Scene;
use crate::support::scene::text;

impl Scene {
    /// Declares `orders/v1` with these requirements, and these settings of `bearer`.
    fn takes(&self, require: &Value, bearer: &Value) {
        let targets = json!([{"url": self.backend.url()}]);
        self.declare(&json!({"targets": targets, "require": require, "policies": {"bearer": bearer}}));
    }

    /// What the service sees of `Authorization` on a call to this target, if it gets there.
    fn seen(&self, target: &str, fields: &[(&str, &str)]) -> Option<Vec<String>> {
        let before = self.backend.received().len();
        let answer = self.gateway.call("GET", target, fields, b"");
        let received = self.backend.received();
        assert_eq!(received.len() - before, usize::from(answer.status == 200), "{target} {fields:?}");
        let seen = received.get(before)?;
        assert!(seen.all("x-api-key").is_empty() && seen.all("x_api_key").is_empty(), "keys never travel: {seen:?}");
        assert!(!seen.target.contains("access"), "query tokens never travel: {}", seen.target);
        Some(seen.all("authorization").iter().map(|value| (*value).to_owned()).collect())
    }
}

/// What a caller may write into `Authorization` that is no token of the gateway, as lenient services read it too.
const FORGED: [&str; 9] = [
    "Bearer forged",
    "bearer eyJhbGciOiJub25lIn0.e30.",
    "Bearer\tforged",
    "Bearer",
    "Bearer ",
    "Bearer f\u{f6}rged",
    "Basic YWRhOnNlY3JldA==",
    "DPoP forged",
    "forged",
];

#[test]
fn a_forged_token_does_not_travel_beside_a_good_key() {
    let scene = Scene::new();
    let key = ("X-API-Key", scene.api_key.as_str());
    let own = text(&scene.registered, "api_key");
    for forward in [true, false] {
        for require in [
            json!([["bearer"], ["api_key"]]),
            json!([["api_key"], ["bearer"]]),
            json!([["api_key", "bearer"], ["api_key"]]),
            json!([["bearer", "client_certificate"], ["api_key"]]),
        ] {
            scene.takes(&require, &json!({"forward_credentials": forward, "query": true}));
            for forged in FORGED {
                for key in [key, ("X-API-Key", own.as_str())] {
                    let what = format!("{require} {forward} {forged}");
                    assert_eq!(scene.seen("/orders/v1/x", &[key, ("Authorization", forged)]), Some(vec![]), "{what}");
                    let twice = [("Authorization", "Basic x"), key, ("Authorization", forged)];
                    assert_eq!(scene.seen("/orders/v1/x", &twice), Some(vec![]), "{what}, twice");
                }
            }
            for query in ["access_token=forged", "a&access%5Ftoken=forged", "a;%61ccess_token=forged"] {
                let seen = scene.seen(&format!("/orders/v1/x?{query}"), &[key]);
                assert_eq!(seen, Some(vec![]), "{require} {forward} {query}");
            }
        }
    }
}

#[test]
fn a_token_travels_where_it_has_let_the_call_in() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let (token, key) = (("Authorization", bearer.as_str()), ("X-API-Key", scene.api_key.as_str()));
    let in_query = format!("/orders/v1/x?access_token={}", scene.token);
    let escaped = format!("/orders/v1/x?access%5Ftoken={}", scene.token);
    for (require, letting) in [
        (json!([["bearer"]]), true),
        (json!([["bearer", "api_key"]]), true),
        (json!([["bearer"], ["api_key"]]), true),
        // The key has let the call in, and nobody has looked at the token.
        (json!([["api_key"], ["bearer"]]), false),
    ] {
        for forward in [true, false] {
            scene.takes(&require, &json!({"forward_credentials": forward, "query": true}));
            let expected = if letting && forward { vec![bearer.clone()] } else { vec![] };
            assert_eq!(scene.seen("/orders/v1/x", &[token, key]), Some(expected), "{require} {forward}");
            // Beside a good token in the query, what stands in the field was not verified.
            for forged in FORGED {
                let seen = scene.seen(&in_query, &[key, ("Authorization", forged)]);
                assert!(seen.is_none_or(|seen| seen.is_empty()), "{require} {forward} {forged}");
                let twice = [key, ("Authorization", "Basic x"), ("Authorization", forged)];
                let seen = scene.seen(&in_query, &twice);
                assert!(seen.is_none_or(|seen| seen.is_empty()), "{require} {forward} {forged}, twice");
            }
            assert!(scene.seen(&escaped, &[key]).is_none_or(|seen| seen.is_empty()));
        }
    }
    // One that was found good does not count for the alternative after it.
    scene.takes(&json!([["bearer", "client_certificate"], ["api_key"]]), &json!({"forward_credentials": true}));
    assert_eq!(scene.seen("/orders/v1/x", &[token, key]), Some(vec![]));
    // A token in the query is still there for the alternative after a failed one.
    scene.takes(&json!([["bearer", "api_key"], ["bearer"]]), &json!({"query": true}));
    assert_eq!(scene.seen(&in_query, &[("X-API-Key", "wrong")]), Some(vec![]));
}

#[test]
fn where_no_alternative_asks_for_a_token_the_field_is_the_services_own() {
    let scene = Scene::new();
    let key = ("X-API-Key", scene.api_key.as_str());
    let bearer = format!("Bearer {}", scene.token);
    for require in [json!([]), json!([["api_key"]])] {
        scene.takes(&require, &json!({}));
        for own in FORGED.into_iter().filter(|own| own.is_ascii() && own.trim() == *own) {
            let seen = scene.seen("/orders/v1/x", &[key, ("Authorization", own)]);
            assert_eq!(seen, Some(vec![own.to_owned()]), "{require}");
        }
        for odd in [
            "Bearer {}",
            "bearer   {}",
            "Bearer\t{}",
            "Bearer {}\u{e9}",
            "{}",
            "DPoP {}",
            "Bearer \"{}\"",
            "x=1, Bearer {},y",
        ] {
            let odd = odd.replace("{}", &scene.token);
            let seen = scene.seen("/orders/v1/x", &[key, ("Authorization", &odd)]);
            assert_eq!(seen, Some(vec![]), "{require}: the gateway's own tokens are none of the service's: {odd}");
        }
        scene.takes(&require, &json!({"forward_credentials": true}));
        let seen = scene.seen("/orders/v1/x", &[key, ("Authorization", &bearer)]);
        assert_eq!(seen, Some(vec![bearer.clone()]), "{require}: unless it verifies them itself");
    }
}

#[test]
fn a_record_tells_of_the_alternative_that_let_the_call_in() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let key = ("X-API-Key", scene.api_key.as_str());
    scene.takes(&json!([["bearer", "client_certificate"], ["api_key"]]), &json!({}));
    let answer = scene.gateway.call("GET", "/orders/v1/mine", &[("Authorization", &bearer), key], b"");
    assert_eq!(answer.status, 200);
    let record = scene.gateway.record("path=/orders/v1/mine", |_| true);
    assert_eq!((&record["client"], &record["user"]), (&json!("shop"), &Value::Null));
    assert_eq!(scene.backend.received().pop().expect("a call").header("x-user-json"), None);
}
