//! `signature`: a request that its client has signed, in one of fomalhaut's dialects or by HTTP message signatures
//! (RFC 9421). It stands in two places: `require` asks the credential, and a step further out signs what comes back.

mod answer;
mod fomalhaut;
mod http;
mod report;
mod settings;
mod verifying;
mod withheld;

use std::sync::Arc;

use portcullis_core::call::{Call, ClientEntry};
use portcullis_core::directory::Directory;
use portcullis_core::message::names::{SIGNATURE, SIGNATURE_INPUT};
use portcullis_core::message::{FieldName, HasFields};
use portcullis_core::model::{ClientKey, Problem};
use portcullis_core::policy::Step;
use portcullis_core::refusal::{Credential, Refusal};
use serde_json::Value;

use self::settings::{KIND, Settings};
use self::verifying::{Verify, accept};
use crate::PolicyContext;
use crate::credential::{Part, Verification, Verifier};
use crate::signed::{Said, dialect, said};

/// Where a signature by RFC 9421 stands.
static SIGNATURE_FIELDS: [FieldName; 2] = [SIGNATURE_INPUT, SIGNATURE];

/// The JSON schema of its settings.
pub fn schema() -> Value {
    crate::settings::schema::<Settings>()
}

/// Builds the credential.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Arc<dyn Verifier>, Vec<Problem>> {
    let settings = Settings::read(value)?;
    settings.widen(&site.parts.windows, site.parts.clock.unix_millis() / 1_000);
    Ok(Arc::new(Verify { settings, parts: Arc::clone(site.parts) }))
}

/// Builds the step that signs answers; none where no alternative of the route asks for a signature.
pub fn build_answer(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let asks = site.service.require.iter().flatten().any(|kind| kind == KIND);
    // What is wrong with the settings, the credential says.
    let settings = Settings::read(value).unwrap_or_default();
    Ok(asks.then(|| Step::Policy(Arc::new(answer::SignAnswers::new(settings, Arc::clone(site.parts))))))
}

/// The client whose key a signature by RFC 9421 names, before it is verified.
pub(crate) fn claimed(directory: &Directory, call: &Call) -> Option<Arc<ClientEntry>> {
    http::claimed(directory, call)
}

/// Whether a declared public key can be used; if not, why.
pub fn check_key(declared: &ClientKey) -> Result<(), String> {
    http::public_key(declared).map(drop)
}

impl Verifier for Verify {
    fn is_shown(&self, call: &Call) -> bool {
        call.dialect.fomalhaut().is_some() || call.request.fields().has(SIGNATURE_INPUT) || believed(call).is_some()
    }

    fn missing(&self, _: &Call) -> Refusal {
        Refusal::MissingCredential(Credential::Signature)
    }

    fn verify<'c>(&'c self, call: &'c mut Call) -> Result<Verification<'c>, Refusal> {
        if let Some(client) = believed(call) {
            return accept(call, client).map(|()| Verification::Good);
        }
        Ok(Verification::Wait(Box::pin(async move {
            // A body of a call that is only tried is here, or never comes.
            let is_here = !call.request.body.is_stream();
            let verified = match call.dialect.fomalhaut() {
                Some(form) => fomalhaut::verify(self, form, call).await,
                None => http::verify(self, call).await,
            };
            report::note(self, call, is_here, &verified);
            verified
        })))
    }

    fn withhold(&self, call: &mut Call, part: Part) -> Result<(), Refusal> {
        // Those of fomalhaut's dialects have been taken away at the door.
        if part != Part::Unasked && !self.settings.forward_credentials {
            SIGNATURE_FIELDS.iter().for_each(|name| call.caller.consumed.take(name));
        }
        Ok(())
    }

    fn leads(&self, call: &Call) -> bool {
        call.dialect.fomalhaut().is_some()
    }
}

/// The client that a call which is only tried is believed to come from, unless it shows a signature.
fn believed(call: &Call) -> Option<Arc<ClientEntry>> {
    let client = call.dry_run.as_ref()?.client.as_ref()?;
    let is_signed = match call.dialect.fomalhaut() {
        Some(form) => said(call, dialect(form).signature()) != Said::Never,
        None => call.request.fields().has(SIGNATURE_INPUT),
    };
    (!is_signed).then(|| Arc::clone(client))
}
