//! Who gets in, and how everything that is no endpoint is refused.

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::{House, METRICS_TOKEN, TOKEN};

async fn ask(house: &House, path: &str, fields: &[(&str, &str)]) -> super::Answer {
    let mut request = Request::builder().uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    house.raw(request.body(Body::empty()).expect("a request")).await
}

const HOST: (&str, &str) = ("host", "localhost:6501");

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let house = House::new().await;
    let good = format!("Bearer {TOKEN}");
    for path in ["/api/v1/status", "/api/v1/services", "/nothing"] {
        let answer = ask(&house, path, &[HOST]).await;
        answer.refused(401, "missing_credential");
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
        for wrong in ["Bearer wrong", "Bearer the-admin-toke", "Bearer the-admin-token2", "Bearer the-admin-token x"] {
            let answer = ask(&house, path, &[HOST, ("authorization", wrong)]).await;
            answer.refused(401, "invalid_credential");
        }
        let answer = ask(&house, path, &[HOST, ("authorization", "Basic dGhlLWFkbWluLXRva2Vu")]).await;
        answer.refused(401, "missing_credential");
        let twice = [HOST, ("authorization", good.as_str()), ("authorization", "Bearer wrong")];
        ask(&house, path, &twice).await.refused(401, "invalid_credential");
    }
    ask(&house, "/api/v1/status", &[HOST, ("authorization", &good)]).await.fine(200);
}

#[tokio::test]
async fn the_metrics_token_opens_the_metrics_and_nothing_else() {
    let house = House::new().await;
    let shown = async |path: &str, token: &str| {
        let value = format!("Bearer {token}");
        ask(&house, path, &[HOST, ("authorization", &value)]).await
    };
    for token in [TOKEN, METRICS_TOKEN] {
        let answer = shown("/metrics", token).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    }
    for path in ["/api/v1/status", "/api/v1/services", "/metrics/", "//metrics", "/metrics/x", "/Metrics", "/nothing"] {
        shown(path, METRICS_TOKEN).await.refused(401, "invalid_credential");
    }
    shown("/metrics", "the-metrics-toke").await.refused(401, "invalid_credential");
    ask(&house, "/metrics", &[HOST]).await.refused(401, "missing_credential");
    let (good, evil) = (format!("Bearer {METRICS_TOKEN}"), ("origin", "http://evil.example"));
    let fields = [("host", "evil.example"), ("authorization", &good)];
    ask(&house, "/metrics", &fields).await.refused(403, "forbidden_host");
    let fields = [HOST, evil, ("authorization", good.as_str())];
    ask(&house, "/metrics", &fields).await.refused(403, "forbidden_origin");
}

#[tokio::test]
async fn health_and_the_document_want_no_token() {
    let house = House::new().await;
    assert_eq!(*ask(&house, "/-/health", &[]).await.fine(200), json!({"status": "ok"}));
    assert_eq!(ask(&house, "/api/v1/openapi.json", &[HOST]).await.fine(200)["openapi"], "3.1.0");
    ask(&house, "/api/v1/openapi.json", &[("host", "evil.example")]).await.refused(403, "forbidden_host");
}

