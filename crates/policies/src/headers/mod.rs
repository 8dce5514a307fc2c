//! `headers`: header fields that are set, added or removed on the way to the target, and on the way back.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, TRAILER, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::call::{Call, Response};
use portcullis_core::fields::{Kind, known};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Next, Policy, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Site, settings};

/// Changes in one direction.
const MOST: usize = 64;
/// Bytes of a value.
const LONGEST: usize = 8_192;

/// The settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// What is changed of requests before they go to the target.
    request: Changes,
    /// What is changed of answers before they go to the caller.
    response: Changes,
    /// Whether the service is told which method a caller means in place of the one it has sent. Rules and routes see the
    /// method that was sent.
    method_override: MethodOverride,
}

/// What becomes of `X-HTTP-Method-Override`, `X-HTTP-Method` and `X-Method-Override`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MethodOverride {
    /// They are taken away.
    #[default]
    Strip,
    /// They go to the service.
    Allow,
}

/// Changes of header fields: first what is removed, then what is set, then what is added.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    /// Fields that have this value, whatever they had before.
    set: BTreeMap<String, String>,
    /// Fields that have this value beside those they had before.
    add: BTreeMap<String, String>,
    /// Fields that are taken away.
    remove: Vec<String>,
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none where nothing is changed.
pub fn build(_: &Site<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let settings: Settings = settings::read("headers", value)?;
    compile(&settings)
}

fn compile(settings: &Settings) -> Result<Option<Step>, Vec<Problem>> {
    let mut problems = Vec::new();
    let request = edits("request", &settings.request, &mut problems);
    let response = edits("response", &settings.response, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let passes_method = settings.method_override == MethodOverride::Allow;
    Ok(match (request.is_empty() && !passes_method, response.is_empty()) {
        (true, true) => None,
        (false, true) => Some(Step::Check(Arc::new(Headers { request, response, passes_method }))),
        _ => Some(Step::Policy(Arc::new(Headers { request, response, passes_method }))),
    })
}

enum Edit {
    Remove(HeaderName),
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
}

fn edits(direction: &str, declared: &Changes, problems: &mut Vec<Problem>) -> Vec<Edit> {
    let base = format!("policies.headers.{direction}");
    if declared.remove.len() + declared.set.len() + declared.add.len() > MOST {
        problems.push(Problem::new(base.clone(), format!("at most {MOST} changes")));
    }
    let mut edits = Vec::new();
    let mut take =
        |path: String, name: &str, value: Option<&String>, make: &dyn Fn(HeaderName, HeaderValue) -> Edit| {
            let value = match value {
                None => Ok(HeaderValue::from_static("")),
                Some(text) => value_of(text),
            };
            match (name_of(direction, name), value) {
                (Ok(name), Ok(value)) => edits.push(make(name, value)),
                (name, value) => {
                    let found = name.err().into_iter().chain(value.err());
                    problems.extend(found.map(|message| Problem::new(path.clone(), message)));
                }
            }
        };
    for (at, name) in declared.remove.iter().enumerate() {
        take(format!("{base}.remove[{at}]"), name, None, &|name, _| Edit::Remove(name));
    }
    for (name, value) in &declared.set {
        take(format!("{base}.set.{name}"), name, Some(value), &Edit::Set);
    }
    for (name, value) in &declared.add {
        take(format!("{base}.add.{name}"), name, Some(value), &Edit::Add);
    }
    for name in declared.add.keys().filter(|name| name.eq_ignore_ascii_case("authorization")) {
        let message = "a second Authorization has no meaning; 'set' replaces the caller's";
        problems.push(Problem::new(format!("{base}.add.{name}"), message));
    }
    edits
}

fn name_of(direction: &str, text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| format!("'{text}' is no field name"))?;
    // In every spelling: there are servers that read them as the same.
    let kind = known(name.as_str()).map(|known| known.kind);
    if kind == Some(Kind::Gateway) {
        return Err(format!("'{text}' is written by the gateway alone: backends believe it"));
    }
    if kind == Some(Kind::Connection) || [TRAILER, VIA].contains(&name) {
        return Err(format!("'{text}' belongs to the connection or to the framing of the message"));
    }
    if direction == "request" && kind == Some(Kind::Key) {
        return Err(format!("'{text}' is for the gateway and does not travel"));
    }
    Ok(name)
}

