//! Reports on HTTP message signatures (RFC 9421).

use std::borrow::Cow;

use portcullis_core::call::Call;
use portcullis_core::message::names::CONTENT_DIGEST;
use portcullis_core::message::{HasFields, Value};
use portcullis_core::signature_report::{PartDifference, SignatureReport, SignatureVerdict, SignedPart};
use portcullis_signing::http::{Base, ContentDigest, DigestAlgorithm, KnownFields, Line, Request};

use super::{difference, masked, mistakes, no_idea, obstacles, part, signed_body};
use crate::signature::http::{AsSent, Chosen, Origin, chosen};
use crate::signature::verifying::Verify;

/// The signature base, without credentials.
pub(super) fn string_to_sign(policy: &Verify, call: &Call) -> Option<String> {
    let chosen = chosen(policy, call, policy.parts.clock.unix_millis()).ok()?;
    let attempt = Attempt { call, chosen: &chosen, origin: Origin::of(call, &policy.parts) };
    let base = chosen.client.client.enabled.then(|| attempt.base(&attempt.origin, &attempt.origin.target(call)))??;
    Some(told(&base))
}

/// What was verified of a call.
pub(super) fn report(policy: &Verify, call: &Call, body: Option<&[u8]>) -> Option<SignatureReport> {
    let now = policy.parts.clock.unix_millis();
    let chosen = chosen(policy, call, now).ok()?;
    let attempt = Attempt { call, chosen: &chosen, origin: Origin::of(call, &policy.parts) };
    let base = attempt.base(&attempt.origin, &attempt.origin.target(call));
    let parameters = chosen.signature.parameters().ok();
    let is_covered = parameters.is_some_and(|parameters| parameters.covers("content-digest"));
    let lines = call.request.fields().all(CONTENT_DIGEST).map(Value::as_bytes);
    let digest = ContentDigest::parse(lines).ok().filter(|_| is_covered);
    let wrong_body = digest.as_ref().zip(body).filter(|(digest, body)| digest.check_content(body).is_err());
    let verdict = match &base {
        _ if chosen.signature.bytes().is_err() => SignatureVerdict::NoSignature,
        Some(base) if !chosen.keys.is_empty() => match (attempt.matches(base), wrong_body) {
            (false, _) => SignatureVerdict::Differs,
            (true, Some(_)) => SignatureVerdict::BodyDiffers,
            (true, None) => SignatureVerdict::Matches,
        },
        _ => SignatureVerdict::NotVerified,
    };
    let theirs = call.dry_run.as_ref().and_then(|dry_run| dry_run.string_to_sign.clone());
    let compared = base.as_ref().zip(theirs).map(|(ours, theirs)| compare(ours, &String::from_utf8_lossy(&theirs)));
    let mut hints = obstacles(&chosen.client, !chosen.keys.is_empty(), body);
    if base.is_none() {
        hints
            .push("no signature base can be made: a component that is signed is missing, or cannot be read".to_owned());
    }
    let seconds = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
    hints.extend(
        parameters.and_then(|own| policy.settings.times().check(own, seconds).err()).map(|why| why.to_string()),
    );
    let fields = AsSent(call);
    let target = attempt.origin.target(call);
    let request = attempt.request(&attempt.origin, &target, &fields);
    let has_content = body.is_none_or(|body| !body.is_empty());
    let uncovered = parameters.and_then(|own| policy.settings.coverage().check(own, &request, has_content).err());
    hints.extend(uncovered.map(|missing| missing.to_string()));
    match verdict {
        SignatureVerdict::Differs => match (attempt.mistake(), &compared) {
            (Some(found), _) => hints.push(found),
            (None, Some(Some(_))) => {}
            (None, compared) => hints.push(no_idea(b"", compared.is_some())),
        },
        SignatureVerdict::BodyDiffers => {
            let others = body.map(mistakes::bodies).unwrap_or_default();
            let is_signed = |other: &[u8]| digest.as_ref().is_some_and(|digest| digest.check_content(other).is_ok());
            hints.extend(others.into_iter().find(|other| is_signed(&other.signed)).map(|other| other.text));
        }
        _ => {}
    }
    let of_body = wrong_body.filter(|_| verdict == SignatureVerdict::BodyDiffers).map(|(digest, body)| {
        let algorithm = digest.algorithms().next().unwrap_or(DigestAlgorithm::Sha256);
        let (actual, said) = (ContentDigest::of(body, algorithm).to_string(), digest.to_string());
        difference("body", Some(&actual), Some(&said))
    });
    Some(SignatureReport {
        scheme: "rfc9421",
        verdict,
        client: chosen.client.name.clone(),
        keys: chosen.keys.iter().map(|key| key.id()).collect(),
        string_to_sign: base.as_ref().map(told).unwrap_or_default(),
        parts: base.as_ref().map(parts).unwrap_or_default(),
        body: body.map(signed_body),
        difference: compared.flatten().or(of_body),
        hints,
    })
}

