//! `acl`: a known caller may call a service only if it was granted to it.

use std::sync::Arc;

use portcullis_core::call::{Call, KeyHolder};
use portcullis_core::model::{Problem, ServiceId};
use portcullis_core::policy::{Check, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Site, settings};

/// It has no settings: what a client may call stands with the client.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step. Every route of a service has it; an open one lets unknown callers pass.
pub fn build(site: &Site<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let Settings {} = settings::read("acl", value)?;
    Ok(Some(Step::Check(Arc::new(Acl { service: site.id.clone() }))))
}

struct Acl {
    service: ServiceId,
}

impl Check for Acl {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        let key_fine = match &call.caller.key {
            None => true,
            Some(KeyHolder::Service(name)) => name.as_ref() == self.service.name.as_str(),
            Some(KeyHolder::Client(client)) => client.may_call(&self.service),
        };
        if !key_fine {
            return Err(Refusal::Forbidden { detail: "this API key is not granted the service".into() });
        }
        let token_fine = call.caller.token_client.as_ref().is_none_or(|client| client.may_call(&self.service));
        if !token_fine {
            return Err(Refusal::Forbidden { detail: "the client of this token is not granted the service".into() });
        }
        Ok(())
    }
}
