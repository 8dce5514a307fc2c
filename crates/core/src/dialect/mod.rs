//! How refusals are written: as problem details, as OAuth has them, as gRPC ends its calls, or as fomalhaut's clients
//! read them. One file a form.

pub mod fomalhaut;
mod grpc;
mod oauth;
mod problem;
mod written;

use std::time::SystemTime;

use self::written::Written;
use crate::body::{Body, Response};
use crate::canonical::DecisionPath;
use crate::grpc::Form;
use crate::message::names::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RATELIMIT, RATELIMIT_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
};
use crate::message::{FieldName, FieldValue, HasFields};
use crate::refusal::{Facts, Refusal};
use crate::request_id::RequestId;

/// How refusals are written for this caller. Fixed at the door, before routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 9457 problem details.
    Http,
    /// RFC 6749 section 5.2 error JSON.
    OAuth,
    /// gRPC: 200 with the status in fields of the head, or in a frame of the body.
    Grpc(Form),
    /// One of fomalhaut's: a status of its own, and JSON with a result code.
    Fomalhaut(fomalhaut::Form),
}

/// What of a request decides about its dialect.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// What its content type says, if it is gRPC.
    pub grpc: Option<Form>,
    /// The fields that were taken away at the door: those of fomalhaut's dialects are among them.
    pub removed: &'a [(FieldName, FieldValue)],
    /// The path that is decided on.
    pub path: DecisionPath<'a>,
    /// What is declared for the host: a request that shows no dialect itself is taken for this one.
    pub host: Option<fomalhaut::Form>,
    /// Whether it is signed by RFC 9421, which no dialect of fomalhaut knows.
    pub is_signed: bool,
}

/// Which call is refused, and when.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// The id of the call.
    pub id: &'a RequestId,
    /// When the call came.
    pub time: SystemTime,
}

impl Dialect {
    /// The dialect of a request: gRPC by its content type, else one of fomalhaut's by the fields it has, else OAuth by its
    /// path, else that of the host.
    pub fn of(head: &Head<'_>) -> Self {
        let path = head.path.as_str();
        if let Some(form) = head.grpc {
            Self::Grpc(form)
        } else if let Some(form) = fomalhaut::Form::shown(head.removed) {
            Self::Fomalhaut(form)
        } else if path.starts_with("/oauth/") || path == "/verify_token" {
            Self::OAuth
        } else {
            head.host.filter(|_| !head.is_signed).map_or(Self::Http, Self::Fomalhaut)
        }
    }

    /// Whether it is one of gRPC's.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc(_))
    }

    /// Which of fomalhaut's it is.
    pub fn fomalhaut(self) -> Option<fomalhaut::Form> {
        match self {
            Self::Fomalhaut(form) => Some(form),
            _ => None,
        }
    }

    /// Writes a refusal out: status, headers and a body, which is JSON but for gRPC.
    pub fn write(self, refusal: &Refusal, call: Refused<'_>) -> Response {
        let facts = refusal.facts();
        let written = match self {
            Self::Http => problem::write(&facts, call.id),
            Self::OAuth => oauth::write(&facts, call.id),
            Self::Grpc(form) => grpc::write(form, &facts),
            Self::Fomalhaut(form) => fomalhaut::write(form, refusal, call.time),
        };
        let Written { status, content_type, fields, body } = written;
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = status;
        let mut headers = response.fields_mut();
        headers.replace(fields);
        headers.set(CONTENT_TYPE, FieldValue::from_static(content_type));
        headers.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
        let Facts { challenge, retry_after, allow, limits, .. } = facts;
        if let Some(challenge) = challenge {
            headers.set(WWW_AUTHENTICATE, FieldValue::from_static(challenge));
        }
        if let Some(allow) = allow {
            headers.set(ALLOW, FieldValue::from_static(allow));
        }
        if let Some(seconds) = retry_after {
            headers.set(RETRY_AFTER, FieldValue::from(seconds));
        }
        if let Some(limits) = limits {
            headers.set(RATELIMIT_POLICY, limits.policy.clone());
            headers.set(RATELIMIT, limits.state.clone());
        }
        response
    }
}

/// The one value of a field among those that were taken away at the door; none where it is not there, or there twice.
pub fn removed_value<'a>(removed: &'a [(FieldName, FieldValue)], name: &str) -> Option<&'a FieldValue> {
    let mut found = removed.iter().filter(|(removed, _)| removed.as_str() == name).map(|(_, value)| value);
    let only = found.next()?;
    found.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests;
