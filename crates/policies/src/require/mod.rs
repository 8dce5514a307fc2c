//! `require`: which credentials a call must show. Alternatives, each a list of kinds that must all be good.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{Call, Caller, Response};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Next, Policy, Step};
use portcullis_core::refusal::Refusal;
use serde_json::{Value, json};

use crate::credential::{Part, Verification, Verifier};

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
        let asked = kinds.iter().enumerate().filter_map(|(at, kind)| {
            let credential = credentials.iter().find(|(name, _)| name == kind);
            if credential.is_none() {
                let known = credentials.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                let message = format!("unknown kind of credential '{kind}'; expected one of {known}");
                problems.push(Problem::new(format!("{path}[{at}]"), message));
            }
            credential.map(|(_, verifier)| Arc::clone(verifier))
        });
        let asked = asked.collect();
        let part = |name: &str| match (kinds.iter().any(|kind| kind == name), is_asked(declared, name)) {
            (true, _) => Part::LetIn,
            (false, true) => Part::Passed,
            (false, false) => Part::Unasked,
        };
        let withheld = credentials.iter().map(|(name, kind)| (Arc::clone(kind), part(name))).collect();
        alternatives.push(Alternative { asked, withheld });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Some(match alternatives.is_empty() {
        true => {
            let withheld = credentials.iter().map(|(_, kind)| (Arc::clone(kind), Part::Unasked)).collect();
            Step::Check(Arc::new(Open { withheld }))
        }
        false => Step::Policy(Arc::new(Require { alternatives })),
    }))
}

fn is_asked(declared: &[Vec<String>], name: &str) -> bool {
    declared.iter().flatten().any(|kind| kind == name)
}

/// Every kind of credential, and what it has to do with letting a call in.
type Withheld = Vec<(Arc<dyn Verifier>, Part)>;

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
    alternatives: Vec<Alternative>,
}

struct Alternative {
    asked: Vec<Arc<dyn Verifier>>,
    /// What happens to credentials when this one has let a call in.
    withheld: Withheld,
}

#[async_trait]
impl Policy for Require {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let mut first_refusal = None;
        for alternative in &self.alternatives {
            if !alternative.asked.iter().all(|kind| kind.is_shown(call)) {
                continue;
            }
            match verify_all(&alternative.asked, call).await {
                Ok(()) => {
                    withhold(&alternative.withheld, call);
                    return Ok(next.run(call).await);
                }
                Err(refusal) => {
                    // What a half-verified alternative has found out does not count for the next one.
                    call.caller = Caller::default();
                    call.record.note(|record| (record.client, record.user) = (None, None));
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
        let missing = |one: &&Alternative| one.asked.iter().filter(|kind| !kind.is_shown(call)).count();
        let nearest = self.alternatives.iter().min_by_key(missing);
        let kind = nearest.and_then(|one| one.asked.iter().find(|kind| !kind.is_shown(call)));
        kind.map_or_else(|| Refusal::internal("a route that requires nothing it could name"), |kind| kind.missing())
    }
}

fn withhold(withheld: &Withheld, call: &mut Call) {
    for (kind, part) in withheld {
        kind.withhold(call, *part);
    }
}

async fn verify_all(alternative: &[Arc<dyn Verifier>], call: &mut Call) -> Result<(), Refusal> {
    for kind in alternative {
        if let Verification::Ask(answer) = kind.verify(call)? {
            let note = answer.await?;
            note(call);
        }
    }
    Ok(())
}
