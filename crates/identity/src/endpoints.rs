//! The built-in endpoints of the token issuer: `/-/token` and what belongs to it, the key set, and single keys.
//!
//! They read a small JSON body on the worker that has the call, and hand everything that needs the registry or
//! Argon2 to the control runtime.

mod json_body;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use portcullis_core::body::Body;
use portcullis_core::call::{Call, KeyHolder, Response};
use portcullis_core::directory::Directory;
use portcullis_core::jobs::{self, Jobs};
use portcullis_core::message::names::{CACHE_CONTROL, CONTENT_TYPE, X_API_KEY};
use portcullis_core::message::{FieldValue, HasFields, Several};
use portcullis_core::policy::Endpoint;
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_core::secret::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::keys::hash_key;
use crate::lockout::LoginOrigin;
use crate::login::{DEFAULT_CLIENT, Login, Through, TokenReply};
use crate::signing_keys::SigningKeys;
use json_body::read_json;

pub use json_body::MAX_BODY_BYTES;

/// `POST /-/token`: a user name and a password for an access token and a refresh token.
pub struct TokenEndpoint {
    login: Arc<Login>,
    directory: Arc<Directory>,
    jobs: Arc<dyn Jobs>,
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: Secret,
}

impl TokenEndpoint {
    /// An endpoint over these logins.
    pub fn new(login: Arc<Login>, directory: Arc<Directory>, jobs: Arc<dyn Jobs>) -> Self {
        Self { login, directory, jobs }
    }
}

/// The client a session belongs to, and the key that shows it: that of `X-API-Key`, else the built-in one. A service's key
/// speaks for no client.
fn through(directory: &Directory, call: &Call) -> Result<Through, Refusal> {
    let (key, holder) = match call.request.fields().only(X_API_KEY) {
        Ok(None) => (None, None),
        Ok(Some(key)) => {
            let key = hash_key(key.text().ok_or_else(unknown_key)?);
            (Some(key), Some(directory.read(|entries| entries.holder(&key)).ok_or_else(unknown_key)?))
        }
        Err(Several) => return Err(Refusal::invalid(Credential::ApiKey, "more than one API key")),
    };
    let client = match holder {
        Some(KeyHolder::Client(client)) => client.name.clone(),
        Some(KeyHolder::Service(_)) | None => {
            DEFAULT_CLIENT.parse().map_err(|_| Refusal::internal("the default client's name is no label"))?
        }
    };
    Ok(Through { client, key })
}

fn unknown_key() -> Refusal {
    Refusal::invalid(Credential::ApiKey, "the API key is not known")
}

#[async_trait]
impl Endpoint for TokenEndpoint {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        only_post(call)?;
        let through = through(&self.directory, call)?;
        let expected = "expected a JSON object with the texts 'username' and 'password'";
        let Credentials { username, password } = read_json(call, expected).await?;
        let (login, from) =
            (Arc::clone(&self.login), LoginOrigin { address: call.peer.client_ip, shared: call.peer.shared });
        let logged_in = async move { login.log_in(from, through, &username, password).await };
        tokens(call, &jobs::run(&self.jobs, logged_in).await??)
    }
}

/// `POST /-/token/refresh`: a refresh token for a new access token and the next refresh token. The API key is that of the
/// client the session was opened through, as at login.
pub struct RefreshEndpoint {
    login: Arc<Login>,
    directory: Arc<Directory>,
    jobs: Arc<dyn Jobs>,
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: Secret,
}

const EXPECTED_REFRESH: &str = "expected a JSON object with the text 'refresh_token'";

impl RefreshEndpoint {
    /// An endpoint over these logins.
    pub fn new(login: Arc<Login>, directory: Arc<Directory>, jobs: Arc<dyn Jobs>) -> Self {
        Self { login, directory, jobs }
    }
}

#[async_trait]
impl Endpoint for RefreshEndpoint {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        only_post(call)?;
        let Through { client, .. } = through(&self.directory, call)?;
        let Refresh { refresh_token } = read_json(call, EXPECTED_REFRESH).await?;
        let login = Arc::clone(&self.login);
        let refreshed = async move { login.refresh(&client, refresh_token.expose()).await };
        tokens(call, &jobs::run(&self.jobs, refreshed).await??)
    }
}

