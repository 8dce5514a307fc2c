//! `explain` for signed calls: what the gateway has verified, and where the client's own string differs, over the admin API and
//! on the command line. The calls are signed by the library that clients share with the gateway.

use std::io::Write as _;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_signing::fomalhaut::{Algorithm, Canonical, Dialect, Head, SigningKey};
use portcullis_signing::http::{
    self as standard, ContentDigest, DigestAlgorithm, KnownFields, Limits, Request, Signatures, Signer, Stamp,
};
use serde_json::{Value, json};

use crate::support::gateway::command;
use crate::support::{Backend, Scene};

const SECRET: &str = "a secret of sixteen and more bytes";
const OTHER: &str = "another secret of sixteen bytes";
const HOST: &str = "gate.example";

type Fields = Vec<(String, String)>;

/// A message, before it is signed.
#[derive(Clone)]
struct Message {
    method: &'static str,
    host: &'static str,
    target: &'static str,
    body: &'static str,
    fields: Fields,
    secret: &'static str,
}

/// In which way it is signed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scheme {
    Fomalhaut(Dialect),
    Standard,
}

const SCHEMES: [Scheme; 3] = [Scheme::Fomalhaut(Dialect::Fo), Scheme::Fomalhaut(Dialect::Api), Scheme::Standard];

impl Scheme {
    fn word(self) -> &'static str {
        match self {
            Self::Fomalhaut(Dialect::Fo) => "fo",
            Self::Fomalhaut(Dialect::Api) => "api",
            Self::Standard => "rfc9421",
        }
    }

    fn message(self, nonce: &str) -> Message {
        let fields = match self {
            Self::Fomalhaut(dialect) => vec![
                (dialect.client_id().to_owned(), "signer".to_owned()),
                (dialect.timestamp().to_owned(), now().to_string()),
                (dialect.nonce().to_owned(), nonce.to_owned()),
                (dialect.encrypt_type().to_owned(), "raw".to_owned()),
            ],
            Self::Standard => vec![("x-tenant".to_owned(), nonce.to_owned())],
        };
        let (host, body) = (HOST, r#"{"b": 1, "a": 2}"#);
        Message { method: "POST", host, target: "/orders/v1/a%20b?x=1", body, fields, secret: SECRET }
    }

    /// The message's fields with a signature, and the string that was signed.
    fn sign(self, message: &Message) -> (Fields, String) {
        let mut fields = message.fields.clone();
        let Self::Fomalhaut(dialect) = self else { return message.sign_by_standard() };
        let head = Head {
            method: message.method.as_bytes(),
            target: message.target.as_bytes(),
            host: message.host.as_bytes(),
        };
        let lines = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let canonical = Canonical::request(dialect, head, lines).expect("a string to sign");
        let key = SigningKey::new(message.secret.as_bytes()).expect("a secret");
        let algorithm = match dialect {
            Dialect::Fo => Algorithm::HmacSha256,
            Dialect::Api => Algorithm::HmacSha256OfSha1,
        };
        let signature = key.sign(algorithm, &canonical, message.body.as_bytes()).to_text();
        fields.push((dialect.signature().to_owned(), signature));
        (fields, format!("{}{}", canonical.as_str(), message.body))
    }
}

impl Message {
    fn sign_by_standard(&self) -> (Fields, String) {
        let mut fields = self.fields.clone();
        let digest = ContentDigest::of(self.body.as_bytes(), DigestAlgorithm::Sha256).to_string();
        fields.push(("content-digest".to_owned(), digest));
        let mut components = vec!["@method", "@authority", "@path", "@query", "content-digest"];
        components.extend(self.fields.iter().map(|(name, _)| name.as_str()));
        let signer = Signer::new("sig1", &components).expect("components").keyid("signer");
        let key = standard::SigningKey::hmac(self.secret.as_bytes()).expect("a key");
        let stamp = Stamp { created: i64::try_from(now()).ok(), ..Stamp::default() };
        let own = fields.clone();
        let request = Request::new(self.method, "http", self.host, self.target, &own);
        let signed = signer.sign(&request, &stamp, &key, &KnownFields::STANDARD).expect("signed");
        fields.push(("signature-input".to_owned(), signed.signature_input));
        fields.push(("signature".to_owned(), signed.signature));
        let signatures = Signatures::parse(&fields, &Limits::default()).expect("signatures");
        let base = signatures.get("sig1").expect("one").base(&request, &KnownFields::STANDARD).expect("a base");
        (fields, base.to_string())
    }
}

