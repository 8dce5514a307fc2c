//! The signature base (RFC 9421, section 2.5): the text that is signed, line by line.

use std::fmt;

use super::component::{Component, Covered, Kind};
use super::flaw::Flaw;
use super::message::{Fields, Message, Request};
use super::query::{self, Found};
use super::structured::{FieldKind, KnownFields, trim, write_bytes, write_member, write_number, write_strictly};

/// Why a message has no signature base for a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Uncoverable {
    /// The signature itself is unusable.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// The message has nothing that the component names: a field that is absent, or a derived component of the other kind of
    /// message.
    #[error("the message has no {identifier}")]
    Absent {
        /// The identifier of the component.
        identifier: String,
    },
    /// `;req` stands in a signature of a request, or the request that is answered is not given.
    #[error("the component {identifier} needs the request that is answered")]
    NoRequest {
        /// The identifier of the component.
        identifier: String,
    },
    /// The value holds characters that cannot stand in a signature base.
    #[error("the value of {identifier} holds characters other than printable ASCII")]
    NotText {
        /// The identifier of the component.
        identifier: String,
    },
    /// The field is not known to be a structured field, or, for `;key`, to be a dictionary.
    #[error("the component {identifier} needs a structured type that this field is not known to have")]
    UnknownType {
        /// The identifier of the component.
        identifier: String,
    },
    /// The field is not of its structured type.
    #[error("the field in {identifier} is malformed")]
    Malformed {
        /// The identifier of the component.
        identifier: String,
    },
    /// The parameter of the query occurs more than once. Or there are several lines of `set-cookie`, which cannot be joined
    /// without `;bs`: the commas inside of cookies would make one out of two (RFC 9421, section 7.5.6).
    #[error("{identifier} occurs more than once, so what it covers is ambiguous")]
    Ambiguous {
        /// The identifier of the component.
        identifier: String,
    },
}

/// The text that is signed. It ends without a line feed.
#[derive(Clone, PartialEq, Eq)]
pub struct Base {
    text: String,
}

/// One line of a signature base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The identifier of the component, with its quotes and parameters. On the last line, `"@signature-params"`.
    pub identifier: &'a str,
    /// The value of the component.
    pub value: &'a str,
}

impl<'a> Line<'a> {
    /// Parts the text of a line. One without a colon is all identifier.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let (identifier, value) = text.split_at(identifier_end(text));
        Self { identifier, value: value.strip_prefix(": ").unwrap_or(value) }
    }
}

/// Where two signature bases part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the line, from 1.
    pub line: usize,
    /// The number of the character in the line, from 1, from which on they differ.
    pub column: usize,
    /// The line here; none if there are fewer.
    pub ours: Option<String>,
    /// The line there; none if there are fewer.
    pub theirs: Option<String>,
}

impl Base {
    /// Makes the signature base of a message. `parameters` is the value of `@signature-params`, into which `covered` points.
    pub(super) fn build(
        parameters: &str,
        covered: &[Covered],
        message: Message<'_>,
        known: &KnownFields<'_>,
    ) -> Result<Self, Uncoverable> {
        let mut text = String::with_capacity(2 * parameters.len() + 64 * covered.len() + 32);
        let mut lines = Vec::new();
        for component in covered.iter().map(|covered| covered.within(parameters)) {
            text.push_str(component.identifier());
            text.push_str(": ");
            let start = text.len();
            write_value(&mut text, component, message, known, &mut lines)
                .map_err(|reason| reason.of(component.identifier()))?;
            if component.kind() != Kind::Field && !is_derived_value(&text[start..]) {
                return Err(Uncoverable::NotText { identifier: component.identifier().to_owned() });
            }
            text.push('\n');
        }
        text.push_str("\"@signature-params\": ");
        text.push_str(parameters);
        Ok(Self { text })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The lines, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.text.split('\n').map(Line::of)
    }

