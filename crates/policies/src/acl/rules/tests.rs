//! Rules against calls whose paths were made canonical as at the door.

use super::*;
use crate::testing;
use serde_json::{Value, json};

fn compile(rules: Value, default: Effect) -> Result<Rules, Vec<Problem>> {
    let declared: Vec<RuleSettings> = serde_json::from_value(rules).expect("well formed");
    Rules::compile(&declared, default, false)
}

#[track_caller]
fn decides(rules: &Rules, method: &str, path: &str, client: Option<&str>, expected: Effect) {
    let mut call = testing::call(method, path, &[]);
    if let Some(name) = client {
        call.caller = testing::caller(name);
    }
    assert_eq!(rules.effect(call.rest(), &call), expected, "{method} {path} by {client:?}");
    assert_eq!(rules.check(&call).is_ok(), expected == Allow);
}

use Effect::{Allow, Deny};

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = json!([
        {"path": "/admin/public", "effect": "allow"},
        {"path": "/admin", "clients": ["root"], "effect": "allow"},
        {"path": "/admin", "effect": "deny"},
        {"path": "^/users/[0-9]+$", "methods": ["GET"], "effect": "allow"},
        {"path": "^/users/", "effect": "deny"},
    ]);
    let rules = compile(rules, Allow).expect("rules");
    for (method, path, client, expected) in [
        ("GET", "/", None, Allow),
        ("GET", "/admin", None, Deny),
        ("GET", "/admin/", None, Deny),
        ("GET", "/admin/x", Some("other"), Deny),
        ("GET", "/admin/x", Some("root"), Allow),
        ("GET", "/admin/public/x", None, Allow),
        ("GET", "/administrator", None, Allow),
        ("GET", "/users/7", None, Allow),
        ("HEAD", "/users/7", None, Allow),
        ("DELETE", "/users/7", None, Deny),
        ("GET", "/users/7/keys", None, Deny),
    ] {
        decides(&rules, method, path, client, expected);
    }
}

#[test]
fn no_spelling_of_a_path_gets_past_a_rule() {
    let rules = compile(json!([{"path": "/admin/keys", "effect": "deny"}]), Allow).expect("rules");
    for path in
        ["/admin/keys", "/%61dmin/keys", "/admin//keys", "/admin/./keys", "/x/../admin/keys", "/x/%2e%2E/admin/keys/7"]
    {
        decides(&rules, "GET", path, None, Deny);
    }
    decides(&rules, "GET", "/admin%2Ckeys", None, Allow);
}

/// What a rule says of a path that has parameters, on a route that takes them; none where it is refused with 400.
fn said(rules: &Rules, path: &str) -> Option<bool> {
    let mut call = testing::call("GET", path, &[]);
    call.matched_readings = vec![0; call.request.path.readings().count()];
    match rules.check(&call) {
        Ok(()) => Some(true),
        Err(refusal) if refusal.code() == "path_parameters" => None,
        Err(refusal) => {
            assert_eq!(refusal.facts().status, 403);
            Some(false)
        }
    }
}

#[test]
fn every_reading_of_a_path_must_come_to_one_end() {
    let rules = compile(json!([{"path": "/admin/keys", "effect": "deny"}]), Allow).expect("rules");
    let allowing = compile(json!([{"path": "^/[^/]*public$", "effect": "allow"}]), Deny).expect("rules");
    for (rules, path, want) in [
        (&rules, "/admin/keys;a=1", None),
        (&rules, "/admin/keys%3Ba=1", None),
        (&rules, "/admin;a=1/keys", None),
        (&rules, "/admin;/keys;/7", None),
        (&rules, "/;x/admin/keys", None),
        (&rules, "/admin/keys/x;a", Some(false)),
        (&rules, "/admin/other;a", Some(true)),
        (&allowing, "/public", Some(true)),
        (&allowing, "/public;a=1", None),
        (&allowing, "/admin;public", None),
        (&allowing, "/admin;x", Some(false)),
        (&allowing, "/a;public/x", Some(false)),
    ] {
        assert_eq!(said(rules, path), want, "{path}");
    }
}

#[test]
fn every_character_of_a_path_is_the_same_escaped_and_not() {
    for byte in (b'!'..=b'~').filter(|byte| !matches!(byte, b'/' | b';' | b'\\' | b'%')) {
        let plain = format!("/a{}b", char::from(byte));
        let escaped = [format!("/a%{byte:02X}b"), format!("/a%{byte:02x}b")];
        // Declared as it stands in a path, and as a pattern of what it is and of how it may be written.
        let canonical = Path::parse(&plain).expect("a path").forwarded().to_owned();
        for declared in [canonical.clone(), format!("^{}$", regex::escape(&canonical)), format!("^{}$", escaped[1])] {
            // A path in a rule looks like a wildcard where it has a star as it is.
            let declared = if byte == b'*' && declared == canonical { "/a%2Ab".to_owned() } else { declared };
            let rules = compile(json!([{"path": declared, "effect": "deny"}]), Allow).expect("rules");
            for path in [&plain, &escaped[0], &escaped[1]] {
                decides(&rules, "GET", path, None, Deny);
            }
        }
    }
}

