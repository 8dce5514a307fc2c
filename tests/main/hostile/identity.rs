//! Who a call comes from: only the gateway says so, whatever the caller claims.

use serde_json::{Value, json};

use super::{send, statuses};
use crate::support::backend::Received;
use crate::support::scene::text;
use crate::support::{Backend, Scene};

/// What callers claim about themselves, in every spelling that a backend could take for the gateway's.
const CLAIMS: &str = "X-User-Json: eyJpZCI6MX0=\r\n\
    x-user-json: evil\r\n\
    X_User_Json: evil\r\n\
    x_user_json: evil\r\n\
    X-User_Json: evil\r\n\
    X-USER-JSON: evil\r\n\
    X-App-Id: evil\r\n\
    X-App-Id: evil2\r\n\
    X_App_Id: evil\r\n\
    X-Request-Id: evil\r\n\
    X_Request_Id: evil\r\n\
    X-Forwarded-For: evil, 10.0.0.1\r\n\
    X_Forwarded_For: evil\r\n\
    X-Forwarded-Proto: evil\r\n\
    X-Forwarded-Host: evil.example\r\n\
    X-Forwarded-Port: evil\r\n\
    X-Forwarded-User: evil\r\n\
    X-Forwarded-Prefix: evil\r\n\
    X-Real-IP: evil\r\n\
    x_real_ip: evil\r\n\
    Forwarded: for=evil;host=evil.example;proto=https\r\n\
    FORWARDED: for=evil\r\n";

/// No field of what a backend saw carries a claim, in its value or in a spelling beside the gateway's own.
fn check_no_claim(request: &Received) {
    for (name, value) in &request.headers {
        assert!(!value.contains("evil") && !value.contains("eyJpZCI6MX0="), "{name}: {value}");
        assert!(!name.contains('_'), "{name}: {value}");
    }
    for own in ["x-user-json", "x-app-id", "x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
        assert!(request.all(own).len() <= 1, "{own}: {request:?}");
    }
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("a"));
    assert!(request.header("x-request-id").is_some_and(|id| id.len() == 32));
    assert!(request.trailers.is_empty(), "{request:?}");
}

/// What the scene's client is called in `X-App-Id`: its access key.
pub(super) fn app_id(scene: &Scene) -> String {
    text(&scene.gateway.admin_ok("GET", "/clients/shop", None, 200), "access_key")
}

/// The value of `X-User-Json` of the scene's user: base64 of the compact JSON of what it was made with.
fn ada(request: &Received) -> bool {
    let value = request.header("x-user-json").expect("a user");
    // Written out, so that nothing of the gateway's own code makes the expectation.
    value == "eyJpZCI6NywibmFtZSI6IkFkYSJ9"
}

#[test]
fn claims_do_not_reach_a_service_that_wants_credentials() {
    let scene = Scene::new();
    let credentials = scene.credentials();
    let app_id = app_id(&scene);
    for claims in [
        CLAIMS.to_owned(),
        format!("{CLAIMS}Connection: X-User-Json, X-App-Id, X-Request-Id\r\n"),
        "Connection: x-user-json\r\nConnection: X-App-Id , x-forwarded-for,host\r\n".to_owned(),
        String::new(),
    ] {
        let request = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n{claims}{credentials}\r\n");
        let last = format!("GET /orders/v1/y HTTP/1.1\r\nHost: a\r\n{credentials}{claims}Connection: close\r\n\r\n");
        assert_eq!(statuses(&send(&scene.gateway, format!("{request}{last}"))), [200, 200], "{claims}");
    }
    let received = scene.backend.received();
    assert_eq!(received.len(), 8);
    for request in &received {
        check_no_claim(request);
        assert!(ada(request), "{request:?}");
        assert_eq!(request.header("x-app-id"), Some(app_id.as_str()));
        assert_eq!((request.header("authorization"), request.header("x-api-key")), (None, None));
    }
}

#[test]
fn claims_do_not_reach_an_open_service() {
    let scene = Scene::open(Backend::echo(), "");
    for claims in [CLAIMS.to_owned(), format!("{CLAIMS}Connection: X-User-Json\r\nX-API-Key: {}\r\n", scene.api_key)] {
        let request = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n{claims}Connection: close\r\n\r\n");
        assert_eq!(statuses(&send(&scene.gateway, request)), [200], "{claims}");
    }
    for request in scene.backend.received() {
        check_no_claim(&request);
        assert_eq!((request.header("x-user-json"), request.header("x-app-id")), (None, None));
        assert_eq!(request.header("x-api-key"), None);
    }
    // A token that nothing here has used up is the service's own affair.
    let bearer = "GET /orders/v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer its-own\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&send(&scene.gateway, bearer)), [200]);
    let last = scene.backend.received().pop().expect("a request");
    assert_eq!(last.header("authorization"), Some("Bearer its-own"));
}

