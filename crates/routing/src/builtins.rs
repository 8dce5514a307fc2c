//! Built-in endpoints: what answers at paths of the gateway's own, and the routes that lead there without having been
//! declared. Their steps are compiled like those of any route.
//!
//! A declared route with `builtin: true` leads to one of them with other steps; its place in the table is beside that
//! endpoint's own ([`crate::routes`]), so it changes what is asked of calls, and never where they end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portcullis_core::call::RouteFacts;
use portcullis_core::model::{Label, Name, Problem, Route, Service, ServiceId};
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_policies::{Parts, RouteEnd};
use serde_json::Value;

use crate::routes::{Candidate, Conditions, DeclaredPath, Meets};

/// An endpoint of the gateway itself.
pub struct Builtin {
    /// Its path.
    pub path: &'static str,
    /// Whether paths below it are its own too.
    pub meets: Meets,
    /// What a client must be granted to call it, like `auth/v1`; none where everybody may.
    pub grant: Option<ServiceId>,
    /// Which credentials a call needs; none, if empty.
    pub require: Vec<Vec<String>>,
    /// Settings of policies by kind.
    pub policies: BTreeMap<String, Value>,
    /// What answers.
    pub endpoint: Arc<dyn Endpoint>,
}

impl Builtin {
    /// The route that leads there for every call, or what is wrong with its declaration.
    pub(crate) fn compile(&self, parts: &Arc<Parts>) -> Result<Candidate, Vec<Problem>> {
        let (name, own): (Arc<str>, _) = (self.path.into(), BTreeMap::new());
        let pipeline = self.pipeline(Arc::clone(&name), None, (None, &own), parts)?;
        Ok(Candidate { name, meets: self.meets, conditions: Conditions::default(), pipeline })
    }

    /// The pipeline of a declared route that leads there, or what is wrong with it.
    pub(crate) fn compile_route(
        &self,
        name: &Name,
        route: &Route,
        path: &DeclaredPath,
        parts: &Arc<Parts>,
    ) -> Result<Arc<Pipeline>, Vec<Problem>> {
        let mut problems = not_of_endpoints(route);
        if self.meets == Meets::Whole && path.meets == Meets::Below {
            let message = format!("the endpoint at '{}' has nothing below it: declare this path as 'exact'", self.path);
            problems.push(Problem::new("match.path", message));
        }
        let client = route.matches.client.as_ref();
        match self.pipeline(name.shared(), client, (route.require.as_ref(), &route.policies), parts) {
            Ok(pipeline) if problems.is_empty() => Ok(pipeline),
            compiled => {
                problems.extend(compiled.err().into_iter().flatten());
                Err(problems)
            }
        }
    }

    /// A pipeline that ends there: with these credentials and policies in place of the endpoint's own.
    fn pipeline(
        &self,
        name: Arc<str>,
        client: Option<&Label>,
        (require, policies): (Option<&Vec<Vec<String>>>, &BTreeMap<String, Value>),
        parts: &Arc<Parts>,
    ) -> Result<Arc<Pipeline>, Vec<Problem>> {
        let mut effective = self.policies.clone();
        effective.extend(policies.clone());
        let require = require.unwrap_or(&self.require).clone();
        let declared = Service { require, policies: effective, ..Service::default() };
        let end = RouteEnd::Builtin { path: self.path, grant: self.grant.as_ref() };
        let steps = portcullis_policies::compile(&name, client, policies, end, &declared, parts)?;
        let facts = RouteFacts { name, grant: self.grant.clone(), client: client.cloned(), ..RouteFacts::default() };
        Ok(Arc::new(Pipeline::sharing(Arc::new(facts), steps, Arc::clone(&self.endpoint))))
    }

    /// Whether a declared path is its own, or lies below it where everything there is its own.
    fn has(&self, path: &DeclaredPath) -> bool {
        let rest = path.key.strip_prefix(self.path);
        rest.is_some_and(|rest| rest.is_empty() || self.meets == Meets::Below && rest.starts_with('/'))
    }
}

/// What a route has that only one to a service can have.
fn not_of_endpoints(route: &Route) -> Vec<Problem> {
    let given = [
        ("traffic", !route.traffic.is_empty()),
        ("strip", route.strip),
        ("rewrite", route.rewrite.is_some()),
        ("query", !route.query.is_keep()),
        ("host", !route.host.is_target()),
        ("path_parameters", route.path_parameters.is_some()),
        ("encoded_slash", route.encoded_slash.is_some()),
        ("case_insensitive", route.case_insensitive.is_some()),
    ];
    let given = given.into_iter().filter(|(_, is_given)| *is_given);
    given.map(|(field, _)| Problem::new(field, "a route to an endpoint of the gateway does not have this")).collect()
}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builtin").field("path", &self.path).field("meets", &self.meets).finish_non_exhaustive()
    }
}

/// The built-in endpoints there are. Cheap to copy.
#[derive(Debug, Clone, Default)]
pub struct Builtins(Arc<[Builtin]>);

impl Builtins {
    /// These endpoints.
    pub fn new(all: Vec<Builtin>) -> Self {
        Self(all.into())
    }

    /// The endpoint at a declared path, or a problem that names the paths there are.
    pub(crate) fn at(&self, path: &DeclaredPath) -> Result<&Builtin, Problem> {
        let own = self.all().filter(|builtin| builtin.has(path));
        own.max_by_key(|builtin| builtin.path.len()).ok_or_else(|| {
            let shown = |builtin: &Builtin| match builtin.meets {
                Meets::Whole => format!("'{}'", builtin.path),
                Meets::Below => format!("'{}' and below", builtin.path),
            };
            let paths = self.all().map(shown).collect::<Vec<_>>().join(", ");
            Problem::new("match.path", format!("the gateway has no endpoint of its own here; it has some at {paths}"))
        })
    }

    /// Each of them.
    pub fn all(&self) -> impl Iterator<Item = &Builtin> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
