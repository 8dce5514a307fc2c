//! What a request must show besides its host and path.

use http::header::ACCESS_CONTROL_REQUEST_HEADERS;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_core::model::{Match, Problem};
use portcullis_core::spellings::is_misspelled;

use super::Wanted;

/// Conditions of one kind a route has at most.
const MOST: usize = 32;

/// Methods, fields and query parameters a request must have.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    methods: Vec<Method>,
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    query: Vec<(String, Option<String>)>,
}

impl Conditions {
    /// Reads declared conditions, or says everything that is wrong with them.
    pub fn parse(declared: &Match) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut conditions = Self::default();
        for (position, method) in declared.methods.iter().enumerate() {
            match Method::from_bytes(method.as_bytes()) {
                Ok(method) if *method.as_str() == method.as_str().to_ascii_uppercase() => {
                    conditions.methods.push(method);
                }
                _ => {
                    let message = format!("expected a method in upper case, like GET, found '{method}'");
                    problems.push(Problem::new(format!("match.methods[{position}]"), message));
                }
            }
        }
        for (name, value) in &declared.headers {
            let path = format!("match.headers.{name}");
            match (HeaderName::from_bytes(name.as_bytes()), wanted(value).map(HeaderValue::from_str).transpose()) {
                (Ok(name), Ok(value)) => conditions.headers.push((name, value)),
                (Err(_), _) => problems.push(Problem::new(path, "expected the name of a header field")),
                (_, Err(_)) => problems.push(Problem::new(path, "expected a value a header field can have")),
            }
        }
        conditions.query =
            declared.query.iter().map(|(name, value)| (name.clone(), wanted(value).map(str::to_owned))).collect();
        for (what, count) in
            [("methods", declared.methods.len()), ("headers", declared.headers.len()), ("query", declared.query.len())]
        {
            if count > MOST {
                problems.push(Problem::new(format!("match.{what}"), format!("at most {MOST}")));
            }
        }
        if problems.is_empty() { Ok(conditions) } else { Err(problems) }
    }

    /// How many there are; the more, the earlier a route is asked.
    pub fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len()
    }

    /// Whether HEAD is among the methods and GET, which stands for it, is not.
    pub fn names_head_alone(&self) -> bool {
        self.methods.contains(&Method::HEAD) && !self.methods.contains(&Method::GET)
    }

    /// Whether a request meets all of them.
    pub fn hold(&self, wanted: &Wanted<'_>) -> bool {
        self.has_method(wanted.method)
            && self.headers.iter().all(|(name, value)| has_field(wanted, name, value.as_ref()))
            && self.query.iter().all(|(name, value)| has_parameter(wanted.query, name, value.as_deref()))
    }

    /// Whether a request has a field that is asked for in another spelling, which the service may read as that field and
    /// the gateway does not.
    pub fn are_misspelled(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().any(|(name, _)| is_misspelled(headers, name))
    }

    /// GET stands for HEAD too: whoever may not get something need not be told about it either.
    fn has_method(&self, method: &Method) -> bool {
        let has = |method| self.methods.contains(method);
        self.methods.is_empty() || has(method) || (*method == Method::HEAD && has(&Method::GET))
    }

    /// The first of them that a request does not meet, in words.
    pub fn failing(&self, wanted: &Wanted<'_>) -> Option<String> {
        if !self.has_method(wanted.method) {
            let declared: Vec<_> = self.methods.iter().map(Method::as_str).collect();
            return Some(format!("the method is none of {}", declared.join(", ")));
        }
        if let Some((name, value)) = self.headers.iter().find(|(name, value)| !has_field(wanted, name, value.as_ref()))
        {
            return Some(value.as_ref().map_or_else(
                || format!("there is no field '{name}'"),
                |value| format!("no field '{name}' is '{}'", String::from_utf8_lossy(value.as_bytes())),
            ));
        }
        let query = wanted.query;
        self.query.iter().find(|(name, value)| !has_parameter(query, name, value.as_deref())).map(|(name, value)| {
            value.as_ref().map_or_else(
                || format!("there is no query parameter '{name}'"),
                |value| format!("no query parameter '{name}' is '{value}'"),
            )
        })
    }
}

fn wanted(value: &str) -> Option<&str> {
    (value != "*").then_some(value)
}

fn has_field(wanted: &Wanted<'_>, name: &HeaderName, value: Option<&HeaderValue>) -> bool {
    if wanted.announced && is_announced(wanted.headers, name) {
        return true;
    }
    match value {
        None => wanted.headers.contains_key(name),
        Some(value) => wanted.headers.get_all(name).into_iter().any(|found| found == value),
    }
}

/// Whether a preflight names a field of the call that it announces. Its value is not known yet.
fn is_announced(headers: &HeaderMap, name: &HeaderName) -> bool {
    let lines = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).into_iter();
    let mut names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.any(|found| found.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// Whether a query has a parameter, in whichever way its name and value are written (the form encoding of the URL
/// standard).
fn has_parameter(query: Option<&[u8]>, name: &str, value: Option<&str>) -> bool {
    query.unwrap_or_default().split(|byte| *byte == b'&').any(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let is = |part: Option<&[u8]>, text: &str| decoded(part.unwrap_or_default()).eq(text.bytes());
        is(parts.next(), name) && value.is_none_or(|value| is(parts.next(), value))
    })
}

/// What a name or value in a query stands for. A `%` that begins no escape stands for itself.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        if let [b'%', high, low, behind @ ..] = rest
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            rest = behind;
            return Some(high << 4 | low);
        }
        let (first, behind) = rest.split_first()?;
        rest = behind;
        Some(if *first == b'+' { b' ' } else { *first })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_every_spelling() {
        for (query, name, value, found) in [
            ("debug", "debug", None, true),
            ("a=1&debug=", "debug", None, true),
            ("%64ebug=1", "debug", Some("1"), true),
            ("debu%67=%31", "debug", Some("1"), true),
            ("a+b=c%20d", "a b", Some("c d"), true),
            ("a%2Bb=1", "a+b", Some("1"), true),
            ("a=b=c", "a", Some("b=c"), true),
            ("debug=2&debug=1", "debug", Some("1"), true),
            ("%zz=1", "%zz", Some("1"), true),
            ("a%", "a%", None, true),
            ("debugger=1", "debug", None, false),
            ("debug=11", "debug", Some("1"), false),
            ("x=debug", "debug", None, false),
            ("%2564ebug=1", "debug", None, false),
        ] {
            assert_eq!(has_parameter(Some(query.as_bytes()), name, value), found, "{query}");
        }
        assert!(!has_parameter(None, "debug", None));
    }
}
