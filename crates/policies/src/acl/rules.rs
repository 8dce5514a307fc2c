//! Ordered rules over the path: the first that matches decides.
//!
//! Rules see the canonical path behind the route's prefix. Some servers cut parameters (`;…`) off the segments of a
//! path before they look at it; a path that has some is looked at in both forms, and what allows must match both.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use portcullis_core::call::{Call, KeyHolder};
use portcullis_core::canonical::{EncodedSlash, Path};
use portcullis_core::directory::ClientEntry;
use portcullis_core::model::{Label, Problem};
use portcullis_core::refusal::Refusal;
use regex::bytes::{RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

/// Rules a route has at most.
const MOST: usize = 64;
/// Bytes of a path in a rule.
const LONGEST: usize = 1_024;
/// Bytes all patterns of a route have when they are compiled.
const COMPILED: usize = 1 << 20;
/// Entries a list in a rule has at most.
const MOST_NAMED: usize = 256;

/// What a rule, or the absence of one, means for a call.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effect {
    /// It goes on.
    #[default]
    Allow,
    /// It is refused with 403.
    Deny,
}

/// One rule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSettings {
    /// A path and everything below it (`/admin`), or, if it begins with `^`, a regular expression
    /// (`^/users/[0-9]+$`). Seen is the canonical path behind the route's prefix. All paths, if absent.
    #[serde(default)]
    path: Option<String>,
    /// Methods; all, if empty. GET stands for HEAD too.
    #[serde(default)]
    methods: Vec<String>,
    /// Clients by name; everybody, known or not, if empty.
    #[serde(default)]
    clients: Vec<String>,
    /// What the rule means for a call it matches.
    effect: Effect,
}

/// The compiled rules.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    patterns: RegexSet,
    default: Effect,
}

#[derive(Debug)]
struct Rule {
    path: Place,
    methods: Vec<Method>,
    clients: Vec<Label>,
    effect: Effect,
}

#[derive(Debug)]
enum Place {
    Everywhere,
    Below(String),
    /// By its number in the set.
    Pattern(usize),
}

impl Rules {
    /// Compiles rules, or says everything that is wrong with them.
    pub(super) fn compile(declared: &[RuleSettings], default: Effect) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if declared.len() > MOST {
            problems.push(Problem::new("rules", format!("at most {MOST} rules")));
        }
        let mut patterns = Vec::new();
        let mut rules = Vec::with_capacity(declared.len());
        for (at, rule) in declared.iter().enumerate() {
            rules.push(rule.compile(&format!("rules[{at}]"), &mut patterns, &mut problems));
        }
        if problems.is_empty() {
            match set(&patterns) {
                Ok(patterns) => return Ok(Self { rules, patterns, default }),
                Err(error) => problems.push(Problem::new("rules", error)),
            }
        }
        Err(problems)
    }

    /// Whether a call may go on.
    pub(super) fn check(&self, call: &Call) -> Result<(), Refusal> {
        if self.effect(call) == Effect::Allow {
            return Ok(());
        }
        Err(Refusal::Forbidden { detail: "the rules of the service do not allow this".into() })
    }

    fn effect(&self, call: &Call) -> Effect {
        let path = if call.rest().is_empty() { "/" } else { call.rest() };
        let plain = without_parameters(path);
        let matched = self.first(path, &plain, &call.request.method, call);
        matched.map_or(self.default, |rule| rule.effect)
    }

    fn first(&self, path: &str, plain: &str, method: &Method, call: &Call) -> Option<&Rule> {
        let as_sent = Form { path, matches: self.matches(path) };
        // Nearly always the same.
        let other = (path != plain).then(|| Form { path: plain, matches: self.matches(plain) });
        self.rules.iter().find(|rule| {
            let meets = |form: &Form<'_>| rule.path.meets(form);
            let path_matches = match (&other, rule.effect) {
                (None, _) => meets(&as_sent),
                (Some(other), Effect::Allow) => meets(&as_sent) && meets(other),
                (Some(other), Effect::Deny) => meets(&as_sent) || meets(other),
            };
            path_matches && rule.names_method(method) && rule.names_client(call)
        })
    }

    fn matches(&self, path: &str) -> Option<regex::bytes::SetMatches> {
        (!self.patterns.is_empty()).then(|| self.patterns.matches(path.as_bytes()))
    }
}

