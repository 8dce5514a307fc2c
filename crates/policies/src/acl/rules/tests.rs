//! Rules against calls whose paths were made canonical as at the door.

use super::*;
use crate::testing;
use serde_json::{Value, json};

fn compile(rules: Value, default: Effect) -> Result<Rules, Vec<Problem>> {
    let declared: Vec<RuleSettings> = serde_json::from_value(rules).expect("well formed");
    Rules::compile(&declared, default)
}

#[track_caller]
fn decides(rules: &Rules, method: &str, path: &str, client: Option<&str>, expected: Effect) {
    let mut call = testing::call(method, path, &[]);
    if let Some(name) = client {
        call.caller = testing::caller(name);
    }
    assert_eq!(rules.effect(&call), expected, "{method} {path} by {client:?}");
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
    for path in [
        "/admin/keys",
        "/%61dmin/keys",
        "/admin//keys",
        "/admin/./keys",
        "/x/../admin/keys",
        "/x/%2e%2E/admin/keys/7",
        "/admin/keys;a=1",
        "/admin;a=1/keys",
        "/admin;/keys;/7",
        "/;x/admin/keys",
    ] {
        decides(&rules, "GET", path, None, Deny);
    }
    decides(&rules, "GET", "/admin%2Ckeys", None, Allow);
    decides(&rules, "GET", "/admin/keys%3Ba", None, Allow);

    // What is allowed must be allowed however it is read.
    let rules = json!([{"path": "^/[^/]*public", "effect": "allow"}]);
    let rules = compile(rules, Deny).expect("rules");
    decides(&rules, "GET", "/public", None, Allow);
    decides(&rules, "GET", "/public;a=1", None, Allow);
    decides(&rules, "GET", "/admin;public", None, Deny);
}

#[test]
fn denying_a_client_looks_at_its_token_too() {
    let rules = json!([{"clients": ["bad"], "effect": "deny"}]);
    let rules = compile(rules, Allow).expect("rules");
    let mut call = testing::call("GET", "/", &[]);
    call.caller = testing::caller("good");
    assert_eq!(rules.effect(&call), Allow);
    call.caller.token_client = Some(testing::client("bad"));
    assert_eq!(rules.effect(&call), Deny);
    // And allowing one looks at the client that counts as the caller.
    let rules = compile(json!([{"clients": ["bad"], "effect": "allow"}]), Deny).expect("rules");
    assert_eq!(rules.effect(&call), Deny);
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
fn paths_lose_their_parameters() {
    for (path, plain) in
        [("/a", "/a"), ("/a;b", "/a"), ("/a;b/c;d", "/a/c"), ("/;a/b", "/b"), ("/a;/", "/a/"), ("/;", "/")]
    {
        assert_eq!(without_parameters(path), plain, "{path}");
    }
}
