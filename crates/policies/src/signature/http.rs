//! HTTP message signatures (RFC 9421), with digests of the content (RFC 9530).

use std::sync::Arc;

use portcullis_core::call::{Call, ClientEntry, Response, SignedBy};
use portcullis_core::directory::Directory;
use portcullis_core::fields::known;
use portcullis_core::live_key::LiveKey;
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::message::names::{CONTENT_DIGEST, CONTENT_TYPE, SIGNATURE, SIGNATURE_INPUT};
use portcullis_core::message::{HasFields, Value};
use portcullis_core::model::{KeyAlgorithm, Label, SecretUse};
use portcullis_core::refusal::Refusal;
use portcullis_core::spellings::is_same;
use portcullis_identity::hash_all;
use portcullis_signing::http::{
    self as standard, Algorithm, Base, ContentDigest, DigestAlgorithm, KnownFields, Limits, Message, Parameters,
    Request, Signature, Signatures, Signer, SigningKey, Stamp, VerifyingKey,
};

use super::verifying::{Passed, Verify, accept, invalid, nonce, text};
use super::withheld::Withheld;
use crate::Parts;
use crate::signed::set_body;
use crate::windows::Scheme;

/// That a call has been verified by RFC 9421, and what its answer is bound to.
pub(super) struct SignedByStandard {
    client: Arc<ClientEntry>,
    by: Key,
    method: String,
    origin: Origin,
    target: String,
    label: String,
    /// The values of `Signature`, as they came: fields have gone to the service when the answer is signed.
    signatures: Vec<(&'static str, Vec<u8>)>,
}

/// What has verified a signature.
#[derive(Clone)]
pub(super) enum Key {
    Secret(Arc<LiveSecret>),
    Public(Arc<LiveKey>),
}

impl Key {
    pub(super) fn id(&self) -> Arc<str> {
        match self {
            Self::Secret(secret) => Arc::clone(&secret.id),
            Self::Public(key) => key.declared.id.shared(),
        }
    }

    /// Whether the client can still sign with it.
    fn is_still_of(&self, directory: &Directory, client: &Label, now: u64) -> bool {
        directory.read(|entries| {
            let Some(client) = entries.client(client) else { return false };
            match self {
                Self::Secret(secret) => client.secrets_for(SecretUse::Sign, now).any(|live| live.id == secret.id),
                Self::Public(key) => client.key(key.declared.id.as_str()).is_some(),
            }
        })
    }

    pub(super) fn verifies(&self) -> Option<&VerifyingKey> {
        let (prepared, make): (_, &dyn Fn() -> Option<VerifyingKey>) = match self {
            Self::Secret(secret) => (&secret.prepared, &|| VerifyingKey::hmac(secret.text.expose().as_bytes()).ok()),
            Self::Public(key) => (&key.prepared, &|| public_key(&key.declared).ok()),
        };
        prepared.get_or_init(make).as_ref()
    }
}

/// Reads a declared key, or says what is wrong with it.
pub(super) fn public_key(declared: &portcullis_core::model::ClientKey) -> Result<VerifyingKey, String> {
    let algorithm = match declared.algorithm {
        KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
        KeyAlgorithm::EcdsaP256Sha256 => Algorithm::EcdsaP256Sha256,
        KeyAlgorithm::RsaPssSha512 => Algorithm::RsaPssSha512,
    };
    let key = match (&declared.jwk, &declared.pem) {
        (Some(jwk), _) => VerifyingKey::from_jwk(&serde_json::Value::Object(jwk.clone()).to_string(), algorithm),
        (None, Some(pem)) => VerifyingKey::from_pem(pem, algorithm),
        (None, None) => return Err("expected one of 'jwk' and 'pem'".to_owned()),
    };
    key.map_err(|refused| refused.to_string())
}

/// Scheme and authority, as clients know this gateway.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) scheme: String,
    pub(super) authority: String,
    /// The path before that of the target, which a proxy in front takes away.
    pub(super) base: String,
}

