//! Regular expressions over paths, as their authors read them: what a path has in escapes alone may be written as it is, and
//! what it has as it is in escapes.

use super::{DecisionPath, push_escape, stands_for_itself};
use crate::escapes::split_escape;

/// A regular expression that matches in the decision form what its author reads in it, or what is wrong with it.
///
/// Escapes and characters become what a path has in their place. In classes, what a path has in escapes cannot stand.
pub fn read_pattern(pattern: &str, ignores_case: bool) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    // How deep in classes.
    let mut class = 0_usize;
    while let Some(first) = rest.chars().next() {
        if class == 0 && rest.starts_with("(?") {
            let flags = rest[2..].split([':', ')']).next().unwrap_or_default();
            let is_flags = flags.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
            let off = flags.split_once('-').map_or("", |(_, off)| off);
            if is_flags && ignores_case && off.contains('i') {
                return Err("case makes no difference here: '(?-i)' would match nothing with a capital".to_owned());
            }
            if is_flags && flags.contains('x') {
                return Err("'(?x)' is not taken: spaces stand for themselves".to_owned());
            }
            out.push_str("(?");
            rest = &rest[2..];
            continue;
        }
        if class > 0 {
            let (text, behind) = member(rest)?;
            match first {
                '[' => class += 1,
                ']' => class -= 1,
                _ => {}
            }
            out.push_str(&text);
            rest = behind;
            continue;
        }
        let (bytes, behind) = literal(rest);
        if bytes.is_empty() {
            class += usize::from(first == '[');
            // A bracket that comes first in a class stands for itself.
            let length = match rest.as_bytes() {
                [b'[', b'^', b']', ..] => 3,
                [b'[', b'^' | b']', ..] | [b'\\', _, ..] => 2,
                _ => 1,
            };
            let length = (length..=rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        push(&mut out, &bytes, ignores_case, behind.starts_with(['*', '+', '?', '{']));
        rest = behind;
    }
    Ok(out)
}

/// The bytes of the one character that a pattern begins with, where it stands for itself in some spelling; none otherwise.
fn literal(text: &str) -> (Vec<u8>, &str) {
    let unescaped = text.strip_prefix("\\%").map(|_| &text[1..]);
    let escaped = unescaped.unwrap_or(text);
    if let Some((byte, mut behind)) = split_escape(escaped) {
        let mut bytes = vec![byte];
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        while bytes.len() < length
            && let Some((byte @ 0x80..=0xBF, next)) = split_escape(behind)
        {
            bytes.push(byte);
            behind = next;
        }
        return (bytes, behind);
    }
    if unescaped.is_some() {
        return (b"%".to_vec(), &text[2..]);
    }
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some('\\'), Some(letter @ (' ' | '"' | '#' | '[' | ']' | '{' | '}' | '^' | '|' | '`' | '?'))) => {
            (letter.to_string().into_bytes(), letters.as_str())
        }
        (Some('\\'), Some('s')) => (b" ".to_vec(), letters.as_str()),
        (Some('\\'), Some('x')) => match text.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if byte.is_ascii() => (vec![byte], &text[4..]),
            _ => (Vec::new(), text),
        },
        (Some(letter @ (' ' | '"' | '#' | '<' | '>' | '`')), _) => {
            (vec![u8::try_from(letter).unwrap_or(b' ')], &text[1..])
        }
        (Some(letter), _) if !letter.is_ascii() => (letter.to_string().into_bytes(), &text[letter.len_utf8()..]),
        _ => (Vec::new(), text),
    }
}

/// What a path has for a character, in one piece where something behind it counts it.
fn push(out: &mut String, bytes: &[u8], ignores_case: bool, counted: bool) {
    let mut text = String::new();
    for byte in bytes {
        // A slash or a semicolon in an escape stays one.
        if stands_for_itself(*byte) && !matches!(byte, b'/' | b';') {
            text.push(char::from(*byte));
        } else {
            push_escape(&mut text, *byte);
        }
    }
    if ignores_case {
        text = DecisionPath::new(&text).folded().decision().as_str().to_owned();
    }
    if let [byte] = text.as_bytes() {
        if !byte.is_ascii_alphanumeric() && *byte != b'_' {
            out.push('\\');
        }
        out.push_str(&text);
    } else if counted {
        out.push_str(&format!("(?:{text})"));
    } else {
        out.push_str(&text);
    }
}

