//! Where a call shows its token, and which one that is.
//!
//! In fomalhaut's dialects it is the field they have for it, which is signed, else `access_token` of the query; there can be
//! one in the query beside the field, which then says nothing. Elsewhere it is `Authorization`, or the query where the
//! service takes it from there.

use portcullis_core::call::{Call, fomalhaut};
use portcullis_core::message::names::AUTHORIZATION;
use portcullis_core::message::{self, FieldValue, HasFields};
use portcullis_core::refusal::Refusal;

use super::{invalid, query};

/// A token as it was shown.
pub(super) enum PresentedToken {
    Header(FieldValue),
    /// By itself: in the query, or in the field that a dialect of fomalhaut has for it.
    Plain(String),
}

impl PresentedToken {
    /// Whether a token is shown, good or not; outside of fomalhaut's dialects in the query too where that is read.
    pub(super) fn is_in(call: &Call, reads_query: bool) -> bool {
        match call.dialect.fomalhaut() {
            Some(form) => in_field(call, form).next().is_some() || query::all(call).next().is_some(),
            None => {
                let in_header = call.request.fields().get(AUTHORIZATION).is_some_and(|value| token_of(value).is_some());
                in_header || (reads_query && query::token(call).is_some())
            }
        }
    }

    /// The one token that is shown.
    pub(super) fn of(call: &Call, reads_query: bool) -> Result<Self, Refusal> {
        if let Some(form) = call.dialect.fomalhaut() {
            return in_dialect(call, form).map(Self::Plain);
        }
        let mut shown = call.request.fields().all(AUTHORIZATION);
        let in_header = shown.next().filter(|value| token_of(*value).is_some()).map(message::Value::to_owned);
        let doubled = shown.next().is_some();
        let in_query = if reads_query { query::token(call) } else { None };
        match (in_header, in_query) {
            (Some(value), None) if !doubled => Ok(Self::Header(value)),
            (None, Some(token)) => Ok(Self::Plain(token)),
            _ => Err(several()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Header(value) => token_of(value.value()).unwrap_or_default(),
            Self::Plain(token) => token,
        }
    }
}

/// The token of a call in a dialect of fomalhaut.
fn in_dialect(call: &Call, form: fomalhaut::Form) -> Result<String, Refusal> {
    let mut fields = in_field(call, form);
    if let Some(token) = fields.next() {
        return if fields.next().is_none() { Ok(token.to_owned()) } else { Err(several()) };
    }
    let mut values = query::all(call);
    let token = values.next().ok_or_else(several)?;
    if values.any(|other| other != token) {
        return Err(several());
    }
    // What is no text is no token, and is refused as an empty one.
    Ok(std::str::from_utf8(&token).unwrap_or_default().to_owned())
}

/// The tokens in the field that a dialect has for them.
fn in_field(call: &Call, form: fomalhaut::Form) -> impl Iterator<Item = &str> {
    let removed = call.raw.removed.iter().filter(move |(removed, _)| removed.as_str() == form.token_field());
    removed.map(|(_, value)| value.text().unwrap_or_default())
}

fn several() -> Refusal {
    invalid("more than one token")
}

/// The token behind `Bearer`, whose name is case-insensitive (RFC 9110 section 11.1).
pub(super) fn token_of(value: message::Value<'_>) -> Option<&str> {
    // Scheme first: most values are long, and looked at more than once.
    let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
    let is_token = scheme.eq_ignore_ascii_case(b"bearer ") && token.is_ascii();
    is_token.then(|| std::str::from_utf8(token.trim_ascii()).ok()).flatten()
}