impl Origin {
    /// The origin of the URL that the host of a call is known by from outside; of a host that has none, its own. What is
    /// signed for one host is never taken for another.
    pub(super) fn of(call: &Call, parts: &Parts) -> Self {
        let public = call.public_url.as_ref().unwrap_or(&parts.issuer);
        if let Some((scheme, rest)) = public.split_once("://") {
            let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
            if call.public_url.is_some() || name.eq_ignore_ascii_case(call.request.host.name()) {
                let base = base.trim_end_matches('/').to_owned();
                return Self { scheme: scheme.to_owned(), authority: authority.to_owned(), base };
            }
        }
        let authority = call.request.host.as_str().to_owned();
        Self { scheme: call.peer.scheme.to_owned(), authority, base: String::new() }
    }

    /// The target of a call, as its client has asked for it.
    pub(super) fn target(&self, call: &Call) -> String {
        let target = call.raw.target.path_and_query().map_or("/", |target| target.as_str());
        [self.base.as_str(), target].concat()
    }
}

/// The fields of a request as they came, also those that were taken away at the door.
pub(super) struct AsSent<'a>(pub(super) &'a Call);

impl standard::Fields for AsSent<'_> {
    fn each<'a>(&'a self, name: &str, see: &mut dyn FnMut(&'a [u8])) {
        let kept = self.0.request.fields().iter().filter(|(kept, _)| kept.as_str() == name);
        kept.map(|(_, value)| value.as_bytes()).for_each(&mut *see);
        // What the connection alone has taken away, the service will not get: it is not there.
        let removed =
            self.0.raw.removed.iter().filter(|(removed, _)| removed.as_str() == name && known(name).is_some());
        removed.map(|(_, value)| value.as_bytes()).for_each(see);
    }
}

/// A signature that names a key of a client of this gateway.
pub(super) struct Chosen {
    pub(super) signature: Signature,
    pub(super) client: Arc<ClientEntry>,
    pub(super) keys: Vec<Key>,
}

/// The string to verify, and what its signature says of itself.
struct Shown {
    signature: Signature,
    base: Base,
    client: Arc<ClientEntry>,
    keys: Vec<Key>,
    origin: Origin,
}

/// Verifies a call: the signature over what it covers, then the content by its digest, then that it is here for the first
/// time.
pub(super) async fn verify(policy: &Verify, call: &mut Call) -> Result<(), Refusal> {
    let now = policy.parts.clock.unix_millis();
    if let Some(signed) = call.found.shared::<SignedByStandard>() {
        // Another alternative of the route has verified it already.
        return note(call, signed);
    }
    let shown = shown(policy, call, now)?;
    let parameters = shown.signature.parameters().map_err(|flaw| invalid(flaw.to_string()))?;
    let created = u64::try_from(parameters.created.unwrap_or_default()).unwrap_or_default();
    let by = proved(&shown)?;
    let is_covered = parameters.covers("content-digest");
    let digest = digest(call, is_covered)?;
    let stream = policy.settings.stream && call.request.body.is_stream();
    match (digest, stream) {
        (None, _) => {}
        (Some(digest), true) => {
            let body = call.take_body();
            let (body, matched) = Withheld::until_it_matches(body, digest);
            call.request.body = body;
            call.found.set(matched);
        }
        (Some(digest), false) => {
            let whole = policy.parts.holding.request(call).await?;
            digest.check_content(whole.bytes()).map_err(|error| invalid(error.to_string()))?;
            // The body may have been long on its way: what counts is what is known now.
            let now = policy.parts.clock.unix_millis();
            timely(policy, parameters, now)?;
            if !by.is_still_of(&policy.parts.directory, &shown.client.name, now) {
                return Err(invalid("the client is disabled by now, or its key is gone"));
            }
        }
    }
    let base = hash_all([shown.base.as_str().as_bytes()]).0;
    let client = shown.client.name.as_str();
    let passed = Passed { scheme: Scheme::Http, client, proof: &base, stamp: created };
    policy.once(call.effects(), &passed).await?;
    if let (Key::Secret(secret), Some(_)) = (&by, call.effects()) {
        secret.touch(now);
    }
    let signatures = call.request.fields().all(SIGNATURE).map(|value| ("signature", value.as_bytes().to_vec()));
    let signed = SignedByStandard {
        by,
        method: call.request.method.as_str().to_owned(),
        target: shown.origin.target(call),
        origin: shown.origin,
        label: shown.signature.label().to_owned(),
        signatures: signatures.collect(),
        client: shown.client,
    };
    let signed = Arc::new(signed);
    call.found.share(Arc::clone(&signed));
    note(call, signed)
}

