//! Errors of fomalhaut's dialects: one status for every refusal, and a result code in JSON.
//!
//! | form | status | body |
//! |---|---|---|
//! | `fo` | 949 | `{"code":431,"value":null,"message":"431 Invalid Signature"}` |
//! | `api` | 600 | `{"code":600,"data":null,"msg":"600 Invalid Signature"}` |

use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde::Serialize;

use super::written::Written;
use crate::message::names::X_FO_TIMESTAMP;
use crate::message::{FieldName, FieldValue, HasFields};
use crate::refusal::{Credential, Refusal};

/// Which of the two dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Fields begin with `X-Fo-`.
    Fo,
    /// Fields begin with `X-Api-`.
    Api,
}

/// The status of every refusal in `fo`.
pub const FO_STATUS: u16 = 949;
/// The status of every refusal in `api`.
pub const API_STATUS: u16 = 600;
/// The reason phrase beside both.
pub const REASON: &str = "Invalid Request";

/// The fields that show a request to be in `fo`.
const SHOWS_FO: [&str; 10] = [
    "x-fo-app-id",
    "x-fo-timestamp",
    "x-fo-signature",
    "x-fo-nonce",
    "x-fo-encrypt-type",
    "x-fo-sign-response",
    "x-fo-access-token",
    "x-fo-encrypted-uri",
    "x-fo-encrypted-headers",
    "x-fo-version",
];
/// The field that shows a request to be in `api`.
const SHOWS_API: &str = "x-api-access-key";

/// The fields that a request has in either dialect.
static FIELDS: [FieldName; 19] = [
    FieldName::from_static("x-fo-app-id"),
    FieldName::from_static("x-fo-timestamp"),
    FieldName::from_static("x-fo-nonce"),
    FieldName::from_static("x-fo-signature"),
    FieldName::from_static("x-fo-encrypt-type"),
    FieldName::from_static("x-fo-sign-response"),
    FieldName::from_static("x-fo-encrypted-uri"),
    FieldName::from_static("x-fo-encrypted-headers"),
    FieldName::from_static("x-fo-access-token"),
    FieldName::from_static("x-fo-version"),
    FieldName::from_static("x-api-access-key"),
    FieldName::from_static("x-api-timestamp"),
    FieldName::from_static("x-api-nonce"),
    FieldName::from_static("x-api-signature"),
    FieldName::from_static("x-api-encrypt-type"),
    FieldName::from_static("x-api-require-response-signature"),
    FieldName::from_static("x-api-encrypted-uri"),
    FieldName::from_static("x-api-encrypted-headers"),
    FieldName::from_static("x-api-access-token"),
];

/// The name of a field of a dialect, in lower case, as it stands here: a copy of it takes no memory.
pub fn field_name(name: &str) -> Option<FieldName> {
    if !name.starts_with("x-fo-") && !name.starts_with("x-api-") {
        return None;
    }
    FIELDS.iter().find(|known| known.as_str() == name).cloned()
}

impl Form {
    /// The dialect that a request shows by its fields; `api` where it shows both.
    pub fn shown(removed: &[(FieldName, FieldValue)]) -> Option<Self> {
        let mut names = removed.iter().map(|(name, _)| name.as_str());
        if names.clone().any(|name| name == SHOWS_API) {
            Some(Self::Api)
        } else {
            names.any(|name| name.starts_with("x-fo-") && SHOWS_FO.contains(&name)).then_some(Self::Fo)
        }
    }

    /// The status of its refusals.
    pub fn status(self) -> StatusCode {
        let status = match self {
            Self::Fo => FO_STATUS,
            Self::Api => API_STATUS,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The field with the access key of the client that a request claims to be of.
    pub fn client_field(self) -> &'static str {
        match self {
            Self::Fo => "x-fo-app-id",
            Self::Api => SHOWS_API,
        }
    }

    /// The field with a user's token.
    pub fn token_field(self) -> &'static str {
        match self {
            Self::Fo => "x-fo-access-token",
            Self::Api => "x-api-access-token",
        }
    }
}

#[derive(Serialize)]
struct FoError<'a> {
    code: u16,
    value: Option<()>,
    message: &'a str,
}

#[derive(Serialize)]
struct ApiError<'a> {
    code: u16,
    data: Option<()>,
    msg: &'a str,
}

pub(super) fn write(form: Form, refusal: &Refusal, time: SystemTime) -> Written {
    let result = result(refusal);
    let mut text = text(refusal, result).to_owned();
    if let Refusal::NoEndpoint { endpoint } = refusal {
        text.push(' ');
        text.push_str(endpoint);
    }
    let body = match form {
        Form::Fo => serde_json::to_vec(&FoError { code: result, value: None, message: &format!("{result} {text}") }),
        Form::Api => {
            serde_json::to_vec(&ApiError { code: API_STATUS, data: None, msg: &format!("{API_STATUS} {text}") })
        }
    };
    let mut written = Written::new(form.status(), "application/json; charset=utf-8", body);
    if form == Form::Fo {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        written.fields.fields_mut().set(X_FO_TIMESTAMP, FieldValue::from(seconds));
    }
    written
}

/// The result code of a refusal: fomalhaut's own where it has one, else the status it has elsewhere.
pub fn result(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::MissingCredential(Credential::Signature)
        | Refusal::Malformed { .. }
        | Refusal::TooManyFields { .. }
        | Refusal::ExpectationFailed
        | Refusal::UnknownTransferCoding => 400,
        Refusal::DisabledClient => 421,
        Refusal::RouteDisabled => 422,
        Refusal::NotOpened { .. } => 423,
        Refusal::SignatureExpired { .. } => 430,
        Refusal::InvalidCredential { credential: Credential::Signature, .. } | Refusal::Replayed => 431,
        Refusal::NoEndpoint { .. } | Refusal::NoRoute | Refusal::Forbidden { .. } => 432,
        Refusal::UpstreamUnreachable { .. }
        | Refusal::UpstreamTls { .. }
        | Refusal::UpstreamBroken { .. }
        | Refusal::UpstreamBusy
        | Refusal::UpstreamTimeout { .. }
        | Refusal::UpstreamForbidden { .. }
        | Refusal::AuthApiFailed { .. }
        | Refusal::DeadlineExceeded
        | Refusal::Loop => 503,
        Refusal::UnknownClient | Refusal::NoAuthApi => 510,
        _ => refusal.facts().status.as_u16(),
    }
}

/// What stands behind the result code.
fn text(refusal: &Refusal, result: u16) -> &'static str {
    if matches!(refusal, Refusal::Overloaded { .. } | Refusal::RegistryAway { .. } | Refusal::NotServed) {
        return refusal.facts().title;
    }
    match result {
        400 => "Bad Request",
        401 => "Bad Access Token",
        421 => "Client Disabled",
        422 => "Endpoint Disabled",
        423 => "AES Decrypt Failed",
        430 => "Expired Signature",
        431 => "Invalid Signature",
        432 => "No Permission",
        500 => "Internal Error",
        502 => "Bad Endpoint Response",
        503 => "Endpoint Request Error",
        510 => "Bad Client Config",
        _ => refusal.facts().title,
    }
}