    /// Where the base that somebody else made for the same message first differs from this one; none if they are the same.
    #[must_use]
    pub fn compare(&self, theirs: &str) -> Option<Difference> {
        let (mut ours, mut theirs) = (self.text.split('\n'), theirs.split('\n'));
        for number in 1.. {
            let (own, other) = match (ours.next(), theirs.next()) {
                (None, None) => return None,
                (own, other) if own == other => continue,
                lines => lines,
            };
            let mut pairs = own.unwrap_or_default().chars().zip(other.unwrap_or_default().chars());
            return Some(Difference {
                line: number,
                column: 1 + pairs.by_ref().take_while(|(own, other)| own == other).count(),
                ours: own.map(str::to_owned),
                theirs: other.map(str::to_owned),
            });
        }
        None
    }
}

impl fmt::Display for Base {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Fields that are covered may hold secrets.
        out.debug_struct("Base").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side =
            |line: &Option<String>| line.as_ref().map_or_else(|| "nothing".to_owned(), |line| format!("{line:?}"));
        let Self { line, column, ours, theirs } = self;
        write!(out, "line {line}, character {column}: {} here, {} there", side(ours), side(theirs))
    }
}

/// Where the identifier at the start of a line ends: at the first colon outside of quotes.
fn identifier_end(line: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b':' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

/// Why a component has no value.
enum Reason {
    Absent,
    NoRequest,
    NotText,
    UnknownType,
    Malformed,
    Ambiguous,
}

impl Reason {
    fn of(self, identifier: &str) -> Uncoverable {
        let identifier = identifier.to_owned();
        match self {
            Self::Absent => Uncoverable::Absent { identifier },
            Self::NoRequest => Uncoverable::NoRequest { identifier },
            Self::NotText => Uncoverable::NotText { identifier },
            Self::UnknownType => Uncoverable::UnknownType { identifier },
            Self::Malformed => Uncoverable::Malformed { identifier },
            Self::Ambiguous => Uncoverable::Ambiguous { identifier },
        }
    }
}

/// Appends the value of a component.
fn write_value<'a>(
    out: &mut String,
    component: Component<'_>,
    message: Message<'a>,
    known: &KnownFields<'_>,
    lines: &mut Vec<&'a [u8]>,
) -> Result<(), Reason> {
    let context = match message {
        Message::Response(response) if component.is_of_request() => response.request.map(Message::Request),
        Message::Request(_) if component.is_of_request() => None,
        _ => Some(message),
    };
    let context = context.ok_or(Reason::NoRequest)?;
    if component.kind() == Kind::Field {
        return write_field(out, component, context.fields(), known, lines);
    }
    match (component.kind(), context) {
        (Kind::Status, Message::Response(response)) => {
            write_number(out, format_args!("{:03}", response.status));
            Ok(())
        }
        (kind, Message::Request(request)) => write_derived(out, kind, component, request),
        _ => Err(Reason::Absent),
    }
}

/// Appends what is derived from a request.
fn write_derived(out: &mut String, kind: Kind, component: Component<'_>, request: &Request<'_>) -> Result<(), Reason> {
    match kind {
        Kind::Method => out.push_str(request.method),
        Kind::Scheme => push_in_lower_case(out, request.scheme),
        Kind::Authority => write_authority(out, request)?,
        Kind::RequestTarget => out.push_str(request.target),
        Kind::TargetUri => write_uri(out, request)?,
        Kind::Path => match request.path.ok_or(Reason::Absent)? {
            "" => out.push('/'),
            path => out.push_str(path),
        },
        Kind::Query => {
            request.path.ok_or(Reason::Absent)?;
            out.push('?');
            out.push_str(request.query.unwrap_or_default());
        }
        Kind::QueryParam => {
            let (Some(query), Some(name)) = (request.query, component.parameter()) else { return Err(Reason::Absent) };
            match query::write_value(out, query, name) {
                Found::Once => {}
                Found::Never => return Err(Reason::Absent),
                Found::Often => return Err(Reason::Ambiguous),
            }
        }
        Kind::Status | Kind::Field => return Err(Reason::Absent),
    }
    Ok(())
}

