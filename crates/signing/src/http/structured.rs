//! Structured field values (RFC 9651): writing them in their canonical form, and which header fields are of which type.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItemFromInput, Dictionary, FieldType, Item, ItemSerializer, List, ListEntry, Parser, RefBareItem};

use super::flaw::Flaw;

/// Reading was stopped. Why, stands in [`Flaws::whole`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("reading was stopped")]
pub(super) struct Stop;

/// What has been found wrong while reading: with one signature, and with the field as a whole.
#[derive(Default)]
pub(super) struct Flaws {
    pub(super) own: Option<Flaw>,
    pub(super) whole: Option<Flaw>,
}

impl Flaws {
    /// Stops the reading for this reason.
    pub(super) fn stop(&mut self, flaw: Flaw) -> Stop {
        self.whole.get_or_insert(flaw);
        Stop
    }

    /// Puts down what is wrong with one signature, if it is the first such thing.
    pub(super) fn note(&mut self, flaw: Flaw) {
        self.own.get_or_insert(flaw);
    }
}

/// The type of a structured field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A list.
    List,
    /// A dictionary. Its members can be covered one by one.
    Dictionary,
    /// A single item.
    Item,
}

/// Which header fields are structured fields, and of which type. `;sf` and `;key` need to know it.
///
/// The table holds the fields that their own specifications define as structured fields. [`Self::with`] adds those of an
/// application.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownFields<'a> {
    more: &'a [(&'a str, FieldKind)],
}

/// Fields that an RFC or a W3C specification defines as structured fields, in the order of their names.
const KNOWN: [(&str, FieldKind); 28] = [
    ("accept-ch", FieldKind::List),
    ("accept-signature", FieldKind::Dictionary),
    ("available-dictionary", FieldKind::Item),
    ("cache-group-invalidation", FieldKind::List),
    ("cache-groups", FieldKind::List),
    ("cache-status", FieldKind::List),
    ("capsule-protocol", FieldKind::Item),
    ("cdn-cache-control", FieldKind::Dictionary),
    ("client-cert", FieldKind::Item),
    ("client-cert-chain", FieldKind::List),
    ("content-digest", FieldKind::Dictionary),
    ("cross-origin-embedder-policy", FieldKind::Item),
    ("cross-origin-embedder-policy-report-only", FieldKind::Item),
    ("cross-origin-opener-policy", FieldKind::Item),
    ("cross-origin-opener-policy-report-only", FieldKind::Item),
    ("deprecation", FieldKind::Item),
    ("dictionary-id", FieldKind::Item),
    ("origin-agent-cluster", FieldKind::Item),
    ("permissions-policy", FieldKind::Dictionary),
    ("priority", FieldKind::Dictionary),
    ("proxy-status", FieldKind::List),
    ("reporting-endpoints", FieldKind::Dictionary),
    ("repr-digest", FieldKind::Dictionary),
    ("signature", FieldKind::Dictionary),
    ("signature-input", FieldKind::Dictionary),
    ("use-as-dictionary", FieldKind::Dictionary),
    ("want-content-digest", FieldKind::Dictionary),
    ("want-repr-digest", FieldKind::Dictionary),
];

impl<'a> KnownFields<'a> {
    /// The fields of the table alone.
    pub const STANDARD: KnownFields<'static> = KnownFields { more: &[] };

    /// The fields of the table, and these. Names are in lower case; a field that stands here has the type given here.
    #[must_use]
    pub const fn with(more: &'a [(&'a str, FieldKind)]) -> Self {
        Self { more }
    }

    /// The type of the field; none if it is not known to be a structured field.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<FieldKind> {
        let own = self.more.iter().find(|(own, _)| *own == name).map(|(_, kind)| *kind);
        own.or_else(|| KNOWN.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|at| KNOWN[at].1))
    }
}

/// Appends a string in quotes. It holds printable ASCII only.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    if text.contains(['"', '\\']) {
        for letter in text.chars() {
            if matches!(letter, '"' | '\\') {
                out.push('\\');
            }
            out.push(letter);
        }
    } else {
        out.push_str(text);
    }
    out.push('"');
}

/// Appends the value of a parameter with its `=`; nothing for `true`.
pub(super) fn write_bare(out: &mut String, value: &BareItemFromInput<'_>) {
    match value {
        BareItemFromInput::Boolean(true) => {}
        BareItemFromInput::String(text) => {
            out.push('=');
            write_string(out, text.as_str());
        }
        other => {
            out.push('=');
            let _ = ItemSerializer::with_buffer(out).bare_item(RefBareItem::from(other)).finish();
        }
    }
}

/// Appends bytes as a byte sequence: base64 between colons.
pub(super) fn write_bytes(out: &mut String, bytes: &[u8]) {
    out.push(':');
    STANDARD.encode_string(bytes, out);
    out.push(':');
}

/// Appends a number.
pub(super) fn write_number(out: &mut String, number: impl fmt::Display) {
    // Writing to a string does not fail.
    let _ = fmt::Write::write_fmt(out, format_args!("{number}"));
}

/// The line without white space at its ends.
pub(super) fn trim(line: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let Some(start) = line.iter().position(|byte| !is_space(byte)) else { return &[] };
    let end = line.iter().rposition(|byte| !is_space(byte)).unwrap_or(start);
    &line[start..=end]
}

/// Whether the lines can be joined: of several, none is empty (RFC 9651, section 4.2, where they are joined by commas first).
pub(super) fn can_join(lines: &[&[u8]]) -> bool {
    lines.len() <= 1 || lines.iter().all(|line| !line.is_empty())
}

/// Reads the lines of a field as its type, and appends its canonical serialisation. None where they are not of the type.
///
/// Each line is read by itself, so that no string begins on one line and ends on another.
pub(super) fn write_strictly(out: &mut String, kind: FieldKind, lines: &[&[u8]]) -> Option<()> {
    if !can_join(lines) {
        return None;
    }
    match kind {
        FieldKind::Item => {
            let [line] = lines else { return None };
            out.push_str(&Parser::new(line).parse::<Item>().ok()?.serialize());
        }
        FieldKind::List => {
            let mut whole = List::new();
            for line in lines {
                whole = Parser::new(line).parse_list_with_visitor(whole).ok()?;
            }
            out.push_str(whole.serialize().as_deref().unwrap_or_default());
        }
        FieldKind::Dictionary => {
            out.push_str(dictionary(lines)?.serialize().as_deref().unwrap_or_default());
        }
    }
    Some(())
}

/// Reads the lines of a dictionary, and appends the canonical serialisation of one member (RFC 9421, section 2.1.2). None
/// where they are not a dictionary, false where it lacks the member.
pub(super) fn write_member(out: &mut String, key: &str, lines: &[&[u8]]) -> Option<bool> {
    let whole = dictionary(lines)?;
    let Some(member) = sfv::KeyRef::from_str(key).ok().and_then(|key| whole.get(key)) else { return Some(false) };
    match member {
        ListEntry::Item(item) => out.push_str(&item.serialize()),
        list @ ListEntry::InnerList(_) => {
            out.push_str(vec![list.clone()].serialize().as_deref().unwrap_or_default());
        }
    }
    Some(true)
}

fn dictionary(lines: &[&[u8]]) -> Option<Dictionary> {
    if !can_join(lines) {
        return None;
    }
    let mut whole = Dictionary::new();
    for line in lines {
        whole = Parser::new(line).parse_dictionary_with_visitor(whole).ok()?;
    }
    Some(whole)
}
