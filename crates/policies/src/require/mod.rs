//! `require`: which credentials a call must show. Alternatives, each a list of kinds that must all be good.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{Call, Caller, Response};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Next, Policy, Step};
use portcullis_core::refusal::Refusal;
use serde_json::{Value, json};

use crate::credential::{Verdict, Verifier};

type Named = (&'static str, Arc<dyn Verifier>);

/// Alternatives a route has at most, and kinds in each.
const MOST: usize = 8;

/// The shape of `require` itself; it is a field of the service, not one of its policies.
pub fn schema() -> Value {
    json!({
        "type": "array", "maxItems": MOST,
        "items": {"type": "array", "minItems": 1, "maxItems": MOST, "items": {"type": "string"}}
    })
}

/// Builds the step; an empty list of alternatives is an open route, which only keeps credentials from travelling.
pub fn build(declared: &[Vec<String>], credentials: &[Named]) -> Result<Option<Step>, Vec<Problem>> {
    let mut problems = Vec::new();
    if declared.len() > MOST {
        problems.push(Problem::new("require", format!("at most {MOST} alternatives")));
    }
    let mut alternatives = Vec::with_capacity(declared.len());
    for (position, kinds) in declared.iter().enumerate() {
        let path = format!("require[{position}]");
        if kinds.is_empty() || kinds.len() > MOST {
            let message = format!("an alternative has 1 to {MOST} kinds; 'require: []' makes the service open");
            problems.push(Problem::new(path.clone(), message));
        }
        let found = kinds.iter().enumerate().filter_map(|(at, kind)| {
            let credential = credentials.iter().find(|(name, _)| name == kind);
            if credential.is_none() {
                let known = credentials.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                let message = format!("unknown kind of credential '{kind}'; expected one of {known}");
                problems.push(Problem::new(format!("{path}[{at}]"), message));
            }
            credential.map(|(_, verifier)| Arc::clone(verifier))
        });
        alternatives.push(found.collect::<Vec<_>>());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let named = |name: &str| declared.iter().flatten().any(|kind| kind == name);
    let withheld = credentials.iter().map(|(name, kind)| (Arc::clone(kind), named(name))).collect();
    Ok(Some(match alternatives.is_empty() {
        true => Step::Check(Arc::new(Open { withheld })),
        false => Step::Policy(Arc::new(Require { alternatives, withheld })),
    }))
}

/// Every kind of credential, and whether the route names it.
type Withheld = Vec<(Arc<dyn Verifier>, bool)>;

struct Open {
    withheld: Withheld,
}

impl Check for Open {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        withhold(&self.withheld, call);
        Ok(())
    }
}

struct Require {
    alternatives: Vec<Vec<Arc<dyn Verifier>>>,
    withheld: Withheld,
}

#[async_trait]
impl Policy for Require {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let mut first_refusal = None;
        for alternative in &self.alternatives {
            if !alternative.iter().all(|kind| kind.is_shown(call)) {
                continue;
            }
            match verify_all(alternative, call).await {
                Ok(()) => {
                    withhold(&self.withheld, call);
                    return Ok(next.run(call).await);
                }
                Err(refusal) => {
                    // What a half-verified alternative has found out does not count for the next one.
                    call.caller = Caller::default();
                    first_refusal.get_or_insert(refusal);
                }
            }
        }
        Err(first_refusal.unwrap_or_else(|| self.incomplete(call)))
    }
}

impl Require {
    /// No alternative is shown whole: names what is missing of the one that is nearest.
    fn incomplete(&self, call: &Call) -> Refusal {
        let missing = |all: &&Vec<Arc<dyn Verifier>>| all.iter().filter(|kind| !kind.is_shown(call)).count();
        let nearest = self.alternatives.iter().min_by_key(missing);
        let kind = nearest.and_then(|all| all.iter().find(|kind| !kind.is_shown(call)));
        kind.map_or_else(|| Refusal::internal("a route that requires nothing it could name"), |kind| kind.missing())
    }
}

fn withhold(withheld: &Withheld, call: &mut Call) {
    for (kind, named) in withheld {
        kind.withhold(call, *named);
    }
}

async fn verify_all(alternative: &[Arc<dyn Verifier>], call: &mut Call) -> Result<(), Refusal> {
    for kind in alternative {
        if let Verdict::Ask(answer) = kind.verify(call)? {
            let note = answer.await?;
            note(call);
        }
    }
    Ok(())
}
