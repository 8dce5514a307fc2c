//! Ordered rules over the path: the first that matches decides.
//!
//! Rules see the decision form of the path behind the route's prefix. Where a route takes paths with parameters (`;…`),
//! every reading of a path must come to the same end.

use std::sync::Arc;

use http::Method;
use portcullis_core::call::{Call, ForeignClient, KeyHolder};
use portcullis_core::canonical::{DecisionPath, Path, read_pattern};
use portcullis_core::directory::ClientEntry;
use portcullis_core::model::{Label, Problem};
use portcullis_core::refusal::Refusal;
use regex::bytes::{RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::python;

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
    /// A path and everything below it (`/admin`, or `/admin/*`), or, if it begins with `^`, a regular expression
    /// (`^/users/[0-9]+$`). The rule matches the path without the route's prefix, in its decision form: every escape of a
    /// character that may stand in a path unescaped is decoded. A regular expression has no look-around, no backreferences and no
    /// possessive quantifiers. All paths, if absent.
    #[serde(default)]
    path: Option<String>,
    /// Methods; all, if empty. GET stands for HEAD too.
    #[serde(default)]
    methods: Vec<String>,
    /// Clients by name, those of another issuer as `issuer#id`; everybody, known or not, if empty.
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
    /// Whether upper and lower case are the same in paths.
    ignores_case: bool,
    /// Whether a slash at the end of a path says nothing: an endpoint of the gateway is the same with it and without it.
    ignores_slash: bool,
}

#[derive(Debug)]
struct Rule {
    path: Scope,
    methods: Vec<Method>,
    clients: Vec<Label>,
    /// By issuer and id. No client of this gateway has such a name, for they hold a slash.
    foreign_clients: Vec<Box<str>>,
    effect: Effect,
}

#[derive(Debug)]
enum Scope {
    Everywhere,
    Below(String),
    /// By its number in the set.
    Pattern(usize),
}

impl Rules {
    /// Compiles rules, or says everything that is wrong with them.
    pub(super) fn compile(
        declared: &[RuleSettings],
        default: Effect,
        ignores_case: bool,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if declared.len() > MOST {
            problems.push(Problem::new("rules", format!("at most {MOST} rules")));
        }
        let mut patterns = Vec::new();
        let mut rules = Vec::with_capacity(declared.len());
        for (at, rule) in declared.iter().enumerate() {
            rules.push(rule.compile(&format!("rules[{at}]"), ignores_case, &mut patterns, &mut problems));
        }
        if problems.is_empty() {
            match set(&patterns, ignores_case) {
                Ok(patterns) => return Ok(Self { rules, patterns, default, ignores_case, ignores_slash: false }),
                Err(error) => problems.push(Problem::new("rules", error)),
            }
        }
        Err(problems)
    }

    /// The same for an endpoint of the gateway, which reads a path with a slash at its end as the one without it. So both come
    /// to one end: a rule matches both, if it matches either.
    pub(super) fn of_builtin(self) -> Self {
        Self { ignores_slash: true, ..self }
    }

    /// Whether a call may go on.
    pub(super) fn check(&self, call: &Call) -> Result<(), Refusal> {
        let effect = self.effect(call.rest(), call);
        if call.other_rests().any(|rest| self.effect(rest, call) != effect) {
            let detail = "with its parameters and without them, the rules of the service differ about the path";
            return Err(Refusal::malformed("path_parameters", detail));
        }
        if effect == Effect::Allow {
            return Ok(());
        }
        Err(Refusal::Forbidden { detail: "the rules of the service do not allow this".into() })
    }

    fn effect(&self, path: DecisionPath<'_>, call: &Call) -> Effect {
        let path = if self.ignores_slash { path.without_last_slash() } else { path };
        let folded = self.ignores_case.then(|| path.folded());
        let path = folded.as_ref().map_or(path, |folded| folded.decision());
        let form = self.form(path.as_str());
        let with_slash = self.ignores_slash.then(|| format!("{}/", path.as_str().trim_end_matches('/')));
        let with_slash = with_slash.as_deref().map(|path| self.form(path));
        let meets =
            |rule: &Rule| rule.path.meets(&form) || with_slash.as_ref().is_some_and(|form| rule.path.meets(form));
        let fits = |rule: &&Rule| meets(rule) && rule.names_method(&call.request.method) && rule.names_client(call);
        self.rules.iter().find(fits).map_or(self.default, |rule| rule.effect)
    }

    fn form<'a>(&self, path: &'a str) -> Form<'a> {
        let matches = (!self.patterns.is_empty()).then(|| self.patterns.matches(path.as_bytes()));
        Form { path, matches }
    }
}

/// A path with the patterns that match it.
struct Form<'a> {
    path: &'a str,
    matches: Option<regex::bytes::SetMatches>,
}

