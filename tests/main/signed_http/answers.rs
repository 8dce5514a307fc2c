//! Answers that the gateway signs: the package in Python verifies them, bound to the request they answer.

use base64::Engine;
use serde_json::{Value, json};

use super::super::http_signatures::{ask, in_python};
use super::super::support::backend::Received;
use super::super::support::client::exchange;
use super::let_in::{Unsigned, kinds, sign};
use super::{ACCESS_KEY, Answer, Backend, HOST, House, LABEL, SETTINGS, STANDARD, Signed, answered};

/// A service that answers as its path says.
fn service() -> Backend {
    Backend::answering(|request: &Received| {
        let whole = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = match request.target.as_str() {
            "/nothing" => "HTTP/1.1 204 No Content\r\nX-More: 1\r\n\r\n".to_owned(),
            "/unchanged" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_owned(),
            "/empty" => whole("200 OK", ""),
            "/failed" => whole("500 Internal Server Error\r\nContent-Type: text/plain", "sorry"),
            "/chunks" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
                format!("{head}3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
            }
            "/own" => {
                let own =
                    "Signature: sig1=:AAAA:\r\nSignature-Input: sig1=();keyid=\"x\"\r\nContent-Digest: sha-256=:AAAA:";
                whole(&format!("200 OK\r\nContent-Type: text/plain\r\n{own}"), "signed by somebody else")
            }
            "/grpc" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n";
                format!("{head}3\r\none\r\n0\r\nGrpc-Status: 0\r\n\r\n")
            }
            "/events" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                format!("{head}9\r\ndata: 1\n\n\r\n0\r\n\r\n")
            }
            _ => whole("200 OK\r\nContent-Type: application/json", "{\"paid\": true}"),
        };
        answer.into_bytes()
    })
}

/// What verifies an answer: the algorithm, its `keyid`, and the key.
#[derive(Clone)]
struct Verifying {
    algorithm: &'static str,
    keyid: String,
    key: Value,
}

impl House {
    fn by_secret(&self) -> Verifying {
        let key = json!({"secret": STANDARD.encode(&self.secret)});
        Verifying { algorithm: "hmac-sha256", keyid: ACCESS_KEY.to_owned(), key }
    }

    /// The gateway's own key, as it is published.
    fn by_gateway(&self) -> Verifying {
        let keys = self.gateway.call("GET", "/.well-known/jwks.json", &[], b"").json();
        let kid = keys["keys"][0]["kid"].as_str().expect("a key").to_owned();
        let pem = self.gateway.call("GET", &format!("/.well-known/keys/{kid}.pem"), &[], b"");
        assert_eq!(pem.status, 200);
        Verifying { algorithm: "ecdsa-p256-sha256", keyid: kid, key: json!({"public": pem.text()}) }
    }
}

/// What Python is asked about an answer to a request.
fn job(request: &Signed, answer: &Answer, verifying: &Verifying) -> Value {
    let mut asked = vec![("Host".to_owned(), HOST.to_owned())];
    asked.extend(request.fields.iter().cloned());
    let url = format!("http://{HOST}{}", request.target);
    let signature = format!("\"signature\";req;key=\"{LABEL}\"");
    let mut components =
        vec!["\"@status\"", "\"content-digest\"", "\"@method\";req", "\"@target-uri\";req", &signature];
    if answer.header("content-type").is_some() {
        components.push("\"content-type\"");
    }
    json!({
        "do": "verify", "algorithm": verifying.algorithm, "key": verifying.key, "keyid": verifying.keyid,
        "message": {
            "status": answer.status, "fields": answer.headers,
            "request": {"method": request.method, "url": url, "target": request.target, "fields": asked},
        },
        "components": components, "body": STANDARD.encode(&answer.body),
    })
}

fn good() -> Value {
    json!({"labels": ["portcullis"]})
}

