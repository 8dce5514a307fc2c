//! `acl`: a known caller may call a service only if it was granted to it, and there as its rules say.

mod rules;

use std::sync::Arc;

use portcullis_core::call::{Call, KeyHolder};
use portcullis_core::model::{Problem, ServiceId};
use portcullis_core::policy::{Check, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use self::rules::{Effect, RuleSettings, Rules};
use crate::{PolicyContext, settings};

/// The settings. Which services a client may call stands with the client; this is about what is inside of one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Rules in order; the first that matches decides. At most 64.
    rules: Vec<RuleSettings>,
    /// What happens to a call that no rule matches.
    default: Effect,
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step. Every route of a service has it; an open one lets unknown callers pass.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let Settings { rules, default } = settings::read("acl", value)?;
    let compile = || Rules::compile(&rules, default, site.service.case_insensitive);
    let rules = if rules.is_empty() && default == Effect::Allow { None } else { Some(compile()) };
    let under =
        |found: Vec<Problem>| found.into_iter().map(|problem| problem.under("policies.acl")).collect::<Vec<_>>();
    let rules = rules.transpose().map_err(under)?;
    Ok(Some(Step::Check(Arc::new(Acl { service: site.id.clone(), rules }))))
}

struct Acl {
    service: ServiceId,
    rules: Option<Rules>,
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
        self.rules.as_ref().map_or(Ok(()), |rules| rules.check(call))
    }
}