#[test]
fn a_star_at_the_end_is_everything_below_and_none_elsewhere() {
    for declared in ["/admin/*", "/admin", "/admin/"] {
        let rules = compile(json!([{"path": declared, "effect": "deny"}]), Allow).expect("rules");
        for (path, want) in [("/admin", Deny), ("/admin/x/y", Deny), ("/administrator", Allow)] {
            decides(&rules, "GET", path, None, want);
        }
    }
    let all = compile(json!([{"path": "/*", "effect": "deny"}]), Allow).expect("rules");
    decides(&all, "GET", "/x", None, Deny);
    let literal = compile(json!([{"path": "/a*b", "effect": "deny"}]), Allow).expect("rules");
    for (path, want) in [("/a*b", Deny), ("/a%2Ab/x", Deny), ("/axb", Allow)] {
        decides(&literal, "GET", path, None, want);
    }
    for declared in ["/*/admin", "/a/*/b", "/**", "/a/**"] {
        assert!(compile(json!([{"path": declared, "effect": "deny"}]), Allow).is_err(), "{declared}");
    }
}

#[test]
fn patterns_meet_what_their_authors_read_in_them() {
    for (pattern, path) in [
        ("^/%C3%9Cber", "/%C3%9Cber"),
        ("^/%c3%9cber", "/%C3%9Cber"),
        ("^/\u{DC}ber", "/%C3%9Cber"),
        ("^/a b", "/a%20b"),
        ("^/\\[a", "/[a"),
        ("^/%5ba", "/[a"),
        ("^/a\\%40b", "/a@b"),
        ("^/a%2fb", "/a%2Fb"),
    ] {
        for ignores_case in [false, true] {
            let declared = json!([{"path": pattern, "effect": "deny"}]);
            let declared: Vec<RuleSettings> = serde_json::from_value(declared).expect("well formed");
            let rules = Rules::compile(&declared, Allow, ignores_case).expect("rules");
            decides(&rules, "GET", path, None, Deny);
        }
    }
}

#[test]
fn where_case_makes_no_difference_it_gets_past_no_rule() {
    let declared = json!([{"path": "/Admin", "effect": "deny"}, {"path": "^/keys/[a-z]+$", "effect": "deny"}]);
    let declared: Vec<RuleSettings> = serde_json::from_value(declared).expect("well formed");
    let rules = Rules::compile(&declared, Allow, true).expect("rules");
    for (path, want) in
        [("/ADMIN/x", Deny), ("/%61dMIN", Deny), ("/KEYS/aBc", Deny), ("/keys/7", Allow), ("/administrator", Allow)]
    {
        decides(&rules, "GET", path, None, want);
    }
    let rules = Rules::compile(&declared, Allow, false).expect("rules");
    decides(&rules, "GET", "/admin", None, Allow);
}

#[test]
fn denying_a_client_looks_at_its_token_too() {
    let rules = json!([{"clients": ["bad"], "effect": "deny"}]);
    let rules = compile(rules, Allow).expect("rules");
    let mut call = testing::call("GET", "/", &[]);
    call.caller = testing::caller("good");
    assert_eq!(rules.effect(call.rest(), &call), Allow);
    call.caller.token_client = Some(testing::client("bad"));
    assert_eq!(rules.effect(call.rest(), &call), Deny);
    // And allowing one looks at the client that counts as the caller.
    let rules = compile(json!([{"clients": ["bad"], "effect": "allow"}]), Deny).expect("rules");
    assert_eq!(rules.effect(call.rest(), &call), Deny);
}

