//! `require`: which credentials a call must show. Alternatives, each a list of kinds that must all be good.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{Call, KeyHolder, Response};
use portcullis_core::message::HasFields;
use portcullis_core::message::names::SIGNATURE_INPUT;
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Next, Policy, Step};
use portcullis_core::refusal::Refusal;
use serde_json::{Value, json};

use crate::credential::{Part, Verification, Verifier};
use crate::{Parts, PolicyContext, RouteEnd};

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

/// Builds the step; an empty list of alternatives is an open route, which only keeps credentials from travelling. None for an
/// open endpoint of the gateway, from where nothing travels on.
pub fn build(site: &PolicyContext<'_>, credentials: &[Named]) -> Result<Option<Step>, Vec<Problem>> {
    let declared = &site.service.require;
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
        for (at, kind) in kinds.iter().enumerate() {
            if !credentials.iter().any(|(name, _)| name == kind) {
                let known = credentials.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                let message = format!("unknown kind of credential '{kind}'; expected one of {known}");
                problems.push(Problem::new(format!("{path}[{at}]"), message));
            }
        }
        let names = |name: &str| kinds.iter().any(|kind| kind == name);
        let mut asked = Vec::with_capacity(kinds.len());
        // In the order of the table, which each row there gives a reason for.
        for (name, kind) in credentials {
            match (names(name), kind.beside()) {
                (true, Some(other)) if !names(other) => {
                    let message = format!("'{name}' stands beside '{other}' alone: name both in the same alternative");
                    problems.push(Problem::new(path.clone(), message));
                }
                (true, _) => asked.push(Asked { kind: Arc::clone(kind), is_required: true }),
                (false, Some(other)) if names(other) => {
                    asked.push(Asked { kind: Arc::clone(kind), is_required: false });
                }
                (false, _) => {}
            }
        }
        let part = |name: &str, kind: &Arc<dyn Verifier>| match (names(name), is_asked(declared, name)) {
            (true, _) => Part::LetIn,
            _ if kind.beside().is_some_and(names) => Part::LetIn,
            (false, true) => Part::Passed,
            (false, false) => Part::Unasked,
        };
        let withheld = credentials.iter().map(|(name, kind)| (Arc::clone(kind), part(name, kind))).collect();
        alternatives.push(Alternative { asked, withheld });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Some(match alternatives.is_empty() {
        true if matches!(site.end, RouteEnd::Builtin { .. }) => return Ok(None),
        true => {
            let withheld = credentials.iter().map(|(_, kind)| (Arc::clone(kind), Part::Unasked)).collect();
            Step::Check(Arc::new(Open { withheld }))
        }
        false => Step::Policy(Arc::new(Require { alternatives, parts: Arc::clone(site.parts) })),
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
        withhold(&self.withheld, call)
    }
}

struct Require {
    alternatives: Vec<Alternative>,
    parts: Arc<Parts>,
}

struct Alternative {
    asked: Vec<Asked>,
    /// What happens to credentials when this one has let a call in.
    withheld: Withheld,
}

/// A kind of credential in an alternative.
struct Asked {
    kind: Arc<dyn Verifier>,
    /// Whether the alternative names it; else it is asked only where it is shown.
    is_required: bool,
}

#[async_trait]
impl Policy for Require {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let mark = call.mark();
        let mut first_refusal = None;
        for alternative in &self.alternatives {
            if !alternative.is_tried(call) {
                continue;
            }
            if first_refusal.is_some() {
                // What a half-verified alternative has found out does not count for the next one.
                call.restore(&mark);
            }
            match self.let_in(alternative, call).await {
                Ok(()) => return Ok(next.run(call).await),
                Err(refusal) => _ = first_refusal.get_or_insert(refusal),
            }
        }
        let is_proved = call.caller.client().is_some();
        // What was noted stays: what is told is signed and sealed as far as the last alternative has come.
        if call.found.are_none() {
            call.forget_caller();
        }
        let refusal = first_refusal.unwrap_or_else(|| self.incomplete(call));
        Err(if claims_client(call) && !is_proved { self.parts.strangers.failed(call, refusal) } else { refusal })
    }
}

/// Whether a call claims to be of a client, so that its refusal would tell something about that client.
fn claims_client(call: &Call) -> bool {
    let is_chosen = || call.route.as_ref().is_some_and(|route| route.client.is_some());
    call.dialect.fomalhaut().is_some() || call.request.fields().has(SIGNATURE_INPUT) || is_chosen()
}

impl Require {
    async fn let_in(&self, alternative: &Alternative, call: &mut Call) -> Result<(), Refusal> {
        alternative.verify(call).await?;
        self.is_on_own_route(call)?;
        withhold(&alternative.withheld, call)
    }

    /// Whether the client that is proved has no other route than the one that was chosen by the claim: of another client, or
    /// of none. Whoever could say who calls and does not say it, or says it otherwise, would choose what decides on the call.
    ///
    /// A token claims nothing, so it is not held to this.
    fn is_on_own_route(&self, call: &Call) -> Result<(), Refusal> {
        let Some(KeyHolder::Client(proved)) = &call.caller.key else { return Ok(()) };
        let is_claimed = call.claimed_client() == Some(&proved.name);
        if is_claimed || !self.parts.routes_of(call).has_own(call, &proved.name) {
            return Ok(());
        }
        let detail =
            "the client has a route of its own here, which is chosen only by a call that claims to be of it alone";
        Err(Refusal::Forbidden { detail: detail.into() })
    }

    /// No alternative is shown whole: names what is missing of the one that is nearest.
    fn incomplete(&self, call: &Call) -> Refusal {
        let missing = |one: &&Alternative| one.missing(call).count();
        let nearest = self.alternatives.iter().min_by_key(missing);
        let kind = nearest.and_then(|one| one.missing(call).next());
        kind.map_or_else(|| Refusal::internal("a route that requires nothing it could name"), |kind| kind.missing(call))
    }
}

impl Alternative {
    /// The kinds it names that the call does not show.
    fn missing<'a>(&'a self, call: &'a Call) -> impl Iterator<Item = &'a Arc<dyn Verifier>> {
        self.asked.iter().filter(|asked| asked.is_required && !asked.kind.is_shown(call)).map(|asked| &asked.kind)
    }

    fn is_tried(&self, call: &Call) -> bool {
        self.missing(call).next().is_none() || self.asked.first().is_some_and(|first| first.kind.leads(call))
    }

    async fn verify(&self, call: &mut Call) -> Result<(), Refusal> {
        for Asked { kind, is_required } in &self.asked {
            if !kind.is_shown(call) {
                if *is_required {
                    return Err(kind.missing(call));
                }
                continue;
            }
            if let Verification::Wait(verified) = kind.verify(call)? {
                verified.await?;
            }
        }
        Ok(())
    }
}

fn withhold(withheld: &Withheld, call: &mut Call) -> Result<(), Refusal> {
    withheld.iter().try_for_each(|(kind, part)| kind.withhold(call, *part))
}
