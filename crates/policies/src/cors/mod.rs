//! `cors`: which web pages may call a service from a browser (the CORS protocol of the Fetch standard).
//!
//! Preflight requests are answered here. What the target itself says about origins is replaced: with this policy,
//! the gateway decides.

mod origins;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Response};
use portcullis_core::message::names::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use portcullis_core::message::{FieldName, FieldValue, Fields, FieldsMut, HasFields};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Next, Policy, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use self::origins::Origins;
use crate::{PolicyContext, settings};

/// Entries a list has at most.
const MOST: usize = 256;
/// The longest time a browser may keep the answer to a preflight, in seconds.
const LONGEST: u32 = 86_400;
/// Bytes of a list of field names that are repeated to a page that asked for them.
const REPEATED: usize = 4_096;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// `https://app.example.com`, `https://*.example.com` (every subdomain, not the domain itself), or `*`.
    origins: Vec<String>,
    /// Methods a page may use.
    methods: Vec<String>,
    /// Header fields a page may send; `*` for all.
    headers: Vec<String>,
    /// Header fields of answers a page may read.
    expose: Vec<String>,
    /// Whether browsers send cookies, and pages may read answers to calls that had them.
    credentials: bool,
    /// For how many seconds a browser may remember the answer to a preflight; at most 86400.
    max_age: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let list = |words: &str| words.split(' ').map(str::to_owned).collect();
        Self {
            origins: Vec::new(),
            methods: list("GET HEAD POST PUT PATCH DELETE"),
            headers: list("authorization content-type x-api-key"),
            expose: Vec::new(),
            credentials: false,
            max_age: 600,
        }
    }
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none without settings.
pub fn build(_: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let Some(value) = value else { return Ok(None) };
    let settings: Settings = settings::read("cors", Some(value))?;
    compile(&settings).map(|cors| Some(Step::Policy(Arc::new(cors))))
}

fn compile(settings: &Settings) -> Result<Cors, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut wrong =
        |field: &str, message: String| problems.push(Problem::new(format!("policies.cors.{field}"), message));
    let lists = [
        ("origins", &settings.origins),
        ("methods", &settings.methods),
        ("headers", &settings.headers),
        ("expose", &settings.expose),
    ];
    for (field, _) in lists.iter().filter(|(_, list)| list.len() > MOST) {
        wrong(field, format!("at most {MOST} entries"));
    }
    if settings.origins.is_empty() {
        wrong("origins", "no page may call; name at least one origin".to_owned());
    }
    let origins = Origins::parse(&settings.origins, |at, message| wrong(&format!("origins[{at}]"), message));
    if origins.any && settings.credentials {
        wrong("credentials", "with the origin '*' any page could act for its visitors; name the origins".to_owned());
    }
    for (at, method) in settings.methods.iter().enumerate() {
        if Method::from_bytes(method.as_bytes()).is_err() {
            wrong(&format!("methods[{at}]"), format!("'{method}' is no method"));
        }
    }
    let any_header = settings.headers.iter().any(|name| name == "*");
    for (field, names) in [("headers", &settings.headers), ("expose", &settings.expose)] {
        for (at, name) in names.iter().enumerate().filter(|(_, name)| field != "headers" || *name != "*") {
            if name.parse::<FieldName>().is_err() || name == "*" {
                wrong(&format!("{field}[{at}]"), format!("'{name}' is no field name"));
            }
        }
    }
    if settings.max_age > LONGEST {
        wrong("max_age", format!("at most {LONGEST} seconds"));
    }
    let joined = |list: &[String]| FieldValue::try_from(list.join(", ")).ok().filter(|value| !value.is_empty());
    let cors = Cors {
        origins,
        methods: joined(&settings.methods),
        headers: if any_header { None } else { joined(&settings.headers) },
        any_header,
        expose: joined(&settings.expose),
        credentials: settings.credentials,
        max_age: settings.max_age.into(),
    };
    if problems.is_empty() { Ok(cors) } else { Err(problems) }
}

struct Cors {
    origins: Origins,
    methods: Option<FieldValue>,
    headers: Option<FieldValue>,
    any_header: bool,
    expose: Option<FieldValue>,
    credentials: bool,
    max_age: FieldValue,
}

