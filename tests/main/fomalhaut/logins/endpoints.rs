//! Every endpoint in both dialects: in clear and sealed, with and without a slash at the end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{DIALECTS, House, KIOSK, PASSWORD, Pair, SHOP, over, pair, refreshes, refused, said, user};
use crate::support::issuer::now;

/// The ways in which every call is made: in clear and sealed, and what stands at the end of its path.
fn ways() -> Vec<(Value, &'static str)> {
    let clear = || json!({});
    let sealed = || json!({"sealed_call": true});
    vec![(clear(), ""), (clear(), "/"), (sealed(), ""), (sealed(), "/")]
}

/// A login, with the shape of its answer to the letter.
#[track_caller]
fn logged_in(house: &House, dialect: &str, more: &Value, slash: &str) -> Pair {
    let before = now();
    let credentials = json!({"name": "ada", "password": PASSWORD, "more": "\u{e9}"});
    let told = house.post(dialect, SHOP, &format!("/auth/v1/login{slash}"), &credentials, more);
    let answer = said(&told);
    let Pair { access, refresh } = pair(&answer["data"]);
    let expires_in = answer["data"]["expires_in"].as_u64().expect("a number");
    let (from, name) = if dialect == "fo" { (0, r"\u4e2dada") } else { (before, "\u{4e2d}ada") };
    assert!((864_000..864_060).contains(&(expires_in - from)), "{answer}");
    let body = format!(
        r#"{{"code":200,"data":{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":{expires_in},"user_info":{{"id":3,"name":"{name}"}}}},"msg":""}}"#
    );
    assert_eq!(String::from_utf8(told.opened()).expect("UTF-8"), body);
    let asked = house.auth_api.received().pop().expect("it was asked");
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/login"));
    assert_eq!(String::from_utf8(asked.body).expect("UTF-8"), credentials.to_string(), "to the letter");
    let mut fields: Vec<_> = asked.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["content-length", "content-type", "host"]);
    Pair { access, refresh }
}

#[test]
fn a_user_of_fo_logs_in_calls_refreshes_and_logs_out() {
    let house = House::new();
    for (more, slash) in ways() {
        let pair_of = |told| pair(&said(&told)["data"]);
        let post = |path: &str, body: Value, with: &Value| {
            house.post("fo", SHOP, &format!("{path}{slash}"), &body, &over(&more, with))
        };
        let first = logged_in(&house, "fo", &more, slash);
        assert!(house.is_good("fo", SHOP, &first.access));
        let alive = said(&post("/auth/v1/token/alive", json!({"access_token": first.access}), &json!({})));
        let left = alive["data"]["expires_in"].as_u64().expect("a number");
        assert!((863_900..=864_000).contains(&left), "{alive}");
        assert_eq!(alive, json!({"code": 200, "data": {"expires_in": left}, "msg": ""}));

        let told = post("/auth/v1/token/refresh", json!({"refresh_token": first.refresh}), &json!({}));
        let second = pair_of(told.clone());
        let expires_in = &said(&told)["data"]["expires_in"];
        let body = format!(
            r#"{{"code":200,"data":{{"access_token":"{}","refresh_token":"{}","expires_in":{expires_in}}},"msg":""}}"#,
            second.access, second.refresh
        );
        assert_eq!(String::from_utf8(told.opened()).expect("UTF-8"), body);
        assert!(!house.is_good("fo", SHOP, &first.access) && house.is_good("fo", SHOP, &second.access));
        assert_eq!(house.refresh("fo", SHOP, &first.refresh), None, "it is good once");
        let dead = said(&post("/auth/v1/token/alive", json!({"access_token": first.access}), &json!({})));
        assert_eq!(dead, json!({"code": 200, "data": {"expires_in": -2}, "msg": ""}));
        // As the README of the original spells it.
        let third = pair_of(post("/auth/v1/token/refresh", json!({"refersh_token": second.refresh}), &json!({})));

        let told = post("/account/v1/logout", json!({}), &json!({"token": third.access}));
        assert_eq!(said(&told), json!({"code": 200, "data": null, "msg": "Logout Success"}));
        assert!(!house.is_good("fo", SHOP, &third.access));
        assert_eq!(house.refresh("fo", SHOP, &third.refresh), None);
        let told = post("/account/v1/logout", json!({}), &json!({"token": third.access}));
        refused("fo", &told, 401, "Bad Access Token");
        // The query will do where the field is not there.
        let fourth = logged_in(&house, "fo", &more, slash);
        let target = format!("/account/v1/logout{slash}?access_token={}", fourth.access);
        said(&house.post("fo", SHOP, &target, &json!({}), &more));
        assert!(!house.is_good("fo", SHOP, &fourth.access));
        let all = [&first, &second, &third, &fourth];
        let tokens: Vec<_> = all.iter().flat_map(|pair| [pair.access.as_str(), pair.refresh.as_str()]).collect();
        house.kept_quiet_about(&[&tokens[..], &[PASSWORD]].concat());
    }
}

