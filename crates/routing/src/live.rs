//! The routes that calls take, asked again from within a call.

use portcullis_core::call::{Call, Matched, Request};
use portcullis_core::ports::routes::Routes;
use portcullis_core::refusal::Refusal;

use crate::choose::{self, Chosen};
use crate::snapshot;

/// The routes of the worker that asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct LiveRoutes;

impl Routes for LiveRoutes {
    fn find(&self, call: &Call, request: &Request) -> Result<Matched, Refusal> {
        let Chosen { pipeline, matched, matched_readings } =
            choose::choose(request, call.claimed_client(), snapshot::find)?;
        Ok(Matched { route: std::sync::Arc::clone(&pipeline.route), matched, matched_readings })
    }
}
