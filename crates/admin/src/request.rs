//! Reading what a request says: JSON bodies, queries and names in paths, each with a refusal that says what was expected.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portcullis_core::message::names::CONTENT_TYPE;
use portcullis_core::message::{Fields, HasFields};
use portcullis_core::model::Problem;
use serde::de::DeserializeOwned;

use crate::declaration::syntax;
use crate::problem::ApiError;

/// Bytes of a request body.
const BODY_LIMIT: usize = 1 << 20;
/// How long a request body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Fields whose values are repeated in no message.
const SECRET_FIELDS: [&str; 5] = ["password", "secret_key", "secret", "secrets", "api_key"];

/// A JSON body of at most so many bytes.
pub(crate) struct Json<T, const LIMIT: usize = BODY_LIMIT>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read_json(&collect(request, LIMIT).await?).map(Self)
    }
}

/// A JSON body that may be absent; then every field has its default.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let bytes = collect(request, BODY_LIMIT).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { read_json(&bytes).map(Self) }
    }
}

/// A query whose every parameter is known.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Query(found) = Query::try_from_uri(&parts.uri)
            .map_err(|rejection| ApiError::malformed("bad_query", format!("in the query: {}", source(&rejection))))?;
        Ok(Self(found))
    }
}

/// The parts of the path that name an object, as they were sent, decoded.
pub(crate) struct Names(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::malformed("bad_path", "expected the path to be UTF-8 when it is decoded"))?;
        Ok(Self(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

impl Names {
    /// The text of a part.
    pub(crate) fn text(&self, part: &str) -> &str {
        self.0.iter().find(|(name, _)| name == part).map_or("", |(_, value)| value)
    }

    /// A part as what it names. A text that can name nothing names nothing that is there.
    pub(crate) fn find<N: FromStr>(&self, part: &str, what: &str) -> Result<N, ApiError> {
        let text = self.text(part);
        found(text.parse().ok(), what, &text)
    }
}

/// An object that is there, by what it is and its name.
pub(crate) fn found<T>(object: Option<T>, what: &str, name: &impl Display) -> Result<T, ApiError> {
    object.ok_or_else(|| ApiError::not_found(format!("{what} '{name}'")))
}

/// Whether a body may be read as JSON by what its sender calls it; one that is called nothing may.
pub(crate) fn is_json(fields: Fields<'_>) -> bool {
    let Some(value) = fields.get(CONTENT_TYPE) else { return true };
    let essence = value.text().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads JSON, or says where it is not what was expected.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if !error.is_data() {
            return not_json(&error);
        }
        // What serde says of a value repeats the value.
        let member = path.split(['.', '[']).next().unwrap_or_default();
        let message = match member {
            "keys" => "is not of the expected form: a list of public keys".to_owned(),
            member if SECRET_FIELDS.contains(&member) => "is not of the expected form: a text".to_owned(),
            _ => without_position(&error),
        };
        let path = if path == "." { String::new() } else { path };
        let problem = Problem::new(path, message);
        let detail = if problem.path.is_empty() { problem.message.clone() } else { problem.to_string() };
        ApiError::malformed("invalid_body", detail).with_problems(vec![problem])
    })?;
    deserializer.end().map_err(|error| not_json(&error))?;
    // Of two members of one name somebody reads the first and somebody the last (RFC 8259 section 4).
    syntax::no_key_stands_twice(bytes)
        .map_err(|error| ApiError::malformed("invalid_body", without_position(&error)))?;
    Ok(value)
}

async fn collect(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = collect_within(body, limit).await?;
    if !bytes.is_empty() && !is_json(parts.fields()) {
        let detail = "expected 'Content-Type: application/json'";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    Ok(bytes)
}

/// The whole of a body that has at most so many bytes and does not take too long.
pub(crate) async fn collect_within(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await;
    let collected = collected.map_err(|_| {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request did not arrive in time")
    })?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("a body may have {limit} bytes");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail))
        }
        Err(_) => Err(ApiError::malformed("broken_body", "the request's body broke off")),
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::malformed("malformed_json", format!("the body is not JSON: {error}"))
}

/// What serde says, without the place in the text: the path says it better.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(message, _)| message.to_owned())
}

/// The innermost reason of an error.
fn source(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use portcullis_core::message::FieldMap;

    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its reading is looked at")]
    struct Probe {
        name: String,
        password: Option<String>,
        list: Vec<u8>,
    }

    fn check(json: &str, code: &str, message: &str) {
        let error = read_json::<Probe>(json.as_bytes()).expect_err(json);
        let shown = format!("{error:?}");
        assert!(shown.contains(code) && shown.contains(message), "{json}: {shown}");
    }

    #[test]
    fn wrong_json_names_the_place_and_what_was_expected() {
        check("", "malformed_json", "EOF");
        check("{", "malformed_json", "EOF");
        check("[", "malformed_json", "EOF");
        check("{\"name\":\"a\",\"list\":[]} x", "malformed_json", "trailing");
        check("[1]", "invalid_body", "expected");
        check("{\"name\":1,\"list\":[]}", "invalid_body", "name: invalid type: integer `1`, expected a string");
        check("{\"name\":\"a\",\"list\":[1,\"x\"]}", "invalid_body", "list[1]");
        check("{\"name\":\"a\",\"list\":[],\"more\":1}", "invalid_body", "unknown field `more`");
        check("{\"list\":[]}", "invalid_body", "missing field `name`");
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let error = read_json::<Probe>(b"{\"name\":\"a\",\"password\":77123,\"list\":[]}").expect_err("a number");
        assert!(!format!("{error:?}").contains("77123"));
    }

    #[test]
    fn bodies_are_json_by_name() {
        for (value, fine) in [
            ("application/json", true),
            ("application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let mut fields = FieldMap::new();
            fields.set(CONTENT_TYPE, value.parse().expect("a value"));
            assert_eq!(is_json(fields.fields()), fine, "{value}");
        }
        assert!(is_json(FieldMap::new().fields()));
    }
}
