//! The string to sign (canonical string): method, target and signed header fields, in one fixed form.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

use super::Dialect;

/// Signed fields that one message may have.
pub const MOST_FIELDS: usize = 128;

/// Bytes that method, target, host and signed fields may have together.
pub const MOST_BYTES: usize = 64 << 10;

/// The parts of a request that are signed besides its fields and body, as they are on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method, in upper case.
    pub method: &'a [u8],
    /// The request target: path and query, not decoded.
    pub target: &'a [u8],
    /// The value of `Host`; over HTTP/2 and later, of `:authority`.
    pub host: &'a [u8],
}

/// Why no string to sign can be made of a message.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum NotCanonical {
    /// The method is empty, or is no token in upper case.
    #[error("the method is not a token in upper case")]
    Method,
    /// The target is empty, or has white space or control characters.
    #[error("the target is empty or contains white space or control characters")]
    Target,
    /// The name of a field with the dialect's prefix is no token (RFC 9110, section 5.6.2).
    #[error("the name of a signed header field is not a token")]
    Name,
    /// The host or a signed field contains a line break or NUL.
    #[error("the host or a signed header field contains a line break or NUL")]
    Value,
    /// More than [`MOST_FIELDS`] signed fields.
    #[error("more than {MOST_FIELDS} signed header fields")]
    TooManyFields,
    /// More than [`MOST_BYTES`] bytes.
    #[error("the method, target, host and signed header fields have more than {MOST_BYTES} bytes")]
    TooLong,
}

/// The string to sign, without the body that follows it: `METHOD LF TARGET LF FIELDS LF`.
///
/// FIELDS is one line `name: value` for each signed field, joined by LF: names in lower case, names and values without
/// white space around them, values of the same name joined by `,` in their order, lines sorted by byte. Signed are
/// `Host` (in requests) and all fields that begin with [`Dialect::prefix`], except [`Dialect::signature`].
///
/// The head of a message is read as ISO-8859-1 and signed as UTF-8, as the protocol's first implementation does. This
/// only matters for bytes outside ASCII.
///
/// **The end of the fields is not marked.** A field whose line sorts last and a body that begins with this line give
/// the same string. Someone who can change messages on their way can thus move the last signed line into the body or
/// the body's first line into the fields. The required timestamp limits this to fields that sort after it.
///
/// `Debug` shows only the length, because fields and targets may carry access tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Canonical {
    text: String,
    /// Whether a field of it begins with [`FORWARDED`].
    has_forwarded: bool,
}

