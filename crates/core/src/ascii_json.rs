//! JSON in ASCII (RFC 8259, section 7): characters beyond it become `\uXXXX`, so that whoever reads it decodes it right,
//! whatever they take for the encoding.

use std::fmt::Write;

/// The same JSON in ASCII.
///
/// ```
/// use portcullis_core::ascii_json::escaped;
///
/// assert_eq!(escaped("{\"n\":\"n\u{e9}\u{1f600}\"}"), r#"{"n":"n\u00e9\ud83d\ude00"}"#);
/// ```
pub fn escaped(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    // Beyond ASCII there are only characters inside of strings, where the escape means the same.
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing into a text cannot fail.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}