/// Asks Python about answers, each of which must be good.
fn all_good(jobs: &[(String, Value)]) {
    let only: Vec<_> = jobs.iter().map(|(_, job)| job.clone()).collect();
    for ((what, job), result) in jobs.iter().zip(ask(in_python(), &only)) {
        assert_eq!(result, good(), "{what}: {job}");
    }
}

fn is_unsigned(answer: &Answer) -> bool {
    ["signature", "signature-input"].iter().all(|name| answer.header(name).is_none())
}

#[test]
fn answers_are_signed_by_the_secret_of_the_request_or_by_the_gateway() {
    let house = House::before(service(), SETTINGS, &json!({"sign_answers": true}));
    let kinds = kinds(&house);
    house.declare_keys(&kinds);
    let by_gateway = house.by_gateway();
    let covered = ["@method", "@target-uri", "content-digest"];
    let requests = [
        Unsigned { method: "POST", target: "/orders/v1/pay?once=1", body: b"x", covered: &covered },
        Unsigned { method: "GET", target: "/orders/v1/chunks", body: b"", covered: &covered[..2] },
        Unsigned { method: "GET", target: "/orders/v1/own", body: b"", covered: &covered[..2] },
    ];
    let signed = sign(in_python(), &kinds, &requests);
    let jobs = signed.iter().map(|(kind, request)| {
        let what = format!("{} {} by {}", request.method, request.target, kind.algorithm);
        let answer = house.accepted(&what, request);
        let verifying = if kind.id.is_empty() { house.by_secret() } else { by_gateway.clone() };
        (what, job(request, &answer, &verifying))
    });
    all_good(&jobs.collect::<Vec<_>>());
}

#[test]
fn answers_without_a_body_and_of_every_status_are_signed() {
    let house = House::before(service(), SETTINGS, &json!({"sign_answers": true}));
    let mut jobs = Vec::new();
    for (method, target, status) in [
        ("HEAD", "/orders/v1/x", 200),
        ("HEAD", "/orders/v1/failed", 500),
        ("GET", "/orders/v1/nothing", 204),
        ("GET", "/orders/v1/unchanged", 304),
        ("GET", "/orders/v1/empty", 200),
        ("GET", "/orders/v1/failed", 500),
        ("POST", "/orders/v1/nothing", 204),
    ] {
        let request = house.draft(method, target).signed();
        let answer = answered(&house.gateway, &request.bytes());
        assert_eq!(answer.status, status, "{method} {target}");
        jobs.push((format!("{method} {target}"), job(&request, &answer, &house.by_secret())));
    }
    all_good(&jobs);
    // How long the body would be is said to HEAD as without signatures.
    let head = house.draft("HEAD", "/orders/v1/x").signed();
    let answer = answered(&house.gateway, &head.bytes());
    assert_eq!(answer.header("content-length"), Some("14"));
}

#[test]
fn a_changed_answer_or_one_to_another_request_does_not_verify() {
    let house = House::before(service(), SETTINGS, &json!({"sign_answers": true}));
    let kinds = kinds(&house);
    house.declare_keys(&kinds);
    let by_gateway = house.by_gateway();
    let covered = ["@method", "@target-uri", "content-digest"];
    let requests = [Unsigned { method: "POST", target: "/orders/v1/pay", body: b"x", covered: &covered }];
    for (kind, request) in sign(in_python(), &kinds, &requests) {
        let verifying = if kind.id.is_empty() { house.by_secret() } else { by_gateway.clone() };
        let answer = house.accepted(kind.algorithm, &request);
        let other = house.post(b"x").changed(|draft| "/orders/v1/pay".clone_into(&mut draft.target)).signed();
        let changed = |change: &dyn Fn(&mut Answer)| {
            let mut answer = answer.clone();
            change(&mut answer);
            job(&request, &answer, &verifying)
        };
        let set = |answer: &mut Answer, name: &str, value: &str| {
            let field = answer.headers.iter_mut().find(|(field, _)| field.eq_ignore_ascii_case(name));
            value.clone_into(&mut field.expect(name).1);
        };
        let digest = super::content_digest(b"{\"paid\": null}");
        let as_of = |change: &dyn Fn(&mut Signed)| job(&request.clone().changed(change), &answer, &verifying);
        let jobs = [
            changed(&|_| {}),
            changed(&|answer| answer.status = 201),
            changed(&|answer| answer.body[2] ^= 1),
            changed(&|answer| answer.body.clear()),
            changed(&|answer| {
                answer.body = b"{\"paid\": null}".to_vec();
                set(answer, "content-digest", &digest);
            }),
            changed(&|answer| set(answer, "content-type", "text/plain")),
            changed(&|answer| answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("signature"))),
            as_of(&|request| request.method = "PUT".to_owned()),
            as_of(&|request| request.target = "/orders/v1/refund".to_owned()),
            job(&other, &answer, &verifying),
        ];
        let results = ask(in_python(), &jobs);
        assert_eq!(results[0], good(), "{}", kind.algorithm);
        for (job, result) in jobs.iter().zip(&results).skip(1) {
            assert!(result["error"].is_string(), "{}: {job}", kind.algorithm);
        }
    }
}

