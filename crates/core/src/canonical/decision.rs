//! The form of a path that decisions are made on.

use std::borrow::Cow;
use std::iter;

use super::push_escape;
use crate::escapes::split_escape;

/// A path as decisions are made on it: canonical, with every escape of a `pchar` decoded. A [`Path`](super::Path) makes it,
/// and nothing else does; what decides by paths takes this type, and so never the spelling of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionPath<'a>(&'a str);

impl<'a> DecisionPath<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The path as text: ASCII, begins with `/`.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// What stands behind so many bytes of it: `/` where nothing does.
    #[must_use]
    pub fn behind(self, matched: usize) -> Self {
        match self.0.get(matched..) {
            Some(rest) if !rest.is_empty() => Self(rest),
            _ => Self("/"),
        }
    }

    /// The path without one slash at its end; that of the root stays.
    #[must_use]
    pub fn without_last_slash(self) -> Self {
        match self.0.strip_suffix('/') {
            Some(path) if !path.is_empty() => Self(path),
            _ => self,
        }
    }

    /// Whether it has a letter beyond ASCII of which systems that disregard case make different things: letters of ASCII
    /// (`ı`, `İ`, `ſ`, the Kelvin sign), several letters (`ß`, `ﬁ`), or one in upper case and another one in lower case
    /// (`ς`). Without regard to case, it has two readings.
    pub fn has_doubtful_case(self) -> bool {
        let mut rest = self.0;
        while let Some(at) = rest.find('%') {
            let (bytes, behind) = escapes(&rest[at..]);
            rest = if bytes.is_empty() { &behind[1..] } else { behind };
            if bytes.utf8_chunks().any(|chunk| chunk.valid().chars().any(is_doubtful)) {
                return true;
            }
        }
        false
    }

    /// The same for services that do not tell upper from lower case.
    pub fn folded(self) -> FoldedPath<'a> {
        FoldedPath(fold(self.0))
    }
}

/// A path in which letters have lost their case, those beyond ASCII too.
#[derive(Debug, Clone)]
pub struct FoldedPath<'a>(Cow<'a, str>);

impl FoldedPath<'_> {
    /// The path to decide on.
    pub fn decision(&self) -> DecisionPath<'_> {
        DecisionPath(&self.0)
    }
}

/// Takes the case away. What some system takes for an ASCII letter in another case (`ſ`, `ı`, `İ`, the Kelvin sign)
/// becomes that letter.
fn fold(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (plain, escaped) = rest.split_at(at);
        out.extend(plain.chars().map(|letter| letter.to_ascii_lowercase()));
        let bytes;
        (bytes, rest) = escapes(escaped);
        if bytes.is_empty() {
            // A path has no '%' that begins no escape.
            out.push('%');
            rest = &rest[1..];
        }
        push_folded(&mut out, &bytes);
    }
    out.extend(rest.chars().map(|letter| letter.to_ascii_lowercase()));
    Cow::Owned(out)
}

/// What the escapes at the beginning of a text stand for, and what is behind them.
fn escapes(text: &str) -> (Vec<u8>, &str) {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((byte, behind)) = split_escape(rest) {
        bytes.push(byte);
        rest = behind;
    }
    (bytes, rest)
}

fn push_folded(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match fold_letter(letter) {
                folded if folded.is_ascii() && !letter.is_ascii() => out.push(folded),
                folded => {
                    let mut encoded = [0; 4];
                    folded.encode_utf8(&mut encoded).bytes().for_each(|byte| push_escape(out, byte));
                }
            }
        }
        chunk.invalid().iter().for_each(|byte| push_escape(out, *byte));
    }
}

/// Whether it depends on the system what a letter is in another case.
fn is_doubtful(letter: char) -> bool {
    !letter.is_ascii() && iter::once(letter).chain(letter.to_lowercase()).any(has_doubtful_cases)
}

fn has_doubtful_cases(letter: char) -> bool {
    let has_ascii = letter.to_lowercase().chain(letter.to_uppercase()).any(|cased| cased.is_ascii());
    let lower_of_upper = letter.to_uppercase().flat_map(char::to_lowercase);
    has_ascii || !lower_of_upper.eq(letter.to_lowercase())
}

/// One letter for one letter: what becomes several is left as it is.
fn fold_letter(letter: char) -> char {
    fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
        letters.next().filter(|_| letters.next().is_none())
    }
    if letter == 'İ' {
        return 'i';
    }
    let upper = only(letter.to_uppercase()).unwrap_or(letter);
    only(upper.to_lowercase()).unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::super::Path;

    #[test]
    fn paths_lose_their_case_and_nothing_else() {
        for (raw, want) in [
            ("/admin/x", "/admin/x"),
            ("/ADMIN/X%2dy", "/admin/x-y"),
            ("/%C3%9Cber", "/%C3%BCber"),
            ("/%C3%BCBER", "/%C3%BCber"),
            ("/to%E2%84%AAens", "/tokens"),
            ("/u%C5%BFers", "/users"),
            ("/adm%C4%B1n", "/admin"),
            ("/adm%C4%B0n", "/admin"),
            ("/stra%C3%9Fe%EF%AC%81", "/stra%C3%9Fe%EF%AC%81"),
            ("/%FF%E9A", "/%FF%E9a"),
            ("/a%25b%20C", "/a%25b%20c"),
        ] {
            let path = Path::parse(raw).expect("a path");
            assert_eq!(path.decision().folded().decision().as_str(), want, "{raw}");
        }
    }

    /// Every letter there is, as it stands in a path.
    #[test]
    fn letters_in_which_systems_differ_without_regard_to_case_are_doubtful() {
        let doubtful = |letter: char| {
            let mut encoded = [0; 4];
            let escaped = letter.encode_utf8(&mut encoded).bytes().map(|byte| format!("%{byte:02X}"));
            let path = format!("/a{}z%20", escaped.collect::<String>());
            Path::parse(&path).is_ok_and(|path| path.decision().has_doubtful_case())
        };
        for letter in "İıſ\u{212A}ßẞﬀﬁﬂﬃﬄﬅﬆŉǰςµΐ".chars() {
            assert!(doubtful(letter), "{letter}");
        }
        for letter in "üÜéÉñøØçžŽπΠжЖ日本あǅ€".chars() {
            assert!(!doubtful(letter), "{letter}");
        }
        // Whatever some case of a letter has of ASCII: the path must not be another one for who reads it so.
        for letter in ('\u{80}'..=char::MAX).filter(|letter| !super::is_doubtful(*letter)) {
            let cases = letter.to_uppercase().chain(letter.to_lowercase()).collect::<Vec<_>>();
            assert!(cases.iter().all(|case| !case.is_ascii()) && cases.len() == 2, "{letter}");
        }
    }

    #[test]
    fn behind_the_whole_path_is_the_root() {
        let path = Path::parse("/orders/v1").expect("a path");
        for (matched, want) in [(0, "/orders/v1"), (7, "/v1"), (10, "/"), (11, "/")] {
            assert_eq!(path.decision().behind(matched).as_str(), want);
        }
    }
}
