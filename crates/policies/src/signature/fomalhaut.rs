//! Signatures in fomalhaut's dialects: an HMAC over method, target, some fields and the body.

use std::sync::Arc;

use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Call, ClientEntry, SignedBy};
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::message::names::{ACCEPT_ENCODING, HOST, X_FORWARDED_HOST};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::model::{LeastHmac, SecretUse};
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_signing::fomalhaut::{Algorithm, Canonical, Head, Signature, Signing};

use super::verifying::{Passed, Verify, accept, invalid};
use crate::signed::{Said, Signed, dialect, said, target};
use crate::windows::Scheme;

/// Digits of a time stamp at most.
const STAMP_DIGITS: usize = 12;

/// Verifies a call, in the order in which fomalhaut looks: the client, the time, the signature; then that it is here for the
/// first time. What can be told without the body is told before the body is read.
pub(super) async fn verify(policy: &Verify, form: Form, call: &mut Call) -> Result<(), Refusal> {
    let client = call.claimed.clone().ok_or(Refusal::UnknownClient)?;
    if !client.client.enabled {
        return Err(Refusal::DisabledClient);
    }
    if let Some(signed) = call.found.shared::<Signed>() {
        // Another alternative of the route has verified it already.
        return note(call, signed);
    }
    let (stamp, window) = (stamp(form, call)?, policy.settings.window(form));
    timely(stamp, window, policy.parts.clock.unix_millis())?;
    let signature = signature(form, call, &client)?;
    let whole = policy.parts.holding.request(call).await?;
    // The body may have been long on its way: what counts is what is known now.
    let now = policy.parts.clock.unix_millis();
    timely(stamp, window, now)?;
    let client = match call.claimed_at == Some(policy.parts.directory.moment()) {
        true => client,
        false => {
            let client = policy.parts.directory.read(|entries| entries.client(&client.name).cloned());
            client.ok_or(Refusal::DisabledClient)?
        }
    };
    let canonical = canonical(form, call).map_err(invalid)?;
    let secrets = client.secrets_for(SecretUse::Sign, now);
    let secret = proved(secrets, &canonical, whole.bytes(), &signature).cloned();
    let secret = secret.ok_or_else(|| invalid(unproved(&client, now)))?;
    let passed = Passed {
        scheme: match form {
            Form::Fo => Scheme::Fo,
            Form::Api => Scheme::Api,
        },
        client: client.name.as_str(),
        proof: signature.mac(),
        stamp,
    };
    policy.once(call.effects(), &passed).await?;
    if call.effects().is_some() {
        secret.touch(now);
    }
    let method = call.request.method.clone();
    let signed = Signed { form, client: Arc::clone(&client), secret, algorithm: signature.algorithm(), method };
    let signed = Arc::new(signed);
    call.found.share(Arc::clone(&signed));
    let names = dialect(form);
    let asks = names.asks_for_signature(said(call, names.sign_response()).once().map(FieldValue::as_bytes));
    if asks || said(call, names.encrypt_type()) != Said::Never {
        // What comes back is signed or sealed as the client will read it.
        call.request.fields_mut().set(ACCEPT_ENCODING, FieldValue::from_static("identity"));
    }
    note(call, signed)
}

fn note(call: &mut Call, signed: Arc<Signed>) -> Result<(), Refusal> {
    let client = Arc::clone(&signed.client);
    let by = SignedBy { client: client.name.clone(), key: Arc::clone(&signed.secret.id) };
    call.caller.admitted_by.signed = Some(by);
    call.notes.share(signed);
    accept(call, client)
}

/// Whether a stamp in seconds is within its window at a time in milliseconds.
fn timely(stamp: u64, window: u64, now: u64) -> Result<(), Refusal> {
    let now = now / 1_000;
    if stamp.abs_diff(now) <= window {
        return Ok(());
    }
    let private = format!("signed at {stamp}, and it is {now} here: {window} s are allowed");
    Err(Refusal::SignatureExpired { private: private.into() })
}

