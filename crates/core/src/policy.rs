//! The one noun and the one verb: a call walks its route's pipeline.
//!
//! ```text
//! Pipeline  =  [ step, step, step … ]  endpoint
//! step      =  a Check (looks, refuses or lets pass)  or  a Policy (wraps what comes after it)
//! ```

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::body::Body;
use crate::call::{Call, Response, RouteFacts};
use crate::refusal::Refusal;
use crate::trial::{Destination, Trial};

/// A step that wraps what comes after it: it answers, refuses, or hands the call on with [`Next::run`].
#[async_trait]
pub trait Policy: Send + Sync {
    /// Handles the call.
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal>;
}

/// A step that only looks: it lets the call pass, having noted what it found out, or refuses it.
pub trait Check: Send + Sync {
    /// Looks at the call.
    fn check(&self, call: &mut Call) -> Result<(), Refusal>;
}

/// What stands at the end of a pipeline: an upstream, the token endpoint, …
#[async_trait]
pub trait Endpoint: Send + Sync {
    /// Answers the call.
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal>;

    /// What would become of the call, as far as that can be told without sending or spending anything.
    fn preview(&self, _: &Call) -> Result<Destination, Refusal> {
        Ok(Destination::Gateway)
    }
}

/// One step of a pipeline.
#[derive(Clone)]
pub enum Step {
    /// Looks, without waiting.
    Check(Arc<dyn Check>),
    /// Wraps what comes after it.
    Policy(Arc<dyn Policy>),
}

/// A route's policies and its endpoint, compiled once and never changed.
pub struct Pipeline {
    /// What the route tells about itself.
    pub route: Arc<RouteFacts>,
    steps: Box<[(&'static str, Step)]>,
    endpoint: Arc<dyn Endpoint>,
}

impl Pipeline {
    /// Joins named steps, in the order they are walked, and the endpoint behind them.
    pub fn new(route: Arc<RouteFacts>, steps: Vec<(&'static str, Step)>, endpoint: Arc<dyn Endpoint>) -> Self {
        Self { route, steps: steps.into_boxed_slice(), endpoint }
    }

    /// The names of its steps, in the order they are walked.
    pub fn steps(&self) -> impl Iterator<Item = &'static str> {
        self.steps.iter().map(|(name, _)| *name)
    }

    /// Walks the call from the first step to the endpoint and back.
    pub async fn run(&self, call: &mut Call) -> Response {
        Next { pipeline: self, position: 0 }.run(call).await
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("route", &self.route.name).field("steps", &self.steps.len()).finish()
    }
}

/// What comes after a policy.
pub struct Next<'a> {
    pipeline: &'a Pipeline,
    position: usize,
}

impl Next<'_> {
    /// Hands the call to the next step. This is the only place where a [`Refusal`] becomes a [`Response`], so
    /// a policy further out sees refusals as the answers they are.
    pub async fn run(self, call: &mut Call) -> Response {
        let answered = self.walk(call).await;
        answered.unwrap_or_else(|refusal| call.refuse(&refusal))
    }

    async fn walk(mut self, call: &mut Call) -> Result<Response, Refusal> {
        if call.trial.is_some() {
            return Box::pin(self.try_out(call)).await;
        }
        while let Some((_, step)) = self.pipeline.steps.get(self.position) {
            self.position += 1;
            match step {
                Step::Check(check) => check.check(call)?,
                Step::Policy(policy) => return policy.handle(call, self).await,
            }
        }
        if let Some(lasting) = call.lasting.take() {
            lasting.let_in(call);
        }
        self.pipeline.endpoint.answer(call).await
    }

    /// The same walk for a call that is only tried: what each step says is noted, and the endpoint is not reached.
    async fn try_out(mut self, call: &mut Call) -> Result<Response, Refusal> {
        call.tried(Trial::hand_on);
        while let Some((name, step)) = self.pipeline.steps.get(self.position) {
            self.position += 1;
            match step {
                Step::Check(check) => {
                    let said = check.check(call);
                    call.tried(|trial| trial.checked(name, &said));
                    said?;
                }
                Step::Policy(policy) => {
                    let trying = call.tried(|trial| trial.begin(name));
                    let said = policy.handle(call, self).await;
                    call.tried(|trial| trying.map(|trying| trial.end(&trying, &said)));
                    return said;
                }
            }
        }
        let destination = self.pipeline.endpoint.preview(call)?;
        call.tried(|trial| trial.destination = Some(destination));
        Ok(Response::new(Body::empty()))
    }
}
