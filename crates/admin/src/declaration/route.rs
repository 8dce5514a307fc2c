//! Reads a declared route by hand, so that every mistake in its form is told at once, each with its place.
//!
//! Whether hosts, paths and conditions can be met is not looked at here: that is what compiling finds out.

use std::collections::BTreeMap;

use portcullis_core::model::{FixedAnswer, HostMode, Match, PathMatch, Problem, Redirect, Route, ServiceId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fields::{expected, text, texts, truth, unknown_fields};
use super::service;

const FIELDS: [&str; 12] = [
    "match",
    "service",
    "redirect",
    "answer",
    "strip",
    "rewrite",
    "host",
    "path_parameters",
    "encoded_slash",
    "case_insensitive",
    "require",
    "policies",
];
const MATCH_FIELDS: [&str; 5] = ["hosts", "path", "methods", "headers", "query"];
const REDIRECT_FIELDS: [&str; 3] = ["to", "status", "keep_query"];
const ANSWER_FIELDS: [&str; 3] = ["status", "headers", "body"];
const PATH: &str = "an object with one of 'exact', 'prefix' and 'pattern'";

/// A route as far as it could be read, and everything that is wrong with its form.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What could be read; where it is not known what the route leads to, an empty answer stands for it.
    pub(crate) route: Option<Route>,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
}

/// Reads the body of a declared route.
pub(crate) fn read(body: &Value) -> Reading {
    let mut problems = Vec::new();
    let Some(fields) = body.as_object() else {
        problems.push(expected("", "an object with 'match'", body));
        return Reading { route: None, problems };
    };
    unknown_fields(fields, &FIELDS, "", &mut problems);
    let problems = &mut problems;
    let matches = match fields.get("match") {
        None => {
            problems.push(Problem::new("match", "is missing: expected an object with 'path'"));
            None
        }
        Some(value) => matches(value, problems),
    };
    let before = problems.len();
    let service = fields.get("service").and_then(|value| text::<ServiceId>(value, "service", problems));
    let redirect = fields.get("redirect").and_then(|value| object(value, "redirect", &REDIRECT_FIELDS, problems));
    let answer = fields.get("answer").and_then(|value| object(value, "answer", &ANSWER_FIELDS, problems));
    let mut is_clear = problems.len() == before;
    let written = ["service", "redirect", "answer"].into_iter().filter(|field| fields.contains_key(*field)).count();
    if written != 1 {
        problems.push(Problem::new("", "a route has exactly one of 'service', 'redirect' and 'answer'"));
        is_clear = false;
    }
    let strip = fields.get("strip").and_then(|value| truth(value, "strip", problems)).unwrap_or_default();
    let rewrite = fields.get("rewrite").and_then(|value| text::<String>(value, "rewrite", problems));
    let host = fields.get("host").and_then(|value| host(value, problems)).unwrap_or_default();
    let path_parameters = fields.get("path_parameters").and_then(|value| text(value, "path_parameters", problems));
    let encoded_slash = fields.get("encoded_slash").and_then(|value| text(value, "encoded_slash", problems));
    let case_insensitive = fields.get("case_insensitive").and_then(|value| truth(value, "case_insensitive", problems));
    let require = fields.get("require").map(|value| service::require(value, problems));
    let policies = match fields.get("policies") {
        None => BTreeMap::new(),
        Some(Value::Object(policies)) => policies.clone().into_iter().collect(),
        Some(other) => {
            problems.push(expected("policies", "an object of settings by kind", other));
            BTreeMap::new()
        }
    };
    // A path that could not be read has no parameters that a rewriting could be held against.
    let rewrite = rewrite.filter(|_| matches.is_some());
    let matches = matches.unwrap_or_else(anything);
    let route = Route {
        matches,
        service,
        redirect,
        answer,
        strip,
        rewrite,
        host,
        path_parameters,
        encoded_slash,
        case_insensitive,
        require,
        policies,
    };
    let route = if is_clear { route } else { leading_nowhere(route) };
    Reading { route: Some(route), problems: std::mem::take(problems) }
}