#[test]
fn refusals_behind_the_signature_are_signed_and_those_before_it_are_not() {
    let house = House::before(service(), SETTINGS, &json!({"sign_answers": true}));
    let get = || house.draft("GET", "/orders/v1/x");
    let passed = get().signed();
    house.accepted("good", &passed);
    for (what, request) in [
        ("nothing signed", get().signed().changed(|request| request.fields.clear())),
        ("another secret", get().changed(|draft| draft.secret[0] ^= 1).signed()),
        ("expired", get().changed(|draft| draft.expires = Some(1)).signed()),
        ("a repeat", passed),
        ("another body", house.post(b"x").signed().changed(|request| request.body[0] ^= 1)),
    ] {
        let answer = answered(&house.gateway, &request.bytes());
        assert_eq!(answer.status, 401, "{what}");
        assert!(is_unsigned(&answer), "{what}: {answer:?}");
    }
    house.change_client(&json!({"services": []}));
    let request = get().signed();
    let answer = answered(&house.gateway, &request.bytes());
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    all_good(&[("not granted".to_owned(), job(&request, &answer, &house.by_secret()))]);
}

#[test]
fn what_is_not_asked_for_or_does_not_end_is_not_signed() {
    let house = House::before(service(), SETTINGS, &json!({"sign_answers": true}));
    let events = answered(&house.gateway, &house.draft("GET", "/orders/v1/events").signed().bytes());
    assert!(events.status == 200 && is_unsigned(&events), "{events:?}");
    // gRPC ends in trailers, which say how it went.
    let grpc = house.draft("GET", "/orders/v1/grpc").signed();
    let grpc = grpc.head("TE: trailers\r\nConnection: close, TE\r\n");
    let grpc = String::from_utf8_lossy(&exchange(house.gateway.data, grpc.as_bytes())).to_lowercase();
    assert!(grpc.contains("\r\ngrpc-status: 0\r\n") && !grpc.contains("signature"), "{grpc}");
    house.declare(&json!([["signature"]]), &json!({"signature": {}}));
    let answer = answered(&house.gateway, &house.draft("GET", "/orders/v1/x").signed().bytes());
    assert!(answer.status == 200 && is_unsigned(&answer), "{answer:?}");
}

#[test]
fn an_answer_that_is_too_large_to_be_signed_is_refused() {
    let settings = format!("{SETTINGS}limits.held_answer_bytes = \"8B\"\n");
    let house = House::before(service(), &settings, &json!({"sign_answers": true}));
    let answer = answered(&house.gateway, &house.draft("GET", "/orders/v1/chunks").signed().bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answered(&house.gateway, &house.draft("GET", "/orders/v1/x").signed().bytes());
    assert_eq!((answer.status, answer.code().as_str()), (502, "answer_too_large"));
}
