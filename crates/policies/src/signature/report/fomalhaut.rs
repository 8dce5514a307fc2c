//! Reports on signatures in fomalhaut's dialects.

use std::sync::Arc;

use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Call, ClientEntry};
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::message::FieldValue;
use portcullis_core::model::{LeastHmac, SecretUse};
use portcullis_core::signature_report::{PartDifference, SignatureReport, SignatureVerdict, SignedPart};
use portcullis_signing::fomalhaut::{Algorithm, Canonical, Part, Signature};

use super::{difference, masked, mistakes, no_idea, obstacles, part, signed_body};
use crate::signature::fomalhaut::{canonical, canonical_of, host, proved, stamp};
use crate::signature::verifying::Verify;
use crate::signed::{dialect, said, target};

/// The string that is signed, without what a proxy in front has added and without credentials.
pub(super) fn string_to_sign(form: Form, call: &Call) -> Option<String> {
    call.claimed.as_ref().filter(|client| client.client.enabled)?;
    canonical(form, call).ok().map(|canonical| told(&as_client_writes(&canonical)))
}

/// What was verified of a call.
pub(super) fn report(policy: &Verify, form: Form, call: &Call, body: Option<&[u8]>) -> Option<SignatureReport> {
    let client = call.claimed.as_ref()?;
    let now = policy.parts.clock.unix_millis();
    let secrets: Vec<_> = client.secrets_for(SecretUse::Sign, now).collect();
    let text = said(call, dialect(form).signature()).once().map(FieldValue::as_bytes);
    let signature = text.map(|text| Signature::read(dialect(form), text));
    let canonical = canonical(form, call).ok();
    let attempt = match (&signature, &canonical, body) {
        (Some(Ok(signature)), Some(canonical), Some(body)) if !secrets.is_empty() => {
            Some(Attempt { form, call, secrets: &secrets, canonical, body, signature })
        }
        _ => None,
    };
    let verdict = match (&signature, &attempt) {
        (None | Some(Err(_)), _) => SignatureVerdict::NoSignature,
        (_, None) => SignatureVerdict::NotVerified,
        (_, Some(attempt)) if attempt.matches(attempt.canonical, attempt.body) => SignatureVerdict::Matches,
        _ => SignatureVerdict::Differs,
    };
    let theirs = call.dry_run.as_ref().and_then(|dry_run| dry_run.string_to_sign.clone());
    let compared =
        canonical.as_ref().zip(theirs).map(|(ours, theirs)| compare(ours, body.unwrap_or_default(), &theirs));
    let mut hints = obstacles(client, !secrets.is_empty(), body);
    if let Some(Err(error)) = &signature {
        let name = dialect(form).signature();
        hints.push(format!("the field '{name}' cannot be read: {error}"));
    }
    if canonical.is_none() {
        hints.push("no string to sign can be made of the request: its fields cannot be signed".to_owned());
    }
    hints.extend(clock(policy, form, call, now));
    if let Some(Ok(signature)) = &signature {
        hints.extend(least_algorithm(client, signature));
    }
    if let (SignatureVerdict::Differs, Some(attempt)) = (verdict, &attempt) {
        let found = other_secret(client, attempt, now).or_else(|| attempt.mistake());
        match (found, &compared) {
            (Some(found), _) => hints.push(found),
            (None, Some(Compared { difference: Some(_), .. })) => {}
            (None, compared) => hints.push(no_idea(attempt.body, compared.is_some())),
        }
    }
    if compared.as_ref().is_some_and(|compared| compared.lacks_body) {
        hints.push("the client's string ends where the body begins: the body is part of what is signed".to_owned());
    }
    let shown = canonical.as_ref().map(as_client_writes);
    Some(SignatureReport {
        scheme: match form {
            Form::Fo => "fo",
            Form::Api => "api",
        },
        verdict,
        client: client.name.clone(),
        keys: secrets.iter().map(|secret| Arc::clone(&secret.id)).collect(),
        string_to_sign: shown.as_ref().map(told).unwrap_or_default(),
        parts: shown.as_ref().map(parts).unwrap_or_default(),
        body: body.map(signed_body),
        difference: compared.and_then(|compared| compared.difference),
        hints,
    })
}

/// The string without the fields that a proxy in front adds: both are taken.
fn as_client_writes(canonical: &Canonical) -> Canonical {
    canonical.without_forwarded().unwrap_or_else(|| canonical.clone())
}

/// Name and value of a line.
fn field(line: &str) -> (&str, &str) {
    line.split_once(": ").or_else(|| line.split_once(':')).unwrap_or((line, ""))
}

fn parts(canonical: &Canonical) -> Vec<SignedPart> {
    let head = [part("method", canonical.method()), part("target", canonical.target())];
    let fields = canonical.lines().map(|line| {
        let (name, value) = field(line);
        part(name, &masked(name, value))
    });
    head.into_iter().chain(fields).collect()
}

fn told(canonical: &Canonical) -> String {
    let mut text = String::with_capacity(canonical.as_str().len());
    for line in canonical.as_str().split_inclusive('\n') {
        let (name, value) = field(line.strip_suffix('\n').unwrap_or(line));
        match masked(name, value) {
            std::borrow::Cow::Borrowed(_) => text.push_str(line),
            std::borrow::Cow::Owned(masked) => text.push_str(&format!("{name}: {masked}\n")),
        }
    }
    text
}

