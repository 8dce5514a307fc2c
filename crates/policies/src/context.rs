//! What policies are built from, and what one is built for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::call::{Call, Matched, Request};
use portcullis_core::directory::Directory;
use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::memory::{MemoryCaptures, MemoryRegistry, MemoryState};
use portcullis_core::model::{Label, Service, ServiceId};
use portcullis_core::ports::routes::Routes;
use portcullis_core::ports::{Captures, Clock, SharedState};
use portcullis_core::refusal::Refusal;
use portcullis_identity::{AccessTokens, IdentityError, MasterKey, Sessions, SigningKeys};
use serde_json::Value;

use crate::limiters::Limiters;
use crate::shared::SharedSteps;
use crate::signed::Holding;
use crate::strangers::{StrangerLimits, Strangers};
use crate::windows::Windows;

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
    /// The steps that routes share.
    pub shared_steps: SharedSteps,
    /// What limits remember; it outlives what is compiled.
    pub limiters: Arc<Limiters>,
    /// What may happen once only, like a signed request.
    pub state: Arc<dyn SharedState>,
    /// Where captured exchanges go.
    pub captures: Arc<dyn Captures>,
    /// Callers who claim to be of a client and do not prove it.
    pub strangers: Arc<Strangers>,
    /// The routes, for requests that were sealed in others, and for clients that turn out to call.
    pub routes: Arc<dyn Routes>,
    /// Bounds on messages that are held whole.
    pub holding: Holding,
    /// For how long signed requests pass.
    pub windows: Arc<Windows>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Bytes of verified tokens that each worker remembers; 0: none.
    pub token_memory: u64,
    /// Whether the listener asks callers for client certificates.
    pub client_certificates: bool,
    /// Bytes a request body may have where the route does not say otherwise; 0: no limit.
    pub body_limit: u64,
}

impl Parts {
    /// The routes that a call takes, or is tried on.
    pub(crate) fn routes_of(&self, call: &Call) -> Arc<dyn Routes> {
        let tried = call.dry_run.as_ref().and_then(|dry_run| dry_run.routes.clone());
        tried.map_or_else(|| Arc::clone(&self.routes), |tried| tried.0)
    }

    /// Parts that nobody calls by, on a registry in memory that is forgotten with them: for dry runs, and for tests of
    /// every crate. What a test asks of one part it says itself: `Parts { body_limit: 9, ..Parts::for_dry_run(…).await? }`;
    /// so a new part needs a row here and one in the gateway's wiring, and no other place.
    pub async fn for_dry_run(issuer: impl Into<Arc<str>>, clock: Arc<dyn Clock>) -> Result<Self, IdentityError> {
        let (issuer, registry) = (issuer.into(), Arc::new(MemoryRegistry::default()));
        // Nothing that is made with it is seen by anybody.
        let master = MasterKey::generate().0;
        let keys = SigningKeys::load_or_create(registry.as_ref(), &master, clock.as_ref()).await?;
        Ok(Self {
            directory: Arc::default(),
            tokens: Arc::new(AccessTokens::new(Arc::new(keys), Arc::clone(&issuer), Arc::clone(&clock))),
            issuer,
            sessions: Arc::new(Sessions::new(registry, Arc::clone(&clock), Duration::ZERO, DRY_RUN_BYTES)),
            jobs: Arc::new(NoJobs),
            shared_steps: SharedSteps::default(),
            limiters: Arc::default(),
            state: Arc::new(MemoryState::new(DRY_RUN_NONCES, Arc::clone(&clock))),
            captures: Arc::new(MemoryCaptures::new(0)),
            strangers: Arc::new(Strangers::new(Arc::default(), Arc::clone(&clock), StrangerLimits::default())),
            routes: Arc::new(NoRoutes),
            holding: Holding::default(),
            windows: Arc::default(),
            clock,
            token_memory: 0,
            client_certificates: false,
            body_limit: 0,
        })
    }
}

/// Memory for sessions of a dry run.
const DRY_RUN_BYTES: u64 = 1 << 20;
/// Memory for nonces of a dry run.
const DRY_RUN_NONCES: usize = 1 << 20;

/// Knows no routes.
struct NoRoutes;

impl Routes for NoRoutes {
    fn find(&self, _: &Call, _: &Request) -> Result<Matched, Refusal> {
        Err(Refusal::NoRoute)
    }

    fn has_own(&self, _: &Call, _: &Label) -> bool {
        false
    }
}

/// Takes no work on: a dry run waits for nobody.
struct NoJobs;

impl Jobs for NoJobs {
    fn submit(&self, _: Class, _: Job) -> Result<(), QueueFull> {
        Err(QueueFull)
    }
}

/// What stands at the end of a route.
#[derive(Debug, Clone, Copy)]
pub enum RouteEnd<'a> {
    /// A service.
    Service(&'a ServiceId),
    /// An endpoint of the gateway itself: nothing travels on from there.
    Builtin {
        /// Its path.
        path: &'a str,
        /// What a client must be granted to call it; none where everybody may.
        grant: Option<&'a ServiceId>,
    },
}

/// What a policy is built for.
pub struct PolicyContext<'a> {
    /// The name of the route.
    pub route: &'a str,
    /// Whether the route takes the calls of one client alone. Which one that is is known of the route that a call has taken:
    /// routes of many clients share what is built.
    pub is_of_client: bool,
    /// The kinds of policies of which the route has settings of its own, in place of those at its end.
    pub own: &'a BTreeMap<String, Value>,
    /// What stands at its end.
    pub end: RouteEnd<'a>,
    /// The declaration of that, with what the route has of its own.
    pub service: &'a Service,
    /// What everything is built from.
    pub parts: &'a Arc<Parts>,
}

impl PolicyContext<'_> {
    /// What the state of a policy is kept under: all routes to one end that have its settings share what is used up of
    /// them. It stays the same when a declaration changes.
    pub fn name_of(&self, kind: &str) -> String {
        match self.end {
            _ if self.own.contains_key(kind) => format!("route {}", self.route),
            RouteEnd::Service(id) => format!("service {id}"),
            RouteEnd::Builtin { path, .. } => format!("endpoint {path}"),
        }
    }
}
