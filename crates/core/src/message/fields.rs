//! The header fields of a message: seen, changed, and by themselves, as trailers are (RFC 9110 section 6.5).

use std::fmt;
use std::mem;

use http::header::{Entry, HeaderMap, Keys, ValueIter};
use http::{HeaderValue, Request, Response, request, response};
use thiserror::Error;

use super::name::{FieldName, Name, NameKey};
use super::value::{FieldValue, Value};

/// There are several values where there may be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("several values of a header field that has one")]
pub struct Several;

/// The fields of a message, to be looked at.
#[derive(Clone, Copy)]
pub struct Fields<'a>(&'a HeaderMap);

#[allow(clippy::needless_pass_by_value, reason = "a name from the source is given, one that somebody holds is lent")]
impl<'a> Fields<'a> {
    /// The first value of a field.
    #[inline]
    pub fn get(self, name: impl NameKey) -> Option<Value<'a>> {
        self.0.get(name.as_key()).map(Value)
    }

    /// The first value of a field, if it is visible ASCII, spaces and tabs.
    #[inline]
    pub fn text(self, name: impl NameKey) -> Option<&'a str> {
        self.get(name)?.text()
    }

    /// The one value of a field.
    ///
    /// # Errors
    /// [`Several`] if there are more.
    #[inline]
    pub fn only(self, name: impl NameKey) -> Result<Option<Value<'a>>, Several> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Several),
        }
    }

    /// All values of a field, in their order.
    #[inline]
    pub fn all(self, name: impl NameKey) -> Values<'a> {
        Values(self.0.get_all(name.as_key()).into_iter())
    }

    /// Whether a field is there.
    #[inline]
    pub fn has(self, name: impl NameKey) -> bool {
        self.0.contains_key(name.as_key())
    }

    /// Every line. Those of the same name follow one another, in their order.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (Name<'a>, Value<'a>)> + use<'a> {
        self.0.iter().map(|(name, value)| (Name(name), Value(value)))
    }

    /// Every name, once.
    #[inline]
    pub fn names(self) -> Names<'a> {
        Names(self.0.keys())
    }

    /// How many lines there are.
    #[inline]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// A copy of them. Values share their bytes.
    #[inline]
    #[must_use]
    pub fn to_owned(self) -> FieldMap {
        FieldMap(self.0.clone())
    }
}

/// All values of one field.
pub struct Values<'a>(ValueIter<'a, HeaderValue>);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        self.0.next().map(Value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Values<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(Value)
    }
}

/// The names of all fields.
pub struct Names<'a>(Keys<'a, HeaderValue>);

impl<'a> Iterator for Names<'a> {
    type Item = Name<'a>;

    #[inline]
    fn next(&mut self) -> Option<Name<'a>> {
        self.0.next().map(Name)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// The fields of a message, to be changed.
pub struct FieldsMut<'a>(&'a mut HeaderMap);

#[allow(clippy::needless_pass_by_value, reason = "a name from the source is given, one that somebody holds is lent")]
impl FieldsMut<'_> {
    /// The same, to be looked at.
    #[inline]
    pub fn view(&self) -> Fields<'_> {
        Fields(self.0)
    }

    /// The same, lent on.
    #[inline]
    pub fn lend(&mut self) -> FieldsMut<'_> {
        FieldsMut(self.0)
    }

    /// Sets a field to one value, whatever it had. Returns the first that it had.
    #[inline]
    pub fn set(&mut self, name: impl NameKey, value: FieldValue) -> Option<FieldValue> {
        self.0.insert(name.into_key(), value.0).map(FieldValue)
    }

    /// Sets a field, if it is not there.
    #[inline]
    pub fn set_if_absent(&mut self, name: FieldName, value: impl FnOnce() -> FieldValue) {
        self.0.entry(name.0).or_insert_with(|| value().0);
    }

    /// Adds a value to those that a field has.
    #[inline]
    pub fn add(&mut self, name: impl NameKey, value: FieldValue) {
        self.0.append(name.into_key(), value.0);
    }

    /// Takes a field away with all its values. Returns the first.
    #[inline]
    pub fn remove(&mut self, name: impl NameKey) -> Option<FieldValue> {
        self.0.remove(name.as_key()).map(FieldValue)
    }

    /// Takes a field away, and adds all its values to others.
    #[inline]
    pub fn move_to(&mut self, name: &FieldName, others: &mut FieldMap) {
        if let Entry::Occupied(found) = self.0.entry(&name.0) {
            let (name, values) = found.remove_entry_mult();
            for value in values {
                others.0.append(&name, value);
            }
        }
    }

    /// Sets the fields that others have to what they have there.
    #[inline]
    pub fn set_all(&mut self, others: FieldMap) {
        self.0.extend(others.0);
    }

    /// Puts others in the place of all of them.
    #[inline]
    pub fn replace(&mut self, others: FieldMap) {
        *self.0 = others.0;
    }

    /// Takes all of them.
    #[inline]
    pub fn take(&mut self) -> FieldMap {
        FieldMap(mem::take(self.0))
    }

    /// The value of a field is neither shown by `Debug` nor remembered where fields are compressed.
    #[inline]
    pub fn hide(&mut self, name: &FieldName) {
        if let Some(value) = self.0.get_mut(&name.0) {
            value.set_sensitive(true);
        }
    }
}

