//! Error responses: every way the gateway refuses a call, each with its status and its code.
//!
//! A [`Refusal`] knows its status, its stable code and what the caller may read; what only the operator may
//! read is kept beside it. It knows nothing of how an answer is written: [`crate::call::Dialect`] does that.

mod credential;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::body::BodyError;
use crate::message::FieldValue;

pub use credential::Credential;

/// A way to say no. Each variant is one `code`; see [`Refusal::facts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request cannot be brought into canonical form, or a built-in endpoint cannot read its body.
    Malformed {
        /// Which rule it broke, stable, like `encoded_slash`.
        code: &'static str,
        /// The rule in words.
        detail: Cow<'static, str>,
    },
    /// The request target is longer than it may be.
    TargetTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// No route matches.
    NoRoute,
    /// The route that matches is switched off.
    RouteDisabled,
    /// More header fields than are read. 431.
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// A route matches, but not with this method.
    MethodNotAllowed {
        /// The methods it has, as the `Allow` header writes them.
        allow: &'static str,
    },
    /// A credential the route wants is not there.
    MissingCredential(Credential),
    /// A credential is there and is not good.
    InvalidCredential {
        /// Which.
        credential: Credential,
        /// Why, for the operator only.
        private: Cow<'static, str>,
    },
    /// The caller is known and may not do this.
    Forbidden {
        /// The rule in words; names nothing the caller did not send.
        detail: Cow<'static, str>,
    },
    /// The client that a request claims to be of is not known. Said in fomalhaut's dialects alone: elsewhere a request
    /// claims nothing before it is verified.
    UnknownClient,
    /// The client that a request claims to be of is disabled.
    DisabledClient,
    /// What a request of a client in fomalhaut's dialects asks for is nothing this client may call.
    NoEndpoint {
        /// The first two segments of the path, as the caller has sent them.
        endpoint: Box<str>,
    },
    /// A signature made too long ago, or in the future.
    SignatureExpired {
        /// What is wrong with its time, for the operator only.
        private: Cow<'static, str>,
    },
    /// A signed request that was here before.
    Replayed,
    /// A sealed request that cannot be opened, or holds what a sealed request may not say. Why is told to nobody but the
    /// operator: for the caller all of these are one.
    NotOpened {
        /// Why, for the operator only.
        private: &'static str,
    },
    /// An answer that would have to be held whole, to be signed or sealed, is larger than may be held.
    AnswerTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The object exists already or is in another state.
    Conflict {
        /// What is in the way.
        detail: Cow<'static, str>,
    },
    /// The request body is larger than the route allows.
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is of a type the endpoint does not read.
    UnsupportedMediaType,
    /// The caller stopped sending its request.
    RequestTimeout,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// A transfer coding other than `chunked`.
    UnknownTransferCoding,
    /// A queue, pool or budget of this node is used up.
    Overloaded {
        /// Which, for the operator only.
        private: &'static str,
        /// When a new try makes sense.
        retry_after: Duration,
    },
    /// The caller has used up a limit.
    TooManyRequests {
        /// The name of the limit.
        limit: Arc<str>,
        /// When this call would be admitted.
        retry_after: Duration,
        /// What the caller is told about its limits.
        fields: Box<LimitFields>,
    },
    /// Too many wrong passwords: this one was not looked at. Whether there is such a user makes no difference.
    LoginLocked {
        /// What has too many, for the operator only.
        private: &'static str,
        /// When a new try makes sense.
        retry_after: Duration,
    },
    /// What is declared at this place does not compile on this node, so nobody is let through to anything else.
    NotServed,
    /// The service has no target that could be called.
    NoTarget,
    /// No connection to the target.
    UpstreamUnreachable {
        /// Why, for the operator only.
        private: Cow<'static, str>,
    },
    /// No TLS with the target: it did not prove who it is, or did not take what it was shown.
    UpstreamTls {
        /// Why, for the operator only.
        private: Cow<'static, str>,
    },
    /// The target broke off or answered something that is not HTTP.
    UpstreamBroken {
        /// How, for the operator only.
        private: Cow<'static, str>,
    },
    /// The target's connections are all in use and none came free in time.
    UpstreamBusy,
    /// The target did not answer in time.
    UpstreamTimeout {
        /// Which limit was reached and whose it is, for the operator only.
        private: Cow<'static, str>,
    },
    /// The caller has said until when it waits, and that has passed.
    DeadlineExceeded,
    /// What the caller was let in by was taken back while the call was under way.
    Revoked,
    /// The target's address is one this gateway does not connect to.
    UpstreamForbidden {
        /// Which address, for the operator only.
        private: Cow<'static, str>,
    },
    /// The client has no Auth API for what is asked for, and the gateway cannot do it for its own users either.
    NoAuthApi,
    /// The Auth API of the client cannot be reached or refuses the question; or its address is none to connect to.
    AuthApiFailed {
        /// Why, for the operator only.
        private: Cow<'static, str>,
    },
    /// The Auth API of the client has answered something that cannot be read.
    AuthApiAnswer {
        /// What is wrong with it, for the operator only; nothing of the answer itself.
        private: &'static str,
    },
    /// The call has passed this gateway before.
    Loop,
    /// What the call asks for would have to be kept, and there is no room for it.
    StorageFull {
        /// Where, for the operator only.
        private: Cow<'static, str>,
    },
    /// What the call asks for has to be looked up or kept, and where it is kept cannot be reached at the moment.
    RegistryAway {
        /// Why, for the operator only.
        private: Cow<'static, str>,
    },
    /// A fault of the gateway itself.
    Internal {
        /// What happened, for the operator only.
        private: Cow<'static, str>,
    },
}

