//! The reader against a type that has a bit of everything.

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::model::{Route, Service};

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn service(value: &Value) -> Reading<Service> {
    read(value, |fields, _| _ = fields.entry("targets").or_insert_with(|| json!([])))
}

#[test]
fn everything_that_is_wrong_is_told_in_words_with_its_path() {
    let body = json!({
        "targts": 1,
        "targets": [{"url": "ftp://a"}, {"url": "http://b", "weight": 0}, 7, {}],
        "require": ["bearer", [1], []],
        "audiences": [""],
        "protocol": "h3",
        "default_route": "no",
        "tls": {"ca": 1, "min_version": 1.3},
        "policies": [],
    });
    let expected = [
        "targts: is not known; expected one of audiences, case_insensitive, default_route, encoded_slash, \
         path_parameters, policies, protocol, require, targets, tls, traffic",
        "audiences[0]: expected 1 to 256 bytes, found 0",
        "default_route: expected true or false, found a text",
        "policies: expected an object of settings by kind, found a list",
        "protocol: expected 'auto', 'http1', 'h2' or 'h2c', found 'h3'",
        "require[0]: expected a list of credential kinds, found a text",
        "require[1][0]: expected a text, found the number 1",
        "require[2]: expected at least one credential kind; an open service has 'require': []",
        "targets[0].url: expected the scheme 'http' or 'https', found 'ftp'",
        "targets[1].weight: expected a whole number from 1 to 1000, found the number 0",
        "targets[2]: expected an object with 'url', found the number 7",
        "targets[3].url: is missing: expected a text",
        "tls.ca: expected a text, found the number 1",
        "tls.min_version: expected '1.2' or '1.3', in quotes, found the number 1.3",
    ];
    assert_eq!(told(&service(&body).problems), expected);
    assert_eq!(told(&service(&json!([])).problems), ["expected an object with 'targets', found a list"]);
    assert_eq!(told(&service(&json!({})).problems), ["targets: is missing: expected a list of objects with 'url'"]);
    let route =
        json!({"match": {"path": {"suffix": "/"}, "headers": {"a": 1}}, "service": "a/v1", "answer": {"status": 7}});
    assert_eq!(
        told(&read::<Route>(&route, |_, _| ()).problems),
        [
            "answer.status: expected a whole number from 200 to 599, found the number 7",
            "match.headers.a: expected a text, found the number 1",
            "match.path.suffix: is not known; expected one of exact, prefix, pattern",
            "expected exactly one of 'service', 'redirect', 'answer' and 'builtin'",
        ]
    );
}

#[test]
fn what_is_right_is_kept() {
    let reading = service(&json!({
        "targets": [{"url": "ftp://a"}, {"url": "http://b", "weight": 3}, {"url": "http://c", "weight": 3.0}],
        "require": [["bearer"], 1],
        "protocol": 2,
        "default_route": null,
        "case_insensitive": true,
    }));
    let kept = reading.value.expect("a service");
    assert_eq!(kept.targets.iter().map(|target| target.url.to_string()).collect::<Vec<_>>(), ["http://b", "http://c"]);
    assert_eq!((kept.require, kept.case_insensitive), (vec![vec!["bearer".to_owned()]], true));
    assert_eq!(reading.problems.len(), 4, "{:?}", reading.problems);
}

#[test]
fn what_is_read_is_what_serde_reads() {
    let body = json!({
        "targets": [{"url": "http://a:1", "instance": "one"}, {"url": "https://b/x", "weight": 1000}],
        "require": [], "audiences": ["me"], "protocol": "h2", "tls": {"pins": ["x"], "min_version": "1.3"},
        "path_parameters": "keep", "policies": {"acl": {"any": [1]}},
    });
    let reading = service(&body);
    assert_eq!(told(&reading.problems), [""; 0]);
    assert_eq!(reading.value, Some(serde_json::from_value(body).expect("a service")));
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mixed {
    either: Either,
    #[serde(default)]
    number: Option<f64>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Count(u8),
    Text(String),
    Part { inner: bool },
}

#[test]
fn the_alternative_of_the_values_type_is_meant() {
    let wrong = |value: Value| told(&parse::<Mixed>(&value).expect_err("problems"));
    assert_eq!(parse(&json!({"either": 7})), Ok(Mixed { either: Either::Count(7), number: None }));
    assert_eq!(
        wrong(json!({"either": {"inner": 1}, "number": "x"})),
        ["either.inner: expected true or false, found the number 1", "number: expected a number, found a text"]
    );
    assert_eq!(
        wrong(json!({"either": []})),
        ["either: expected a whole number from 0 to 255 or a text or an object with 'inner', found a list"]
    );
}

#[test]
fn what_serde_takes_is_accepted() {
    assert_eq!(accept(&json!({"either": "x"})), Ok(Mixed { either: Either::Text("x".to_owned()), number: None }));
    let found = accept::<Mixed>(&json!({"either": 1.5, "more": 1})).expect_err("problems");
    assert_eq!(found.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), ["more", "either"]);
}