/// Fields by themselves.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FieldMap(HeaderMap);

impl FieldMap {
    /// None yet.
    #[inline]
    pub fn new() -> Self {
        Self(HeaderMap::new())
    }

    /// None yet, with room for so many.
    #[inline]
    pub fn with_capacity(fields: usize) -> Self {
        Self(HeaderMap::with_capacity(fields))
    }

    /// Sets a field to one value, whatever it had.
    #[inline]
    pub fn set(&mut self, name: impl NameKey, value: FieldValue) {
        self.fields_mut().set(name, value);
    }

    /// Adds a value to those that a field has.
    #[inline]
    pub fn add(&mut self, name: impl NameKey, value: FieldValue) {
        self.fields_mut().add(name, value);
    }
}

impl FromIterator<(FieldName, FieldValue)> for FieldMap {
    fn from_iter<I: IntoIterator<Item = (FieldName, FieldValue)>>(lines: I) -> Self {
        Self(lines.into_iter().map(|(name, value)| (name.0, value.0)).collect())
    }
}

/// To and from what libraries take and give.
impl From<HeaderMap> for FieldMap {
    #[inline]
    fn from(fields: HeaderMap) -> Self {
        Self(fields)
    }
}

impl From<FieldMap> for HeaderMap {
    #[inline]
    fn from(fields: FieldMap) -> Self {
        fields.0
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Debug for FieldsMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Debug for FieldMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What has header fields: a request, an answer, the head of one, or fields by themselves.
pub trait HasFields {
    /// Its fields, to be looked at.
    fn fields(&self) -> Fields<'_>;
    /// Its fields, to be changed.
    fn fields_mut(&mut self) -> FieldsMut<'_>;
}

macro_rules! has_fields {
    ($($it:ty $(where $body:ident)?, $self:ident => $map:expr, $map_mut:expr;)+) => {
        $(
            impl$(<$body>)? HasFields for $it {
                #[inline]
                fn fields(&$self) -> Fields<'_> {
                    Fields($map)
                }

                #[inline]
                fn fields_mut(&mut $self) -> FieldsMut<'_> {
                    FieldsMut($map_mut)
                }
            }
        )+
    };
}

has_fields! {
    FieldMap, self => &self.0, &mut self.0;
    HeaderMap, self => self, self;
    request::Parts, self => &self.headers, &mut self.headers;
    response::Parts, self => &self.headers, &mut self.headers;
    Request<B> where B, self => self.headers(), self.headers_mut();
    Response<B> where B, self => self.headers(), self.headers_mut();
}

#[cfg(test)]
mod tests {
    use super::super::names::{CONTENT_LENGTH, CONTENT_TYPE, VIA};
    use super::*;

    fn lines(fields: Fields<'_>) -> Vec<(&str, &[u8])> {
        fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    #[test]
    fn fields_are_set_added_and_taken_away_by_their_names() {
        let mut map = FieldMap::new();
        map.add(VIA, FieldValue::from_static("1"));
        map.add(&VIA, FieldValue::from_static("2"));
        let mut fields = map.fields_mut();
        fields.set_if_absent(CONTENT_LENGTH, || FieldValue::from(7_u64));
        fields.set_if_absent(CONTENT_LENGTH, || unreachable!("it is there"));
        assert_eq!(fields.view().only(CONTENT_LENGTH).map(|length| length.and_then(Value::text)), Ok(Some("7")));
        assert_eq!(fields.view().only(VIA), Err(Several));
        assert_eq!(fields.view().all(VIA).map(Value::as_bytes).collect::<Vec<_>>(), [b"1", b"2"]);

        let mut others = FieldMap::new();
        fields.move_to(&VIA, &mut others);
        fields.move_to(&CONTENT_TYPE, &mut others);
        assert_eq!(lines(others.fields()), [("via", &b"1"[..]), ("via", b"2")]);
        assert_eq!(fields.remove(CONTENT_LENGTH).as_ref().and_then(FieldValue::text), Some("7"));
        assert!(fields.view().is_empty() && !fields.view().has(VIA));

        fields.set_all(others);
        assert_eq!((fields.view().len(), fields.view().names().count()), (2, 1));
        assert_eq!(lines(fields.take().fields()).len(), 2);
        assert!(map.fields().is_empty());
    }
}