#[test]
fn claims_do_not_come_in_through_trailers() {
    let scene = Scene::new();
    let named = "X-User-Json, X_User_Json, X-App-Id, X-Forwarded-For, Forwarded, Authorization, X-API-Key, Via, Host, \
        Content-Length, Transfer-Encoding, Connection, X-Checksum";
    let trailers = "X-User-Json: evil\r\nX_User_Json: evil\r\nX-App-Id: evil\r\nX-Forwarded-For: evil\r\n\
        Forwarded: evil\r\nAuthorization: evil\r\nX-API-Key: evil\r\nVia: evil\r\nHost: evil\r\n\
        Content-Length: 7\r\nTransfer-Encoding: evil\r\nConnection: evil\r\nX-Checksum: fine\r\n";
    let fields = format!("Trailer: {named}\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n");
    let head = format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{}{fields}\r\n", scene.credentials());
    let get = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n{}Connection: close\r\n\r\n", scene.credentials());
    assert_eq!(statuses(&send(&scene.gateway, format!("{head}2\r\nok\r\n0\r\n{trailers}\r\n{get}"))), [200, 200]);
    let mut request = scene.backend.received().remove(0);
    assert_eq!(scene.backend.connections(), 1, "a request with trailers has an end like any other");
    let trailers: Vec<_> =
        request.trailers.drain(..).map(|(name, value)| format!("{name}: {value}").to_lowercase()).collect();
    assert_eq!(trailers, ["x-checksum: fine"]);
    check_no_claim(&request);
    assert!(ada(&request));
    assert_eq!(request.body, b"ok");
}

/// Names that the gateway writes, that somebody behind it would believe, or that belong to the framing.
const NOT_THE_CALLERS: [&str; 40] = [
    "X-User-Json",
    "X-App-Id",
    "X-Request-Id",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Access-Token",
    "X-Real-IP",
    "Remote-User",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Authenticated-User",
    "X-WEBAUTH-USER",
    "X-Auth-Request-Email",
    "X-Consumer-Username",
    "X-SSL-Client-Cert",
    "SSL-Client-Verify",
    "X-Client-Cert",
    "X-Client-Verify",
    "X-Client-DN",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-URI",
    "X-Original-Host",
    "X-HTTP-Host-Override",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "Client-IP",
    "True-Client-IP",
    "X-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Content-Length",
    "Transfer-Encoding",
    "Keep-Alive",
    "Proxy-Authorization",
];

/// Every character of a token that could stand for `-`, and `-` itself.
const SEPARATORS: &str = "!#$%&'*+-.^_`|~";

/// A name in every spelling, but for the ones of the framing in their own, which mean what they say.
fn spellings(separator: char) -> Vec<String> {
    let of_framing = ["Content-Length", "Transfer-Encoding"];
    let names = NOT_THE_CALLERS.iter().filter(|name| separator != '-' || !of_framing.contains(name));
    names.map(|name| name.replace('-', &separator.to_string())).collect()
}

/// No field that a backend saw is one of those that are not the caller's, apart from the gateway's own.
fn check_only_own(request: &Received, separator: char) {
    for (name, value) in request.headers.iter().chain(&request.trailers) {
        assert!(!value.contains("evil"), "{separator}: {name}: {value}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}: {value}");
    }
}

#[test]
fn no_spelling_of_what_is_not_the_callers_comes_through() {
    for settings in ["", "trusted_proxies = [\"127.0.0.1\"]"] {
        let scene = Scene::open(Backend::echo(), settings);
        for separator in SEPARATORS.chars() {
            let mut names = spellings(separator);
            names.extend(["Proxy".to_owned(), "TraceParent".to_owned()]);
            if !settings.is_empty() && separator == '-' {
                // A trusted proxy says these.
                let told = ["X-Request-Id", "X-Forwarded-For", "Client-IP", "True-Client-IP", "X-Client-IP"];
                let from_network = ["CF-Connecting-IP", "Fastly-Client-IP"];
                names.retain(|name| !told.contains(&name.as_str()) && !from_network.contains(&name.as_str()));
            }
            let claims: String = names.iter().map(|name| format!("{name}: evil\r\n")).collect();
            let upper = claims.to_ascii_uppercase().replace("EVIL", "evil");
            for claims in [claims, upper] {
                let get = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n{claims}\r\n");
                let named: Vec<_> = claims.lines().filter_map(|line| line.split(':').next()).collect();
                let framing = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
                let named = format!("{framing}Trailer: X-Kept, {}\r\n", named.join(", "));
                let head = format!("POST /orders/v1/x HTTP/1.1\r\nHost: a\r\n{named}");
                // What is framing among them has no meaning behind the body.
                let post = format!("{head}\r\n2\r\nok\r\n0\r\n{claims}X-Kept: 1\r\n\r\n");
                let found = statuses(&send(&scene.gateway, format!("{get}{post}")));
                assert_eq!(found, [200, 200], "{separator} {settings}");
            }
        }
        let received = scene.backend.received();
        assert_eq!(received.len(), SEPARATORS.len() * 4);
        for request in &received {
            check_only_own(request, '?');
            if request.method == "POST" {
                assert_eq!(request.trailers.len(), 1, "{request:?}");
                assert_eq!(request.header("transfer-encoding"), Some("chunked"));
            }
        }
    }
}

