//! Every reason to refuse a signed call, each by itself: beside each stands a call that is let in.

use serde_json::{Value, json};

use super::super::http_signatures::in_python;
use super::super::support::scene::until;
use super::let_in::{Unsigned, kinds, sign};
use super::{ACCESS_KEY, Change, Draft, House, LABEL, Signed, answered, content_digest, seconds};

const INVALID: &str = "invalid_credential";
const EXPIRED: &str = "signature_expired";

fn get(house: &House) -> Draft {
    house.draft("GET", "/orders/v1/x?a=1")
}

#[test]
fn the_method_the_host_the_target_and_the_content_must_be_covered() {
    let house = House::new(&json!({}));
    for covered in [
        &["@method", "@target-uri"][..],
        &["@method", "@authority", "@request-target"],
        &["@method", "@authority", "@path", "@query"],
        &["@scheme", "@method", "@target-uri", "@path"],
    ] {
        house.accepted(&format!("{covered:?}"), &get(&house).covering(covered).signed());
    }
    for covered in [
        &[][..],
        &["@target-uri"],
        &["@method"],
        &["@method", "@authority"],
        &["@method", "@request-target"],
        &["@method", "@path", "@query"],
        &["@method", "@authority", "@path"],
        &["@method", "@authority", "@query"],
    ] {
        house.refused(&format!("{covered:?}"), &get(&house).covering(covered).signed(), 401, INVALID);
    }
    let without_query = house.draft("GET", "/orders/v1/x").covering(&["@method", "@authority", "@path"]);
    house.accepted("no query to cover", &without_query.signed());
    let uncovered = house.post(b"x").covering(&["@method", "@target-uri"]);
    house.refused("the digest is there and not covered", &uncovered.signed(), 401, INVALID);
    let missing = house.post(b"x").covering(&["@method", "@target-uri"]).changed(|draft| draft.fields.clear());
    house.refused("no digest", &missing.signed(), 401, INVALID);
    let chunked = missing.signed().head("Transfer-Encoding: chunked\r\nConnection: close\r\n") + "1\r\nx\r\n0\r\n\r\n";
    assert_eq!(answered(&house.gateway, chunked.as_bytes()).code(), INVALID, "no digest of chunks");
    house.accepted("with a digest", &house.post(b"x").signed());

    house.declare(&json!([["signature"]]), &json!({"signature": {"http_components": ["x-order", "content-type"]}}));
    let order = get(&house).with("X-Order", "7").with("Content-Type", "text/plain");
    house.refused("demanded and not covered", &order.signed(), 401, INVALID);
    let covered = ["@method", "@target-uri", "x-order", "content-type"];
    house.refused("demanded and not there", &get(&house).covering(&covered).signed(), 401, INVALID);
    house.accepted("all that is demanded", &order.covering(&covered).signed());
}

#[test]
fn content_that_is_not_what_its_digest_says_does_not_reach_the_service() {
    let house = House::new(&json!({}));
    let digests = |body: &[u8]| vec![("Content-Digest".to_owned(), content_digest(body))];
    let wrong = [
        ("another body", house.post(b"pay 1").signed().changed(|request| request.body = b"pay 9".to_vec())),
        ("a longer body", house.post(b"pay 1").signed().changed(|request| request.body.push(b'0'))),
        ("a shorter body", house.post(b"pay 1").signed().changed(|request| _ = request.body.pop())),
        ("no body", house.post(b"pay 1").signed().changed(|request| request.body.clear())),
        ("signed so", house.post(b"pay 1").changed(|draft| draft.fields = digests(b"pay 2")).signed()),
        ("two digests of which one does not match", {
            let both = format!("{}, sha-512=:{}:", content_digest(b"pay 1"), "A".repeat(86) + "==");
            house.post(b"pay 1").changed(|draft| draft.fields[0].1 = both).signed()
        }),
        ("only digests nobody knows", {
            house.post(b"pay 1").changed(|draft| "md5=:AAAA:".clone_into(&mut draft.fields[0].1)).signed()
        }),
        ("the digest twice", {
            let twice = house.post(b"pay 1").signed();
            twice.changed(|request| request.fields.push(request.fields[0].clone()))
        }),
    ];
    for (what, request) in wrong {
        let answer = answered(&house.gateway, &request.bytes());
        assert_eq!((answer.status, answer.code().as_str()), (401, INVALID), "{what}");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.contains("Signature")), "{what}");
        assert_eq!((house.calls(), house.backend.connections()), (0, 0), "{what}");
    }
    let right = house.post(b"pay 1").signed();
    assert_eq!(answered(&house.gateway, &right.bytes()).status, 200);
    let empty = house.post(b"").signed();
    assert_eq!(answered(&house.gateway, &empty.bytes()).status, 200, "the digest of nothing");
}

