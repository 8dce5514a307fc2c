//! Auth APIs that are down, slow, huge or hostile: what a caller is told of them, and what others notice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use super::{DIALECTS, House, KIOSK, PASSWORD, SHOP, answer, auth_api, refused, said};
use crate::support::Backend;

/// What no caller may ever see.
const HIDDEN: &str = "hidden treasure";

/// Where an Auth API answers in a way of its own.
fn odd() -> Backend {
    Backend::serving(|stream, request| {
        let (ok, yes) = ("200 OK", json!({"code": 200, "value": {"id": HIDDEN}}).to_string());
        match request.target.trim_start_matches('/') {
            "redirect" => answer(stream, "302 Found\r\nLocation: /yes", yes.as_bytes()),
            "permanent" => answer(stream, "308 Permanent Redirect\r\nLocation: /yes", yes.as_bytes()),
            "failing" => answer(stream, "500 Internal Server Error", yes.as_bytes()),
            "refusing" => answer(stream, "401 Unauthorized", yes.as_bytes()),
            "huge" => answer(stream, ok, json!({"code": 200, "value": "x".repeat(300 << 10)}).to_string().as_bytes()),
            "much" => answer(stream, ok, json!({"code": 200, "value": "x".repeat(20 << 10)}).to_string().as_bytes()),
            "html" => answer(stream, ok, format!("<html>{HIDDEN}").as_bytes()),
            "list" => answer(stream, ok, json!([{"code": 200, "value": HIDDEN}]).to_string().as_bytes()),
            "binary" => answer(stream, ok, &[b'{', 0xff, 0xfe]),
            "empty" => answer(stream, ok, b""),
            "number" => answer(stream, ok, br#"{"code":200,"value":{"id":123456789012345678901234567890}}"#),
            "garbage" => last(stream, &format!("{HIDDEN}\r\n\r\n")),
            "cut" => last(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\": 200"),
            "text" => answer(stream, ok, json!({"code": "200", "value": HIDDEN}).to_string().as_bytes()),
            "long" => answer(stream, ok, json!({"code": 403, "message": "y".repeat(100 << 10)}).to_string().as_bytes()),
            "slow" => {
                // Until the other side gives up.
                while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
                false
            }
            "drip" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
                let mut is_there = stream.write_all(head.as_bytes()).is_ok();
                while is_there {
                    is_there = stream.write_all(b" ").is_ok();
                    thread::sleep(std::time::Duration::from_millis(100));
                }
                false
            }
            "login" => answer(stream, ok, json!({"code": 200, "value": {"id": 7}}).to_string().as_bytes()),
            _ => answer(stream, ok, yes.as_bytes()),
        }
    })
}

/// Writes the last that is said on a connection.
fn last(stream: &mut TcpStream, text: &str) -> bool {
    // Whoever it is for may have gone.
    let _ = stream.write_all(text.as_bytes());
    false
}

#[test]
fn an_auth_api_that_is_no_help_is_told_by_its_code() {
    let house = House::with("workers = 2\n", odd());
    let pair = house.log_in("fo", SHOP, "ada");
    // Somebody listens there who takes no connection, and there nobody does.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = |path: &str| format!("{}/{path}", house.auth_api.url());
    let (failed, bad) = ((503, "Endpoint Request Error"), (502, "Bad Endpoint Response"));
    for (url, (code, text)) in [
        (url("redirect"), failed),
        (url("permanent"), failed),
        (url("failing"), failed),
        (url("refusing"), failed),
        (url("huge"), failed),
        (url("garbage"), failed),
        (url("cut"), failed),
        (url("slow"), failed),
        (url("drip"), failed),
        (format!("http://{closed}/"), failed),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), failed),
        ("http://[fd00:ec2::254]/".to_owned(), failed),
        (format!("http://{}/auth/v1/login", house.gateway().data), failed),
        (format!("http://{}/api/v1/users", house.gateway().admin), failed),
        ("http://no-such-host.invalid/login".to_owned(), failed),
        (url("much"), bad),
        (url("html"), bad),
        (url("list"), bad),
        (url("binary"), bad),
        (url("empty"), bad),
        (url("number"), bad),
    ] {
        let change = json!({
            "services": ["auth", "account"], "login_auth_url": url, "sms_login_auth_url": url, "change_password_url": url,
        });
        house.declare("shop", &change);
        for (dialect, path, token) in [
            ("fo", "/auth/v1/login", None),
            ("api", "/auth/v1/login/?login_type=sms", None),
            ("fo", "/account/v1/password/change", Some(&pair.access)),
        ] {
            let is_slow = url.ends_with("slow") || url.ends_with("drip");
            // Each of those takes its time; and a change of a password asks for no user's information.
            let asks_for_no_user = token.is_some() && ["much", "number"].iter().any(|end| url.ends_with(end));
            if (is_slow && dialect == "api") || asks_for_no_user {
                continue;
            }
            let body = json!({"name": "ada", "password": PASSWORD, "new_password": "x"});
            let told = house.post(dialect, SHOP, path, &body, &json!({"token": token}));
            refused(dialect, &told, code, text);
            assert_eq!(told.is_verified().field("cache-control"), Some("no-store"), "{url}");
            let written = format!("{told:?}{}", String::from_utf8_lossy(&told.opened()));
            assert!(!written.contains(HIDDEN), "{url}: {written}");
        }
        assert!(house.is_good("fo", SHOP, &pair.access), "{url}: nothing was changed");
    }
    // A redirect was not followed, and what was asked is told to the operator by its code alone.
    let received = house.auth_api.received();
    assert_eq!(received.iter().filter(|request| request.target == "/yes").count(), 0);
    for code in ["auth_api_failed", "auth_api_answer"] {
        house.gateway().record("limit=1000", |record| record["refusal"] == code);
    }
    house.kept_quiet_about(&[HIDDEN, PASSWORD, &pair.access]);
}

