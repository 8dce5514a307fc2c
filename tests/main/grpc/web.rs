//! gRPC-Web: pages over HTTP/1.1, frame by frame, before a service that speaks gRPC alone.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::support::Answer;
use crate::support::client::connect;

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";

fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

/// Calls a method with one message, as a page does.
fn call(scene: &Scene, method: &str, kind: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
    let own = [("Content-Type", kind), ("Accept", kind), ("X-Grpc-Web", "1")];
    scene.gateway.call("POST", &format!("/demo.v1.Echo/{method}"), &[&own[..], fields].concat(), body)
}

/// The messages of an answer, and the fields at its end.
fn read(answer: &Answer) -> (Vec<Vec<u8>>, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let bytes = match answer.header("content-type") {
        Some(TEXT) => {
            // Padding may stand after every piece.
            let quads = answer.body.chunks(4).map(|quad| STANDARD.decode(quad).expect("Base64"));
            quads.collect::<Vec<_>>().concat()
        }
        kind => {
            assert_eq!(kind, Some(BINARY), "{answer:?}");
            answer.body.clone()
        }
    };
    let (mut messages, mut rest) = (Vec::new(), &bytes[..]);
    loop {
        let (head, behind) = rest.split_at(5);
        let length = u32::from_be_bytes(head[1..].try_into().expect("four")) as usize;
        let (bytes, behind) = behind.split_at(length);
        if head[0] == 0x80 {
            assert!(behind.is_empty(), "something stands behind the trailers");
            return (messages, String::from_utf8(bytes.to_vec()).expect("UTF-8"));
        }
        messages.push(bytes.to_vec());
        rest = behind;
    }
}

fn bridged(more: &Value) -> (Scene, Service) {
    let mut policies = json!({"grpc_web": {}});
    policies.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    open("", &policies)
}

#[test]
fn pages_call_in_both_forms() {
    let (scene, _service) = bridged(&json!({}));
    let big = vec![b'x'; 300_000];
    for body in [&b"hello"[..], b"", &big] {
        for (kind, sent) in [(BINARY, message(body)), (TEXT, STANDARD.encode(message(body)).into_bytes())] {
            let answer = call(&scene, "Unary", kind, &[("X-Own", "a")], &sent);
            assert_eq!((answer.header("x-own"), answer.header("x-head")), (Some("a"), Some("yes")));
            assert_eq!(answer.header("grpc-status"), None);
            let (messages, trailers) = read(&answer);
            assert!(messages == [body], "{kind}");
            assert!(trailers.contains("grpc-status: 0\r\n") && trailers.contains("x-trailer: done\r\n"), "{trailers}");
            assert!(trailers.contains("x-data-bin: AP8Q\r\n"), "{trailers}");
        }
    }
    let (messages, trailers) = read(&call(&scene, "Stream", TEXT, &[], STANDARD.encode(message(b"300")).as_bytes()));
    assert_eq!((messages.len(), messages[299].as_slice()), (300, &b"299"[..]));
    assert!(trailers.contains("grpc-status: 0\r\n"));
    scene.gateway.record("path=/demo.v1.Echo/Stream", |record| record["grpc_status"] == 0 && record["status"] == 200);
}

#[test]
fn base64_may_be_padded_in_the_middle_and_cut_anywhere() {
    let (scene, _service) = bridged(&json!({}));
    let sent = message(b"hello");
    let text: String = sent.chunks(4).map(|part| STANDARD.encode(part)).collect();
    let chunks: String = text
        .as_bytes()
        .chunks(3)
        .map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)))
        .collect();
    let answer =
        call(&scene, "Unary", TEXT, &[("Transfer-Encoding", "chunked")], format!("{chunks}0\r\n\r\n").as_bytes());
    assert_eq!(read(&answer).0, [b"hello"]);

    let answer = call(&scene, "Unary", TEXT, &[], b"AAAA!AAA");
    let (messages, trailers) = read(&answer);
    assert!(messages.is_empty() && trailers.contains("grpc-status: 3\r\n"), "{trailers}");
    assert!(trailers.contains("x-portcullis-code: broken_body\r\n"), "{trailers}");
}