#[test]
fn a_user_of_api_logs_in_calls_refreshes_and_logs_out() {
    let house = House::new();
    for (more, slash) in ways() {
        let post = |path: &str, body: Value| house.post("api", SHOP, &format!("{path}{slash}"), &body, &more);
        let first = logged_in(&house, "api", &more, slash);
        assert!(house.is_good("api", SHOP, &first.access));
        let told = post("/auth/v1/token", json!({"refresh_token": first.refresh}));
        let second = pair(&said(&told)["data"]);
        let body = format!(
            r#"{{"code":200,"data":{{"access_key":"abcd","user_info":{{"id":3,"name":"{}ada"}},"access_token":"{}","refresh_token":"{}"}},"msg":""}}"#,
            '\u{4e2d}', second.access, second.refresh
        );
        assert_eq!(String::from_utf8(told.opened()).expect("UTF-8"), body);
        assert!(!house.is_good("api", SHOP, &first.access) && house.is_good("api", SHOP, &second.access));
        assert_eq!(house.refresh("api", SHOP, &first.refresh), None);
        // Nobody has to be logged in to log out, and it is done whatever the token was.
        for _ in 0..2 {
            let answer = said(&post("/auth/v1/logout", json!({"access_token": second.access})));
            assert_eq!(answer, json!({"code": 200, "data": null, "msg": "Logout Success"}));
            assert!(!house.is_good("api", SHOP, &second.access));
        }
        let tokens = [first, second].map(|pair| [pair.access, pair.refresh]).concat();
        let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
        house.kept_quiet_about(&[&tokens[..], &[PASSWORD]].concat());
    }
}

#[test]
fn an_auth_api_may_answer_in_either_form_and_says_why_not() {
    let house = House::new();
    for (dialect, client) in DIALECTS.into_iter().flat_map(|dialect| [(dialect, SHOP), (dialect, KIOSK)]) {
        let credentials = json!({"name": "grace", "password": PASSWORD});
        let answer = said(&house.post(dialect, client, "/auth/v1/login", &credentials, &json!({})));
        assert_eq!(answer["data"]["user_info"], user("grace"));
        let wrong = json!({"name": "grace", "password": "a guess"});
        let answer = said(&house.post(dialect, client, "/auth/v1/login", &wrong, &json!({})));
        assert_eq!(answer, json!({"code": 400, "data": null, "msg": "No entrance"}));
    }
}

#[test]
fn there_is_a_second_way_to_log_in_by_sms() {
    let house = House::new();
    for dialect in DIALECTS {
        for query in ["login_type=sms", "a=b&login_type=sms&c", "login%5Ftype=%73ms", "login_type=sms&login_type=sms"] {
            let body = json!({"name": "ada", "sms_code": "1234"});
            let answer = said(&house.post(dialect, SHOP, &format!("/auth/v1/login/?{query}"), &body, &json!({})));
            assert_eq!(answer["data"]["user_info"], user("sms"));
            let asked = house.auth_api.received().pop().expect("it was asked");
            assert_eq!((asked.target.as_str(), asked.body), ("/login/sms?app=shop", body.to_string().into_bytes()));
        }
        let before = house.auth_api.received().len();
        let target = "/auth/v1/login?login_type=sms&login_type=password";
        refused(dialect, &house.post(dialect, SHOP, target, &json!({}), &json!({})), 400, "Bad Request");
        // A client without one has no second way, and its first one is not taken instead.
        let told = house.post(dialect, KIOSK, "/auth/v1/login?login_type=sms", &json!({}), &json!({}));
        refused(dialect, &told, 510, "Bad Client Config");
        assert_eq!(house.auth_api.received().len(), before);
        // Any other way is the first one.
        let credentials = json!({"name": "ada", "password": PASSWORD});
        pair(&said(&house.post(dialect, SHOP, "/auth/v1/login?login_type=other", &credentials, &json!({})))["data"]);
    }
}

