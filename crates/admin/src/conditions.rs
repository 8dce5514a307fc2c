//! `If-Match` and `If-None-Match`: a change happens only on the revision its author has seen (RFC 9110 section 13.1).

use axum::extract::FromRequestParts;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_routing::change::ChangeError;

use crate::problem::ApiError;

/// Entity tags of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`: any revision.
    Any,
    /// These revisions. Tags that no object of ours can have are left out.
    These(Vec<u64>),
}

impl Tags {
    fn cover(&self, current: Option<u64>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::These(revisions) => current.is_some_and(|revision| revisions.contains(&revision)),
        }
    }
}

/// What must be true of an object for a change of it to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

impl Conditions {
    /// Holds the conditions against the revision the object has now; `None` if there is no object.
    pub fn check(&self, current: Option<u64>) -> Result<(), ChangeError> {
        let matched = self.if_match.as_ref().is_none_or(|tags| tags.cover(current));
        let unmatched = self.if_none_match.as_ref().is_none_or(|tags| !tags.cover(current));
        if matched && unmatched { Ok(()) } else { Err(ChangeError::Stale(current.unwrap_or(0))) }
    }

    /// Whether nothing has to be true.
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Reads the conditions of a request.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self { if_match: tags(headers, &IF_MATCH)?, if_none_match: tags(headers, &IF_NONE_MATCH)? })
    }
}

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Self::read(&parts.headers)
    }
}

/// The entity tag of a revision.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("a quoted number is a field value")
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, ApiError> {
    let mut found = None;
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| malformed(name))?;
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                found = Some(Tags::Any);
                continue;
            }
            let revision = opaque(item).ok_or_else(|| malformed(name))?;
            match found.get_or_insert(Tags::These(Vec::new())) {
                Tags::Any => {}
                Tags::These(revisions) => revisions.extend(revision),
            }
        }
    }
    // A list of nothing is no condition that holds, and must not be taken for none: whoever sent it meant one.
    if found.is_none() && headers.contains_key(name) { Err(malformed(name)) } else { Ok(found) }
}

/// The revision in a tag: the outer `None` is no tag at all, the inner one a tag that none of our objects has.
/// A weak tag never matches here; ours are strong.
fn opaque(item: &str) -> Option<Option<u64>> {
    let (weak, quoted) = item.strip_prefix("W/").map_or((false, item), |rest| (true, rest));
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let revision = inner.parse().ok().filter(|revision: &u64| revision.to_string() == inner);
    Some(revision.filter(|_| !weak))
}

fn malformed(name: &HeaderName) -> ApiError {
    ApiError::malformed("bad_condition", format!("expected '{name}' to be '*' or quoted entity tags like \"3\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, value: &'static str, current: Option<u64>, fine: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        let conditions = Conditions::read(&headers).expect("readable");
        assert_eq!(conditions.check(current).is_ok(), fine, "{name}: {value} on {current:?}");
    }

    #[test]
    fn conditions_are_held_against_the_revision() {
        check("if-match", "\"3\"", Some(3), true);
        check("if-match", "\"3\"", Some(4), false);
        check("if-match", "\"3\"", None, false);
        check("if-match", "\"2\", \"3\"", Some(3), true);
        check("if-match", "W/\"3\"", Some(3), false);
        check("if-match", "\"03\"", Some(3), false);
        check("if-match", "\"other\"", Some(3), false);
        check("if-match", "*", Some(3), true);
        check("if-match", "*", None, false);
        check("if-none-match", "*", Some(3), false);
        check("if-none-match", "*", None, true);
        check("if-none-match", "\"3\"", Some(3), false);
        check("if-none-match", "\"2\"", Some(3), true);
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for value in ["3", "\"3", "x", "", ",", " , "] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_static(value));
            assert!(Conditions::read(&headers).is_err(), "{value}");
        }
    }

    #[test]
    fn fuzz_conditions() {
        let seeds = ["\"3\"", "*", "W/\"3\", \"4\"", "\"03\",\"x\"", "\"18446744073709551615\"", ",,\"\""];
        crate::fuzzing::run("conditions", &seeds, |input| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_bytes(input).ok()?);
            let read = Conditions::read(&headers);
            let Ok(conditions) = read else { return Some((false, 0, false)) };
            let matched: Vec<_> = (0..10).filter(|revision| conditions.check(Some(*revision)).is_ok()).collect();
            // The tag that was given out, as it was given out, and no other way of writing it.
            for revision in &matched {
                let tag = etag(*revision);
                let tag = tag.to_str().expect("text");
                let text = std::str::from_utf8(input).expect("read");
                assert!(text.split(',').map(str::trim).any(|item| item == tag || item == "*"), "{text}");
            }
            headers.insert(IF_NONE_MATCH, headers[IF_MATCH].clone());
            headers.remove(IF_MATCH);
            let none = Conditions::read(&headers).expect("read alike");
            assert!((0..10).all(|revision| none.check(Some(revision)).is_ok() != matched.contains(&revision)));
            Some((true, matched.len(), conditions.check(None).is_ok()))
        });
    }
}
