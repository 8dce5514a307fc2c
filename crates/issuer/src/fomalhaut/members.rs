//! What the bodies of fomalhaut's clients say. A body is read where its content type begins with `application/json`; what is
//! not one JSON object says nothing.

use std::fmt;

use portcullis_core::handler::Asked;
use portcullis_core::message::HasFields;
use portcullis_core::message::names::CONTENT_TYPE;
use portcullis_core::secret::Secret;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The members that the gateway itself reads; others are passed over. A body in which one of them stands twice says nothing:
/// somebody would have meant the first, and somebody the last.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Members {
    refresh_token: Member,
    /// As the README of the original spells it.
    refersh_token: Member,
    access_token: Member,
    username: Member,
    /// As the samples of the original call it.
    name: Member,
    password: Member,
    old_password: Member,
    new_password: Member,
}

impl Members {
    /// What a call says.
    pub(super) fn of(asked: &Asked) -> Self {
        let kind = asked.fields().text(CONTENT_TYPE).unwrap_or_default();
        let expected = b"application/json";
        let is_json = kind.as_bytes().get(..expected.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(expected));
        if is_json { Self::read(&asked.body) } else { Self::default() }
    }

    fn read(body: &[u8]) -> Self {
        // A list would be read as well, by the order of the fields here.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        // What the parser says could repeat what was sent.
        if is_object { serde_json::from_slice(body).unwrap_or_default() } else { Self::default() }
    }

    /// The refresh token, in either spelling of its name; none where the two differ.
    pub(super) fn refresh_token(self) -> Option<Secret> {
        one_of(self.refresh_token, self.refersh_token)
    }

    /// The access token.
    pub(super) fn access_token(self) -> Option<Secret> {
        self.access_token.text()
    }

    /// A user's name, by either of its names, and password.
    pub(super) fn login(self) -> Option<(Secret, Secret)> {
        Some((one_of(self.username, self.name)?, self.password.text()?))
    }

    /// The old password and the new one.
    pub(super) fn passwords(self) -> Option<(Secret, Secret)> {
        Some((self.old_password.text()?, self.new_password.text()?))
    }
}

fn one_of(one: Member, other: Member) -> Option<Secret> {
    match (one, other) {
        (Member::Text(one), Member::Text(other)) => (one == other).then_some(one),
        (Member::Text(text), Member::Absent) | (Member::Absent, Member::Text(text)) => Some(text),
        _ => None,
    }
}

/// A member of a body.
#[derive(Debug, Default)]
enum Member {
    /// It is not there, or null.
    #[default]
    Absent,
    Text(Secret),
    /// It is no text.
    Other,
}

impl Member {
    fn text(self) -> Option<Secret> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyMember)
    }
}

struct AnyMember;

impl<'de> Visitor<'de> for AnyMember {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Member, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Member, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Members {
        Members::read(body.as_bytes())
    }

    fn text(secret: Option<Secret>) -> Option<String> {
        secret.map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn a_refresh_token_goes_by_two_names_and_means_one_thing() {
        for (body, expected) in [
            (r#"{"refresh_token":"a"}"#, Some("a")),
            (r#"{"refersh_token":"a","other":[{"refresh_token":1}]}"#, Some("a")),
            (r#"{"refresh_token":"a","refersh_token":"a"}"#, Some("a")),
            (r#"{"refresh_token":"a","refersh_token":null}"#, Some("a")),
            (r#"{"refresh_token":"a","refersh_token":"b"}"#, None),
            (r#"{"refresh_token":"a","refersh_token":7}"#, None),
            (r#"{"refresh_token":"a","refresh_token":"a"}"#, None),
            (r#"{"refresh_token":7}"#, None),
            (r#"{"refresh_token":["a"]}"#, None),
            (r#"{"refresh_token":{"a":[]}}"#, None),
            (r#"{"refresh_token":null}"#, None),
            (r#"["refresh_token"]"#, None),
            (r#"{"refresh_token":"a"} x"#, None),
            ("", None),
        ] {
            assert_eq!(text(read(body).refresh_token()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_login_has_a_name_and_a_password() {
        for (body, expected) in [
            (r#"{"username":"ada","password":"x"}"#, Some(("ada", "x"))),
            (r#"{"name":"ada","password":"x"}"#, Some(("ada", "x"))),
            (r#"{"name":"ada","username":"bob","password":"x"}"#, None),
            (r#"{"name":"ada"}"#, None),
            (r#"{"password":"x"}"#, None),
        ] {
            let found = read(body).login();
            let found = found.as_ref().map(|(name, password)| (name.expose(), password.expose()));
            assert_eq!(found, expected, "{body}");
        }
        let (old, new) = read(r#"{"old_password":"a","new_password":"b"}"#).passwords().expect("both");
        assert_eq!((old.expose(), new.expose()), ("a", "b"));
        assert!(read(r#"{"old_password":"a"}"#).passwords().is_none());
    }

    #[test]
    fn nothing_of_a_body_is_printed() {
        let printed = format!("{:?}", read(r#"{"password":"sesame","access_token":"sesame"}"#));
        assert!(!printed.contains("sesame"), "{printed}");
    }
}
