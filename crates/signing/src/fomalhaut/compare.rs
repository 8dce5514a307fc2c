//! A string to sign, shown to a person and compared with the one that person's program has built.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use super::{Canonical, Dialect};

/// Bytes of a part that are shown.
const MOST_SHOWN: usize = 256;

/// The parts of a string to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The first line.
    Method,
    /// The second line.
    Target,
    /// A line of a signed field.
    Field,
    /// What comes after the lines of the fields.
    Body,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "method",
            Self::Target => "target",
            Self::Field => "field",
            Self::Body => "body",
        })
    }
}

/// The first difference between two strings to sign. `Display` says it in a sentence.
///
/// Texts are escaped and cut to 256 bytes; access tokens in fields are left out, those in the target are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where they differ.
    pub part: Part,
    /// What this side has there; none where the other side has a line too many.
    pub ours: Option<String>,
    /// What the other side has there; none where it lacks a line.
    pub theirs: Option<String>,
    /// The byte of the body from which on they differ.
    pub offset: Option<usize>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part;
        match (&self.ours, &self.theirs, self.offset) {
            (Some(ours), Some(theirs), Some(offset)) => {
                write!(f, "{part}: differs from byte {offset} on: \"{ours}\" here, \"{theirs}\" there")
            }
            (Some(ours), Some(theirs), None) => write!(f, "{part}: \"{ours}\" here, \"{theirs}\" there"),
            (Some(ours), None, _) => write!(f, "{part}: \"{ours}\" is missing there, or is not in its place"),
            (None, Some(theirs), _) => write!(f, "{part}: \"{theirs}\" does not belong there, or is not in its place"),
            (None, None, _) => write!(f, "{part}: differs"),
        }
    }
}

impl Canonical {
    /// What is signed, a part on each line, for a person to read. Access tokens in fields are left out; those in the
    /// target are not.
    ///
    /// ```
    /// use portcullis_signing::fomalhaut::{Canonical, Dialect};
    ///
    /// let fields = [("X-Api-Nonce", "0.5"), ("X-Api-Access-Token", "secret")];
    /// let canonical = Canonical::response(Dialect::Api, b"GET", b"/e/v1/", fields)?;
    /// let page = "method: GET\ntarget: /e/v1/\nfield: x-api-access-token: [6 bytes]\nfield: x-api-nonce: 0.5\n";
    /// assert_eq!(canonical.explain(), page);
    /// # Ok::<(), portcullis_signing::fomalhaut::NotCanonical>(())
    /// ```
    pub fn explain(&self) -> String {
        let mut page = String::with_capacity(self.as_str().len() + 64);
        let parts = [(Part::Method, self.method()), (Part::Target, self.target())];
        for (part, text) in parts.into_iter().chain(self.lines().map(|line| (Part::Field, line))) {
            // Writing into a string does not fail.
            let _ = writeln!(page, "{part}: {}", without_token(text.as_bytes()).escape_ascii());
        }
        page
    }

