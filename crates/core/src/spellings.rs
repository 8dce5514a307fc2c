//! Names of header fields in every spelling that is read as the same: CGI, WSGI, Rack and PHP hand `X-Tenant`, `X_Tenant`
//! and `X.Tenant` to an application as one.
//!
//! What a declaration says of a field holds for all of its spellings. Fields that no declaration names pass however they
//! are spelled.

use crate::fields::normal;
use crate::message::{FieldName, Fields, FieldsMut, Name, Value};

/// Whether two names are read as the same: letters in any case, and every character that is neither letter nor digit as `-`.
pub fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| normal(*one) == normal(*other))
}

/// Whether a name is of letters, digits and dashes alone, as nearly all are.
pub fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// All values that a field has, in whichever spellings of its name.
pub fn values<'a>(headers: Fields<'a>, name: &'a FieldName) -> impl Iterator<Item = Value<'a>> {
    let others = headers.iter().filter(move |(found, _)| is_same(found.as_str(), name.as_str()) && *found != *name);
    headers.all(name).chain(others.map(|(_, value)| value))
}

/// Whether a field is there in another spelling than its own.
pub fn is_misspelled(headers: Fields<'_>, name: &FieldName) -> bool {
    headers.names().any(|found| is_same(found.as_str(), name.as_str()) && found != *name)
}

/// Whether a field is there whose name is not plain. Where none is, no field is another spelling of a plain name.
pub fn has_odd_names(headers: Fields<'_>) -> bool {
    !headers.names().all(|name| is_plain(name.as_str()))
}

/// Names of fields that are taken away in every spelling.
#[derive(Debug, Clone, Default)]
pub struct Spellings {
    names: Vec<FieldName>,
    /// Whether plain names may be other spellings of one of them.
    odd: bool,
}

impl Spellings {
    /// Of these names.
    pub fn new(names: Vec<FieldName>) -> Self {
        let odd = names.iter().any(|name| !is_plain(name.as_str()));
        Self { names, odd }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Takes the fields away in all their spellings.
    ///
    /// ```
    /// use portcullis_core::message::{FieldMap, FieldName, FieldValue, HasFields, Name};
    /// use portcullis_core::spellings::{Spellings, is_same};
    ///
    /// assert!(is_same("X-Tenant", "x_tenant") && !is_same("X-Tenant", "xtenant"));
    ///
    /// let mut headers = FieldMap::new();
    /// for name in ["x-tenant", "x_tenant", "x.tenant", "x-other"] {
    ///     headers.set(FieldName::from_static(name), FieldValue::from_static("a"));
    /// }
    /// Spellings::new(vec![FieldName::from_static("x-tenant")]).take_away(headers.fields_mut());
    /// assert_eq!(headers.fields().names().map(Name::as_str).collect::<Vec<_>>(), ["x-other"]);
    /// ```
    pub fn take_away(&self, mut headers: FieldsMut<'_>) {
        for name in &self.names {
            headers.remove(name);
        }
        // Nearly no call has a name that is not plain.
        let view = headers.view();
        if view.names().any(|found| self.is_other(found)) {
            let others: Vec<_> = view.names().filter(|found| self.is_other(*found)).map(Name::to_owned).collect();
            for name in &others {
                headers.remove(name);
            }
        }
    }

    /// Whether a field that is called like none of the names is one of them all the same.
    fn is_other(&self, found: Name<'_>) -> bool {
        (self.odd || !is_plain(found.as_str())) && self.names.iter().any(|name| is_same(name.as_str(), found.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{FieldMap, FieldValue, HasFields};

    /// The characters of a token that are neither letters nor digits (RFC 9110 section 5.6.2).
    const SEPARATORS: &[u8] = b"!#$%&'*+-.^_`|~";

    /// A name with each separator in each of its places, and in all of them, in every case.
    fn spellings(name: &str) -> Vec<FieldName> {
        let mut all = Vec::new();
        for separator in SEPARATORS {
            let separator = char::from(*separator).to_string();
            all.push(name.replace('-', &separator));
            all.extend(name.match_indices('-').map(|(at, _)| format!("{}{separator}{}", &name[..at], &name[at + 1..])));
        }
        all.extend(all.clone().iter().map(|name| name.to_ascii_uppercase()));
        all.iter().map(|name| name.parse().expect("a name")).collect()
    }

    #[test]
    fn a_field_goes_in_every_spelling_whichever_one_is_named() {
        let all = spellings("x-tenant-id");
        for named in &all {
            for sent in &all {
                let mut headers = FieldMap::new();
                headers.add(sent, FieldValue::from_static("1"));
                headers.add(FieldName::from_static("x_other"), FieldValue::from_static("2"));
                headers.add(FieldName::from_static("x-tenant-ids"), FieldValue::from_static("3"));
                assert_eq!(values(headers.fields(), named).count(), 1, "{named} {sent}");
                assert_eq!(is_misspelled(headers.fields(), named), named != sent, "{named} {sent}");
                Spellings::new(vec![named.clone()]).take_away(headers.fields_mut());
                let left = headers.fields();
                let others = ["x_other", "x-tenant-ids"].iter().all(|name| left.has(FieldName::from_static(name)));
                assert!(left.len() == 2 && others, "{named} {sent}");
            }
        }
    }

    #[test]
    fn all_spellings_are_values_of_one_field() {
        let mut headers = FieldMap::new();
        for (name, value) in [("x-a", "1"), ("x_a", "2"), ("x-a", "3"), ("x.a", "4"), ("x-b", "5"), ("xa", "6")] {
            headers.add(FieldName::from_static(name), FieldValue::from_static(value));
        }
        let name = FieldName::from_static("x-a");
        let mut found: Vec<_> = values(headers.fields(), &name).map(|value| value.text().expect("text")).collect();
        found.sort_unstable();
        assert_eq!(found, ["1", "2", "3", "4"]);
    }

    #[test]
    fn fuzz_names() {
        use crate::fields::known;

        let seeds = [
            "x-user-json",
            "X_Forwarded.For",
            "connection",
            "x-api-key",
            "x-client-cert-chain",
            "traceparent",
            "te",
            "x-tenant",
        ];
        crate::fuzzing::run("names", &seeds, |input| {
            let Ok(name) = std::str::from_utf8(input) else { return None };
            let plain: String = name
                .bytes()
                .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte.to_ascii_lowercase()) } else { '-' })
                .collect();
            // Every spelling of a field is the same field.
            let (found, expected) = (known(name), known(&plain));
            assert_eq!(found.map(|found| found.kind), expected.map(|found| found.kind));
            assert_eq!(found.is_some_and(|found| found.is_exact), found.is_some() && name.eq_ignore_ascii_case(&plain));
            assert!(is_same(name, &plain) && is_same(&plain, name));
            // And what is taken away goes in every spelling.
            if let (Ok(odd), Ok(wanted)) = (name.parse::<FieldName>(), plain.parse::<FieldName>()) {
                let mut headers = FieldMap::new();
                headers.set(odd, FieldValue::from_static("a"));
                Spellings::new(vec![wanted.clone()]).take_away(headers.fields_mut());
                let left = headers.fields();
                assert!(left.is_empty() && values(left, &wanted).next().is_none());
            }
            found.map(|found| (format!("{:?}", found.kind), found.is_exact))
        });
    }
}
