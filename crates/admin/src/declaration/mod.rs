//! Reads what is declared, so that every mistake in it is told at once, each with its place. What declarations look like
//! is said by their types alone (`core::model`); here stands what takes the place of parts that could not be read, so
//! that the rest can be compiled and its problems told along with the others.

mod file;
pub(crate) mod schemas;
pub(crate) mod syntax;
#[cfg(test)]
mod tests;

use portcullis_core::model::{Client, Host, Problem, Route, Service};
use portcullis_core::settings::{self, Reading as Object};
use serde_json::{Map, Value, json};

pub(crate) use file::unshadowed;
pub use file::{LARGEST, Reading, read, to_yaml, with_lines};
pub use syntax::Syntax;

/// What says what a route leads to.
const DESTINATIONS: [&str; 4] = ["service", "redirect", "answer", "builtin"];
/// What a route has that answers by itself.
const OF_EVERY_ROUTE: [&str; 5] = ["match", "enabled", "path_parameters", "encoded_slash", "case_insensitive"];

/// Reads the body of a declared service.
pub(crate) fn read_service(body: &Value) -> Object<Service> {
    settings::read(body, |fields, _| _ = fields.entry("targets").or_insert_with(|| json!([])))
}

/// Reads the body of a declared route. Whether hosts, paths and conditions can be met is not looked at here: that is what
/// compiling finds out.
pub(crate) fn read_route(body: &Value) -> Object<Route> {
    settings::read(body, |fields, problems| {
        if !fields.contains_key("match") {
            fields.insert("match".to_owned(), json!({"path": {"prefix": "/"}}));
            // A path that could not be read has no parameters that a rewriting could be held against.
            fields.remove("rewrite");
        }
        let leads = |problem: &Problem| problem.path.is_empty() || DESTINATIONS.contains(&part(&problem.path));
        if problems.iter().any(leads) {
            lead_nowhere(fields);
        }
    })
}

/// What is left of a route of which it is not clear what it leads to.
fn lead_nowhere(fields: &mut Map<String, Value>) {
    fields.retain(|field, _| OF_EVERY_ROUTE.contains(&field.as_str()));
    fields.insert("answer".to_owned(), json!({"status": 204}));
}

/// Reads a declared client.
pub(crate) fn read_client(body: &Value) -> Object<Client> {
    settings::read(body, |_, _| ())
}

/// Reads a declared host.
pub(crate) fn read_host(body: &Value) -> Object<Host> {
    settings::read(body, |_, _| ())
}

/// Whether a problem is about a part of the body that `others` complain about too. What is left out of a
/// reading shifts what is behind it, so a later look at such a part says nothing reliable.
pub(crate) fn shadowed(problem: &Problem, others: &[Problem]) -> bool {
    !is_by_kind(part(&problem.path)) && others.iter().any(|other| part(&other.path) == part(&problem.path))
}

/// Whether a part holds settings by kind, which are looked at one by one when they are compiled.
fn is_by_kind(part: &str) -> bool {
    matches!(part, "policies" | "traffic")
}

/// The field a path begins with.
fn part(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or("")
}
