//! The endpoint at the end of a service's pipeline: choose a target, forward the call, bring the answer back.

pub mod balance;
pub mod connect;
pub mod forward;
pub mod guard;
pub mod incoming;
pub mod pool;
pub mod switched;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use portcullis_core::call::{Call, Response};
use portcullis_core::model::{HostMode, Problem, Target};
use portcullis_core::policy::Endpoint;
use portcullis_core::refusal::Refusal;
use portcullis_core::trial::Destination;

use balance::Targets;
use guard::Guard;

use crate::template::Template;

/// The most targets one service has.
pub const MAX_TARGETS: usize = 1_000;
/// The most targets one call tries to connect to.
const TRIES: usize = 3;

/// How this node deals with targets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which addresses it connects to.
    pub guard: Guard,
    /// Connections to one target on one worker. Beyond: a queue, then 503.
    pub per_worker: usize,
    /// How long a call waits in that queue.
    pub queue_wait: Duration,
    /// How long opening a connection may take. Beyond: 502.
    pub connect_timeout: Duration,
    /// From the request's last byte to the answer's first. Beyond: 504.
    pub first_byte: Duration,
    /// Between two pieces of an answer's body.
    pub body_idle: Duration,
    /// How long an unused connection is kept.
    pub keep_alive: Duration,
    /// Bytes of an answer's header block. Beyond: 502.
    pub answer_head: usize,
    /// The name this node goes by in `Via`.
    pub pseudonym: HeaderValue,
}

/// How a route's calls reach its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// What becomes of the path.
    pub path: ForwardPath,
    /// Which `Host` the target gets.
    pub host: HostMode,
}

/// What of a call's path goes behind the target's base path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// What the route has not matched.
    Rest,
    /// All of it.
    Whole,
    /// A text filled from it.
    Template(Template),
}

/// Makes upstream endpoints.
#[derive(Debug, Clone)]
pub struct Upstreams(Arc<Settings>);

impl Upstreams {
    /// A maker of endpoints that share these settings.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(settings))
    }

    /// The endpoint for a service's targets, on a route that forwards like this.
    pub fn compile(&self, targets: &[Target], forwarding: Forwarding) -> Result<Arc<dyn Endpoint>, Vec<Problem>> {
        let mut problems = Vec::new();
        if targets.len() > MAX_TARGETS {
            problems.push(Problem::new("targets", format!("a service has at most {MAX_TARGETS} targets")));
        }
        for (position, target) in targets.iter().enumerate().filter(|(_, target)| !(1..=1_000).contains(&target.weight))
        {
            let message = format!("expected a weight from 1 to 1000, found {}", target.weight);
            problems.push(Problem::new(format!("targets[{position}].weight"), message));
        }
        if problems.is_empty() {
            Ok(Arc::new(Upstream { targets: Targets::new(targets), forwarding, settings: Arc::clone(&self.0) }))
        } else {
            Err(problems)
        }
    }
}

/// Forwards calls to one of several targets.
struct Upstream {
    targets: Targets,
    forwarding: Forwarding,
    settings: Arc<Settings>,
}

#[async_trait]
impl Endpoint for Upstream {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        let mut refused = Refusal::NoTarget;
        for target in self.targets.choose().take(TRIES) {
            match forward::forward(&self.settings, &self.forwarding, call, target).await {
                // Nothing has been sent to it: another instance may be there.
                Err(refusal @ Refusal::UpstreamUnreachable { .. }) => refused = refusal,
                done => return done,
            }
        }
        Err(refused)
    }
    fn preview(&self, call: &Call) -> Result<Destination, Refusal> {
        let target = self.targets.peek().next().ok_or(Refusal::NoTarget)?;
        connect::admit(&self.settings, target)?;
        forward::preview(&self.forwarding, call, target)
    }
}
