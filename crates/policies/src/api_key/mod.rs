//! `api_key`: a key in `X-API-Key`, of a service or of a client.

use std::sync::Arc;

use portcullis_core::call::{Call, KeyHolder};
use portcullis_core::directory::{ClientEntry, Directory};
use portcullis_core::message::names::X_API_KEY;
use portcullis_core::message::{FieldName, HasFields};
use portcullis_core::model::Problem;
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_identity::hash_key;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::credential::{Part, Verification, Verifier};
use crate::{PolicyContext, settings};

/// Where a key is shown.
static KEY: FieldName = X_API_KEY;
/// The longest key that is looked at, in bytes.
const LONGEST: usize = 512;

/// It has no settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the credential.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Arc<dyn Verifier>, Vec<Problem>> {
    let Settings {} = settings::read("api_key", value)?;
    Ok(Arc::new(ApiKey { directory: Arc::clone(&site.parts.directory) }))
}

struct ApiKey {
    directory: Arc<Directory>,
}

impl Verifier for ApiKey {
    fn is_shown(&self, call: &Call) -> bool {
        call.request.fields().has(X_API_KEY) || believed(call).is_some()
    }

    fn missing(&self, _: &Call) -> Refusal {
        Refusal::MissingCredential(Credential::ApiKey)
    }

    fn verify<'c>(&'c self, call: &'c mut Call) -> Result<Verification<'c>, Refusal> {
        let wrong = |reason: &'static str| Refusal::invalid(Credential::ApiKey, reason);
        if let Some(client) = believed(call) {
            return accept(call, KeyHolder::Client(client));
        }
        let Ok(Some(key)) = call.request.fields().only(X_API_KEY) else {
            return Err(wrong("not exactly one X-API-Key"));
        };
        let key = key.text().ok_or_else(|| wrong("a key that is no ASCII text"))?;
        if key.len() > LONGEST {
            return Err(wrong("a key that is too long"));
        }
        // The table holds hashes; finding one takes the same time whatever the key begins with.
        let hash = hash_key(key);
        let holder = self.directory.read(|entries| entries.holder(&hash)).ok_or_else(|| wrong("an unknown key"))?;
        call.caller.admitted_by.key = Some(hash);
        accept(call, holder)
    }

    fn withhold(&self, call: &mut Call, _: Part) -> Result<(), Refusal> {
        // Keys never travel, whatever a route is like.
        call.caller.consumed.take(&KEY);
        Ok(())
    }
}

fn accept(call: &mut Call, holder: KeyHolder) -> Result<Verification<'static>, Refusal> {
    if let KeyHolder::Client(client) = &holder {
        call.record.note(|record| record.client = Some(client.name.shared()));
    }
    if call.caller.speaks_for(holder) {
        return Ok(Verification::Good);
    }
    Err(Refusal::invalid(Credential::ApiKey, "a key of somebody else than another credential speaks for"))
}

/// The client that a call which is only tried is believed to come from, unless it shows a key.
fn believed(call: &Call) -> Option<Arc<ClientEntry>> {
    let client = call.dry_run.as_ref()?.client.as_ref()?;
    (!call.request.fields().has(X_API_KEY)).then(|| Arc::clone(client))
}