/// `POST /-/token/revoke`: ends the session of a refresh token. Unknown tokens are answered alike.
pub struct RevokeEndpoint {
    login: Arc<Login>,
    jobs: Arc<dyn Jobs>,
}

impl RevokeEndpoint {
    /// An endpoint over these logins.
    pub fn new(login: Arc<Login>, jobs: Arc<dyn Jobs>) -> Self {
        Self { login, jobs }
    }
}

#[async_trait]
impl Endpoint for RevokeEndpoint {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        only_post(call)?;
        let Refresh { refresh_token } = read_json(call, EXPECTED_REFRESH).await?;
        let login = Arc::clone(&self.login);
        let revoked = async move { login.revoke(refresh_token.expose()).await };
        jobs::run(&self.jobs, revoked).await??;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.fields_mut().set(CACHE_CONTROL, FieldValue::from_static("no-store"));
        Ok(response)
    }
}

/// `GET /.well-known/jwks.json`: the key set that access tokens are verified with.
pub struct JwksEndpoint(Arc<SigningKeys>);

impl JwksEndpoint {
    /// An endpoint over these keys.
    pub fn new(keys: Arc<SigningKeys>) -> Self {
        Self(keys)
    }
}

#[async_trait]
impl Endpoint for JwksEndpoint {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        only_get(call)?;
        Ok(public("application/json", self.0.jwks().clone()))
    }
}

/// `GET /.well-known/keys/{kid}.pem`: one public key in PEM.
pub struct PemEndpoint(Arc<SigningKeys>);

impl PemEndpoint {
    /// An endpoint over these keys; its route's prefix ends before `/{kid}.pem`.
    pub fn new(keys: Arc<SigningKeys>) -> Self {
        Self(keys)
    }
}

#[async_trait]
impl Endpoint for PemEndpoint {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        only_get(call)?;
        let rest = call.rest().as_str();
        let kid = rest.strip_prefix('/').unwrap_or(rest).strip_suffix(".pem");
        let pem = kid.and_then(|kid| self.0.pem(kid)).ok_or(Refusal::NoRoute)?;
        Ok(public("application/x-pem-file", Bytes::copy_from_slice(pem.as_bytes())))
    }
}

macro_rules! opaque_debug {
    ($($endpoint:ident),*) => {$(
        impl fmt::Debug for $endpoint {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($endpoint))
            }
        }
    )*};
}
opaque_debug!(TokenEndpoint, RefreshEndpoint, RevokeEndpoint, JwksEndpoint, PemEndpoint);

fn only_post(call: &Call) -> Result<(), Refusal> {
    if call.request.method == Method::POST { Ok(()) } else { Err(Refusal::MethodNotAllowed { allow: "POST" }) }
}

fn only_get(call: &Call) -> Result<(), Refusal> {
    let fine = call.request.method == Method::GET || call.request.method == Method::HEAD;
    if fine { Ok(()) } else { Err(Refusal::MethodNotAllowed { allow: "GET, HEAD" }) }
}

fn tokens(call: &mut Call, reply: &TokenReply) -> Result<Response, Refusal> {
    call.record.note(|record| {
        record.user = Some(reply.user.shared());
        record.client = Some(reply.client.shared());
    });
    let body = Zeroizing::new(
        serde_json::to_vec(reply).map_err(|_| Refusal::internal("a token answer cannot be written as JSON"))?,
    );
    let mut response = Response::new(Body::full(Bytes::copy_from_slice(&body)));
    let mut headers = response.fields_mut();
    headers.set(CONTENT_TYPE, FieldValue::from_static("application/json"));
    headers.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
    Ok(response)
}

fn public(content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::full(body));
    let mut headers = response.fields_mut();
    headers.set(CONTENT_TYPE, FieldValue::from_static(content_type));
    headers.set(CACHE_CONTROL, FieldValue::from_static("public, max-age=300"));
    response
}

#[cfg(test)]
mod tests;
