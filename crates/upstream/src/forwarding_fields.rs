//! Forwarding fields (`X-Forwarded-*`, `Via`): what the gateway says of itself and of the caller's way.

use std::fmt;
use std::net::IpAddr;

use http::Version;
use portcullis_core::call::RequestId;
use portcullis_core::digits::{AddressText, put_hex};
use portcullis_core::fresh;
use portcullis_core::message::{FieldValue, Value};
use portcullis_wire::trace::is_trace_parent;

/// What `Via` says of this node, for each version that a message may have come in (RFC 9110 section 7.6.3). Made once and
/// kept for ever, so that a copy costs nothing.
#[derive(Clone)]
pub struct Via([FieldValue; 4]);

impl Via {
    /// Under this name.
    pub fn new(pseudonym: &FieldValue) -> Self {
        let name = pseudonym.text().unwrap_or("portcullis");
        Self(["1.0", "1.1", "2.0", "3.0"].map(|version| FieldValue::from_static(format!("{version} {name}").leak())))
    }

    /// The value for a message that has come in this version.
    pub fn of(&self, received: Version) -> FieldValue {
        let [in_10, in_11, in_2, in_3] = &self.0;
        match received {
            Version::HTTP_10 => in_10.clone(),
            Version::HTTP_2 => in_2.clone(),
            Version::HTTP_3 => in_3.clone(),
            _ => in_11.clone(),
        }
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Via").field(&self.0[1]).finish()
    }
}

/// An address as text.
pub fn address(address: IpAddr) -> Option<FieldValue> {
    FieldValue::from_bytes(AddressText::of(address).as_bytes()).ok()
}

/// The trace of a trusted proxy in front, continued with a span of ours, or a new one named after the call (W3C Trace
/// Context).
pub fn trace_parent(from: Option<Value<'_>>, id: &RequestId) -> Option<FieldValue> {
    const NAMELESS: [u8; 32] = *b"0000000000000000000000000000000f";
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    match from.map(Value::as_bytes).filter(|parent| is_trace_parent(parent)) {
        Some(parent) => {
            text[3..35].copy_from_slice(&parent[3..35]);
            text[53..].copy_from_slice(&parent[53..]);
        }
        None => text[3..35].copy_from_slice(&id.trace_id().unwrap_or(NAMELESS)),
    }
    let fresh = fresh::bytes();
    put_hex(&mut text[36..52], &fresh[8..]);
    FieldValue::from_bytes(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let id = RequestId::from_random([0xab; 16]);
        let written = |from: Option<&str>| {
            let from = from.map(|text| FieldValue::of(text).expect("a value"));
            trace_parent(from.as_ref().map(FieldValue::value), &id).expect("a value").text().expect("ASCII").to_owned()
        };
        let (one, other) = (written(None), written(Some("nonsense")));
        for new in [&one, &other] {
            assert!(is_trace_parent(new.as_bytes()), "{new}");
            assert_eq!((&new[3..35], &new[52..]), ("ab".repeat(16).as_str(), "-01"));
        }
        assert_ne!(one, other, "spans differ");
        let from = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let continued = written(Some(from));
        assert_eq!((&continued[..36], &continued[52..]), (&from[..36], "-00"));
        assert_ne!(continued, from);
    }

    #[test]
    fn addresses_are_written_as_everybody_does() {
        for text in ["0.0.0.0", "127.0.0.1", "10.20.30.40", "255.255.255.255", "1.10.100.109", "::1", "2001:db8::7"] {
            let written = address(text.parse().expect("an address")).expect("a value");
            assert_eq!(written, text);
        }
    }
}