#[test]
fn an_auth_api_changes_the_passwords_of_its_users() {
    let house = House::new();
    for (more, slash) in ways() {
        for (query, target) in [("", "/password"), ("?change_type=sms", "/password/sms")] {
            let mut pairs = [house.log_in("fo", SHOP, "ada"), house.log_in("fo", SHOP, "ada")];
            let change = |new: &str, token: &str| {
                let body = json!({"old_password": PASSWORD, "new_password": new});
                let path = format!("/account/v1/password/change{slash}{query}");
                house.post("fo", SHOP, &path, &body, &over(&more, &json!({"token": token})))
            };
            let answer = said(&change("short", &pairs[0].access));
            assert_eq!(answer, json!({"code": 400, "data": null, "msg": "No entrance"}));
            assert!(house.is_good("fo", SHOP, &pairs[0].access), "nothing was changed");
            let answer = said(&change("another", &pairs[0].access));
            assert_eq!(answer, json!({"code": 200, "data": null, "msg": "Change Password Success"}));
            let asked = house.auth_api.received().pop().expect("it was asked");
            assert_eq!(asked.target, target);
            let told = STANDARD.decode(asked.header("x-user-json").expect("X-User-Json")).expect("Base64");
            assert!(told.is_ascii());
            assert_eq!(serde_json::from_slice::<Value>(&told).expect("JSON"), user("ada"));
            assert_eq!(asked.header("x-app-id"), Some("abcd"));
            assert_eq!(asked.header("content-type"), Some("application/json; charset=utf-8"));
            assert_eq!(asked.header("x-fo-access-token"), None);
            // The pair it was changed with is over; another one of the user's is not.
            assert!(!house.is_good("fo", SHOP, &pairs[0].access));
            assert_eq!(house.refresh("fo", SHOP, &pairs[0].refresh), None);
            assert!(house.is_good("fo", SHOP, &pairs[1].access));
            pairs[0] = house.log_in("fo", SHOP, "ada");
            refused("fo", &change("another", ""), 401, "Bad Access Token");
            assert!(house.is_good("fo", SHOP, &pairs[0].access));
        }
    }
    // The kiosk's Auth API changes none, and the registry knows nothing of its users.
    let kiosk = house.log_in("fo", KIOSK, "ada");
    for query in ["", "?change_type=sms"] {
        let body = json!({"old_password": PASSWORD, "new_password": "another"});
        let target = format!("/account/v1/password/change{query}");
        let told = house.post("fo", KIOSK, &target, &body, &json!({"token": kiosk.access}));
        refused("fo", &told, 510, "Bad Client Config");
    }
    assert!(house.is_good("fo", KIOSK, &kiosk.access));
}