fn note(call: &mut Call, signed: Arc<SignedByStandard>) -> Result<(), Refusal> {
    let client = Arc::clone(&signed.client);
    call.caller.admitted_by.signed = Some(SignedBy { client: client.name.clone(), key: signed.by.id() });
    call.notes.share(signed);
    accept(call, client)
}

/// The one signature that names a key of a client of this gateway.
pub(super) fn chosen(policy: &Verify, call: &Call, now: u64) -> Result<Chosen, Refusal> {
    let signatures = Signatures::parse(&AsSent(call), &Limits::default()).map_err(|flaw| invalid(flaw.to_string()))?;
    let mut found = None;
    for signature in signatures.iter() {
        let Ok(parameters) = signature.parameters() else { continue };
        if policy.settings.tag().is_some_and(|tag| parameters.tag.as_deref() != Some(tag)) {
            continue;
        }
        let Some(id) = parameters.keyid.as_deref() else { continue };
        let Some((client, keys)) = keys(&policy.parts.directory, id, now) else { continue };
        if found.replace(Chosen { signature: signature.clone(), client, keys }).is_some() {
            return Err(invalid("more than one signature of clients of this gateway"));
        }
    }
    found.ok_or_else(|| invalid("no signature whose 'keyid' is known here"))
}

/// The signature, with all that can be told of it without the body.
fn shown(policy: &Verify, call: &Call, now: u64) -> Result<Shown, Refusal> {
    let fields = AsSent(call);
    let Chosen { signature, client, keys } = chosen(policy, call, now)?;
    if !client.client.enabled {
        return Err(invalid("the client of the signature is disabled"));
    }
    let parameters = signature.parameters().map_err(|flaw| invalid(flaw.to_string()))?;
    let origin = Origin::of(call, &policy.parts);
    let target = origin.target(call);
    let request = Request::new(call.request.method.as_str(), &origin.scheme, &origin.authority, &target, &fields);
    let has_content = !call.request.body.is_empty();
    let covered = policy.settings.coverage().check(parameters, &request, has_content);
    covered.map_err(|missing| invalid(missing.to_string()))?;
    timely(policy, parameters, now)?;
    if let Some(name) =
        parameters.components().map(|component| component.name()).find(|name| is_said_otherwise(call, name))
    {
        return Err(invalid(format!("the covered field '{name}' is there in another spelling too")));
    }
    let base = signature.base(&request, &KnownFields::STANDARD).map_err(|error| invalid(error.to_string()))?;
    Ok(Shown { signature, base, client, keys, origin })
}

/// Whether a signature is within its time, at this one in milliseconds.
fn timely(policy: &Verify, parameters: &Parameters, now: u64) -> Result<(), Refusal> {
    let seconds = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
    let timely = policy.settings.times().check(parameters, seconds);
    timely.map_err(|untimely| Refusal::SignatureExpired { private: untimely.to_string().into() })
}

/// Whether a field stands in a request in a spelling that a service may read as the same.
fn is_said_otherwise(call: &Call, name: &str) -> bool {
    call.request.fields().names().any(|other| other.as_str() != name && is_same(other.as_str(), name))
}

/// The client whose key one of the signatures names; none where they name several.
pub(super) fn claimed(directory: &Directory, call: &Call) -> Option<Arc<ClientEntry>> {
    let signatures = Signatures::parse(&AsSent(call), &Limits::default()).ok()?;
    let ids = signatures.iter().filter_map(|signature| signature.parameters().ok()?.keyid.as_deref());
    let mut clients = ids.filter_map(|id| Some(keys(directory, id, 0)?.0));
    let client = clients.next()?;
    clients.all(|other| other.name == client.name).then_some(client)
}

