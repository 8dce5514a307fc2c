//! Clients that show certificates: who gets through the handshake, and what it lets them call.

use serde_json::{Value, json};

use super::super::support::authority::{Authority, Issued};
use super::super::support::client::Answer;
use super::super::support::scene::{client, until};
use super::super::support::{Backend, Scene};
use super::{HOST, answered, counted, curl, failed, s_client, settings, tls};

/// Who comes with which certificate.
struct Cast {
    server: Authority,
    clients: Authority,
    shop: Issued,
    scene: Scene,
}

impl Cast {
    fn with(mode: &str, more: &str) -> Self {
        let (server, clients) = (Authority::new(), Authority::new());
        let certificate = server.issue("api", "DNS:api.example.com");
        let shop = clients.issue("shop", "URI:spiffe://example.com/shop,DNS:Shop.example");
        let lines = format!("client_certificates = \"{mode}\"\nclient_ca = {:?}\n{more}", clients.root());
        let scene = Scene::open(Backend::echo(), &settings("", &[&certificate], &lines));
        Self { server, clients, shop, scene }
    }

    fn curl(&self, path: &str, shown: Option<&Issued>, more: &[&str]) -> std::process::Output {
        let mut options = more.to_vec();
        if let Some(issued) = shown {
            options.extend(["--cert", issued.certificate.to_str().expect("UTF-8")]);
            options.extend(["--key", issued.key.to_str().expect("UTF-8")]);
        }
        curl(tls(&self.scene.gateway), &self.server.root(), HOST, path, &options)
    }

    #[track_caller]
    fn call(&self, shown: Option<&Issued>, more: &[&str]) -> Answer {
        answered(&self.curl("/orders/v1/x", shown, more))
    }

    fn declare(&self, require: &Value, clients: &Value) {
        self.scene.declare(&json!({
            "targets": [{"url": self.scene.backend.url()}],
            "require": require,
            "policies": {"client_certificate": {"clients": clients}},
        }));
    }

    fn reasons(&self) -> String {
        self.scene.gateway.stderr()
    }
}

#[test]
fn nobody_without_a_good_certificate_gets_through_where_it_is_required() {
    let cast = Cast::with("required", "");
    assert_eq!(cast.call(Some(&cast.shop), &[]).status, 200);
    let strangers = Authority::new();
    let expired = cast.clients.issue_expired("expired", "DNS:shop.example");
    let stranger = strangers.issue("stranger", "DNS:shop.example");
    for (shown, alert, reason) in [
        (None, "certificate required", "peer sent no certificates"),
        (Some(&stranger), "unknown ca", "UnknownIssuer"),
        (Some(&expired), "alert certificate expired", "certificate expired"),
    ] {
        for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
            let before = counted(&cast.scene.gateway, "client_certificate_refused");
            let told = failed(&cast.curl("/orders/v1/x", shown, version));
            // Over TLS 1.2 curl takes this alert for a word about the server, and has an error of its own for it.
            let misread = alert.ends_with("expired") && told.contains("certificate verification failed");
            assert!(told.contains(alert) || misread, "{alert}: {told}");
            until("it is counted", || counted(&cast.scene.gateway, "client_certificate_refused") == before + 1);
        }
        assert!(cast.reasons().contains(reason), "{reason}: {}", cast.reasons());
    }
    assert_eq!(cast.scene.backend.received().len(), 1);
}

#[test]
fn where_it_is_optional_none_is_fine_and_a_bad_one_is_not() {
    let cast = Cast::with("optional", "");
    assert_eq!(cast.call(None, &[]).status, 200);
    assert_eq!(cast.call(Some(&cast.shop), &[]).status, 200);
    let strangers = Authority::new();
    let stranger = strangers.issue("stranger", "DNS:shop.example");
    assert!(failed(&cast.curl("/orders/v1/x", Some(&stranger), &[])).contains("unknown ca"));
}

