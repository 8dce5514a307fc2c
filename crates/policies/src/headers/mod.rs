//! `headers`: header fields that are set, added or removed on the way to the target, and on the way back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use http::Version;
use http_body::Body as _;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Hints, Response};
use portcullis_core::fields::{Kind, known};
use portcullis_core::message::names::{AUTHORIZATION, TRAILER, VIA};
use portcullis_core::message::{FieldName, FieldValue, Fields, FieldsMut, HasFields};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Next, Policy, Step};
use portcullis_core::refusal::Refusal;
use portcullis_core::spellings::Spellings;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{PolicyContext, settings};

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
    /// Whether method override headers (`X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`) reach the service.
    /// Rules and routes see the method that was sent.
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

/// Changes of header fields: first what is removed, then what is set, then what is added. What is removed or set goes in
/// every spelling of its name (`X_Tenant` for `X-Tenant`), out of trailers too, and out of what a service hints at.
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
pub fn build(_: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
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

/// What is changed in one direction.
#[derive(Default)]
struct Edits {
    /// What is removed, and what is set: services read all spellings of a name as the same.
    gone: Arc<Spellings>,
    set: Vec<(FieldName, FieldValue)>,
    add: Vec<(FieldName, FieldValue)>,
}

impl Edits {
    fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.add.is_empty()
    }

    fn apply(&self, mut headers: FieldsMut<'_>) {
        self.gone.take_away(headers.lend());
        for (name, value) in &self.set {
            headers.set(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.add(name, value.clone());
        }
    }

    /// A body whose trailers bring back nothing of what has been taken away.
    fn guard(&self, body: Body, may_have_trailers: bool) -> Body {
        if self.gone.is_empty() || !may_have_trailers {
            return body;
        }
        let gone = Arc::clone(&self.gone);
        body.map_polls(move |_, mut polled| {
            if let Poll::Ready(Some(Ok(frame))) = &mut polled
                && let Some(trailers) = frame.trailers_mut()
            {
                gone.take_away(trailers.fields_mut());
            }
            polled
        })
    }
}

/// Hints of a service without what its answers may not say either.
struct Guarded {
    hints: Arc<dyn Hints>,
    gone: Arc<Spellings>,
}

impl Hints for Guarded {
    fn hint(&self, fields: Fields<'_>) {
        let mut fields = fields.to_owned();
        self.gone.take_away(fields.fields_mut());
        self.hints.hint(fields.fields());
    }
}

fn edits(direction: &str, declared: &Changes, problems: &mut Vec<Problem>) -> Edits {
    let base = format!("policies.headers.{direction}");
    if declared.remove.len() + declared.set.len() + declared.add.len() > MOST {
        problems.push(Problem::new(base.clone(), format!("at most {MOST} changes")));
    }
    let (mut gone, mut set, mut add) = (Vec::new(), Vec::new(), Vec::new());
    for (at, name) in declared.remove.iter().enumerate() {
        match name_of(direction, name) {
            Ok(name) => gone.push(name),
            Err(message) => problems.push(Problem::new(format!("{base}.remove[{at}]"), message)),
        }
    }
    for (kind, changes, edits) in [("set", &declared.set, &mut set), ("add", &declared.add, &mut add)] {
        for (text, value) in changes {
            match (name_of(direction, text), value_of(value)) {
                (Ok(name), Ok(value)) => edits.push((name, value)),
                (name, value) => {
                    let found = name.err().into_iter().chain(value.err());
                    problems.extend(found.map(|message| Problem::new(format!("{base}.{kind}.{text}"), message)));
                }
            }
        }
    }
    for name in declared.add.keys().filter(|name| name.eq_ignore_ascii_case(AUTHORIZATION.as_str())) {
        let message = "a second Authorization has no meaning; 'set' replaces the caller's";
        problems.push(Problem::new(format!("{base}.add.{name}"), message));
    }
    gone.extend(set.iter().map(|(name, _)| name.clone()));
    Edits { gone: Arc::new(Spellings::new(gone)), set, add }
}

fn name_of(direction: &str, text: &str) -> Result<FieldName, String> {
    let name: FieldName = text.parse().map_err(|_| format!("'{text}' is no field name"))?;
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

fn value_of(text: &str) -> Result<FieldValue, String> {
    if text.len() > LONGEST {
        return Err(format!("a value has at most {LONGEST} bytes"));
    }
    if text.trim() != text {
        return Err("a value neither begins nor ends with a space".to_owned());
    }
    FieldValue::of(text).map_err(|_| "a value has no line breaks or other control characters".to_owned())
}

struct Headers {
    request: Edits,
    response: Edits,
    passes_method: bool,
}

impl Check for Headers {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        if self.passes_method {
            pass_method(call);
        }
        self.request.apply(call.request.fields_mut());
        // In HTTP/1.1 a body of a declared length has no trailers.
        let may_have_trailers =
            call.request.version > Version::HTTP_11 || call.request.body.size_hint().exact().is_none();
        let body = call.take_body();
        call.request.body = self.request.guard(body, may_have_trailers);
        if self.request.set.iter().any(|(name, _)| *name == AUTHORIZATION) {
            // What stands there now is not the credential that was verified here, and is to travel.
            call.caller.consumed.spare(&AUTHORIZATION);
        }
        Ok(())
    }
}

#[async_trait]
impl Policy for Headers {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        self.check(call)?;
        if !self.response.gone.is_empty() {
            let gone = &self.response.gone;
            call.hints =
                call.hints.take().map(|hints| Arc::new(Guarded { hints, gone: Arc::clone(gone) }) as Arc<dyn Hints>);
        }
        let mut response = next.run(call).await;
        self.response.apply(response.fields_mut());
        Ok(response.map(|body| {
            // Over HTTP/2 an answer of a declared length may have them too.
            self.response.guard(body, true)
        }))
    }
}

