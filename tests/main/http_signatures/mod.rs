//! HTTP Message Signatures against two implementations that others wrote, in Python and in JavaScript: what one side signs, the
//! other verifies.

mod structured_fields;

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_signing::http::{
    Algorithm, ContentDigest, DigestAlgorithm, Identifiers, KnownFields, Limits, Message, Request, Response,
    Signatures, Signer, SigningKey, Stamp, VerifyingKey,
};
use serde_json::{Value, json};

use super::support::{node, python};

const CREATED: i64 = 1_618_884_473;
const LABEL: &str = "sig-1";
/// The value under another label that requests of these tests carry.
const SIGNED_BEFORE: &str = "earlier=:AAECAwQF:";

/// A message of the tests.
struct Case {
    name: &'static str,
    method: &'static str,
    authority: &'static str,
    target: &'static str,
    /// A response with this status, to a request of the above.
    status: Option<u16>,
    fields: Vec<(&'static str, String)>,
    components: &'static [&'static str],
    /// Whether the peer in JavaScript knows these components.
    for_node: bool,
}

fn cases() -> Vec<Case> {
    let digest = ContentDigest::of(br#"{"hello": "world"}"#, DigestAlgorithm::Sha256).to_string();
    let host = |authority: &str| ("Host", authority.to_owned());
    let list = ["text/html", " application/json;q=0.5\t"].map(|line| ("Accept", line.to_owned()));
    let folded = ("X-Folded", "one\r\n   two".to_owned());
    vec![
        Case {
            name: "the whole target",
            method: "GET",
            authority: "example.com",
            target: "/a%2Fb/?page=2&x=%C3%BC+y",
            status: None,
            fields: vec![host("example.com")],
            components: &["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"],
            for_node: true,
        },
        Case {
            name: "no query, a default port and capital letters",
            method: "DELETE",
            authority: "Example.COM:443",
            target: "/",
            status: None,
            fields: vec![host("Example.COM:443")],
            components: &["@authority", "@path", "@query", "@method"],
            for_node: true,
        },
        Case {
            name: "fields of several lines",
            method: "POST",
            authority: "example.com:8443",
            target: "/orders",
            status: None,
            fields: [host("example.com:8443"), ("Content-Digest", digest.clone()), ("X-Empty", String::new()), folded]
                .into_iter()
                .chain(list)
                .collect(),
            components: &[
                "accept",
                "content-digest",
                "content-digest;key=\"sha-256\"",
                "x-empty",
                "x-folded",
                "@authority",
            ],
            for_node: true,
        },
        Case {
            name: "forms that the package in JavaScript does not know",
            method: "POST",
            authority: "example.com",
            target: "/orders?fa%C3%A7ade=a+b%7E*&empty=",
            status: None,
            fields: vec![
                host("example.com"),
                ("Priority", "u=1,   i".to_owned()),
                ("X-Lines", "a, b".to_owned()),
                ("X-Lines", "c".to_owned()),
            ],
            components: &[
                "@query-param;name=\"fa%C3%A7ade\"",
                "@query-param;name=\"empty\"",
                "priority;sf",
                "priority;key=\"i\"",
                "x-lines;bs",
                "x-lines",
            ],
            for_node: false,
        },
        Case {
            name: "a response bound to its request",
            method: "PUT",
            authority: "example.com",
            target: "/orders/7?x",
            status: Some(503),
            fields: vec![("Content-Digest", digest)],
            components: &[
                "@status",
                "content-digest",
                "@method;req",
                "@authority;req",
                "@path;req",
                "@query;req",
                "signature;req;key=\"earlier\"",
            ],
            for_node: true,
        },
    ]
}

impl Case {
    /// Calls with the message, whose own fields are these.
    fn with<T>(&self, fields: &[(&'static str, String)], call: impl FnOnce(Message<'_>) -> T) -> T {
        let asked = vec![("Host", self.authority.to_owned()), ("Signature", SIGNED_BEFORE.to_owned())];
        let own = if self.status.is_some() { asked.as_slice() } else { fields };
        let request = Request::new(self.method, "https", self.authority, self.target, &own);
        match self.status {
            None => call(Message::Request(&request)),
            Some(status) => call(Message::Response(&Response { status, fields: &fields, request: Some(&request) })),
        }
    }

    /// The message as the peers want it.
    fn described(&self, fields: &[(&'static str, String)]) -> Value {
        let url = format!("https://{}{}", self.authority, self.target);
        let request = |fields: &[(&'static str, String)]| json!({"method": self.method, "url": url, "target": self.target, "fields": fields});
        match self.status {
            None => request(fields),
            Some(status) => {
                let asked = vec![("Host", self.authority.to_owned()), ("Signature", SIGNED_BEFORE.to_owned())];
                json!({"status": status, "fields": fields, "request": request(&asked)})
            }
        }
    }

    fn job(&self, what: &str, pair: &Pair, fields: &[(&'static str, String)]) -> Value {
        let identifiers = Identifiers::new(self.components).expect("components");
        let spelled: Vec<_> = identifiers.components().map(|component| component.identifier().to_owned()).collect();
        let named = identifiers.components().map(|component| {
            let mut parameters = serde_json::Map::new();
            if component.is_of_request() {
                parameters.insert("req".to_owned(), json!(true));
            }
            if let Some(key) = component.key() {
                parameters.insert("key".to_owned(), json!(key));
            }
            json!({"name": component.name(), "parameters": parameters})
        });
        json!({
            "do": what, "algorithm": pair.algorithm.name(), "key": pair.told, "message": self.described(fields),
            "components": spelled, "named": named.collect::<Vec<_>>(), "label": LABEL, "created": CREATED,
        })
    }
}

/// A key in both forms, and as the peers want it.
struct Pair {
    algorithm: Algorithm,
    signing: SigningKey,
    verifying: VerifyingKey,
    told: Value,
}

/// The test keys of RFC 9421, appendix B.1.
fn pairs() -> Vec<Pair> {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../spec/vectors/http-signatures.json")).expect("JSON");
    let keys = vectors["keys"].as_object().expect("keys");
    let pair = |key: &Value| {
        let algorithm = Algorithm::named(key["algorithm"].as_str().expect("a name")).expect("known");
        if let Some(secret) = key["secret_base64"].as_str() {
            let bytes = STANDARD.decode(secret).expect("base64");
            let (signing, verifying) = (SigningKey::hmac(&bytes), VerifyingKey::hmac(&bytes));
            let (signing, verifying) = (signing.expect("a key"), verifying.expect("a key"));
            return Pair { algorithm, signing, verifying, told: json!({"secret": secret}) };
        }
        let (public, private) = (key["public_pem"].as_str().expect("PEM"), key["private_pem"].as_str().expect("PEM"));
        Pair {
            algorithm,
            signing: SigningKey::from_pem(private, algorithm).expect("a key"),
            verifying: VerifyingKey::from_pem(public, algorithm).expect("a key"),
            told: json!({"public": public, "private": private, "jwk": key["private_jwk"]}),
        }
    };
    keys.values().map(pair).collect()
}

/// Gives all jobs to a peer at once.
pub(crate) fn ask(mut peer: Command, jobs: &[Value]) -> Vec<Value> {
    let mut child = peer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut input = child.stdin.take().expect("piped");
    let text = serde_json::to_string(jobs).expect("JSON");
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("ends");
    writing.join().expect("ends").expect("written");
    assert!(output.status.success(), "the peer failed");
    let results: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(results.len(), jobs.len());
    results
}

/// The package in Python.
pub(crate) fn in_python() -> Command {
    let mut command = Command::new(python());
    command.args(["-c", include_str!("peer.py")]);
    command
}

/// The package in JavaScript.
pub(crate) fn in_javascript() -> Command {
    let mut command = Command::new("node");
    // What is imported is looked for from the working directory.
    command.current_dir(node()).args(["--input-type=module", "--eval", include_str!("peer.mjs")]);
    command
}

/// The cases for a peer, each with each key.
fn meetings<'a>(cases: &'a [Case], pairs: &'a [Pair], is_node: bool) -> Vec<(&'a Case, &'a Pair)> {
    let known = cases.iter().filter(|case| case.for_node || !is_node);
    known.flat_map(|case| pairs.iter().map(move |pair| (case, pair))).collect()
}

/// What is signed here, the peer verifies, and refuses once it has been changed.
fn is_verified_there(peer: fn() -> Command, is_node: bool) {
    let (cases, pairs) = (cases(), pairs());
    let meetings = meetings(&cases, &pairs, is_node);
    let mut jobs = Vec::new();
    for (case, pair) in &meetings {
        let signer = Signer::new(LABEL, case.components).expect("components");
        let signer = signer.keyid("k").tag("tests").naming_algorithm();
        let stamp = Stamp { created: Some(CREATED), nonce: Some("a \"nonce\""), ..Stamp::default() };
        let signed =
            case.with(&case.fields, |message| signer.sign(message, &stamp, &pair.signing, &KnownFields::STANDARD));
        let signed = signed.expect(case.name);
        let mut fields = case.fields.clone();
        fields.push(("Signature-Input", signed.signature_input));
        fields.push(("Signature", signed.signature));
        jobs.push(case.job("verify", pair, &fields));
        let input = fields.len() - 2;
        fields[input].1 = fields[input].1.replace("created=1", "created=2");
        jobs.push(case.job("verify", pair, &fields));
    }
    let results = ask(peer(), &jobs);
    for ((case, pair), answers) in meetings.iter().zip(results.chunks(2)) {
        assert_eq!(answers[0], json!({"labels": [LABEL]}), "{} by {}", case.name, pair.algorithm);
        assert!(answers[1]["error"].is_string(), "changed: {} by {}", case.name, pair.algorithm);
    }
}

/// What the peer signs is verified here, and refused once it has been changed.
fn is_verified_here(peer: fn() -> Command, is_node: bool) {
    let (cases, pairs) = (cases(), pairs());
    let meetings = meetings(&cases, &pairs, is_node);
    let jobs: Vec<_> = meetings.iter().map(|(case, pair)| case.job("sign", pair, &case.fields)).collect();
    for ((case, pair), signed) in meetings.iter().zip(ask(peer(), &jobs)) {
        let name = format!("{} by {}", case.name, pair.algorithm);
        let value = |name: &str| signed[name].as_str().unwrap_or_else(|| panic!("{}: {signed}", case.name)).to_owned();
        let mut fields = case.fields.clone();
        fields.push(("Signature-Input", value("signature-input")));
        fields.push(("Signature", value("signature")));
        let signatures = Signatures::parse(&fields, &Limits::default()).expect(&name);
        let signature = signatures.get(LABEL).expect(&name);
        let parameters = signature.parameters().expect(&name);
        assert_eq!((parameters.created, parameters.keyid.as_deref()), (Some(CREATED), Some("k")), "{name}");
        assert_eq!(parameters.nonce.as_deref(), Some("a \"nonce\""), "{name}");
        let base = case.with(&fields, |message| signature.base(message, &KnownFields::STANDARD)).expect(&name);
        assert_eq!(signature.verify(&base, &pair.verifying), Ok(()), "{name}");
        let position = fields.len() - 2;
        fields[position].1 = fields[position].1.replace("tag=\"tests\"", "tag=\"texts\"");
        let signatures = Signatures::parse(&fields, &Limits::default()).expect(&name);
        let changed = signatures.get(LABEL).expect(&name);
        let base = case.with(&fields, |message| changed.base(message, &KnownFields::STANDARD)).expect(&name);
        assert!(changed.verify(&base, &pair.verifying).is_err(), "changed: {name}");
    }
}

#[test]
fn a_package_in_python_verifies_what_is_signed_here() {
    is_verified_there(in_python, false);
}

#[test]
fn what_a_package_in_python_signs_is_verified_here() {
    is_verified_here(in_python, false);
}

#[test]
fn a_package_in_javascript_verifies_what_is_signed_here() {
    is_verified_there(in_javascript, true);
}

#[test]
fn what_a_package_in_javascript_signs_is_verified_here() {
    is_verified_here(in_javascript, true);
}
