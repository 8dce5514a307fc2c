//! Signed calls: every method and body gets through, and what comes back is taken by the client.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{DIALECTS, Scene, binary, over};

#[test]
fn every_method_and_body_passes() {
    let scene = Scene::new();
    let chinese = r#"{"c":"中文"}"#.as_bytes().to_vec();
    for dialect in DIALECTS {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH"] {
            let (told, request) = scene.call_through(dialect, &json!({"method": method}));
            told.is_fine();
            assert_eq!((request.method.as_str(), request.target.as_str()), (method, "/resource/"));
            assert!(request.body.is_empty());
            let body = if method == "HEAD" { String::new() } else { method.to_ascii_lowercase() };
            assert_eq!(String::from_utf8(told.body()), Ok(body));
        }
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for body in [b"plain".to_vec(), chinese.clone(), b"\nx-fo-a: b\n\n".to_vec(), binary(), vec![b'a'; 200_000]]
            {
                let (told, request) = scene.call_through(
                    dialect,
                    &json!({
                        "method": method, "target": "/test_api/v1/echo", "body": STANDARD.encode(&body),
                        "fields": [["Content-Type", "application/x-anything; a=b"]],
                    }),
                );
                told.is_fine();
                assert!(request.body == body && told.body() == body, "{method} {dialect} {}", body.len());
                assert_eq!(told.field("content-type"), Some("application/x-anything; a=b"));
            }
        }
    }
}

#[test]
fn the_target_is_signed_as_it_is_sent() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        for rest in [
            "/",
            "/resource",
            "/resource/?q=123",
            "/a/?q=1&b=x+y&c=%e4%b8%ad%E6%96%87&d=",
            "/a?",
            "/a?x=1&x=2&&",
            "/%e4%b8%ad/%61",
            "/a%20b?q=a%2Fb",
            "/a@b:c!$&'()*+,=~",
            "/?only=query",
        ] {
            let (told, request) = scene.call_through(dialect, &json!({"target": format!("/test_api/v1{rest}")}));
            told.is_fine();
            let query = |target: &str| target.split_once('?').map(|(_, query)| query.to_owned());
            assert_eq!(query(&request.target), query(rest), "{rest}");
        }
    }
}

#[test]
fn fields_are_signed_in_any_case_and_number() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let prefix = if dialect == "fo" { "X-Fo" } else { "X-Api" };
        for spell in ["lower", "upper", "title", "swapcase"] {
            scene.call_through(dialect, &json!({"spell": spell})).0.is_fine();
        }
        for fields in [
            json!([["X-Other", "1"], ["X-Other", "2"], ["Accept", "a"], ["accept", "b"]]),
            json!([[format!("{prefix}-Mine"), "one"], [format!("{prefix}-Mine"), "two"]]),
            json!([[format!("{prefix}-A-b"), "1"], [format!("{prefix}-A"), "2"], [format!("{prefix}-A0"), "3"]]),
            json!([[format!("{prefix}-Version"), "  with   spaces\t "], [format!("{prefix}-Empty"), ""]]),
            json!([["Cookie", "a=1; b=2"], ["X-Real-Ip", "192.0.2.1"], ["X-Scheme", "https"]]),
        ] {
            let (told, request) = scene.call_through(dialect, &json!({"fields": fields}));
            told.is_fine();
            for pair in fields.as_array().expect("a list") {
                let (name, value) = (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value"));
                let passes = ["X-Other", "Cookie"].contains(&name);
                assert!(!passes || request.all(name).contains(&value), "{name}: {request:?}");
            }
        }
    }
}

#[test]
fn what_is_signed_cannot_be_changed() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let prefix = if dialect == "fo" { "X-Fo" } else { "X-Api" };
        let nonce = format!("{prefix}-Nonce");
        let post = json!({"method": "POST", "target": "/test_api/v1/echo?a=1", "body": STANDARD.encode(b"a body")});
        for change in [
            json!({"target_after": "/test_api/v1/echo?a=2"}),
            json!({"target_after": "/test_api/v1/echo?a=%31"}),
            json!({"target_after": "/test_api/v1/ech%6f?a=1"}),
            json!({"target_after": "/test_api/v1//echo?a=1"}),
            json!({"target_after": "/test_api/v1/echo"}),
            json!({"body_after": STANDARD.encode(b"a Body")}),
            json!({"body_after": STANDARD.encode(b"a body\n")}),
            json!({"body_after": ""}),
            json!({"after": [[nonce, "0.1"]]}),
            json!({"after": [[nonce, null]]}),
            json!({"after": [[format!("{prefix}-Added"), "1"]]}),
            json!({"after": [["Host", "other.example"]]}),
        ] {
            let told = scene.call(dialect, &over(&post, &change));
            super::refused(dialect, &told, 431, "Invalid Signature");
            told.is_unsigned();
        }
    }
    assert!(scene.backend.received().is_empty());
}

#[test]
fn what_a_proxy_in_front_adds_breaks_nothing() {
    let scene = Scene::new();
    let added = json!([
        ["X-Forwarded-For", "192.0.2.7"],
        ["X-Forwarded-Proto", "https"],
        ["X-Forwarded-Host", "outside.example"],
        ["X-Forwarded-Port", "443"],
        ["Forwarded", "for=192.0.2.7"],
        ["Via", "1.1 front"],
        ["X-Real-IP", "192.0.2.7"],
    ]);
    for dialect in DIALECTS {
        scene.call_through(dialect, &json!({"after": added})).0.is_fine();
        // A client that has signed such fields itself is taken too.
        scene.call_through(dialect, &json!({"fields": [["X-Forwarded-For", "192.0.2.7"]]})).0.is_fine();
        scene.call_through(dialect, &json!({"method": "POST", "body": "YQ==", "after": added})).0.is_fine();
    }
}