/// A path with the patterns that match it.
struct Form<'a> {
    path: &'a str,
    matches: Option<regex::bytes::SetMatches>,
}

impl Place {
    fn meets(&self, form: &Form<'_>) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Below(prefix) => match form.path.strip_prefix(prefix.as_str()) {
                Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
                None => false,
            },
            Self::Pattern(number) => form.matches.as_ref().is_some_and(|matches| matches.matched(*number)),
        }
    }
}

impl Rule {
    fn names_method(&self, method: &Method) -> bool {
        let method = if *method == Method::HEAD && !self.methods.contains(method) { &Method::GET } else { method };
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// A rule that allows looks at the client that calls; one that denies, at every client the call has shown.
    fn names_client(&self, call: &Call) -> bool {
        if self.clients.is_empty() {
            return true;
        }
        let key = match &call.caller.key {
            Some(KeyHolder::Client(client)) => Some(client),
            _ => None,
        };
        let named = |client: &Arc<ClientEntry>| self.clients.contains(&client.name);
        match self.effect {
            Effect::Allow => call.caller.client().is_some_and(named),
            Effect::Deny => key.into_iter().chain(&call.caller.token_client).any(named),
        }
    }
}

impl RuleSettings {
    fn compile(&self, path: &str, patterns: &mut Vec<String>, problems: &mut Vec<Problem>) -> Rule {
        let mut wrong = |field: &str, message: String| problems.push(Problem::new(format!("{path}.{field}"), message));
        for (field, list) in [("methods", &self.methods), ("clients", &self.clients)] {
            if list.len() > MOST_NAMED {
                wrong(field, format!("at most {MOST_NAMED} entries"));
            }
        }
        let place = match self.path.as_deref() {
            None => Place::Everywhere,
            Some(text) if text.len() > LONGEST => {
                wrong("path", format!("at most {LONGEST} bytes"));
                Place::Everywhere
            }
            Some(text) if text.starts_with('^') => {
                if let Err(error) = set(&[text.to_owned()]) {
                    wrong("path", error);
                }
                patterns.push(text.to_owned());
                Place::Pattern(patterns.len() - 1)
            }
            Some(text) => {
                if let Err(message) = is_canonical(text) {
                    wrong("path", message);
                }
                Place::Below(text.to_owned())
            }
        };
        let mut methods = Vec::new();
        for (at, text) in self.methods.iter().enumerate() {
            match Method::from_bytes(text.as_bytes()) {
                Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => methods.push(method),
                _ => wrong(&format!("methods[{at}]"), format!("expected a method in capitals, found '{text}'")),
            }
        }
        let mut clients = Vec::new();
        for (at, text) in self.clients.iter().enumerate() {
            match text.parse() {
                Ok(name) => clients.push(name),
                Err(_) => wrong(&format!("clients[{at}]"), format!("'{text}' is no name of a client")),
            }
        }
        Rule { path: place, methods, clients, effect: self.effect }
    }
}

/// A path that is not in canonical form would never be met.
fn is_canonical(text: &str) -> Result<(), String> {
    match Path::parse(text, EncodedSlash::Keep) {
        Ok(path) if path.as_str() == text && !text.contains(';') => Ok(()),
        Ok(path) => Err(format!("expected the canonical form, '{}'", without_parameters(path.as_str()))),
        Err(_) => {
            Err(format!("expected a path that begins with '/', or a pattern that begins with '^', found '{text}'"))
        }
    }
}

/// Canonical paths are ASCII, so patterns are over bytes and stay small. Matching takes time linear in the path.
fn set(patterns: &[String]) -> Result<RegexSet, String> {
    let built = RegexSetBuilder::new(patterns).unicode(false).size_limit(COMPILED).dfa_size_limit(COMPILED).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("the patterns of a route have at most {COMPILED} bytes, compiled"),
        error => format!("no regular expression: {}", error.to_string().lines().last().unwrap_or_default()),
    })
}

/// The path without what stands behind a `;` in its segments, and without segments that have nothing else.
fn without_parameters(path: &str) -> Cow<'_, str> {
    if !path.contains(';') {
        return Cow::Borrowed(path);
    }
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/') {
        if !plain.ends_with('/') {
            plain.push('/');
        }
        plain.push_str(segment.split(';').next().unwrap_or_default());
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests;