/// One character of a class. What a path has in escapes is many characters there.
fn member(text: &str) -> Result<(String, &str), String> {
    let unescaped = if text.starts_with("\\%") { &text[1..] } else { text };
    if let Some((byte, behind)) = split_escape(unescaped) {
        if !stands_for_itself(byte) || matches!(byte, b'/' | b';') {
            let shown = &unescaped[..3];
            return Err(format!(
                "'{shown}' stays escaped in paths, so it is not one character and cannot stand in a class '[…]'; write '(?:…|{shown})' instead"
            ));
        }
        let slash = if byte.is_ascii_alphanumeric() || byte == b'_' { "" } else { "\\" };
        return Ok((format!("{slash}{}", char::from(byte)), behind));
    }
    let length = match text.chars().next() {
        Some(letter) if !letter.is_ascii() => {
            return Err(format!(
                "'{letter}' stands in no class, since paths have it escaped; write '(?:…|{letter})' instead"
            ));
        }
        Some('\\') => 1 + text.chars().nth(1).map_or(0, char::len_utf8),
        _ => 1,
    };
    Ok((text[..length].to_owned(), &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::read_pattern;

    #[test]
    fn patterns_become_what_paths_have() {
        for (pattern, folds, want) in [
            ("^/users/%40me$", false, r"^/users/\@me$"),
            (r"^/a\%40b", false, r"^/a\@b"),
            ("^/a%2Bb%2bc", false, r"^/a\+b\+c"),
            ("^/%61%5F", false, "^/a_"),
            ("^/a%2fb%3b%20%c3%a9", false, "^/a%2Fb%3B%20%C3%A9"),
            ("^/%C3%9Cber", true, "^/%C3%BCber"),
            ("^/\u{DC}ber+", false, "^/%C3%9Cber+"),
            ("^/\u{DC}+", true, "^/(?:%C3%BC)+"),
            ("^/a b?", false, "^/a%20b?"),
            (r"^/\[a\]+", false, "^/%5Ba(?:%5D)+"),
            (r"^/a\x20\sb\?", false, "^/a%20%20b%3F"),
            ("^/[%40-Z]x[^/]", false, r"^/[\@-Z]x[^/]"),
            ("^/[]%61]x[[:alpha:]%40]%c3", false, r"^/[]a]x[[:alpha:]\@]%C3"),
            ("^/100%$", false, "^/100%$"),
            ("^/%", false, "^/%"),
            ("^/%4\u{e9}", false, "^/%4%C3%A9"),
            (r"^/\d+\.(?:x|y)", false, r"^/\d+\.(?:x|y)"),
        ] {
            assert_eq!(read_pattern(pattern, folds).as_deref(), Ok(want), "{pattern}");
        }
        for pattern in ["^/[%20a]", "^/[\u{e9}]", "^/(?x)a b", "^/[^%2f]"] {
            assert!(read_pattern(pattern, false).is_err(), "{pattern}");
        }
        assert!(read_pattern("^/(?-i)A", true).is_err() && read_pattern("^/(?-i)A", false).is_ok());
    }

    #[test]
    fn fuzz_pattern() {
        let seeds = [
            "^/users/[0-9]+$",
            "^/(?i)a|b$",
            "^/é/[a-z_~]*",
            "^/%40me/\\x41\\/",
            "^/a{2,3}(?P<x>.)",
            "[^]a[b]&&[c]]",
            "(?x) a",
        ];
        crate::fuzzing::run("pattern", &seeds, |input| {
            let Ok(pattern) = std::str::from_utf8(input) else { return None };
            let read = read_pattern(pattern, false);
            // Where case makes no difference, less is taken, and only letters beyond ASCII are read differently.
            let ignoring = read_pattern(pattern, true);
            if let (true, Ok(read), Ok(ignoring)) = (pattern.is_ascii(), &read, &ignoring) {
                assert_eq!(read.to_ascii_lowercase(), ignoring.to_ascii_lowercase());
            }
            // Paths are ASCII, and so is what is matched against them; what stands behind a backslash no expression may have.
            let mut before = ' ';
            for letter in read.iter().flat_map(|read| read.chars()) {
                assert!(letter.is_ascii() || before == '\\', "{read:?}");
                before = letter;
            }
            Some((
                read.as_ref()
                    .map(|read| read.len().min(40))
                    .map_err(|message| message.chars().take(12).collect::<String>()),
                ignoring.is_ok(),
            ))
        });
    }
}