/// Appends the target URI (RFC 9110, section 7.1), its scheme and authority normalised.
fn write_uri(out: &mut String, request: &Request<'_>) -> Result<(), Reason> {
    let path = match request.path {
        Some("") => "/",
        Some(path) => path,
        None if request.target == "*" => "",
        None => return Err(Reason::Absent),
    };
    push_in_lower_case(out, request.scheme);
    out.push_str("://");
    write_authority(out, request)?;
    out.push_str(path);
    if let Some(query) = request.query {
        out.push('?');
        out.push_str(query);
    }
    Ok(())
}

/// Appends host and port, in lower case and without the default port (RFC 9110, section 4.2.3).
fn write_authority(out: &mut String, request: &Request<'_>) -> Result<(), Reason> {
    let authority = request.authority;
    if authority.is_empty() || authority.contains(['@', '/', '?', '#']) {
        return Err(Reason::NotText);
    }
    let default = if request.scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
    let host = match authority.rsplit_once(':') {
        // What follows the last colon of an address in brackets ends with a bracket, so it is never taken for a port.
        Some((host, port)) if port.is_empty() || port == default => host,
        _ => authority,
    };
    push_in_lower_case(out, host);
    Ok(())
}

fn push_in_lower_case(out: &mut String, text: &str) {
    let start = out.len();
    out.push_str(text);
    out[start..].make_ascii_lowercase();
}

/// Appends the value of a field (RFC 9421, section 2.1).
fn write_field<'a>(
    out: &mut String,
    component: Component<'_>,
    fields: &'a dyn Fields,
    known: &KnownFields<'_>,
    lines: &mut Vec<&'a [u8]>,
) -> Result<(), Reason> {
    lines.clear();
    fields.each(component.name(), &mut |line| lines.push(trim(line)));
    if lines.is_empty() {
        return Err(Reason::Absent);
    }
    if let Some(key) = component.key() {
        if known.kind(component.name()) != Some(FieldKind::Dictionary) {
            return Err(Reason::UnknownType);
        }
        return match write_member(out, key, lines) {
            Some(true) => Ok(()),
            Some(false) => Err(Reason::Absent),
            None => Err(Reason::Malformed),
        };
    }
    if component.is_structured() {
        let kind = known.kind(component.name()).ok_or(Reason::UnknownType)?;
        return write_strictly(out, kind, lines).ok_or(Reason::Malformed);
    }
    if component.name() == "set-cookie" && lines.len() > 1 && !component.is_wrapped() {
        return Err(Reason::Ambiguous);
    }
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            out.push_str(", ");
        }
        let unfolded = unfold(line);
        let line = unfolded.as_deref().unwrap_or(line);
        if component.is_wrapped() {
            write_bytes(out, line);
        } else {
            out.push_str(text_of(line).ok_or(Reason::NotText)?);
        }
    }
    Ok(())
}

/// The line with each obsolete line folding replaced by a space (RFC 9112, section 5.2); none if it has no line feed.
fn unfold(line: &[u8]) -> Option<Vec<u8>> {
    if !line.contains(&b'\n') {
        return None;
    }
    let mut whole = Vec::with_capacity(line.len());
    for (number, piece) in line.split(|byte| *byte == b'\n').enumerate() {
        let is_fold = piece.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        if number > 0 {
            // A line feed without white space behind it folds nothing, and is refused later on.
            whole.push(if is_fold { b' ' } else { b'\n' });
        }
        whole.extend_from_slice(trim(piece));
    }
    Some(whole)
}

/// The line as text: visible ASCII, spaces and tabs.
fn text_of(line: &[u8]) -> Option<&str> {
    let is_text = line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if is_text { std::str::from_utf8(line).ok() } else { None }
}

/// Whether a derived component can have this value: visible ASCII and spaces, none of them at an end (RFC 9421, section 2.2).
fn is_derived_value(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !value.starts_with(' ') && !value.ends_with(' ')
}