/// Puts back what the door has taken away of what says another method, in its own spelling alone.
fn pass_method(call: &mut Call) {
    for (name, value) in &call.raw.removed {
        if known(name.as_str()).is_some_and(|known| known.kind == Kind::Method && known.is_exact) {
            call.request.fields_mut().add(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::{FieldMap, Name};
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
        let mut headers = FieldMap::new();
        for (name, value) in [("x-a", "0"), ("x-b", "1"), ("x-c", "1"), ("x-d", "1")] {
            headers.add(FieldName::from_static(name), FieldValue::from_static(value));
        }
        edits("request", &changes, &mut Vec::new()).apply(headers.fields_mut());
        let all = |name| headers.fields().all(FieldName::from_static(name));
        let values = |name| all(name).map(|v| v.text().expect("text")).collect::<Vec<_>>();
        assert_eq!((values("x-a"), values("x-b")), (vec!["set", "added"], vec!["2"]));
        assert_eq!((values("x-c").len(), values("x-d")), (0, vec!["1"]));
    }

    #[tokio::test]
    async fn no_spelling_and_no_trailer_brings_back_what_is_taken_away() {
        use http_body_util::BodyExt;

        let changes = json!({"set": {"X-Tenant": "acme"}, "remove": ["X-Debug-Mode", "x_odd"]});
        let changes: Changes = serde_json::from_value(changes).expect("well formed");
        let edits = edits("request", &changes, &mut Vec::new());
        for separator in b"!#$%&'*+-.^_`|~" {
            for name in ["X-Tenant", "X-Debug-Mode", "X-Odd", "x-tenant"] {
                let name = name.replace('-', &char::from(*separator).to_string());
                let mut headers = FieldMap::new();
                headers.add(FieldName::from_bytes(name.as_bytes()).expect("a name"), FieldValue::from_static("evil"));
                headers.add(FieldName::from_static("x_kept"), FieldValue::from_static("1"));
                let frames = http_body_util::StreamBody::new(futures_util::stream::iter([Ok(
                    http_body::Frame::trailers(headers.clone().into()),
                )]));
                edits.apply(headers.fields_mut());
                assert_eq!(headers.fields().len(), 2, "{name}: {headers:?}");
                let text = |name| headers.fields().text(FieldName::from_static(name));
                assert_eq!((text("x-tenant"), text("x_kept")), (Some("acme"), Some("1")));
                let read = edits.guard(Body::stream(frames), true).collect().await.expect("a body");
                let trailers = read.trailers().expect("trailers");
                assert_eq!(trailers.fields().names().map(Name::as_str).collect::<Vec<_>>(), ["x_kept"], "{name}");
            }
        }
    }

    #[test]
    fn hints_say_nothing_that_answers_may_not_say() {
        struct Heard(std::sync::Mutex<Vec<FieldMap>>);
        impl Hints for Heard {
            fn hint(&self, fields: Fields<'_>) {
                self.0.lock().expect("no panic").push(fields.to_owned());
            }
        }
        let heard = Arc::new(Heard(std::sync::Mutex::default()));
        let gone = Arc::new(Spellings::new(vec![FieldName::from_static("x-inner")]));
        let mut fields = FieldMap::new();
        for name in ["x-inner", "x_inner", "link"] {
            fields.add(FieldName::from_static(name), FieldValue::from_static("1"));
        }
        Guarded { hints: Arc::clone(&heard) as Arc<dyn Hints>, gone }.hint(fields.fields());
        let told = heard.0.lock().expect("no panic");
        assert_eq!(told[0].fields().names().map(Name::as_str).collect::<Vec<_>>(), ["link"]);
    }
}
