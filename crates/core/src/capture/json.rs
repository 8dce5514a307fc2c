//! JSON that may be cut anywhere, without the values of hidden names.
//!
//! A reader of tokens that follows the grammar strictly, so that at every byte it is known what is a name and what is
//! a value. Where the grammar is broken, it ends: what follows could be anything.

use super::redaction::{REDACTED, Redaction};

/// Nested deeper, it ends.
const DEPTH: usize = 256;

/// Bytes of an escape: two halves of a letter, each as `\u0000`.
const LONGEST_ESCAPE: usize = 12;

/// What is left of a text.
pub(super) struct RedactedJson {
    /// The text.
    pub(super) text: Vec<u8>,
    /// Where it was no longer JSON, if so; nothing from there on is in the text.
    pub(super) broken_at: Option<usize>,
}

/// What may stand next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
}

/// Several values one after the other are fine: that is how lines of JSON look.
pub(super) fn redacted(input: &[u8], redaction: &Redaction) -> RedactedJson {
    let mut reader = Reader {
        input,
        at: if input.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 },
        text: Vec::with_capacity(input.len()),
        redaction,
        open: Vec::new(),
        hidden: None,
        hides_next: false,
    };
    let broken_at = reader.walk().err().map(|Broken| reader.at);
    RedactedJson { text: reader.text, broken_at }
}

struct Broken;

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    text: Vec<u8>,
    redaction: &'a Redaction,
    /// The objects and lists around this place.
    open: Vec<u8>,
    /// How many of them were open when one began that is hidden as a whole.
    hidden: Option<usize>,
    /// Whether the next value is hidden.
    hides_next: bool,
}

impl Reader<'_> {
    fn walk(&mut self) -> Result<(), Broken> {
        let mut next = Next::Value;
        while let Some(byte) = self.input.get(self.at).copied() {
            if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                self.show(self.at, self.at + 1);
                self.at += 1;
                continue;
            }
            next = match (next, byte) {
                (Next::ValueOrEnd, b']') | (Next::NameOrEnd, b'}') => self.close(byte)?,
                (Next::CommaOrEnd, b']' | b'}') => self.close(byte)?,
                (Next::CommaOrEnd, b',') if !self.open.is_empty() => {
                    self.show(self.at, self.at + 1);
                    self.at += 1;
                    if self.open.last() == Some(&b'{') { Next::Name } else { Next::Value }
                }
                // Behind a whole value another may begin.
                (Next::CommaOrEnd, _) if self.open.is_empty() => self.value(byte)?,
                (Next::Value | Next::ValueOrEnd, _) => self.value(byte)?,
                (Next::Name | Next::NameOrEnd, b'"') => self.name()?,
                (Next::Colon, b':') => {
                    self.show(self.at, self.at + 1);
                    self.at += 1;
                    Next::Value
                }
                _ => return Err(Broken),
            };
        }
        Ok(())
    }

    fn show(&mut self, from: usize, to: usize) {
        if self.hidden.is_none() {
            self.text.extend_from_slice(&self.input[from..to]);
        }
    }

    fn show_redacted(&mut self) {
        if self.hidden.is_none() {
            self.text.extend_from_slice(format!("\"{REDACTED}\"").as_bytes());
        }
    }

    fn name(&mut self) -> Result<Next, Broken> {
        let (end, is_whole) = self.string_end()?;
        if self.hidden.is_none() && is_whole {
            // A name that cannot be read may be any.
            let name: Option<String> = serde_json::from_slice(&self.input[self.at..end]).ok();
            self.hides_next = name.is_none_or(|name| self.redaction.hides(&name));
        }
        self.show(self.at, end);
        self.at = end;
        Ok(Next::Colon)
    }

    fn value(&mut self, first: u8) -> Result<Next, Broken> {
        let hides = std::mem::take(&mut self.hides_next);
        match first {
            b'{' | b'[' => {
                if self.open.len() == DEPTH {
                    return Err(Broken);
                }
                if hides {
                    self.show_redacted();
                    self.hidden = self.hidden.or(Some(self.open.len()));
                }
                self.show(self.at, self.at + 1);
                self.open.push(first);
                self.at += 1;
                Ok(if first == b'{' { Next::NameOrEnd } else { Next::ValueOrEnd })
            }
            b'"' => {
                let (end, is_whole) = self.string_end()?;
                if hides || (self.hidden.is_none() && self.is_telling(end, is_whole)) {
                    self.show_redacted();
                } else {
                    self.show(self.at, end);
                }
                self.at = end;
                Ok(Next::CommaOrEnd)
            }
            _ => {
                let end = self.bare_end()?;
                if hides {
                    self.show_redacted();
                } else {
                    self.show(self.at, end);
                }
                self.at = end;
                Ok(Next::CommaOrEnd)
            }
        }
    }

    /// Whether a text holds a secret itself: JSON in JSON, a query in an address.
    fn is_telling(&self, end: usize, is_whole: bool) -> bool {
        let raw = &self.input[self.at..end];
        let Some(text) = (if is_whole { serde_json::from_slice(raw).ok() } else { read_cut(raw) }) else {
            return self.redaction.is_telling(&String::from_utf8_lossy(raw));
        };
        let text: String = text;
        // Every level of texts in texts costs more escapes, so there are few.
        let holds_json = text.trim_ascii_start().starts_with(['{', '[']);
        self.redaction.is_telling(&text)
            || holds_json && redacted(text.as_bytes(), self.redaction).text != text.as_bytes()
    }

    fn close(&mut self, byte: u8) -> Result<Next, Broken> {
        let opening = if byte == b'}' { b'{' } else { b'[' };
        if self.open.pop() != Some(opening) {
            return Err(Broken);
        }
        if self.hidden == Some(self.open.len()) {
            self.hidden = None;
        } else {
            self.show(self.at, self.at + 1);
        }
        self.at += 1;
        Ok(Next::CommaOrEnd)
    }

    /// The end of the string that begins here, and whether it is all there.
    fn string_end(&self) -> Result<(usize, bool), Broken> {
        let mut at = self.at + 1;
        while let Some(byte) = self.input.get(at) {
            match byte {
                b'"' => return Ok((at + 1, true)),
                b'\\' => at += 2,
                0..0x20 => return Err(Broken),
                _ => at += 1,
            }
        }
        Ok((self.input.len(), false))
    }

    /// The end of a number or a literal; at the end of what there is, it may be cut.
    fn bare_end(&self) -> Result<usize, Broken> {
        let rest = &self.input[self.at..];
        let length =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')).count();
        let (token, is_cut) = (&rest[..length], length == rest.len());
        let literal = |word: &[u8]| if is_cut { word.starts_with(token) } else { word == token };
        let is_literal = !token.is_empty() && [b"true".as_slice(), b"false", b"null"].into_iter().any(literal);
        let is_number = token.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')
            && token.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
        if is_literal || is_number { Ok(self.at + length) } else { Err(Broken) }
    }
}

