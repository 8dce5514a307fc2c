//! `capture`: whole exchanges of a route, copied while they pass, for an operator who debugs it.
//!
//! Nothing is held back or delayed: bytes are copied up to a cap as they go by. What was copied is handed over when
//! the answer has ended, and redacted where it is written.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use portcullis_core::body::Body;
use portcullis_core::budget::Share;
use portcullis_core::call::{Call, Effects, RequestId, Response};
use portcullis_core::capture::{Copied, Exchange, Message, Redaction};
use portcullis_core::message::{FieldName, HasFields};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Next, Policy, Step};
use portcullis_core::ports::{Captures, Clock};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{PolicyContext, RouteEnd, settings};

mod open;

use open::{Open, Side};

/// Bytes of a message's fields that are captured at most.
const HEADER_BYTES: usize = 50 << 10;
/// Bytes of a message's body that are captured at most.
const BODY_BYTES: usize = 500 << 10;
/// Names a list has at most.
const MOST: usize = 64;
/// What users send to fomalhaut's login endpoints to be let in by, beside what is called like a secret. In answers it is the
/// result.
const LOGIN_FIELDS: [&str; 1] = ["code"];
/// Bytes of a method that are kept.
const SHOWN_METHOD: usize = 32;

/// The settings. Credentials are taken out of what is captured, and so is what stands under names secrets have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// What of the request is captured.
    request: MessageSettings,
    /// What of the answer is captured.
    response: MessageSettings,
    /// Bytes of the fields of a message, 1 to 51200; further fields are left out.
    header_bytes: usize,
    /// Bytes of the body of a message, 1 to 512000; the rest is left out.
    body_bytes: usize,
    /// Header fields whose values are taken out, beside those that hold credentials.
    redact_headers: Vec<String>,
    /// JSON members at any depth, form fields and query parameters whose values are taken out, beside those whose names
    /// secrets have. Case and punctuation do not matter.
    redact_fields: Vec<String>,
    /// How many calls in a hundred are captured.
    #[schemars(range(min = 1, max = 100))]
    sample: u8,
    /// Which exchanges are kept.
    only: Only,
}

/// What of a message is captured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MessageSettings {
    /// The header fields; of a request also the query.
    headers: bool,
    /// The body.
    body: bool,
}

