//! Reads a declared service by hand, so that every mistake in it is told at once, each with its place.

use std::fmt::Display;
use std::str::FromStr;

use portcullis_core::model::{Name, Problem, Service, Target, TargetTls, TargetUrl, TlsVersion, default_require};
use serde_json::{Map, Value};

use super::fields::{expected, text, texts, truth, unknown_fields};

const FIELDS: [&str; 10] = [
    "targets",
    "require",
    "audiences",
    "protocol",
    "default_route",
    "tls",
    "path_parameters",
    "encoded_slash",
    "case_insensitive",
    "policies",
];
const TARGET_FIELDS: [&str; 3] = ["url", "weight", "instance"];
const TLS_FIELDS: [&str; 6] = ["ca", "server_name", "client_certificate", "client_key", "pins", "min_version"];
const MAX_WEIGHT: u16 = 1_000;
const MAX_AUDIENCES: usize = 64;
const MAX_AUDIENCE: usize = 256;

/// A service as far as it could be read, and everything that is wrong with it.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What could be read; what could not is left out or has its default.
    pub(crate) service: Service,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
    /// How many targets were written, good or bad.
    pub(crate) targets: usize,
}

/// Reads the body of a declared service.
pub(crate) fn read(body: &Value) -> Reading {
    let mut problems = Vec::new();
    let mut service = Service { targets: Vec::new(), ..Service::default() };
    let mut written = 0;
    let Some(fields) = body.as_object() else {
        problems.push(expected("", "an object with 'targets'", body));
        return Reading { service, problems, targets: written };
    };
    unknown_fields(fields, &FIELDS, "", &mut problems);
    match fields.get("targets") {
        None => problems.push(Problem::new("targets", "is missing: expected a list of objects with 'url'")),
        Some(Value::Array(items)) => {
            written = items.len();
            service.targets = targets(items, &mut problems);
        }
        Some(other) => problems.push(expected("targets", "a list of objects with 'url'", other)),
    }
    if let Some(value) = fields.get("require") {
        service.require = require(value, &mut problems);
    }
    if let Some(value) = fields.get("audiences") {
        service.audiences = audiences(value, &mut problems);
    }
    if let Some(protocol) = fields.get("protocol").and_then(|value| text(value, "protocol", &mut problems)) {
        service.protocol = protocol;
    }
    match fields.get("default_route") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(said)) => service.default_route = Some(*said),
        Some(other) => problems.push(expected("default_route", "true or false", other)),
    }
    service.tls = fields.get("tls").and_then(|value| tls(value, &mut problems));
    for (field, option) in
        [("path_parameters", &mut service.path_parameters), ("encoded_slash", &mut service.encoded_slash)]
    {
        *option = fields.get(field).and_then(|value| text(value, field, &mut problems)).unwrap_or_default();
    }
    let case_insensitive = fields.get("case_insensitive");
    service.case_insensitive =
        case_insensitive.and_then(|value| truth(value, "case_insensitive", &mut problems)).unwrap_or_default();
    match fields.get("policies") {
        None => {}
        Some(Value::Object(policies)) => service.policies = policies.clone().into_iter().collect(),
        Some(other) => problems.push(expected("policies", "an object of settings by kind", other)),
    }
    Reading { service, problems, targets: written }
}

fn targets(items: &[Value], problems: &mut Vec<Problem>) -> Vec<Target> {
    if items.is_empty() {
        problems.push(Problem::new("targets", "expected at least one target"));
    }
    let mut targets: Vec<Target> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("targets[{index}]");
        let before = problems.len();
        let target = target(item, &path, problems);
        let instance = target.as_ref().and_then(|target| target.instance.as_ref());
        if instance.is_some() && targets.iter().any(|other| other.instance.as_ref() == instance) {
            problems.push(Problem::new(format!("{path}.instance"), "is the instance of another target too"));
        }
        if problems.len() == before {
            targets.extend(target);
        }
    }
    targets
}

