//! Which route a call takes. Every reading of its path must find the same one, and a preflight takes the route of the call
//! that it announces.

use std::iter;
use std::sync::Arc;

use http::Method;
use portcullis_core::call::Request;
use portcullis_core::model::Label;
use portcullis_core::policy::Pipeline;
use portcullis_core::refusal::Refusal;

use crate::routes::{Doubt, Leads, RouteQuery};

/// What answers a call.
#[derive(Debug)]
pub struct Chosen {
    /// Its pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Bytes of the path that the route has matched.
    pub matched: usize,
    /// The same for each other reading of the path.
    pub matched_readings: Vec<usize>,
}

/// Chooses the route for a request that claims to be of a client, or of none; or says why it has none: 404, or 400 where what it
/// asks for has two readings.
pub fn choose(
    request: &Request,
    claimed: Option<&Label>,
    find: impl Fn(&RouteQuery<'_>) -> Option<Leads>,
) -> Result<Chosen, Refusal> {
    let path = &request.path;
    let announced = request.announced_method();
    let wanted = wanted(request, claimed, announced.as_ref(), &find);
    let Some(Leads { pipeline, matched, doubt }) = find(&wanted) else {
        return Err(if path.has_parameters() {
            parameters()
        } else if path.has_encoded_slash() {
            encoded_slash()
        } else {
            Refusal::NoRoute
        });
    };
    if let Some(doubt) = doubt {
        return Err(doubtful(doubt));
    }
    let options = pipeline.route.paths;
    if path.has_encoded_slash() && options.encoded_slash.is_refuse() {
        return Err(encoded_slash());
    }
    let mut matched_readings = Vec::new();
    if path.has_parameters() {
        if options.parameters.is_refuse() {
            return Err(parameters());
        }
        for reading in path.readings() {
            let unlike = "with its parameters and without them, the path belongs to different routes";
            matched_readings.push(alike(&pipeline, find(&wanted.at(reading)), "path_parameters", unlike)?);
        }
    }
    if options.case_insensitive {
        // The service reads each of these in every case as the same: it must not belong to a route that regards case.
        for reading in iter::once(path.decision()).chain(path.readings()) {
            if reading.has_doubtful_case() {
                let detail = "this route ignores case, and systems disagree on the other case of a letter in the path";
                return Err(Refusal::malformed("doubtful_case", detail));
            }
            let unlike = "without regard to case, the path belongs to a different route";
            alike(&pipeline, find(&wanted.in_any_case(reading)), "doubtful_case", unlike)?;
        }
    }
    Ok(Chosen { pipeline, matched, matched_readings })
}

/// How much of another reading of a path its route has matched; a refusal unless that is the same route.
fn alike(
    pipeline: &Arc<Pipeline>,
    found: Option<Leads>,
    reason: &'static str,
    unlike: &'static str,
) -> Result<usize, Refusal> {
    match found {
        Some(Leads { doubt: Some(doubt), .. }) => Err(doubtful(doubt)),
        Some(other) if Arc::ptr_eq(&other.pipeline, pipeline) => Ok(other.matched),
        _ => Err(Refusal::malformed(reason, unlike)),
    }
}

/// What is looked for: the request itself, or the call that it announces, where that takes a route which answers
/// preflights. What nothing answers goes where its own method leads, so that no route is reached by a method it does not
/// take.
pub fn wanted<'a>(
    request: &'a Request,
    claimed: Option<&'a Label>,
    announced: Option<&'a Method>,
    find: impl Fn(&RouteQuery<'_>) -> Option<Leads>,
) -> RouteQuery<'a> {
    let itself = RouteQuery::of(request, claimed);
    let Some(method) = announced else { return itself };
    let wanted = itself.announcing(method);
    let is_answered = find(&wanted).is_some_and(|found| found.pipeline.steps().any(|step| step == "cors"));
    if is_answered { wanted } else { itself }
}

fn doubtful(doubt: Doubt) -> Refusal {
    match doubt {
        Doubt::Spelling => {
            let detail = "a route here matches on a header field, and the request has this field under another spelling of its name, so the match is ambiguous";
            Refusal::malformed("field_spelling", detail)
        }
        Doubt::Values => {
            let detail = "a route here matches on a header field or query parameter that has several values in this request, and only some of them match";
            Refusal::malformed("several_values", detail)
        }
    }
}

fn parameters() -> Refusal {
    Refusal::malformed("path_parameters", "a path with parameters (';') has two readings and is refused")
}

fn encoded_slash() -> Refusal {
    Refusal::malformed("encoded_slash", "an encoded slash has two readings and is refused")
}
