//! Built-in endpoints: what answers at paths of the gateway's own, and the routes that lead there without having been
//! declared. Their steps are compiled like those of any route.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portcullis_core::call::RouteFacts;
use portcullis_core::model::{Problem, Service, ServiceId};
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_policies::{Parts, RouteEnd};
use serde_json::Value;

use crate::routes::{Candidate, Conditions, Meets};

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
        let name: Arc<str> = self.path.into();
        let declared = Service { require: self.require.clone(), policies: self.policies.clone(), ..Service::default() };
        let end = RouteEnd::Builtin { path: self.path, grant: self.grant.as_ref() };
        let steps = portcullis_policies::compile(&name, None, &BTreeMap::new(), end, &declared, parts)?;
        let facts = RouteFacts { name: Arc::clone(&name), grant: self.grant.clone(), ..RouteFacts::default() };
        let pipeline = Arc::new(Pipeline::new(Arc::new(facts), steps, Arc::clone(&self.endpoint)));
        Ok(Candidate { name, meets: self.meets, conditions: Conditions::default(), pipeline })
    }
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

    /// Each of them.
    pub fn all(&self) -> impl Iterator<Item = &Builtin> {
        self.0.iter()
    }
}
