//! What policies are built from, and what one is built for.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::directory::Directory;
use portcullis_core::jobs::Jobs;
use portcullis_core::model::{Service, ServiceId};
use portcullis_core::ports::{Captures, Clock};
use portcullis_identity::{AccessTokens, Sessions};
use serde_json::Value;

use crate::limiters::Limiters;

/// What policies are built from. Shared by all of a node's policies.
pub struct Parts {
    /// Who may show which key.
    pub directory: Arc<Directory>,
    /// The gateway's own access tokens.
    pub tokens: Arc<AccessTokens>,
    /// The `iss` and default `aud` of the gateway's own tokens.
    pub issuer: Arc<str>,
    /// Living sessions.
    pub sessions: Arc<Sessions>,
    /// Where work goes that needs the registry.
    pub jobs: Arc<dyn Jobs>,
    /// What limits remember; it outlives what is compiled.
    pub limiters: Arc<Limiters>,
    /// Where captured exchanges go.
    pub captures: Arc<dyn Captures>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Bytes of verified tokens that each worker remembers; 0: none.
    pub token_memory: u64,
    /// Whether the listener asks callers for client certificates.
    pub client_certificates: bool,
    /// Bytes a request body may have where the route does not say otherwise; 0: no limit.
    pub body_limit: u64,
}

/// What a policy is built for.
pub struct Site<'a> {
    /// The name of the route.
    pub route: &'a str,
    /// The kinds of policies of which the route has settings of its own, in place of the service's.
    pub own: &'a BTreeMap<String, Value>,
    /// The service.
    pub id: &'a ServiceId,
    /// Its declaration, with what the route has of its own.
    pub service: &'a Service,
    /// What everything is built from.
    pub parts: &'a Arc<Parts>,
}

impl Site<'_> {
    /// What the state of a policy is kept under: all routes to a service that have its settings share what is used up of
    /// them. It stays the same when a declaration changes.
    pub fn name_of(&self, kind: &str) -> String {
        if self.own.contains_key(kind) { format!("route {}", self.route) } else { format!("service {}", self.id) }
    }
}