impl Scope {
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
        if self.clients.is_empty() && self.foreign_clients.is_empty() {
            return true;
        }
        let key = match &call.caller.key {
            Some(KeyHolder::Client(client)) => Some(client),
            _ => None,
        };
        let named = |client: &Arc<ClientEntry>| self.clients.contains(&client.name);
        let foreign = |client: &ForeignClient| self.foreign_clients.iter().any(|name| **name == *client.name);
        match self.effect {
            Effect::Allow => call.caller.client().is_some_and(named) || call.caller.foreign().is_some_and(foreign),
            Effect::Deny => {
                key.into_iter().chain(&call.caller.token_client).any(named)
                    || call.caller.foreign_client.as_ref().is_some_and(foreign)
            }
        }
    }
}

impl RuleSettings {
    fn compile(&self, path: &str, ignores_case: bool, patterns: &mut Vec<String>, problems: &mut Vec<Problem>) -> Rule {
        let mut wrong = |field: &str, message: String| problems.push(Problem::new(format!("{path}.{field}"), message));
        for (field, list) in [("methods", &self.methods), ("clients", &self.clients)] {
            if list.len() > MOST_NAMED {
                wrong(field, format!("at most {MOST_NAMED} entries"));
            }
        }
        let place = match self.path.as_deref() {
            None => Scope::Everywhere,
            Some(text) if text.len() > LONGEST => {
                wrong("path", format!("at most {LONGEST} bytes"));
                Scope::Everywhere
            }
            Some(text) if text.starts_with('^') => {
                let read = python::check(text).and_then(|()| read_pattern(text, ignores_case));
                let pattern = read.unwrap_or_else(|message| {
                    wrong("path", message);
                    "^".to_owned()
                });
                if let Err(error) = set(std::slice::from_ref(&pattern), ignores_case) {
                    wrong("path", error);
                }
                patterns.push(pattern);
                Scope::Pattern(patterns.len() - 1)
            }
            Some(text) => match decided(text, ignores_case) {
                Ok(prefix) => Scope::Below(prefix),
                Err(message) => {
                    wrong("path", message);
                    Scope::Everywhere
                }
            },
        };
        let mut methods = Vec::new();
        for (at, text) in self.methods.iter().enumerate() {
            match Method::from_bytes(text.as_bytes()) {
                Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => methods.push(method),
                _ => wrong(&format!("methods[{at}]"), format!("expected a method in capitals, found '{text}'")),
            }
        }
        let (mut clients, mut foreign_clients) = (Vec::new(), Vec::new());
        for (at, text) in self.clients.iter().enumerate() {
            match text.parse() {
                Ok(name) => clients.push(name),
                Err(_) if text.contains('/') && text.contains('#') => foreign_clients.push(text.as_str().into()),
                Err(_) => {
                    let hint = "a client of another issuer is written 'issuer#id'";
                    wrong(&format!("clients[{at}]"), format!("'{text}' is no name of a client; {hint}"));
                }
            }
        }
        Rule { path: place, methods, clients, foreign_clients, effect: self.effect }
    }
}

/// The form in which a declared path is compared. One that is not in canonical form would never be met.
fn decided(text: &str, ignores_case: bool) -> Result<String, String> {
    // As in patterns of routes; a rule covers its path and everything below it by itself.
    let text = text.strip_suffix("/*").unwrap_or(text);
    let text = if text.is_empty() { "/" } else { text };
    let text = if text.len() > 1 { text.strip_suffix('/').unwrap_or(text) } else { text };
    // Among other characters it is one.
    if text.split('/').any(|segment| matches!(segment, "*" | "**")) {
        let hint = "a rule covers everything below its path by itself, and a pattern begins with '^'";
        return Err(format!("'*' is not a wildcard in a rule's path: {hint}; write '%2A' for the character itself"));
    }
    match Path::parse(text) {
        Ok(path) if path.has_parameters() => Err("a path in a rule has no ';'".to_owned()),
        Ok(path) if !path.is_text() => Err("a path in a rule is UTF-8, and so are its escapes".to_owned()),
        Ok(path) if path.forwarded() == text && ignores_case => {
            Ok(path.decision().folded().decision().as_str().to_owned())
        }
        Ok(path) if path.forwarded() == text => Ok(path.decision().as_str().to_owned()),
        Ok(path) => Err(format!("expected the canonical form, '{}'", path.forwarded())),
        Err(_) => {
            Err(format!("expected a path that begins with '/', or a pattern that begins with '^', found '{text}'"))
        }
    }
}

/// Canonical paths are ASCII, so patterns are over bytes and stay small. Matching takes time linear in the path.
fn set(patterns: &[String], ignores_case: bool) -> Result<RegexSet, String> {
    let built = RegexSetBuilder::new(patterns)
        .unicode(false)
        .case_insensitive(ignores_case)
        .size_limit(COMPILED)
        .dfa_size_limit(COMPILED)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("the patterns of a route have at most {COMPILED} bytes, compiled"),
        error => format!("no regular expression: {}", error.to_string().lines().last().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests;
