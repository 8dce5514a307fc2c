//! The policies: one folder each, and the ordered table of their kinds.
//!
//! Adding a policy is one folder, one `mod` line and one row in [`KINDS`]. A policy knows the nouns of
//! `portcullis-core` and never another policy.

pub mod acl;
pub mod api_key;
pub mod bearer;
pub mod capture;
mod claims;
pub mod client_certificate;
mod context;
pub mod cors;
pub mod credential;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
mod gcra;
pub mod grpc_web;
pub mod headers;
pub mod ip_filter;
mod kind;
mod limit;
pub mod limiters;
mod limiting;
pub mod rate_limit;
pub mod request_limits;
pub mod require;
pub mod sealed;
mod settings;
mod shared;
pub mod signature;
mod signed;
mod strangers;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod throttle;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::model::{Label, Problem, Service};
use portcullis_core::policy::Steps;
use serde_json::Value;

pub use claims::Claims;
pub use context::{Parts, PolicyContext, RouteEnd};
use credential::Verifier;
pub use kind::{Build, Builder, Kind, RequireBuilder};
pub use limiters::Limiters;
pub use shared::SharedSteps;
pub use signature::check_key;
pub use signed::Holding;
pub use strangers::{StrangerLimits, Strangers};
pub use windows::Windows;

/// Every kind of policy in the order in which a call meets them.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "capture",
        settings: "capture",
        reason: "outermost: it copies what the caller sends and gets, preflights and every refusal too",
        schema: capture::schema,
        build: Build::Step(capture::build),
    },
    Kind {
        name: "cors",
        settings: "cors",
        reason: "outermost of those that decide: a preflight carries no credentials, and a refusal must be readable to the page as well",
        schema: cors::schema,
        build: Build::Step(cors::build),
    },
    Kind {
        name: "ip_filter",
        settings: "ip_filter",
        reason: "before the limits: requests it rejects cost nothing more and do not count against them",
        schema: ip_filter::schema,
        build: Build::Step(ip_filter::build),
    },
    Kind {
        name: "throttle",
        settings: "throttle",
        reason: "before anything that costs: bodies, signatures, hashes",
        schema: throttle::schema,
        build: Build::Step(throttle::build),
    },
    Kind {
        name: "grpc_web",
        settings: "grpc_web",
        reason: "before bodies are looked at: what follows sees gRPC, and not what a page has made of it",
        schema: grpc_web::schema,
        build: Build::Step(grpc_web::build),
    },
    Kind {
        name: "request_limits",
        settings: "request_limits",
        reason: "what is too large is not worth a look at its credentials",
        schema: request_limits::schema,
        build: Build::Step(request_limits::build),
    },
    Kind {
        name: "sign_response",
        settings: "signature",
        reason: "outside of what verifies the caller: every answer to a verified call is signed, refusals too",
        schema: signature::schema,
        build: Build::Step(signature::build_answer),
    },
    Kind {
        name: "seal_response",
        settings: "sealed",
        reason: "inside of `sign_response`: what is signed is what is sent",
        schema: sealed::schema,
        build: Build::Step(sealed::build_answer),
    },
    Kind {
        name: "signature",
        settings: "signature",
        reason: "a credential; first, because sealed requests show the others only when they are opened",
        schema: signature::schema,
        build: Build::Credential(signature::build),
    },
    Kind {
        name: "sealed",
        settings: "sealed",
        reason: "beside `signature`, and behind it: nothing is opened that was not verified",
        schema: sealed::schema,
        build: Build::Credential(sealed::build),
    },
    Kind {
        name: "bearer",
        settings: "bearer",
        reason: "a credential; `require` asks it in its own place",
        schema: bearer::schema,
        build: Build::Credential(bearer::build),
    },
    Kind {
        name: "api_key",
        settings: "api_key",
        reason: "a credential; after `bearer`, so that the log record gets the user's name first",
        schema: api_key::schema,
        build: Build::Credential(api_key::build),
    },
    Kind {
        name: "client_certificate",
        settings: "client_certificate",
        reason: "a credential; the handshake has verified it, so it only has to be matched with a client",
        schema: client_certificate::schema,
        build: Build::Credential(client_certificate::build),
    },
    Kind {
        name: "require",
        settings: "require",
        reason: "who calls must be known before anything is decided about it",
        schema: require::schema,
        build: Build::Require(require::build),
    },
    Kind {
        name: "acl",
        settings: "acl",
        reason: "behind `require`: a known caller without permission is 403, not 401",
        schema: acl::schema,
        build: Build::Step(acl::build),
    },
    Kind {
        name: "rate_limit",
        settings: "rate_limit",
        reason: "behind `acl`: callers are known, and calls they may not make are not counted",
        schema: rate_limit::schema,
        build: Build::Step(rate_limit::build),
    },
    Kind {
        name: "headers",
        settings: "headers",
        reason: "innermost: every other policy sees the request as the caller sent it",
        schema: headers::schema,
        build: Build::Step(headers::build),
    },
];

/// Builds the steps of a route, or says everything that is wrong with its declaration. `client`: whose calls alone the route
/// takes; `own`: what it has of the policies at its end itself; `service`: credentials and policies, those of the route in place
/// of those at its end.
pub fn compile(
    route: &str,
    client: Option<&Label>,
    own: &BTreeMap<String, Value>,
    end: RouteEnd<'_>,
    service: &Service,
    parts: &Arc<Parts>,
) -> Result<Arc<Steps>, Vec<Problem>> {
    let site = PolicyContext { route, is_of_client: client.is_some(), own, end, service, parts };
    let mut problems = unknown_kinds(service);
    let mut steps = Vec::with_capacity(KINDS.len());
    let mut credentials: Vec<(&'static str, Arc<dyn Verifier>)> = Vec::new();
    for kind in KINDS {
        let settings = service.policies.get(kind.settings);
        let built = match kind.build {
            Build::Step(build) => build(&site, settings).map(|step| steps.extend(step.map(|step| (kind.name, step)))),
            Build::Credential(build) => build(&site, settings).map(|built| credentials.push((kind.name, built))),
            Build::Require(build) => {
                build(&site, &credentials).map(|step| steps.extend(step.map(|step| (kind.name, step))))
            }
        };
        if let Err(found) = built {
            problems.extend(found);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // What limits remember is kept under the name of a route that has settings of its own.
    Ok(match end {
        RouteEnd::Service(id) if own.is_empty() => parts.shared_steps.share(id, service, client.is_some(), steps),
        _ => steps.into(),
    })
}

fn unknown_kinds(service: &Service) -> Vec<Problem> {
    let known = || KINDS.iter().filter(|kind| kind.is_declared()).map(|kind| kind.name);
    let unknown = service.policies.keys().filter(|name| !known().any(|kind| kind == name.as_str()));
    let expected = known().collect::<Vec<_>>().join(", ");
    unknown
        .map(|name| {
            Problem::new(format!("policies.{name}"), format!("unknown kind of policy; expected one of {expected}"))
        })
        .collect()
}
