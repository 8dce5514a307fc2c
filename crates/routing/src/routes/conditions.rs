//! What a request must show besides its host and path.

use http::Method;
use portcullis_core::escapes::form_decoded;
use portcullis_core::fields::is_never_seen;
use portcullis_core::message::names::ACCESS_CONTROL_REQUEST_HEADERS;
use portcullis_core::message::{FieldName, FieldValue, Fields};
use portcullis_core::model::{Match, Problem};
use portcullis_core::spellings::{is_misspelled, is_plain};

use super::RouteQuery;

/// Conditions of one kind a route has at most.
const MOST: usize = 32;

/// Why a service may take a request for another one than the gateway does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// A field that a condition names is there in another spelling.
    Spelling,
    /// A field or parameter is there several times, and some of its values meet a condition while others do not.
    Values,
}

/// Methods, fields and query parameters a request must have. Most routes ask for none, and have nothing of it in memory.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Option<Box<Declared>>);

#[derive(Debug, Clone, Default)]
struct Declared {
    methods: Vec<Method>,
    headers: Vec<(FieldName, Option<FieldValue>)>,
    query: Vec<(String, Option<String>)>,
    /// Whether a field is named in an odd way, so that a plain name may be another spelling of it.
    odd: bool,
}

impl Declared {
    fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.headers.is_empty() && self.query.is_empty()
    }
}

impl Conditions {
    /// Reads declared conditions, or says everything that is wrong with them.
    pub fn parse(declared: &Match) -> Result<Self, Vec<Problem>> {
        let (conditions, problems) = Self::read(declared);
        if problems.is_empty() { Ok(conditions) } else { Err(problems) }
    }

    /// Those that can be read of conditions among which something is wrong.
    pub fn readable(declared: &Match) -> Self {
        Self::read(declared).0
    }

    fn read(declared: &Match) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut conditions = Declared::default();
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
            match (FieldName::from_bytes(name.as_bytes()), wanted(value).map(FieldValue::of).transpose()) {
                (Ok(name), Ok(value)) => {
                    if is_never_seen(name.as_str()) {
                        let message = "this field is taken away from every call before routes are chosen: the condition never holds";
                        problems.push(Problem::new(path, message));
                    }
                    conditions.odd |= !is_plain(name.as_str());
                    conditions.headers.push((name, value));
                }
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
        (Self(Some(conditions).filter(|conditions| !conditions.is_empty()).map(Box::new)), problems)
    }

    fn declared(&self) -> &Declared {
        static NONE: Declared = Declared { methods: Vec::new(), headers: Vec::new(), query: Vec::new(), odd: false };
        self.0.as_deref().unwrap_or(&NONE)
    }

    /// How many there are; the more, the earlier a route is asked.
    pub fn count(&self) -> usize {
        usize::from(!self.declared().methods.is_empty()) + self.declared().headers.len() + self.declared().query.len()
    }

    /// Whether HEAD is among the methods and GET, which stands for it, is not.
    pub fn names_head_alone(&self) -> bool {
        self.declared().methods.contains(&Method::HEAD) && !self.declared().methods.contains(&Method::GET)
    }

    /// Whether a request meets all of them.
    pub fn hold(&self, wanted: &RouteQuery<'_>) -> bool {
        self.has_method(wanted.method)
            && self.declared().headers.iter().all(|(name, value)| has_field(wanted, name, value.as_ref()))
            && self.declared().query.iter().all(|(name, value)| has_parameter(wanted.query, name, value.as_deref()))
    }

    /// Whether any of them is about a field or a parameter, which a request may have more than once.
    pub fn look_at_values(&self) -> bool {
        !self.declared().headers.is_empty() || !self.declared().query.is_empty()
    }

    /// What of a request the service may read differently than the gateway. `odd`: whether any of its fields has a name that
    /// is not plain; `holds`: what [`Self::hold`] says of it.
    pub fn doubt(&self, wanted: &RouteQuery<'_>, odd: bool, holds: bool) -> Option<Doubt> {
        if (odd || self.declared().odd)
            && self.declared().headers.iter().any(|(name, _)| is_misspelled(wanted.headers, name))
        {
            return Some(Doubt::Spelling);
        }
        // One that leads nowhere, whichever value is taken, is in no doubt.
        let is_doubtful = || {
            let mut fields = self.declared().headers.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
            fields.any(|(name, value)| is_mixed(wanted.headers.all(name).map(|it| it == *value)))
                || self.declared().query.iter().any(|(name, value)| {
                    value.as_deref().is_some_and(|value| is_mixed(values_of(wanted.query, name).map(|it| it.is(value))))
                })
        };
        (holds && is_doubtful()).then_some(Doubt::Values)
    }

    /// GET stands for HEAD too: whoever may not get something need not be told about it either.
    fn has_method(&self, method: &Method) -> bool {
        let has = |method| self.declared().methods.contains(method);
        self.declared().methods.is_empty() || has(method) || (*method == Method::HEAD && has(&Method::GET))
    }