#[test]
fn hmac_with_sha_256_is_answered_in_kind() {
    let scene = Scene::new();
    let (told, _) = scene.call_through("fo", &json!({"algorithm": "sha256"}));
    told.is_fine();
    assert_eq!(told.field("x-fo-signature").map(str::len), Some(43));
    let (told, _) = scene.call_through("fo", &json!({}));
    assert_eq!(told.is_fine().field("x-fo-signature").map(str::len), Some(27));
    // A client may have to use it.
    let client = json!({"services": [], "least_algorithm": "sha256"});
    scene.gateway.admin_ok("PUT", "/clients/shop", Some(&client), 200);
    super::refused("fo", &scene.call("fo", &json!({})), 431, "Invalid Signature");
    scene.call_through("fo", &json!({"algorithm": "sha256"})).0.is_fine();
    // What `api` signs is a SHA-1.
    super::refused("api", &scene.call("api", &json!({})), 431, "Invalid Signature");
    for algorithm in ["md5", "sha224", "sha512"] {
        super::refused("fo", &scene.call("fo", &json!({"algorithm": algorithm})), 431, "Invalid Signature");
    }
}

#[test]
fn the_backend_is_told_who_calls() {
    let scene = Scene::new();
    let forged = json!([
        ["X-App-Id", "forged"],
        ["X-User-Json", "forged"],
        ["X-Api-User-Json", "forged"],
        ["X-Fo-Whatever", "1"],
        ["X-Fo-Access-Token", ""],
        ["X_App_Id", "forged"],
        ["X_Fo_App_Id", "forged"],
        ["X_Api_Nonce", "forged"],
    ]);
    for dialect in DIALECTS {
        let (told, request) = scene.call_through(dialect, &json!({"fields": forged}));
        told.is_fine();
        assert_eq!(request.header("x-app-id"), Some(super::ACCESS_KEY));
        assert_eq!((request.header("x-user-json"), request.header("x-api-user-json")), (None, None));
        let access_key = if dialect == "api" { Some(super::ACCESS_KEY) } else { None };
        assert_eq!(request.header("x-api-access-key"), access_key, "{request:?}");
        assert!(request.headers.iter().all(|(name, value)| !name.contains('_') && value != "forged"), "{request:?}");
        assert_eq!(request.header("host"), Some(scene.backend.address.to_string().as_str()));
    }
}

#[test]
fn answers_are_signed_where_it_is_asked_for() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let (told, _) = scene.call_through(dialect, &json!({"asks": false}));
        told.is_unsigned();
        assert_eq!(told.status(), 200);
        assert_eq!(told.field("x-fo-timestamp").is_some(), dialect == "fo");
        let (asks, others) = if dialect == "fo" {
            ("X-Fo-Sign-Response", ["true", "0", "", "11"])
        } else {
            ("X-Api-Require-Response-Signature", ["1", "0", "false", "yes"])
        };
        for value in others {
            let (told, _) = scene.call_through(dialect, &json!({"asks": false, "fields": [[asks, value]]}));
            // `fo` asks with "1" alone, `api` with whatever stands in the field.
            if dialect == "fo" {
                told.is_unsigned()
            } else {
                told.is_verified()
            };
        }
    }
}

#[test]
fn every_answer_of_a_service_is_taken() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        let get = |path: &str| scene.call_through(dialect, &json!({"target": format!("/test_api/v1/{path}")})).0;
        let told = get("empty");
        assert!(told.is_fine().body().is_empty());
        let told = get("nothing");
        assert_eq!((told.is_verified().status(), told.body().len()), (204, 0));
        let told = get("odd");
        assert_eq!(
            (told.is_verified().status(), told.reason(), told.body().as_slice()),
            (799, "Odd Indeed", &b"odd"[..])
        );
        assert_eq!(get("large").is_fine().body().len(), 300_000);
        let told = get("cookies");
        let cookies: Vec<_> = told.is_fine().fields().into_iter().filter(|(name, _)| *name == "Set-Cookie").collect();
        assert_eq!(cookies, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]);
        let told = get("forged");
        told.is_fine();
        let extra = if dialect == "fo" { "x-fo-extra" } else { "x-api-extra" };
        assert_eq!(told.field(extra), Some("of the service"), "the gateway signs what the service says");
        let encrypt_type = if dialect == "fo" { "x-fo-encrypt-type" } else { "x-api-encrypt-type" };
        assert_eq!(told.field(encrypt_type), Some("raw"));
        let told = scene.call_through(dialect, &json!({"method": "HEAD", "target": "/test_api/v1/large"})).0;
        assert!(told.is_fine().body().is_empty());
        for (name, _) in get("echo").is_fine().fields() {
            assert!(name.starts_with(|first: char| first.is_ascii_uppercase()), "{name} is not in title case");
        }
    }
}

#[test]
fn a_body_too_large_to_be_held_is_refused() {
    let body = STANDARD.encode(vec![b'x'; (1 << 20) + 1]);
    let call = json!({"method": "POST", "target": "/test_api/v1/empty", "body": body});
    let scene = Scene::new();
    for dialect in DIALECTS {
        let told = scene.call(dialect, &call);
        super::refused(dialect, &told, 413, "Content too large");
        told.is_unsigned();
    }
    assert!(scene.backend.received().is_empty());
    let scene = Scene::with("[limits]\nheld_body_bytes = \"20MiB\"\n", &json!({}));
    for dialect in DIALECTS {
        scene.call_through(dialect, &call).0.is_fine();
    }
}
