//! Values of header fields (RFC 9110 section 5.5): bytes without line ends and other control characters.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http::HeaderValue;
use thiserror::Error;

/// The value of a field, by itself. A copy of it shares its bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FieldValue(pub(super) HeaderValue);

/// There is a line end or another control character in it, so no field can have it as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the value of a header field")]
pub struct InvalidValue;

impl FieldValue {
    /// A value that is written down in the source.
    ///
    /// # Panics
    /// If it is not visible ASCII; in a constant, that is an error of the compiler.
    #[inline]
    pub const fn from_static(value: &'static str) -> Self {
        Self(HeaderValue::from_static(value))
    }

    /// A copy of a text of visible ASCII, spaces and tabs.
    ///
    /// # Errors
    /// [`InvalidValue`] if there is anything else in it.
    #[inline]
    pub fn of(text: &str) -> Result<Self, InvalidValue> {
        HeaderValue::from_str(text).map(Self).map_err(|_| InvalidValue)
    }

    /// A copy of these bytes.
    ///
    /// # Errors
    /// [`InvalidValue`] if there is a control character in them that is not a tab.
    #[inline]
    pub fn from_bytes(value: &[u8]) -> Result<Self, InvalidValue> {
        HeaderValue::from_bytes(value).map(Self).map_err(|_| InvalidValue)
    }

    /// These bytes, which are not copied.
    ///
    /// # Errors
    /// [`InvalidValue`] as with [`Self::from_bytes`].
    #[inline]
    pub fn from_shared(value: Bytes) -> Result<Self, InvalidValue> {
        HeaderValue::from_maybe_shared(value).map(Self).map_err(|_| InvalidValue)
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, if it is visible ASCII, spaces and tabs.
    #[inline]
    pub fn text(&self) -> Option<&str> {
        self.value().text()
    }

    /// How many bytes it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same, as a message lends it.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        Value(&self.0)
    }

    /// The same, never to be shown by `Debug`, nor remembered where fields are compressed.
    #[inline]
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.0.set_sensitive(true);
        self
    }
}

impl FromStr for FieldValue {
    type Err = InvalidValue;

    #[inline]
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::of(text)
    }
}

impl TryFrom<String> for FieldValue {
    type Error = InvalidValue;

    #[inline]
    fn try_from(text: String) -> Result<Self, InvalidValue> {
        HeaderValue::try_from(text).map(Self).map_err(|_| InvalidValue)
    }
}

macro_rules! from_numbers {
    ($($number:ty)+) => {
        $(
            impl From<$number> for FieldValue {
                #[inline]
                fn from(number: $number) -> Self {
                    Self(HeaderValue::from(number))
                }
            }
        )+
    };
}

from_numbers!(u16 u32 u64 usize);

/// To and from what libraries take and give.
impl From<HeaderValue> for FieldValue {
    #[inline]
    fn from(value: HeaderValue) -> Self {
        Self(value)
    }
}

impl From<FieldValue> for HeaderValue {
    #[inline]
    fn from(value: FieldValue) -> Self {
        value.0
    }
}

/// The value of a field that a message has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value<'a>(pub(super) &'a HeaderValue);

impl<'a> Value<'a> {
    /// The bytes.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// The text, if it is visible ASCII, spaces and tabs.
    #[inline]
    pub fn text(self) -> Option<&'a str> {
        self.0.to_str().ok()
    }

    /// How many bytes it has.
    #[inline]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The value by itself. Its bytes are shared, not copied.
    #[inline]
    #[must_use]
    pub fn to_owned(self) -> FieldValue {
        FieldValue(self.0.clone())
    }
}

impl PartialEq<str> for FieldValue {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&str> for FieldValue {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl PartialEq<str> for Value<'_> {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Value<'_> {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<FieldValue> for Value<'_> {
    #[inline]
    fn eq(&self, other: &FieldValue) -> bool {
        *self.0 == other.0
    }
}

impl PartialEq<Value<'_>> for FieldValue {
    #[inline]
    fn eq(&self, other: &Value<'_>) -> bool {
        self.0 == *other.0
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_a_line() {
        for none in ["a\r\nb: c", "\n", "a\rb", "a\0b", "\x7f"] {
            assert_eq!(FieldValue::of(none), Err(InvalidValue), "{none:?}");
            assert_eq!(FieldValue::from_bytes(none.as_bytes()), Err(InvalidValue), "{none:?}");
            assert_eq!(FieldValue::from_shared(Bytes::from(none)), Err(InvalidValue), "{none:?}");
            assert_eq!(FieldValue::try_from(none.to_owned()), Err(InvalidValue), "{none:?}");
        }
    }

    #[test]
    fn what_is_not_ascii_is_a_value_but_no_text() {
        let value = FieldValue::from_bytes("grün".as_bytes()).expect("a value");
        assert_eq!((value.text(), value.len()), (None, 5));
        assert_eq!(FieldValue::of("a\tb").expect("a value").text(), Some("a\tb"));
    }

    #[test]
    fn a_hidden_value_is_not_shown() {
        assert!(!format!("{:?}", FieldValue::from_static("s3cret").hidden()).contains("s3cret"));
    }
}
