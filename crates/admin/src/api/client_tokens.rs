//! `/api/v1/clients/{name}/tokens`: pairs of tokens that another gateway has issued to users through a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use portcullis_core::audit::{Action, AuditEntry};
use portcullis_core::directory::KeyHash;
use portcullis_core::model::{Label, Problem};
use portcullis_core::ports::Write;
use portcullis_identity::token_pairs::{ImportedPair, MAX_IMPORTED_PAIRS};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::actor::By;
use crate::operations::client_secrets::check_client;
use crate::problem::ApiError;
use crate::request::{Json, Names};
use crate::state::AdminState;

/// Bytes of a body: of so many pairs a body is fuller only where they say much of their users.
const LARGEST: usize = 4 << 20;

/// Pairs of tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportTokens {
    /// At most 1000.
    #[schema(max_items = 1000)]
    tokens: Vec<ForeignTokens>,
}

/// A pair of tokens. They are not sent themselves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForeignTokens {
    /// SHA-256 of `portcullis opaque access `, the bytes 0 and 1, and the access token; in hexadecimal digits.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    access: Digest,
    /// SHA-256 of `portcullis opaque refresh`, the bytes 0 and 1, and the refresh token; in hexadecimal digits.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    refresh: Digest,
    /// What backends are told of the user.
    #[schema(value_type = Object)]
    user_info: Value,
    /// For how many seconds the access token is still good; 0 where it is over.
    access_ttl: u64,
    /// For how many seconds the refresh token is still good.
    refresh_ttl: u64,
}

/// What became of pairs of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportedTokens {
    /// Good from now on.
    taken: u64,
    /// Imported before, whatever became of them since.
    known: u64,
    /// Over.
    expired: u64,
    /// Left out, because they say more of their user than backends could be told.
    too_large: u64,
    /// Left out, because they say of their user a number that cannot be kept as it is: a whole one beyond 64 bits.
    inexact: u64,
}

/// A hash in hexadecimal digits.
struct Digest(KeyHash);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = text.as_bytes().chunks_exact(2);
        let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let is_hex = text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
        let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
        let bytes = bytes.filter(|_| is_hex && text.len() == 64).and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Self(KeyHash(bytes))).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
    }
}

/// Takes over pairs of tokens that another gateway has issued through the client. Those that were imported before are left as
/// they are: a pair that was refreshed or ended here since does not come back.
#[utoipa::path(post, path = "/api/v1/clients/{name}/tokens", tag = "clients", operation_id = "import_client_tokens",
    params(("name" = String, Path, description = "The client.")),
    request_body = ImportTokens,
    responses((status = 200, description = "Done.", body = ImportedTokens),
        (status = 404, description = "There is no such client."),
        (status = 422, description = "There are too many, or their user's information is no object.")))]
pub(crate) async fn import(
    State(state): State<Arc<AdminState>>,
    By(actor): By,
    names: Names,
    Json(body): Json<ImportTokens, LARGEST>,
) -> Result<Body<ImportedTokens>, ApiError> {
    let client: Label = names.find("name", "client")?;
    check_client(&state.changes.view(), &client)?;
    let pairs = body.tokens;
    if pairs.len() > MAX_IMPORTED_PAIRS {
        let message = format!("at most {MAX_IMPORTED_PAIRS} pairs at once");
        return Err(ApiError::invalid(vec![Problem::new("tokens", message)]));
    }
    let wrong = pairs.iter().position(|pair| !pair.user_info.is_object());
    if let Some(number) = wrong {
        let place = format!("tokens[{number}].user_info");
        return Err(ApiError::invalid(vec![Problem::new(place, "expected an object")]));
    }
    let imported = pairs.into_iter().map(|pair| ImportedPair {
        access: pair.access.0,
        refresh: pair.refresh.0,
        user_info: pair.user_info,
        access_ttl: Duration::from_secs(pair.access_ttl),
        refresh_ttl: Duration::from_secs(pair.refresh_ttl),
    });
    let done = state.token_pairs.import(&client, imported.collect()).await?;
    let done = ImportedTokens {
        taken: done.taken,
        known: done.known,
        expired: done.expired,
        too_large: done.too_large,
        inexact: done.inexact,
    };
    let entry = AuditEntry {
        time: state.clock.unix_millis(),
        actor,
        action: Action::Created,
        kind: "token_pairs".to_owned(),
        key: client.to_string(),
        revision: 0,
        before: None,
        after: Some(serde_json::to_string(&done).map_err(ApiError::internal)?),
    };
    state.registry.commit(vec![Write::Audit(Box::new(entry))]).await?;
    Ok(Body(done))
}
