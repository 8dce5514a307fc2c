//! Names of header fields (RFC 9110 section 5.1): tokens, held in lower case.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use thiserror::Error;

/// The name of a field, in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FieldName(pub(super) HeaderName);

/// This is no token, so no field can be called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the name of a header field")]
pub struct InvalidName;

impl FieldName {
    /// A name that is written down in the source, in lower case.
    ///
    /// # Panics
    /// If it is no token in lower case; in a constant, that is an error of the compiler.
    #[inline]
    pub const fn from_static(name: &'static str) -> Self {
        Self(HeaderName::from_static(name))
    }

    /// One of those that the library knows by a number of its own.
    pub(super) const fn standard(name: HeaderName) -> Self {
        Self(name)
    }

    /// A name as it was read or declared, in any case.
    ///
    /// # Errors
    /// [`InvalidName`] if it is no token.
    #[inline]
    pub fn from_bytes(name: &[u8]) -> Result<Self, InvalidName> {
        HeaderName::from_bytes(name).map(Self).map_err(|_| InvalidName)
    }

    /// The name in lower case.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same, as a message lends it.
    #[inline]
    pub fn name(&self) -> Name<'_> {
        Name(&self.0)
    }
}

impl FromStr for FieldName {
    type Err = InvalidName;

    #[inline]
    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::from_bytes(name.as_bytes())
    }
}

/// To what libraries take.
impl From<FieldName> for HeaderName {
    #[inline]
    fn from(name: FieldName) -> Self {
        name.0
    }
}

/// The name of a field that a message has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name<'a>(pub(super) &'a HeaderName);

impl<'a> Name<'a> {
    /// The name in lower case.
    #[inline]
    pub fn as_str(self) -> &'a str {
        self.0.as_str()
    }

    /// The name by itself.
    #[inline]
    #[must_use]
    pub fn to_owned(self) -> FieldName {
        FieldName(self.0.clone())
    }
}

impl PartialEq<FieldName> for Name<'_> {
    #[inline]
    fn eq(&self, other: &FieldName) -> bool {
        *self.0 == other.0
    }
}

impl PartialEq<Name<'_>> for FieldName {
    #[inline]
    fn eq(&self, other: &Name<'_>) -> bool {
        self.0 == *other.0
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a field is asked for, set and taken away by: a [`FieldName`], lent or given. A name that is given costs no copy where
/// the field is written.
pub trait NameKey: key::Key {}

impl NameKey for FieldName {}
impl NameKey for &FieldName {}
impl NameKey for Name<'_> {}

pub(super) mod key {
    use http::HeaderName;
    use http::header::IntoHeaderName;

    use super::{FieldName, Name};

    /// A name as the map underneath takes it.
    pub trait Key {
        /// How it is written.
        type In: IntoHeaderName;
        /// To be written.
        fn into_key(self) -> Self::In;
        /// To be looked for.
        fn as_key(&self) -> &HeaderName;
    }

    impl Key for FieldName {
        type In = HeaderName;

        #[inline]
        fn into_key(self) -> HeaderName {
            self.0
        }

        #[inline]
        fn as_key(&self) -> &HeaderName {
            &self.0
        }
    }

    impl<'a> Key for &'a FieldName {
        type In = &'a HeaderName;

        #[inline]
        fn into_key(self) -> &'a HeaderName {
            &self.0
        }

        #[inline]
        fn as_key(&self) -> &HeaderName {
            &self.0
        }
    }

    impl<'a> Key for Name<'a> {
        type In = &'a HeaderName;

        #[inline]
        fn into_key(self) -> &'a HeaderName {
            self.0
        }

        #[inline]
        fn as_key(&self) -> &HeaderName {
            self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_token_and_in_lower_case() {
        let name = FieldName::from_bytes(b"X-Tenant").expect("a token");
        assert_eq!((name.as_str(), name.name().as_str()), ("x-tenant", "x-tenant"));
        assert_eq!(name.name(), FieldName::from_static("x-tenant"));
        for none in ["", "a b", "a:", "a\r\n", "ä", "a\0"] {
            assert_eq!(none.parse::<FieldName>(), Err(InvalidName), "{none:?}");
        }
    }
}
