//! Which route a call takes. Every reading of its path must find the same one, and a preflight takes the route of the call
//! that it announces.

use std::sync::Arc;

use http::Method;
use portcullis_core::call::Request;
use portcullis_core::policy::Pipeline;
use portcullis_core::refusal::Refusal;

use crate::routes::{Leads, Wanted};

/// What answers a call.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Its pipeline.
    pub(crate) pipeline: Arc<Pipeline>,
    /// Bytes of the path that the route has matched.
    pub(crate) matched: usize,
    /// The same for each other reading of the path.
    pub(crate) matched_readings: Vec<usize>,
}

/// Chooses the route for a request, or says why it has none: 404, or 400 where what it asks for has two readings.
pub(crate) fn choose(request: &Request, find: impl Fn(&Wanted<'_>) -> Option<Leads>) -> Result<Chosen, Refusal> {
    let path = &request.path;
    let announced = request.announced_method();
    let wanted = wanted(request, announced.as_ref(), &find);
    let Some(Leads { pipeline, matched, misspelled }) = find(&wanted) else {
        return Err(if path.has_parameters() {
            parameters()
        } else if path.has_encoded_slash() {
            encoded_slash()
        } else {
            Refusal::NoRoute
        });
    };
    if misspelled {
        let detail = "a field that routes here are chosen by is written in another spelling, which has two readings";
        return Err(Refusal::malformed("field_spelling", detail));
    }
    let options = pipeline.route.paths;
    if path.has_encoded_slash() && options.encoded_slash.is_refuse() {
        return Err(encoded_slash());
    }
    if options.case_insensitive {
        if path.decision().has_doubtful_case() {
            let detail = "without regard to case, a letter of the path has two readings";
            return Err(Refusal::malformed("doubtful_case", detail));
        }
        // The service reads the path in lower case as the same: it must not belong to a route that regards case.
        let folded = path.decision().folded();
        let is_same = |found: Option<Leads>| found.is_some_and(|found| Arc::ptr_eq(&found.pipeline, &pipeline));
        if folded.decision() != path.decision() && !is_same(find(&wanted.at(folded.decision()))) {
            let detail = "in lower case, the path belongs to a different route";
            return Err(Refusal::malformed("doubtful_case", detail));
        }
    }
    let mut matched_readings = Vec::new();
    if path.has_parameters() {
        if options.parameters.is_refuse() {
            return Err(parameters());
        }
        for reading in path.readings() {
            match find(&wanted.at(reading)) {
                Some(other) if Arc::ptr_eq(&other.pipeline, &pipeline) => matched_readings.push(other.matched),
                _ => {
                    let detail = "with its parameters and without them, the path belongs to different routes";
                    return Err(Refusal::malformed("path_parameters", detail));
                }
            }
        }
    }
    Ok(Chosen { pipeline, matched, matched_readings })
}

/// What is looked for: the request itself, or the call that it announces, where that takes a route which answers
/// preflights. What nothing answers goes where its own method leads, so that no route is reached by a method it does not
/// take.
pub(crate) fn wanted<'a>(
    request: &'a Request,
    announced: Option<&'a Method>,
    find: impl Fn(&Wanted<'_>) -> Option<Leads>,
) -> Wanted<'a> {
    let itself = Wanted::of(request);
    let Some(method) = announced else { return itself };
    let wanted = itself.announcing(method);
    let is_answered = find(&wanted).is_some_and(|found| found.pipeline.steps().any(|step| step == "cors"));
    if is_answered { wanted } else { itself }
}

fn parameters() -> Refusal {
    Refusal::malformed("path_parameters", "a path with parameters (';') has two readings and is refused")
}

fn encoded_slash() -> Refusal {
    Refusal::malformed("encoded_slash", "an encoded slash has two readings and is refused")
}