fn value_of(text: &str) -> Result<HeaderValue, String> {
    if text.len() > LONGEST {
        return Err(format!("a value has at most {LONGEST} bytes"));
    }
    if text.trim() != text {
        return Err("a value neither begins nor ends with a space".to_owned());
    }
    HeaderValue::from_str(text).map_err(|_| "a value has no line breaks or other control characters".to_owned())
}

struct Headers {
    request: Vec<Edit>,
    response: Vec<Edit>,
    passes_method: bool,
}

impl Check for Headers {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        if self.passes_method {
            pass_method(call);
        }
        apply(&self.request, &mut call.request.headers);
        if self.request.iter().any(|edit| matches!(edit, Edit::Set(name, _) if *name == AUTHORIZATION)) {
            // What stands there now is not the credential that was verified here, and is to travel.
            call.caller.consumed.authorization = false;
        }
        Ok(())
    }
}

#[async_trait]
impl Policy for Headers {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        self.check(call)?;
        let mut response = next.run(call).await;
        apply(&self.response, response.headers_mut());
        Ok(response)
    }
}

/// Puts back what the door has taken away of what says another method, in its own spelling alone.
fn pass_method(call: &mut Call) {
    for (name, value) in &call.raw.removed {
        if known(name.as_str()).is_some_and(|known| known.kind == Kind::Method && known.is_exact) {
            call.request.headers.append(name, value.clone());
        }
    }
}

fn apply(edits: &[Edit], headers: &mut HeaderMap) {
    for edit in edits {
        match edit {
            Edit::Remove(name) => {
                headers.remove(name);
            }
            Edit::Set(name, value) => {
                headers.insert(name, value.clone());
            }
            Edit::Add(name, value) => {
                headers.append(name, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(settings: Value) -> Vec<(String, String)> {
        let settings: Settings = serde_json::from_value(settings).expect("well formed");
        let found = compile(&settings).err().unwrap_or_default();
        found.into_iter().map(|problem| (problem.path, problem.message)).collect()
    }

    #[test]
    fn fields_of_the_gateway_are_not_for_settings() {
        for name in [
            "X-User-Json",
            "x_user_json",
            "X-App-Id",
            "X-Request-Id",
            "X-Forwarded-For",
            "x_forwarded_anything",
            "X-Real-IP",
            "Forwarded",
            "Host",
            "Content-Length",
            "content_length",
            "Transfer-Encoding",
            "Connection",
            "Keep-Alive",
            "TE",
            "Upgrade",
            "Via",
            "X-API-Key",
            "X.User.Json",
            "x~app~id",
            "Transfer.Encoding",
            "keep_alive",
            "x.api.key",
        ] {
            for change in [json!({"set": {name: "1"}}), json!({"add": {name: "1"}}), json!({"remove": [name]})] {
                let found = problems(json!({"request": change}));
                assert_eq!(found.len(), 1, "{name}: {found:?}");
                assert!(found[0].1.contains(name), "{found:?}");
            }
        }
        assert_eq!(problems(json!({"response": {"set": {"Content-Length": "1"}}})).len(), 1);
        assert_eq!(problems(json!({"response": {"remove": ["Server"]}, "request": {"set": {"X-Userjson": "1"}}})), []);
    }

    #[test]
    fn values_have_no_line_breaks_and_every_mistake_is_named() {
        let found = problems(json!({
            "request": {"set": {"x-a": "1\r\nx-b: 2", "x c": "1"}, "add": {"x-d": "\n", "authorization": "1"}, "remove": ["", "x-e"]},
            "response": {"set": {"x-f": "\u{0}"}},
        }));
        let paths: Vec<_> = found.iter().map(|(path, _)| path.trim_start_matches("policies.headers.")).collect();
        let expected = [
            "request.remove[0]",
            "request.set.x c",
            "request.set.x-a",
            "request.add.x-d",
            "request.add.authorization",
            "response.set.x-f",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let changes =
            json!({"set": {"x-a": "set"}, "add": {"x-a": "added", "x-b": "2"}, "remove": ["x-a", "x-b", "x-c"]});
        let changes: Changes = serde_json::from_value(changes).expect("well formed");
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-a", "0"), ("x-b", "1"), ("x-c", "1"), ("x-d", "1")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        apply(&edits("request", &changes, &mut Vec::new()), &mut headers);
        let values = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().expect("text")).collect::<Vec<_>>();
        assert_eq!((values("x-a"), values("x-b")), (vec!["set", "added"], vec!["2"]));
        assert_eq!((values("x-c").len(), values("x-d")), (0, vec!["1"]));
    }
}
