//! The targets of a service: which one a call goes to, and that what is known of them outlives every change.

use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::scene::{announce, text, until};
use crate::support::{Backend, Gateway, Scene};

/// One worker, so that calls take their turns in the order they are made.
const ONE: &str = "workers = 1\n";

/// Backends that answer with their letter, in order.
fn lettered(letters: &str) -> Vec<Backend> {
    let backend = |letter: char| {
        Backend::answering(move |_| format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{letter}").into_bytes())
    };
    letters.chars().map(backend).collect()
}

/// A service with these targets, open to everybody.
fn service<'a>(targets: impl IntoIterator<Item = (&'a Backend, u16)>) -> Value {
    let target = |(backend, weight): (&Backend, u16)| json!({"url": backend.url(), "weight": weight});
    json!({"targets": targets.into_iter().map(target).collect::<Vec<_>>(), "require": []})
}

fn even(backends: &[Backend]) -> Value {
    service(backends.iter().map(|backend| (backend, 1)))
}

fn put(gateway: &Gateway, service: &Value) {
    let answer = gateway.admin("PUT", "/services/orders/v1", Some(service));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

/// The letters that answer when something is done before each of so many calls.
fn letters(gateway: &Gateway, path: &str, calls: usize, mut before: impl FnMut(usize)) -> String {
    let call = |number| {
        before(number);
        let answer = gateway.call("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    (0..calls).map(call).collect()
}

#[test]
fn targets_take_turns_whatever_is_declared_meanwhile() {
    let (gateway, backends) = (Gateway::with(ONE), lettered("AB"));
    let declared = even(&backends);
    put(&gateway, &declared);
    assert_eq!(letters(&gateway, "/orders/v1/", 6, |_| ()), "ABABAB");
    assert_eq!(letters(&gateway, "/orders/v1/", 6, |_| put(&gateway, &declared)), "ABABAB");
    // Something else of the service changes each time.
    let changed = |number| {
        let mut changed = declared.clone();
        changed["policies"] = json!({"headers": {"response": {"set": {"X-Number": format!("{number}")}}}});
        put(&gateway, &changed);
    };
    assert_eq!(letters(&gateway, "/orders/v1/", 6, changed), "ABABAB");
}

#[test]
fn a_service_that_registers_itself_again_goes_on_where_it_was() {
    let mut backends = lettered("ABC").into_iter();
    let scene = Scene::before(backends.next().expect("the first"), ONE);
    let others: Vec<_> = backends.collect();
    let key = text(&scene.registered, "registration_key");
    // Beside the one without a name, each time at another base path: that is a change.
    let register = |number: usize| {
        let url = format!("{}/{number}", others[number % 2].url());
        let instance = ["b", "c"][number % 2];
        let body = json!({"name": "orders", "base_url": url, "instance": instance});
        let answer = announce(&scene.gateway, &key, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    register(0);
    register(1);
    let call = |number: usize| {
        register(number);
        scene.call("GET", "/orders/v1/", &[], b"").text()
    };
    assert_eq!((2..8).map(call).collect::<String>(), "ABCABC");
}

#[test]
fn routes_to_one_service_take_turns_together() {
    let (gateway, backends) = (Gateway::with(ONE), lettered("AB"));
    put(&gateway, &even(&backends));
    let route = |name: &str| json!({"match": {"path": {"prefix": format!("/{name}")}}, "service": "orders/v1"});
    for name in ["one", "other"] {
        gateway.admin_ok("PUT", &format!("/routes/{name}"), Some(&route(name)), 201);
    }
    let paths = ["/one", "/other", "/orders/v1/x"];
    let around = |redeclare: bool| -> String {
        let call = |number: usize| {
            if redeclare {
                gateway.admin_ok("PUT", "/routes/one", Some(&route("one")), 200);
            }
            gateway.call("GET", paths[number % 3], &[], b"").text()
        };
        (0..6).map(call).collect()
    };
    assert_eq!(around(false), "ABABAB");
    assert_eq!(around(true), "ABABAB");
}

#[test]
fn shares_by_weight_are_exact_whatever_is_declared_meanwhile() {
    let (gateway, backends) = (Gateway::with(ONE), lettered("ABC"));
    let declared = service(backends.iter().zip([1, 2, 7]));
    put(&gateway, &declared);
    let answered = letters(&gateway, "/orders/v1/", 30, |_| put(&gateway, &declared));
    let counts = ["A", "B", "C"].map(|letter| answered.matches(letter).count());
    assert_eq!(counts, [3, 6, 21], "{answered}");
}

#[test]
fn a_target_that_comes_or_goes_leaves_the_others_their_turns() {
    let (gateway, backends) = (Gateway::with(ONE), lettered("ABC"));
    put(&gateway, &even(&backends[..2]));
    assert_eq!(letters(&gateway, "/orders/v1/", 1, |_| ()), "A");
    // Each is there again before each call, and one that is not leaves the turn where it is.
    let comes_and_goes = |number: usize| {
        put(&gateway, &even(&backends));
        put(&gateway, &even(&backends[..2]));
        assert!(number < 6);
    };
    assert_eq!(letters(&gateway, "/orders/v1/", 6, comes_and_goes), "BABABA");
    let answered = letters(&gateway, "/orders/v1/", 9, |_| put(&gateway, &even(&backends)));
    assert_eq!(["A", "B", "C"].map(|letter| answered.matches(letter).count()), [3, 3, 3], "{answered}");
}

#[test]
fn what_is_only_checked_or_refused_leaves_the_turn_where_it_is() {
    let (gateway, backends) = (Gateway::with(ONE), lettered("ABC"));
    put(&gateway, &even(&backends[..2]));
    let mut next = even(&backends);
    let planned = json!({"version": 1, "services": {"orders/v1": next.clone()}});
    let refused = json!({"targets": next["targets"].clone(), "require": [["teleport"]]});
    next["targets"][0]["weight"] = json!(9);
    let question = json!({"method": "GET", "url": "/orders/v1/"});
    let checked = |number: usize| match number % 4 {
        0 => _ = gateway.admin_ok("POST", "/declarations/plan?adopt=true", Some(&planned), 200),
        1 => assert!(gateway.admin("PUT", "/services/orders/v1", Some(&refused)).status >= 400),
        2 => _ = gateway.admin_ok("POST", "/explain", Some(&question), 200),
        _ => {
            // Good by itself, refused with what comes along.
            let both = json!({"version": 1, "services": {"orders/v1": next, "bad/v1": refused}});
            let answer = gateway.admin("PUT", "/declarations?adopt=true", Some(&both));
            assert!(answer.status >= 400, "{}", answer.text());
        }
    };
    assert_eq!(letters(&gateway, "/orders/v1/", 8, checked), "ABABABAB");
}

#[test]
fn what_is_known_of_a_target_stays_known_whatever_is_declared_meanwhile() {
    let level = |command: &mut Command| _ = command.env("PORTCULLIS_LOG", "info,portcullis_upstream=debug");
    let gateway = Gateway::launch(TempDir::new().expect("a directory"), ONE, level);
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let failing = Backend::serving(move |stream, _| {
        !down.load(Relaxed) && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nA").is_ok()
    });
    let others = lettered("BC");
    let declared = [service([(&failing, 1), (&others[0], 1)]), service([(&failing, 1), (&others[1], 1)])];
    let route = json!({"match": {"path": {"prefix": "/one"}}, "service": "orders/v1"});
    put(&gateway, &declared[0]);
    gateway.admin_ok("PUT", "/routes/one", Some(&route), 201);
    let call = |number: usize| {
        // Another target stands beside it each time, and it is called by another route.
        put(&gateway, &declared[number / 2 % 2]);
        let answer = gateway.call("GET", ["/one", "/orders/v1/x"][number / 2 % 2], &[], b"");
        if answer.status == 200 { answer.text() } else { answer.code() }
    };
    let answered: Vec<_> = (0..6).map(call).collect();
    assert_eq!(answered, ["upstream_broken", "B", "upstream_broken", "C", "upstream_broken", "B"]);
    is_down.store(false, Relaxed);
    assert_eq!(call(6), "A");
    until("it is said that it answers again", || gateway.stderr().contains("a target answers again"));
    let said = gateway.stderr();
    assert_eq!(said.matches("calls to a target begin to fail").count(), 1, "{said}");
    assert!(said.lines().any(|line| line.contains("a target answers again") && line.contains("failures=3")), "{said}");
}
