//! Lists in pieces: sorted by name, with a cursor that stands for the last name that was shown.

use std::str::FromStr;

use axum::Json;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::ApiError;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// Which piece of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many items at most; 1 to 1000, 100 if absent.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the piece before.
    cursor: Option<String>,
}

/// One piece of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The items, sorted by name.
    pub(crate) items: Vec<T>,
    /// The cursor of the next piece; null on the last one.
    #[schema(required)]
    pub(crate) next: Option<String>,
}

impl PageQuery {
    /// How many items at most.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        limit(self.limit, DEFAULT_LIMIT)
    }

    /// The key the piece begins after.
    pub(crate) fn after<K: FromStr>(&self) -> Result<Option<K>, ApiError> {
        self.cursor.as_deref().map(|cursor| read_cursor(cursor).ok_or_else(bad_cursor)).transpose()
    }

    /// Cuts the piece out of all entries, which come in any order.
    pub(crate) fn cut<K, V>(&self, entries: impl Iterator<Item = (K, V)>) -> Result<List<(K, V)>, ApiError>
    where
        K: Ord + FromStr + ToString,
    {
        let limit = self.limit()?;
        let after = self.after::<K>()?;
        let mut items: Vec<_> = entries.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).collect();
        let more = items.len() > limit;
        if more {
            // Only the piece that is shown has to be sorted.
            items.select_nth_unstable_by(limit, |(one, _), (other, _)| one.cmp(other));
            items.truncate(limit);
        }
        items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let next = items.last().filter(|_| more).map(|(key, _)| cursor(&key.to_string()));
        Ok(List { items, next })
    }
}

impl PageQuery {
    /// The piece of these objects, each shown in a form of its own.
    pub(crate) fn show<'view, K, V, U>(
        &self,
        objects: impl Iterator<Item = (&'view K, V)>,
        show: impl Fn(&K, V) -> U,
    ) -> Result<Json<List<U>>, ApiError>
    where
        K: Ord + FromStr + ToString + Clone + 'view,
    {
        let piece = self.cut(objects.map(|(key, object)| (key.clone(), object)))?;
        Ok(Json(piece.map(|(key, object)| show(&key, object))))
    }
}

impl<T> List<T> {
    /// The same piece with its items shown in another form.
    pub(crate) fn map<U>(self, show: impl FnMut(T) -> U) -> List<U> {
        List { items: self.items.into_iter().map(show).collect(), next: self.next }
    }
}

/// Holds a wished number of items against the bounds.
pub(crate) fn limit(wished: Option<usize>, default: usize) -> Result<usize, ApiError> {
    let limit = wished.unwrap_or(default);
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::malformed("bad_query", format!("expected 'limit' to be 1 to {MAX_LIMIT}, found {limit}")))
    }
}

/// The cursor that stands for a key.
pub(crate) fn cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

fn read_cursor<K: FromStr>(cursor: &str) -> Option<K> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?.parse().ok()
}

/// The refusal of a cursor that is none of ours.
pub(crate) fn bad_cursor() -> ApiError {
    ApiError::malformed("bad_cursor", "expected 'cursor' to be the 'next' of an earlier answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_whole() {
        let all = || (0..25_u32).rev().map(|number| (number, number * 2));
        let mut query = PageQuery { limit: Some(10), cursor: None };
        let mut seen = Vec::new();
        loop {
            let piece = query.cut(all()).expect("well formed");
            seen.extend(piece.items.iter().map(|(key, _)| *key));
            match piece.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
    }

    #[test]
    fn a_piece_that_just_fits_is_the_last() {
        let query = PageQuery { limit: Some(2), cursor: None };
        assert_eq!(query.cut([(1_u32, ()), (2, ())].into_iter()).expect("well formed").next, None);
    }

    #[test]
    fn bad_limits_and_cursors_are_refused() {
        for limit in [0, 1_001] {
            assert!(PageQuery { limit: Some(limit), cursor: None }.limit().is_err());
        }
        for bad in ["!", "eA"] {
            let query = PageQuery { limit: None, cursor: Some(bad.into()) };
            assert!(query.cut([(1_u32, ())].into_iter()).is_err(), "{bad}");
        }
    }

    #[test]
    fn fuzz_cursor() {
        let good = cursor("orders/v1");
        crate::fuzzing::run("cursor", &[&good, "b3JkZXJz", "", "=", "_-"], |input| {
            let Ok(text) = std::str::from_utf8(input) else { return None };
            assert_eq!(read_cursor::<String>(&cursor(text)).as_deref(), Some(text), "a key comes back");
            // A cursor is read in the one form it is given out in.
            let read = read_cursor::<String>(text)?;
            assert_eq!(cursor(&read), text);
            Some(read.len())
        });
    }
}
