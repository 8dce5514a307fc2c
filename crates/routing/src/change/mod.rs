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
mod entries;
mod follow;
pub mod plan;
mod request;
mod rows;
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
use async_trait::async_trait;
use portcullis_core::audit::Actor;
use portcullis_core::directory::Directory;
use portcullis_core::model::DefaultRoutes;
use portcullis_core::ports::{Changing, Decide, Kind, Objects, Outcome, RegistryError, Unseal};
use portcullis_core::vital;
use tokio::sync::{mpsc, oneshot};

use batch::Compiled;
pub use edit::{Declared, Edit, Transaction};
use follow::KINDS;
pub use portcullis_core::ports::ChangeError;
pub use request::Committed;
use request::{Answer, Asked, Change, OfObject, Request};
pub use touched::DryRun;
pub use view::View;

use crate::builtins::Builtins;
use crate::snapshot::{Publisher, Snapshot};
use portcullis_policies::Parts;
use portcullis_upstream::Upstreams;

/// Changes that may wait for the changing task.
const QUEUE: usize = 1_024;

/// The handle through which everybody changes and reads declarations.
#[derive(Clone)]
pub struct Changes {
    actor: Actor,
    queue: mpsc::Sender<Request>,
    view: Arc<ArcSwap<View>>,
}

/// What the changing task works with.
pub struct ChangeContext {
    /// Where changes are kept.
    pub registry: Arc<dyn Objects>,
    /// Who may show which key.
    pub directory: Arc<Directory>,
    /// Opens the secrets of clients.
    pub unseal: Arc<dyn Unseal>,
    /// What policies are built from.
    pub parts: Arc<Parts>,
    /// What upstream endpoints are built from.
    pub upstreams: Upstreams,
    /// Where snapshots go.
    pub publisher: Publisher,
    /// The endpoints of the gateway itself.
    pub builtins: Builtins,
    /// The snapshot with the routes to them, on which everything else stands.
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
    pub async fn start(self, workshop: ChangeContext) -> Result<(), RegistryError> {
        // Asked before the declarations are read: what is changed meanwhile is taken up with the next change.
        let version = workshop.registry.version().await?;
        let view = View::load(workshop.registry.as_ref(), Arc::clone(&workshop.default_routes)).await?;
        shadows::warn(&view);
        sharing::warn(&view);
        let compiled = Compiled::of(&workshop, &view);
        let entries = entries::of(workshop.unseal.as_ref(), &workshop.directory, &view);
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
    pub async fn start(workshop: ChangeContext) -> Result<Self, RegistryError> {
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
        self.enqueue(self.actor.clone(), |answer| Box::new(Asked::new(decide, answer))).await
    }

    /// Has a change wait for its turn, and says what became of it.
    async fn enqueue<T>(
        &self,
        actor: Actor,
        change: impl FnOnce(Answer<T>) -> Box<dyn Change>,
    ) -> Result<T, ChangeError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { actor, change: change(answer) };
        self.queue.send(request).await.map_err(|_| ChangeError::Stopping)?;
        answered.await.map_err(|_| ChangeError::Stopping)?
    }

    /// The declarations as they were last committed.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
}

#[async_trait]
impl Changing for Changes {
    async fn change(&self, actor: &Actor, kind: Kind, key: &str, decide: Decide) -> Result<Outcome, ChangeError> {
        if KINDS.contains(&kind) {
            // What the view holds must be compiled, and would not be.
            let reason = format!("{} '{key}' does not change by its row", kind.as_str());
            return Err(RegistryError::Storage(reason).into());
        }
        let address = (kind, key.to_owned());
        self.enqueue(actor.clone(), |answer| Box::new(OfObject::new(address, decide, answer))).await
    }
}
