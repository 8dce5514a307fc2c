//! The routes that calls take, asked again from within a call, and what is declared of their hosts.

use std::sync::Arc;

use portcullis_core::call::{Call, Matched, Request};
use portcullis_core::model::Label;
use portcullis_core::ports::routes::Routes;
use portcullis_core::refusal::Refusal;

use crate::choose::{self, Chosen};
use crate::routes::{Leads, RouteQuery};
use crate::snapshot::{self, Snapshot};

/// The routes of the worker that asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct LiveRoutes;

impl Routes for LiveRoutes {
    fn find(&self, call: &Call, request: &Request) -> Result<Matched, Refusal> {
        matched(call, request, snapshot::find)
    }

    fn has_own(&self, call: &Call, client: &Label) -> bool {
        snapshot::has_routes_of(client) && takes_own(call, client, snapshot::find)
    }
}

/// The routes of one snapshot, for a call that is only tried.
#[derive(Debug)]
pub struct RoutesOf(pub Arc<Snapshot>);

impl Routes for RoutesOf {
    fn find(&self, call: &Call, request: &Request) -> Result<Matched, Refusal> {
        matched(call, request, |wanted| Some(self.0.find(wanted)?.into()))
    }

    fn has_own(&self, call: &Call, client: &Label) -> bool {
        self.0.has_routes_of(client) && takes_own(call, client, |wanted| Some(self.0.find(wanted)?.into()))
    }
}

fn matched(
    call: &Call,
    request: &Request,
    find: impl Fn(&RouteQuery<'_>) -> Option<Leads>,
) -> Result<Matched, Refusal> {
    let Chosen { pipeline, matched, matched_readings } = choose::choose(request, call.claimed_client(), find)?;
    Ok(Matched { route: Arc::clone(&pipeline.route), matched, matched_readings })
}

/// Whether a call that claimed this client would take a route of it. A call that would be refused for what it leaves in doubt
/// might take one.
fn takes_own(call: &Call, client: &Label, find: impl Fn(&RouteQuery<'_>) -> Option<Leads>) -> bool {
    match choose::choose(&call.request, Some(client), find) {
        Ok(chosen) => chosen.pipeline.route.client.as_ref() == Some(client),
        Err(refusal) => refusal != Refusal::NoRoute,
    }
}
