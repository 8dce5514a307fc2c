//! `If-None-Match`: whether a caller has what it asks for already (RFC 9110 section 13.1.2).

use portcullis_core::message::Fields;
use portcullis_core::message::names::IF_NONE_MATCH;

/// Whether one of the entity tags that a caller names is this one, by the weak comparison; `*` is every tag. `own` is in
/// quotes and is not weak. What is no list of entity tags names none.
pub(crate) fn has_already(fields: Fields<'_>, own: &str) -> bool {
    let is_own = |tag: &[u8]| tag == own.as_bytes();
    let mut lines = fields.all(IF_NONE_MATCH).map(|line| line.as_bytes().trim_ascii());
    lines.any(|line| line == b"*" || tags(line).any(is_own))
}

/// The entity tags of a line, in their quotes and without `W/`, up to the first thing that is none.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        while let Some(behind) = rest.strip_prefix(b",") {
            rest = behind.trim_ascii_start();
        }
        let quoted = rest.strip_prefix(b"W/").unwrap_or(rest);
        // A comma may stand inside of the quotes; a quote may not.
        let end = quoted.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')? + 2;
        let (tag, behind) = quoted.split_at(end);
        let behind = behind.trim_ascii_start();
        rest = behind;
        (behind.is_empty() || behind.starts_with(b",")).then_some(tag)
    })
}

#[cfg(test)]
mod tests {
    use portcullis_core::message::{FieldMap, FieldValue, HasFields};

    use super::*;

    #[test]
    fn tags_are_compared_weakly_wherever_they_stand() {
        for (lines, has) in [
            (&["\"a,b\""][..], true),
            (&["W/\"a,b\""], true),
            (&["*"], true),
            (&[" * "], true),
            (&["\"x\", \"a,b\""], true),
            (&["\"x\" ,W/\"a,b\",\"y\""], true),
            (&[",, \"a,b\","], true),
            (&["\"x\"", "\"a,b\""], true),
            (&["\"x\"", "*"], true),
            (&[], false),
            (&[""], false),
            (&["a,b"], false),
            (&["\"a", "b\""], false),
            (&["\"a\", \"b\""], false),
            (&["w/\"a,b\""], false),
            (&["W/ \"a,b\""], false),
            (&["\"x\" \"a,b\""], false),
            (&["\"A,b\""], false),
            (&["\"*\""], false),
            (&["x\"a,b\""], false),
        ] {
            let mut fields = FieldMap::new();
            lines.iter().for_each(|line| fields.add(IF_NONE_MATCH, FieldValue::from_static(line)));
            assert_eq!(has_already(fields.fields(), "\"a,b\""), has, "{lines:?}");
        }
    }
}