#[test]
fn a_trusted_proxy_passes_on_where_a_call_comes_from() {
    let fields =
        [("True-Client-IP", "203.0.113.9"), ("CF-Connecting-IP", "203.0.113.9"), ("True_Client_IP", "6.6.6.6")];
    for (settings, passes) in [("", false), ("trusted_proxies = [\"127.0.0.1\"]", true)] {
        let scene = Scene::open(Backend::echo(), settings);
        assert_eq!(scene.gateway.call("GET", "/orders/v1/x", &fields, b"").status, 200);
        let seen = scene.backend.received().pop().expect("a request");
        let expected = passes.then_some("203.0.113.9");
        assert_eq!((seen.header("true-client-ip"), seen.header("cf-connecting-ip")), (expected, expected));
        assert_eq!(seen.header("true_client_ip"), None);
    }
}

#[test]
fn another_method_is_meant_only_where_the_route_allows_it() {
    let scene = Scene::open(Backend::echo(), "");
    let names = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"];
    let misspelled = names.map(|name| name.replace('-', "_"));
    let all = names.iter().copied().chain(misspelled.iter().map(String::as_str));
    let fields: Vec<_> = all.map(|name| (name, "DELETE")).collect();
    let seen = |method: &str| {
        assert_eq!(scene.gateway.call(method, "/orders/v1/x", &fields, b"").status, 200);
        let request = scene.backend.received().pop().expect("a request");
        assert!(misspelled.iter().all(|name| request.header(name).is_none()), "{request:?}");
        names.map(|name| request.header(name).map(str::to_owned))
    };
    assert_eq!(seen("POST"), [None, None, None]);
    let service = |headers: Value| json!({"targets": [{"url": scene.backend.url()}], "require": [], "policies": {"headers": headers}});
    scene.declare(&service(json!({"method_override": "allow"})));
    assert_eq!(seen("POST"), [(); 3].map(|()| Some("DELETE".to_owned())));
    scene.declare(&service(json!({"method_override": "allow", "request": {"remove": ["X-HTTP-Method"]}})));
    assert_eq!(seen("POST"), [Some("DELETE".to_owned()), None, Some("DELETE".to_owned())]);
    scene.declare(&service(json!({"method_override": "strip", "response": {"remove": ["X-Backend"]}})));
    assert_eq!(seen("POST"), [None, None, None]);
    let wrong = scene.gateway.admin("PUT", "/services/orders/v1", Some(&service(json!({"method_override": true}))));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
}

#[test]
fn what_speaks_of_one_connection_ends_there() {
    let scene = Scene::new();
    let fields = "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers;q=1\r\n\
        Proxy-Authorization: Basic eHg6eXk=\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Private: 1\r\nX-Other: 2\r\n\
        X-Kept: 3\r\nConnection: X-Private,,Upgrade , \"x\"\r\nConnection: x-other, close\r\n";
    let request = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n{}{fields}\r\n", scene.credentials());
    assert_eq!(statuses(&send(&scene.gateway, request)), [200]);
    let seen = scene.backend.received().pop().expect("a request");
    for gone in [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "upgrade",
        "x-private",
        "x-other",
        "connection",
        "transfer-encoding",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("x-kept"), Some("3"));
    assert!(matches!(seen.header("te"), None | Some("trailers")), "{seen:?}");
}

#[test]
fn naming_a_credential_in_connection_is_not_showing_it() {
    let scene = Scene::new();
    for named in ["authorization", "Authorization, X-API-Key", "x-api-key", "close, AUTHORIZATION"] {
        let fields = format!("Connection: {named}\r\nConnection: close\r\n");
        let request = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n{}{fields}\r\n", scene.credentials());
        let answers = send(&scene.gateway, request);
        assert_eq!(statuses(&answers), [401], "{named}");
        assert_eq!(answers[0].code(), "missing_credential", "{named}");
    }
    assert_eq!(scene.backend.connections(), 0);
}

#[test]
fn two_credentials_of_a_kind_are_not_the_better_one_of_them() {
    let scene = Scene::new();
    let (token, key) = (&scene.token, &scene.api_key);
    let (bearer, own) = (format!("Authorization: Bearer {token}\r\n"), format!("X-API-Key: {key}\r\n"));
    for fields in [
        format!("Authorization: Bearer x.y.z\r\n{bearer}{own}"),
        format!("{bearer}Authorization: Basic eDp5\r\n{own}"),
        format!("{bearer}X-API-Key: pck_wrong\r\n{own}"),
        format!("{bearer}{own}X-API-Key: pck_wrong\r\n"),
        format!("{bearer}X-API-Key: {key}, {key}\r\n"),
        format!("Authorization: Bearer {token}, Bearer {token}\r\n{own}"),
        format!("Authorization: Bearer  {token} x\r\n{own}"),
        format!("X_API_Key: {key}\r\n{bearer}"),
        format!("{own}Authorization : Bearer {token}\r\n"),
    ] {
        let request = format!("GET /orders/v1/x HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
        let found = statuses(&send(&scene.gateway, request));
        assert!(matches!(found[..], [400 | 401]), "{found:?}: {fields}");
    }
    assert_eq!(scene.backend.connections(), 0);
}