/// What comes of comparing the client's string.
struct Compared {
    difference: Option<PartDifference>,
    /// It is the string of the gateway, without the body.
    lacks_body: bool,
}

fn compare(canonical: &Canonical, body: &[u8], theirs: &[u8]) -> Compared {
    let dashed = as_client_writes(canonical);
    let both = [canonical, &dashed];
    let lacks_body = !body.is_empty() && both.iter().any(|ours| ours.compare(b"", theirs).is_none());
    if lacks_body || both.iter().any(|ours| ours.compare(body, theirs).is_none()) {
        return Compared { difference: None, lacks_body };
    }
    // A client that signs what only proxies write is compared with the whole.
    let lines = || theirs.split(|byte| *byte == b'\n').skip(2);
    let is_forwarded = |line: &[u8]| line.starts_with(b"x-forwarded-");
    let ours = if lines().any(is_forwarded) { canonical } else { &dashed };
    let difference = ours.compare(body, theirs).map(|found| {
        let line = found.ours.as_deref().or(found.theirs.as_deref()).unwrap_or_default();
        let name = match found.part {
            Part::Field if line.contains(':') => field(line).0.trim().to_ascii_lowercase(),
            other => other.to_string(),
        };
        // Both have been escaped, cut and freed of credentials.
        let value = |line: Option<String>| match found.part {
            Part::Field => line.map(|line| field(&line).1.to_owned()),
            _ => line,
        };
        PartDifference {
            gateway: value(found.ours),
            client: value(found.theirs),
            offset: found.offset.map(|offset| offset as u64),
            ..difference(&name, None, None)
        }
    });
    Compared { difference, lacks_body }
}

/// What is verified, and what is tried in its place.
struct Attempt<'a> {
    form: Form,
    call: &'a Call,
    secrets: &'a [&'a Arc<LiveSecret>],
    canonical: &'a Canonical,
    body: &'a [u8],
    signature: &'a Signature,
}

impl Attempt<'_> {
    fn matches(&self, canonical: &Canonical, body: &[u8]) -> bool {
        proved(self.secrets.iter().copied(), canonical, body, self.signature).is_some()
    }

    /// The first usual mistake that gives the signature.
    fn mistake(&self) -> Option<String> {
        if self.body.len() > mistakes::MOST_BYTES {
            return None;
        }
        let target = target(self.call);
        let sent = String::from_utf8_lossy(host(self.call)).into_owned();
        let is_signed = |target: &[u8], host: &[u8], without: Option<&str>| {
            let other = canonical_of(self.form, self.call, target, host, without);
            other.is_ok_and(|other| self.matches(&other, self.body))
        };
        let hosts = || {
            let mut others = mistakes::hosts(self.call, &sent).into_iter();
            others.find(|other| is_signed(target.as_bytes(), other.signed.as_bytes(), None)).map(|other| other.text)
        };
        let targets = || {
            let mut others = mistakes::targets(self.call, &target).into_iter();
            others
                .find(|other| latin(&other.signed).is_some_and(|other| is_signed(&other, sent.as_bytes(), None)))
                .map(|other| other.text)
        };
        let bodies = || {
            let mut others = mistakes::bodies(self.body).into_iter();
            others.find(|other| self.matches(self.canonical, &other.signed)).map(|other| other.text)
        };
        let fields = || {
            let mut names = self.canonical.lines().map(|line| field(line).0).filter(|name| *name != "host");
            names.find(|name| is_signed(target.as_bytes(), sent.as_bytes(), Some(name))).map(|name| {
                format!("the field '{name}' is sent and not signed: its line is missing in what the client signs")
            })
        };
        hosts().or_else(targets).or_else(bodies).or_else(fields)
    }
}

/// A text in ISO-8859-1, as heads are read; none if it does not fit.
fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}

/// A secret that gives the signature and may not sign.
fn other_secret(client: &ClientEntry, attempt: &Attempt<'_>, now: u64) -> Option<String> {
    let others = client.secrets.iter().filter(|secret| !secret.is_good_for(SecretUse::Sign, now));
    let secret = proved(others, attempt.canonical, attempt.body, attempt.signature)?;
    let why = if secret.uses.contains(SecretUse::Sign) { "has expired" } else { "does not have the use 'sign'" };
    Some(format!("the secret '{}' gives this signature, and it {why}", secret.id))
}

fn clock(policy: &Verify, form: Form, call: &Call, now: u64) -> Option<String> {
    let (stamp, now, window) = (stamp(form, call).ok()?, now / 1_000, policy.settings.window(form));
    let (seconds, way) = (stamp.abs_diff(now), if stamp < now { "behind" } else { "ahead of" });
    (seconds > window)
        .then(|| format!("the time stamp is {seconds} s {way} the gateway's clock, and {window} s are allowed"))
}

fn least_algorithm(client: &ClientEntry, signature: &Signature) -> Option<String> {
    let is_below = signature.algorithm() == Algorithm::HmacSha1 && client.client.least_algorithm > LeastHmac::Sha1;
    is_below.then(|| {
        "the signature is HMAC-SHA1, and 'least_algorithm' of the client is sha256: sign with HMAC-SHA256".to_owned()
    })
}
