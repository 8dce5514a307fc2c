//! A path, read once: what is forwarded, what decisions are made on, and what others could read it as.

use std::fmt;
use std::sync::Arc;

use super::{DOUBTFUL, DecisionPath, FOREIGN, KINDS, SLASH, is_unreserved, push_escape, stands_for_itself};
use crate::escapes::hex_value;
use crate::refusal::Refusal;

/// A canonical path: begins with `/`, has no dot segment, no `//`, no control, no backslash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path {
    forwarded: Arc<str>,
    /// Set where there is more to it than one text. Nearly never.
    forms: Option<Arc<Forms>>,
}

/// The forms of a path that differ from what is forwarded.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Forms {
    decision: Box<str>,
    /// What servers read that decode `%3B`, or cut parameters off; each differs from the others and from `decision`.
    readings: Box<[Box<str>]>,
    has_parameters: bool,
    has_encoded_slash: bool,
}

impl Path {
    /// Brings the path of a request target into canonical form, or says with 400 why it cannot be. What only some routes
    /// take (parameters, encoded slashes) is marked, and theirs to refuse.
    ///
    /// ```
    /// use portcullis_core::canonical::Path;
    ///
    /// let path = Path::parse("/orders//v1/./%7Eann/%40me")?;
    /// assert_eq!(path.forwarded(), "/orders/v1/~ann/%40me"); // What the service gets.
    /// assert_eq!(path.decision().as_str(), "/orders/v1/~ann/@me"); // What routes and rules see.
    ///
    /// // Some servers cut parameters off, others do not: the route says whether it takes such a path.
    /// let path = Path::parse("/admin;v=1/users")?;
    /// assert!(path.has_parameters());
    /// assert!(path.readings().any(|reading| reading.as_str() == "/admin/users"));
    ///
    /// assert_eq!(Path::parse("/a%00b").unwrap_err().facts().status, 400);
    /// # Ok::<(), portcullis_core::refusal::Refusal>(())
    /// ```
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        if is_canonical(raw) { Ok(Self { forwarded: raw.into(), forms: None }) } else { Self::resolve(raw) }
    }

    /// The root.
    pub fn root() -> Self {
        Self { forwarded: "/".into(), forms: None }
    }

    /// The same for a path of which something may have to be changed.
    fn resolve(raw: &str) -> Result<Self, Refusal> {
        if !raw.starts_with('/') {
            return Err(Refusal::malformed("bad_target", "a path begins with '/'"));
        }
        let (mut forwarded, mut decision) = (String::with_capacity(raw.len()), String::with_capacity(raw.len()));
        let (mut has_parameters, mut has_encoded_slash) = (false, false);
        for raw in raw.split('/').skip(1) {
            let segment = Segment::read(raw)?;
            // Also of a segment that a '..' behind it takes away: not every server resolves it as the gateway does.
            has_parameters |= segment.has_parameters;
            has_encoded_slash |= segment.has_encoded_slash;
            match segment.decision.as_str() {
                "" | "." => {
                    end_with_slash(&mut forwarded);
                    end_with_slash(&mut decision);
                }
                ".." => {
                    go_up(&mut forwarded);
                    go_up(&mut decision);
                }
                _ => {
                    end_with_slash(&mut forwarded);
                    end_with_slash(&mut decision);
                    forwarded.push_str(&segment.forwarded);
                    decision.push_str(&segment.decision);
                }
            }
        }
        let readings = if has_parameters { readings(&decision) } else { Box::default() };
        let has_forms = decision != forwarded || has_parameters || has_encoded_slash;
        let forms = has_forms
            .then(|| Arc::new(Forms { decision: decision.into(), readings, has_parameters, has_encoded_slash }));
        Ok(Self { forwarded: forwarded.into(), forms })
    }

    /// The path as it is forwarded, in the caller's spelling. Never to be decided on.
    pub fn forwarded(&self) -> &str {
        &self.forwarded
    }

    /// The same as a shared text, without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.forwarded)
    }

    /// The path to decide on.
    pub fn decision(&self) -> DecisionPath<'_> {
        DecisionPath::new(self.forms.as_ref().map_or(&self.forwarded, |forms| &forms.decision))
    }

    /// What else the path could be read as, because it has parameters: nothing, for nearly all paths.
    pub fn readings(&self) -> impl Iterator<Item = DecisionPath<'_>> {
        let readings = self.forms.as_ref().map_or(&[][..], |forms| &forms.readings);
        readings.iter().map(|reading| DecisionPath::new(reading))
    }

    /// Whether a segment has parameters: `;` or its escape (RFC 3986 section 3.3).
    pub fn has_parameters(&self) -> bool {
        self.forms.as_ref().is_some_and(|forms| forms.has_parameters)
    }

    /// Whether a slash is escaped in it: `%2F`.
    pub fn has_encoded_slash(&self) -> bool {
        self.forms.as_ref().is_some_and(|forms| forms.has_encoded_slash)
    }

    /// What is forwarded of it behind so many bytes of the form it is decided on, which end a segment.
    pub fn forwarded_behind(&self, matched: usize) -> &str {
        let Some(forms) = &self.forms else { return self.forwarded.get(matched..).unwrap_or("") };
        // Both forms have the same segments.
        let segments = forms.decision.as_bytes().iter().take(matched).filter(|byte| **byte == b'/').count();
        let mut slashes = self.forwarded.match_indices('/');
        slashes.nth(segments).map_or("", |(at, _)| &self.forwarded[at..])
    }

    /// Whether what its escapes stand for is UTF-8. What is not matches nothing that is declared.
    pub fn is_text(&self) -> bool {
        let mut bytes = Vec::with_capacity(self.forwarded.len());
        let mut rest = self.forwarded.bytes();
        while let Some(byte) = rest.next() {
            let digits =
                |rest: &mut std::str::Bytes<'_>| Some(hex_value(rest.next()?)? << 4 | hex_value(rest.next()?)?);
            bytes.push(if byte == b'%' { digits(&mut rest).unwrap_or(byte) } else { byte });
        }
        std::str::from_utf8(&bytes).is_ok()
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.forwarded, f)
    }
}

