//! The shape of single files: what they are called, how they begin, how long they are, what they must not carry.

use super::Objections;

/// Lines a file may have without its unit tests.
const LINES: usize = 500;

/// Bytes a file in the repository may have.
const BYTES: usize = 1024 * 1024;

/// Words that name no subject.
const EMPTY_WORDS: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "commons", "manager", "managers"];

/// A file begins with `//!`, after a shebang or attributes of the whole file.
pub(super) fn says_what_it_is_for(path: &str, text: &str) -> Objections {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.starts_with("#![") {
            rest = after_attribute(rest);
        } else if rest.starts_with("#!") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else {
            break;
        }
    }
    let says = rest.lines().next().and_then(|line| line.strip_prefix("//!")).is_some_and(|it| !it.trim().is_empty());
    if says { Vec::new() } else { vec![format!("{path} does not begin with a `//!` that says what it is for")] }
}

fn after_attribute(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 1 => return &text[at + 1..],
            b']' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// A file has at most 500 lines beside its `#[cfg(test)] mod tests { … }`. Files of tests may be longer.
pub(super) fn is_short(path: &str, text: &str) -> Objections {
    let holds_tests = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
    let lines = without_tests(text).len();
    if holds_tests || lines <= LINES {
        return Vec::new();
    }
    vec![format!("{path} has {lines} lines without its tests; past {LINES} a file has two subjects: part them")]
}

/// The lines of a file without its unit tests.
pub(super) fn without_tests(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().collect();
    let Some(start) = lines.iter().rposition(|line| *line == "#[cfg(test)]") else { return lines };
    let opens = lines[start..].iter().find(|line| !line.starts_with("#["));
    if !opens.is_some_and(|line| line.starts_with("mod tests {")) {
        return lines;
    }
    let end = lines[start..].iter().position(|line| *line == "}").map_or(lines.len(), |length| start + length + 1);
    [&lines[..start], &lines[end..]].concat()
}

/// Neither a file nor a folder on the way to it is called by an empty word.
pub(super) fn is_named_after_its_subject(path: &str) -> Objections {
    let words = path.trim_end_matches(".rs").split(['/', '_', '-']);
    words
        .filter(|word| EMPTY_WORDS.contains(word))
        .map(|word| format!("{path} is called '{word}': name it after its subject"))
        .collect()
}

/// A file can be read on any machine: text, not large, and without paths of the machine it was written on.
pub(super) fn travels(path: &str, bytes: &[u8]) -> Objections {
    let mut objections = Vec::new();
    if bytes.len() > BYTES {
        objections.push(format!("{path} has {} bytes; the repository holds files up to {BYTES}", bytes.len()));
    }
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')) else {
        objections.push(format!("{path} is not text"));
        return objections;
    };
    for (at, line) in text.lines().enumerate() {
        // In two pieces, so that this file passes its own rule.
        let at_home = [concat!("/ro", "ot/"), concat!("/ho", "me/")].into_iter().find(|home| line.contains(home));
        if let Some(home) = at_home {
            objections.push(format!("{path}:{} holds a path of one machine ({home}…)", at + 1));
        }
    }
    objections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_purpose_is_found() {
        let purpose = |text: &str| says_what_it_is_for("a.rs", text).len();
        assert_eq!(purpose("//! Routes.\n\nuse std::fmt;\n"), 0);
        assert_eq!(purpose("#!/usr/bin/env run\n#![allow(\n    dead_code,\n)]\n\n//! Routes.\n"), 0);
        assert_eq!(purpose("#![doc(html_no_source)] //! Routes.\n"), 0);
        assert_eq!(purpose("use std::fmt;\n//! Routes.\n"), 1);
        assert_eq!(purpose("// Routes.\n"), 1);
        assert_eq!(purpose("//!\n//! \n"), 1);
        assert_eq!(purpose("#![allow(dead_code"), 1);
        assert_eq!(purpose(""), 1);
    }

    #[test]
    fn a_long_file_is_found() {
        let code = |lines: usize| "let a = 1;\n".repeat(lines);
        let tests = format!("#[cfg(test)]\n#[allow(dead_code)]\nmod tests {{\n    {}}}\n", code(400));
        assert_eq!(is_short("a.rs", &code(500)).len(), 0);
        assert_eq!(is_short("a.rs", &code(501)).len(), 1);
        assert_eq!(is_short("a.rs", &(code(500) + &tests)).len(), 0);
        assert_eq!(is_short("a.rs", &(code(501) + &tests)).len(), 1);
        assert_eq!(is_short("tests/main/a.rs", &code(501)).len(), 0);
        assert_eq!(is_short("crates/core/src/tests.rs", &code(501)).len(), 0);
    }

    #[test]
    fn code_is_not_hidden_behind_tests() {
        let code = "let a = 1;\n".repeat(501);
        assert_eq!(is_short("a.rs", &format!("#[cfg(test)]\nmod tests {{\n}}\n{code}")).len(), 1);
        assert_eq!(is_short("a.rs", &format!("#[cfg(test)]\nfn only_in_tests() {{\n{code}}}\n")).len(), 1);
    }

    #[test]
    fn an_empty_name_is_found() {
        let named = |path: &str| is_named_after_its_subject(path).len();
        assert_eq!(named("crates/core/src/call.rs"), 0);
        assert_eq!(named("crates/core/src/commonwealth.rs"), 0);
        for path in ["src/utils.rs", "src/helpers/mod.rs", "tests/common/mod.rs", "src/key_manager.rs"] {
            assert_eq!(named(path), 1, "{path}");
        }
    }

    #[test]
    fn what_does_not_travel_is_found() {
        let travels = |bytes: &[u8]| travels("a", bytes).len();
        assert_eq!(travels(b"plain\n"), 0);
        assert_eq!(travels(&vec![b'a'; BYTES]), 0);
        assert_eq!(travels(&vec![b'a'; BYTES + 1]), 1);
        assert_eq!(travels(b"with a \0 in it"), 1);
        assert_eq!(travels(b"\xff\xfe"), 1);
        assert_eq!(travels(concat!("see /ho", "me/me/x").as_bytes()), 1);
        assert_eq!(travels(concat!("a\nsee /ro", "ot/x\n").as_bytes()), 1);
    }
}