/// The limits a call was held against (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitFields {
    /// `RateLimit-Policy`: what is admitted.
    pub policy: FieldValue,
    /// `RateLimit`: what is left of it.
    pub state: FieldValue,
}

/// What a refusal says: the same for every dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code, in lower case with underscores.
    pub code: &'static str,
    /// A short phrase, the same for every occurrence.
    pub title: &'static str,
    /// One sentence about this occurrence.
    pub detail: Cow<'a, str>,
    /// `WWW-Authenticate`, on every 401.
    pub challenge: Option<&'static str>,
    /// `Retry-After`, in whole seconds.
    pub retry_after: Option<u64>,
    /// `Allow`, on 405.
    pub allow: Option<&'static str>,
    /// `RateLimit-Policy` and `RateLimit`, on 429.
    pub limits: Option<&'a LimitFields>,
}

impl Refusal {
    /// A malformed request.
    pub fn malformed(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { code, detail: detail.into() }
    }

    /// A wrong credential, with the reason for the operator.
    pub fn invalid(credential: Credential, private: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidCredential { credential, private: private.into() }
    }

    /// A request's body that did not come to its end.
    pub fn of_body(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::BodyTooLarge { limit: *limit },
            BodyError::Idle | BodyError::Slow | BodyError::Silent(_) | BodyError::TimedOut(_) => Self::RequestTimeout,
            BodyError::Broken(_) => Self::malformed("broken_body", "the request's body broke off"),
            BodyError::Revoked => Self::Revoked,
            BodyError::NoRoom => Self::no_room(),
        }
    }

    /// A body that has to be held whole, and for which there is no room.
    pub fn no_room() -> Self {
        Self::Overloaded { private: "no room to hold another body whole", retry_after: Duration::from_secs(1) }
    }

    /// A fault of the gateway itself.
    pub fn internal(private: impl Into<Cow<'static, str>>) -> Self {
        Self::Internal { private: private.into() }
    }

    /// The stable code alone.
    pub fn code(&self) -> &'static str {
        self.facts().code
    }

    /// Status, code and public words.
    ///
    /// ```
    /// use portcullis_core::refusal::{Credential, Refusal};
    ///
    /// let refusal = Refusal::invalid(Credential::ApiKey, "the key was revoked on Monday");
    /// let facts = refusal.facts();
    /// assert_eq!((facts.status.as_u16(), facts.code), (401, "invalid_credential"));
    /// assert!(facts.challenge.is_some_and(|challenge| challenge.starts_with("ApiKey")));
    /// assert!(!facts.detail.contains("Monday")); // The caller does not learn the reason,
    /// assert_eq!(refusal.private(), Some("the key was revoked on Monday")); // the operator does.
    /// ```
    pub fn facts(&self) -> Facts<'_> {
        let (status, code, title, detail): (u16, &'static str, &'static str, Cow<'_, str>) = match self {
            Self::Malformed { code, detail } => (400, code, "Bad request", Cow::Borrowed(detail)),
            Self::TargetTooLong { limit } => {
                (414, "target_too_long", "URI too long", format!("a request target may have {limit} bytes").into())
            }
            Self::TooManyFields { limit } => (
                431,
                "too_many_fields",
                "Request header fields too large",
                format!("a request may have {limit} header fields").into(),
            ),
            Self::NoRoute => (404, "no_route", "Not found", "no route matches this host and path".into()),
            Self::RouteDisabled => {
                (404, "route_disabled", "Route disabled", "the route of this call is switched off at the moment".into())
            }
            Self::MethodNotAllowed { allow } => {
                (405, "method_not_allowed", "Method not allowed", format!("this path answers {allow}").into())
            }
            Self::MissingCredential(credential) => {
                (401, "missing_credential", "Authentication required", credential.missing().into())
            }
            Self::InvalidCredential { credential, .. } => {
                (401, "invalid_credential", "Authentication failed", credential.invalid().into())
            }
            Self::Forbidden { detail } => (403, "forbidden", "Forbidden", Cow::Borrowed(detail)),
            Self::UnknownClient => (401, "unknown_client", "Unknown client", "the client is not known".into()),
            Self::DisabledClient => (403, "disabled_client", "Client disabled", "the client is disabled".into()),
            Self::NoEndpoint { endpoint } => {
                (403, "no_endpoint", "No permission", format!("the client may not call '{endpoint}'").into())
            }
            Self::SignatureExpired { .. } => (
                401,
                "signature_expired",
                "Signature expired",
                "the signature was made too long ago, or by a clock that is ahead".into(),
            ),
            Self::Replayed => (401, "replayed", "Request replayed", "this signed request was sent before".into()),
            Self::NotOpened { .. } => {
                (400, "not_opened", "Not decrypted", "the sealed request cannot be decrypted".into())
            }
            Self::AnswerTooLarge { limit } => (
                502,
                "answer_too_large",
                "Bad gateway",
                format!("an answer that is signed or sealed may have {limit} bytes").into(),
            ),
            Self::Conflict { detail } => (409, "conflict", "Conflict", Cow::Borrowed(detail)),
            Self::BodyTooLarge { limit } => {
                (413, "body_too_large", "Content too large", format!("the body may have {limit} bytes").into())
            }
            Self::UnsupportedMediaType => {
                (415, "unsupported_media_type", "Unsupported media type", "expected application/json".into())
            }
            Self::RequestTimeout => {
                (408, "request_timeout", "Request timeout", "the request did not arrive in time".into())
            }
            Self::ExpectationFailed => {
                (417, "expectation_failed", "Expectation failed", "only 'Expect: 100-continue' is known".into())
            }
            Self::UnknownTransferCoding => {
                (501, "unknown_transfer_coding", "Not implemented", "the only transfer coding here is 'chunked'".into())
            }
            Self::Overloaded { .. } => {
                (503, "overloaded", "Overloaded", "the gateway has more to do than it can take on".into())
            }
            Self::TooManyRequests { limit, .. } => (
                429,
                "too_many_requests",
                "Too many requests",
                format!("more calls than the limit '{limit}' admits").into(),
            ),
            Self::LoginLocked { .. } => (
                429,
                "login_locked",
                "Too many failed logins",
                "too many logins have failed; wait before the next try".into(),
            ),
            Self::NotServed => {
                (503, "not_served", "Not served", "what is declared here cannot be served at the moment".into())
            }
            Self::NoTarget => (503, "no_target", "No target", "the service has no instance to call".into()),
            Self::UpstreamUnreachable { .. } => {
                (502, "upstream_unreachable", "Bad gateway", "the service cannot be reached".into())
            }
            Self::UpstreamTls { .. } => {
                (502, "upstream_tls", "Bad gateway", "the service could not prove who it is over TLS".into())
            }
            Self::UpstreamBroken { .. } => {
                (502, "upstream_broken", "Bad gateway", "the service broke off or did not answer in HTTP".into())
            }
            Self::UpstreamBusy => {
                (503, "upstream_busy", "Service busy", "all connections to the service are in use".into())
            }
            Self::UpstreamTimeout { .. } => {
                (504, "upstream_timeout", "Gateway timeout", "the service did not answer in time".into())
            }
            Self::DeadlineExceeded => {
                (504, "deadline_exceeded", "Deadline exceeded", "the caller's deadline has passed".into())
            }
            Self::Revoked => {
                (401, "revoked", "Revoked", "the caller's access was revoked while the call was in progress".into())
            }
            Self::UpstreamForbidden { .. } => (
                502,
                "upstream_address_refused",
                "Bad gateway",
                "the service's address is one this gateway does not connect to".into(),
            ),
            Self::NoAuthApi => (501, "no_auth_api", "Not implemented", "the client has no Auth API for this".into()),
            Self::AuthApiFailed { .. } => {
                (502, "auth_api_failed", "Bad gateway", "the client's Auth API cannot be asked".into())
            }
            Self::AuthApiAnswer { .. } => (
                502,
                "auth_api_answer",
                "Bad gateway",
                "the client's Auth API gave an answer that cannot be read".into(),
            ),
            Self::Loop => (508, "loop_detected", "Loop detected", "the call has passed this gateway before".into()),
            Self::StorageFull { .. } => {
                (507, "storage_full", "Insufficient storage", "the gateway has no room on its disk to keep this".into())
            }
            Self::RegistryAway { .. } => (
                503,
                "registry_unavailable",
                "Registry unavailable",
                "the gateway cannot reach its registry at the moment".into(),
            ),
            Self::Internal { .. } => (500, "internal", "Internal error", "the gateway failed on this call".into()),
        };
        Facts {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            title,
            detail,
            challenge: match self {
                Self::MissingCredential(credential) => Some(credential.challenge(false)),
                Self::InvalidCredential { credential, .. } => Some(credential.challenge(true)),
                Self::SignatureExpired { .. } | Self::Replayed => Some(Credential::Signature.challenge(true)),
                Self::UnknownClient => Some(Credential::Signature.challenge(false)),
                _ => None,
            },
            retry_after: match self {
                Self::Overloaded { retry_after, .. } => Some(retry_after.as_secs().max(1)),
                // Rounded up: a caller that waits as long as it is told to is admitted.
                Self::TooManyRequests { retry_after, .. } | Self::LoginLocked { retry_after, .. } => {
                    Some((retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)).max(1))
                }
                Self::UpstreamBusy | Self::NoTarget | Self::RegistryAway { .. } => Some(1),
                _ => None,
            },
            allow: match self {
                Self::MethodNotAllowed { allow } => Some(allow),
                _ => None,
            },
            limits: match self {
                Self::TooManyRequests { fields, .. } => Some(fields),
                _ => None,
            },
        }
    }

    /// What only the operator may read, where there is more than the public words.
    pub fn private(&self) -> Option<&str> {
        match self {
            Self::InvalidCredential { private, .. }
            | Self::SignatureExpired { private }
            | Self::UpstreamUnreachable { private }
            | Self::UpstreamTls { private }
            | Self::UpstreamBroken { private }
            | Self::UpstreamTimeout { private }
            | Self::UpstreamForbidden { private }
            | Self::AuthApiFailed { private }
            | Self::StorageFull { private }
            | Self::RegistryAway { private }
            | Self::Internal { private } => Some(private),
            Self::Overloaded { private, .. } | Self::LoginLocked { private, .. } => Some(private),
            Self::TooManyRequests { limit, .. } => Some(limit),
            Self::NotOpened { private } | Self::AuthApiAnswer { private } => Some(private),
            _ => None,
        }
    }
}