#[test]
fn a_client_of_another_issuer_is_named_with_it() {
    let effect = |rule: Value, default: Effect, change: &dyn Fn(&mut portcullis_core::call::Caller)| {
        let rules = compile(json!([rule]), default).expect("rules");
        let mut call = testing::call("GET", "/", &[]);
        change(&mut call.caller);
        rules.effect(call.rest(), &call)
    };
    let allow = |name: &str| json!({"clients": [name], "effect": "allow"});
    let deny = |name: &str| json!({"clients": [name], "effect": "deny"});
    let foreign = |issuer: &'static str, id: &'static str| {
        move |caller: &mut portcullis_core::call::Caller| caller.foreign_client = Some(testing::foreign(issuer, id))
    };
    for (name, issuer, id, meets) in [
        ("https://idp#shop", "https://idp", "shop", true),
        ("https://idp#shop", "https://idp", "Shop", false),
        ("https://idp#shop", "https://other", "shop", false),
        ("https://idp#shop", "https://idp#shop", "", false),
        ("https://idp#a#shop", "https://idp#a", "shop", true),
        ("https://idp#a#shop", "https://idp", "a#shop", false),
        ("//idp#shop", "idp", "shop", true),
        // A plain name is of this gateway's own.
        ("shop", "https://idp", "shop", false),
        ("idp#shop", "idp", "shop", false),
    ] {
        let (allows, denies) = if meets { (Allow, Deny) } else { (Deny, Allow) };
        assert_eq!(effect(allow(name), Deny, &foreign(issuer, id)), allows, "{name} {issuer} {id}");
        assert_eq!(effect(deny(name), Allow, &foreign(issuer, id)), denies, "{name} {issuer} {id}");
    }
    // Where a client of this gateway calls, the other one can only stand against it.
    let both = |caller: &mut portcullis_core::call::Caller| {
        *caller = testing::caller("shop");
        caller.foreign_client = Some(testing::foreign("https://idp", "batch"));
    };
    assert_eq!(effect(allow("https://idp#batch"), Deny, &both), Deny);
    assert_eq!(effect(allow("shop"), Deny, &both), Allow);
    assert_eq!(effect(deny("https://idp#batch"), Allow, &both), Deny);
    let own = |caller: &mut portcullis_core::call::Caller| *caller = testing::caller("shop");
    assert_eq!(effect(allow("https://idp#shop"), Deny, &own), Deny);
    assert!(compile(json!([allow("https://idp")]), Deny).is_err() && compile(json!([allow("a/b")]), Deny).is_err());
}

#[test]
fn every_mistake_is_named() {
    let none: Vec<String> = Vec::new();
    let wrong = |rules: Value| -> Vec<String> {
        compile(rules, Allow).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(wrong(json!([{"effect": "deny"}])), none);
    let rules = json!([
        {"path": "^/(", "effect": "deny"},
        {"path": "admin", "effect": "deny"},
        {"path": "/a/../b", "effect": "deny"},
        {"path": "/a;b", "effect": "deny"},
        {"path": "/%61", "methods": ["get", "A B"], "clients": [""], "effect": "deny"},
        {"path": format!("/{}", "a".repeat(2_000)), "effect": "deny"},
        {"path": "^/([a-z0-9]{1,900}){900}", "effect": "deny"},
        {"path": "^/(?!public)", "effect": "deny"},
        {"path": "^/a++", "effect": "deny"},
    ]);
    let expected = [
        "rules[0].path",
        "rules[1].path",
        "rules[2].path",
        "rules[3].path",
        "rules[4].path",
        "rules[4].methods[0]",
        "rules[4].methods[1]",
        "rules[4].clients[0]",
        "rules[5].path",
        "rules[6].path",
        "rules[7].path",
        "rules[8].path",
    ];
    assert_eq!(wrong(rules), expected);
    let many: Vec<_> = (0..65).map(|_| json!({"effect": "deny"})).collect();
    assert_eq!(wrong(Value::Array(many)), ["rules"]);
    // Each is small enough, all together are not.
    let large: Vec<_> =
        (0..64).map(|at| json!({"path": format!("^/{at}/[a-z0-9]{{1,900}}$"), "effect": "deny"})).collect();
    assert_eq!(wrong(Value::Array(large)), ["rules"]);
}

#[test]
fn a_slash_at_the_end_says_nothing_at_an_endpoint_of_the_gateway() {
    for (path, effect, expected) in [
        ("^/login$", "deny", Deny),
        ("^/login/$", "deny", Deny),
        ("/login", "deny", Deny),
        ("^/log$", "deny", Allow),
        ("^/login$", "allow", Allow),
        ("^/login/?$", "allow", Allow),
        ("^/login/$", "allow", Allow),
        ("^/token/", "allow", Deny),
    ] {
        let default = if effect == "deny" { Allow } else { Deny };
        let rules = || compile(json!([{"path": path, "effect": effect}]), default).expect("rules");
        for spelling in ["/login", "/login/", "/login//"] {
            decides(&rules().of_builtin(), "POST", spelling, None, expected);
        }
    }
    // A service may have something else there.
    let rules = compile(json!([{"path": "^/login$", "effect": "deny"}]), Allow).expect("rules");
    decides(&rules, "POST", "/login/", None, Allow);
    let rules = compile(json!([{"path": "^/$", "effect": "deny"}]), Allow).expect("rules").of_builtin();
    decides(&rules, "POST", "/", None, Deny);
}
