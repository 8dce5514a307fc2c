//! The one way in which anything changes that is audited: edit → compile → commit → publish.
//!
//! A change of declarations is a function that looks at the [`View`] and says which [`Edit`]s shall happen; one of what no
//! view holds (users), through [`Changing`](portcullis_core::ports::Changing), looks at the row of one object. One task takes
//! the changes in order, so that each decides on what the former left; those that are waiting together share one
//! commit. Where somebody else has changed the registry meanwhile, the task takes that up first and has the changes
//! decided again, so a decision may be asked for more than once.
//!
//! When [`Changes::submit`] returns, the change is on disk and every worker routes by it. The commit holds, beside
//! the objects, what the audit trail says of each: who changed it ([`Changes::by`]), and from what into what.

mod batch;
mod edit;
mod follow;
mod objects;
pub mod plan;
pub mod shadows;
pub mod sharing;
mod sites;
mod taken;
mod task;
mod touched;
mod trail;
mod view;

use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_core::audit::Actor;
use portcullis_core::directory::Directory;
use portcullis_core::model::DefaultRoutes;
use portcullis_core::ports::{Decision, Objects, RegistryError, Row};
use portcullis_core::vital;
use tokio::sync::{mpsc, oneshot};

use batch::Compiled;
pub use edit::{Declared, Edit, Transaction};
use objects::Address;
pub use portcullis_core::ports::ChangeError;
pub use touched::DryRun;
pub use view::View;

use crate::snapshot::{Publisher, Snapshot};
use portcullis_policies::Parts;
use portcullis_upstream::Upstreams;

/// Changes that may wait for the changing task.
const QUEUE: usize = 1_024;

/// A change that waits, whatever is found out while it is decided.
trait Change: Send {
    /// The object it is about, where no view holds it.
    fn about(&self) -> Option<&Address>;
    /// Says what shall happen, or why not, on the declarations and the object it is about. It may be asked again, on others;
    /// the last answer counts.
    fn decide(&mut self, view: &View, row: Option<&Row>) -> Result<Decided, ChangeError>;
    /// Tells whoever waits for it what became of it.
    fn answer(self: Box<Self>, outcome: Result<Done, ChangeError>);
}

/// What shall happen.
enum Decided {
    /// These edits of declarations.
    Declarations(Transaction),
    /// This, of the object that the change is about.
    Object(Address, Decision),
}

/// What a change of either form led to.
struct Done {
    /// For each edit of declarations, the revision its object has now; 0 if it is gone.
    revisions: Vec<u64>,
    /// The object that the change was about, as it is now.
    object: Option<Row>,
    /// How many sessions ended or changed with it.
    sessions: usize,
}

struct Asked<F, T> {
    decide: F,
    found: Option<T>,
    done: oneshot::Sender<Result<(Committed, T), ChangeError>>,
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
        let Self { found, done, .. } = *self;
        let committed = |done: Done| Committed { revisions: done.revisions };
        let found = |done| found.map(|found| (committed(done), found)).ok_or(ChangeError::Stopping);
        // Whoever asked may have gone.
        let _ = done.send(outcome.and_then(found));
    }
}

struct Request {
    actor: Actor,
    change: Box<dyn Change>,
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

/// The handle through which everybody changes and reads declarations.
#[derive(Clone)]
pub struct Changes {
    actor: Actor,
    queue: mpsc::Sender<Request>,
    view: Arc<ArcSwap<View>>,
}

/// What the changing task works with.
pub struct Workshop {
    /// Where changes are kept.
    pub registry: Arc<dyn Objects>,
    /// Who may show which key.
    pub directory: Arc<Directory>,
    /// What policies are built from.
    pub parts: Arc<Parts>,
    /// What upstream endpoints are built from.
    pub upstreams: Upstreams,
    /// Where snapshots go.
    pub publisher: Publisher,
    /// The snapshot with the built-in routes, on which everything else stands.
    pub builtin: Snapshot,
    /// Where the default routes of services stand.
    pub default_routes: Arc<DefaultRoutes>,
}

/// Changes that nobody takes yet: the handle can be given to those the changing task itself depends on.
pub struct Pending {
    requests: mpsc::Receiver<Request>,
    view: Arc<ArcSwap<View>>,
}

impl Pending {
    /// Reads the registry, compiles and publishes what is there, and starts the changing task on this runtime.
    /// What does not compile is told in the log and answers 503 at its place; it stays in the registry.
    pub async fn start(self, workshop: Workshop) -> Result<(), RegistryError> {
        // Asked before the declarations are read: what is changed meanwhile is taken up with the next change.
        let version = workshop.registry.version().await?;
        let view = View::load(workshop.registry.as_ref(), Arc::clone(&workshop.default_routes)).await?;
        shadows::warn(&view);
        sharing::warn(&view);
        let compiled = Compiled::of(&workshop, &view);
        let mut entries = workshop.directory.copy();
        for (name, stored) in view.clients() {
            entries.set_client(name, Some(stored.value.clone()));
        }
        for (hash, stored) in view.keys() {
            entries.set_key(*hash, Some(stored.value.owner.clone()));
        }
        workshop.directory.publish(entries);
        workshop.publisher.publish(compiled.snapshot.clone(), workshop.directory.step()).await;
        self.view.store(Arc::new(view));
        let task = task::Task::new(workshop, compiled, self.view, version);
        tokio::spawn(vital::task("the task of changes", task.run(self.requests)));
        Ok(())
    }
}

impl Changes {
    /// A handle, and what starts the task behind it. Changes that are submitted before wait.
    pub fn prepare() -> (Self, Pending) {
        let (queue, requests) = mpsc::channel(QUEUE);
        let view = Arc::new(ArcSwap::from_pointee(View::default()));
        (Self { actor: Actor::gateway(), queue, view: Arc::clone(&view) }, Pending { requests, view })
    }

    /// A handle on a task that has been started.
    pub async fn start(workshop: Workshop) -> Result<Self, RegistryError> {
        let (changes, pending) = Self::prepare();
        pending.start(workshop).await?;
        Ok(changes)
    }

    /// The same handle for changes that somebody else than the gateway makes.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }

    /// Makes a change. `decide` sees the newest declarations and says what shall happen, or why not, and what it has found
    /// out. It is asked again where somebody else has changed them before the change was written.
    pub async fn submit<T: Send + 'static>(
        &self,
        decide: impl Fn(&View) -> Result<(Transaction, T), ChangeError> + Send + 'static,
    ) -> Result<(Committed, T), ChangeError> {
        let (done, result) = oneshot::channel();
        let request = Request { actor: self.actor.clone(), change: Box::new(Asked { decide, found: None, done }) };
        self.queue.send(request).await.map_err(|_| ChangeError::Stopping)?;
        result.await.map_err(|_| ChangeError::Stopping)?
    }

    /// The declarations as they were last committed.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
}
