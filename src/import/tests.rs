//! Whole sources, from the form they have there to declarations.

use serde_json::{Value, json};

use super::convert::{Conversion, convert};
use super::naming::Existing;
use super::pattern::{Anchor, translate};
use super::source::Source;

fn endpoint(more: &Value) -> Value {
    let mut endpoint =
        json!({"name": "orders", "version": "v1", "url": "http://10.0.0.1:8001", "netloc": "10.0.0.1:8001"});
    for (member, value) in more.as_object().expect("an object") {
        endpoint[member] = value.clone();
    }
    endpoint
}

fn values(clients: &[(&str, Value)]) -> Conversion {
    let values = clients.iter().map(|(app_id, value)| ((*app_id).to_owned(), value.clone())).collect();
    convert(&Source::of_values(&values).expect("read"), &Existing::default(), &[])
}

/// A client `shop` with one endpoint.
fn shop(endpoint: &Value) -> Conversion {
    values(&[(
        "k",
        json!({"app_id": "k", "name": "shop", "secret_key": "0123456789abcdef", "endpoints": {"orders:v1": endpoint}}),
    )])
}

#[test]
fn an_endpoint_becomes_a_service_and_a_route_for_its_client_alone() {
    let rules = json!([{"re_uri": "^/forbidden/?", "is_permit": false}, {"re_uri": "/a", "is_permit": true}]);
    let found = shop(&endpoint(&json!({
        "require_login": true, "enable_acl": true, "acl_rules": rules, "async_http_connect_timeout": 5,
        "async_http_request_timeout": 1.5,
    })));
    assert!(found.losses.is_empty(), "{:?}", found.losses);
    assert_eq!(
        serde_json::to_value(&found.declared).expect("JSON"),
        json!({
            "version": 1,
            "services": {"orders/v1": {
                "targets": [{"url": "http://10.0.0.1:8001"}], "require": [["signature", "bearer"]], "default_route": false,
                "path_parameters": "keep", "encoded_slash": "keep",
                "policies": {"acl": {"rules": [
                    {"path": "^/forbidden/?", "effect": "deny"}, {"path": "^(?:/a)", "effect": "allow"},
                ]}},
                "traffic": {"timeouts": {"connect": "5s", "first_byte": "1500ms", "idle": "1500ms"}},
            }},
            "routes": {"shop-orders-v1": {
                "match": {"client": "shop", "path": {"prefix": "/orders/v1"}, "methods": ["GET", "POST", "PUT", "DELETE", "OPTIONS"]},
                "service": "orders/v1", "strip": true,
            }},
            "clients": {"shop": {"access_key": "k", "services": []}},
            "hosts": {},
        })
    );
    assert_eq!(found.secrets["shop"].expose(), "0123456789abcdef");
}

#[test]
fn what_is_not_as_usual_comes_along() {
    let found = shop(&endpoint(&json!({
        "enable": false, "enable_hmac": false, "skip_uri": true, "url": "http://10.0.0.1:8001/a/", "netloc": null,
    })));
    let route = &found.declared.routes["shop-orders-v1"];
    assert_eq!((&route["rewrite"], &route["query"], &route["enabled"]), (&json!("/"), &json!("drop"), &json!(false)));
    assert_eq!(found.declared.services["orders/v1"]["require"], json!([]));
    let found = values(&[(
        "public",
        json!({
            "access_key": "public", "enable": 0, "async_http_request_timeout": 3, "endpoints": {"orders:v1": endpoint(&json!({"enable_hmac": false}))},
        }),
    )]);
    assert_eq!(found.declared.clients["public"]["enabled"], false);
    let route = &found.declared.routes["public-orders-v1"];
    assert_eq!(route["traffic"], json!({"timeouts": {"first_byte": "3s", "idle": "3s"}}));
    assert_eq!(route["match"]["methods"], json!(["GET", "POST"]));
    assert!(found.findings.iter().any(|finding| finding.of == "client 'public'" && finding.what.contains("--host")));
}

