//! An app or a machine that calls services, and what it may call.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client_key::MAX_CLIENT_KEYS;
use super::{AuthUrl, ClientKey, Name, NameError, ServiceId, TokenTtl};

/// A permission to call services, and those of the gateway's own endpoints that ask for one (`auth/v1`): `*`, every version of
/// one (`orders` or `orders/*`), or one (`orders/v1`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grant {
    /// Every service.
    All,
    /// Every version of the named service.
    Name(Name),
    /// One version of one service.
    Service(ServiceId),
}

impl Grant {
    /// Whether this permission covers the service.
    ///
    /// ```
    /// use portcullis_core::model::{Grant, ServiceId};
    ///
    /// let orders: ServiceId = "orders/v1".parse()?;
    /// for (grant, covers) in [("*", true), ("orders", true), ("orders/v1", true), ("orders/v2", false), ("bills", false)] {
    ///     assert_eq!(grant.parse::<Grant>()?.covers(&orders), covers, "{grant}");
    /// }
    /// # Ok::<(), portcullis_core::model::NameError>(())
    /// ```
    pub fn covers(&self, service: &ServiceId) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => *name == service.name,
            Self::Service(id) => id == service,
        }
    }
}

impl FromStr for Grant {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            None if text == "*" => Ok(Self::All),
            None => Ok(Self::Name(text.parse()?)),
            Some((name, "*")) => Ok(Self::Name(name.parse()?)),
            // Also one that is kept for the gateway itself: clients are granted endpoints of it.
            Some((name, version)) => Ok(Self::Service(ServiceId { name: name.parse()?, version: version.parse()? })),
        }
    }
}

impl TryFrom<String> for Grant {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.to_string()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Name(name) => write!(f, "{name}"),
            Self::Service(id) => write!(f, "{id}"),
        }
    }
}

/// Permissions of one client.
pub const MAX_GRANTS: usize = 1_000;
/// Bytes of an access key.
const MAX_ACCESS_KEY: usize = 256;

text_schema!(Grant, "grant", "orders/v1");

/// The weakest HMAC that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LeastHmac {
    /// HMAC-SHA1 or a stronger one.
    #[default]
    Sha1,
    /// HMAC-SHA256.
    Sha256,
}

impl LeastHmac {
    /// Whether it is the default.
    pub fn is_sha1(&self) -> bool {
        *self == Self::Sha1
    }
}

/// A declared client. Its API keys and secrets are kept apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// What it may call: `*`, `name`, `name/*` or `name/version`.
    #[serde(default)]
    #[schemars(length(max = MAX_GRANTS), extend("x-expected" = "a list of services like 'orders/v1'"))]
    pub services: Vec<Grant>,
    /// Its access key (OAuth2 `client_id`), unique among clients: 1 to 256 printable ASCII characters. If absent, it keeps
    /// the one it has, or gets a random one. The built-in client has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_ACCESS_KEY), extend("format" = "access_key"))]
    pub access_key: Option<String>,
    /// Whether it may call at all. A disabled client is refused like an unknown one.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Public keys that verify its signatures (RFC 9421), at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CLIENT_KEYS))]
    pub keys: Vec<ClientKey>,
    /// The weakest hash that signatures of its calls in fomalhaut's dialects may rest on. With `sha256` the dialect `api` is
    /// refused: its strings are hashed with SHA-1 first.
    #[serde(default, skip_serializing_if = "LeastHmac::is_sha1")]
    pub least_algorithm: LeastHmac,
    /// The Auth API that is asked whether a user may log in (`/auth/v1/login`): an `http` or `https` URL. The gateway's own
    /// users log in, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_auth_url: Option<AuthUrl>,
    /// The same for logins with a code sent by SMS (`login_type=sms`). Nobody logs in that way, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms_login_auth_url: Option<AuthUrl>,
    /// The Auth API that changes passwords (`/account/v1/password/change`). The gateway's own users change theirs, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_password_url: Option<AuthUrl>,
    /// The same for changes with a code sent by SMS (`change_type=sms`). Nobody changes a password that way, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms_change_password_url: Option<AuthUrl>,
    /// How long an access token that `/auth/v1` gives lasts: 7 days, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_ttl: Option<TokenTtl>,
    /// How long a refresh token that `/auth/v1` gives lasts, longer than the access token: 20 days, if absent. Neither lasts
    /// longer than a session (`tokens.session_ttl`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_ttl: Option<TokenTtl>,
    /// Whether a login ends every other session that the user has through this client.
    #[serde(default, skip_serializing_if = "is_false")]
    pub single_login: bool,
}

impl Default for Client {
    /// One that may call nothing, yet.
    fn default() -> Self {
        Self {
            services: Vec::new(),
            access_key: None,
            enabled: true,
            keys: Vec::new(),
            least_algorithm: LeastHmac::default(),
            login_auth_url: None,
            sms_login_auth_url: None,
            change_password_url: None,
            sms_change_password_url: None,
            access_token_ttl: None,
            refresh_token_ttl: None,
            single_login: false,
        }
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Client {
    /// Whether a text can be an access key; if not, what was expected.
    pub fn check_access_key(text: &str) -> Result<(), String> {
        let is_fine = (1..=MAX_ACCESS_KEY).contains(&text.len())
            && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
            && text.trim() == text;
        is_fine.then_some(()).ok_or_else(|| {
            format!("expected 1 to {MAX_ACCESS_KEY} printable ASCII characters, without a space at either end")
        })
    }

    /// Whether it may call the service.
    pub fn may_call(&self, service: &ServiceId) -> bool {
        self.services.iter().any(|grant| grant.covers(service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_it_names_and_no_more() {
        let id: ServiceId = "orders/v1".parse().expect("well formed");
        for (grant, covers) in [
            ("*", true),
            ("orders", true),
            ("orders/*", true),
            ("orders/v1", true),
            ("orders/v2", false),
            ("order", false),
            ("orders2/v1", false),
        ] {
            assert_eq!(grant.parse::<Grant>().expect("well formed").covers(&id), covers, "{grant}");
        }
        for own in ["auth/v1", "auth", "auth/*"] {
            let granted = ServiceId { name: "auth".parse().expect("a name"), version: "v1".parse().expect("a name") };
            let grant: Grant = own.parse().expect("well formed");
            assert!(grant.covers(&granted) && !grant.covers(&id), "{own}");
            assert_eq!(grant.to_string(), own.trim_end_matches("/*"));
        }
        for bad in ["", "a/b/c", "a b", "/", "*/v1", "auth/", "auth/v1/x", ".well-known/v1"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }
}