/// Which exchanges are kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Only {
    /// Every one.
    #[default]
    All,
    /// Those with a status of 400 or more, or without an answer.
    Errors,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request: MessageSettings::default(),
            response: MessageSettings::default(),
            header_bytes: HEADER_BYTES,
            body_bytes: BODY_BYTES,
            redact_headers: Vec::new(),
            redact_fields: Vec::new(),
            sample: 100,
            only: Only::All,
        }
    }
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none where nothing is captured.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let settings: Settings = settings::read("capture", value)?;
    let mut problems = Vec::new();
    let mut within = |field: &str, found: usize, most: usize| {
        if !(1..=most).contains(&found) {
            problems.push(Problem::new(format!("policies.capture.{field}"), format!("expected 1 to {most}")));
        }
    };
    within("header_bytes", settings.header_bytes, HEADER_BYTES);
    within("body_bytes", settings.body_bytes, BODY_BYTES);
    within("sample", settings.sample.into(), 100);
    for (field, names) in [("redact_headers", &settings.redact_headers), ("redact_fields", &settings.redact_fields)] {
        if names.len() > MOST {
            problems.push(Problem::new(format!("policies.capture.{field}"), format!("at most {MOST} names")));
        }
    }
    for (position, name) in settings.redact_fields.iter().enumerate() {
        if !name.chars().any(char::is_alphanumeric) {
            let path = format!("policies.capture.redact_fields[{position}]");
            problems.push(Problem::new(path, "expected a name with letters or digits"));
        }
    }
    let mut headers = Vec::with_capacity(settings.redact_headers.len());
    for (position, name) in settings.redact_headers.iter().enumerate() {
        match name.parse::<FieldName>() {
            Ok(name) => headers.push(name),
            Err(_) => {
                let path = format!("policies.capture.redact_headers[{position}]");
                problems.push(Problem::new(path, format!("expected the name of a header field, found '{name}'")));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let nothing = MessageSettings::default();
    if settings.request == nothing && settings.response == nothing {
        return Ok(None);
    }
    let redaction = Redaction::new(headers, &settings.redact_fields);
    let redaction = Arc::new(match site.end {
        RouteEnd::Builtin { grant: Some(_), .. } => redaction.with_request_fields(&LOGIN_FIELDS),
        _ => redaction,
    });
    let captures = Arc::clone(&site.parts.captures);
    let clock = Arc::clone(&site.parts.clock);
    Ok(Some(Step::Policy(Arc::new(Capture { settings, redaction, captures, clock }))))
}

struct Capture {
    settings: Settings,
    redaction: Arc<Redaction>,
    captures: Arc<dyn Captures>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Policy for Capture {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let effects = call.effects().filter(|_| is_drawn(&call.id, self.settings.sample));
        let Some(effects) = effects else { return Ok(next.run(call).await) };
        // Hands over what was copied when it is dropped: with the answer's body, or with this call.
        let Some(open) = self.begin(&effects, call) else { return Ok(next.run(call).await) };
        let is_head = call.request.method == Method::HEAD;
        let mut response = next.run(call).await;
        let wanted = self.settings.response;
        let status = response.status().as_u16();
        if self.settings.only == Only::Errors && status < 400 {
            open.forget();
            return Ok(response);
        }
        let headers = response.fields();
        // What would be the body of an answer to HEAD is never sent.
        let is_copied = wanted.body && !is_head;
        open.answered(status, |message, share| {
            message.body = is_copied.then(|| Copied::of(headers));
            let cap = self.settings.header_bytes;
            share.take(if wanted.headers { message.copy_headers(headers.iter(), cap) } else { 0 })
        });
        let body = std::mem::replace(response.body_mut(), Body::empty());
        let body = if is_copied { open.copy(body, Side::Response, self.settings.body_bytes) } else { body };
        *response.body_mut() = body.on_end(move |_| drop(open));
        Ok(response)
    }
}

impl Capture {
    /// Copies what is there of the request, and has the rest copied as it passes; none if there is no room for it.
    fn begin(&self, _: &Effects, call: &mut Call) -> Option<Open> {
        let wanted = self.settings.request;
        let mut share = Share::of(self.captures.budget());
        let mut request = Message::default();
        let (mut query, mut bytes) = (None, size_of::<Exchange>() + call.request.path.forwarded().len());
        if wanted.headers {
            let removed = call.raw.removed.iter().map(|(name, value)| (name.name(), value.value()));
            bytes += request.copy_headers(call.request.fields().iter().chain(removed), self.settings.header_bytes);
            let cap = self.settings.header_bytes;
            query = call.request.query.as_ref().map(|query| query.slice(..query.len().min(cap)));
            bytes += query.as_ref().map_or(0, bytes::Bytes::len);
        }
        if !share.take(bytes) {
            self.captures.lost();
            return None;
        }
        request.body = wanted.body.then(|| body_of_request(call));
        let route = call.route.as_ref();
        let exchange = Exchange {
            time: self.clock.unix_millis(),
            request_id: call.id.as_str().to_owned(),
            route: route.map_or_else(|| "".into(), |route| Arc::clone(&route.name)),
            service: route.and_then(|route| route.service.clone()),
            client_ip: call.peer.client_ip.to_string(),
            method: call.request.method.as_str().chars().take(SHOWN_METHOD).collect(),
            path: call.request.path.shared(),
            query,
            status: None,
            request,
            response: Message::default(),
            redaction: Arc::clone(&self.redaction),
            share,
        };
        let open = Open::new(exchange, Arc::clone(&self.captures));
        if wanted.body {
            let body = call.take_body();
            call.request.body = open.copy(body, Side::Request, self.settings.body_bytes);
        }
        Some(open)
    }
}

/// What is known of a request's body before it has come. Its fields may have been removed at the door.
fn body_of_request(call: &Call) -> Copied {
    let mut fields = call.request.fields.clone();
    for (name, value) in &call.raw.removed {
        fields.add(name, value.clone());
    }
    Copied { complete: call.request.body.is_empty(), ..Copied::of(fields.fields()) }
}

/// Whether a call is among so many in a hundred; the same for the same id.
fn is_drawn(id: &RequestId, sample: u8) -> bool {
    if sample >= 100 {
        return true;
    }
    let mut hasher = DefaultHasher::new();
    id.as_str().hash(&mut hasher);
    hasher.finish() % 100 < u64::from(sample)
}

#[cfg(test)]
mod tests;