fn end_with_slash(path: &mut String) {
    if !path.ends_with('/') {
        path.push('/');
    }
}

fn go_up(path: &mut String) {
    if path.ends_with('/') {
        path.pop();
    }
    path.truncate(path.rfind('/').unwrap_or(0));
    path.push('/');
}

/// Whether nothing needs to be done: the way of nearly every call. Where there is a doubt, the slow way looks.
fn is_canonical(raw: &str) -> bool {
    let (mut before, mut doubts) = (0, 0);
    for &byte in raw.as_bytes() {
        let kind = KINDS[usize::from(byte)];
        doubts |= kind & (FOREIGN | (before & SLASH) >> 1);
        before = kind;
    }
    const { assert!(SLASH >> 1 == DOUBTFUL) };
    doubts == 0 && raw.starts_with('/')
}

/// One segment in both forms.
#[derive(Default)]
struct Segment {
    forwarded: String,
    decision: String,
    has_parameters: bool,
    has_encoded_slash: bool,
}

impl Segment {
    fn read(raw: &str) -> Result<Self, Refusal> {
        let mut segment = Self::default();
        let mut bytes = raw.bytes();
        let mut last = 0;
        while let Some(byte) = bytes.next() {
            let (byte, escaped) = if byte == b'%' {
                let digits = (bytes.next().and_then(hex_value), bytes.next().and_then(hex_value));
                let (Some(high), Some(low)) = digits else {
                    return Err(Refusal::malformed("bad_escape", "'%' is followed by two hex digits"));
                };
                (high << 4 | low, true)
            } else {
                (byte, false)
            };
            segment.push(byte, escaped, last)?;
            last = byte;
        }
        segment.refuse_hidden_dots()?;
        Ok(segment)
    }

