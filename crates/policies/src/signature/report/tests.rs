//! Reports: every single change is named, mistakes are found, and nothing is shown that must not be.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use portcullis_core::body::Body;
use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Call, Dialect, Response, RouteFacts};
use portcullis_core::dry_run::DryRun;
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::memory::ManualClock;
use portcullis_core::message::{FieldName, HasFields};
use portcullis_core::model::{Client, ClientSecret, Label, LeastHmac, SecretUse, SecretUses, Service, ServiceId};
use portcullis_core::policy::Pipeline;
use portcullis_core::signature_report::{SignatureReport, SignatureVerdict};
use portcullis_signing::fomalhaut::{self, Algorithm, Canonical, Head, SigningKey};
use portcullis_signing::http::{
    self as standard, ContentDigest, DigestAlgorithm, KnownFields, Limits, Signatures, Stamp,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::credential::{Verification, Verifier as _};
use crate::signature::settings::Settings;
use crate::signature::verifying::Verify;
use crate::signed::dialect;
use crate::{Parts, RouteEnd, compile, testing};

const SECRET: &str = "a secret of sixteen and more bytes";
const NOW: u64 = 1_700_000_000;

/// Parts that know the client `shop` with one secret.
async fn parts(uses: SecretUses, least_algorithm: LeastHmac) -> Arc<Parts> {
    let parts = Parts::for_dry_run("http://gate", Arc::new(ManualClock::at(NOW))).await.expect("keys");
    let shop: Label = "shop".parse().expect("a name");
    let client = Client { access_key: Some("abcd".to_owned()), least_algorithm, ..Client::default() };
    let mut entries = parts.directory.copy();
    entries.set_client(&shop, Some(client));
    let kept = ClientSecret { sealed: String::new(), uses, created_at: 1, not_after: None };
    entries.set_secret(&shop, "one", Some(LiveSecret::new("one", &kept, SECRET.into())));
    parts.directory.publish(entries);
    Arc::new(parts)
}

fn usual() -> Arc<Parts> {
    parts(SecretUses::all(), LeastHmac::default()).now_or_never().expect("nothing waits")
}

/// A request before it is signed.
#[derive(Debug, Clone)]
struct Message {
    method: String,
    target: String,
    host: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    fn of(form: Form) -> Self {
        let names = dialect(form);
        let fields = [
            (names.client_id(), "abcd".to_owned()),
            (names.timestamp(), NOW.to_string()),
            (names.nonce(), "0.5".to_owned()),
            (names.encrypt_type(), "raw".to_owned()),
        ];
        Self {
            method: "POST".to_owned(),
            target: "/orders/v1/a%20b?x=1".to_owned(),
            host: "gate".to_owned(),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            body: br#"{"b": 1, "a": 2}"#.to_vec(),
        }
    }

    fn without_fields() -> Self {
        Self { fields: vec![("x-tenant".to_owned(), "acme".to_owned())], ..Self::of(Form::Fo) }
    }

    fn canonical(&self, form: Form) -> Canonical {
        let (method, target, host) = (self.method.as_bytes(), self.target.as_bytes(), self.host.as_bytes());
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Canonical::request(dialect(form), Head { method, target, host }, fields).expect("a string to sign")
    }

    /// The string to sign, with the body.
    fn string(&self, form: Form) -> Vec<u8> {
        [self.canonical(form).as_str().as_bytes(), &self.body].concat()
    }

    /// The signature of fomalhaut's dialect.
    fn signature(&self, form: Form) -> String {
        let algorithm = if form == Form::Fo { Algorithm::HmacSha1 } else { Algorithm::HmacSha256OfSha1 };
        let key = SigningKey::new(SECRET.as_bytes()).expect("a secret");
        key.sign(algorithm, &self.canonical(form), &self.body).to_text()
    }

    /// The fields with a signature by RFC 9421, and the base of it.
    fn standard(&self, created: i64) -> (Vec<(String, String)>, String) {
        let digest = ContentDigest::of(&self.body, DigestAlgorithm::Sha256).to_string();
        let mut fields = self.fields.clone();
        fields.push(("content-digest".to_owned(), digest));
        let components = ["@method", "@authority", "@path", "@query", "x-tenant", "content-digest"];
        let request = standard::Request::new(&self.method, "http", &self.host, &self.target, &fields);
        let signer = standard::Signer::new("sig1", &components).expect("components").keyid("abcd");
        let key = standard::SigningKey::hmac(SECRET.as_bytes()).expect("a key");
        let stamp = Stamp { created: Some(created), ..Stamp::default() };
        let signed = signer.sign(&request, &stamp, &key, &KnownFields::STANDARD).expect("signed");
        let mut all = fields.clone();
        all.push(("signature-input".to_owned(), signed.signature_input));
        all.push(("signature".to_owned(), signed.signature));
        let signatures = Signatures::parse(&all, &Limits::default()).expect("signatures");
        let base = signatures.get("sig1").expect("one").base(&request, &KnownFields::STANDARD).expect("a base");
        (all, base.as_str().to_owned())
    }

    /// The call with these fields, as the door makes it.
    fn call(&self, form: Option<Form>, fields: &[(String, String)]) -> Call {
        let kept: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut call = testing::call(&self.method, path, if form.is_none() { &kept } else { &[] });
        call.request.query = Some(query.as_bytes().to_vec().into());
        call.request.body = Body::full(self.body.clone());
        call.raw.target = self.target.parse().expect("a target");
        let mut say = |name: &str, value: &str| {
            call.raw.removed.push((name.parse::<FieldName>().expect("a name"), value.parse().expect("a value")));
        };
        say("host", &self.host);
        if let Some(form) = form {
            kept.iter().for_each(|(name, value)| say(name, value));
            call.dialect = Dialect::Fomalhaut(form);
        }
        call
    }

    /// The call in one of fomalhaut's dialects with this signature.
    fn signed(&self, form: Form, signature: &str) -> Call {
        let mut fields = self.fields.clone();
        fields.push((dialect(form).signature().to_owned(), signature.to_owned()));
        self.call(Some(form), &fields)
    }
}

/// What is reported of a call that is tried, with the client's own string.
fn report(parts: &Arc<Parts>, mut call: Call, theirs: Option<&[u8]>) -> Option<SignatureReport> {
    let verify = Verify { settings: Settings::default(), parts: Arc::clone(parts) };
    let mut dry_run = DryRun::default();
    dry_run.string_to_sign = theirs.map(|theirs| theirs.to_vec().into());
    call.claimed = parts.directory.read(|entries| entries.by_access_key("abcd").cloned());
    call.dry_run = Some(Box::new(dry_run));
    if let Ok(Verification::Wait(verified)) = verify.verify(&mut call) {
        let _ = verified.now_or_never().expect("nothing waits");
    }
    call.found.take()
}

/// What may differ of a message, and the name of the part.
fn changed(message: &Message, form: Option<Form>, which: usize, text: &str) -> Option<(Message, String)> {
    let mut other = message.clone();
    let part = match which {
        0 => {
            other.method.push('X');
            if form.is_some() { "method".to_owned() } else { "\"@method\"".to_owned() }
        }
        1 => {
            other.target.push_str(text);
            if form.is_some() { "target".to_owned() } else { "\"@query\"".to_owned() }
        }
        2 => {
            other.host.push_str(text);
            if form.is_some() { "host".to_owned() } else { "\"@authority\"".to_owned() }
        }
        3 => {
            other.body.extend_from_slice(text.as_bytes());
            if form.is_some() { "body".to_owned() } else { "\"content-digest\"".to_owned() }
        }
        4 => {
            let form = form?;
            let name = format!("{}z{text}", dialect(form).nonce());
            other.fields.push((name.clone(), text.to_owned()));
            name
        }
        which => {
            let at = which - 5;
            let name = other.fields.get(at / 2)?.0.clone();
            if at % 2 == 0 {
                other.fields[at / 2].1.push_str(text);
            } else if form.is_some() {
                other.fields.remove(at / 2);
            } else {
                return None;
            }
            if form.is_some() { name } else { format!("\"{name}\"") }
        }
    };
    Some((other, part))
}

proptest! {
    #[test]
    fn every_single_change_is_named(which in 0_usize..13, is_api: bool, text in "[a-z0-9]{1,40}") {
        let form = if is_api { Form::Api } else { Form::Fo };
        let message = Message::of(form);
        if let Some((other, part)) = changed(&message, Some(form), which, &text) {
            let call = message.signed(form, &other.signature(form));
            let report = report(&usual(), call, Some(&other.string(form))).expect("a report");
            prop_assert_eq!(report.verdict, SignatureVerdict::Differs);
            let difference = report.difference.expect("a difference");
            prop_assert_eq!(&difference.part, &part);
            prop_assert_ne!(&difference.gateway, &difference.client);
        }
    }

    #[test]
    fn every_single_change_is_named_by_the_standard(which in 0_usize..13, text in "[a-z0-9]{1,40}") {
        let message = Message::without_fields();
        let now = i64::try_from(NOW).expect("a time");
        let (own, _) = message.standard(now);
        if let Some((other, part)) = changed(&message, None, which, &text) {
            let (mut fields, base) = other.standard(now);
            // What is sent is the message; what is signed, the other one.
            for (name, value) in &mut fields {
                if !name.starts_with("signature") {
                    *value = own.iter().find(|(own, _)| own == name).expect("a field").1.clone();
                }
            }
            let report = report(&usual(), message.call(None, &fields), Some(base.as_bytes())).expect("a report");
            prop_assert_eq!(report.verdict, SignatureVerdict::Differs);
            prop_assert_eq!(report.difference.expect("a difference").part, part);
        }
    }

    #[test]
    fn whatever_the_client_sends_as_its_string_is_compared(theirs in proptest::collection::vec(any::<u8>(), 0..200)) {
        let message = Message::of(Form::Fo);
        let call = message.signed(Form::Fo, &message.signature(Form::Fo));
        let of_fo = report(&usual(), call, Some(&theirs)).expect("a report");
        prop_assert_eq!(of_fo.difference.is_some(), theirs != message.string(Form::Fo));
        let message = Message::without_fields();
        let (fields, base) = message.standard(i64::try_from(NOW).expect("a time"));
        let of_standard = report(&usual(), message.call(None, &fields), Some(&theirs)).expect("a report");
        prop_assert_eq!(of_standard.difference.is_some(), theirs != base.as_bytes());
    }
}

#[test]
fn a_signature_that_matches_is_reported_with_its_parts() {
    for form in [Form::Fo, Form::Api] {
        let message = Message::of(form);
        let theirs = message.string(form);
        let call = message.signed(form, &message.signature(form));
        let report = report(&usual(), call, Some(&theirs)).expect("a report");
        assert_eq!((report.verdict, report.difference), (SignatureVerdict::Matches, None));
        assert_eq!(report.hints, Vec::<String>::new());
        assert_eq!((&*report.keys[0], report.client.as_str()), ("one", "shop"));
        assert_eq!(report.string_to_sign, message.canonical(form).as_str());
        let names: Vec<_> = report.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names[..3], ["method", "target", "host"]);
        assert_eq!(report.body.expect("a body").bytes, message.body.len() as u64);
    }
    let message = Message::without_fields();
    let (fields, base) = message.standard(i64::try_from(NOW).expect("a time"));
    let report = report(&usual(), message.call(None, &fields), Some(base.as_bytes())).expect("a report");
    assert_eq!((report.verdict, report.difference), (SignatureVerdict::Matches, None));
    assert_eq!((report.string_to_sign, report.hints), (base, Vec::new()));
    assert_eq!((report.parts[0].name.as_str(), report.parts[0].value.as_str()), ("\"@method\"", "POST"));
}

