//! Percent-encoding undone (RFC 3986 section 2.1), where every byte that is no escape stands for itself.

/// The value of a hexadecimal digit.
pub fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The byte that an escape at the beginning of a text stands for: `%` and two digits.
pub fn first_escape(text: &[u8]) -> Option<u8> {
    match text {
        [b'%', high, low, ..] => Some(hex_value(*high)? << 4 | hex_value(*low)?),
        _ => None,
    }
}

/// The byte that an escape at the beginning of a text stands for, and what stands behind it.
pub fn split_escape(text: &str) -> Option<(u8, &str)> {
    Some((first_escape(text.as_bytes())?, &text[3..]))
}

/// What a text stands for.
///
/// ```
/// use portcullis_core::escapes::decoded;
///
/// assert_eq!(decoded(b"a%20b+c%2").collect::<Vec<_>>(), b"a b+c%2");
/// ```
pub fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    read(text, |byte| byte)
}

/// What a name or value of a form stands for, in which `+` is a space (URL Standard, `application/x-www-form-urlencoded`).
///
/// ```
/// use portcullis_core::escapes::form_decoded;
///
/// assert_eq!(form_decoded(b"a%20b+c%2B").collect::<Vec<_>>(), b"a b c+");
/// ```
pub fn form_decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    read(text, |byte| if byte == b'+' { b' ' } else { byte })
}

/// The bytes of a text, in which those that are no escapes stand for this.
fn read(text: &[u8], stands_for: impl Fn(u8) -> u8) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let escape = first_escape(rest);
        let byte = escape.or_else(|| rest.first().map(|byte| stands_for(*byte)));
        rest = rest.get(if escape.is_some() { 3 } else { 1 }..).unwrap_or_default();
        byte
    })
}
