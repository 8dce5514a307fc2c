//! `explain`: what would become of a call is told without doing it, over the admin API and on the command line.

use serde_json::{Value, json};

use crate::support::gateway::command;
use crate::support::scene::{client, until};
use crate::support::{Backend, Gateway, Scene};

fn ask(gateway: &Gateway, question: &Value) -> Value {
    gateway.admin_ok("POST", "/explain", Some(question), 200)
}

fn verdicts(told: &Value) -> Vec<(String, String)> {
    let text = |step: &Value, field: &str| step[field].as_str().unwrap_or_default().to_owned();
    let steps = told["steps"].as_array().expect("steps");
    steps.iter().map(|step| (text(step, "policy"), text(step, "verdict"))).collect()
}

fn verdict(told: &Value, policy: &str) -> String {
    let found = verdicts(told).into_iter().find(|(name, _)| name == policy);
    found.map(|(_, verdict)| verdict).unwrap_or_default()
}

#[test]
fn a_call_is_told_in_canonical_form_with_its_route_and_target_and_nothing_is_sent() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let before = gateway.logs("limit=1000").len();
    let told = ask(
        gateway,
        &json!({"method": "GET", "url": "http://Gate.Example:80//orders/./v1/%7Ea/../b?x=1", "client": "shop", "user": "ada"}),
    );
    assert_eq!(told["request"]["path"], "/orders/v1/b");
    assert_eq!((&told["request"]["host"], &told["request"]["scheme"]), (&json!("gate.example:80"), &json!("http")));
    assert_eq!(told["route"], json!({"name": "/orders/v1", "service": "orders/v1"}));
    assert_eq!(told["outcome"]["kind"], "forwarded", "{told}");
    assert_eq!(told["outcome"]["url"], format!("{}/b?x=1", scene.backend.url()));
    assert_eq!(told["outcome"]["status"], Value::Null, "it is for the service to say");
    assert!(verdicts(&told).iter().all(|(_, verdict)| verdict == "passed"), "{told}");
    let over_tls = ask(gateway, &json!({"method": "GET", "url": "https://gate.example/orders/v1"}));
    assert_eq!(over_tls["request"]["scheme"], "https");
    assert!(scene.backend.received().is_empty(), "nothing is sent");
    assert_eq!(gateway.logs("limit=1000").len(), before, "nothing is recorded");
}

#[test]
fn a_client_that_is_taken_for_granted_takes_its_own_routes() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let own = json!({"match": {"path": {"prefix": "/orders/v1"}, "client": "shop"}, "service": "orders/v1"});
    gateway.admin_ok("PUT", "/routes/of-shop", Some(&own), 201);
    client(gateway, "till", &["orders/v1"]);
    for (name, route) in [("shop", "of-shop"), ("till", "/orders/v1")] {
        let question = json!({"method": "GET", "url": "/orders/v1", "client": name, "user": "ada"});
        let told = ask(gateway, &question);
        assert_eq!((&told["route"]["name"], &told["outcome"]["kind"]), (&json!(route), &json!("forwarded")), "{told}");
    }
}

#[test]
fn the_first_refusal_ends_it_and_the_operator_reads_why() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let told = ask(
        gateway,
        &json!({"method": "GET", "url": "/orders/v1", "headers": [["x-api-key", "pck_wrong"]], "user": "ada"}),
    );
    assert_eq!((verdict(&told, "require"), verdict(&told, "acl")), ("refused".to_owned(), "not_reached".to_owned()));
    let outcome = &told["outcome"];
    assert_eq!((&outcome["status"], &outcome["code"]), (&json!(401), &json!("invalid_credential")));
    assert_eq!(outcome["reason"], "an unknown key");
    assert!(!told.to_string().contains("pck_wrong"), "what was shown is not repeated: {told}");

    client(gateway, "stranger", &["other/v1"]);
    let told = ask(gateway, &json!({"method": "GET", "url": "/orders/v1", "client": "stranger", "user": "ada"}));
    assert_eq!((verdict(&told, "require"), verdict(&told, "acl")), ("passed".to_owned(), "refused".to_owned()));
    assert_eq!(told["outcome"]["status"], 403);

    let told = ask(gateway, &json!({"method": "GET", "url": "/orders/v1/a\\b"}));
    assert_eq!((&told["outcome"]["kind"], &told["outcome"]["status"]), (&json!("refused"), &json!(400)));
    assert_eq!(told["route"], Value::Null);

    let fields = json!([["content-length", "99999999999"]]);
    let told = ask(gateway, &json!({"method": "POST", "url": "/orders/v1", "headers": fields}));
    assert_eq!((verdict(&told, "request_limits"), &told["outcome"]["status"]), ("refused".to_owned(), &json!(413)));
}