/// What stands for a route of which it is not clear what it leads to, so that the rest can be compiled.
fn leading_nowhere(route: Route) -> Route {
    let answer = Some(FixedAnswer { status: 204, headers: BTreeMap::new(), body: String::new() });
    let (service, redirect, rewrite, require) = (None, None, None, None);
    let (strip, host, policies) = (false, HostMode::Target, BTreeMap::new());
    Route { service, redirect, answer, strip, rewrite, host, require, policies, ..route }
}

/// What stands for a match that could not be read, so that the rest can be compiled.
fn anything() -> Match {
    Match {
        hosts: Vec::new(),
        path: PathMatch::Prefix("/".to_owned()),
        methods: Vec::new(),
        headers: BTreeMap::new(),
        query: BTreeMap::new(),
    }
}

fn matches(value: &Value, problems: &mut Vec<Problem>) -> Option<Match> {
    let Some(fields) = value.as_object() else {
        problems.push(expected("match", "an object with 'path'", value));
        return None;
    };
    let before = problems.len();
    unknown_fields(fields, &MATCH_FIELDS, "match", problems);
    let path = match fields.get("path") {
        None => {
            problems.push(Problem::new("match.path", format!("is missing: expected {PATH}")));
            None
        }
        Some(value) => path(value, problems),
    };
    let mut list = |field: &str| {
        let place = format!("match.{field}");
        match fields.get(field) {
            None => Vec::new(),
            Some(Value::Array(items)) => texts(items, &place, problems),
            Some(other) => {
                problems.push(expected(&place, "a list of texts", other));
                Vec::new()
            }
        }
    };
    let (hosts, methods) = (list("hosts"), list("methods"));
    let mut map = |field: &str| {
        let place = format!("match.{field}");
        match fields.get(field) {
            None => BTreeMap::new(),
            Some(Value::Object(items)) => values(items, &place, problems),
            Some(other) => {
                problems.push(expected(&place, "an object of texts by name", other));
                BTreeMap::new()
            }
        }
    };
    let (headers, query) = (map("headers"), map("query"));
    let read = Match { hosts, path: path?, methods, headers, query };
    (problems.len() == before).then_some(read)
}

fn path(value: &Value, problems: &mut Vec<Problem>) -> Option<PathMatch> {
    let one = value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
    let Some((kind, value)) = one else {
        problems.push(expected("match.path", PATH, value));
        return None;
    };
    let place = format!("match.path.{kind}");
    let path: fn(String) -> PathMatch = match kind.as_str() {
        "exact" => PathMatch::Exact,
        "prefix" => PathMatch::Prefix,
        "pattern" => PathMatch::Pattern,
        _ => {
            problems.push(Problem::new(place, "is not known; expected one of exact, prefix, pattern"));
            return None;
        }
    };
    text::<String>(value, &place, problems).map(path)
}

fn values(items: &Map<String, Value>, place: &str, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for (name, value) in items {
        if let Some(value) = text::<String>(value, &format!("{place}.{name}"), problems) {
            read.insert(name.clone(), value);
        }
    }
    read
}

/// An object whose fields serde reads one by one: each is tried alone, so that every mistake is told.
fn object<T: DeserializeOwned + Parted>(
    value: &Value,
    place: &str,
    known: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let Some(fields) = value.as_object() else {
        problems.push(expected(place, &format!("an object with '{}'", T::NEEDED), value));
        return None;
    };
    let before = problems.len();
    unknown_fields(fields, known, place, problems);
    T::look(fields, place, problems);
    if !fields.contains_key(T::NEEDED) {
        problems.push(Problem::new(format!("{place}.{}", T::NEEDED), "is missing"));
    }
    if problems.len() > before {
        return None;
    }
    serde_json::from_value(value.clone()).map_err(|error| problems.push(Problem::new(place, error.to_string()))).ok()
}

