//! Dry run of a call, for `explain`: it walks its pipeline to learn what each step says of it. Nothing is sent, taken,
//! spent or recorded.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::body::Response;
use crate::caller::UserFacts;
use crate::directory::ClientEntry;
use crate::ports::routes::Routes;
use crate::refusal::Refusal;

/// What is taken for granted about a tried call, and what has been learnt of it so far.
#[derive(Debug, Default)]
pub struct DryRun {
    /// Who is believed to call, as if an API key of it had been shown.
    pub client: Option<Arc<ClientEntry>>,
    /// Who is believed to call, as if a token of theirs had been shown.
    pub user: Option<UserFacts>,
    /// The client that token would have been issued to.
    pub token_client: Option<Arc<ClientEntry>>,
    /// The routes it is tried on, where they are not those of the thread it is tried on.
    pub routes: Option<TriedRoutes>,
    /// What the client has signed, by its own account.
    pub string_to_sign: Option<Bytes>,
    /// What each step has said, in the order they were reached.
    pub steps: Vec<Tried>,
    /// The first refusal, and so the only one a caller would hear of.
    pub refusal: Option<Refusal>,
    /// What would become of the call at the end of its pipeline, if it came so far.
    pub destination: Option<Destination>,
    /// How often a step has handed the call on.
    handed_on: usize,
}

/// Routes that a call is tried on.
#[derive(Clone)]
pub struct TriedRoutes(pub Arc<dyn Routes>);

impl fmt::Debug for TriedRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TriedRoutes(…)")
    }
}

/// What one step said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The step's name.
    pub name: &'static str,
    /// Its verdict.
    pub verdict: StepOutcome,
}

/// What a step can say of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// It may go on.
    Passed,
    /// It was answered here, with this status.
    Answered(u16),
    /// It may not.
    Refused(Refusal),
}

/// What would become of a call at the end of its pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An endpoint of the gateway itself answers, by what the body says.
    Gateway,
    /// An answer that is declared.
    Answer {
        /// Its status.
        status: u16,
        /// Where it points to.
        location: Option<String>,
    },
    /// It goes to this target.
    Target {
        /// The target's base URL.
        target: String,
        /// The URL that is asked for.
        url: String,
        /// The `Host` that is sent.
        host: String,
    },
}

/// A step that is being tried.
pub(crate) struct Trying {
    place: usize,
    handed_on: usize,
}

impl DryRun {
    /// A dry run that believes this of the caller.
    pub fn of(
        client: Option<Arc<ClientEntry>>,
        user: Option<UserFacts>,
        token_client: Option<Arc<ClientEntry>>,
    ) -> Self {
        Self { client, user, token_client, ..Self::default() }
    }

    /// A step is reached.
    pub(crate) fn begin(&mut self, name: &'static str) -> Trying {
        self.steps.push(Tried { name, verdict: StepOutcome::Passed });
        Trying { place: self.steps.len() - 1, handed_on: self.handed_on }
    }

    /// The step is done. One that gives an answer without having handed the call on has answered itself.
    pub(crate) fn end(&mut self, trying: &Trying, said: &Result<Response, Refusal>) {
        let verdict = match said {
            Err(refusal) => StepOutcome::Refused(refusal.clone()),
            Ok(response) if self.handed_on == trying.handed_on => StepOutcome::Answered(response.status().as_u16()),
            Ok(_) => return,
        };
        self.steps[trying.place].verdict = verdict;
    }

    /// A check is done.
    pub(crate) fn checked(&mut self, name: &'static str, said: &Result<(), Refusal>) {
        let verdict =
            said.as_ref().map_or_else(|refusal| StepOutcome::Refused(refusal.clone()), |()| StepOutcome::Passed);
        self.steps.push(Tried { name, verdict });
    }

    /// The call was handed on.
    pub(crate) fn hand_on(&mut self) {
        self.handed_on += 1;
    }
}