#[async_trait]
impl Policy for Cors {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let origin = self.origin(call.request.fields());
        if is_preflight(call) {
            let Some(origin) = origin else {
                return Err(Refusal::Forbidden {
                    detail: "the service may not be called from pages of this origin".into(),
                });
            };
            return Ok(self.preflight(call.request.fields(), &origin));
        }
        let mut response = next.run(call).await;
        let mut headers = response.fields_mut();
        take_away(headers.lend());
        self.vary(headers.lend());
        if let Some(origin) = origin {
            self.allow(headers.lend(), &origin);
            if let Some(expose) = &self.expose {
                headers.set(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
        }
        Ok(response)
    }
}

/// Only a browser that asks first sends this; an ordinary `OPTIONS` goes on to the target.
fn is_preflight(call: &Call) -> bool {
    let headers = call.request.fields();
    call.request.method == Method::OPTIONS && headers.has(ORIGIN) && headers.has(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What the target says about origins, which is not its business here.
fn take_away(mut headers: FieldsMut<'_>) {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
}

impl Cors {
    /// The one origin of the call, if its pages may call.
    fn origin(&self, headers: Fields<'_>) -> Option<FieldValue> {
        let origin = headers.only(ORIGIN).ok()??;
        self.origins.allow(origin.text()?).then(|| origin.to_owned())
    }

    fn allow(&self, mut headers: FieldsMut<'_>, origin: &FieldValue) {
        let named = if self.origins.any { FieldValue::from_static("*") } else { origin.clone() };
        headers.set(ACCESS_CONTROL_ALLOW_ORIGIN, named);
        if self.credentials {
            headers.set(ACCESS_CONTROL_ALLOW_CREDENTIALS, FieldValue::from_static("true"));
        }
    }

    /// Whoever keeps answers keeps one for each origin, also the answer to a call without one.
    fn vary(&self, mut headers: FieldsMut<'_>) {
        let mut named = headers.view().all(VARY).filter_map(|value| value.text()).flat_map(|v| v.split(','));
        if !named.any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("origin")) {
            headers.add(VARY, FieldValue::from_static("Origin"));
        }
    }

    fn preflight(&self, asked: Fields<'_>, origin: &FieldValue) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let mut headers = response.fields_mut();
        self.vary(headers.lend());
        self.allow(headers.lend(), origin);
        if let Some(methods) = &self.methods {
            headers.set(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        }
        if self.any_header {
            // `*` would not stand for `Authorization`, nor for anything where credentials are sent.
            headers.add(VARY, FieldValue::from_static("Access-Control-Request-Headers"));
        }
        if let Some(names) = if self.any_header { repeated(asked) } else { self.headers.clone() } {
            headers.set(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.set(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        response
    }
}

/// The field names a page asks for, if they are field names.
fn repeated(asked: Fields<'_>) -> Option<FieldValue> {
    let names = asked.only(ACCESS_CONTROL_REQUEST_HEADERS).ok()??;
    let are_names = |text: &str| text.split(',').all(|name| name.trim().parse::<FieldName>().is_ok());
    (names.len() <= REPEATED && names.text().is_some_and(are_names)).then(|| names.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::FieldMap;
    use serde_json::json;

    fn problems(settings: Value) -> Vec<String> {
        let settings: Settings = serde_json::from_value(settings).expect("well formed");
        let found = compile(&settings).err().unwrap_or_default();
        found.into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn every_mistake_is_named() {
        let none: [&str; 0] = [];
        assert_eq!(problems(json!({"origins": ["https://a.example"], "headers": ["*"]})), none);
        assert_eq!(problems(json!({})), ["policies.cors.origins"]);
        let settings = json!({
            "origins": ["*", "a.example"], "methods": ["GET", "a b"], "headers": ["x y"], "expose": ["*"],
            "credentials": true, "max_age": 90_000,
        });
        let fields = ["origins[1]", "credentials", "methods[1]", "headers[0]", "expose[0]", "max_age"];
        assert_eq!(problems(settings), fields.map(|field| format!("policies.cors.{field}")));
    }

    #[test]
    fn only_field_names_are_repeated() {
        let mut asked = FieldMap::new();
        for (names, fine) in [("x-a, X-B", true), ("x-a", true), ("", false), ("x a", false), ("x-a,,b", false)] {
            asked.set(ACCESS_CONTROL_REQUEST_HEADERS, FieldValue::from_static(names));
            assert_eq!(repeated(asked.fields()).is_some(), fine, "{names}");
        }
    }
}