/// An object with one field it needs.
trait Parted {
    const NEEDED: &'static str;
    fn look(fields: &Map<String, Value>, place: &str, problems: &mut Vec<Problem>);
}

impl Parted for Redirect {
    const NEEDED: &'static str = "to";
    fn look(fields: &Map<String, Value>, place: &str, problems: &mut Vec<Problem>) {
        fields.get("to").and_then(|value| text::<String>(value, &format!("{place}.to"), problems));
        status(fields, place, problems);
        fields.get("keep_query").and_then(|value| truth(value, &format!("{place}.keep_query"), problems));
    }
}

impl Parted for FixedAnswer {
    const NEEDED: &'static str = "status";
    fn look(fields: &Map<String, Value>, place: &str, problems: &mut Vec<Problem>) {
        status(fields, place, problems);
        let headers = format!("{place}.headers");
        match fields.get("headers") {
            None => {}
            Some(Value::Object(items)) => drop(values(items, &headers, problems)),
            Some(other) => problems.push(expected(&headers, "an object of texts by name", other)),
        }
        fields.get("body").and_then(|value| text::<String>(value, &format!("{place}.body"), problems));
    }
}

fn status(fields: &Map<String, Value>, place: &str, problems: &mut Vec<Problem>) {
    if let Some(value) = fields.get("status")
        && value.as_u64().and_then(|status| u16::try_from(status).ok()).is_none()
    {
        problems.push(expected(&format!("{place}.status"), "a status code", value));
    }
}

fn host(value: &Value, problems: &mut Vec<Problem>) -> Option<HostMode> {
    let read = serde_json::from_value(value.clone()).ok();
    if read.is_none() {
        problems.push(Problem::new("host", "expected 'target' or 'preserve'"));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &Value, paths: &[&str]) {
        let reading = read(body);
        let found: Vec<_> = reading.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(found, paths, "{body}: {:?}", reading.problems);
    }

    #[test]
    fn a_good_route_is_what_serde_reads() {
        for body in [
            json!({"match": {"path": {"prefix": "/api/users"}}, "service": "users/v1", "strip": true, "host": "preserve"}),
            json!({
                "match": {
                    "hosts": ["a.example", "*.b.example"], "path": {"pattern": "/u/{id}/*"}, "methods": ["GET"],
                    "headers": {"X-A": "*"}, "query": {"a": "1"},
                },
                "service": "users/v1", "rewrite": "/v2/{id}/{rest}", "require": [], "policies": {"acl": {}},
            }),
            json!({"match": {"path": {"exact": "/old"}}, "redirect": {"to": "/new", "status": 301, "keep_query": false}}),
            json!({"match": {"path": {"exact": "/x"}}, "answer": {"status": 204, "headers": {"A": "b"}, "body": ""}}),
        ] {
            let reading = read(&body);
            assert_eq!(reading.problems, [], "{body}");
            assert_eq!(reading.route, Some(serde_json::from_value(body).expect("a route")));
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        check(&json!([]), &[""]);
        check(&json!({}), &["match", ""]);
        check(
            &json!({
                "macht": 1,
                "match": {"path": {"suffix": "/"}, "hosts": "a", "methods": [1], "headers": {"a": 1}, "query": []},
                "service": "users",
                "redirect": {"status": "x", "kept": 1},
                "answer": 7,
                "strip": "yes", "rewrite": 1, "host": "mine", "require": {}, "policies": [],
            }),
            &[
                "macht",
                "match.path.suffix",
                "match.hosts",
                "match.methods[0]",
                "match.headers.a",
                "match.query",
                "service",
                "redirect.kept",
                "redirect.status",
                "redirect.to",
                "answer",
                "",
                "strip",
                "rewrite",
                "host",
                "require",
                "policies",
            ],
        );
        check(&json!({"match": {"path": "/"}, "answer": {"status": 99999}}), &["match.path", "answer.status"]);
    }
}