#[test]
fn errors_and_refusals_are_in_the_body() {
    let (scene, _service) = bridged(&json!({"cors": {"origins": ["https://app.example"]}}));
    let origin = ("Origin", "https://app.example");
    for kind in [BINARY, TEXT] {
        let body = if kind == TEXT { STANDARD.encode(message(b"")).into_bytes() } else { message(b"") };
        let (messages, trailers) = read(&call(&scene, "Fail", kind, &[origin], &body));
        assert!(messages.is_empty() && trailers.contains("grpc-status: 5\r\n"), "{trailers}");
        assert!(trailers.contains("grpc-message: kein Weg: %C3%BC%25\r\n"), "{trailers}");
        let (_, trailers) = read(&call(&scene, "Nothing", kind, &[origin], &body));
        assert!(trailers.contains("grpc-status: 12\r\n"), "{trailers}");

        let fields = [origin, ("grpc-timeout", "soon")];
        let answer = call(&scene, "Unary", kind, &fields, &body);
        assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
        let (_, trailers) = read(&answer);
        assert!(
            trailers.contains("grpc-status: 3\r\n") && trailers.contains("x-portcullis-code: bad_grpc_timeout\r\n")
        );

        let answer = call(&scene, "Wait", kind, &[origin, ("grpc-timeout", "300m")], &body);
        let (_, trailers) = read(&answer);
        assert!(trailers.contains("grpc-status: 4\r\n"), "{trailers}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"), "{answer:?}");
    }
    // The service keeps the deadline too, and may be the first to say so.
    scene.gateway.record("limit=50", |record| record["grpc_status"] == 4);
    let record = scene.gateway.record("status=400", |record| record["grpc_status"] == 3);
    assert_eq!(record["refusal"], "bad_grpc_timeout");

    let asked = [origin, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "x-grpc-web")];
    assert_eq!(scene.gateway.call("OPTIONS", "/demo.v1.Echo/Unary", &asked, b"").status, 204);
}

#[test]
fn a_wrong_token_is_told_in_the_body() {
    let (scene, _service) = scene("", &json!({"policies": {"grpc_web": {}}}));
    let (_, trailers) = read(&call(&scene, "Unary", BINARY, &[], &message(b"x")));
    assert!(trailers.contains("grpc-status: 16\r\n") && trailers.contains("x-portcullis-code: missing_credential\r\n"));
    let bearer = format!("Bearer {}", scene.token);
    let fields = [("Authorization", bearer.as_str()), ("X-API-Key", scene.api_key.as_str())];
    assert_eq!(read(&call(&scene, "Unary", BINARY, &fields, &message(b"x"))).0, [b"x"]);
}

#[test]
fn messages_come_as_they_are_sent() {
    let (scene, service) = bridged(&json!({}));
    let mut stream = connect(scene.gateway.data);
    let sent = STANDARD.encode(message(b""));
    let head = format!(
        "POST /demo.v1.Echo/Watch HTTP/1.1\r\nHost: a\r\nContent-Type: {TEXT}\r\nContent-Length: {}\r\n\r\n{sent}",
        sent.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let first = STANDARD.encode(message(b"first"));
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(&first) {
        let mut buffer = [0; 1_024];
        let length = stream.read(&mut buffer).expect("more of it");
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..length]);
    }
    drop(stream);
    scene.gateway.record("path=/demo.v1.Echo/Watch", |record| record["refusal"] == "client_closed_request");
    service.notices("unwatched");
}