    /// The first of them that a request does not meet, in words.
    pub fn failing(&self, wanted: &RouteQuery<'_>) -> Option<String> {
        if !self.has_method(wanted.method) {
            let declared: Vec<_> = self.declared().methods.iter().map(Method::as_str).collect();
            return Some(format!("the method is none of {}", declared.join(", ")));
        }
        if let Some((name, value)) =
            self.declared().headers.iter().find(|(name, value)| !has_field(wanted, name, value.as_ref()))
        {
            return Some(value.as_ref().map_or_else(
                || format!("there is no field '{name}'"),
                |value| format!("no field '{name}' is '{}'", String::from_utf8_lossy(value.as_bytes())),
            ));
        }
        let query = wanted.query;
        self.declared().query.iter().find(|(name, value)| !has_parameter(query, name, value.as_deref())).map(
            |(name, value)| {
                value.as_ref().map_or_else(
                    || format!("there is no query parameter '{name}'"),
                    |value| format!("no query parameter '{name}' is '{value}'"),
                )
            },
        )
    }
}

fn wanted(value: &str) -> Option<&str> {
    (value != "*").then_some(value)
}

fn has_field(wanted: &RouteQuery<'_>, name: &FieldName, value: Option<&FieldValue>) -> bool {
    if wanted.announced && is_announced(wanted.headers, name) {
        return true;
    }
    match value {
        None => wanted.headers.has(name),
        Some(value) => wanted.headers.all(name).any(|found| found == *value),
    }
}

/// Whether a preflight names a field of the call that it announces. Its value is not known yet.
fn is_announced(headers: Fields<'_>, name: &FieldName) -> bool {
    let lines = headers.all(ACCESS_CONTROL_REQUEST_HEADERS);
    let mut names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.any(|found| found.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// Whether some are and others are not.
fn is_mixed(mut values: impl Iterator<Item = bool>) -> bool {
    values.next().is_some_and(|first| values.any(|other| other != first))
}

/// Whether a query has a parameter, in whichever way its name and value are written (the form encoding of the URL
/// standard).
fn has_parameter(query: Option<&[u8]>, name: &str, value: Option<&str>) -> bool {
    values_of(query, name).any(|found| value.is_none_or(|value| found.is(value)))
}

/// A value in a query, as it is written.
struct Written<'a>(&'a [u8]);

impl Written<'_> {
    fn is(&self, text: &str) -> bool {
        form_decoded(self.0).eq(text.bytes())
    }
}

/// All values of a parameter.
fn values_of<'a>(query: Option<&'a [u8]>, name: &str) -> impl Iterator<Item = Written<'a>> {
    query.unwrap_or_default().split(|byte| *byte == b'&').filter_map(move |pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=').map(Written);
        parts.next()?.is(name).then(|| parts.next().unwrap_or(Written(&[])))
    })
}

#[cfg(test)]
mod tests {
    use portcullis_core::canonical::{Host, Path};
    use portcullis_core::message::{FieldMap, HasFields};
    use portcullis_core::model::PathMatch;

    use super::*;

    fn on_field(name: &str) -> Match {
        let path = PathMatch::Prefix("/".to_owned());
        let headers = [(name.to_owned(), "*".to_owned())].into();
        Match { client: None, hosts: Vec::new(), path, methods: Vec::new(), headers, query: Default::default() }
    }

    fn holds(conditions: &Conditions, headers: Fields<'_>, query: &str) -> (bool, Option<Doubt>) {
        let (host, path) = (Host::unnamed(), Path::root());
        let wanted = RouteQuery {
            client: None,
            host: &host,
            path: path.decision(),
            method: &Method::GET,
            headers,
            query: Some(query.as_bytes()),
            announced: false,
            in_any_case: false,
        };
        let (holds, odd) = (conditions.hold(&wanted), portcullis_core::spellings::has_odd_names(headers));
        (holds, conditions.doubt(&wanted, odd, holds))
    }

    #[test]
    fn several_values_are_in_doubt_where_they_lead_apart() {
        let path = PathMatch::Prefix("/".to_owned());
        let one = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        for (wanted, values, want) in [
            ("a", &["a"][..], (true, None)),
            ("a", &["a", "a"], (true, None)),
            ("a", &["b", "c"], (false, None)),
            ("a", &[], (false, None)),
            ("a", &["a", "b"], (true, Some(Doubt::Values))),
            ("a", &["b", "a"], (true, Some(Doubt::Values))),
            ("a", &["b", "b", "a", "b"], (true, Some(Doubt::Values))),
            ("*", &["a", "b"], (true, None)),
        ] {
            let mut declared = on_field("x-a");
            declared.headers = one("x-a", wanted);
            let headers = values.iter().map(|value| (FieldName::from_static("x-a"), FieldValue::from_static(value)));
            let headers: FieldMap = headers.collect();
            let found = holds(&Conditions::parse(&declared).expect("well formed"), headers.fields(), "");
            assert_eq!(found, want, "{wanted} {values:?}");
            for (name, other) in [("p", "x"), ("%70", "&y=z")] {
                let pairs: Vec<_> = values.iter().map(|value| format!("{name}={value}")).collect();
                let query = format!("{other}&{}", pairs.join("&"));
                let declared = Match { query: one("p", wanted), headers: Default::default(), ..declared.clone() };
                let found =
                    holds(&Conditions::parse(&declared).expect("well formed"), FieldMap::new().fields(), &query);
                assert_eq!(found, want, "{wanted} {query}");
            }
        }
        // One that leads nowhere is in no doubt.
        let methods = vec!["POST".to_owned()];
        let declared =
            Match { client: None, hosts: Vec::new(), path, methods, headers: Default::default(), query: one("p", "a") };
        let conditions = Conditions::parse(&declared).expect("well formed");
        assert_eq!(holds(&conditions, FieldMap::new().fields(), "p=a&p=b"), (false, None));
    }