#[test]
fn built_in_endpoints_are_granted_or_have_a_route_of_their_own() {
    let builtin = |name: &str, more: &Value| {
        let mut endpoint = json!({"name": name, "version": "v1", "url": "", "is_builtin": true});
        for (member, value) in more.as_object().expect("an object") {
            endpoint[member] = value.clone();
        }
        endpoint
    };
    let client = |auth: Value, account: Value| {
        json!({
            "app_id": "k", "name": "shop", "secret_key": "0123456789abcdef", "login_auth_url": "http://10.0.0.1/login?a=b",
            "sms_login_auth_url": "", "access_token_ex": 60, "refresh_token_ex": 120,
            "endpoints": {"auth:v1": auth, "account:v1": account, "other:v1": builtin("other", &json!({}))},
        })
    };
    let found =
        values(&[("k", client(builtin("auth", &json!({})), builtin("account", &json!({"require_login": true}))))]);
    assert_eq!(
        found.declared.clients["shop"],
        json!({
            "access_key": "k", "services": ["account/v1", "auth/v1"], "login_auth_url": "http://10.0.0.1/login?a=b",
            "access_token_ttl": "60s", "refresh_token_ttl": "120s",
        })
    );
    assert!(found.declared.routes.is_empty() && found.losses.is_empty());
    assert!(found.findings.iter().any(|finding| finding.of.contains("'other/v1'")));

    let open = builtin("auth", &json!({"enable_hmac": false}));
    let found = values(&[("k", client(open, builtin("account", &json!({"require_login": true, "enable": false}))))]);
    assert_eq!(found.declared.clients["shop"]["services"], json!([]));
    assert_eq!(
        found.declared.routes["shop-auth-v1"],
        json!({
            "match": {"client": "shop", "path": {"prefix": "/auth/v1"}}, "builtin": true, "require": [],
        })
    );
    assert_eq!(found.declared.routes["shop-account-v1"]["enabled"], false);
}

#[test]
fn what_cannot_be_here_is_a_loss_and_nothing_weaker_takes_its_place() {
    for (more, why) in [
        (json!({"url": "ftp://10.0.0.1"}), "scheme"),
        (json!({"url": "http://ada:sesame@10.0.0.1"}), "user information"),
        (json!({"url": "http://10.0.0.1/?key=sesame"}), "query"),
        (json!({"url": "sesame"}), "absolute URL"),
        (json!({"url": ""}), "no URL"),
        (json!({"netloc": "ada:sesame@h"}), "another 'Host'"),
        (json!({"netloc": "preserve"}), "another 'Host'"),
    ] {
        let found = shop(&endpoint(&more));
        let loss = found.losses.first().expect("a loss");
        assert!(
            loss.why.contains(why) && !format!("{:?}{:?}", found.losses, found.findings).contains("sesame"),
            "{loss:?}"
        );
        assert!(found.declared.services.is_empty() && found.declared.routes.is_empty());
    }
    for expression in [
        json!("^/(?!public)"),
        json!("^/(a)\\1"),
        json!("("),
        json!(7),
        json!("^/中"),
        json!("^/a{100000}{100000}"),
        json!("^/a%20?"),
        json!("^/a b"),
    ] {
        let rules = json!([{"re_uri": "^/x", "is_permit": true}, {"re_uri": expression, "is_permit": false}]);
        let found = shop(&endpoint(&json!({"enable_acl": true, "acl_rules": rules})));
        assert_eq!(found.losses.len(), 1, "{expression}");
        assert_eq!(found.declared.services["orders/v1"]["policies"], json!({"acl": {"default": "deny"}}));
    }
    let rules: Vec<_> = (0..65).map(|number| json!({"re_uri": format!("^/{number}"), "is_permit": false})).collect();
    let found = shop(&endpoint(&json!({"enable_acl": true, "acl_rules": rules})));
    assert_eq!(found.declared.services["orders/v1"]["policies"], json!({"acl": {"default": "deny"}}));
    for secret in [json!(null), json!(""), json!(7), json!(" x"), json!("x\n"), json!("x".repeat(1_025))] {
        let client = json!({"name": "shop", "secret_key": secret, "endpoints": {"orders:v1": endpoint(&json!({}))}});
        let found = values(&[("k", client)]);
        assert_eq!((found.losses.len(), found.secrets.len()), (1, 0), "{secret}");
    }
    let found = values(&[(" k", json!({"secret_key": "0123456789abcdef"}))]);
    assert_eq!((found.losses.len(), found.declared.clients.len()), (1, 0));
    for key in ["..:v1", "a b:v1", "a:", "商:v1", "a;b:v1"] {
        let client = json!({"secret_key": "0123456789abcdef", "endpoints": {key: endpoint(&json!({}))}});
        let found = values(&[("k", client)]);
        assert_eq!((found.losses.len(), found.declared.routes.len()), (1, 0), "{key}");
    }
}

