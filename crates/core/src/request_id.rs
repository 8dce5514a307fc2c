//! The id of a call, by which its record, its answer and what backends are told of it belong together.

use bytes::Bytes;

use crate::digits::put_hex;
use crate::message::{FieldValue, Value};

/// The id of a call: 16 random bytes, written as 32 hex digits, or what a trusted caller sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    text: FieldValue,
    /// Whether it is 32 hex digits in lower case for certain.
    is_hex: bool,
}

impl RequestId {
    /// Takes over an id, if it is one of 1 to 128 printable ASCII characters without spaces.
    pub fn from_header(value: Value<'_>) -> Option<Self> {
        let text = value.as_bytes();
        let fine = (1..=128).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        fine.then(|| Self { text: value.to_owned(), is_hex: false })
    }

    /// Makes an id out of 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        let mut text = [0; 32];
        put_hex(&mut text, &random);
        // One piece of memory for the text and for those who share it.
        let shared = FieldValue::from_shared(Bytes::from_owner(text));
        let is_hex = shared.is_ok();
        Self { text: shared.unwrap_or(FieldValue::from_static("-")), is_hex }
    }

    /// The id as a header value.
    pub fn header(&self) -> FieldValue {
        self.text.clone()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.text.text().unwrap_or("-")
    }

    /// The id as the trace of a call is named after it (W3C Trace Context): 32 hex digits in lower case. None if it is none.
    pub fn trace_id(&self) -> Option<[u8; 32]> {
        let mut own: [u8; 32] = self.text.as_bytes().try_into().ok()?;
        if !self.is_hex {
            own.make_ascii_lowercase();
            own.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        }
        Some(own)
    }

    /// Bytes of its text.
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_hex_and_shared_without_a_copy() {
        let id = RequestId::from_random(*b"\x00\x01\x0f\x10 portcullis!");
        assert_eq!(id.as_str(), "00010f1020706f727463756c6c697321");
        let (one, other) = (id.header(), id.header());
        assert_eq!((one.as_bytes(), id.size()), (id.as_str().as_bytes(), 32));
        assert!(std::ptr::eq(one.as_bytes(), other.as_bytes()));
    }
}
