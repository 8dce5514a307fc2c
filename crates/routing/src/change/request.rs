//! Changes that wait in the queue of the task: what they are decided on, what is decided, and who hears of it.

use portcullis_core::audit::Actor;
use portcullis_core::ports::{ChangeError, Decide, Decision, Outcome, Row};
use tokio::sync::oneshot;

use super::edit::Transaction;
use super::rows::Address;
use super::view::View;

/// Where it is told what became of a change.
pub(super) type Answer<T> = oneshot::Sender<Result<T, ChangeError>>;

/// A change that waits, whatever is found out while it is decided.
pub(super) trait Change: Send {
    /// The object it is about, where no view holds it.
    fn about(&self) -> Option<&Address>;
    /// Says what shall happen, or why not, on the declarations and the object it is about. It may be asked again, on others;
    /// the last answer counts.
    fn decide(&mut self, view: &View, row: Option<&Row>) -> Result<Decided, ChangeError>;
    /// Tells whoever waits for it what became of it.
    fn answer(self: Box<Self>, outcome: Result<Done, ChangeError>);
}

/// What shall happen.
pub(super) enum Decided {
    /// These edits of declarations.
    Declarations(Transaction),
    /// This, of the object that the change is about.
    Object(Address, Decision),
}

/// What a change of either form led to.
pub(super) struct Done {
    /// For each edit of declarations, the revision its object has now; 0 if it is gone.
    pub(super) revisions: Vec<u64>,
    /// The object that the change was about, as it is now.
    pub(super) object: Option<Row>,
    /// How many sessions ended or changed with it.
    pub(super) sessions: usize,
}

/// A change of declarations that waits.
pub(super) struct Asked<F, T> {
    decide: F,
    /// What was found out when it was decided last.
    found: Option<T>,
    answer: Answer<(Committed, T)>,
}

impl<F, T> Asked<F, T> {
    pub(super) fn new(decide: F, answer: Answer<(Committed, T)>) -> Self {
        Self { decide, found: None, answer }
    }
}

impl<F, T> Change for Asked<F, T>
where
    F: Fn(&View) -> Result<(Transaction, T), ChangeError> + Send,
    T: Send,
{
    fn about(&self) -> Option<&Address> {
        None
    }

    fn decide(&mut self, view: &View, _row: Option<&Row>) -> Result<Decided, ChangeError> {
        let (transaction, found) = (self.decide)(view)?;
        self.found = Some(found);
        Ok(Decided::Declarations(transaction))
    }

    fn answer(self: Box<Self>, outcome: Result<Done, ChangeError>) {
        let Self { found, answer, .. } = *self;
        let committed = |done: Done| Committed { revisions: done.revisions };
        let found = |done| found.map(|found| (committed(done), found)).ok_or(ChangeError::Stopping);
        // Whoever asked may have gone.
        let _ = answer.send(outcome.and_then(found));
    }
}

/// A change that waits, and who makes it.
pub(super) struct Request {
    pub(super) actor: Actor,
    pub(super) change: Box<dyn Change>,
}

/// What a change led to: for each edit, the revision its object has now; 0 if it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// In the order of the edits.
    pub revisions: Vec<u64>,
}

impl Committed {
    /// That of the first edit's object; 0 if there was no edit.
    pub fn revision(&self) -> u64 {
        self.revisions.first().copied().unwrap_or_default()
    }
}

/// A change of one object that waits.
pub(super) struct OfObject {
    address: Address,
    decide: Decide,
    answer: Answer<Outcome>,
}

impl OfObject {
    pub(super) fn new(address: Address, decide: Decide, answer: Answer<Outcome>) -> Self {
        Self { address, decide, answer }
    }
}

impl Change for OfObject {
    fn about(&self) -> Option<&Address> {
        Some(&self.address)
    }

    fn decide(&mut self, _view: &View, row: Option<&Row>) -> Result<Decided, ChangeError> {
        Ok(Decided::Object(self.address.clone(), (self.decide)(row)?))
    }

    fn answer(self: Box<Self>, outcome: Result<Done, ChangeError>) {
        // Whoever asked may have gone.
        let _ = self.answer.send(outcome.map(|Done { object, sessions, .. }| Outcome { object, sessions }));
    }
}
