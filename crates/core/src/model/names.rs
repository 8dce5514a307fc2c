//! Names that appear in paths: a service's name and version, and the labels of clients and users.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First path segments that belong to the gateway itself; no service can take one.
pub const RESERVED_SERVICE_NAMES: [&str; 6] = ["-", "auth", "account", "oauth", ".well-known", "verify_token"];

/// Whether a name is one of [`RESERVED_SERVICE_NAMES`], whatever the case of its letters. Services with such names may
/// be there from when that was allowed; no more are made.
pub fn is_reserved_service_name(name: &str) -> bool {
    RESERVED_SERVICE_NAMES.iter().any(|kept| kept.eq_ignore_ascii_case(name))
}

/// Why a text cannot be a name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NameError {
    /// Not 1 to 64 characters out of `A-Z a-z 0-9 _ -`.
    #[error("a name has 1 to 64 characters out of A-Z, a-z, 0-9, '_' and '-'")]
    Shape,
    /// Empty, over 128 bytes, or with a control character or a slash.
    #[error("a label has 1 to 128 bytes, no control characters and no '/'")]
    Label,
    /// The name is one of [`RESERVED_SERVICE_NAMES`].
    #[error("'{0}' is reserved for the gateway itself")]
    Reserved(String),
    /// Not of the form `name/version`.
    #[error("a service is written 'name/version'")]
    ServiceForm,
}

/// A path-safe name: `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a shared text, without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let shaped = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if shaped { Ok(Self(text.into())) } else { Err(NameError::Shape) }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a client, a user or an enrolment token is called: any printable text of 1 to 128 bytes without `/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label as a shared text, without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// Between the client and the name of somebody whom another system knows.
const OF_ANOTHER: char = '/';

impl Label {
    /// Somebody whom another system knows by this name, in the eyes of one client: `client/name`. No text that is read as a
    /// label reads like that, so nobody who is named here is ever called so, and two that differ in client or name differ.
    ///
    /// ```
    /// use portcullis_core::model::Label;
    ///
    /// let (shop, seven): (Label, Label) = ("shop".parse()?, "id=7".parse()?);
    /// let somebody = Label::of_another(&shop, &seven);
    /// assert_eq!(somebody.as_str(), "shop/id=7");
    /// assert!(somebody.is_of_another() && !seven.is_of_another());
    /// assert_eq!((somebody.realm(), seven.realm()), (Some("shop"), None));
    /// assert!("shop/id=7".parse::<Label>().is_err());
    /// assert_eq!(Label::kept("shop/id=7")?, somebody);
    /// # Ok::<(), portcullis_core::model::NameError>(())
    /// ```
    pub fn of_another(client: &Self, name: &Self) -> Self {
        Self(format!("{client}{OF_ANOTHER}{name}").into())
    }

    /// Whether it is [`Label::of_another`].
    pub fn is_of_another(&self) -> bool {
        self.0.contains(OF_ANOTHER)
    }

    /// Of [`Label::of_another`], the client.
    pub fn realm(&self) -> Option<&str> {
        self.0.split_once(OF_ANOTHER).map(|(client, _)| client)
    }

    /// Reads a label as it is kept with a session: one that was given here, or [`Label::of_another`]. Not for what a caller
    /// says.
    pub fn kept(text: &str) -> Result<Self, NameError> {
        match text.split_once(OF_ANOTHER) {
            None => text.parse(),
            Some((client, name)) => Ok(Self::of_another(&client.parse()?, &name.parse()?)),
        }
    }
}

impl TryFrom<String> for Label {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl FromStr for Label {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let shaped = (1..=128).contains(&text.len()) && !text.contains('/') && !text.chars().any(char::is_control);
        if shaped { Ok(Self(text.into())) } else { Err(NameError::Label) }
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.as_ref().to_owned()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Which service is meant: its name and its version, written `name/version`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceId {
    /// The name, the first segment of the service's path.
    pub name: Name,
    /// The version, the second segment.
    pub version: Name,
}

impl ServiceId {
    /// Joins a name and a version, refusing the names the gateway keeps for itself.
    pub fn new(name: Name, version: Name) -> Result<Self, NameError> {
        if RESERVED_SERVICE_NAMES.contains(&name.as_str()) {
            return Err(NameError::Reserved(name.into()));
        }
        Ok(Self { name, version })
    }

    /// The public path of the service's default route, `/name/version`.
    pub fn path(&self) -> String {
        format!("/{}/{}", self.name, self.version)
    }
}

impl FromStr for ServiceId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, version) = text.split_once('/').ok_or(NameError::ServiceForm)?;
        Self::new(name.parse()?, version.parse()?)
    }
}

impl TryFrom<String> for ServiceId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ServiceId> for String {
    fn from(id: ServiceId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

text_schema!(Name, "name", "one");
text_schema!(Label, "label", "shop");
text_schema!(ServiceId, "service_id", "orders/v1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_path_safe() {
        for good in ["a", "orders", "v1", "A_b-9", &"x".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", ".", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Name>(), Err(NameError::Shape), "{bad}");
        }
    }

    #[test]
    fn reserved_names_are_no_services() {
        for name in ["-", "auth", "account", "oauth", "verify_token"] {
            let found = format!("{name}/v1").parse::<ServiceId>();
            assert_eq!(found, Err(NameError::Reserved(name.into())));
        }
        assert!(".well-known/v1".parse::<ServiceId>().is_err());
        assert_eq!("orders/v1".parse::<ServiceId>().expect("well formed").path(), "/orders/v1");
    }

    #[test]
    fn somebody_of_another_is_nobody_who_is_named_here() {
        let label = |text: &str| text.parse::<Label>().expect("a label");
        let (longest, plain) = ("x".repeat(128), label("ada"));
        for (client, name) in [("shop", "ada"), ("shop", "id=7"), (longest.as_str(), longest.as_str()), ("#", "#")] {
            let somebody = Label::of_another(&label(client), &label(name));
            assert!(somebody.is_of_another() && somebody != plain);
            assert_eq!(Label::kept(somebody.as_str()), Ok(somebody.clone()));
            assert_eq!(somebody.as_str().parse::<Label>(), Err(NameError::Label));
            assert_eq!(Label::try_from(somebody.to_string()), Err(NameError::Label));
        }
        assert_eq!(Label::kept("ada"), Ok(plain.clone()));
        assert!(!plain.is_of_another());
        let too_long = format!("a/{longest}x");
        for bad in ["", "/", "a/", "/a", "a/b/c", "a//b", "a\n/b", "a/b\n", &too_long] {
            assert_eq!(Label::kept(bad), Err(NameError::Label), "{bad}");
        }
    }

    #[test]
    fn a_label_may_be_an_address_but_not_a_path() {
        assert!("ada@example.com".parse::<Label>().is_ok());
        for bad in ["", "a/b", "a\nb", &"x".repeat(129)] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }
}