#[test]
fn a_client_whose_rules_looked_at_the_query_is_given_no_endpoint_without_them() {
    let clients = |expression: &str| {
        let rules = json!([{"re_uri": expression, "is_permit": false}]);
        let orders = endpoint(&json!({"enable_acl": true, "acl_rules": rules}));
        let client = |id: &str| json!({id: "k", "secret_key": "0123456789abcdef", "endpoints": {"orders:v1": orders}});
        [client("access_key"), client("app_id")].map(|client| values(&[("k", client)]))
    };
    for expression in ["action=delete", "id=1$", "^/ok$", "/forbidden", "^/[^/]+"] {
        let [api, fo] = clients(expression);
        assert_eq!((api.losses.len(), fo.losses.len()), (1, 0), "{expression}");
        assert_eq!(api.declared.services["orders/v1"]["policies"], json!({"acl": {"default": "deny"}}));
    }
    let [api, fo] = clients("^/forbidden/?");
    assert!(api.losses.is_empty() && api.declared.services == fo.declared.services);
}

#[test]
fn a_client_whose_auth_api_cannot_be_asked_logs_nobody_in() {
    use portcullis_core::model::Problem;
    let builtin = |name: &str| json!({"name": name, "version": "v1", "url": "", "is_builtin": true, "require_login": name == "account"});
    let client = |url: &str| {
        let endpoints = json!({"auth:v1": builtin("auth"), "account:v1": builtin("account")});
        values(&[(
            "k",
            json!({"name": "shop", "secret_key": "0123456789abcdef", "login_auth_url": url, "endpoints": endpoints}),
        )])
    };
    let found = client("http://ada:sesame@10.0.0.1/");
    assert_eq!(found.declared.clients["shop"], json!({"access_key": "k", "services": ["account/v1"]}));
    assert!(found.losses.len() == 1 && !format!("{:?}", found.losses).contains("sesame"), "{:?}", found.losses);
    let mut found = client("http://10.0.0.1/");
    assert!(found.give_up(&Problem::new("clients.shop.login_auth_url", "the guard says no")));
    assert_eq!(found.declared.clients["shop"], json!({"access_key": "k", "services": ["account/v1"]}));
    assert!(client("").findings.iter().any(|finding| finding.what.contains("login_auth_url")));
    // One that is called like such a field is a client like others.
    let mut found = values(&[("k", json!({"name": "callback_url", "secret_key": "0123456789abcdef"}))]);
    assert!(found.give_up(&Problem::new("clients.callback_url", "it belongs to 'api'")));
    assert!(found.declared.clients.is_empty());
}

#[test]
fn endpoints_that_differ_are_services_that_differ() {
    let client = |name: &str, url: &str, id: u64| {
        json!({
            "app_id": name, "name": name, "secret_key": "0123456789abcdef",
            "endpoints": {"orders:v1": endpoint(&json!({"url": url, "netloc": null, "id": id}))},
        })
    };
    let found = values(&[
        ("a", client("a", "http://10.0.0.1", 9)),
        ("b", client("b", "http://10.0.0.2", 2)),
        ("c", client("c", "http://10.0.0.1", 9)),
    ]);
    let routes = &found.declared.routes;
    assert_eq!(routes["b-orders-v1"]["service"], "orders/v1");
    assert_eq!(routes["a-orders-v1"]["service"], routes["c-orders-v1"]["service"]);
    assert_eq!(found.declared.services.len(), 2);
}