#[tokio::test]
async fn only_our_own_names_may_be_spoken_to() {
    let house = House::new().await;
    let token = format!("Bearer {TOKEN}");
    let check = async |host: &str, status: u16, code: &str| {
        let answer = ask(&house, "/api/v1/status", &[("host", host), ("authorization", &token)]).await;
        if status == 200 {
            answer.fine(200);
        } else {
            answer.refused(status, code);
        }
    };
    for host in ["127.0.0.1", "127.0.0.1:6501", "127.8.8.8:1", "LocalHost", "[::1]:6501", "[::ffff:127.0.0.1]"] {
        check(host, 200, "").await;
    }
    for host in ["gate.example", "GATE.example:6501"] {
        check(host, 200, "").await;
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:6501", "gate.example."] {
        check(host, 403, "forbidden_host").await;
    }
    for host in ["", "a b", "user@localhost"] {
        check(host, 400, "bad_host").await;
    }
    ask(&house, "/api/v1/status", &[("authorization", &token)]).await.refused(400, "bad_host");
    let twice = [HOST, ("host", "evil.example"), ("authorization", token.as_str())];
    ask(&house, "/api/v1/status", &twice).await.refused(400, "bad_host");
    let absolute = ask(&house, "http://evil.example/api/v1/status", &[HOST, ("authorization", &token)]).await;
    absolute.refused(403, "forbidden_host");
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let house = House::new().await;
    let token = format!("Bearer {TOKEN}");
    let fields = |origin| [HOST, ("authorization", token.as_str()), ("origin", origin)];
    ask(&house, "/api/v1/status", &fields("http://localhost:6501")).await.fine(200);
    for origin in ["http://localhost:6500", "http://evil.example", "null", ""] {
        ask(&house, "/api/v1/status", &fields(origin)).await.refused(403, "forbidden_origin");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let house = House::new().await;
    for path in ["/", "/api/v1", "/api/v1/nothing", "/api/v1/services/a/b/c", "/api/v1/services/"] {
        house.send_with("GET", path, &[], "").await.refused(404, "no_route");
    }
    let answer = house.send_with("PATCH", "/api/v1/clients", &[], "").await;
    answer.refused(405, "method_not_allowed");
    let mut allowed: Vec<_> = answer.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    house.send_with("POST", "/-/health", &[], "").await.refused(405, "method_not_allowed");
    house.send_with("GET", "/api/v1/clients/%ff", &[], "").await.refused(400, "bad_path");
}

#[tokio::test]
async fn bodies_are_bounded_json() {
    let house = House::new().await;
    let send = async |content_type: &str, body: String| {
        house.send_with("POST", "/api/v1/users", &[("content-type", content_type)], body).await
    };
    let large = format!("{{\"username\":\"{}\"}}", "x".repeat(1 << 20));
    send("application/json", large).await.refused(413, "body_too_large");
    send("text/plain", "{}".into()).await.refused(415, "unsupported_media_type");
    send("application/json", "{".into()).await.refused(400, "malformed_json");
    send("application/json", String::new()).await.refused(400, "malformed_json");
    let answer = send("application/json", "{\"username\":7,\"password\":\"p\"}".into()).await;
    assert_eq!(answer.refused(400, "invalid_body").places(), ["username"]);
    let answer = send("application/json", "{\"username\":\"a\",\"password\":12345}".into()).await;
    assert_eq!(answer.refused(400, "invalid_body").places(), ["password"]);
    assert!(!answer.body.to_string().contains("12345"), "a secret is not repeated");
}

#[tokio::test]
async fn unknown_parameters_are_named() {
    let house = House::new().await;
    for path in ["services", "clients", "users", "enrolment-tokens", "logs"] {
        let answer = house.get(&format!("/{path}?colour=red")).await;
        answer.refused(400, "bad_query");
        assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("`colour`")), "{}", answer.body);
        for query in ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2"] {
            house.get(&format!("/{path}?{query}")).await.refused(400, "bad_query");
        }
        house.get(&format!("/{path}?cursor=!")).await.refused(400, "bad_cursor");
    }
}

#[tokio::test]
async fn every_documented_path_is_routed() {
    let house = House::new().await;
    let document: serde_json::Value = serde_json::from_str(&crate::openapi_json()).expect("JSON");
    for (path, item) in document["paths"].as_object().expect("paths") {
        if !path.starts_with("/api/") {
            continue;
        }
        let answer = house.send_with("PATCH", &path.replace(['{', '}'], ""), &[], "").await;
        answer.refused(405, "method_not_allowed");
        let methods = item.as_object().expect("operations").keys().map(|method| method.to_uppercase());
        let allowed: Vec<_> = answer.header("allow").split(',').filter(|method| *method != "HEAD").collect();
        let (mut documented, mut allowed): (Vec<_>, Vec<_>) =
            (methods.collect(), allowed.iter().map(ToString::to_string).collect());
        documented.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(documented, allowed, "{path}");
    }
}

#[tokio::test]
async fn status_counts_what_there_is() {
    let house = House::new().await;
    house.state.counters.records_dropped.add(3);
    let target = json!({"targets": [{"url": "http://127.0.0.1:1"}]});
    house.send("PUT", "/services/orders/v1", target).await.fine(201);
    house.send("POST", "/clients", json!({"name": "shop"})).await.fine(201);
    let answer = house.get("/status").await;
    let status = answer.fine(200);
    assert_eq!((&status["services"], &status["clients"]), (&json!(1), &json!(1)));
    assert_eq!(status["counters"]["records_dropped"], 3);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime_seconds"].is_u64());
}
