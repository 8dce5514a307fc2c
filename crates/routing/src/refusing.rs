//! A pipeline that refuses: for requests that cannot be read, paths nobody answers, and places whose declaration does not
//! compile.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{Call, Response, RouteFacts};
use portcullis_core::dry_run::Destination;
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_core::refusal::Refusal;

/// A pipeline without steps that refuses every call like this.
pub fn refusing(facts: Arc<RouteFacts>, refusal: Refusal) -> Arc<Pipeline> {
    Arc::new(Pipeline::new(facts, Vec::new(), Arc::new(Refuse(refusal))))
}

struct Refuse(Refusal);

#[async_trait]
impl Endpoint for Refuse {
    async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
        Err(self.0.clone())
    }

    fn preview(&self, _: &Call) -> Result<Destination, Refusal> {
        Err(self.0.clone())
    }
}