#[test]
fn a_string_without_the_body_is_told_from_one_that_differs() {
    let message = Message::of(Form::Fo);
    let head = message.canonical(Form::Fo).as_str().as_bytes().to_vec();
    let without = Message { body: Vec::new(), ..message.clone() };
    let call = message.signed(Form::Fo, &without.signature(Form::Fo));
    let report = report(&usual(), call, Some(&head)).expect("a report");
    assert_eq!((report.verdict, report.difference), (SignatureVerdict::Differs, None));
    assert!(report.hints.iter().any(|hint| hint.contains("ends where the body begins")), "{:?}", report.hints);
}

#[test]
fn usual_mistakes_are_found_without_the_clients_string() {
    let hint = |message: &Message, signed: &Message| {
        let call = message.signed(Form::Fo, &signed.signature(Form::Fo));
        report(&usual(), call, None).expect("a report").hints.join("; ")
    };
    let sent = Message::of(Form::Fo);
    let with = |change: &dyn Fn(&mut Message)| {
        let mut other = sent.clone();
        change(&mut other);
        other
    };
    let body = |text: &str| with(&|message| message.body = text.into());
    for (signed, expected) in [
        (with(&|message| message.host = "gate:80".to_owned()), "the Host differs: the signature is over 'gate:80'"),
        (with(&|message| message.target = "/orders/v1/a%20b".to_owned()), "the target without the query"),
        (body(""), "an empty body"),
        (body("{\"b\": 1, \"a\": 2}\n"), "a line feed at its end"),
        (body(r#"{"b":1,"a":2}"#), "the JSON of the body in another encoding"),
        (body(r#"{"a": 2, "b": 1}"#), "the JSON of the body in another encoding"),
        (with(&|message| _ = message.fields.remove(3)), "'x-fo-encrypt-type' is sent and not signed"),
        (with(&|message| message.method = "PUT".to_owned()), "none of the usual mistakes"),
    ] {
        let found = hint(&sent, &signed);
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let encoded = with(&|message| message.target = "/orders/v1/%C3%BC".to_owned());
    // The path decoded, in ISO-8859-1 as the head of a message is read.
    let call = {
        let target = "/orders/v1/\u{fc}".chars().map(|c| u8::try_from(c).expect("Latin")).collect::<Vec<_>>();
        let head = Head { method: b"POST", target: &target, host: b"gate" };
        let fields = encoded.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let canonical = Canonical::request(fomalhaut::Dialect::Fo, head, fields).expect("a string");
        let key = SigningKey::new(SECRET.as_bytes()).expect("a secret");
        encoded.signed(Form::Fo, &key.sign(Algorithm::HmacSha1, &canonical, &encoded.body).to_text())
    };
    let found = report(&usual(), call, None).expect("a report").hints;
    assert!(found[0].contains("over the decoded target"), "{found:?}");
}

#[test]
fn mistakes_by_the_standard_are_found() {
    let now = i64::try_from(NOW).expect("a time");
    let sent = Message::without_fields();
    let hints = |fields: &[(String, String)]| {
        let report = report(&usual(), sent.call(None, fields), None).expect("a report");
        (report.verdict, report.difference, report.hints.join("; "))
    };
    let elsewhere = Message { host: "gate:8443".to_owned(), ..sent.clone() };
    let (verdict, _, found) = hints(&elsewhere.standard(now).0);
    assert_eq!(verdict, SignatureVerdict::Differs);
    assert!(found.contains("none of the usual mistakes"), "{found}");
    let elsewhere = Message { host: "localhost".to_owned(), ..sent.clone() };
    let found = hints(&elsewhere.standard(now).0).2;
    assert!(found.contains("the Host differs"), "{found}");
    let reencoded = Message { body: br#"{"b":1,"a":2}"#.to_vec(), ..sent.clone() };
    let (verdict, difference, found) = hints(&reencoded.standard(now).0);
    assert_eq!((verdict, difference.expect("a difference").part.as_str()), (SignatureVerdict::BodyDiffers, "body"));
    assert!(found.contains("the JSON of the body"), "{found}");
    let found = hints(&sent.standard(now - 700).0).2;
    assert!(found.contains("created 700 seconds ago"), "{found}");
    let plain: Vec<_> = sent.standard(now).0.into_iter().filter(|(name, _)| name != "x-tenant").collect();
    let (verdict, _, found) = hints(&plain);
    assert_eq!(verdict, SignatureVerdict::NotVerified);
    assert!(found.contains("a component that is signed is missing"), "{found}");
}

#[test]
fn clocks_secrets_and_algorithms_are_named() {
    let message = Message::of(Form::Fo);
    let late = Message { fields: message.fields.clone(), ..message.clone() };
    let mut late = late;
    late.fields[1].1 = (NOW - 700).to_string();
    let report_of = |parts: &Arc<Parts>, message: &Message| {
        report(parts, message.signed(Form::Fo, &message.signature(Form::Fo)), None).expect("a report")
    };
    let found = report_of(&usual(), &late);
    assert_eq!(found.verdict, SignatureVerdict::Matches, "the signature itself is right");
    assert_eq!(found.hints, ["the time stamp is 700 s behind the gateway's clock, and 600 s are allowed"]);

    let sealing = parts([SecretUse::Seal].into_iter().collect(), LeastHmac::default());
    let found = report_of(&sealing.now_or_never().expect("nothing waits"), &message);
    assert_eq!((found.verdict, found.keys.len()), (SignatureVerdict::NotVerified, 0));
    assert_eq!(found.hints, ["the client has no live secret with the use 'sign'"]);

    let strict = parts(SecretUses::all(), LeastHmac::Sha256).now_or_never().expect("nothing waits");
    let found = report_of(&strict, &message);
    assert!(found.hints[0].contains("'least_algorithm' of the client is sha256"), "{:?}", found.hints);

    let mut unsigned = message.call(Some(Form::Fo), &message.fields);
    unsigned.request.body = Body::empty();
    let found = report(&usual(), unsigned, None).expect("a report");
    assert_eq!(found.verdict, SignatureVerdict::NoSignature);
    assert!(found.string_to_sign.starts_with("POST\n/orders"));
}

#[test]
fn credentials_are_not_shown() {
    let mut message = Message::of(Form::Fo);
    message.fields.push(("x-fo-access-token".to_owned(), "sesame".to_owned()));
    let mut theirs = message.clone();
    theirs.fields.last_mut().expect("a field").1 = "barley!".to_owned();
    let call = message.signed(Form::Fo, &theirs.signature(Form::Fo));
    let found = report(&usual(), call, Some(&theirs.string(Form::Fo))).expect("a report");
    let difference = found.difference.clone().expect("a difference");
    assert_eq!(difference.part, "x-fo-access-token");
    assert_eq!((difference.gateway.as_deref(), difference.client.as_deref()), (Some("[6 bytes]"), Some("[7 bytes]")));
    let shown = format!("{found:?}");
    assert!(shown.contains("x-fo-access-token: [6 bytes]"), "{shown}");
    assert!(!shown.contains("sesame") && !shown.contains("barley") && !shown.contains(SECRET), "{shown}");
    let right = message.signature(Form::Fo);
    assert!(!shown.contains(&right), "the expected signature is shown");
}

/// Answers a call on a route with this policy.
async fn answered(parts: &Arc<Parts>, require: Value, settings: Value, mut call: Call) -> Response {
    let id: ServiceId = "orders/v1".parse().expect("a service");
    let mut service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    service.policies.insert("signature".to_owned(), settings);
    service.require = serde_json::from_value(require).expect("alternatives");
    let steps =
        compile("orders", None, &BTreeMap::new(), RouteEnd::Service(&id), &service, parts).expect("good settings");
    let facts = Arc::new(RouteFacts { name: "orders".into(), service: Some(id), ..RouteFacts::default() });
    call.route = Some(Arc::clone(&facts));
    Pipeline::sharing(facts, steps, testing::fine()).run(&mut call).await
}

#[tokio::test]
async fn an_answer_has_the_string_only_where_the_route_says_so() {
    let parts = parts(SecretUses::all(), LeastHmac::default()).await;
    let shop = || parts.directory.read(|entries| entries.by_access_key("abcd").cloned());
    let message = Message::of(Form::Fo);
    let wrong = Message { host: "other".to_owned(), ..message.clone() }.signature(Form::Fo);
    let right = message.signature(Form::Fo);
    let late = Message { host: "gate".to_owned(), ..message.clone() };
    let told = |response: &Response| {
        response.fields().text(crate::signed::field("x-portcullis-string-to-sign")).map(str::to_owned)
    };
    let (only, debug) = (json!([["signature"]]), json!({"debug_signatures": true}));
    let call = |signature: &str, known: bool| {
        let mut call = message.signed(Form::Fo, signature);
        call.claimed = shop().filter(|_| known);
        call
    };

    let response = answered(&parts, only.clone(), debug.clone(), call(&wrong, true)).await;
    let text = STANDARD.decode(told(&response).expect("the string")).expect("base64");
    assert_eq!(text, message.canonical(Form::Fo).as_str().as_bytes(), "without the body");

    for (settings, signature, known) in
        [(json!({}), &wrong, true), (debug.clone(), &right, true), (debug.clone(), &wrong, false)]
    {
        let response = answered(&parts, only.clone(), settings.clone(), call(signature, known)).await;
        assert_eq!(told(&response), None, "{settings} {known}");
    }
    let mut expired = late.clone();
    expired.fields[1].1 = (NOW - 7_000).to_string();
    let mut expired = expired.signed(Form::Fo, &right);
    expired.claimed = shop();
    assert!(told(&answered(&parts, only.clone(), debug.clone(), expired).await).is_some(), "its time");

    // Another credential lets the call in.
    let other = json!([["signature"], ["api_key"]]);
    let mut both = call(&wrong, true);
    let key = portcullis_core::directory::KeyOwner::Client("shop".parse().expect("a name"));
    let mut entries = parts.directory.copy();
    entries.set_key(portcullis_identity::hash_key("a key"), Some(key));
    parts.directory.publish(entries);
    both.request.fields_mut().set(portcullis_core::message::names::X_API_KEY, "a key".parse().expect("a value"));
    let response = answered(&parts, other, debug.clone(), both).await;
    assert_eq!(told(&response), None, "{}", response.status());

    let mut long = message.clone();
    long.fields.push(("x-fo-version".to_owned(), "v".repeat(9_000)));
    let mut long = long.signed(Form::Fo, &wrong);
    long.claimed = shop();
    let shown = told(&answered(&parts, only, debug.clone(), long).await).expect("the string");
    assert_eq!((shown.len(), shown.ends_with(";cut")), (8_192 + 4, true));

    let message = Message::without_fields();
    let (fields, base) = message.standard(i64::try_from(NOW).expect("a time"));
    let mut changed = message.clone();
    changed.method = "PUT".to_owned();
    let response = answered(&parts, json!([["signature"]]), debug, changed.call(None, &fields)).await;
    let text = STANDARD.decode(told(&response).expect("the string")).expect("base64");
    assert_eq!(String::from_utf8(text).expect("text"), base.replace("POST", "PUT"));
}

#[test]
fn lines_of_a_base_that_differ_are_told_from_missing_ones() {
    let message = Message::without_fields();
    let (fields, base) = message.standard(i64::try_from(NOW).expect("a time"));
    let difference = |theirs: &str| {
        let report = report(&usual(), message.call(None, &fields), Some(theirs.as_bytes())).expect("a report");
        let found = report.difference.expect("a difference");
        (found.part, found.gateway, found.client)
    };
    let text = |text: &str| Some(text.to_owned());
    let told = |part: &str, gateway, client| (part.to_owned(), gateway, client);
    let other = base.replace("\"x-tenant\": acme", "\"x-tenant\": other");
    assert_eq!(difference(&other), told("\"x-tenant\"", text("acme"), text("other")));
    let missing = base.replace("\"x-tenant\": acme\n", "");
    assert_eq!(difference(&missing), told("\"x-tenant\"", text("acme"), None));
    let more = base.replace("\"x-tenant\": acme", "\"x-more\": 1\n\"x-tenant\": acme");
    assert_eq!(difference(&more), told("\"x-more\"", None, text("1")));
    assert_eq!(difference(&format!("{base}\n")), told("end", None, text("\\n")));
}
