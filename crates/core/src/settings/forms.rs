//! The named forms of texts and numbers: what a schema says with `format`, and no keyword can say.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;

use crate::model::{AuthUrl, Client, Grant, Label, Name, PublicUrl, ServiceId, TargetUrl, Timeout, TokenTtl};

/// Whether a value has the form; if not, what is told.
type Check = fn(&Value) -> Result<(), Flaw>;

/// What is wrong with a value of a named form.
pub(super) enum Flaw {
    /// It is of another type than what is expected.
    Type,
    /// Something is wrong with its content.
    Content(String),
}

/// The forms there are.
const FORMS: &[(&str, Check)] = &[
    ("target_url", text::<TargetUrl>),
    ("public_url", text::<PublicUrl>),
    ("auth_url", text::<AuthUrl>),
    ("name", text::<Name>),
    ("label", text::<Label>),
    ("service_id", text::<ServiceId>),
    ("grant", text::<Grant>),
    ("access_key", access_key),
    ("timeout", timeout),
    ("token_ttl", token_ttl),
];

/// The form of a name, if it is one of ours.
pub(super) fn find(name: &str) -> Option<Check> {
    FORMS.iter().find(|(known, _)| *known == name).map(|(_, check)| *check)
}

fn text<T: FromStr<Err: Display>>(value: &Value) -> Result<(), Flaw> {
    let text = value.as_str().ok_or(Flaw::Type)?;
    text.parse::<T>().map(drop).map_err(|error| Flaw::Content(error.to_string()))
}

fn access_key(value: &Value) -> Result<(), Flaw> {
    let text = value.as_str().ok_or(Flaw::Type)?;
    Client::check_access_key(text).map_err(Flaw::Content)
}

fn timeout(value: &Value) -> Result<(), Flaw> {
    time(value, Timeout::read)
}

fn token_ttl(value: &Value) -> Result<(), Flaw> {
    time(value, TokenTtl::read)
}

fn time<T>(value: &Value, read: fn(&Value) -> Result<T, String>) -> Result<(), Flaw> {
    if !value.is_number() && !value.is_string() {
        return Err(Flaw::Type);
    }
    read(value).map(drop).map_err(Flaw::Content)
}
