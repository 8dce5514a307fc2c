//! Asking again which route a request takes: for requests that were sealed inside of others.

use crate::call::{Call, Request};
use crate::refusal::Refusal;
use crate::route_facts::Matched;

/// The routes that calls take at this moment.
pub trait Routes: Send + Sync {
    /// The route that a request would take if it came in place of a call's own.
    fn find(&self, call: &Call, request: &Request) -> Result<Matched, Refusal>;
}
