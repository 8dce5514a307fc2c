//! `acl`: a known caller may call a service only if it was granted to it, and there as its rules say. A route for one client is
//! a grant for that client, and takes credentials of no other.

mod python;
mod rules;

use std::sync::Arc;

use portcullis_core::call::{Call, Caller, KeyHolder};
use portcullis_core::directory::ClientEntry;
use portcullis_core::model::{Label, Problem, ServiceId};
use portcullis_core::policy::{Check, Step};
use portcullis_core::refusal::{Credential, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use self::rules::{Effect, RuleSettings, Rules};
use crate::{PolicyContext, RouteEnd, settings};

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

/// Everything that is wrong with settings of this kind, whichever service has them.
pub fn problems(value: &Value) -> Vec<Problem> {
    let checked = settings::read::<Settings>("acl", Some(value));
    let checked = checked.and_then(|settings| Rules::compile(&settings.rules, settings.default, false).map(drop));
    checked.err().unwrap_or_default()
}

/// Builds the step. Every route of a service has it; an open one lets unknown callers pass. An endpoint of the gateway that is
/// for everybody has it where there are rules.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let Settings { rules, default } = settings::read("acl", value)?;
    let compile = || {
        let rules = Rules::compile(&rules, default, site.service.case_insensitive)?;
        Ok(if matches!(site.end, RouteEnd::Builtin { .. }) { rules.of_builtin() } else { rules })
    };
    let rules = if rules.is_empty() && default == Effect::Allow { None } else { Some(compile()) };
    let under =
        |found: Vec<Problem>| found.into_iter().map(|problem| problem.under("policies.acl")).collect::<Vec<_>>();
    let rules = rules.transpose().map_err(under)?;
    let granted = match (site.is_of_client, site.end) {
        (true, _) => Granted::ToClient { is_open: site.service.require.is_empty() },
        (false, RouteEnd::Service(id) | RouteEnd::Builtin { grant: Some(id), .. }) => Granted::ByClient(id.clone()),
        (false, RouteEnd::Builtin { grant: None, .. }) if rules.is_none() => return Ok(None),
        (false, RouteEnd::Builtin { grant: None, .. }) => Granted::ToAll,
    };
    Ok(Some(Step::Check(Arc::new(Acl { granted, rules }))))
}

struct Acl {
    granted: Granted,
    rules: Option<Rules>,
}

/// What says whether a known caller may use the route.
enum Granted {
    /// Everybody may.
    ToAll,
    /// What the calling client may call: whether this service is among it.
    ByClient(ServiceId),
    /// The route itself, for its one client.
    ToClient {
        /// Whether the route asks for no credential.
        is_open: bool,
    },
}

impl Granted {
    /// `client`: the one that the route which the call has taken is for.
    fn check(&self, client: Option<&Label>, caller: &Caller) -> Result<(), Refusal> {
        match (self, client) {
            (Self::ToAll, _) => Ok(()),
            (Self::ByClient(service), _) => may_call(service, caller),
            (Self::ToClient { is_open }, Some(client)) => is_of(client, *is_open, caller),
            (Self::ToClient { .. }, None) => Err(Refusal::internal("a route of a client, and nobody knows which")),
        }
    }

    /// Whether the route is for another client than the one that the user's token was issued through.
    fn is_token_of_another(&self, client: Option<&Label>, caller: &Caller) -> bool {
        let is_another = |entry: &Arc<ClientEntry>| client != Some(&entry.name);
        matches!(self, Self::ToClient { .. }) && caller.token_client.as_ref().is_some_and(is_another)
    }
}

/// Whether everybody who has shown a credential may call the service.
fn may_call(service: &ServiceId, caller: &Caller) -> Result<(), Refusal> {
    let key_fine = match &caller.key {
        None => true,
        Some(KeyHolder::Service(name)) => name.as_ref() == service.name.as_str(),
        Some(KeyHolder::Client(client)) => client.may_call(service),
    };
    if !key_fine {
        return Err(Refusal::Forbidden { detail: "this credential is not granted the service".into() });
    }
    let token_fine = caller.token_client.as_ref().is_none_or(|client| client.may_call(service));
    if !token_fine {
        return Err(Refusal::Forbidden { detail: "the client of this token is not granted the service".into() });
    }
    Ok(())
}

/// Whether every credential is of the client, and at least one is there that says so, unless the route is open. What the call
/// claims is no credential.
fn is_of(client: &Label, is_open: bool, caller: &Caller) -> Result<(), Refusal> {
    let is_it = |entry: &Arc<ClientEntry>| entry.client.enabled && entry.name == *client;
    let key_fine = match &caller.key {
        None => true,
        Some(KeyHolder::Service(_)) => false,
        Some(KeyHolder::Client(entry)) => is_it(entry),
    };
    let token_fine = caller.token_client.as_ref().is_none_or(is_it) && caller.foreign_client.is_none();
    if !key_fine || !token_fine {
        return Err(Refusal::Forbidden { detail: "this route is for another client than the credential shown".into() });
    }
    if !is_open && caller.client().is_none() {
        let detail = "this route is for one client, and no credential shown is of a client";
        return Err(Refusal::Forbidden { detail: detail.into() });
    }
    Ok(())
}

impl Check for Acl {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        let client = call.route.as_ref().and_then(|route| route.client.as_ref());
        if call.dialect.fomalhaut().is_some() && self.granted.is_token_of_another(client, &call.caller) {
            // fomalhaut tells such a token from an unknown one as little as its clients do: they log in again.
            return Err(Refusal::invalid(Credential::Bearer, "a token of another client than the route's"));
        }
        self.granted.check(client, &call.caller)?;
        self.rules.as_ref().map_or(Ok(()), |rules| rules.check(call))
    }
}

#[cfg(test)]
mod tests;
