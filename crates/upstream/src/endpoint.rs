//! The endpoint at the end of a service's pipeline: choose a target, forward the call, bring the answer back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use futures_util::future::Either;
use portcullis_core::call::{Call, Response};
use portcullis_core::dry_run::Destination;
use portcullis_core::model::{
    MAX_TARGETS, MAX_WEIGHT, Owner, Problem, Protocol, Service, ServiceId, Target, TargetTls,
};
use portcullis_core::policy::Endpoint;
use portcullis_core::ports::Clock;
use portcullis_core::refusal::Refusal;
use portcullis_wire::revocation::Waiting;

use crate::attempt::Failed;
use crate::backend::{self, Backend};
use crate::cluster::{Clusters, Members};
use crate::rooms::Rooms;
use crate::settings::{Forwarding, Settings};
use crate::tls::Identities;
use crate::traffic::timeouts::Timeouts;
use crate::traffic::{Traffic, whole};
use crate::weak_map::WeakMap;
use crate::{connect, forward, gather, grpc, retry};

/// Makes upstream endpoints.
#[derive(Debug, Clone)]
pub struct Upstreams {
    declared: Manner,
    registered: Manner,
    identities: Arc<Identities>,
    clusters: Arc<Clusters>,
    /// What this node may have of each target: an authority, and whether it is for services that registered themselves.
    rooms: Arc<WeakMap<(Arc<str>, bool), Rooms>>,
    /// The endpoints there are. Those of routes that say the same of a service are one: of many routes each call takes another,
    /// and what stands in memory once the processor finds in its caches.
    endpoints: Arc<WeakMap<Described, Upstream>>,
}

/// What an endpoint is compiled from.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Described {
    id: ServiceId,
    targets: Vec<Target>,
    protocol: Protocol,
    tls: Option<TargetTls>,
    timeouts: Timeouts,
    forwarding: Forwarding,
}

/// How calls are dealt with, and those among them that are streams which may be silent.
#[derive(Debug, Clone)]
struct Manner {
    settings: Arc<Settings>,
    patient: Arc<Settings>,
    /// Whether its connections are for nobody else.
    is_apart: bool,
}

impl Manner {
    fn of(settings: Settings, is_apart: bool) -> Self {
        let idle = settings.stream_idle;
        let patient = Arc::new(Settings { first_byte: idle, body_idle: idle, ..settings.clone() });
        Self { settings: Arc::new(settings), patient, is_apart }
    }
}