    #[test]
    fn a_condition_that_never_holds_is_a_problem_and_no_other_is() {
        let mut outcomes = [0, 0];
        for name in [
            "Host",
            "Connection",
            "Upgrade",
            "Expect",
            "TE",
            "Content-Length",
            "Transfer-Encoding",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Anything",
            "Forwarded",
            "X-Real-IP",
            "X-User-Json",
            "X-App-Id",
            "X-Request-Id",
            "Remote-User",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "X-SSL-Client-Cert",
            "Client-Cert",
            "Proxy",
            "X-API-Key",
            "True-Client-IP",
            "CF-Connecting-IP",
            "Traceparent",
            "Authorization",
            "Cookie",
            "Content-Type",
            "X-Tenant",
            "X-Hosts",
        ] {
            for separator in "-_.!#$%&'*+^`|~".chars() {
                let spelling = name.replace('-', &separator.to_string());
                let (declared, seen) = (on_field(&spelling), !is_never_seen(&spelling));
                let conditions = Conditions::parse(&declared);
                assert_eq!(conditions.is_ok(), seen, "{spelling}");
                if let Err(problems) = conditions {
                    assert_eq!(problems[0].path, format!("match.headers.{spelling}"));
                }
                // A route that is closed takes no more than it did.
                assert_eq!(Conditions::readable(&declared).count(), 1, "{spelling}");
                outcomes[usize::from(seen)] += 1;
            }
        }
        assert!(outcomes.iter().all(|count| *count > 50), "{outcomes:?}");
    }

    #[test]
    fn other_spellings_are_seen_whichever_of_both_is_odd() {
        let (sent, named) = (["x-tenant", "x_tenant", "x.tenant"], ["X-Tenant", "X_Tenant", "X.Tenant"]);
        for (at, sent) in sent.iter().enumerate() {
            let mut headers = FieldMap::new();
            headers.add(FieldName::from_bytes(sent.as_bytes()).expect("a name"), FieldValue::from_static("1"));
            for (other, named) in named.iter().enumerate() {
                let conditions = Conditions::parse(&on_field(named)).expect("well formed");
                assert_eq!(holds(&conditions, headers.fields(), "").1.is_some(), at != other, "{sent} {named}");
            }
        }
    }

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

    #[test]
    fn fuzz_conditions_of_queries() {
        let seeds = ["debug=1", "a=1&debug=", "%64ebug=1&b", "a+b=c%20d", "debu%67=%31", "%zz=1", "a%"];
        crate::fuzzing::run("conditions_of_queries", &seeds, |input| {
            // What a form would hold: a condition is met exactly where one of its pairs meets it.
            let decoded = |text: &[u8]| {
                let (mut plain, mut at) = (Vec::new(), 0);
                while at < text.len() {
                    let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
                    let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                    match (text[at], digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
                        (b'%', Some(byte)) => {
                            plain.push(byte);
                            at += 2;
                        }
                        (b'+', _) => plain.push(b' '),
                        (byte, _) => plain.push(byte),
                    }
                    at += 1;
                }
                plain
            };
            let pairs: Vec<(Vec<u8>, Vec<u8>)> = input
                .split(|byte| *byte == b'&')
                .map(|pair| {
                    let mut halves = pair.splitn(2, |byte| *byte == b'=');
                    (decoded(halves.next().unwrap_or_default()), decoded(halves.next().unwrap_or_default()))
                })
                .collect();
            for (name, value) in &pairs {
                let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else { continue };
                // An empty piece between two `&` is no parameter.
                if !name.is_empty() {
                    assert!(
                        has_parameter(Some(input), name, None) && has_parameter(Some(input), name, Some(value)),
                        "{name}={value}"
                    );
                }
            }
            let wanted = ["debug", "a b", "a"].map(|name| {
                let expected = pairs.iter().any(|(found, value)| found == name.as_bytes() && value == b"1");
                assert_eq!(has_parameter(Some(input), name, Some("1")), expected, "{name}");
                expected
            });
            (wanted, pairs.len().min(6))
        });
    }
}
