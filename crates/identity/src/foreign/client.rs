//! The client a token of another issuer was issued to, and whether the token speaks for it alone.

use serde_json::{Map, Value};

use crate::claims::TokenError;

/// The longest id of a client, in bytes.
const LONGEST: usize = 256;

/// What marks a token as one that speaks for its client alone: a claim, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMarker {
    /// The claim.
    pub claim: String,
    /// What it says; the id of the client itself, if absent.
    pub value: Option<Value>,
}

impl ClientMarker {
    /// Whether the claims have the mark. An error if they have it and name no client.
    pub(super) fn is_on(&self, claims: &Map<String, Value>, client_id: Option<&str>) -> Result<bool, TokenError> {
        let Some(found) = claims.get(&self.claim) else { return Ok(false) };
        let is_marked = match &self.value {
            Some(value) => found == value,
            None => found.as_str().is_some_and(|found| Some(found) == client_id),
        };
        if is_marked && client_id.is_none() { Err(TokenError::Client) } else { Ok(is_marked) }
    }
}

/// The id of the client in its claim, if there is one.
pub(super) fn id(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(id)) if (1..=LONGEST).contains(&id.len()) => Ok(Some(id.clone())),
        Some(_) => Err(TokenError::Client),
    }
}

/// A name that an issuer gives, together with the issuer, as `issuer#name`: printable ASCII that begins with the issuer as
/// it is declared. Two that differ in either differ, and each holds a slash, which no label here has.
pub fn qualified(issuer: &str, name: &str) -> String {
    let mut text = String::with_capacity(issuer.len() + name.len() + 3);
    if !issuer.contains('/') || issuer.starts_with("//") {
        text.push_str("//");
    }
    escape(&mut text, issuer, b"");
    text.push('#');
    escape(&mut text, name, b"#%");
    text
}

/// Writes what is no visible ASCII, and these, as `%` and two hex digits.
fn escape(text: &mut String, plain: &str, also: &[u8]) {
    for byte in plain.bytes() {
        if byte.is_ascii_graphic() && !also.contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_qualified_name_is_of_one_issuer_and_one_name() {
        let mut seen = std::collections::HashMap::new();
        let parts = [
            "https://idp",
            "https://idp#a",
            "https://idp#a#b",
            "idp",
            "//idp",
            "////idp",
            "a#b",
            "a",
            "b",
            "%23",
            "a%23b",
            "#",
            "a/b",
        ];
        for issuer in parts {
            for name in parts {
                let text = qualified(issuer, name);
                assert!(text.contains('/') && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
                assert!(text.parse::<portcullis_core::model::Label>().is_err(), "{text}");
                if let Some(other) = seen.insert(text.clone(), (issuer, name)) {
                    panic!("{text} is both {other:?} and {:?}", (issuer, name));
                }
            }
        }
        for (issuer, name, expected) in [
            ("https://idp", "batch", "https://idp#batch"),
            ("idp", "batch", "//idp#batch"),
            ("https://idp/", "a b\n\u{fc}", "https://idp/#a%20b%0A%C3%BC"),
        ] {
            assert_eq!(qualified(issuer, name), expected);
        }
    }

    #[test]
    fn a_mark_is_a_claim_that_says_what_was_declared() {
        let claims = json!({"sub": "app", "gty": "client-credentials", "machine": true, "n": 1, "list": ["app"]});
        let claims = claims.as_object().expect("an object");
        let marked = |claim: &str, value: Option<Value>, id: Option<&str>| {
            ClientMarker { claim: claim.to_owned(), value }.is_on(claims, id)
        };
        for (claim, value, id, expected) in [
            ("gty", Some(json!("client-credentials")), Some("app"), Ok(true)),
            ("gty", Some(json!("client-credentials")), None, Err(TokenError::Client)),
            ("gty", Some(json!("Client-Credentials")), Some("app"), Ok(false)),
            ("gty", Some(json!("password")), None, Ok(false)),
            ("machine", Some(json!(true)), Some("app"), Ok(true)),
            ("machine", Some(json!("true")), Some("app"), Ok(false)),
            ("sub", None, Some("app"), Ok(true)),
            ("sub", None, Some("other"), Ok(false)),
            ("sub", None, None, Ok(false)),
            ("list", None, Some("app"), Ok(false)),
            ("gone", None, None, Ok(false)),
            ("gone", Some(json!(null)), Some("app"), Ok(false)),
        ] {
            assert_eq!(marked(claim, value.clone(), id), expected, "{claim} {value:?} {id:?}");
        }
    }
}
