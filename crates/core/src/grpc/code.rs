//! How a gRPC call ends: the codes a gateway needs, and the fields that carry them.

use http::StatusCode;

use crate::message::names::{GRPC_MESSAGE, GRPC_RETRY_PUSHBACK_MS, GRPC_STATUS, X_PORTCULLIS_CODE};
use crate::message::{FieldMap, FieldValue};
use crate::refusal::Facts;

/// A status of gRPC, as far as the gateway gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// What was sent is wrong, whatever state the service is in.
    InvalidArgument = 3,
    /// It has taken too long.
    DeadlineExceeded = 4,
    /// A known caller may not do this.
    PermissionDenied = 7,
    /// A limit is used up, or something is larger than it may be.
    ResourceExhausted = 8,
    /// It does not go together with what there is.
    Aborted = 10,
    /// There is no such method.
    Unimplemented = 12,
    /// A fault on this side.
    Internal = 13,
    /// The service is not there; another try may find it.
    Unavailable = 14,
    /// Who calls is not known.
    Unauthenticated = 16,
}

impl Code {
    /// The code of a refusal by its HTTP status.
    ///
    /// Clients map statuses of proxies that know no gRPC to few codes (400 to INTERNAL, 429 to UNAVAILABLE). This gateway
    /// knows what it refuses, and says it as a service would.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            400 | 415 | 417 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 | 405 | 501 => Self::Unimplemented,
            408 | 504 => Self::DeadlineExceeded,
            409 => Self::Aborted,
            413 | 414 | 429 | 431 => Self::ResourceExhausted,
            502 | 503 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// The fields with which a call ends: the code, the words, and the stable code of the gateway.
pub fn trailers(code: Code, why: &'static str, message: &str) -> FieldMap {
    let mut fields = FieldMap::with_capacity(8);
    fields.set(GRPC_STATUS, FieldValue::from(code as u16));
    fields.set(GRPC_MESSAGE, percent_encoded(message));
    fields.set(X_PORTCULLIS_CODE, FieldValue::from_static(why));
    fields
}

/// The same for a refusal. A caller that tries again by itself is told when that makes sense.
pub fn refused(facts: &Facts<'_>) -> FieldMap {
    let mut fields = trailers(Code::of(facts.status), facts.code, &facts.detail);
    if let Some(seconds) = facts.retry_after {
        fields.set(GRPC_RETRY_PUSHBACK_MS, FieldValue::from(seconds.saturating_mul(1_000)));
    }
    fields
}

/// Everything but printable ASCII, and the percent sign, as `%XX`.
fn percent_encoded(message: &str) -> FieldValue {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = Vec::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7F.. => {
                text.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            _ => text.push(byte),
        }
    }
    FieldValue::from_bytes(&text).unwrap_or(FieldValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::message::HasFields;
    use crate::refusal::{Credential, Refusal};

    #[test]
    fn every_refusal_has_its_code() {
        for (refusal, code) in [
            (Refusal::malformed("bad_host", "no"), 3),
            (Refusal::UnsupportedMediaType, 3),
            (Refusal::MissingCredential(Credential::Bearer), 16),
            (Refusal::invalid(Credential::ApiKey, "x"), 16),
            (Refusal::Forbidden { detail: "no".into() }, 7),
            (Refusal::NoRoute, 12),
            (Refusal::MethodNotAllowed { allow: "GET" }, 12),
            (Refusal::RequestTimeout, 4),
            (Refusal::UpstreamTimeout { private: "x".into() }, 4),
            (Refusal::DeadlineExceeded, 4),
            (Refusal::Revoked, 16),
            (Refusal::Conflict { detail: "no".into() }, 10),
            (Refusal::BodyTooLarge { limit: 1 }, 8),
            (Refusal::TooManyFields { limit: 1 }, 8),
            (Refusal::UpstreamBusy, 14),
            (Refusal::UpstreamUnreachable { private: "x".into() }, 14),
            (Refusal::Loop, 13),
            (Refusal::internal("x"), 13),
        ] {
            let fields = refused(&refusal.facts());
            assert_eq!(fields.fields().text(GRPC_STATUS), Some(&*code.to_string()), "{refusal:?}");
            assert_eq!(fields.fields().text(X_PORTCULLIS_CODE), Some(refusal.code()));
            assert!(fields.fields().text(GRPC_MESSAGE).is_some_and(|message| !message.is_empty()));
        }
    }

    #[test]
    fn a_caller_is_told_when_to_come_back() {
        let overloaded = Refusal::Overloaded { private: "queue", retry_after: Duration::from_secs(3) };
        assert_eq!(refused(&overloaded.facts()).fields().text(GRPC_RETRY_PUSHBACK_MS), Some("3000"));
        assert!(!refused(&Refusal::NoRoute.facts()).fields().has(GRPC_RETRY_PUSHBACK_MS));
    }

    #[test]
    fn words_are_percent_encoded() {
        assert_eq!(percent_encoded("plain 'text' ~"), "plain 'text' ~");
        assert_eq!(percent_encoded("100 %\n\u{7f}…"), "100 %25%0A%7F%E2%80%A6");
    }
}
