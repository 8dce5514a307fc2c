//! gRPC as far as a gateway has to know it: which calls are gRPC, how they are refused, how long they may take, and
//! where one message ends and the next begins. What is in the messages is nobody's business here.
//!
//! After the description of gRPC over HTTP/2 and that of gRPC-Web in the gRPC project's documents.

pub mod code;
pub mod messages;
pub mod timeout;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;

use crate::body::BodyError;
use crate::message::names::{CONTENT_TYPE, GRPC_STATUS};
use crate::message::{Fields, Value};
use crate::record::Record;

pub use code::Code;

/// What every content type here begins with.
const PREFIX: &[u8] = b"application/grpc";

/// How messages of gRPC are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// gRPC over HTTP/2: its status stands in trailers.
    Native,
    /// gRPC-Web: its status stands in a frame of the body.
    Web,
    /// The same in Base64.
    WebText,
}

/// The form of a content type: none if it is not gRPC's. What comes behind the first `+` or `;` does not matter.
pub fn form(content_type: Value<'_>) -> Option<Form> {
    let bytes = content_type.as_bytes();
    if bytes.len() < PREFIX.len() || !bytes[..PREFIX.len()].eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let rest = &bytes[PREFIX.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'+' | b';' | b' ' | b'\t')).unwrap_or(rest.len());
    match &rest[..end].to_ascii_lowercase()[..] {
        b"" => Some(Form::Native),
        b"-web" => Some(Form::Web),
        b"-web-text" => Some(Form::WebText),
        _ => None,
    }
}

/// Whether a message's body is gRPC's messages with their lengths, as they stand: not in Base64, nor anything else.
pub fn is_framed(headers: Fields<'_>) -> bool {
    matches!(headers.get(CONTENT_TYPE).and_then(form), Some(Form::Native | Form::Web))
}

/// The last frame of an answer in gRPC-Web: trailers, in the body.
pub fn web_trailers(trailers: Fields<'_>) -> Bytes {
    let mut frame = vec![0x80, 0, 0, 0, 0];
    for (name, value) in trailers.iter() {
        frame.extend_from_slice(name.as_str().as_bytes());
        frame.extend_from_slice(b": ");
        frame.extend_from_slice(value.as_bytes());
        frame.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(frame.len() - messages::HEAD).unwrap_or(u32::MAX);
    frame[1..messages::HEAD].copy_from_slice(&length.to_be_bytes());
    frame.into()
}

/// What a gRPC call has beside what every call has.
#[derive(Debug)]
pub struct GrpcCall {
    /// When its caller gives up.
    pub deadline: Option<Instant>,
    /// Why the caller's messages did not come to their end.
    pub failure: OnceLock<BodyError>,
    /// Which time limit has cut it, and whose that is.
    pub limit: OnceLock<&'static str>,
    status: AtomicU8,
    cut: OnceLock<&'static str>,
}

/// No status yet.
const NONE: u8 = u8::MAX;

impl GrpcCall {
    /// A call whose caller waits until then.
    pub fn until(deadline: Option<Instant>) -> Self {
        let (failure, limit, cut) = Default::default();
        Self { deadline, failure, limit, status: AtomicU8::new(NONE), cut }
    }

    /// Reads the status out of a head or trailers, for the record.
    pub fn note(&self, fields: Fields<'_>) {
        let status = fields.get(GRPC_STATUS).and_then(|value| value.text()?.parse::<u8>().ok());
        if let Some(status) = status {
            self.status.store(status, Relaxed);
        }
    }

    /// The gateway has ended the answer with this status, for this reason.
    pub fn cut(&self, code: Code, why: &'static str) {
        self.status.store(code as u8, Relaxed);
        // Whoever is first has ended it.
        let _ = self.cut.set(why);
    }

    /// Writes into the record how the call ended.
    pub fn tell(&self, record: &mut Record) {
        match self.status.load(Relaxed) {
            NONE => {}
            status => record.grpc_status = Some(status),
        }
        if let Some(why) = self.cut.get() {
            record.refusal = Some(why);
        }
        if let Some(limit) = self.limit.get() {
            record.reason = Some((*limit).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{FieldMap, FieldName, FieldValue, HasFields};

    #[test]
    fn content_types_are_told_apart() {
        for (text, expected) in [
            ("application/grpc", Some(Form::Native)),
            ("application/grpc+proto", Some(Form::Native)),
            ("Application/gRPC+json", Some(Form::Native)),
            ("application/grpc;charset=utf-8", Some(Form::Native)),
            ("application/grpc-web", Some(Form::Web)),
            ("application/grpc-web+proto", Some(Form::Web)),
            ("application/grpc-web-text", Some(Form::WebText)),
            ("application/grpc-Web-Text+proto; x=y", Some(Form::WebText)),
            ("application/grpcx", None),
            ("application/grpc-web-texts", None),
            ("application/grp", None),
            ("application/json", None),
            ("text/grpc", None),
        ] {
            assert_eq!(form(FieldValue::from_static(text).value()), expected, "{text}");
        }
    }

    #[test]
    fn trailers_become_a_frame() {
        let mut trailers = FieldMap::new();
        trailers.set(GRPC_STATUS, FieldValue::from_static("0"));
        trailers.set(FieldName::from_static("x-a"), FieldValue::from_static("b c"));
        assert_eq!(&web_trailers(trailers.fields())[..], b"\x80\x00\x00\x00\x1agrpc-status: 0\r\nx-a: b c\r\n");
        assert_eq!(&web_trailers(FieldMap::new().fields())[..], b"\x80\x00\x00\x00\x00");
    }
}
