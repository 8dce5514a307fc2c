//! A kind of policy: its name, why it stands where it stands, what its settings look like, how it is built.

use std::sync::Arc;

use portcullis_core::model::Problem;
use portcullis_core::policy::Step;
use serde_json::Value;

use crate::PolicyContext;
use crate::credential::Verifier;

/// One row of the table of kinds.
pub struct Kind {
    /// Its name, by which the walk of a call knows it.
    pub name: &'static str,
    /// The name of its settings in declarations: its own, unless it is a second place of a kind that has another row.
    pub settings: &'static str,
    /// Why it stands where it stands.
    pub reason: &'static str,
    /// The JSON schema of its settings.
    pub schema: fn() -> Value,
    /// How it is built.
    pub build: Build,
}

impl Kind {
    /// Whether declarations know it by its name: no second place of another kind, and no field of the service.
    pub fn is_declared(&self) -> bool {
        self.settings == self.name && !matches!(self.build, Build::Require(_))
    }
}

type Built<T> = Result<T, Vec<Problem>>;

/// Builds something for a site out of its settings, where there are any.
pub type Builder<T> = fn(&PolicyContext<'_>, Option<&Value>) -> Built<T>;

/// How a kind is built.
#[derive(Clone, Copy)]
pub enum Build {
    /// A step of its own; none where its settings make it do nothing.
    Step(Builder<Option<Step>>),
    /// A credential, asked by the step that requires credentials.
    Credential(Builder<Arc<dyn Verifier>>),
    /// The step that requires credentials.
    Require(RequireBuilder),
}

/// Builds the step that requires credentials out of the declared alternatives and the credentials there are.
pub type RequireBuilder = fn(&PolicyContext<'_>, &[(&'static str, Arc<dyn Verifier>)]) -> Built<Option<Step>>;