#[test]
fn a_deadline_ends_an_answer_in_the_middle() {
    let (scene, service) = bridged(&json!({}));
    let (messages, trailers) = read(&call(&scene, "Watch", BINARY, &[("grpc-timeout", "4S")], &message(b"")));
    assert_eq!(messages, [b"first"]);
    assert!(trailers.contains("grpc-status: 4\r\n") && trailers.contains("x-portcullis-code: deadline_exceeded\r\n"));
    service.notices("unwatched");
    scene.gateway.record("path=/demo.v1.Echo/Watch", |record| {
        record["refusal"] == "deadline_exceeded" && record["grpc_status"] == 4 && record["status"] == 200
    });
}

#[test]
fn messages_of_pages_are_limited_too() {
    let (scene, _service) = bridged(&json!({"request_limits": {"body_bytes": 10}}));
    for kind in [BINARY, TEXT] {
        let body = |length| {
            let sent = message(&vec![b'x'; length]);
            if kind == TEXT { STANDARD.encode(sent).into_bytes() } else { sent }
        };
        assert_eq!(read(&call(&scene, "Unary", kind, &[], &body(10))).0, [b"xxxxxxxxxx"]);
        let (_, trailers) = read(&call(&scene, "Unary", kind, &[], &body(11)));
        assert!(trailers.contains("grpc-status: 8\r\n"), "{trailers}");
    }
}

#[test]
fn grpc_over_http1_is_refused_in_plain_words() {
    let (scene, _service) = scene("", &json!({}));
    let answer = call(&scene, "Unary", "application/grpc", &[], &message(b"x"));
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_credential"));
}

#[test]
fn what_nobody_bridges_passes_as_it_is() {
    let scene = Scene::open(Backend::echo(), "");
    let policies = json!({"request_limits": {"body_bytes": 20}});
    scene.declare(&json!({"targets": [{"url": scene.backend.url()}], "require": [], "policies": policies}));
    let post = |fields: &[(&str, &str)], body: &[u8]| {
        let own = [("Content-Type", BINARY), ("X-Grpc-Web", "1")];
        scene.gateway.call("POST", "/orders/v1/demo.v1.Echo/Unary", &[&own[..], fields].concat(), body)
    };
    assert_eq!(post(&[("grpc-timeout", "10S")], &message(b"x")).status, 200);
    let seen = scene.backend.received().pop().expect("a request");
    assert_eq!((seen.header("content-type"), seen.header("x-grpc-web")), (Some(BINARY), Some("1")));
    assert_eq!(seen.body, message(b"x"));
    // What has passed on the way is taken off.
    let left = seen.header("grpc-timeout").and_then(|left| left.strip_suffix('u')).expect("microseconds");
    assert!(left.parse::<u64>().expect("a number") < 10_000_000, "{left}");

    // Nor may it be silent for longer than others because of what the caller says.
    let silent = Scene::open(Backend::serving(|_, _| true), "timeouts.upstream_first_byte = \"1s\"");
    let answer = silent.gateway.call("POST", "/orders/v1/x", &[("Content-Type", BINARY)], &message(b"x"));
    let (_, trailers) = read(&answer);
    assert!(trailers.contains("x-portcullis-code: upstream_timeout\r\n"), "{trailers}");

    // In HTTP/1.1 a service gets no streams, and the limit is one of the whole body.
    let chunks = "f\r\n\0\0\0\0\x0a0123456789\r\nf\r\n\0\0\0\0\x0a0123456789\r\n0\r\n\r\n";
    let (_, trailers) = read(&post(&[("Transfer-Encoding", "chunked")], chunks.as_bytes()));
    assert!(trailers.contains("grpc-status: 8\r\n"), "{trailers}");
    let calls = scene.backend.received().len();
    let (_, trailers) = read(&post(&[("grpc-timeout", "0n")], &message(b"x")));
    assert!(trailers.contains("x-portcullis-code: deadline_exceeded\r\n"), "{trailers}");
    assert_eq!(scene.backend.received().len(), calls, "it was too late to send it");
}