#[test]
fn limits_are_read_and_not_taken_from() {
    let scene = Scene::open(Backend::echo(), "");
    let limited = json!({
        "targets": [{"url": scene.backend.url()}], "require": [],
        "policies": {"throttle": {"rate": 2, "per": "1h", "key": ["address"]}},
    });
    scene.declare(&limited);
    let question = json!({"method": "GET", "url": "/orders/v1"});
    for _ in 0..10 {
        assert_eq!(ask(&scene.gateway, &question)["outcome"]["kind"], "forwarded");
    }
    for expected in [200, 200, 429] {
        assert_eq!(scene.gateway.call("GET", "/orders/v1", &[], b"").status, expected);
    }
    let told = ask(&scene.gateway, &question);
    assert_eq!((verdict(&told, "throttle"), &told["outcome"]["status"]), ("refused".to_owned(), &json!(429)));
    assert!(told["outcome"]["retry_after"].as_u64().is_some_and(|wait| wait > 60), "{told}");
    let elsewhere = json!({"method": "GET", "url": "/orders/v1", "from": "192.0.2.9"});
    assert_eq!(ask(&scene.gateway, &elsewhere)["outcome"]["kind"], "forwarded", "another address has its own");
}

#[test]
fn nothing_of_a_question_is_captured() {
    let scene = Scene::open(Backend::echo(), "");
    let captured = json!({
        "targets": [{"url": scene.backend.url()}], "require": [],
        "policies": {"capture": {"request": {"headers": true}, "response": {"body": true}}},
    });
    scene.declare(&captured);
    let told = ask(&scene.gateway, &json!({"method": "GET", "url": "/orders/v1"}));
    assert_eq!(verdict(&told, "capture"), "passed");
    assert_eq!(scene.gateway.call("GET", "/orders/v1/real", &[], b"").status, 200);
    until("the call is captured", || !captures(&scene.gateway).is_empty());
    assert_eq!(captures(&scene.gateway).len(), 1);
}

fn captures(gateway: &Gateway) -> Vec<Value> {
    gateway.admin_ok("GET", "/captures", None, 200)["items"].as_array().expect("a list").clone()
}

#[test]
fn each_turn_is_told_and_not_taken() {
    let scene = Scene::open(Backend::echo(), "");
    let other = Backend::echo();
    scene.declare(&json!({"targets": [{"url": scene.backend.url()}, {"url": other.url()}], "require": []}));
    for round in 0..4 {
        let told = ask(&scene.gateway, &json!({"method": "GET", "url": "/orders/v1"}));
        assert_eq!(told, ask(&scene.gateway, &json!({"method": "GET", "url": "/orders/v1"})), "{round}");
        let before = (scene.backend.received().len(), other.received().len());
        assert_eq!(scene.gateway.call("GET", "/orders/v1", &[], b"").status, 200);
        let after = (scene.backend.received().len(), other.received().len());
        let chosen = if after.0 > before.0 { scene.backend.url() } else { other.url() };
        assert_eq!(told["outcome"]["target"], chosen, "{round}");
    }
}