#[test]
fn a_signature_is_good_for_a_while() {
    let house = House::new(&json!({"http_max_age": "120s", "http_skew": "30s"}));
    let now = seconds();
    let at = |created: Option<i64>, expires: Option<i64>| {
        get(&house).changed(|draft| (draft.created, draft.expires) = (created, expires)).signed()
    };
    // A test may take its time, so nothing is signed close to a bound.
    for (what, created, expires) in [
        ("now", now, None),
        ("a minute ago", now - 60, None),
        ("at the other end of what clocks may differ by", now + 15, None),
        ("it expires later", now, Some(now + 100)),
    ] {
        house.accepted(what, &at(Some(created), expires));
    }
    for (what, created, expires) in [
        ("too old", Some(now - 151), None),
        ("from the future", Some(now + 300), None),
        ("never made", None, None),
        ("expired", Some(now - 60), Some(now - 31)),
        ("expired before it was made", Some(now), Some(now - 100)),
        ("it expires and was never made", None, Some(now + 100)),
        ("too old, though it says otherwise", Some(now - 151), Some(now + 100)),
        ("before 1970", Some(-1), None),
    ] {
        house.refused(what, &at(created, expires), 401, EXPIRED);
    }
}

#[test]
fn a_key_signs_for_itself_and_by_its_own_algorithm() {
    let house = House::new(&json!({}));
    let kinds = kinds(&house);
    house.declare_keys(&kinds);
    let other = house.client("shop-2", "shop-7Qm2");
    let good = || get(&house);
    house.accepted("good", &good().signed());
    house.accepted("it says its algorithm", &good().changed(|draft| draft.alg = Some("hmac-sha256".into())).signed());
    let as_key = |keyid: &str| good().changed(|draft| keyid.clone_into(&mut draft.keyid));
    let by_alg = |alg: &str| good().changed(|draft| draft.alg = Some(alg.to_owned()));
    let public = kinds.iter().find(|kind| kind.algorithm == "ed25519").expect("a key").keyid();
    for (what, draft) in [
        ("another secret", good().changed(|draft| draft.secret[5] ^= 1)),
        ("the secret of another client", good().changed(|draft| draft.secret = other.as_bytes().to_vec())),
        ("the key id of another client", as_key("shop-7Qm2")),
        ("unknown", as_key("nobody")),
        ("nothing", as_key("")),
        ("the client's name", as_key("till")),
        ("an unknown key of it", as_key(&format!("{ACCESS_KEY}/2025"))),
        ("a key without a name", as_key(&format!("{ACCESS_KEY}/"))),
        ("a secret for a public key", as_key(&public)),
        ("a secret for a public key, said so", as_key(&public).changed(|draft| draft.alg = Some("hmac-sha256".into()))),
        ("another algorithm", by_alg("ed25519")),
        ("none", by_alg("none")),
        ("in capitals", by_alg("HMAC-SHA256")),
    ] {
        house.refused(what, &draft.signed(), 401, INVALID);
    }
    // The text of a public key is no secret.
    for kind in kinds.iter().filter(|kind| !kind.id.is_empty()) {
        for text in kind.texts() {
            let draft = as_key(&kind.keyid()).changed(|draft| draft.secret = text.into_bytes());
            house.refused("an HMAC by a public key", &draft.signed(), 401, INVALID);
        }
    }
    let covered = &["@method", "@target-uri"][..];
    let request = Unsigned { method: "GET", target: "/orders/v1/x", body: b"", covered };
    let swap = |from: &str, to: &str| {
        let (_, request) = sign(in_python(), &kinds, std::slice::from_ref(&request))
            .into_iter()
            .find(|(kind, _)| kind.keyid() == from)
            .expect("signed");
        request.changed(|request| {
            let input = request.fields.iter_mut().find(|(name, _)| name == "Signature-Input").expect("there");
            input.1 = input.1.replace(from, to);
        })
    };
    house.refused("the key id of another key", &swap(&public, &format!("{ACCESS_KEY}/ec")), 401, INVALID);
}

