//! A signed request passes once (replay): with a nonce and without, over two connections at once, and over the end of the
//! process.

use std::io::Write;
use std::sync::Barrier;
use std::thread;

use serde_json::json;

use super::super::support::client::{connect, read_answer};
use super::super::support::scene::until;
use super::{Gateway, House, SETTINGS, Signed, answered, seconds};

/// The answer to a request and its code, if it is a refusal of the gateway.
fn outcome(gateway: &Gateway, request: &Signed) -> (u16, String) {
    let answer = answered(gateway, &request.bytes());
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

fn passed() -> (u16, String) {
    (200, String::new())
}

fn replayed() -> (u16, String) {
    (401, "replayed".to_owned())
}

#[test]
fn the_same_request_passes_once() {
    let house = House::new(&json!({}));
    let long_ago = seconds() - 100;
    let kinds = [
        ("with a nonce", house.draft("GET", "/orders/v1/x")),
        ("without a nonce", house.draft("GET", "/orders/v1/x").changed(|draft| draft.nonce = None)),
        ("with a body", house.post(b"pay 1")),
        ("of long ago", house.draft("GET", "/orders/v1/x").changed(|draft| draft.created = Some(long_ago))),
        ("from the future", house.draft("GET", "/orders/v1/x").changed(|draft| draft.created = Some(seconds() + 30))),
    ];
    for (what, draft) in &kinds {
        let before = house.calls();
        let request = draft.signed();
        assert_eq!(outcome(&house.gateway, &request), passed(), "{what}");
        for _ in 0..2 {
            assert_eq!(outcome(&house.gateway, &request), replayed(), "{what}");
        }
        // What is not signed makes it no other request.
        let relabelled = request.clone().changed(|request| {
            for (name, value) in &mut request.fields {
                if name.starts_with("Signature") {
                    *value = value.replacen("sig1=", "other=", 1);
                }
            }
            request.fields.push(("X-More".to_owned(), "1".to_owned()));
        });
        assert_eq!(outcome(&house.gateway, &relabelled), replayed(), "{what}, under another label");
        assert_eq!(house.calls(), before + 1, "{what}");
    }
    let (_, twin) = &kinds[0];
    let another = twin.clone().changed(|draft| draft.nonce = Some(super::nonce()));
    assert_eq!(outcome(&house.gateway, &another.signed()), passed(), "another nonce");
}

#[test]
fn what_was_refused_for_its_content_is_not_spent() {
    let house = House::new(&json!({}));
    let request = house.post(b"pay 1").signed();
    let changed = request.clone().changed(|request| request.body = b"pay 9".to_vec());
    assert_eq!(outcome(&house.gateway, &changed), (401, "invalid_credential".to_owned()));
    assert_eq!(outcome(&house.gateway, &request), passed());
    assert_eq!(outcome(&house.gateway, &request), replayed());
}

#[test]
fn alternatives_and_questions_spend_nothing() {
    let house = House::new(&json!({}));
    let alternatives = json!([["signature", "bearer"], ["signature", "api_key"], ["signature"]]);
    house.declare(&alternatives, &json!({"signature": {"sign_answers": true}}));
    for draft in [house.draft("GET", "/orders/v1/x"), house.draft("GET", "/orders/v1/x").with("X-API-Key", "nobody's")]
    {
        let request = draft.signed();
        let question = json!({"method": "GET", "url": request.target, "headers": request.headers()});
        for _ in 0..2 {
            let told = house.gateway.admin_ok("POST", "/explain", Some(&question), 200);
            assert_eq!(told["outcome"]["kind"], "forwarded", "{told}");
        }
        assert_eq!(outcome(&house.gateway, &request), passed());
        assert_eq!(outcome(&house.gateway, &request), replayed());
    }
}

#[test]
fn of_many_at_once_one_passes() {
    let house = House::new(&json!({}));
    for round in 0..10 {
        let request = house.draft("GET", "/orders/v1/x").changed(|draft| {
            // Those that wait for the journal, too.
            draft.created = Some(seconds() - round * 5);
        });
        let request = request.signed();
        let barrier = Barrier::new(8);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let send = || {
                let mut stream = connect(house.gateway.data);
                barrier.wait();
                stream.write_all(&request.bytes()).expect("sent");
                let answer = read_answer(&mut stream, false);
                if answer.status == 200 { passed() } else { (answer.status, answer.code()) }
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
            threads.into_iter().map(|thread| thread.join().expect("ends")).collect()
        });
        let count = |wanted: &(u16, String)| outcomes.iter().filter(|found| *found == wanted).count();
        assert_eq!((count(&passed()), count(&replayed())), (1, 7), "{outcomes:?}");
    }
    assert_eq!(house.calls(), 10);
}

#[test]
fn what_has_passed_before_the_process_was_killed_does_not_pass_again() {
    let house = House::new(&json!({}));
    let old = house.draft("GET", "/orders/v1/x").changed(|draft| draft.created = Some(seconds() - 100)).signed();
    let new = house.draft("GET", "/orders/v1/x").signed();
    let ahead = house.draft("GET", "/orders/v1/x").changed(|draft| draft.created = Some(seconds() + 40)).signed();
    let unused = house.draft("GET", "/orders/v1/x").changed(|draft| draft.created = Some(seconds() - 90)).signed();
    for request in [&old, &new, &ahead] {
        assert_eq!(outcome(&house.gateway, request), passed());
    }
    let House { gateway, backend, secret } = house;
    let house = House { gateway: Gateway::restart(gateway.kill(), SETTINGS), backend, secret };
    let before = house.calls();
    for (what, request) in [("old", &old), ("new", &new), ("ahead", &ahead)] {
        assert_eq!(outcome(&house.gateway, request), replayed(), "{what}");
    }
    assert_eq!(house.calls(), before);
    assert_eq!(outcome(&house.gateway, &unused), passed(), "signed before the kill, and not sent until now");
    until("honest calls pass", || outcome(&house.gateway, &house.draft("GET", "/orders/v1/x").signed()) == passed());
}