/// When the request says it was signed, in Unix seconds.
pub(super) fn stamp(form: Form, call: &Call) -> Result<u64, Refusal> {
    let name = dialect(form).timestamp();
    let said = said(call, name);
    if said == Said::Never {
        return Err(Refusal::malformed("missing_timestamp", format!("a signed request says its time in '{name}'")));
    }
    let text = said.once().and_then(FieldValue::text).unwrap_or_default();
    let is_number = (1..=STAMP_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let stamp = text.parse().ok().filter(|_| is_number);
    stamp.ok_or_else(|| Refusal::malformed("bad_timestamp", format!("'{name}' is a whole number of Unix seconds")))
}

/// The signature that is shown, if the client may sign in this way.
fn signature(form: Form, call: &Call, client: &ClientEntry) -> Result<Signature, Refusal> {
    let name = dialect(form).signature();
    let said = said(call, name);
    if said == Said::Never {
        return Err(Refusal::MissingCredential(Credential::Signature));
    }
    let text = said.once().map(FieldValue::as_bytes).unwrap_or_default();
    let signature = Signature::read(dialect(form), text).map_err(|error| invalid(error.to_string()))?;
    if signature.algorithm() != Algorithm::HmacSha256 && client.client.least_algorithm > LeastHmac::Sha1 {
        return Err(invalid("a signature that rests on SHA-1, and 'least_algorithm' of the client is sha256"));
    }
    Ok(signature)
}

/// The string that is signed, but for the body.
pub(super) fn canonical(form: Form, call: &Call) -> Result<Canonical, &'static str> {
    let target = target(call);
    canonical_of(form, call, target.as_bytes(), host(call), None)
}

/// The same with another target and host, or without one of the fields.
pub(super) fn canonical_of(
    form: Form,
    call: &Call,
    target: &[u8],
    host: &[u8],
    without: Option<&str>,
) -> Result<Canonical, &'static str> {
    let head = Head { method: call.request.method.as_str().as_bytes(), target, host };
    let kept = call.request.fields().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let removed = call.raw.removed.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let fields = kept.chain(removed).filter(|(name, _)| Some(*name) != without.map(str::as_bytes));
    Canonical::request(dialect(form), head, fields).map_err(|_| "fields that cannot be signed")
}

/// The host as the client has written it. Where a proxy whose word counts says which that was, it is what the proxy says.
pub(super) fn host(call: &Call) -> &[u8] {
    let removed = |wanted| {
        let mut found = call.raw.removed.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value);
        found.next().map(FieldValue::as_bytes)
    };
    let sent = removed(HOST).or_else(|| call.raw.target.authority().map(|authority| authority.as_str().as_bytes()));
    let is_meant =
        |host: &[u8]| portcullis_core::canonical::Host::parse(host).is_ok_and(|host| host == call.request.host);
    // Whatever else is said, what is verified is the host that is decided on.
    let said = sent.filter(|host| is_meant(host)).or_else(|| removed(X_FORWARDED_HOST).filter(|host| is_meant(host)));
    said.unwrap_or(call.request.host.as_str().as_bytes())
}

/// The first of some secrets that has made a signature: over all fields of the dialect, or, where a proxy in front has added
/// `X-Forwarded-*`, over those that clients write.
pub(super) fn proved<'a>(
    secrets: impl Iterator<Item = &'a Arc<LiveSecret>>,
    canonical: &Canonical,
    body: &[u8],
    signature: &Signature,
) -> Option<&'a Arc<LiveSecret>> {
    let dashed = canonical.without_forwarded();
    secrets.into_iter().find(|secret| {
        let is_made_of = |canonical| {
            let signing = Signing::start(secret.text.expose().as_bytes(), signature.algorithm(), canonical);
            signing.is_ok_and(|mut signing| {
                signing.update(body);
                signing.verify(signature).is_ok()
            })
        };
        is_made_of(canonical) || dashed.as_ref().is_some_and(is_made_of)
    })
}

/// Why no secret has made a signature, for the operator.
fn unproved(client: &ClientEntry, now: u64) -> &'static str {
    match client.secrets_for(SecretUse::Sign, now).next() {
        Some(_) => "no live secret of the client gives this signature",
        None => "the client has no live secret that may sign",
    }
}