#[test]
fn what_is_no_yes_lets_nobody_in_and_words_are_cut() {
    let house = House::with("workers = 2\n", odd());
    let url = |path: &str| json!({"services": ["auth"], "login_auth_url": format!("{}/{path}", house.auth_api.url())});
    for dialect in DIALECTS {
        house.declare("shop", &url("text"));
        let answer = said(&house.post(dialect, SHOP, "/auth/v1/login", &json!({}), &json!({})));
        assert_eq!(answer, json!({"code": 400, "data": null, "msg": "Login Failed"}));
        house.declare("shop", &url("long"));
        let answer = said(&house.post(dialect, SHOP, "/auth/v1/login", &json!({}), &json!({})));
        assert_eq!(answer, json!({"code": 400, "data": null, "msg": "y".repeat(1_024)}));
    }
}

#[test]
fn slow_auth_apis_of_one_client_take_nothing_from_others() {
    let house = House::with("workers = 2\n", auth_api());
    let held = Backend::serving(|stream, _| {
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
        false
    });
    let pair = house.log_in("fo", SHOP, "ada");
    let shop = json!({"services": ["auth", "account"], "login_auth_url": held.url()});
    house.declare("shop", &shop);
    let user = json!({"username": "ada", "password": "correct horse", "user_info": {}});
    house.gateway().admin_ok("POST", "/users", Some(&user), 201);
    let body = json!({"name": "ada", "password": PASSWORD}).to_string();
    let wanted = json!({
        "method": "POST", "target": "/auth/v1/login", "fields": [["Content-Type", "application/json"]], "asks": false,
        "body": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, body),
    });
    // Ten more than a client may have under way, and one network's quarter of that from each address but for two more.
    let requests: Vec<_> = (0..74).map(|_| house.scene.written("fo", &wanted)).collect();
    let sources: Vec<_> = (1..=4).map(|last| format!("127.66.0.{last}")).collect();
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let driver = super::super::Driver::start();
            let address = house.gateway().data.to_string();
            let with = json!({"address": address, "data": requests, "sources": sources});
            driver.ask("volley", &with)["answers"].clone()
        });
        held.wait_for(64);
        // Meanwhile others log in, by their Auth API and here; and sessions are met, refreshed and ended.
        let kiosk = house.log_in("fo", KIOSK, "grace");
        assert!(house.is_good("fo", KIOSK, &kiosk.access) && house.is_good("fo", SHOP, &pair.access));
        let second = house.refresh("fo", SHOP, &pair.refresh).expect("it is good");
        said(&house.post("fo", SHOP, "/account/v1/logout", &json!({}), &json!({"token": second.access})));
        let login = json!({"username": "ada", "password": "correct horse"});
        assert_eq!(house.gateway().post("/-/token", &[], &login).status, 200);
        let answers = flood.join().expect("no panic");
        let answers = answers.as_array().expect("a list");
        let busy = r#"{"code":503,"value":null,"message":"503 Overloaded"}"#;
        let slow = r#"{"code":503,"value":null,"message":"503 Endpoint Request Error"}"#;
        let count = |text: &str| {
            let is_it = |answer: &&serde_json::Value| super::super::unpacked(&answer[1]) == text.as_bytes();
            answers.iter().filter(is_it).count()
        };
        assert_eq!((answers.len(), count(busy), count(slow)), (74, 10, 64), "{answers:?}");
    });
    assert_eq!(held.received().len(), 64);
    // The room is there again.
    house.declare("shop", &json!({"services": ["auth"], "login_auth_url": format!("{}/login", house.auth_api.url())}));
    house.log_in("fo", SHOP, "ada");
}

#[test]
fn one_network_that_asks_a_slow_auth_api_takes_nothing_from_others_of_its_client() {
    // Whoever is held up is not told before somebody else has come through.
    let house = House::with("workers = 2\n", auth_api());
    let held = Backend::serving(|stream, request| {
        let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if asked["name"] == "grace" {
            return answer(stream, "200 OK", br#"{"code":200,"value":{"id":7}}"#);
        }
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
        false
    });
    house.declare("shop", &json!({"services": ["auth", "account"], "login_auth_url": held.url()}));
    let body = json!({"name": "ada", "password": PASSWORD}).to_string();
    let wanted = json!({
        "method": "POST", "target": "/auth/v1/login", "fields": [["Content-Type", "application/json"]], "asks": false,
        "body": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, body),
    });
    let requests: Vec<_> = (0..64).map(|_| house.scene.written("fo", &wanted)).collect();
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let driver = super::super::Driver::start();
            let address = house.gateway().data.to_string();
            let with = json!({"address": address, "data": requests, "sources": ["127.66.6.6"]});
            driver.ask("volley", &with)["answers"].clone()
        });
        held.wait_for(16);
        house.log_in("fo", SHOP, "grace");
        let answers = flood.join().expect("no panic");
        let busy = r#"{"code":503,"value":null,"message":"503 Overloaded"}"#;
        let answers = answers.as_array().expect("a list").iter();
        assert_eq!(answers.filter(|answer| super::super::unpacked(&answer[1]) == busy.as_bytes()).count(), 48);
    });
    assert_eq!(held.received().len(), 17);
}
