//! `/-/token` and what belongs to it: logging in, refreshing, logging out.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, StatusCode};
use portcullis_core::call::KeyHolder;
use portcullis_core::directory::Directory;
use portcullis_core::handler::{Admitted, Asked, Handler, Reply};
use portcullis_core::jobs::Class;
use portcullis_core::message::names::{CACHE_CONTROL, CONTENT_TYPE, X_API_KEY};
use portcullis_core::message::{FieldName, FieldValue, HasFields, Several};
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_core::secret::Secret;
use portcullis_identity::login::Through;
use portcullis_identity::{DEFAULT_CLIENT, Login, LoginOrigin, TokenReply, hash_key};
use serde::Deserialize;

use crate::json::{self, MAX_BODY_BYTES};

/// What is read of a call beside its body.
static READS: [FieldName; 2] = [CONTENT_TYPE, X_API_KEY];

/// `POST /-/token`: a user name and a password for an access token and a refresh token.
pub struct LogIn {
    login: Arc<Login>,
    directory: Arc<Directory>,
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: Secret,
}

impl LogIn {
    /// Logs in here, through the clients of this directory.
    pub fn new(login: Arc<Login>, directory: Arc<Directory>) -> Self {
        Self { login, directory }
    }
}

/// The client a session belongs to, and the key that shows it: that of `X-API-Key`, else the one that the route knows the call
/// to be of, else the built-in one. A service's key speaks for no client.
fn through(directory: &Directory, asked: &Asked) -> Result<Through, Refusal> {
    let (key, holder) = match asked.fields().only(X_API_KEY) {
        Ok(None) => (None, None),
        Ok(Some(key)) => {
            let key = hash_key(key.text().ok_or_else(unknown_key)?);
            (Some(key), Some(directory.read(|entries| entries.holder(&key)).ok_or_else(unknown_key)?))
        }
        Err(Several) => return Err(Refusal::invalid(Credential::ApiKey, "more than one API key")),
    };
    let client = match holder {
        Some(KeyHolder::Client(client)) => Some(client.name.clone()),
        Some(KeyHolder::Service(_)) => None,
        None => asked.client.as_ref().map(|client| client.name.clone()),
    };
    let by_default = || DEFAULT_CLIENT.parse().map_err(|_| Refusal::internal("the default client's name is no label"));
    let client = client.map_or_else(by_default, Ok)?;
    Ok(Through { client, key })
}

fn unknown_key() -> Refusal {
    Refusal::invalid(Credential::ApiKey, "the API key is not known")
}

/// Work with a body in JSON.
fn with_json<S>(asked: &Asked, seen: S) -> Result<Admitted<S>, Refusal> {
    json::check_type(asked)?;
    Ok(Admitted::Work { class: Class::Logins, body_limit: MAX_BODY_BYTES, seen })
}

#[async_trait]
impl Handler for LogIn {
    type Seen = Through;

    fn reads(&self) -> &'static [FieldName] {
        &READS
    }

    fn admit(&self, asked: &Asked) -> Result<Admitted<Through>, Refusal> {
        with_json(asked, through(&self.directory, asked)?)
    }

    async fn handle(&self, asked: Asked, through: Through) -> Result<Reply, Refusal> {
        let expected = "expected a JSON object with the texts 'username' and 'password'";
        let Credentials { username, password } = json::read(&asked.body, expected)?;
        let from = LoginOrigin { address: asked.client_ip, shared: asked.shared };
        tokens(self.login.log_in(from, through, &username, password).await?)
    }
}

/// `POST /-/token/refresh`: a refresh token for a new access token and the next refresh token. The API key is that of the
/// client the session was opened through, as at login.
pub struct Refresh {
    login: Arc<Login>,
    directory: Arc<Directory>,
}

#[derive(Deserialize)]
struct Shown {
    refresh_token: Secret,
}

const EXPECTED_REFRESH: &str = "expected a JSON object with the text 'refresh_token'";

impl Refresh {
    /// Refreshes these logins, through the clients of this directory.
    pub fn new(login: Arc<Login>, directory: Arc<Directory>) -> Self {
        Self { login, directory }
    }
}

#[async_trait]
impl Handler for Refresh {
    type Seen = Through;

    fn reads(&self) -> &'static [FieldName] {
        &READS
    }

    fn admit(&self, asked: &Asked) -> Result<Admitted<Through>, Refusal> {
        with_json(asked, through(&self.directory, asked)?)
    }

    async fn handle(&self, asked: Asked, Through { client, .. }: Through) -> Result<Reply, Refusal> {
        let Shown { refresh_token } = json::read(&asked.body, EXPECTED_REFRESH)?;
        tokens(self.login.refresh(&client, refresh_token.expose()).await?)
    }
}

/// `POST /-/token/revoke`: ends the session of a refresh token. Unknown tokens are answered alike.
pub struct LogOut {
    login: Arc<Login>,
}

impl LogOut {
    /// Ends these logins.
    pub fn new(login: Arc<Login>) -> Self {
        Self { login }
    }
}

#[async_trait]
impl Handler for LogOut {
    type Seen = ();

    fn reads(&self) -> &'static [FieldName] {
        &READS[..1]
    }

    fn admit(&self, asked: &Asked) -> Result<Admitted<()>, Refusal> {
        with_json(asked, ())
    }

    async fn handle(&self, asked: Asked, (): ()) -> Result<Reply, Refusal> {
        let Shown { refresh_token } = json::read(&asked.body, EXPECTED_REFRESH)?;
        self.login.revoke(refresh_token.expose()).await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.fields_mut().set(CACHE_CONTROL, FieldValue::from_static("no-store"));
        Ok(response.into())
    }
}

fn tokens(reply: TokenReply) -> Result<Reply, Refusal> {
    let response = json::answer(&reply)?;
    Ok(Reply { response, user: Some(reply.user), client: Some(reply.client) })
}

#[cfg(test)]
mod tests;
