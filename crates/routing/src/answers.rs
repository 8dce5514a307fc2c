//! Endpoints that answer by themselves: a redirect, and an answer that is always the same.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Response};
use portcullis_core::dry_run::Destination;
use portcullis_core::message::names::{CONNECTION, CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use portcullis_core::message::{FieldMap, FieldName, FieldValue, HasFields};
use portcullis_core::model::{FixedAnswer, Problem, Redirect};
use portcullis_core::policy::Endpoint;
use portcullis_core::refusal::Refusal;
use portcullis_upstream::template::Template;

use crate::routes::DeclaredPath;

/// The longest body of a fixed answer, in bytes.
const LONGEST: usize = 64 << 10;

/// Compiles a redirect.
pub fn redirect(declared: &Redirect, path: &DeclaredPath) -> Result<Arc<dyn Endpoint>, Vec<Problem>> {
    let mut problems = Vec::new();
    if !matches!(declared.status, 301 | 302 | 303 | 307 | 308) {
        let message = format!("expected 301, 302, 303, 307 or 308, found {}", declared.status);
        problems.push(Problem::new("redirect.status", message));
    }
    let rooted = declared.to.starts_with('/') && !declared.to.starts_with("//");
    let absolute = ["http://", "https://"].iter().any(|scheme| {
        // What a caller sends must not become part of the host.
        declared
            .to
            .strip_prefix(scheme)
            .is_some_and(|rest| !rest.split('/').next().unwrap_or("").contains('{') && !rest.is_empty())
    });
    if !rooted && !absolute || FieldValue::of(&declared.to).is_err() {
        let message = "expected a path or an http(s) URL, without parameters in its host";
        problems.push(Problem::new("redirect.to", message));
    }
    let to = Template::parse(&declared.to, &path.parameters, "redirect.to");
    match (to, problems.is_empty(), StatusCode::from_u16(declared.status)) {
        (Ok(to), true, Ok(status)) => Ok(Arc::new(Redirecting { to, status, keep_query: declared.keep_query })),
        (to, _, _) => {
            problems.extend(to.err());
            Err(problems)
        }
    }
}

struct Redirecting {
    to: Template,
    status: StatusCode,
    keep_query: bool,
}

impl Redirecting {
    fn location(&self, call: &Call) -> Result<FieldValue, Refusal> {
        let mut to = self.to.fill(call).into_bytes();
        if to.starts_with(b"//") {
            // An empty first parameter must not turn a path into another host.
            to.remove(0);
        }
        if let Some(query) = call.request.query.as_ref().filter(|_| self.keep_query) {
            to.push(if to.contains(&b'?') { b'&' } else { b'?' });
            to.extend_from_slice(query);
        }
        FieldValue::from_bytes(&to).map_err(|_| Refusal::internal("a location that is no header value"))
    }
}

#[async_trait]
impl Endpoint for Redirecting {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.fields_mut().set(LOCATION, self.location(call)?);
        Ok(response)
    }

    fn preview(&self, call: &Call) -> Result<Destination, Refusal> {
        let location = String::from_utf8_lossy(self.location(call)?.as_bytes()).into_owned();
        Ok(Destination::Answer { status: self.status.as_u16(), location: Some(location) })
    }
}

/// Compiles a fixed answer.
pub fn fixed(declared: &FixedAnswer) -> Result<Arc<dyn Endpoint>, Vec<Problem>> {
    let mut problems = Vec::new();
    let status = StatusCode::from_u16(declared.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
    if status.is_none() {
        problems.push(Problem::new("answer.status", format!("expected 200 to 599, found {}", declared.status)));
    }
    if declared.body.len() > LONGEST {
        problems.push(Problem::new("answer.body", format!("at most {LONGEST} bytes")));
    }
    let mut headers = FieldMap::new();
    for (name, value) in &declared.headers {
        let path = format!("answer.headers.{name}");
        match (FieldName::from_bytes(name.as_bytes()), FieldValue::of(value)) {
            (Ok(name), Ok(_)) if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name) => {
                problems.push(Problem::new(path, "the framing of an answer is not declared"));
            }
            (Ok(name), Ok(value)) => {
                headers.set(name, value);
            }
            _ => problems.push(Problem::new(path, "expected the name and value of a header field")),
        }
    }
    match status {
        Some(status) if problems.is_empty() => {
            Ok(Arc::new(Fixed { status, headers, body: Bytes::from(declared.body.clone()) }))
        }
        _ => Err(problems),
    }
}

struct Fixed {
    status: StatusCode,
    headers: FieldMap,
    body: Bytes,
}

#[async_trait]
impl Endpoint for Fixed {
    async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
        let empty = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let mut response = Response::new(if empty { Body::empty() } else { Body::full(self.body.clone()) });
        *response.status_mut() = self.status;
        response.fields_mut().replace(self.headers.clone());
        Ok(response)
    }
    fn preview(&self, _: &Call) -> Result<Destination, Refusal> {
        Ok(Destination::Answer { status: self.status.as_u16(), location: None })
    }
}
