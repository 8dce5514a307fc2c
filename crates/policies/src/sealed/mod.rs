//! `sealed`: requests that a client has encrypted inside of others, in fomalhaut's dialects, and answers encrypted for it.
//! It stands in two places: beside `signature` in `require` it opens what has been verified, and a step further out seals
//! what comes back.
//!
//! What cannot be opened is refused in one way, whatever is wrong with it.

mod answer;
mod inner;

use std::sync::Arc;

use portcullis_core::call::Call;
use portcullis_core::message::FieldValue;
use portcullis_core::model::{Problem, SecretUse};
use portcullis_core::policy::Step;
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::credential::{Part, Verification, Verifier};
use crate::signed::{Opened, Signed, dialect, said};
use crate::{Parts, PolicyContext, settings};

/// What is sent as it is says this, or nothing.
const RAW: &[u8] = b"raw";
/// What is sealed says this.
const SEALED: &[u8] = b"aes";

/// It has no settings: it opens what a client seals with a secret that may `seal`. Named in `require`, beside `signature`,
/// it is demanded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the credential.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Arc<dyn Verifier>, Vec<Problem>> {
    let Settings {} = settings::read("sealed", value)?;
    Ok(Arc::new(Open { parts: Arc::clone(site.parts) }))
}

/// Builds the step that seals answers; none where no alternative of the route asks for a signature.
pub fn build_answer(site: &PolicyContext<'_>, _: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let asks = site.service.require.iter().flatten().any(|kind| kind == BESIDE);
    Ok(asks.then(|| Step::Policy(Arc::new(answer::SealAnswers::new(Arc::clone(site.parts))))))
}

/// The kind whose place this one stands beside.
const BESIDE: &str = "signature";

struct Open {
    parts: Arc<Parts>,
}

impl Verifier for Open {
    fn is_shown(&self, call: &Call) -> bool {
        is_sealed(call)
    }

    fn missing(&self, _: &Call) -> Refusal {
        Refusal::malformed("not_sealed", "this service takes sealed requests alone")
    }

    fn verify<'c>(&'c self, call: &'c mut Call) -> Result<Verification<'c>, Refusal> {
        Ok(Verification::Wait(Box::pin(open(&self.parts, call))))
    }

    fn withhold(&self, call: &mut Call, _: Part) -> Result<(), Refusal> {
        if is_sealed(call) && call.notes.get::<Opened>().is_none() {
            // The service would take what is encrypted for the request itself.
            return Err(Refusal::NotOpened { private: "sealed, and let in without a signature" });
        }
        Ok(())
    }

    fn beside(&self) -> Option<&'static str> {
        Some(BESIDE)
    }
}

/// Whether a call says that it is sealed, in whatever way.
fn is_sealed(call: &Call) -> bool {
    let Some(form) = call.dialect.fomalhaut() else { return false };
    let names = dialect(form);
    let (kind, uri, headers) = (names.encrypt_type(), names.encrypted_uri(), names.encrypted_headers());
    let mut kinds = 0;
    call.raw.removed.iter().any(|(name, value)| {
        let name = name.as_str();
        if name != kind {
            return name == uri || name == headers;
        }
        // Said twice it is something else as well.
        kinds += 1;
        kinds > 1 || value.as_bytes() != RAW
    })
}

/// Opens a request and puts it in the place of the one it came in.
async fn open(parts: &Parts, call: &mut Call) -> Result<(), Refusal> {
    let wrong = |private| Refusal::NotOpened { private };
    let signed = call.notes.get::<Signed>().ok_or_else(|| wrong("without a verified signature"))?;
    let now = parts.clock.unix_millis();
    let own = Some(&signed.secret).filter(|secret| secret.is_good_for(SecretUse::Seal, now));
    let secret = own.or_else(|| signed.client.secrets_for(SecretUse::Seal, now).last());
    let secret = Arc::clone(secret.ok_or_else(|| wrong("the client has no live secret that may seal"))?);
    let form = signed.form;
    let whole = match call.request.body.held() {
        Some(whole) => whole,
        None => parts.holding.request(call).await?,
    };
    // Everything is opened before anything is looked at, so that all that can be wrong costs the same.
    let opened = inner::decrypt(dialect(form), &secret, call, whole.bytes());
    let kind = said(call, dialect(form).encrypt_type()).once().map(FieldValue::as_bytes);
    if kind != Some(SEALED) {
        return Err(wrong("an encryption that is not known"));
    }
    let inner = inner::request(form, call, opened, whole).map_err(wrong)?;
    let matched =
        parts.routes_of(call).find(call, &inner.request).map_err(|_| wrong("the inner request has no route"))?;
    let is_same = call.route.as_ref().is_some_and(|route| {
        route.name == matched.route.name
            && route.service == matched.route.service
            && route.client == matched.route.client
    });
    if !is_same {
        return Err(wrong("the inner request takes another route"));
    }
    call.replace(inner.request, inner.token, matched);
    // What a service hints at before its answer would pass in clear.
    call.hints = None;
    call.notes.set(Opened { secret });
    Ok(())
}