/// A string that is cut, without the escape it may be cut in.
fn read_cut(raw: &[u8]) -> Option<String> {
    let shorter = (0..=LONGEST_ESCAPE).map_while(|less| raw.get(..raw.len().checked_sub(less)?));
    let mut read = shorter.filter_map(|part| serde_json::from_slice(&[part, b"\"".as_slice()].concat()).ok());
    read.next()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn shown(input: &str) -> (String, Option<usize>) {
        let shown = redacted(input.as_bytes(), &Redaction::new(Vec::new(), &["iban".to_owned()]));
        (String::from_utf8(shown.text).expect("text"), shown.broken_at)
    }

    #[test]
    fn named_members_go_at_every_depth() {
        for (given, expected) in [
            (
                r#"{"a":1,"password":"Z","b":[{"Iban":["Z",{"x":"Z"}],"c":true}]}"#,
                r#"{"a":1,"password":"[redacted]","b":[{"Iban":"[redacted]","c":true}]}"#,
            ),
            (r#"{"p\u0061ssword" : "Z" , "x": null}"#, r#"{"p\u0061ssword" : "[redacted]" , "x": null}"#),
            (r#"{"\ud800":"Z"}"#, r#"{"\ud800":"[redacted]"}"#),
            (
                r#"{"token":-1.5e3,"secret":false,"n":-1.5e3}"#,
                r#"{"token":"[redacted]","secret":"[redacted]","n":-1.5e3}"#,
            ),
            (r#"{"a":"{\"password\":\"Z\"}"}"#, r#"{"a":"[redacted]"}"#),
            (r#"{"a":"{\"p\\u0061ssword\":\"Z\"}"}"#, r#"{"a":"[redacted]"}"#),
            (r#"["{\"p\\u0061ssword\":\"Z\\u00"#, r#"["[redacted]""#),
            (r#"["{\"a\":1}","[1, 2]","\u00e9"]"#, r#"["{\"a\":1}","[1, 2]","\u00e9"]"#),
            (r#"{"password":"a\"Z","b":"\\"}"#, r#"{"password":"[redacted]","b":"\\"}"#),
            ("{\"a\":1}\n{\"pin\":7}\n", "{\"a\":1}\n{\"pin\":\"[redacted]\"}\n"),
            (r#"["password","Z"]"#, r#"["password","Z"]"#),
            ("", ""),
        ] {
            assert_eq!(shown(given), (expected.to_owned(), None));
        }
    }

    #[test]
    fn where_it_is_no_json_it_ends() {
        for (given, expected, at) in [
            ("{\"a\":1,password:\"Z\"}", "{\"a\":1,", 7),
            ("{'password':'Z'}", "{", 1),
            ("password=Z", "", 0),
            ("{\"a\":1]Z", "{\"a\":1", 6),
            ("{\"a\" \"Z\"}", "{\"a\" ", 5),
            ("[1 Z]", "[1 ", 3),
            ("\"a\nZ\"", "", 0),
            ("{\"a\":truZ}", "{\"a\":", 5),
        ] {
            assert_eq!(shown(given), (expected.to_owned(), Some(at)), "{given}");
        }
        let deep = "[".repeat(DEPTH + 1) + "\"Z\"";
        assert_eq!(shown(&deep), ("[".repeat(DEPTH), Some(DEPTH)));
    }

    /// A text as a JSON string, some of its letters escaped.
    fn quoted(text: &str, escaped: &[bool]) -> String {
        let letters = text.chars().zip(escaped.iter().cycle());
        let inner: String = letters
            .map(|(letter, escaped)| match letter {
                letter if *escaped => format!("\\u{:04x}", u32::from(letter)),
                '"' | '\\' => format!("\\{letter}"),
                letter => letter.to_string(),
            })
            .collect();
        format!("\"{inner}\"")
    }

    /// JSON texts in which `Z` stands under hidden names only.
    fn documents() -> impl Strategy<Value = String> {
        let escapes = || vec(any::<bool>(), 1..4);
        let space = || prop_oneof![Just(""), Just(" "), Just("\n\t")];
        let fine = prop_oneof![
            Just("1".to_owned()),
            Just("true".to_owned()),
            Just("-0.5e+7".to_owned()),
            ("[a-y\"\\\\{}\\[\\]:,é]{0,8}", escapes()).prop_map(|(text, escaped)| quoted(&text, &escaped)),
        ];
        let leaf = prop_oneof![
            ("[Z\"\\\\{}\\[\\],:]{1,8}").prop_map(|text| quoted(&text, &[false])),
            Just("[\"Z\",{\"a\":[\"Z\"]}]".to_owned()),
            Just("{\"Z\":{\"Z\":[]}}".to_owned()),
        ];
        let hidden_name = prop_oneof![Just("password"), Just("Access_Token"), Just("iban"), Just("client-secret")];
        let secret = (hidden_name, escapes(), space(), leaf)
            .prop_map(|(name, escaped, space, value)| format!("{}{space}:{space}{value}", quoted(name, &escaped)));
        fine.prop_recursive(5, 40, 5, move |inner| {
            let member = prop_oneof![
                ("[a-f]{1,3}", inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}")),
                secret.clone(),
            ];
            prop_oneof![
                vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                (vec(member, 0..5), space()).prop_map(|(members, space)| format!("{{{space}{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_wherever_the_text_is_cut(document in documents()) {
            let redaction = Redaction::new(Vec::new(), &["iban".to_owned()]);
            for end in 0..=document.len() {
                let shown = redacted(&document.as_bytes()[..end], &redaction);
                let text = String::from_utf8_lossy(&shown.text).into_owned();
                prop_assert!(!text.contains('Z'), "{text} of {}", &document);
                prop_assert_eq!(shown.broken_at, None);
            }
            let whole = redacted(document.as_bytes(), &redaction).text;
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
        }

        #[test]
        fn any_bytes_are_read_to_an_end(input in vec(any::<u8>(), 0..64)) {
            let shown = redacted(&input, &Redaction::default());
            prop_assert!(shown.broken_at.is_none_or(|at| at <= input.len()));
        }
    }

    #[test]
    fn fuzz_redacted_json() {
        const SECRET: &str = "Zx7Zq9Zw3";

        let seeds = [
            "{\"a\":[1,true,null,\"b\"]}",
            "[{\"password\":\"x\"},-1.5e3]",
            "{\"a\\u0022\":\"\\n\"}",
            "[[[[{}]]]]",
            "\"x\"",
        ];
        crate::fuzzing::run("redacted_json", &seeds, |input| {
            let (text, stopped) = shown(&String::from_utf8_lossy(input));
            // As deep as the document goes, and wherever it ends.
            let document = String::from_utf8_lossy(input);
            for planted in [
                format!("{{\"password\":\"{SECRET}\",\"b\":{document}}}"),
                format!("[{document},{{\"pass\\u0077ord\":{{\"a\":[\"{SECRET}\"]}}}}]"),
            ] {
                let at = planted.find(SECRET).expect("planted");
                for end in [planted.len(), at + 6, at + SECRET.len()] {
                    let mut end = end.min(planted.len());
                    while !planted.is_char_boundary(end) {
                        end -= 1;
                    }
                    let (shown, _) = shown(&planted[..end]);
                    assert!(!shown.contains("Zx7Zq9"), "{shown}");
                }
            }
            (text.len().min(50), stopped.is_some())
        });
    }
}
