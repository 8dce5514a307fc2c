//! The middleware pipeline of a route: a call walks its steps (policies and checks) to its endpoint, and the answer back.
//!
//! ```text
//! Pipeline  =  [ step, step, step … ]  endpoint
//! step      =  a Check (looks, refuses or lets pass)  or  a Policy (wraps what comes after it)
//! ```
//!
//! A check that refuses, behind a policy that sees the refusal as the answer it has become:
//!
//! ```
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use portcullis_core::body::Body;
//! use portcullis_core::call::{Call, Response, RouteFacts};
//! use portcullis_core::message::{FieldName, FieldValue, HasFields};
//! use portcullis_core::policy::{Check, Endpoint, Next, Pipeline, Policy, Step};
//! use portcullis_core::refusal::Refusal;
//!
//! struct OnlyGet;
//!
//! impl Check for OnlyGet {
//!     fn check(&self, call: &mut Call) -> Result<(), Refusal> {
//!         if call.request.method == http::Method::GET { Ok(()) } else { Err(Refusal::MethodNotAllowed { allow: "GET" }) }
//!     }
//! }
//!
//! const X_SIGNED: FieldName = FieldName::from_static("x-signed");
//!
//! struct Signed;
//!
//! #[async_trait]
//! impl Policy for Signed {
//!     async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
//!         let mut response = next.run(call).await;
//!         response.fields_mut().set(X_SIGNED, FieldValue::from_static("yes"));
//!         Ok(response)
//!     }
//! }
//!
//! struct Hello;
//!
//! #[async_trait]
//! impl Endpoint for Hello {
//!     async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
//!         Ok(Response::new(Body::full("hello")))
//!     }
//! }
//!
//! let steps = vec![("signed", Step::Policy(Arc::new(Signed))), ("only_get", Step::Check(Arc::new(OnlyGet)))];
//! let pipeline = Pipeline::new(Arc::new(RouteFacts::default()), steps, Arc::new(Hello));
//! # use std::pin::pin;
//! # use std::task::{Context, Poll, Waker};
//! # use std::time::{Instant, SystemTime};
//! # use http::{Method, Uri, Version};
//! # use portcullis_core::message::FieldMap;
//! # use portcullis_core::call::{Dialect, Peer, RawRequest, Request, RequestId};
//! # use portcullis_core::canonical::{Host, Path};
//! # use portcullis_core::ports::AccessLog;
//! # use portcullis_core::record::{OpenRecord, Record};
//! # struct NoLog;
//! # impl AccessLog for NoLog { fn write(&self, _: &Record) {} }
//! # fn call(method: Method) -> Call {
//! #     let (id, client_ip) = (RequestId::from_random([7; 16]), [192, 0, 2, 7].into());
//! #     let path = Path::root();
//! #     let record = Record::begun(SystemTime::UNIX_EPOCH, id.clone(), client_ip, method.clone(), path.shared());
//! #     let peer = Peer { socket: (client_ip, 4711).into(), client_ip, shared: false, scheme: "http", certificate: None };
//! #     let (version, fields, body) = (Version::HTTP_11, FieldMap::new(), Body::empty());
//! #     let request = Request { method, path, query: None, host: Host::unnamed(), version, fields, body };
//! #     let raw = RawRequest { target: Uri::from_static("/"), removed: Vec::new() };
//! #     Call::new(id, peer, request, raw, Dialect::Http, OpenRecord::new(record, Instant::now(), Arc::new(NoLog)))
//! # }
//! # fn run(pipeline: &Pipeline, method: Method) -> Response {
//! #     let mut call = call(method);
//! #     match pin!(pipeline.run(&mut call)).poll(&mut Context::from_waker(Waker::noop())) {
//! #         Poll::Ready(response) => response,
//! #         Poll::Pending => panic!("nothing here waits"),
//! #     }
//! # }
//!
//! let response = run(&pipeline, Method::GET);
//! assert_eq!((response.status().as_u16(), response.fields().text(X_SIGNED)), (200, Some("yes")));
//! let response = run(&pipeline, Method::POST);
//! assert_eq!((response.status().as_u16(), response.fields().text(X_SIGNED)), (405, Some("yes")));
//! ```

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::body::Body;
use crate::call::{Call, Response, RouteFacts};
use crate::dry_run::{Destination, DryRun};
use crate::metrics::Slot;
use crate::refusal::Refusal;

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

/// Named steps, in the order they are walked.
pub type Steps = [(&'static str, Step)];

/// A route's policies and its endpoint, compiled once and never changed.
pub struct Pipeline {
    /// What the route tells about itself.
    pub route: Arc<RouteFacts>,
    steps: Arc<Steps>,
    endpoint: Arc<dyn Endpoint>,
    series: OnceLock<Slot>,
}

impl Pipeline {
    /// Joins named steps, in the order they are walked, and the endpoint behind them.
    pub fn new(route: Arc<RouteFacts>, steps: Vec<(&'static str, Step)>, endpoint: Arc<dyn Endpoint>) -> Self {
        Self::sharing(route, steps.into(), endpoint)
    }

    /// The same with steps that other pipelines have too.
    pub fn sharing(route: Arc<RouteFacts>, steps: Arc<Steps>, endpoint: Arc<dyn Endpoint>) -> Self {
        Self { route, steps, endpoint, series: OnceLock::new() }
    }

    /// The names of its steps, in the order they are walked.
    pub fn steps(&self) -> impl Iterator<Item = &'static str> {
        self.steps.iter().map(|(name, _)| *name)
    }

    /// Where its calls are counted: looked for once, and known from then on.
    pub fn series(&self, find: impl FnOnce() -> Slot) -> Slot {
        *self.series.get_or_init(find)
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
        if call.dry_run.is_some() {
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
        call.tried(DryRun::hand_on);
        while let Some((name, step)) = self.pipeline.steps.get(self.position) {
            self.position += 1;
            match step {
                Step::Check(check) => {
                    let said = check.check(call);
                    call.tried(|dry_run| dry_run.checked(name, &said));
                    said?;
                }
                Step::Policy(policy) => {
                    let trying = call.tried(|dry_run| dry_run.begin(name));
                    let said = policy.handle(call, self).await;
                    call.tried(|dry_run| trying.map(|trying| dry_run.end(&trying, &said)));
                    return said;
                }
            }
        }
        let destination = self.pipeline.endpoint.preview(call)?;
        call.tried(|dry_run| dry_run.destination = Some(destination));
        Ok(Response::new(Body::empty()))
    }
}