    /// The first difference from a string to sign that somebody else has built for the same message, with its body;
    /// none where they are equal.
    ///
    /// ```
    /// use portcullis_signing::fomalhaut::{Canonical, Dialect, Part};
    ///
    /// let canonical = Canonical::response(Dialect::Fo, b"GET", b"/e/v1/?q=1", [("X-Fo-Nonce", "0.5")])?;
    /// let difference = canonical.compare(b"", b"GET\n/e/v1/\nx-fo-nonce: 0.5\n").expect("the query is missing");
    /// assert_eq!(difference.part, Part::Target);
    /// assert_eq!(difference.to_string(), "target: \"/e/v1/?q=1\" here, \"/e/v1/\" there");
    /// assert_eq!(canonical.compare(b"", b"GET\n/e/v1/?q=1\nx-fo-nonce: 0.5\n"), None);
    /// # Ok::<(), portcullis_signing::fomalhaut::NotCanonical>(())
    /// ```
    pub fn compare(&self, body: &[u8], theirs: &[u8]) -> Option<Difference> {
        let mut rest = Some(theirs);
        for (part, ours) in [(Part::Method, self.method()), (Part::Target, self.target())] {
            let line = next_line(&mut rest);
            if line != Some(ours.as_bytes()) {
                return Some(difference(part, Some(ours.as_bytes()), line));
            }
        }
        for ours in self.lines() {
            let before = rest;
            let line = next_line(&mut rest);
            if line != Some(ours.as_bytes()) {
                return Some(difference_of_lines(ours, line, before.unwrap_or_default()));
            }
        }
        if self.lines().next().is_none() && next_line(&mut rest) != Some(b"") {
            return Some(difference(Part::Field, Some(b""), None));
        }
        let Some(rest) = rest else {
            return Some(difference(Part::Body, Some(b"\n"), None));
        };
        if rest == body {
            return None;
        }
        let line = rest.split(|byte| *byte == b'\n').next().filter(|line| is_field(line) && !body.starts_with(line));
        if let Some(line) = line {
            return Some(difference(Part::Field, None, Some(line)));
        }
        let offset = body.iter().zip(rest).take_while(|(ours, theirs)| ours == theirs).count();
        let mut found = difference(Part::Body, Some(&body[offset..]), Some(&rest[offset..]));
        found.offset = Some(offset);
        Some(found)
    }
}

/// Tells a line that has another value from one that is missing, and both from one that is too much. `rest` is the other
/// side's text from this line on.
fn difference_of_lines(ours: &str, theirs: Option<&[u8]>, rest: &[u8]) -> Difference {
    let ours = ours.as_bytes();
    let Some(line) = theirs else {
        return difference(Part::Field, Some(ours), None);
    };
    if name_of(line).zip(name_of(ours)).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other)) {
        return difference(Part::Field, Some(ours), Some(line));
    }
    if rest.split(|byte| *byte == b'\n').any(|line| line == ours) {
        return difference(Part::Field, None, Some(line));
    }
    difference(Part::Field, Some(ours), None)
}

fn difference(part: Part, ours: Option<&[u8]>, theirs: Option<&[u8]>) -> Difference {
    Difference { part, ours: ours.map(shown), theirs: theirs.map(shown), offset: None }
}

/// Takes the next line; none when the text has ended before it. A line may lack its LF, and then nothing comes after it,
/// not even an empty text.
fn next_line<'a>(rest: &mut Option<&'a [u8]>) -> Option<&'a [u8]> {
    let text = rest.take()?;
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            *rest = Some(&text[end + 1..]);
            Some(&text[..end])
        }
        None => Some(text),
    }
}

/// Name and value of a line `name: value`, without the white space around them.
fn parted(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
}

fn name_of(line: &[u8]) -> Option<&[u8]> {
    parted(line).map(|(name, _)| name)
}

/// Whether the line looks like that of a field that is signed in one of the dialects.
fn is_field(line: &[u8]) -> bool {
    let begins = |name: &[u8], prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    name_of(line).is_some_and(|name| {
        name.eq_ignore_ascii_case(b"host") || Dialect::ALL.iter().any(|dialect| begins(name, dialect.prefix()))
    })
}

fn shown(text: &[u8]) -> String {
    let text = without_token(text);
    let mut shown = text.get(..MOST_SHOWN).unwrap_or(&text).escape_ascii().to_string();
    if text.len() > MOST_SHOWN {
        shown.push('…');
    }
    shown
}

/// The text; of the line of an access token, only its name and the length of its value.
fn without_token(text: &[u8]) -> Cow<'_, [u8]> {
    let is_token =
        |name: &[u8]| Dialect::ALL.iter().any(|dialect| name.eq_ignore_ascii_case(dialect.access_token().as_bytes()));
    match parted(text) {
        Some((name, value)) if is_token(name) => {
            Cow::Owned([name, format!(": [{} bytes]", value.len()).as_bytes()].concat())
        }
        _ => Cow::Borrowed(text),
    }
}