impl Canonical {
    /// The string to sign of a request. `fields` may be all of its header fields, in any case and order: those that are
    /// not signed are skipped. So is `Host`, which comes from `head`.
    ///
    /// ```
    /// use portcullis_signing::fomalhaut::{Canonical, Dialect, Head};
    ///
    /// let head = Head { method: b"GET", target: b"/e/v1/?q=1", host: b"example.com" };
    /// let fields = [("X-Fo-Nonce", " 0.5 "), ("Accept", "*/*"), ("x-fo-app-id", "abcd")];
    /// let canonical = Canonical::request(Dialect::Fo, head, fields)?;
    /// assert_eq!(canonical.as_str(), "GET\n/e/v1/?q=1\nhost: example.com\nx-fo-app-id: abcd\nx-fo-nonce: 0.5\n");
    /// # Ok::<(), portcullis_signing::fomalhaut::NotCanonical>(())
    /// ```
    pub fn request<'a, N, V>(
        dialect: Dialect,
        head: Head<'_>,
        fields: impl IntoIterator<Item = (&'a N, &'a V)>,
    ) -> Result<Self, NotCanonical>
    where
        N: AsRef<[u8]> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        Self::write(dialect, head.method, head.target, Some(head.host), fields)
    }

    /// The string to sign of a response. `method` and `target` are those of the request; the host is not signed.
    pub fn response<'a, N, V>(
        dialect: Dialect,
        method: &[u8],
        target: &[u8],
        fields: impl IntoIterator<Item = (&'a N, &'a V)>,
    ) -> Result<Self, NotCanonical>
    where
        N: AsRef<[u8]> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        Self::write(dialect, method, target, None, fields)
    }

    fn write<'a, N, V>(
        dialect: Dialect,
        method: &[u8],
        target: &[u8],
        host: Option<&[u8]>,
        fields: impl IntoIterator<Item = (&'a N, &'a V)>,
    ) -> Result<Self, NotCanonical>
    where
        N: AsRef<[u8]> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte) && !byte.is_ascii_lowercase()) {
            return Err(NotCanonical::Method);
        }
        if target.is_empty() || !is_visible(target) && target.iter().any(|byte| !is_of_target(*byte)) {
            return Err(NotCanonical::Target);
        }
        let host = host.map(value_of).transpose()?;
        let mut length = method.len() + target.len() + host.map_or(0, <[u8]>::len);
        let mut signed: Vec<(&[u8], &[u8])> = Vec::with_capacity(12);
        let (mut has_capitals, mut has_forwarded) = (false, false);
        for (name, value) in fields {
            let name = name.as_ref();
            if !is_signed(dialect, name) {
                continue;
            }
            if !name.iter().fold(true, |fine, byte| fine & is_token(*byte)) {
                return Err(NotCanonical::Name);
            }
            let value = value_of(value.as_ref())?;
            length = length.saturating_add(name.len()).saturating_add(value.len());
            if length > MOST_BYTES {
                return Err(NotCanonical::TooLong);
            }
            if signed.len() == MOST_FIELDS {
                return Err(NotCanonical::TooManyFields);
            }
            has_capitals |= name.iter().any(u8::is_ascii_uppercase);
            has_forwarded |= begins(name, FORWARDED);
            signed.push((name, value));
        }
        if length > MOST_BYTES {
            return Err(NotCanonical::TooLong);
        }
        let mut lowered = Vec::new();
        if has_capitals {
            lowered = signed.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        }
        for ((name, _), lowered) in signed.iter_mut().zip(&lowered) {
            *name = lowered;
        }
        // The sort is stable: values of the same name keep their order.
        signed.sort_by(|(one, _), (other, _)| order(one, other));

        let mut text = Vec::with_capacity(length + "\n\nhost: \n\n".len() + 3 * signed.len());
        push(&mut text, method);
        text.push(b'\n');
        push(&mut text, target);
        if let Some(host) = host {
            text.extend_from_slice(b"\nhost: ");
            push(&mut text, host);
        }
        let mut last: &[u8] = b"";
        for (name, value) in &signed {
            if *name == last {
                text.push(b',');
            } else {
                text.push(b'\n');
                text.extend_from_slice(name);
                text.extend_from_slice(b": ");
            }
            push(&mut text, value);
            last = name;
        }
        if host.is_none() && signed.is_empty() {
            text.push(b'\n');
        }
        text.push(b'\n');
        // Everything in it was ASCII, or has been written as UTF-8.
        let text = String::from_utf8(text).map_err(|_| NotCanonical::Value)?;
        Ok(Self { text, has_forwarded })
    }

    /// The string itself, without the body.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.text.split('\n').next().unwrap_or_default()
    }

    /// The target.
    pub fn target(&self) -> &str {
        self.text.split('\n').nth(1).unwrap_or_default()
    }

    /// The lines of the signed fields, `name: value`, in their order.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n').skip(2).filter(|line| !line.is_empty())
    }

    /// The same string without the fields that begin with `x-forwarded-`; none where it has no such field.
    ///
    /// In the `fo` dialect they belong to what is signed, and proxies add them after the client has signed. Where the
    /// signature of the whole string does not match, verify this one.
    ///
    /// ```
    /// use portcullis_signing::fomalhaut::{Canonical, Dialect, Head};
    ///
    /// let head = Head { method: b"GET", target: b"/", host: b"a" };
    /// let fields = [("X-Forwarded-For", "192.0.2.1"), ("X-Fo-Nonce", "0.5")];
    /// let canonical = Canonical::request(Dialect::Fo, head, fields)?;
    /// let dashed = canonical.without_forwarded().expect("there is an X-Forwarded-For");
    /// assert_eq!(dashed.as_str(), "GET\n/\nhost: a\nx-fo-nonce: 0.5\n");
    /// assert!(dashed.without_forwarded().is_none());
    /// # Ok::<(), portcullis_signing::fomalhaut::NotCanonical>(())
    /// ```
    pub fn without_forwarded(&self) -> Option<Self> {
        if !self.has_forwarded {
            return None;
        }
        let is_forwarded = |line: &str| begins(line.as_bytes(), FORWARDED);
        let mut text = String::with_capacity(self.text.len());
        text.push_str(self.method());
        text.push('\n');
        text.push_str(self.target());
        let head = text.len();
        for line in self.lines().filter(|line| !is_forwarded(line)) {
            text.push('\n');
            text.push_str(line);
        }
        if text.len() == head {
            text.push('\n');
        }
        text.push('\n');
        Some(Self { text, has_forwarded: false })
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canonical({} bytes)", self.text.len())
    }
}

/// How fields begin that proxies add on the way of a request, in lower case.
const FORWARDED: &[u8] = b"x-forwarded-";

/// Whether a name begins like this, in any case.
fn begins(name: &[u8], begin: &[u8]) -> bool {
    name.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin))
}

/// Whether the dialect signs the field: its name has the prefix, and is not that of the signature itself.
fn is_signed(dialect: Dialect, name: &[u8]) -> bool {
    begins(name, dialect.prefix().as_bytes()) && !name.eq_ignore_ascii_case(dialect.signature().as_bytes())
}

/// The order of two lines, by their names. The colon takes part in it: `x-fo-a-b: 1` comes before `x-fo-a: 1`. Names that
/// differ are told apart before their values begin.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    let shared = one.len().min(other.len());
    let rest = |name: &[u8]| name.get(shared).copied().unwrap_or(b':');
    one[..shared].cmp(&other[..shared]).then_with(|| rest(one).cmp(&rest(other)))
}

/// The value as it is signed: trimmed, and on one line.
fn value_of(value: &[u8]) -> Result<&[u8], NotCanonical> {
    if is_visible(value) {
        return Ok(value);
    }
    if value.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(NotCanonical::Value);
    }
    let mut value = value;
    while let [first, rest @ ..] = value
        && is_space(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_space(*last)
    {
        value = rest;
    }
    Ok(value)
}

/// Whether all of it is ASCII that can be seen, as nearly every part of a message is: there is nothing to trim or to refuse.
/// No byte ends the look early, so that many are looked at at once.
fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |visible, byte| visible & byte.is_ascii_graphic())
}

/// Whether a target may have it.
fn is_of_target(byte: u8) -> bool {
    !byte.is_ascii_control() && !is_space(byte)
}

/// White space of ISO-8859-1, as the protocol's first implementation (in Python) trims it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | 0x1c..=0x1f | b' ' | 0x85 | 0xa0)
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    static TOKEN: [bool; 256] = tokens();
    TOKEN[usize::from(byte)]
}

const fn tokens() -> [bool; 256] {
    let mut tokens = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        tokens[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    tokens
}

/// Appends bytes that are read as ISO-8859-1, as UTF-8.
fn push(text: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_ascii() {
        text.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        text.extend_from_slice(char::from(*byte).encode_utf8(&mut [0; 2]).as_bytes());
    }
}