fn target(item: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<Target> {
    let Some(fields) = item.as_object() else {
        problems.push(expected(path, "an object with 'url'", item));
        return None;
    };
    unknown_fields(fields, &TARGET_FIELDS, path, problems);
    let url = match fields.get("url") {
        None => {
            problems.push(Problem::new(format!("{path}.url"), "is missing"));
            None
        }
        Some(value) => text::<TargetUrl>(value, &format!("{path}.url"), problems),
    };
    let weight = match fields.get("weight") {
        None => 1,
        Some(value) => weight(value).unwrap_or_else(|| {
            let wanted = format!("a whole number from 1 to {MAX_WEIGHT}");
            problems.push(expected(&format!("{path}.weight"), &wanted, value));
            1
        }),
    };
    let instance = match fields.get("instance") {
        None | Some(Value::Null) => None,
        Some(value) => text::<Name>(value, &format!("{path}.instance"), problems),
    };
    Some(Target { url: url?, weight, instance })
}

fn weight(value: &Value) -> Option<u16> {
    let weight = u16::try_from(value.as_u64()?).ok()?;
    (1..=MAX_WEIGHT).contains(&weight).then_some(weight)
}

fn tls(value: &Value, problems: &mut Vec<Problem>) -> Option<TargetTls> {
    let Some(fields) = value.as_object() else {
        problems.push(expected("tls", "an object", value));
        return None;
    };
    unknown_fields(fields, &TLS_FIELDS, "tls", problems);
    let pins = match fields.get("pins") {
        None => Vec::new(),
        Some(Value::Array(items)) => texts(items, "tls.pins", problems),
        Some(other) => {
            problems.push(expected("tls.pins", "a list of texts", other));
            Vec::new()
        }
    };
    Some(TargetTls {
        ca: member(fields, "ca", problems),
        server_name: member(fields, "server_name", problems),
        client_certificate: member(fields, "client_certificate", problems),
        client_key: member(fields, "client_key", problems),
        pins,
        min_version: match fields.get("min_version") {
            // Unquoted, YAML reads it as a number.
            Some(value @ Value::Number(_)) => {
                problems.push(expected("tls.min_version", "'1.2' or '1.3', in quotes", value));
                None
            }
            _ => member::<TlsVersion>(fields, "min_version", problems),
        },
    })
}

fn member<T: FromStr<Err: Display>>(fields: &Map<String, Value>, name: &str, problems: &mut Vec<Problem>) -> Option<T> {
    fields.get(name).and_then(|value| text(value, &format!("tls.{name}"), problems))
}

pub(super) fn require(value: &Value, problems: &mut Vec<Problem>) -> Vec<Vec<String>> {
    const WANTED: &str = "a list of alternatives, each a list of credential kinds";
    let Some(alternatives) = value.as_array() else {
        problems.push(expected("require", WANTED, value));
        return default_require();
    };
    let mut read = Vec::with_capacity(alternatives.len());
    for (index, alternative) in alternatives.iter().enumerate() {
        let path = format!("require[{index}]");
        match alternative.as_array() {
            None => problems.push(expected(&path, "a list of credential kinds", alternative)),
            Some(kinds) if kinds.is_empty() => {
                problems.push(Problem::new(
                    path,
                    "expected at least one credential kind; an open service has 'require': []",
                ));
            }
            Some(kinds) => read.push(texts(kinds, &path, problems)),
        }
    }
    read
}

fn audiences(value: &Value, problems: &mut Vec<Problem>) -> Vec<String> {
    let Some(items) = value.as_array() else {
        problems.push(expected("audiences", "a list of texts", value));
        return Vec::new();
    };
    if items.len() > MAX_AUDIENCES {
        problems.push(Problem::new("audiences", format!("expected at most {MAX_AUDIENCES}, found {}", items.len())));
    }
    let read = texts(items, "audiences", problems);
    for (index, item) in items.iter().enumerate() {
        if item.as_str().is_some_and(|text| !(1..=MAX_AUDIENCE).contains(&text.len())) {
            let message = format!("expected 1 to {MAX_AUDIENCE} bytes");
            problems.push(Problem::new(format!("audiences[{index}]"), message));
        }
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
    fn a_good_service_has_no_problems() {
        let reading = read(&json!({
            "targets": [{"url": "http://a:1/"}, {"url": "http://b:2/x", "weight": 5, "instance": "two"}],
            "require": [["bearer"], ["api_key"]],
            "audiences": ["me"],
            "protocol": "h2",
            "default_route": false,
            "tls": {"server_name": "a", "pins": ["x"], "min_version": "1.3"},
            "policies": {"rate_limit": {"limit": 5}},
        }));
        assert_eq!(reading.problems, []);
        assert_eq!((reading.service.targets.len(), reading.service.targets[1].weight), (2, 5));
        assert_eq!(reading.service.require.len(), 2);
        assert_eq!(reading.service.protocol, portcullis_core::model::Protocol::H2);
        assert_eq!(reading.service.default_route, Some(false));
        let tls = reading.service.tls.expect("there");
        assert_eq!((tls.server_name.as_deref(), tls.min_version), (Some("a"), Some(TlsVersion::Tls13)));
    }

    #[test]
    fn the_defaults_want_a_token_and_a_key() {
        let reading = read(&json!({"targets": [{"url": "http://a:1/"}]}));
        assert_eq!(reading.service.require, default_require());
    }

    #[test]
    fn what_is_no_service_at_all_is_one_problem() {
        for body in [json!(null), json!([]), json!("x"), json!(1)] {
            check(&body, &[""]);
        }
        check(&json!({}), &["targets"]);
        check(&json!({"targets": []}), &["targets"]);
        check(&json!({"targets": {}}), &["targets"]);
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let body = json!({
            "targts": [],
            "targets": [
                {"url": "ftp://a"},
                {"url": "http://b", "weight": 0, "wait": 1},
                7,
                {"weight": 1.5},
                {"url": "http://c", "instance": "a b"},
                {"url": "http://c", "instance": "x"},
                {"url": "http://d", "instance": "x"},
            ],
            "require": ["bearer", [1], []],
            "audiences": [2, ""],
            "protocol": "h3",
            "default_route": "no",
            "tls": {"verify": false, "ca": 1, "pins": "x", "min_version": 1.3},
            "policies": [],
        });
        check(
            &body,
            &[
                "targts",
                "targets[0].url",
                "targets[1].wait",
                "targets[1].weight",
                "targets[2]",
                "targets[3].url",
                "targets[3].weight",
                "targets[4].instance",
                "targets[6].instance",
                "require[0]",
                "require[1][0]",
                "require[2]",
                "audiences[0]",
                "audiences[1]",
                "protocol",
                "default_route",
                "tls.verify",
                "tls.pins",
                "tls.ca",
                "tls.min_version",
                "policies",
            ],
        );
        let target = json!([{"url": "https://a"}]);
        check(&json!({"targets": target, "tls": []}), &["tls"]);
        check(&json!({"targets": target, "tls": {"pins": [1]}}), &["tls.pins[0]"]);
        check(&json!({"targets": target, "tls": {"min_version": "1.1"}}), &["tls.min_version"]);
    }
}
