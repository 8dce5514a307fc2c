//! `Content-Length`: how much of a body is still to come, where its head has said so.

use http_body::SizeHint;
use portcullis_core::message::Fields;
use portcullis_core::message::names::CONTENT_LENGTH;

/// Bytes that are still to come, if that is known.
#[derive(Debug, Clone, Copy)]
pub struct Remaining(Option<u64>);

impl Remaining {
    /// What a head announces. That it says so in one way has been seen to.
    pub fn announced(head: Fields<'_>) -> Self {
        Self(head.get(CONTENT_LENGTH).and_then(|length| length.text()?.parse().ok()))
    }

    /// So many have come. False if they are more than were to come.
    #[must_use]
    #[inline]
    pub fn came(&mut self, bytes: usize) -> bool {
        let Some(left) = &mut self.0 else { return true };
        let is_announced = bytes as u64 <= *left;
        *left = left.saturating_sub(bytes as u64);
        is_announced
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_nothing(self) -> bool {
        self.0 == Some(0)
    }

    /// Whether something is.
    #[inline]
    pub fn is_something(self) -> bool {
        self.0.is_some_and(|left| left > 0)
    }

    /// What a body says of its length that has so much of it here already.
    #[inline]
    pub fn hint(self, held: usize) -> SizeHint {
        self.0.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + held as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::{FieldMap, FieldValue, HasFields};

    #[test]
    fn what_has_come_is_taken_off_and_no_more_than_was_announced() {
        let mut head = FieldMap::new();
        let mut unknown = Remaining::announced(head.fields());
        assert!(unknown.came(1_000) && !unknown.is_nothing() && !unknown.is_something());
        assert_eq!(unknown.hint(3).exact(), None);
        head.set(CONTENT_LENGTH, FieldValue::from_static("5"));
        let mut left = Remaining::announced(head.fields());
        assert!(left.came(3) && left.is_something());
        assert_eq!(left.hint(3).exact(), Some(5));
        assert!(left.came(2) && left.is_nothing() && !left.is_something());
        assert!(!left.came(1));
    }
}