impl Upstreams {
    /// A maker of endpoints that share these settings. By the clock, certificates of targets are judged.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let identities = Arc::new(Identities::new(&settings.files, clock));
        let narrow = settings.guard.for_registered();
        let narrow = narrow.map(|guard| Manner::of(Settings { guard, ..settings.clone() }, true));
        let declared = Manner::of(settings, false);
        let registered = narrow.unwrap_or_else(|| declared.clone());
        Self {
            registered,
            declared,
            identities,
            clusters: Arc::default(),
            rooms: Arc::default(),
            endpoints: Arc::default(),
        }
    }

    /// How calls are dealt with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.declared.settings
    }

    /// Whom this node takes for whom, and shows itself as.
    pub(crate) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// What is wrong with the addresses of targets that a change declares. What was declared before, and is compiled as it
    /// stands, is judged when it is connected to: its service may have other targets.
    pub fn judge(&self, targets: &[Target], owner: Owner) -> Vec<Problem> {
        self.manner(owner == Owner::Registration).settings.guard.problems(targets)
    }

    fn manner(&self, is_registered: bool) -> &Manner {
        if is_registered { &self.registered } else { &self.declared }
    }

    fn rooms_of(&self, backend: &Backend, manner: &Manner) -> Arc<Rooms> {
        let Settings { per_target, tunnels, .. } = *manner.settings;
        let key = (Arc::clone(backend.url.authority()), manner.is_apart);
        self.rooms.of(&key, || Rooms::new(per_target, tunnels))
    }

    /// Takes up certificates of this node whose files have changed. Reads files.
    pub fn refresh(&self) {
        self.identities.refresh();
    }

    /// The endpoint for a service's targets, on a route that forwards like this; by the node's settings where there is no
    /// `traffic`. All endpoints of one service share what is known of its targets; compiling one that is never called changes
    /// nothing of it.
    pub fn compile(
        &self,
        id: &ServiceId,
        service: &Service,
        traffic: Option<&Traffic>,
        forwarding: Forwarding,
    ) -> Result<Arc<dyn Endpoint>, Vec<Problem>> {
        let Service { targets, protocol, tls, .. } = service;
        let mut problems = Vec::new();
        if targets.len() > MAX_TARGETS {
            problems.push(Problem::new("targets", format!("a service has at most {MAX_TARGETS} targets")));
        }
        let has_weight = |target: &Target| (1..=MAX_WEIGHT).contains(&target.weight);
        for (position, target) in targets.iter().enumerate().filter(|(_, target)| !has_weight(target)) {
            let message = format!("expected a weight from 1 to {MAX_WEIGHT}, found {}", target.weight);
            problems.push(Problem::new(format!("targets[{position}].weight"), message));
        }
        match backend::backends(targets, *protocol, tls.as_ref(), &self.identities) {
            Ok(backends) if problems.is_empty() => {
                let manner = self.manner(forwarding.is_registered);
                let backends = backends.into_iter().map(|backend| {
                    let rooms = self.rooms_of(&backend, manner);
                    if manner.is_apart { backend.apart() } else { backend }.within(rooms)
                });
                let weights = targets.iter().map(|target| target.weight);
                let members = self.clusters.of(id).members(backends.zip(weights));
                let timeouts = traffic.map(|traffic| traffic.timeouts).unwrap_or_default();
                let settings = timeouts.over(&manner.settings);
                // Elsewhere a content type alone would make a slow service one that may be silent for an hour.
                let speaks_grpc = matches!(protocol, Protocol::H2 | Protocol::H2c);
                let patient = if speaks_grpc { timeouts.over(&manner.patient) } else { Arc::clone(&settings) };
                let (id, tls, targets, protocol) = (id.clone(), tls.clone(), targets.clone(), *protocol);
                let described = Described { id, targets, protocol, tls, timeouts, forwarding: forwarding.clone() };
                Ok(self.endpoints.of(&described, || Upstream { members, forwarding, settings, patient }))
            }
            backends => {
                problems.extend(backends.err().into_iter().flatten());
                Err(problems)
            }
        }
    }
}

/// Forwards calls to one of several targets.
struct Upstream {
    members: Members,
    forwarding: Forwarding,
    settings: Arc<Settings>,
    /// The same, for calls that are streams which may be silent, where the service is spoken to over HTTP/2 alone.
    patient: Arc<Settings>,
}

#[async_trait]
impl Endpoint for Upstream {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        match call.grpc.clone() {
            None => {
                // Over HTTP/2 a call has no connection of its own.
                if gather::is_worth(call) && !self.members.speak_http2() {
                    let gathered = Box::pin(gather::gather(&self.settings.gathered, call)).await;
                    gathered.map_err(|error| Refusal::of_body(&error))?;
                }
                let mut waiting = Waiting::begin(call);
                let answered = {
                    let mut answer = pin!(self.forward(&self.settings, call));
                    poll_fn(|context| match waiting.is_revoked(context) {
                        // The request is broken off: its body with it, where that has not come whole.
                        true => Poll::Ready(Err(Refusal::Revoked)),
                        false => answer.as_mut().poll(context),
                    })
                    .await
                };
                waiting.end(call);
                answered
            }
            // Kept apart, so that other calls do not carry its weight.
            Some(grpc) => {
                Box::pin(grpc::forward(grpc, call, async |call| self.forward(&self.patient, call).await)).await
            }
        }
    }
    fn preview(&self, call: &Call) -> Result<Destination, Refusal> {
        let target = &self.members.peek().ok_or(Refusal::NoTarget)?.backend;
        connect::admit(&self.settings, &target.url).map_err(Failed::into_refusal)?;
        forward::preview(&self.forwarding, call, target)
    }
}

impl Upstream {
    fn forward<'a>(
        &'a self,
        settings: &'a Settings,
        call: &'a mut Call,
    ) -> impl Future<Output = Result<Response, Refusal>> + use<'a> {
        let started = call.record.started();
        let answer = retry::forward(settings, &self.forwarding, &self.members, call);
        match settings.timeouts.call {
            None => Either::Left(answer),
            Some(limit) => Either::Right(Box::pin(whole::within(limit, started, answer))),
        }
    }
}