/// Whose a `keyid` is: a client's access key stands for its secrets, and an access key, `/` and the id of a declared key for
/// that key.
fn keys(directory: &Directory, id: &str, now: u64) -> Option<(Arc<ClientEntry>, Vec<Key>)> {
    directory.read(|entries| {
        let named = id.rsplit_once('/').and_then(|(access_key, key)| {
            let client = entries.by_access_key(access_key)?;
            Some((Arc::clone(client), vec![Key::Public(Arc::clone(client.key(key)?))]))
        });
        if let Some(client) = entries.by_access_key(id) {
            if named.is_some() {
                // An access key with a slash, and the key of another client: nobody can say which is meant.
                return None;
            }
            let secrets = client.secrets_for(SecretUse::Sign, now).map(|secret| Key::Secret(Arc::clone(secret)));
            return Some((Arc::clone(client), secrets.collect()));
        }
        named
    })
}

/// The first key that has made the signature.
fn proved(shown: &Shown) -> Result<Key, Refusal> {
    let mut failure = "the client has no key that may sign".to_owned();
    for key in &shown.keys {
        let Some(verifies) = key.verifies() else { continue };
        match shown.signature.verify(&shown.base, verifies) {
            Ok(()) => return Ok(key.clone()),
            Err(error) => failure = error.to_string(),
        }
    }
    Err(invalid(failure))
}

/// The digest that the content has to have. One that is not covered by the signature is not looked at.
fn digest(call: &Call, is_covered: bool) -> Result<Option<ContentDigest>, Refusal> {
    if !is_covered {
        return Ok(None);
    }
    let lines = call.request.fields().all(CONTENT_DIGEST).map(Value::as_bytes);
    ContentDigest::parse(lines).map(Some).map_err(|error| invalid(error.to_string()))
}

/// Signs an answer: its status, its content and what kind that is, bound to the request and its signature.
pub(super) async fn sign_answer(
    parts: &Parts,
    call: &mut Call,
    signed: &SignedByStandard,
    mut response: Response,
) -> Result<Response, Refusal> {
    let whole = parts.holding.answer(call, &mut response).await?;
    let digest = ContentDigest::of(whole.bytes(), DigestAlgorithm::Sha256).to_string();
    response.fields_mut().set(CONTENT_DIGEST, text(digest));
    let mut components = vec!["@status", "content-digest"];
    if response.fields().has(CONTENT_TYPE) {
        components.push("content-type");
    }
    let of_request = format!("signature;req;key=\"{}\"", signed.label);
    components.extend(["@method;req", "@target-uri;req", &of_request]);
    let (keyid, key) = match &signed.by {
        Key::Secret(secret) => {
            let key = SigningKey::hmac(secret.text.expose().as_bytes());
            (signed.client.client.access_key.clone().unwrap_or_default(), key)
        }
        Key::Public(_) => {
            let tokens = Arc::clone(&parts.tokens);
            let kid = tokens.active_kid().to_owned();
            (kid, Ok(SigningKey::held_elsewhere(Algorithm::EcdsaP256Sha256, move |text| tokens.sign_bytes(text))))
        }
    };
    let failed = |error: String| Refusal::Internal { private: error.into() };
    let key = key.map_err(|refused| failed(refused.to_string()))?;
    let nonce = nonce();
    let created = i64::try_from(parts.clock.unix_millis() / 1_000).ok();
    let lines: Vec<_> =
        response.fields().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let Origin { scheme, authority, .. } = &signed.origin;
    let request = Request::new(&signed.method, scheme, authority, &signed.target, &signed.signatures);
    let message = standard::Response { status: response.status().as_u16(), fields: &lines, request: Some(&request) };
    let signer = Signer::new("portcullis", &components).map_err(|flaw| failed(flaw.to_string()))?.keyid(&keyid);
    let stamp = Stamp { created, expires: None, nonce: Some(&nonce) };
    let made = signer.sign(Message::Response(&message), &stamp, &key, &KnownFields::STANDARD);
    let made = made.map_err(|error| failed(error.to_string()))?;
    let mut fields = response.fields_mut();
    fields.set(SIGNATURE_INPUT, text(made.signature_input));
    fields.set(SIGNATURE, text(made.signature));
    if !whole.bytes().is_empty() {
        set_body(&mut response, whole.into_body());
    }
    Ok(response)
}