#[test]
fn what_is_signed_is_good_for_nothing_else() {
    let house = House::new(&json!({}));
    let draft = || house.post(b"x").with("X-Order", "7");
    let with = |covered: &[&str]| draft().covering(covered).signed();
    let target = || with(&["@method", "@target-uri", "content-digest", "x-order"]);
    let parts = || with(&["@method", "@authority", "@path", "@query", "content-digest"]);
    let line = || with(&["@method", "@authority", "@request-target", "content-digest"]);
    for (what, make) in [("target", &target as &dyn Fn() -> Signed), ("parts", &parts), ("line", &line)] {
        let changes: [Change<'_, Signed>; 10] = [
            ("method", &|request| request.method = "PUT".to_owned()),
            ("host", &|request| request.host = "other.example.com".to_owned()),
            ("port", &|request| request.host += ":8443"),
            ("path", &|request| request.target = "/orders/v1/refund?once=1".to_owned()),
            ("spelling of the path", &|request| request.target = "/orders/v1/%70ay?once=1".to_owned()),
            ("query", &|request| request.target = "/orders/v1/pay?once=2".to_owned()),
            ("no query", &|request| request.target = "/orders/v1/pay".to_owned()),
            ("more of a query", &|request| request.target += "&x"),
            ("time", &|request| {
                let input = request.fields.iter_mut().find(|(name, _)| name == "Signature-Input").expect("there");
                let (before, rest) = input.1.split_once(";created=").expect("there");
                let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
                input.1 = format!("{before};created={}{rest}", seconds() - 9);
            }),
            ("label", &|request| {
                for (name, value) in &mut request.fields {
                    if name == "Signature" {
                        *value = value.replace(LABEL, "sig2");
                    }
                }
            }),
        ];
        for (change, apply) in changes {
            house.refused(&format!("{what}: {change}"), &make().changed(apply), 401, INVALID);
        }
        house.accepted(what, &make());
    }
    let order = target().changed(|request| {
        request.fields.iter_mut().find(|(name, _)| name == "X-Order").expect("there").1 = "8".to_owned();
    });
    house.refused("a covered field", &order, 401, INVALID);
    let twice = target().changed(|request| request.fields.push(("X-Order".to_owned(), "8".to_owned())));
    house.refused("one more line of a covered field", &twice, 401, INVALID);
    let gone = target().changed(|request| request.fields.retain(|(name, _)| name != "X-Order"));
    house.refused("a covered field that is gone", &gone, 401, INVALID);
    for connection in ["x-order", "close, X-Order", "keep-alive,content-digest ,close"] {
        let dropped = target().changed(|request| request.fields.push(("Connection".to_owned(), connection.to_owned())));
        house.refused(&format!("taken away by 'Connection: {connection}'"), &dropped, 401, INVALID);
    }
    let other = target().changed(|request| request.fields.push(("Connection".to_owned(), "x-other, close".to_owned())));
    house.accepted("another field in 'Connection'", &other);
}

#[test]
fn one_signature_of_our_clients_and_with_the_tag_that_is_demanded() {
    let house = House::new(&json!({}));
    let other = house.client("shop-2", "shop-7Qm2");
    let one = || get(&house);
    let joined = |first: Draft, second: Draft| {
        let (first, second) = (first.signed(), second.changed(|draft| draft.label = "sig2".to_owned()).signed());
        first.changed(|first| {
            for (name, value) in &mut first.fields {
                *value = format!("{value}, {}", second.field(name));
            }
        })
    };
    let by_shop = || one().changed(|draft| (draft.keyid, draft.secret) = ("shop-7Qm2".into(), other.clone().into()));
    let by_proxy = || one().changed(|draft| (draft.keyid, draft.secret) = ("proxy".into(), vec![7; 32]));
    house.refused("two of one client", &joined(one(), one()), 401, INVALID);
    house.refused("two of two clients", &joined(one(), by_shop()), 401, INVALID);
    house.accepted("one of a proxy beside it", &joined(by_proxy(), one()));
    house.refused("of a proxy alone", &by_proxy().signed(), 401, INVALID);
    let input = one().signed().changed(|request| request.fields.retain(|(name, _)| name != "Signature"));
    house.refused("only the parameters", &input, 401, INVALID);
    let garbage = one().signed().changed(|request| {
        request.fields.iter_mut().for_each(|(_, value)| "sig1=(((".clone_into(value));
    });
    house.refused("garbage", &garbage, 401, INVALID);
    house.refused("nothing", &one().signed().changed(|request| request.fields.clear()), 401, "missing_credential");

    house.declare(&json!([["signature"]]), &json!({"signature": {"http_tag": "pay"}}));
    let tagged = |tag: &str| one().changed(|draft| draft.tag = Some(tag.to_owned()));
    house.refused("no tag", &one().signed(), 401, INVALID);
    house.refused("another tag", &tagged("Pay").signed(), 401, INVALID);
    house.accepted("the tag", &tagged("pay").signed());
    house.accepted("the tag beside another", &joined(one(), tagged("pay")));
}

