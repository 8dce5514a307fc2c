//! Guessing passwords at `/-/token`: who has to wait, who does not, and what the operator sees of it.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{PATIENCE, read_answer};
use crate::support::scene::PASSWORD;
use crate::support::{Answer, Gateway};

/// Few failures, and waits that no test outlives.
const STRICT: &str = "[lockout]\nfailures = 3\nfirst_wait = \"10m\"\nlongest_wait = \"1h\"\nuser_failures = 6\n\
                      user_wait = \"5m\"\naddress_failures = 9\naddress_wait = \"10m\"\n";
const TRUSTING: &str = "trusted_proxies = [\"127.0.0.1\"]\npublic_url = \"https://api.example.com\"\n";

fn gateway(settings: &str) -> Gateway {
    let gateway = Gateway::with(&format!("{settings}{STRICT}"));
    for user in ["ada", "bob"] {
        let user = json!({"username": user, "password": PASSWORD, "user_info": {}});
        gateway.admin_ok("POST", "/users", Some(&user), 201);
    }
    gateway
}

/// A login over a connection from an address of this machine.
fn log_in_from(gateway: &Gateway, from: [u8; 4], user: &str, password: &str, fields: &str) -> Answer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("bound");
    socket.connect(&gateway.data.into()).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let body = json!({"username": user, "password": password}).to_string();
    let head = format!(
        "POST /-/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    let mut stream = std::net::TcpStream::from(socket);
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    read_answer(&mut stream, false)
}

fn right(gateway: &Gateway, from: u8, user: &str) -> u16 {
    log_in_from(gateway, [127, 0, 0, from], user, PASSWORD, "").status
}

fn wrong(gateway: &Gateway, from: u8, user: &str) -> u16 {
    log_in_from(gateway, [127, 0, 0, from], user, "a guess", "").status
}

/// A login that a trusted proxy brings for somebody.
fn brought(gateway: &Gateway, address: &str, user: &str, password: &str) -> u16 {
    let fields = format!("X-Forwarded-For: {address}\r\n");
    log_in_from(gateway, [127, 0, 0, 1], user, password, &fields).status
}

/// That an answer is a lock, and for how many seconds.
fn locked(answer: &Answer) -> u64 {
    assert_eq!((answer.status, answer.code().as_str()), (429, "login_locked"), "{}", answer.text());
    let wait = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!(wait >= 1);
    wait
}

fn logins(gateway: &Gateway) -> Value {
    gateway.admin_ok("GET", "/status", None, 200)["logins"].clone()
}

#[test]
fn guessing_from_one_address_has_to_wait_and_nobody_else_has() {
    let gateway = gateway("");
    for _ in 0..3 {
        assert_eq!(wrong(&gateway, 2, "ada"), 401);
    }
    // The right password is not looked at either: whoever guesses does not learn that it was right.
    for password in ["a guess", PASSWORD] {
        let answer = log_in_from(&gateway, [127, 0, 0, 2], "ada", password, "");
        let wait = locked(&answer);
        assert!((1..=600).contains(&wait), "{wait}");
    }
    assert_eq!(right(&gateway, 2, "bob"), 200, "another user from there");
    assert_eq!(right(&gateway, 3, "ada"), 200, "the same user from elsewhere");
    let record = gateway.record("path=/-/token", |record| record["refusal"] == "login_locked");
    assert_eq!((&record["status"], &record["user"]), (&json!(429), &Value::Null));
    assert!(gateway.access_log().contains("\"reason\":\"this user from this address\""));
    let seen = logins(&gateway);
    assert_eq!(seen, json!({"failed": 3, "refused": 2, "by_untrusted_proxies": 0, "untrusted_proxy": null}));
    for secret in ["a guess", PASSWORD] {
        assert!(!gateway.stderr().contains(secret) && !gateway.access_log().contains(secret));
    }
}

#[test]
fn unknown_users_look_like_known_ones() {
    let gateway = gateway("");
    let course = |user: &str| -> Vec<(u16, Value, Option<String>)> {
        let answers = (0..5).map(|_| log_in_from(&gateway, [127, 0, 0, 2], user, "a guess", ""));
        let shown = answers.map(|answer| {
            let mut body = answer.json();
            body["request_id"] = Value::Null;
            let names = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).filter(|name| name != "date");
            (answer.status, body, names.reduce(|all, name| format!("{all} {name}")))
        });
        shown.collect()
    };
    let known = course("ada");
    assert_eq!(known.iter().map(|(status, ..)| *status).collect::<Vec<_>>(), [401, 401, 401, 429, 429]);
    assert_eq!(course("nobody"), known);
    assert_eq!(course("no/label at all")[..3], known[..3]);
}

#[test]
fn guesses_at_once_are_no_more_than_guesses_one_by_one() {
    let gateway = gateway("");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let all: Vec<_> = (0..24).map(|_| scope.spawn(|| wrong(&gateway, 2, "ada"))).collect();
        all.into_iter().map(|one| one.join().expect("answered")).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(401), count(429)), (3, 21), "{statuses:?}");
}

