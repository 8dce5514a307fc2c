//! The id of a call, by which its record, its answer and what backends are told of it belong together.

use bytes::Bytes;
use http::HeaderValue;

use crate::digits::put_hex;

/// The id of a call: 16 random bytes, written as 32 hex digits, or what a trusted caller sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Takes over an id, if it is one of 1 to 128 printable ASCII characters without spaces.
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        let text = value.as_bytes();
        let fine = (1..=128).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        fine.then(|| Self(value.clone()))
    }

    /// Makes an id out of 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        let mut text = [0; 32];
        put_hex(&mut text, &random);
        // One piece of memory for the text and for those who share it.
        let shared = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        Self(shared.unwrap_or(HeaderValue::from_static("-")))
    }

    /// The id as a header value.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }

    /// The same as bytes, which nobody looks at to know that they are text.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Bytes of its text.
    pub fn size(&self) -> usize {
        self.0.len()
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