#[test]
fn secrets_are_exchanged_and_clients_disabled() {
    let house = House::new(&json!({}));
    let secrets = |house: &House| house.gateway.admin_ok("GET", "/clients/till/secrets", None, 200)["items"].clone();
    let first = secrets(&house)[0]["id"].as_str().expect("an id").to_owned();
    let second = house.gateway.admin_ok("POST", "/clients/till/secrets", None, 201);
    let new = || get(&house).changed(|draft| draft.secret = second["secret"].as_str().expect("a text").into());
    house.accepted("the first", &get(&house).signed());
    house.accepted("the second", &new().signed());
    house.gateway.admin_ok("DELETE", &format!("/clients/till/secrets/{first}"), None, 204);
    house.refused("retired", &get(&house).signed(), 401, INVALID);
    house.accepted("the other one", &new().signed());
    let list = secrets(&house);
    let id = second["id"].as_str().expect("an id");
    let shown = list.as_array().expect("a list").iter().find(|secret| secret["id"] == id).expect("there");
    assert!(shown["last_used"].is_string(), "{list}");

    house.change_client(&json!({"enabled": false}));
    house.refused("disabled", &new().signed(), 401, INVALID);
    house.change_client(&json!({"enabled": true}));
    house.accepted("enabled again", &new().signed());

    let third = json!({"uses": ["oauth", "seal"]});
    let third = house.gateway.admin_ok("POST", "/clients/till/secrets", Some(&third), 201);
    let unfit = new().changed(|draft| draft.secret = third["secret"].as_str().expect("a text").into());
    house.refused("a secret that is not for signing", &unfit.signed(), 401, INVALID);

    house.gateway.admin_ok("DELETE", "/clients/till", None, 204);
    house.refused("deleted", &new().signed(), 401, INVALID);
}

#[test]
fn a_secret_ends_by_itself() {
    let house = House::new(&json!({}));
    let made = house.gateway.admin_ok("POST", "/clients/till/secrets", Some(&json!({"ttl": "1h"})), 201);
    let secret = made["secret"].as_str().expect("a text").to_owned();
    let draft = || get(&house).changed(|draft| draft.secret = secret.clone().into());
    house.accepted("it has an hour", &draft().signed());
    let path = format!("/clients/till/secrets/{}", made["id"].as_str().expect("an id"));
    house.gateway.admin_ok("PUT", &path, Some(&json!({"ttl": "1s"})), 200);
    until("it has ended", || house.send(&draft().signed()).status == 401);
    house.accepted("the other one", &get(&house).signed());
}

#[test]
fn whoever_fails_often_is_refused_and_whoever_proves_it_is_not() {
    let settings = "limits.failed_signatures_at_once = 3\nlimits.failed_signatures_per_minute = 1\n";
    let house = House::before(super::Backend::echo(), settings, &json!({}));
    let wrong = || get(&house).changed(|draft| draft.secret[0] ^= 1).signed();
    for _ in 0..3 {
        assert_eq!(answered(&house.gateway, &wrong().bytes()).code(), INVALID);
    }
    let answer = answered(&house.gateway, &wrong().bytes());
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"));
    assert!(answer.header("retry-after").is_some());
    let right: Value = answered(&house.gateway, &get(&house).signed().bytes()).json();
    assert_eq!(right["target"], "/x?a=1");
}
