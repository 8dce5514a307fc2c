//! Paths in every spelling, in both of their forms and all of their readings.

use proptest::prelude::*;

use super::*;

/// Both forms.
fn forms(raw: &str) -> Result<(String, String), &'static str> {
    let path = Path::parse(raw).map_err(|refusal| refusal.code())?;
    Ok((path.forwarded().to_owned(), path.decision().as_str().to_owned()))
}

/// A path of which both forms are the same.
fn canonical(raw: &str) -> Result<String, &'static str> {
    let (forwarded, decision) = forms(raw)?;
    assert_eq!(forwarded, decision, "{raw}");
    Ok(forwarded)
}

#[test]
fn paths_become_canonical() {
    for (raw, want) in [
        ("/", "/"),
        ("/orders/v1/7", "/orders/v1/7"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/../../a", "/a"),
        ("//a///b//", "/a/b/"),
        ("/a//../b", "/b"),
        ("/%61%7e%7E", "/a~~"),
        ("/a%3fb%23", "/a%3Fb%23"),
        ("/%252e%252e/", "/%252e%252e/"),
        ("/a b", "/a%20b"),
        ("/ü", "/%C3%BC"),
        ("/.hidden/..x", "/.hidden/..x"),
        ("/%e9%ff", "/%E9%FF"),
    ] {
        assert_eq!(canonical(raw).as_deref(), Ok(want), "{raw}");
    }
}

#[test]
fn every_escape_is_decided_on_as_what_it_stands_for() {
    for byte in 0_u8..=255 {
        let (upper, lower) = (format!("/a%{byte:02X}b"), format!("/a%{byte:02x}b"));
        assert_eq!(forms(&upper), forms(&lower), "{byte:#x}");
        let text = char::from(byte);
        let want = match byte {
            0 => Err("nul_in_path"),
            1..=31 | 127 => Err("control_in_path"),
            b'\\' => Err("backslash_in_path"),
            // A slash separates nothing, and a parameter's sign stays escaped, where they are escaped.
            b'/' | b';' => Ok((upper.clone(), upper.clone())),
            _ if is_unreserved(byte) => Ok((format!("/a{text}b"), format!("/a{text}b"))),
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {
                let plain = format!("/a{text}b");
                assert_eq!(forms(&plain), Ok((plain.clone(), plain.clone())), "unescaped");
                Ok((upper.clone(), plain))
            }
            _ => Ok((upper.clone(), upper.clone())),
        };
        assert_eq!(forms(&upper), want, "{byte:#x}");
        let path = Path::parse(&upper).ok();
        let marks = path.map(|path| (path.has_parameters(), path.has_encoded_slash()));
        assert_eq!(marks.unwrap_or_default(), (byte == b';', byte == b'/'), "{byte:#x}");
    }
}

#[test]
fn what_has_two_readings_is_refused() {
    for (raw, code) in [
        ("/a%00", "nul_in_path"),
        ("/a\\b", "backslash_in_path"),
        ("/a%5c..", "backslash_in_path"),
        ("/a\u{7f}", "control_in_path"),
        ("/a%zz", "bad_escape"),
        ("/a%2", "bad_escape"),
        ("/a%", "bad_escape"),
        ("/a/..;/b", "dot_segment_parameter"),
        ("/a/%2e%2e;x/b", "dot_segment_parameter"),
        ("/a/..%3bx/b", "dot_segment_parameter"),
        ("/a/.%3B;", "dot_segment_parameter"),
        ("/a/x%2f..%2fb", "encoded_slash"),
        ("/a/..%2fb", "encoded_slash"),
        ("/a/b%2F%2e", "encoded_slash"),
        ("/a/b%2F..;x", "dot_segment_parameter"),
        ("*", "bad_target"),
        ("", "bad_target"),
    ] {
        assert_eq!(forms(raw), Err(code), "{raw}");
    }
}

#[test]
fn overlong_utf8_and_surrogates_are_refused_and_other_bytes_are_opaque() {
    for raw in [
        "%C0%AF",
        "%c0%ae%c0%ae",
        "%C1%81",
        "%E0%80%AF",
        "%E0%9F%BF",
        "%F0%80%80%AF",
        "%F0%8F%BF%BF",
        "%F8%80%80%80%AF",
        "%FC%80%80%80%80%AF",
        "%ED%A0%80",
        "%ED%BF%BF",
        "x%C0%AEy",
    ] {
        assert_eq!(forms(&format!("/{raw}")), Err("bad_utf8"), "{raw}");
    }
    for (raw, is_text) in [
        ("%C3%BC", true),
        ("%E2%82%AC", true),
        ("%ED%9F%BF", true),
        ("%EE%80%80", true),
        ("%F0%9F%98%80", true),
        ("%E9", false),
        ("%FF%FE", false),
        ("%C0", false),
        ("%80", false),
        ("%E0%A0", false),
    ] {
        let path = Path::parse(&format!("/{raw}")).expect("opaque");
        assert_eq!((path.forwarded(), path.is_text()), (&*format!("/{raw}"), is_text));
    }
}

#[test]
fn a_path_with_parameters_has_all_its_readings() {
    for (raw, want) in [
        ("/a/b", &[][..]),
        ("/a;p=1/b", &["/a/b"]),
        ("/a%3Bp/b", &["/a;p/b", "/a/b"]),
        ("/;/admin/x", &["/admin/x"]),
        ("/;x;y", &["/"]),
        ("/a;p%3Bq", &["/a;p;q", "/a"]),
        ("/a%3Bp;q", &["/a;p;q", "/a", "/a;p", "/a%3Bp"]),
        ("/a;x/../b", &[]),
    ] {
        let path = Path::parse(raw).expect("a path");
        let readings: Vec<_> = path.readings().map(DecisionPath::as_str).collect();
        assert_eq!(readings, want, "{raw}");
        assert_eq!(path.has_parameters(), raw.contains([';', '%']), "{raw}");
        assert!(path.forwarded() == raw || want.is_empty(), "{raw}");
    }
}

#[test]
fn parameters_and_slashes_of_a_segment_that_is_taken_away_are_told() {
    for raw in ["/;/..", "/a;x/../b", "/%3B/../", "/a/b;c/../../d"] {
        assert!(Path::parse(raw).expect("a path").has_parameters(), "{raw}");
    }
    assert!(Path::parse("/a%2Fb/../c").expect("a path").has_encoded_slash());
}

#[test]
fn what_is_forwarded_behind_a_match_keeps_its_spelling() {
    for (raw, matched, want) in [
        ("/a/b/c", "/a/b", "/c"),
        ("/a/b", "/a/b", ""),
        ("/users/%40me/x%3Ay", "/users", "/%40me/x%3Ay"),
        ("/users/%40me/x%3Ay", "/users/@me", "/x%3Ay"),
        ("/%40/%41/", "/@/A", "/"),
        ("/%40", "/@", ""),
        ("/%40/x", "", "/%40/x"),
    ] {
        let path = Path::parse(raw).expect("a path");
        assert!(path.decision().as_str().starts_with(matched));
        assert_eq!(path.forwarded_behind(matched.len()), want, "{raw} {matched}");
    }
}

proptest! {
    #[test]
    fn canonicalising_twice_is_canonicalising_once(raw in "(/|\\.|%2e|%2E|%2|%|;|%3B|%2F|%40|a|B|~| |ü|%C3|%3f|%25){0,24}") {
        let raw = format!("/{raw}");
        if let Ok(path) = Path::parse(&raw) {
            let twice = Path::parse(path.forwarded()).expect("a path");
            prop_assert_eq!((twice.forwarded(), twice.decision()), (path.forwarded(), path.decision()));
            // What a '..' has taken away with its segment is marked once, and gone the next time.
            prop_assert!(path.has_parameters() || !twice.has_parameters());
            prop_assert!(path.has_encoded_slash() || !twice.has_encoded_slash());
            let mut readings = path.readings();
            prop_assert!(twice.readings().all(|reading| readings.any(|first| first == reading)));
            let again = Path::parse(path.decision().as_str()).expect("a path");
            prop_assert_eq!(again.decision(), path.decision());
            for form in [path.forwarded(), path.decision().as_str()].into_iter().chain(path.readings().map(DecisionPath::as_str)) {
                prop_assert!(form.starts_with('/') && !form.contains("//") && !form.contains('\\') && form.is_ascii());
                prop_assert!(form.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }

    #[test]
    fn no_encoding_of_a_path_escapes_its_decision_form(
        segments in proptest::collection::vec("[a-z!$&'()*+,=:@]{1,3}", 1..5),
        choice in proptest::collection::vec(0_u8..4, 64),
    ) {
        // Every character of a segment may be escaped or not, every slash doubled or followed by '.'.
        let plain = format!("/{}", segments.join("/"));
        let mut raw = String::new();
        for (character, choice) in plain.chars().zip(choice) {
            match (character, choice) {
                ('/', 1) => raw.push_str("//"),
                ('/', 2) => raw.push_str("/./"),
                ('/', 3) => raw.push_str("/zz/%2E./"),
                ('/', _) => raw.push('/'),
                (other, 1) => raw.push_str(&format!("%{:02x}", u32::from(other))),
                (other, 2) => raw.push_str(&format!("%{:02X}", u32::from(other))),
                (other, _) => raw.push(other),
            }
        }
        let path = Path::parse(&raw).expect("a path");
        prop_assert_eq!(path.decision().as_str(), &plain);
        // What is forwarded stands for the same, segment by segment.
        let mut at = 0;
        for segment in &segments {
            at += 1 + segment.len();
            let left = plain[at..].matches('/').count();
            prop_assert_eq!(path.forwarded_behind(at).matches('/').count(), left);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(raw in "\\PC{0,40}", escaped in "(/|%[0-9A-Fa-f]{2}|;|a){0,24}") {
        for raw in [raw, format!("/{escaped}")] {
            if let Ok(path) = Path::parse(&raw) {
                let _ = (path.is_text(), path.decision().folded().decision().as_str().len());
                for at in 0..=path.decision().as_str().len() {
                    let _ = path.forwarded_behind(at);
                }
            }
        }
    }

    #[test]
    fn the_short_way_to_a_path_is_the_long_way(raw in "(/|/|\\.|%2e|%41|a|B7|~|_-|:@|\\$&'()\\*\\+,=|;| |ü|\"|<|\u{7f}){0,12}") {
        for raw in [&raw, &format!("/{raw}")] {
            let result = |path: Result<Path, Refusal>| path.map_err(|refusal| refusal.code());
            let short = result(Path::parse(raw));
            prop_assert_eq!(short, result(Path::resolve(raw)));
        }
    }
}

/// Escapes undone once, as a server does that decodes what it gets.
fn unescaped(path: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let byte = digits.and_then(|digits| Some(hex_value(digits[0])? << 4 | hex_value(digits[1])?));
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes
}

#[test]
fn fuzz_path() {
    let seeds = [
        "/orders/v1/7",
        "/a//b/./c/../d",
        "/%7Eann/%40me",
        "/a%2Fb",
        "/a;v=1/b",
        "/%e2%84%aa",
        "/a%3Bb=2;c/..;/d",
        "/.%2e/",
        "/a%5Cb",
    ];
    crate::fuzzing::run("path", &seeds, |input| {
        let Ok(raw) = std::str::from_utf8(input) else { return None };
        let (read, slowly) = (Path::parse(raw), Path::resolve(raw));
        // The short way for plain paths says the same as the long one.
        let path = match (read, slowly) {
            (Ok(read), Ok(slowly)) => {
                assert_eq!(read.forwarded(), slowly.forwarded());
                assert_eq!((read.decision(), read.has_parameters()), (slowly.decision(), slowly.has_parameters()));
                read
            }
            (Err(read), Err(slowly)) => {
                assert_eq!(read, slowly);
                return Some((read.code(), 0, false, false, 0));
            }
            (read, slowly) => panic!("{read:?} {slowly:?}"),
        };
        let (forwarded, decision) = (path.forwarded(), path.decision().as_str());
        for form in [forwarded, decision] {
            assert!(form.starts_with('/') && form.is_ascii() && !form.contains("//") && !form.contains('\\'), "{form}");
            assert!(form.bytes().all(|byte| byte.is_ascii_graphic()), "{form}");
            assert!(form.split('/').all(|segment| segment != "." && segment != ".."), "{form}");
        }
        // What is forwarded is canonical itself, is decided alike when it comes again, and means the same to a server.
        let again = Path::parse(forwarded).expect("canonical");
        assert_eq!((again.forwarded(), again.decision()), (forwarded, path.decision()));
        // What stood in a segment that a dot segment took away is marked all the same: some server may not take it away.
        assert!(path.has_parameters() || !again.has_parameters());
        assert!(path.has_encoded_slash() || !again.has_encoded_slash());
        assert_eq!(unescaped(forwarded), unescaped(decision));
        let slashes = |text: &str| text.matches('/').count();
        assert_eq!(slashes(forwarded), slashes(decision));
        for (at, _) in decision.match_indices('/') {
            assert_eq!(slashes(path.forwarded_behind(at)), slashes(&decision[at..]));
        }
        let folded = path.decision().folded();
        assert_eq!(folded.decision().folded().decision(), folded.decision());
        let readings = path.readings().count();
        Some(("", slashes(decision).min(6), path.has_parameters(), path.has_encoded_slash(), readings))
    });
}
