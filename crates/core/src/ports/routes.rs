//! Asking again which route a request takes: for requests that were sealed inside of others, and for the client that turns
//! out to call.

use crate::call::{Call, Request};
use crate::model::Label;
use crate::refusal::Refusal;
use crate::route_facts::Matched;

/// The routes that calls take at this moment.
pub trait Routes: Send + Sync {
    /// The route that a request would take if it came in place of a call's own.
    fn find(&self, call: &Call, request: &Request) -> Result<Matched, Refusal>;

    /// Whether a client has a route of its own that a call would have taken if it had claimed to be of that client; also
    /// where nobody can say.
    fn has_own(&self, call: &Call, client: &Label) -> bool;
}