/// The value of a line; of one with a credential, its length.
fn value<'a>(line: &Line<'a>) -> Cow<'a, str> {
    let name = line.identifier.trim_start_matches('"').split('"').next().unwrap_or_default();
    masked(name, line.value)
}

fn parts(base: &Base) -> Vec<SignedPart> {
    base.lines().map(|line| part(line.identifier, &value(&line))).collect()
}

fn told(base: &Base) -> String {
    let lines = base.lines().map(|line| format!("{}: {}", line.identifier, value(&line)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first difference from the client's own base.
fn compare(base: &Base, theirs: &str) -> Option<PartDifference> {
    let found = base.compare(theirs)?;
    let line =
        |text: &Option<String>| text.as_deref().map(|text| (Line::of(text).identifier.to_owned(), text.to_owned()));
    let (ours, client) = (line(&found.ours), line(&found.theirs));
    let own = |text: &str| value(&Line::of(text)).into_owned();
    Some(match (ours, client) {
        (Some((name, ours)), Some((other, client))) if name == other => {
            difference(&name, Some(&own(&ours)), Some(&own(&client)))
        }
        (Some((_, ours)), Some((other, client))) if theirs.split('\n').any(|line| line == ours) => {
            difference(&other, None, Some(&own(&client)))
        }
        (Some((name, ours)), _) => difference(&name, Some(&own(&ours)), None),
        (None, Some((other, _))) if other.is_empty() => difference("end", None, Some("\n")),
        (None, Some((other, client))) => difference(&other, None, Some(&own(&client))),
        (None, None) => difference("end", None, None),
    })
}

/// What is verified, and what is tried in its place.
struct Attempt<'a> {
    call: &'a Call,
    chosen: &'a Chosen,
    origin: Origin,
}

impl Attempt<'_> {
    fn request<'r>(&'r self, origin: &'r Origin, target: &'r str, fields: &'r AsSent<'r>) -> Request<'r> {
        Request::new(self.call.request.method.as_str(), &origin.scheme, &origin.authority, target, fields)
    }

    fn base(&self, origin: &Origin, target: &str) -> Option<Base> {
        let fields = AsSent(self.call);
        let request = self.request(origin, target, &fields);
        self.chosen.signature.base(&request, &KnownFields::STANDARD).ok()
    }

    fn matches(&self, base: &Base) -> bool {
        let mut keys = self.chosen.keys.iter().filter_map(|key| key.verifies());
        keys.any(|key| self.chosen.signature.verify(base, key).is_ok())
    }

    /// The first usual mistake that gives the signature.
    fn mistake(&self) -> Option<String> {
        let is_signed =
            |origin: &Origin, target: &str| self.base(origin, target).is_some_and(|base| self.matches(&base));
        let (authority, target) = (&self.origin.authority, self.origin.target(self.call));
        for scheme in ["http", "https"] {
            let hosts = mistakes::hosts(self.call, authority).into_iter();
            let hosts = hosts.map(|other| (other.signed, other.text)).chain([(authority.clone(), String::new())]);
            for (authority, text) in hosts {
                let base = self.origin.base.clone();
                if is_signed(&Origin { scheme: scheme.to_owned(), authority, base }, &target) {
                    let other = format!("the scheme differs: the signature is over '{scheme}'");
                    return Some(if text.is_empty() { other } else { text });
                }
            }
        }
        let mut targets = mistakes::targets(self.call, &target).into_iter();
        targets.find(|other| is_signed(&self.origin, &other.signed)).map(|other| other.text)
    }
}