#[test]
fn what_the_gateway_does_not_take_is_left_out_with_what_needs_it() {
    use portcullis_core::model::Problem;
    let mut found = shop(&endpoint(&json!({})));
    assert!(!found.give_up(&Problem::new("", "no")) && !found.give_up(&Problem::new("services.orders/v2", "no")));
    assert!(found.give_up(&Problem::new("services.orders/v1.targets[0].url", "the guard says no")));
    assert!(found.declared.services.is_empty() && found.declared.routes.is_empty());
    assert_eq!(found.losses.first().expect("a loss").why, "the guard says no");
    assert!(found.give_up(&Problem::new("clients.shop.access_key", "is another's")));
    assert!(found.declared.clients.is_empty() && found.secrets.is_empty() && found.clients.is_empty());
}

#[test]
fn the_export_and_the_values_of_redis_are_the_same() {
    let orders = endpoint(&json!({"id": 2, "unique_name": "Orders"}));
    let export = json!({
        "clients": [{"id": 1, "app_id": "k", "name": "shop", "secret_key": "0123456789abcdef"}],
        "endpoints": [orders],
        "client_endpoints": [{"id": 1, "client_id": 1, "endpoint_id": 2, "enable": true}],
    });
    let of_export = convert(&Source::of_export(&export).expect("read"), &Existing::default(), &[]);
    assert_eq!(of_export.declared, shop(&orders).declared);
}

/// Makes expressions out of pieces, and says for each and each path whether Python matches at the beginning of it, and whether
/// anywhere in it with each query behind it; or that it is no expression.
const PYTHON: &str = r##"
import json, random, re, sys, warnings
warnings.simplefilter("ignore")
random.seed(20161118)
pieces = ["^", "$", "/", "a", "b", "ab", ".", "\\d", "\\w", "\\W", "\\b", "\\B", "\\.", "\\/", "\\-", "\\<", "\\x41", "\\Z", "\\A",
    "[ab]", "[^/]", "[a-c]", "[]a]", "[^]a]", "[a[b]", "[a&&b]", "[a-]", "[+--]", "[a~~b]", "[[:alpha:]]", "[\\w-]", "[\\b]", "[.]",
    "(", ")", "(?:", "(?P<n>", "(?i)", "(?i:", "(?-i:", "(?s)", "(?#no)", "|", "*", "+", "?", "*?", "+?", "{2}", "{,2}", "{1,}", "{,}", "{", "}", "{a}",
    "-", "%", "%40", "&", "~", "#", " ", "_", ",", "\\1", "(?=", "(?!", "++", "\\0", "\\101"]
paths = ["/", "/a", "/b", "/ab", "/A", "/a/b", "/a.b", "/a-b", "/aab", "/abab", "/%5B", "/a&b", "/a~b", "/a+b", "/1", "/x_y", "/c,d", "/:"]
queries = ["", "?", "?a", "?x=/ab", "?/a.b&c=1", "?^/b", "?%40"]
out = []
while len(out) < 4000:
    text = random.choice(["", "^/", "^"]) + "".join(random.choice(pieces) for _ in range(random.randint(1, 7)))
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError):
        out.append([text, None])
        continue
    out.append([text, [[path, bool(compiled.match(path)), [bool(compiled.search(path + query)) for query in queries]] for path in paths]])
json.dump(out, sys.stdout)
"##;

/// What Python says of each path: whether it matches at the beginning, and anywhere with each query.
type Answers = Vec<(String, bool, Vec<bool>)>;