    fn push(&mut self, byte: u8, escaped: bool, last: u8) -> Result<(), Refusal> {
        match byte {
            0 => return Err(Refusal::malformed("nul_in_path", "a path has no NUL")),
            1..=31 | 127 => return Err(Refusal::malformed("control_in_path", "a path has no control characters")),
            b'\\' => return Err(Refusal::malformed("backslash_in_path", "a path has no backslash")),
            byte if is_no_utf8(last, byte) => {
                return Err(Refusal::malformed("bad_utf8", "a path has no overlong UTF-8 and no surrogates"));
            }
            b'/' => {
                // Unescaped it would not be inside of a segment.
                self.has_encoded_slash = true;
                push_escape(&mut self.forwarded, byte);
                push_escape(&mut self.decision, byte);
            }
            b';' => {
                self.has_parameters = true;
                for form in [&mut self.forwarded, &mut self.decision] {
                    if escaped { push_escape(form, byte) } else { form.push(';') }
                }
            }
            byte if is_unreserved(byte) || (!escaped && stands_for_itself(byte)) => {
                self.forwarded.push(char::from(byte));
                self.decision.push(char::from(byte));
            }
            byte => {
                push_escape(&mut self.forwarded, byte);
                if stands_for_itself(byte) {
                    self.decision.push(char::from(byte));
                } else {
                    push_escape(&mut self.decision, byte);
                }
            }
        }
        Ok(())
    }

    /// Some servers cut parameters off, or decode slashes, before they resolve dot segments.
    fn refuse_hidden_dots(&self) -> Result<(), Refusal> {
        if !self.has_parameters && !self.has_encoded_slash {
            return Ok(());
        }
        for part in self.decision.split("%2F") {
            let name = cut(part);
            if !matches!(name, "." | "..") {
                continue;
            }
            return Err(if name.len() == part.len() {
                Refusal::malformed("encoded_slash", "no encoded slash stands beside a dot segment")
            } else {
                Refusal::malformed("dot_segment_parameter", "a dot segment carries no parameters")
            });
        }
        Ok(())
    }
}

/// Whether two bytes begin what looks like UTF-8 and is another way to write a shorter character, or half of one from
/// UTF-16 (RFC 3629 section 3).
fn is_no_utf8(last: u8, byte: u8) -> bool {
    matches!(
        (last, byte),
        (0xC0 | 0xC1, 0x80..=0xBF)
            | (0xE0, 0x80..=0x9F)
            | (0xED, 0xA0..=0xBF)
            | (0xF0, 0x80..=0x8F)
            | (0xF8, 0x80..=0x87)
            | (0xFC, 0x80..=0x83)
    )
}

/// What stands before the parameters of a segment.
fn cut(segment: &str) -> &str {
    let raw = segment.split(';').next().unwrap_or_default();
    raw.split("%3B").next().unwrap_or_default()
}

/// What servers make of a path with parameters, beside what it says: they decode the escape, or cut parameters off
/// before or behind that.
fn readings(path: &str) -> Box<[Box<str>]> {
    let decoded = |path: &str| path.replace("%3B", ";");
    let cut_at = |cut: fn(&str) -> &str| {
        let mut plain = String::with_capacity(path.len());
        for segment in path.split('/').skip(1) {
            end_with_slash(&mut plain);
            plain.push_str(cut(segment));
        }
        plain
    };
    let raw_cut = cut_at(|segment| segment.split(';').next().unwrap_or_default());
    let mut all: Vec<Box<str>> = Vec::with_capacity(4);
    for reading in [decoded(path), cut_at(cut), decoded(&raw_cut), raw_cut] {
        if reading != path && !all.iter().any(|held| **held == *reading) {
            all.push(reading.into());
        }
    }
    all.into()
}

#[cfg(test)]
mod tests;
