//! Single parameters of a query, for `@query-param` (RFC 9421, section 2.2.8): decoded as a form, and encoded again.

use std::borrow::Cow;

/// What was found of a parameter.
pub(super) enum Found {
    /// It occurs once; its value is written.
    Once,
    /// It does not occur.
    Never,
    /// It occurs more than once, so it cannot be covered.
    Often,
}

/// Appends the encoded value of the parameter of this encoded name.
pub(super) fn write_value(out: &mut String, query: &str, name: &str) -> Found {
    let mut found = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        if is_encoded_as(own, name) && found.replace(value).is_some() {
            return Found::Often;
        }
    }
    let Some(value) = found else { return Found::Never };
    encode(&decode(value), |letter| out.push(letter));
    Found::Once
}

/// Whether this name of a query is `name` once it has been decoded and encoded again.
fn is_encoded_as(own: &str, name: &str) -> bool {
    let mut rest = name.chars();
    let mut same = true;
    encode(&decode(own), |letter| same &= rest.next() == Some(letter));
    same && rest.next().is_none()
}

/// Decodes as `application/x-www-form-urlencoded`: `+` is a space, `%` with two digits is a byte. What is no UTF-8 then
/// becomes U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = (byte == b'%').then(|| hex(bytes.get(at + 1)?, bytes.get(at + 2)?)).flatten();
        decoded.push(digits.unwrap_or(if byte == b'+' { b' ' } else { byte }));
        at += if digits.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex(high: &u8, low: &u8) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Encodes with the `application/x-www-form-urlencoded` percent-encode set, which spares letters, digits and `*-._`. A space
/// becomes `%20`.
fn encode(text: &str, mut push: impl FnMut(char)) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
            push(char::from(byte));
        } else {
            push('%');
            push(DIGITS[usize::from(byte >> 4)]);
            push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters of the example of RFC 9421, section 2.2.8.
    const QUERY: &str =
        "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something";

    #[track_caller]
    fn check(query: &str, name: &str, expected: Option<&str>) {
        let mut out = String::new();
        let found = matches!(write_value(&mut out, query, name), Found::Once);
        assert_eq!(found.then_some(out.as_str()), expected, "{name} of {query}");
    }

    #[test]
    fn a_parameter_is_encoded_anew() {
        check(QUERY, "var", Some("this%20is%20a%20big%0Amultiline%20value"));
        check(QUERY, "bar", Some("with%20plus%20whitespace"));
        check(QUERY, "fa%C3%A7ade%22%3A%20", Some("something"));
        check("a=~%7e!", "a", Some("%7E%7E%21"));
        check("a=%zz%4", "a", Some("%25zz%254"));
        check("a=%ff", "a", Some("%EF%BF%BD"));
    }

    #[test]
    fn a_parameter_can_be_empty_but_not_absent() {
        check("param=value&foo=bar&baz=batman&qux=", "qux", Some(""));
        check("a&b", "b", Some(""));
        check("a=1", "b", None);
        check("", "", None);
        check("&&", "", None);
        check("=1", "", Some("1"));
    }

    #[test]
    fn the_name_is_the_encoded_one() {
        check("a%20b=1", "a%20b", Some("1"));
        check("a+b=1", "a%20b", Some("1"));
        check("a+b=1", "a b", None);
        check("a+b=1", "a+b", None);
        check("ab=1", "a", None);
        check("a=1", "ab", None);
    }

    #[test]
    fn a_parameter_that_occurs_twice_is_not_covered() {
        for query in ["a=1&a=1", "a=1&%61=2", "a&b&a"] {
            let mut out = String::new();
            assert!(matches!(write_value(&mut out, query, "a"), Found::Often), "{query}");
            assert_eq!(out, "");
        }
    }

    #[test]
    fn fuzz_query_parameter() {
        crate::fuzzing::run("query_parameter", &[QUERY, "a=1&b=2&a=3", "%zz=+&=&x"], |input| {
            let text = String::from_utf8_lossy(input);
            let decoded = decode(&text);
            let mut encoded = String::new();
            encode(&decoded, |letter| encoded.push(letter));
            assert!(encoded.is_ascii());
            assert_eq!(decode(&encoded), decoded, "what is encoded is decoded to the same");
            (decoded.len() < text.len(), encoded.len() > text.len(), decoded.is_ascii())
        });
    }
}