#[test]
fn routes_that_answer_and_preflights_and_endpoints_are_told_apart() {
    let scene = Scene::open(Backend::echo(), "");
    let gateway = &scene.gateway;
    let to = json!({"match": {"path": {"prefix": "/old"}}, "redirect": {"to": "/new/{rest}"}});
    gateway.admin_ok("PUT", "/routes/old", Some(&to), 201);
    let told = ask(gateway, &json!({"method": "GET", "url": "/old/x?y=1"}));
    assert_eq!((&told["outcome"]["kind"], &told["outcome"]["status"]), (&json!("answered"), &json!(308)));
    assert_eq!(told["outcome"]["location"], "/new/x?y=1");

    let shared = json!({
        "targets": [{"url": scene.backend.url()}], "require": [],
        "policies": {"cors": {"origins": ["https://page.example"], "methods": ["PUT"]}},
    });
    scene.declare(&shared);
    let preflight = json!([["origin", "https://page.example"], ["access-control-request-method", "PUT"]]);
    let told = ask(gateway, &json!({"method": "OPTIONS", "url": "/orders/v1", "headers": preflight}));
    assert_eq!(
        (verdict(&told, "cors"), &told["outcome"]["kind"]),
        ("answered".to_owned(), &json!("answered")),
        "{told}"
    );

    let told = ask(gateway, &json!({"method": "POST", "url": "/-/token"}));
    assert_eq!(told["outcome"]["kind"], "handled");
    let told = ask(gateway, &json!({"method": "GET", "url": "/nobody"}));
    assert_eq!((&told["outcome"]["code"], &told["route"]), (&json!("no_route"), &Value::Null));
    let others: Vec<_> = told["others"].as_array().expect("a list").iter().map(|other| &other["why_not"]).collect();
    assert_eq!(others, ["the path does not begin with '/orders/v1'", "the path does not begin with '/old'"]);
}

#[test]
fn a_question_that_is_none_has_all_its_problems_told() {
    let scene = Scene::new();
    let question = json!({"method": "GET", "url": "/", "client": "nobody", "user": "noone"});
    let told = scene.gateway.admin("POST", "/explain", Some(&question));
    let problems: Vec<_> =
        told.json()["problems"].as_array().expect("a list").iter().map(|p| p["path"].clone()).collect();
    assert_eq!((told.status, problems), (422, vec![json!("client"), json!("user")]));
    let told =
        scene.gateway.admin("POST", "/explain", Some(&json!({"method": "G T", "url": "?", "headers": [["a b", "c"]]})));
    let problems: Vec<_> =
        told.json()["problems"].as_array().expect("a list").iter().map(|p| p["path"].clone()).collect();
    assert_eq!((told.status, problems), (422, vec![json!("method"), json!("url"), json!("headers[0]")]));
}

#[test]
fn the_command_line_tells_it_in_lines() {
    let scene = Scene::new();
    let run = |arguments: &[&str]| {
        let mut command = command(scene.gateway.directory());
        command.args(["--admin", &format!("http://{}", scene.gateway.admin)]);
        let output = command.args(arguments).output().expect("runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, shown) = run(&["explain", "GET", "/orders/v1/7", "--client", "shop"]);
    assert_eq!(code, Some(0));
    for line in [
        "request  GET http://localhost/orders/v1/7 from 127.0.0.1\n",
        "route    /orders/v1 to orders/v1\n",
        "         require         refused missing_credential\n",
        "refused  401 missing_credential: this service wants an access token",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    let bearer = format!("Authorization: Bearer {}", scene.token);
    let (code, shown) = run(&["explain", "GET", "/orders/v1/7", "-H", &bearer, "--client", "shop"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains(&format!("forwarded to {}/7", scene.backend.url())), "{shown}");
    assert_eq!(run(&["explain", "GET", "/orders/v1/7", "-H", "nothing"]).0, Some(2));
    let (_, shown) = run(&["explain", "GET", "/orders/v1/7", "--json"]);
    let told: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(told["outcome"]["code"], "missing_credential");
}