#[test]
fn what_was_taken_back_is_refused_as_soon_as_the_list_says_so() {
    let clients = Authority::new();
    let server = Authority::new();
    let certificate = server.issue("api", "DNS:api.example.com");
    let (shop, other) = (clients.issue("shop", "DNS:shop.example"), clients.issue("other", "DNS:other.example"));
    let (root, list) = (clients.root(), clients.revoked());
    let lines = format!("client_certificates = \"required\"\nclient_ca = {root:?}\nclient_crls = [{list:?}]");
    let scene = Scene::open(Backend::echo(), &settings("", &[&certificate], &lines));
    let cast = Cast { server, clients, shop, scene };
    assert_eq!(cast.call(Some(&cast.shop), &[]).status, 200);
    assert_eq!(cast.call(Some(&other), &[]).status, 200);
    cast.clients.revoke(&cast.shop);
    until("it is refused", || !cast.curl("/orders/v1/x", Some(&cast.shop), &[]).status.success());
    assert!(failed(&cast.curl("/orders/v1/x", Some(&cast.shop), &[])).contains("certificate revoked"));
    assert!(cast.reasons().contains("Revoked"), "{}", cast.reasons());
    assert_eq!(cast.call(Some(&other), &[]).status, 200);
}

#[test]
fn no_session_brings_a_client_in_without_another_look() {
    let cast = Cast::with("optional", "");
    let directory = tempfile::tempdir().expect("a directory");
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (file, certificate, key) =
        (text(&directory.path().join("session")), text(&cast.shop.certificate), text(&cast.shop.key));
    for version in ["-tls1_3", "-tls1_2"] {
        let common = [version, "-servername", HOST, "-cert", &certificate, "-key", &key];
        let first =
            s_client(tls(&cast.scene.gateway), &[&common[..], &["-sess_out", &file]].concat(), super::LAST_REQUEST);
        assert!(first.contains("HTTP/1.1 200"), "{first}");
        // There may be no session to go on with at all.
        if std::path::Path::new(&file).exists() {
            let again =
                s_client(tls(&cast.scene.gateway), &[&common[..], &["-sess_in", &file]].concat(), super::LAST_REQUEST);
            assert!(again.contains("\nNew, TLSv") && again.contains("HTTP/1.1 200"), "{again}");
        }
    }
    assert_eq!(counted(&cast.scene.gateway, "resumed"), 0);
}

#[test]
fn a_certificate_stands_for_a_client_and_its_grants() {
    let cast = Cast::with("optional", "");
    let gateway = &cast.scene.gateway;
    client(gateway, "till", &["orders/v1"]);
    client(gateway, "stranger", &["inventory"]);
    let ways = [
        json!({"san_uri": "spiffe://example.com/shop"}),
        json!({"san_dns": "SHOP.example"}),
        json!({"fingerprint": cast.shop.fingerprint()}),
        json!({"fingerprint": cast.shop.fingerprint().replace(':', "").to_lowercase()}),
    ];
    for way in ways {
        for (name, status, code) in
            [("till", 200, ""), ("stranger", 403, "forbidden"), ("nobody", 401, "invalid_credential")]
        {
            let mut mapping = way.clone();
            mapping["client"] = name.into();
            cast.declare(&json!([["client_certificate"]]), &json!([mapping]));
            let answer = cast.call(Some(&cast.shop), &[]);
            assert_eq!(answer.status, status, "{way} {name}: {}", answer.text());
            if status == 200 {
                let seen = cast.scene.backend.received().pop().expect("a request");
                let till = gateway.admin_ok("GET", "/clients/till", None, 200);
                assert_eq!(seen.header("x-app-id"), till["access_key"].as_str());
            } else {
                assert_eq!(answer.code(), code);
            }
        }
    }
    // One that nobody has, and none at all.
    cast.declare(
        &json!([["client_certificate"]]),
        &json!([{"san_uri": "spiffe://example.com/other", "client": "till"}]),
    );
    assert_eq!(cast.call(Some(&cast.shop), &[]).code(), "invalid_credential");
    let missing = cast.call(None, &[]);
    assert_eq!((missing.status, missing.code().as_str()), (401, "missing_credential"));
    assert_eq!(missing.header("www-authenticate"), Some("ClientCertificate realm=\"portcullis\""));
    let record = gateway.record("limit=20", |record| record["status"] == 200);
    assert_eq!(record["client"], "till");
    assert!(gateway.access_log().contains("\"reason\":\"no client has the certificate "), "the operator reads why");
    // In clear nobody can show one, and explain says so too.
    assert_eq!(gateway.call("GET", "/orders/v1/x", &[], b"").code(), "missing_credential");
    let question = json!({"method": "GET", "url": "https://api.example.com/orders/v1/x", "client": "till"});
    let told = gateway.admin_ok("POST", "/explain", Some(&question), 200);
    assert_eq!(told["outcome"]["kind"], "forwarded", "{told}");
}

