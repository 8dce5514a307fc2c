//! An app or a machine that calls services, and what it may call.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Name, NameError, ServiceId};

/// A permission to call services: `*`, every version of one (`orders` or `orders/*`), or one (`orders/v1`).
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
            Some(_) => Ok(Self::Service(text.parse()?)),
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

/// A declared client. Its keys and secrets are kept apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The services it may call.
    #[serde(default)]
    pub services: Vec<Grant>,
    /// Its public id (OAuth2 `client_id`), unique among clients. The built-in client has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// A disabled client is refused like an unknown one.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

impl Client {
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
        for bad in ["", "a/b/c", "a b", "/", "*/v1"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }
}
