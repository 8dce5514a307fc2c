//! What a request must show besides its host and path.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_core::model::{Match, Problem};

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

    /// Whether a request meets all of them.
    pub fn hold(&self, method: &Method, headers: &HeaderMap, query: Option<&[u8]>) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|(name, value)| has_field(headers, name, value.as_ref()))
            && self.query.iter().all(|(name, value)| has_parameter(query.unwrap_or_default(), name, value.as_deref()))
    }

    /// The first of them that a request does not meet, in words.
    pub fn failing(&self, method: &Method, headers: &HeaderMap, query: Option<&[u8]>) -> Option<String> {
        if !self.methods.is_empty() && !self.methods.contains(method) {
            let declared: Vec<_> = self.methods.iter().map(Method::as_str).collect();
            return Some(format!("the method is none of {}", declared.join(", ")));
        }
        if let Some((name, value)) = self.headers.iter().find(|(name, value)| !has_field(headers, name, value.as_ref()))
        {
            return Some(value.as_ref().map_or_else(
                || format!("there is no field '{name}'"),
                |value| format!("no field '{name}' is '{}'", String::from_utf8_lossy(value.as_bytes())),
            ));
        }
        let query = query.unwrap_or_default();
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

fn has_field(headers: &HeaderMap, name: &HeaderName, value: Option<&HeaderValue>) -> bool {
    match value {
        None => headers.contains_key(name),
        Some(value) => headers.get_all(name).into_iter().any(|found| found == value),
    }
}

fn has_parameter(query: &[u8], name: &str, value: Option<&str>) -> bool {
    query.split(|byte| *byte == b'&').any(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        parts.next() == Some(name.as_bytes())
            && value.is_none_or(|value| parts.next().unwrap_or_default() == value.as_bytes())
    })
}
