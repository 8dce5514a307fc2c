//! The data plane's built-in endpoints as the document tells them. Their code is elsewhere; what they take and
//! give is written down here where the types themselves are another crate's.
#![expect(dead_code, reason = "these functions and types are there for their description alone")]

use utoipa::ToSchema;

use crate::register::{RegistrationReply, RegistrationRequest};

/// The paths that are answered by the data plane.
pub(super) const PATHS: [&str; 4] = ["/-/register", "/-/token", "/-/token/refresh", "/-/token/revoke"];

/// A microservice registers itself, or says where it is now.
///
/// With an enrolment token the name must be free; it is taken, and the keys are shown this once. With the name's
/// registration key the target is set, in the versions that came by registration, and no keys are shown. What changes
/// nothing counts against no limit.
#[utoipa::path(post, path = "/-/register", tag = "data plane", operation_id = "register", request_body = RegistrationRequest,
    security(("enrolment" = [])),
    responses((status = 201, description = "The name is taken now.", body = RegistrationReply),
        (status = 200, description = "The name was the bearer's already; its target is set.", body = RegistrationReply),
        (status = 400, description = "The name or the URL cannot be one."),
        (status = 401, description = "The token is missing, not known, expired or used up."),
        (status = 403, description = "The token is not for this name."),
        (status = 409, description = "The name or its path is taken, an operator made or adopted the version, or a bound is reached."),
        (status = 429, description = "The registration, or its enrolment token, has changed too much.", headers(
            ("Retry-After", description = "Seconds after which a change is admitted.")))))]
pub(super) fn register() {}

/// A user name and a password.
#[derive(ToSchema)]
pub(super) struct Credentials {
    /// The user name.
    username: String,
    /// The password.
    password: String,
}

/// A refresh token.
#[derive(ToSchema)]
pub(super) struct RefreshToken {
    /// The token.
    refresh_token: String,
}

/// The tokens of a session.
#[derive(ToSchema)]
pub(super) struct Tokens {
    /// Shows services who calls.
    access_token: String,
    /// Gets the next tokens; good once.
    refresh_token: String,
    /// `Bearer`.
    token_type: String,
    /// For how many seconds the access token is good.
    #[schema(example = 300)]
    expires_in: u64,
    /// For how many seconds the refresh token is good.
    refresh_expires_in: u64,
}

/// Opens a session for a user: through the client of the API key, or through the built-in one.
#[utoipa::path(post, path = "/-/token", tag = "data plane", operation_id = "token", request_body = Credentials,
    security((), ("api_key" = [])),
    responses((status = 200, description = "A session is open.", body = Tokens),
        (status = 400, description = "The body cannot be read."),
        (status = 401, description = "The user name, the password or the API key is wrong.")))]
pub(super) fn token() {}

/// Exchanges a refresh token for the next tokens. The API key is that of the client the session was opened through; a
/// session of the built-in client needs none.
#[utoipa::path(post, path = "/-/token/refresh", tag = "data plane", operation_id = "refresh_token",
    request_body = RefreshToken, security((), ("api_key" = [])),
    responses((status = 200, description = "The next tokens.", body = Tokens),
        (status = 400, description = "The body cannot be read."),
        (status = 401, description = "The token is not good, was used before, or the API key is that of another client.")))]
pub(super) fn refresh() {}

/// Ends the session of a refresh token. Tokens that are not known are answered alike (RFC 7009 section 2.2).
#[utoipa::path(post, path = "/-/token/revoke", tag = "data plane", operation_id = "revoke_token",
    request_body = RefreshToken, security(()),
    responses((status = 204, description = "There is no such session any more."),
        (status = 400, description = "The body cannot be read.")))]
pub(super) fn revoke() {}
