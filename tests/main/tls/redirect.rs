//! The listener in clear that sends everybody to TLS, and only to hosts that are known.

use super::super::support::authority::Authority;
use super::super::support::{Backend, Gateway};
use super::{answered, curl, settings, tls};
use serde_json::json;

#[test]
fn calls_in_clear_are_sent_to_the_same_target_on_tls() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com,DNS:*.shop.example,IP:127.0.0.1");
    let top = "http_redirect = true\nbuiltin_hosts = [\"auth.example.com\", \"127.0.0.1\"]\nworkers = 1";
    let gateway = Gateway::with(&settings(top, &[&certificate], ""));
    let backend = Backend::echo();
    let service = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/orders/v1", Some(&service), 201);
    let port = tls(&gateway).port();
    for (host, there) in [
        ("api.example.com", Some("api.example.com")),
        ("API.example.com:80", Some("api.example.com")),
        ("a.shop.example", Some("a.shop.example")),
        ("auth.example.com", Some("auth.example.com")),
        ("127.0.0.1:1234", Some("127.0.0.1")),
        ("evil.example", None),
        ("a.b.shop.example", None),
        ("shop.example", None),
        ("10.0.0.1", None),
    ] {
        for (method, target) in [("GET", "/orders/v1/a%20b?x=1&y=//evil"), ("POST", "//evil.example/x"), ("HEAD", "/")]
        {
            let answer = gateway.call(method, target, &[("Host", host)], b"");
            match there {
                Some(there) => {
                    let location = format!("https://{there}:{port}{target}");
                    assert_eq!((answer.status, answer.header("location")), (308, Some(location.as_str())), "{host}");
                }
                None => assert_eq!((answer.status, answer.header("location")), (404, None), "{host}"),
            }
        }
    }
    // A target that names its own host is judged by that (RFC 9112 section 3.2.2).
    let answer = gateway.call("GET", "http://evil.example/x", &[("Host", "api.example.com")], b"");
    assert_eq!((answer.status, answer.header("location")), (404, None));
    // Probes on this machine are answered; nothing else has come through.
    for probe in ["/-/health", "/-/ready"] {
        assert_eq!(gateway.call("GET", probe, &[("Host", "auth.example.com")], b"").status, 200);
    }
    assert_eq!(gateway.call("POST", "/-/token", &[("Host", "auth.example.com")], b"{}").status, 308);
    assert!(backend.received().is_empty());
    let record = gateway.record("limit=20", |record| record["status"] == 308 && record["method"] == "HEAD");
    assert_eq!(record["path"], "/");
    // The service is there, over TLS.
    let answer = answered(&curl(tls(&gateway), &authority.root(), "api.example.com", "/orders/v1/x", &[]));
    assert_eq!(answer.status, 200);
    let question = json!({"method": "GET", "url": "http://api.example.com/orders/v1/x"});
    let told = gateway.admin_ok("POST", "/explain", Some(&question), 200);
    let location = format!("https://api.example.com:{port}/orders/v1/x");
    assert_eq!((&told["outcome"]["status"], &told["outcome"]["location"]), (&json!(308), &json!(location)), "{told}");
}

#[test]
fn whoever_comes_by_a_proxy_that_ends_tls_is_not_sent_away() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let top = "http_redirect = true\ntrusted_proxies = [\"127.0.0.1\"]\npublic_url = \"https://api.example.com\"";
    let gateway = Gateway::with(&settings(top, &[&certificate], ""));
    let backend = Backend::echo();
    let service = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/orders/v1", Some(&service), 201);
    let call = |scheme: &str| {
        let fields = [("Host", "api.example.com"), ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", scheme)];
        gateway.call("GET", "/orders/v1/x", &fields, b"")
    };
    assert_eq!(call("https").status, 200);
    let sent_away = call("http");
    // Apps know the gateway by the usual port, whatever it listens on.
    assert_eq!((sent_away.status, sent_away.header("location")), (308, Some("https://api.example.com/orders/v1/x")));
}
