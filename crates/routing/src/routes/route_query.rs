//! What is looked for in the table of routes, and what is found.

use std::sync::Arc;

use http::Method;
use portcullis_core::call::Request;
use portcullis_core::canonical::{DecisionPath, Host};
use portcullis_core::message::{Fields, HasFields};
use portcullis_core::model::Label;
use portcullis_core::policy::Pipeline;

use super::conditions::Doubt;

/// What of a request routing looks at.
#[derive(Debug, Clone, Copy)]
pub struct RouteQuery<'a> {
    /// The client that the call claims to be of.
    pub client: Option<&'a Label>,
    /// The host.
    pub host: &'a Host,
    /// The path, or one reading of it.
    pub path: DecisionPath<'a>,
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: Fields<'a>,
    /// The query, as sent.
    pub query: Option<&'a [u8]>,
    /// Whether it is the call that a preflight announces: fields that the preflight names count as there.
    pub announced: bool,
    /// Whether no route regards case: what a service that does not tell upper from lower case would take the path for.
    pub in_any_case: bool,
}

impl<'a> RouteQuery<'a> {
    /// What routing looks at of a request that claims to be of a client, or of none.
    pub fn of(request: &'a Request, client: Option<&'a Label>) -> Self {
        Self {
            client,
            host: &request.host,
            path: request.path.decision(),
            method: &request.method,
            headers: request.fields(),
            query: request.query.as_deref(),
            announced: false,
            in_any_case: false,
        }
    }

    /// The same for another reading of the path.
    #[must_use]
    pub fn at(self, path: DecisionPath<'a>) -> Self {
        Self { path, ..self }
    }

    /// The same for a reading of the path, and without regard to case on either side.
    #[must_use]
    pub fn in_any_case(self, path: DecisionPath<'a>) -> Self {
        Self { path, in_any_case: true, ..self }
    }

    /// The call that a preflight announces.
    #[must_use]
    pub fn announcing(self, method: &'a Method) -> Self {
        Self { method, announced: true, ..self }
    }
}

/// The route that was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// What answers.
    pub pipeline: &'a Arc<Pipeline>,
    /// Bytes of the path that the route has matched.
    pub matched: usize,
    /// What stands against the conditions that were asked.
    pub doubt: Option<Doubt>,
}

/// The same, for whoever does not hold the table.
#[derive(Debug)]
pub struct Leads {
    /// What answers.
    pub pipeline: Arc<Pipeline>,
    /// Bytes of the path that the route has matched.
    pub matched: usize,
    /// What stands against the conditions that were asked.
    pub doubt: Option<Doubt>,
}

impl From<Found<'_>> for Leads {
    fn from(found: Found<'_>) -> Self {
        Self { pipeline: Arc::clone(found.pipeline), matched: found.matched, doubt: found.doubt }
    }
}
