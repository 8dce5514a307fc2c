//! Captured exchanges: what an operator who debugs a route sees of a call, and how it is brought from the call to
//! where it is kept.
//!
//! A call only copies bytes, within a [`Budget`](crate::budget::Budget); credentials and named fields are taken out by
//! [`Exchange::shown`], on the thread that writes, before anything reaches a disk.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::budget::Share;
use crate::message::names::{CONTENT_ENCODING, CONTENT_TYPE};
use crate::message::{FieldName, FieldValue, Fields, Name, Value};
use crate::model::ServiceId;

mod content;
mod json;
mod redaction;

pub use redaction::Redaction;

/// What was copied of a body.
#[derive(Default)]
pub struct Copied {
    /// The bytes from its beginning, up to the cap.
    pub bytes: Vec<u8>,
    /// Bytes of the whole body that passed.
    pub size: u64,
    /// Whether it came to its end.
    pub complete: bool,
    /// What it is called.
    pub kind: Option<FieldValue>,
    /// Whether it has a content coding, so that nobody here can read it.
    pub coded: bool,
}

impl Copied {
    /// Nothing yet of a body with these fields.
    pub fn of(headers: Fields<'_>) -> Self {
        let identity = |value: Value<'_>| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
        Self {
            kind: headers.get(CONTENT_TYPE).map(Value::to_owned),
            coded: !headers.all(CONTENT_ENCODING).all(identity),
            ..Self::default()
        }
    }
}

/// One message as it was copied, with its secrets.
#[derive(Default)]
pub struct Message {
    /// The fields, where they are wanted.
    pub headers: Option<Vec<(FieldName, FieldValue)>>,
    /// Whether there were more fields than the cap allows.
    pub headers_cut: bool,
    /// The body, where it is wanted.
    pub body: Option<Copied>,
}

impl Message {
    /// Copies fields as long as their lines fit into so many bytes. Returns the bytes that they have.
    pub fn copy_headers<'a>(&mut self, fields: impl Iterator<Item = (Name<'a>, Value<'a>)>, cap: usize) -> usize {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for (name, value) in fields {
            // A line has `: ` and a line end beside what it says.
            let line = name.as_str().len() + value.len() + 4;
            if bytes + line > cap {
                self.headers_cut = true;
                break;
            }
            bytes += line;
            kept.push((name.to_owned(), value.to_owned()));
        }
        self.headers = Some(kept);
        bytes
    }
}

/// One exchange as it was copied, with its secrets: it is in memory only.
pub struct Exchange {
    /// When the request came, in Unix milliseconds.
    pub time: u64,
    /// The id of the call.
    pub request_id: String,
    /// The route's name.
    pub route: Arc<str>,
    /// The service behind it.
    pub service: Option<ServiceId>,
    /// The address the call came from.
    pub client_ip: String,
    /// The method.
    pub method: String,
    /// The canonical path.
    pub path: Arc<str>,
    /// The query, where the request's fields are wanted.
    pub query: Option<Bytes>,
    /// The status of the answer; none if the caller left before there was one.
    pub status: Option<u16>,
    /// What the caller sent.
    pub request: Message,
    /// What the caller got.
    pub response: Message,
    /// What is taken out before anybody sees it.
    pub redaction: Arc<Redaction>,
    /// What it takes of the budget.
    pub share: Share,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

impl Exchange {
    /// The exchange as it may be kept and shown: without credentials and without what was named.
    pub fn shown(&self) -> Capture {
        let of_requests = self.redaction.of_requests();
        let message = |message: &Message, redaction: &Redaction| CapturedMessage {
            headers: message.headers.as_ref().map(|headers| {
                let shown = |(name, value): &(FieldName, FieldValue)| {
                    (name.as_str().to_owned(), redaction.header(name, value.value()))
                };
                headers.iter().map(shown).collect()
            }),
            headers_truncated: message.headers_cut,
            body: message.body.as_ref().map(|body| content::shown(body, redaction)),
        };
        Capture {
            summary: Summary {
                time: self.time,
                request_id: self.request_id.clone(),
                route: self.route.to_string(),
                service: self.service.as_ref().map(|id| id.name.to_string()),
                version: self.service.as_ref().map(|id| id.version.to_string()),
                client_ip: self.client_ip.clone(),
                method: self.method.clone(),
                path: self.path.to_string(),
                status: self.status,
            },
            query: self.query.as_ref().map(|query| of_requests.pairs(query)),
            request: message(&self.request, of_requests),
            response: message(&self.response, &self.redaction),
        }
    }
}

/// What a list says of a captured exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// When the request came, in Unix milliseconds.
    pub time: u64,
    /// The id of the call.
    pub request_id: String,
    /// The route's name.
    pub route: String,
    /// The service behind it.
    pub service: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The address the call came from.
    pub client_ip: String,
    /// The method.
    pub method: String,
    /// The canonical path, without its query.
    pub path: String,
    /// The status of the answer; none if the caller left before there was one.
    pub status: Option<u16>,
}

/// A captured exchange as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// What a list says of it.
    pub summary: Summary,
    /// The query, where the request's fields were wanted.
    pub query: Option<String>,
    /// What the caller sent.
    pub request: CapturedMessage,
    /// What the caller got.
    pub response: CapturedMessage,
}

/// One message of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedMessage {
    /// The fields, where they were wanted.
    pub headers: Option<Vec<(String, String)>>,
    /// Whether there were more fields.
    pub headers_truncated: bool,
    /// The body, where it was wanted.
    pub body: Option<CapturedBody>,
}

/// The body of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedBody {
    /// Bytes of the whole body that passed.
    pub bytes: u64,
    /// Whether it came to its end.
    pub complete: bool,
    /// Whether less was captured than passed.
    pub truncated: bool,
    /// Text, without what was taken out.
    pub text: Option<String>,
    /// base64, where it is no text.
    pub base64: Option<String>,
    /// Why there is nothing, or nothing further.
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_copied_in_whole_lines() {
        let name = FieldName::from_static("x-ab");
        let value = FieldValue::from_static("12");
        for (cap, kept) in [(9, 0), (10, 1), (19, 1), (20, 2)] {
            let mut message = Message::default();
            let bytes = message.copy_headers([(name.name(), value.value()); 2].into_iter(), cap);
            assert_eq!((bytes, message.headers.map(|it| it.len())), (kept * 10, Some(kept)), "{cap}");
            assert_eq!(message.headers_cut, kept < 2, "{cap}");
        }
    }
}