#[test]
fn what_is_taken_of_an_expression_means_what_it_means_to_python() {
    let output = std::process::Command::new("python3").args(["-c", PYTHON]).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases: Vec<(String, Option<Answers>)> = serde_json::from_slice(&output.stdout).expect("JSON");
    for (anchor, least, most_lost) in [(Anchor::Start, 20_000, 0.5), (Anchor::Anywhere, 10_000, 0.9)] {
        let (mut compared, mut taken, mut lost) = (0, 0.0, 0.0);
        for (expression, answers) in &cases {
            let Some(answers) = answers else { continue };
            let read = translate(expression, anchor);
            let read = read.and_then(|pattern| portcullis_core::canonical::read_pattern(&pattern, false));
            let built = read.ok().and_then(|read| regex::bytes::RegexBuilder::new(&read).unicode(false).build().ok());
            let Some(built) = built else {
                lost += 1.0;
                continue;
            };
            taken += 1.0;
            // What a rule says of '%40' it says of '@'.
            for (path, begins, are_there) in answers.iter().filter(|_| !expression.contains("%40")) {
                let found = built.is_match(path.as_bytes());
                let wanted = if anchor == Anchor::Start { vec![*begins] } else { are_there.clone() };
                assert!(wanted.iter().all(|wanted| *wanted == found), "{expression} as {built} on {path}: {wanted:?}");
                compared += wanted.len();
            }
        }
        assert!(
            compared > least && lost < (taken + lost) * most_lost,
            "{anchor:?}: {compared} compared, {lost} lost, {taken} taken"
        );
    }
}

#[test]
fn fuzz_import() {
    let export = json!({
        "clients": [{"id": 1, "access_key": "k", "name": "shop", "secret_key": "sesame-sesame-sesame", "enable": true}],
        "endpoints": [endpoint(&json!({"id": 2, "enable_acl": true, "acl_rules": [{"re_uri": "^/a", "is_permit": false}]}))],
        "client_endpoints": [{"client_id": 1, "endpoint_id": 2, "enable": true}],
    });
    let auth = json!({"is_builtin": true, "enable_hmac": false, "async_http_connect_timeout": 0.5});
    let value =
        json!({"app_id": "k", "login_auth_url": "http://h", "access_token_ex": 1, "endpoints": {"auth:v1": auth}});
    crate::fuzzing::run("import", &[&export.to_string(), &value.to_string()], |input| {
        let Ok(value) = serde_json::from_slice::<Value>(input) else { return (0, 0, 0) };
        let source = match Source::of_export(&value) {
            Ok(source) => Ok(source),
            Err(_) => Source::of_values(&[("k".to_owned(), value)].into()),
        };
        let Ok(source) = source else { return (1, 0, 0) };
        let found = convert(&source, &Existing::default(), &["a.example".to_owned()]);
        let told = format!("{:?}{:?}{:?}", found.declared, found.findings, found.losses);
        assert!(!told.contains("sesame-sesame-sesame"), "a secret is told: {told}");
        // Whatever is not taken over is told.
        for route in found.declared.routes.values() {
            assert!(route["match"]["client"].is_string() && route["match"]["path"].is_object());
            let service = route.get("service").and_then(Value::as_str);
            assert!(service.is_none_or(|service| found.declared.services.contains_key(service)));
        }
        (found.declared.services.len() + 10 * found.declared.routes.len(), found.findings.len(), found.losses.len())
    });
}

#[test]
fn hosts_speak_the_dialect_in_which_calls_without_a_client_are_somebodys() {
    let client = |id: &str| json!({id: "k", "name": "shop", "secret_key": "0123456789abcdef"});
    for (values, dialect) in [
        (vec![("k", client("access_key"))], "api"),
        (vec![("k", client("app_id"))], "fo"),
        (vec![("k", client("access_key")), ("public", json!({"access_key": "public", "name": "all"}))], "fo"),
    ] {
        let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let source = Source::of_values(&values).expect("a source");
        let found = convert(&source, &Existing::default(), &["a.example".to_owned()]);
        assert_eq!(found.declared.hosts["a.example"], json!({"dialect": dialect}));
    }
}