#[test]
fn whoever_has_logged_in_from_an_address_gets_in_while_others_hammer() {
    let gateway = gateway("");
    assert_eq!(right(&gateway, 9, "ada"), 200);
    for from in 20..26 {
        assert_eq!(wrong(&gateway, from, "ada"), 401);
    }
    thread::scope(|scope| {
        for from in 30..38 {
            let gateway = &gateway;
            scope.spawn(move || (0..5).for_each(|_| assert_eq!(wrong(gateway, from, "ada"), 429)));
        }
        for _ in 0..5 {
            assert_eq!(right(&gateway, 9, "ada"), 200);
        }
    });
    // A stranger waits, but no longer than is set, whatever the others do.
    let wait = locked(&log_in_from(&gateway, [127, 0, 0, 40], "ada", PASSWORD, ""));
    assert!((1..=300).contains(&wait), "{wait}");
    assert_eq!(right(&gateway, 40, "bob"), 200, "other users are not slowed down");
    assert!(gateway.access_log().contains("\"reason\":\"this user from new addresses\""));
}

#[test]
fn one_address_that_tries_many_users_has_to_wait() {
    let gateway = gateway("");
    assert_eq!(right(&gateway, 2, "ada"), 200);
    for number in 0..9 {
        assert_eq!(wrong(&gateway, 2, &format!("user-{number}")), 401);
    }
    let answer = log_in_from(&gateway, [127, 0, 0, 2], "bob", PASSWORD, "");
    assert!(locked(&answer) <= 600);
    assert_eq!(right(&gateway, 2, "ada"), 200, "she is known from there");
    assert_eq!(right(&gateway, 3, "bob"), 200);
    assert!(gateway.access_log().contains("\"reason\":\"this address\""));
}

#[test]
fn behind_a_trusted_proxy_callers_are_told_apart_and_ipv6_goes_by_64() {
    let gateway = gateway(TRUSTING);
    for host in ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"] {
        assert_eq!(brought(&gateway, host, "ada", "a guess"), 401);
    }
    assert_eq!(brought(&gateway, "2001:db8::4", "ada", PASSWORD), 429);
    assert_eq!(brought(&gateway, "2001:db8:0:1::4", "ada", PASSWORD), 200);
    for _ in 0..3 {
        assert_eq!(brought(&gateway, "203.0.113.9", "bob", "a guess"), 401);
    }
    // What a caller makes up stands left of what the proxy has seen, and changes nothing.
    assert_eq!(brought(&gateway, "198.51.100.7, 203.0.113.9", "bob", PASSWORD), 429);
    assert_eq!(brought(&gateway, "10.0.0.7, 203.0.113.9", "bob", PASSWORD), 429);
    assert_eq!(brought(&gateway, "203.0.113.10", "bob", PASSWORD), 200);
    assert_eq!(logins(&gateway)["by_untrusted_proxies"], 0);
}

#[test]
fn behind_an_unknown_proxy_no_address_is_locked_and_the_operator_is_told() {
    for settings in ["", "trusted_proxies = [\"192.0.2.1\"]\n"] {
        let gateway = gateway(settings);
        for number in 0..12 {
            assert_eq!(brought(&gateway, "203.0.113.9", &format!("user-{number}"), "a guess"), 401);
        }
        for _ in 0..5 {
            assert_eq!(brought(&gateway, "203.0.113.9", "ada", "a guess"), 401, "beyond what one address may");
        }
        assert_eq!(brought(&gateway, "203.0.113.10", "ada", PASSWORD), 200);
        let said = gateway.stderr();
        let warnings = said.lines().filter(|line| line.contains("lock-out by address is OFF")).count();
        assert_eq!(warnings, 1, "{said}");
        assert!(said.contains("127.0.0.1") && said.contains("trusted_proxies"), "{said}");
        let seen = logins(&gateway);
        assert_eq!((&seen["by_untrusted_proxies"], &seen["untrusted_proxy"]), (&json!(18), &json!("127.0.0.1")));
        // It is no way to guess without end: a user's own counter goes on.
        let all: Vec<u16> = (0..3).map(|_| brought(&gateway, "203.0.113.9", "ada", "a guess")).collect();
        assert_eq!(all, [401, 429, 429]);
    }
}

#[test]
fn a_trusted_proxy_that_does_not_say_for_whom_is_no_callers_address() {
    let gateway = gateway(TRUSTING);
    for _ in 0..5 {
        assert_eq!(wrong(&gateway, 1, "ada"), 401);
    }
    assert_eq!(right(&gateway, 1, "ada"), 200);
    assert!(gateway.stderr().contains("lock-out by address is OFF"));
    // Another proxy before it, inside and not trusted: the same.
    for _ in 0..5 {
        assert_eq!(brought(&gateway, "203.0.113.9, 10.0.0.7", "bob", "a guess"), 401);
    }
    assert_eq!(logins(&gateway)["untrusted_proxy"], "10.0.0.7");
}