#[test]
fn a_certificate_goes_together_with_other_credentials() {
    let cast = Cast::with("optional", "");
    let gateway = &cast.scene.gateway;
    let other_key = client(gateway, "other", &["orders/v1"]);
    let shop = json!([{"san_dns": "shop.example", "client": "shop"}]);
    let bearer = format!("Authorization: Bearer {}", cast.scene.token);
    let key = |key: &str| format!("X-API-Key: {key}");
    let (own_key, other_key) = (key(&cast.scene.api_key), key(&other_key));

    cast.declare(&json!([["bearer", "client_certificate"], ["api_key"]]), &shop);
    assert_eq!(cast.call(Some(&cast.shop), &["--header", &bearer]).status, 200);
    let seen = cast.scene.backend.received().pop().expect("a request");
    assert_eq!((seen.header("x-app-id").is_some(), seen.header("x-user-json").is_some()), (true, true));
    assert_eq!(cast.call(Some(&cast.shop), &[]).status, 401);
    assert_eq!(cast.call(None, &["--header", &bearer]).status, 401);
    assert_eq!(cast.call(None, &["--header", &own_key]).status, 200);

    // Two that speak for different clients are not both believed, in whichever order they are asked.
    for require in [json!([["api_key", "client_certificate"]]), json!([["client_certificate", "api_key"]])] {
        cast.declare(&require, &shop);
        assert_eq!(cast.call(Some(&cast.shop), &["--header", &own_key]).status, 200);
        let answer = cast.call(Some(&cast.shop), &["--header", &other_key]);
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_credential"), "{require}");
    }
}

#[test]
fn a_mapping_that_cannot_be_meant_is_refused() {
    let cast = Cast::with("optional", "");
    let check = |mapping: Value, place: &str| {
        let service = json!({
            "targets": [{"url": cast.scene.backend.url()}],
            "policies": {"client_certificate": {"clients": [mapping]}},
        });
        let refused = cast.scene.gateway.admin_ok("PUT", "/services/orders/v1", Some(&service), 422);
        let paths: Vec<&str> =
            refused["problems"].as_array().expect("a list").iter().filter_map(|p| p["path"].as_str()).collect();
        assert_eq!(paths, [format!("policies.client_certificate.clients[0]{place}")], "{refused}");
    };
    let many = vec![json!({"client": "shop", "san_dns": "a"}); 1_025];
    let service = json!({
        "targets": [{"url": cast.scene.backend.url()}],
        "policies": {"client_certificate": {"clients": many}},
    });
    let refused = cast.scene.gateway.admin_ok("PUT", "/services/orders/v1", Some(&service), 422);
    assert_eq!(refused["problems"][0]["path"], "policies.client_certificate.clients", "{refused}");
    check(json!({"client": "shop"}), "");
    check(json!({"client": "shop", "san_uri": "a:b", "san_dns": "a"}), "");
    check(json!({"client": "shop", "san_uri": "no uri"}), ".san_uri");
    check(json!({"client": "shop", "san_dns": ""}), ".san_dns");
    check(json!({"client": "shop", "fingerprint": "ab:cd"}), ".fingerprint");
}

#[test]
fn a_route_that_nobody_could_call_is_warned_about() {
    let scene = Scene::open(Backend::echo(), "");
    scene.declare(&json!({"targets": [{"url": scene.backend.url()}], "require": [["client_certificate"]]}));
    let said = scene.gateway.stderr();
    assert!(said.contains("WARN") && said.contains("'tls.client_certificates' is off"), "{said}");
    assert_eq!(scene.gateway.call("GET", "/orders/v1/x", &[], b"").code(), "missing_credential");
}