fn now() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed();
    now.expect("a time after 1970").as_secs()
}

/// A gateway whose service takes signed calls of the client `signer`.
fn scene(settings: &Value) -> Scene {
    let scene = Scene::open(Backend::echo(), "");
    let signer = json!({"name": "signer", "services": ["orders/v1"], "access_key": "signer", "secret_key": SECRET});
    scene.gateway.admin_ok("POST", "/clients", Some(&signer), 201);
    declare(&scene, settings);
    scene
}

fn declare(scene: &Scene, settings: &Value) {
    scene.declare(&json!({
        "targets": [{"url": scene.backend.url()}], "require": [["signature"]], "policies": {"signature": settings},
    }));
}

/// The question about a message that is sent with these fields.
fn question(sent: &Message, fields: &Fields) -> Value {
    let mut headers = vec![("host".to_owned(), sent.host.to_owned())];
    headers.extend(fields.iter().cloned());
    json!({
        "method": sent.method, "url": sent.target, "headers": headers, "body": STANDARD.encode(sent.body),
    })
}

fn explain(scene: &Scene, question: &Value) -> Value {
    scene.gateway.admin_ok("POST", "/explain", Some(question), 200)
}

/// Makes the call.
fn call(scene: &Scene, sent: &Message, fields: &Fields) -> crate::support::Answer {
    let mut headers = vec![("Host", sent.host)];
    headers.extend(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    scene.gateway.call(sent.method, sent.target, &headers, sent.body.as_bytes())
}

#[test]
fn the_part_that_differs_is_named() {
    let scene = scene(&json!({}));
    for scheme in SCHEMES {
        let sent = scheme.message("0.1");
        let standard = scheme == Scheme::Standard;
        let name = |derived: &'static str, own: &'static str| if standard { derived } else { own };
        let changed = |change: &dyn Fn(&mut Message)| {
            let mut other = sent.clone();
            change(&mut other);
            other
        };
        let last = sent.fields.last().expect("a field").0.clone();
        let of_field = if standard { format!("\"{last}\"") } else { last };
        for (signed, part, hint) in [
            (changed(&|it| it.host = "localhost"), name("\"@authority\"", "host"), "the Host differs"),
            (changed(&|it| it.target = "/orders/v1/a%20b"), name("\"@query\"", "target"), "the target differs"),
            (changed(&|it| it.body = r#"{"b":1,"a":2}"#), "body", "the body differs"),
            (changed(&|it| it.fields.last_mut().expect("a field").1 = "other".to_owned()), of_field.as_str(), ""),
        ] {
            // The client sends the fields of its message, with the signature of another one.
            let (mut fields, theirs) = scheme.sign(&signed);
            for (name, value) in &mut fields {
                if let Some((_, own)) = sent.fields.iter().find(|(own, _)| own == name) {
                    value.clone_from(own);
                }
            }
            let mut asked = question(&sent, &fields);
            let alone = explain(&scene, &asked);
            asked["string_to_sign"] = STANDARD.encode(&theirs).into();
            let told = explain(&scene, &asked);
            let report = &told["signature"];
            assert_eq!(report["scheme"], scheme.word(), "{told}");
            assert_eq!(report["difference"]["part"], part, "{scheme:?}: {report}");
            assert_eq!(told["outcome"]["code"], "invalid_credential", "{told}");
            let hints = alone["signature"]["hints"].to_string();
            assert!(hints.contains(hint), "{scheme:?} {part}: {hints}");
            assert!(!told.to_string().contains(SECRET));
        }
        // The secret is another one: the strings are the same, and the report says so.
        let (fields, theirs) = scheme.sign(&changed(&|it| it.secret = OTHER));
        let mut asked = question(&sent, &fields);
        asked["string_to_sign"] = STANDARD.encode(theirs).into();
        let report = explain(&scene, &asked)["signature"].clone();
        assert_eq!((&report["verdict"], report.get("difference")), (&json!("differs"), None), "{report}");
        assert!(report["hints"].to_string().contains("check the secret"), "{report}");
    }
}

#[test]
fn a_field_that_is_not_signed_is_named() {
    let scene = scene(&json!({}));
    for dialect in Dialect::ALL {
        let scheme = Scheme::Fomalhaut(dialect);
        let sent = scheme.message("0.1");
        let mut signed = sent.clone();
        let (name, value) = signed.fields.pop().expect("a field");
        let (mut fields, theirs) = scheme.sign(&signed);
        fields.push((name.clone(), value));
        let mut asked = question(&sent, &fields);
        let hints = explain(&scene, &asked)["signature"]["hints"].to_string();
        assert!(hints.contains(&format!("'{name}' is sent and not signed")), "{hints}");
        asked["string_to_sign"] = STANDARD.encode(theirs).into();
        let report = explain(&scene, &asked)["signature"].clone();
        assert_eq!((&report["difference"]["part"], &report["difference"]["client"]), (&json!(name), &Value::Null));
    }
    // What a signature must cover, and does not.
    declare(&scene, &json!({"http_components": ["x-order"]}));
    let sent = Scheme::Standard.message("acme");
    let told = explain(&scene, &question(&sent, &Scheme::Standard.sign(&sent).0));
    assert_eq!(told["signature"]["verdict"], "matches");
    assert!(told["signature"]["hints"].to_string().contains("does not cover"), "{told}");
}

#[test]
fn explaining_leaves_no_trace() {
    let scene = scene(&json!({}));
    for scheme in SCHEMES {
        let sent = scheme.message("0.7");
        let (fields, theirs) = scheme.sign(&sent);
        let mut asked = question(&sent, &fields);
        asked["string_to_sign"] = STANDARD.encode(theirs).into();
        for _ in 0..2 {
            let told = explain(&scene, &asked);
            assert_eq!(
                (&told["signature"]["verdict"], &told["outcome"]["kind"]),
                (&json!("matches"), &json!("forwarded"))
            );
            assert_eq!(told["signature"].get("difference"), None);
        }
        let secrets = scene.gateway.admin_ok("GET", "/clients/signer/secrets", None, 200);
        if scheme == SCHEMES[0] {
            assert_eq!(secrets["items"][0]["last_used"], Value::Null, "{secrets}");
        }
        assert_eq!(call(&scene, &sent, &fields).status, 200, "{scheme:?}: the call itself is still accepted");
        assert_ne!(call(&scene, &sent, &fields).status, 200, "{scheme:?}: once");
    }
    // Failures of tried calls are not counted.
    let sent = SCHEMES[0].message("0.8");
    let (fields, _) = SCHEMES[0].sign(&Message { secret: OTHER, ..sent.clone() });
    for _ in 0..100 {
        assert_eq!(explain(&scene, &question(&sent, &fields))["outcome"]["status"], 949);
    }
    assert!(call(&scene, &sent, &fields).text().contains("431"), "and not too many failures");
}

#[test]
fn a_refusal_has_the_string_only_where_the_route_says_so() {
    let scene = scene(&json!({}));
    let told = |scheme: Scheme, nonce: &str| {
        let sent = scheme.message(nonce);
        let (fields, _) = scheme.sign(&Message { secret: OTHER, ..sent.clone() });
        let answer = call(&scene, &sent, &fields);
        (answer.header("x-portcullis-string-to-sign").map(str::to_owned), scheme.sign(&sent).1)
    };
    for scheme in SCHEMES {
        assert_eq!(told(scheme, "0.1").0, None, "{scheme:?}");
    }
    declare(&scene, &json!({"debug_signatures": true}));
    for scheme in SCHEMES {
        let (shown, signed) = told(scheme, "0.2");
        let text = STANDARD.decode(shown.expect("the string")).expect("base64");
        let text = String::from_utf8(text).expect("text");
        let body = if scheme == Scheme::Standard { "" } else { scheme.message("").body };
        // The time of a signature by RFC 9421 is that of each signing.
        let before = |text: &str| text.split(";created=").next().unwrap_or_default().to_owned();
        assert_eq!(before(&format!("{text}{body}")), before(&signed));
    }
    let mut unknown = SCHEMES[0].message("0.3");
    unknown.fields[0].1 = "nobody".to_owned();
    let (fields, _) = SCHEMES[0].sign(&unknown);
    assert_eq!(call(&scene, &unknown, &fields).header("x-portcullis-string-to-sign"), None);
    let sent = SCHEMES[0].message("0.4");
    let answer = call(&scene, &sent, &SCHEMES[0].sign(&sent).0);
    assert_eq!((answer.status, answer.header("x-portcullis-string-to-sign")), (200, None));
}

#[test]
fn what_is_no_base64_or_no_body_of_this_length_is_told() {
    let scene = scene(&json!({}));
    let problems = |question: &Value| {
        let told = scene.gateway.admin("POST", "/explain", Some(question));
        let told = (told.status, told.json()["problems"].clone());
        let paths = told.1.as_array().expect("a list").iter().map(|problem| problem["path"].clone());
        (told.0, paths.collect::<Vec<_>>())
    };
    let asked = json!({"method": "GET", "url": "/", "body": "?", "string_to_sign": "!"});
    assert_eq!(problems(&asked), (422, vec![json!("body"), json!("string_to_sign")]));
    let asked = json!({"method": "PUT", "url": "/", "headers": [["content-length", "9"]], "body": "YQ=="});
    assert_eq!(problems(&asked), (422, vec![json!("body")]));
    // A body that is only announced cannot be verified.
    let sent = SCHEMES[0].message("0.1");
    let mut asked = question(&sent, &SCHEMES[0].sign(&sent).0);
    asked.as_object_mut().expect("an object").remove("body");
    asked["headers"].as_array_mut().expect("a list").push(json!(["content-length", "16"]));
    let report = explain(&scene, &asked)["signature"].clone();
    assert_eq!(report["verdict"], "not_verified", "{report}");
    assert!(report["hints"].to_string().contains("send it along"), "{report}");
}

#[test]
fn the_command_line_shows_the_string_and_where_it_differs() {
    let scene = scene(&json!({}));
    let sent = SCHEMES[0].message("0.1");
    let signed = Message { host: "elsewhere.example", ..sent.clone() };
    let (fields, theirs) = SCHEMES[0].sign(&signed);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("string");
    std::fs::write(&file, theirs).expect("written");
    let run = |more: &[&str], stdin: &str| {
        let mut command = command(scene.gateway.directory());
        command.args(["--admin", &format!("http://{}", scene.gateway.admin), "explain", sent.method, sent.target]);
        for (name, value) in fields.iter().chain([&("Host".to_owned(), HOST.to_owned())]) {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        let mut child = command
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("ends");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let string = file.to_str().expect("a path");
    let (code, shown) = run(&["--body-file", "-", "--string-to-sign-file", string], sent.body);
    assert_eq!(code, Some(0), "{shown}");
    for line in [
        "by signer, verified with ",
        ": differs\n",
        "         POST␊\n         /orders/v1/a%20b?x=1␊\n         host: gate.example␊\n",
        "         and a body of 16 bytes with the SHA-256 ",
        "differs  your string differs in 'host': yours is \"elsewhere.example\", the gateway's \"gate.example\"\n",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    let (_, shown) = run(&["--body-file", "-", "--json"], sent.body);
    let told: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(told["signature"]["verdict"], "differs");
    assert_eq!(run(&["--body-file", "-", "--string-to-sign-file", "-"], "").0, Some(2));
    assert_eq!(run(&["--body-file", "/nowhere/at/all"], "").0, Some(2));
}
