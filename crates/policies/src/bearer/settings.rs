//! The settings of `bearer`, and the keys of other issuers in them.

use portcullis_core::model::Problem;
use portcullis_identity::{ClientMarker, StaticAlgorithm, StaticKey, StaticKeys, TokenTypes, Trust};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Whose tokens a route takes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    /// Tokens that speak for a user.
    #[default]
    User,
    /// Tokens that speak for a client alone.
    Client,
    /// Both.
    Any,
}

/// The settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Whose tokens are taken.
    #[serde(default)]
    pub(super) subject: Subject,
    /// Whether the token that has let the call in goes on to the service in `Authorization`, for one that verifies tokens
    /// itself.
    #[serde(default)]
    pub(super) forward_credentials: bool,
    /// Whether a token may also come as `access_token` in the query, as it always may in fomalhaut's dialects. It never goes on
    /// to the service.
    #[serde(default)]
    pub(super) query: bool,
    /// Keys of other issuers whose tokens are taken beside the gateway's own.
    #[serde(default)]
    pub(super) keys: Vec<KeySettings>,
}

/// The key of another issuer: a JWK or a PEM, what it signs with and how far it is trusted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySettings {
    /// The public key as a JWK (RFC 7517).
    jwk: Option<Value>,
    /// The public key as PEM (SPKI).
    pem: Option<String>,
    /// What it signs with: `RS256` or `ES256`. The key decides, never the token.
    algorithm: Algorithm,
    /// The only `iss` it speaks for.
    issuer: String,
    /// The audiences of which a token must name one. If absent: those of the service.
    #[serde(default)]
    audience: Audience,
    /// The key's id, where the JWK has none.
    kid: Option<String>,
    /// For how many seconds an expired token is still taken.
    #[serde(default)]
    leeway: u64,
    /// Which tokens are access tokens, by their `typ`: `usual`, those that do not say that they are something else;
    /// `strict`, those that say `at+jwt`.
    #[serde(default)]
    typ: Types,
    /// The claim that names the client a token was issued to. `client_id`, if absent.
    client_claim: Option<String>,
    /// What marks a token as one that speaks for its client alone. If absent, every token speaks for a user.
    client_marker: Option<Marker>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Types {
    #[default]
    Usual,
    Strict,
}

/// A claim and what it says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Marker {
    /// The claim.
    claim: String,
    /// What it says: a text, a number or a truth value. If absent: the id of the client.
    value: Option<Value>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
enum Algorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// Reads the declared keys, or says everything that is wrong with them.
pub(super) fn static_keys(declared: Vec<KeySettings>) -> Result<StaticKeys, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut keys = Vec::with_capacity(declared.len());
    for (position, settings) in declared.into_iter().enumerate() {
        match static_key(settings) {
            Ok(key) => keys.push(key),
            Err(message) => problems.push(Problem::new(format!("policies.bearer.keys[{position}]"), message)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    StaticKeys::new(keys).map_err(|message| vec![Problem::new("policies.bearer.keys", message)])
}

fn static_key(settings: KeySettings) -> Result<StaticKey, String> {
    let trust = Trust {
        algorithm: match settings.algorithm {
            Algorithm::Rs256 => StaticAlgorithm::Rs256,
            Algorithm::Es256 => StaticAlgorithm::Es256,
        },
        issuer: settings.issuer,
        audiences: match settings.audience {
            Audience::One(audience) => vec![audience],
            Audience::Several(audiences) => audiences,
        },
        kid: settings.kid,
        leeway: settings.leeway,
        types: match settings.typ {
            Types::Usual => TokenTypes::Usual,
            Types::Strict => TokenTypes::Strict,
        },
        client_claim: settings.client_claim.unwrap_or_else(|| "client_id".to_owned()),
        client_marker: settings.client_marker.map(|marker| ClientMarker { claim: marker.claim, value: marker.value }),
    };
    let marker = trust.client_marker.as_ref();
    if trust.client_claim.is_empty() || marker.is_some_and(|marker| marker.claim.is_empty()) {
        return Err("a claim has a name".to_owned());
    }
    if marker.and_then(|marker| marker.value.as_ref()).is_some_and(|value| value.is_array() || value.is_object()) {
        return Err("'client_marker.value' is a text, a number or a truth value".to_owned());
    }
    match (&settings.jwk, &settings.pem) {
        (Some(jwk), None) => StaticKey::from_jwk(jwk, trust),
        (None, Some(pem)) => StaticKey::from_pem(pem, trust),
        _ => Err("a key is given either as 'jwk' or as 'pem'".to_owned()),
    }
}