#[test]
fn a_body_that_says_nothing_is_told_so() {
    let house = House::new();
    let invalid = json!({"code": 400, "data": null, "msg": "Invalid Request Data"});
    let pair = house.log_in("fo", SHOP, "ada");
    let whole = json!({"refresh_token": pair.refresh, "access_token": pair.access}).to_string();
    let json = "application/json";
    for (kind, body) in [
        (json, "{}"),
        (json, ""),
        (json, "null"),
        (json, "[]"),
        (json, r#"["refresh_token", "access_token"]"#),
        (json, r#"{"refresh_token": null, "access_token": null}"#),
        (json, r#"{"refresh_token": 7, "access_token": {"a": 1}}"#),
        (json, r#"{"refresh_token": "a", "refersh_token": "b", "access_token": "a", "access_token": "a"}"#),
        (json, &whole[..whole.len() - 1]),
        ("text/json", &whole),
        ("application/x-www-form-urlencoded", &whole),
    ] {
        let more = json!({"fields": [["Content-Type", kind]], "body": STANDARD.encode(body)});
        for (dialect, target) in [
            ("fo", "/auth/v1/token/refresh"),
            ("fo", "/auth/v1/token/alive"),
            ("api", "/auth/v1/token"),
            ("api", "/auth/v1/logout"),
        ] {
            let answer = said(&house.post(dialect, SHOP, target, &json!({}), &more));
            assert_eq!(answer, invalid, "{dialect} {target} {kind} {body}");
        }
    }
    assert!(house.is_good("fo", SHOP, &pair.access));
    let upper =
        json!({"fields": [["Content-Type", "Application/JSON;charset=utf-8"]], "body": STANDARD.encode(&whole)});
    let answer = said(&house.post("fo", SHOP, refreshes("fo"), &json!({}), &upper));
    assert_eq!(answer["code"], 200);
}

#[test]
fn other_methods_and_other_paths_are_told_as_fomalhaut_does() {
    let house = House::new();
    let token = json!({"token": house.log_in("fo", SHOP, "ada").access});
    for (dialect, path) in [
        ("fo", "/auth/v1/login"),
        ("fo", "/auth/v1/token/refresh/"),
        ("fo", "/auth/v1/token/alive"),
        ("fo", "/account/v1/logout/"),
        ("fo", "/account/v1/password/change"),
        ("api", "/auth/v1/login/"),
        ("api", "/auth/v1/logout"),
        ("api", "/auth/v1/token"),
    ] {
        for (method, sealed) in [("GET", false), ("GET", true), ("PUT", false), ("DELETE", false)] {
            let more = json!({"method": method, "sealed_call": sealed});
            let told = house.post(dialect, SHOP, path, &json!({}), &over(&more, &token));
            told.is_verified();
            assert_eq!(
                (told.status(), told.opened().as_slice()),
                (405, b"405 Method Not Allowed".as_slice()),
                "{path}"
            );
            assert_eq!(told.field("content-type"), Some("application/json; charset=utf-8"));
            assert_eq!(told.field("allow"), Some("POST"));
        }
    }
    for (dialect, path) in [
        ("fo", "/auth/v1/"),
        ("fo", "/auth/v1/logout"),
        ("fo", "/auth/v1/token"),
        ("fo", "/auth/v1/x/login"),
        ("fo", "/auth/v1/login/x"),
        ("fo", "/auth/v1/?/login"),
        ("fo", "/account/v1/password"),
        ("api", "/auth/v1/token/refresh"),
        ("api", "/auth/v1/token/alive"),
        ("api", "/auth/v1/x/login/"),
        ("api", "/account/v1/logout"),
    ] {
        for (method, sealed) in [("POST", false), ("POST", true), ("GET", false)] {
            let more = json!({"method": method, "sealed_call": sealed});
            let told = house.post(dialect, SHOP, path, &json!({}), &over(&more, &token));
            told.is_verified();
            assert_eq!(
                (told.status(), told.opened().as_slice()),
                (404, b"404 Not Found".as_slice()),
                "{dialect} {path}"
            );
            assert_eq!(told.field("content-type"), Some("text/html; charset=UTF-8"));
        }
    }
}

#[test]
fn who_is_not_granted_or_not_logged_in_gets_nowhere() {
    let house = House::new();
    let pair = house.log_in("fo", SHOP, "ada");
    let (login, logout) = ("/auth/v1/login", "/account/v1/logout");
    let credentials = json!({"name": "ada", "password": PASSWORD});
    let asked = house.auth_api.received().len();
    // Nobody who has not signed is let in, and nobody is logged out who is not logged in.
    let unsigned = json!({"signed": false});
    for dialect in DIALECTS {
        refused(dialect, &house.post(dialect, SHOP, login, &credentials, &unsigned), 400, "Bad Request");
        let told = house.post(dialect, [SHOP[0], "another"], login, &credentials, &json!({}));
        refused(dialect, &told, 431, "Invalid Signature");
        let told = house.post(dialect, ["nobody", "x"], login, &credentials, &json!({}));
        refused(dialect, &told, 510, "Bad Client Config");
    }
    for token in [None, Some("x"), Some(""), Some(pair.refresh.as_str())] {
        let told = house.post("fo", SHOP, logout, &json!({}), &json!({"token": token}));
        refused("fo", &told, 401, "Bad Access Token");
    }
    assert!(house.is_good("fo", SHOP, &pair.access));
    // What is not granted is told before anything is verified, as fomalhaut does.
    house.declare("shop", &json!({"services": ["orders", "auth/v2"]}));
    for (dialect, endpoint) in [("fo", "auth/v1"), ("fo", "account/v1"), ("api", "auth/v1"), ("api", "account/v1")] {
        for more in [json!({}), unsigned.clone()] {
            let told = house.post(dialect, SHOP, &format!("/{endpoint}/login"), &credentials, &more);
            refused(dialect, &told, 432, &format!("No Permission {endpoint}"));
            told.is_unsigned();
        }
    }
    house.declare("shop", &json!({"services": ["auth/v1", "account/*"], "enabled": false}));
    refused("fo", &house.post("fo", SHOP, login, &credentials, &json!({})), 421, "Client Disabled");
    assert_eq!(house.auth_api.received().len(), asked, "nobody was asked");
    house.declare("shop", &json!({"services": ["auth/v1", "account/*"], "enabled": true}));
    assert!(!house.is_good("fo", SHOP, &pair.access), "a client that was disabled has no sessions left");
    let pair = house.log_in("fo", SHOP, "ada");
    said(&house.post("fo", SHOP, logout, &json!({}), &json!({"token": pair.access})));
}

#[test]
fn a_client_may_be_let_in_without_a_signature() {
    let house = House::new();
    for (endpoint, require) in [("auth", json!([])), ("account", json!([["bearer"]]))] {
        let matches = json!({"client": "shop", "path": {"prefix": format!("/{endpoint}/v1")}});
        let route = json!({"match": matches, "builtin": true, "require": require});
        house.gateway().admin_ok("PUT", &format!("/routes/shop-{endpoint}"), Some(&route), 201);
    }
    let unsigned = json!({"signed": false, "asks": false});
    let answered = |told: &super::Told| -> Value {
        assert_eq!(told.status(), 200, "{told:?}");
        serde_json::from_slice(&told.is_unsigned().opened()).expect("JSON")
    };
    for dialect in DIALECTS {
        let credentials = json!({"name": "ada", "password": PASSWORD});
        let told = house.post(dialect, SHOP, "/auth/v1/login", &credentials, &unsigned);
        let first = pair(&answered(&told)["data"]);
        let told = house.post(dialect, SHOP, refreshes(dialect), &json!({"refresh_token": first.refresh}), &unsigned);
        let second = pair(&answered(&told)["data"]);
        // Whoever says that it is another client gets nothing with it, and nobody else is let in like that.
        let told = house.post(dialect, KIOSK, "/auth/v1/login", &credentials, &unsigned);
        refused(dialect, &told, 400, "Bad Request");
        assert!(!house.is_good(dialect, KIOSK, &second.access) && house.is_good(dialect, SHOP, &second.access));
        if dialect == "fo" {
            let out = over(&unsigned, &json!({"token": second.access}));
            let told = house.post("fo", KIOSK, "/account/v1/logout", &json!({}), &out);
            refused("fo", &told, 400, "Bad Request");
            answered(&house.post("fo", SHOP, "/account/v1/logout", &json!({}), &out));
            assert!(!house.is_good("fo", SHOP, &second.access));
        }
    }
    let off = json!({"match": {"client": "shop", "path": {"prefix": "/auth/v1"}}, "builtin": true, "enabled": false});
    house.gateway().admin_ok("PUT", "/routes/shop-auth", Some(&off), 200);
    let told = house.post("fo", SHOP, "/auth/v1/login", &json!({}), &json!({}));
    refused("fo", &told, 422, "Endpoint Disabled");
}
