//! The one way in which declarations change: edit → compile → commit → publish.
//!
//! A change is a function that looks at the [`View`] and says which [`Edit`]s shall happen. One task takes the
//! changes in order, so that each decides on what the former left; those that are waiting together share one
//! commit. When [`Changes::submit`] returns, the change is on disk and every worker routes by it. The commit holds,
//! beside the objects, what the audit trail says of each: who changed it ([`Changes::by`]), and from what into what.

mod batch;
mod edit;
pub mod plan;
pub mod shadows;
pub mod sharing;
mod sites;
mod taken;
mod touched;
mod trail;
mod view;

use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_core::audit::Actor;
use portcullis_core::directory::Directory;
use portcullis_core::model::DefaultRoutes;
use portcullis_core::ports::{Registry, RegistryError};
use portcullis_core::vital;
use tokio::sync::{mpsc, oneshot};

use batch::{Batch, Compiled};
pub use edit::{ChangeError, Declared, Edit, Transaction};
pub use touched::DryRun;
pub use view::View;

use crate::snapshot::{Publisher, Snapshot};
use portcullis_policies::Parts;
use portcullis_upstream::Upstreams;

/// Changes that may wait for the changing task.
const QUEUE: usize = 1_024;
/// Changes that share one commit at most.
const BATCH: usize = 256;

type Decide = Box<dyn FnOnce(&View) -> Result<Transaction, ChangeError> + Send>;

struct Request {
    actor: Actor,
    decide: Decide,
    done: oneshot::Sender<Result<Committed, ChangeError>>,
}

/// What a change led to: for each edit, the revision its object has now; 0 if it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// In the order of the edits.
    pub revisions: Vec<u64>,
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
    pub registry: Arc<dyn Registry>,
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
        let work = work(workshop, compiled, self.view, self.requests);
        tokio::spawn(vital::task("the task of changes", work));
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

    /// Makes a change. `decide` sees the newest declarations and says what shall happen, or why not.
    pub async fn submit(
        &self,
        decide: impl FnOnce(&View) -> Result<Transaction, ChangeError> + Send + 'static,
    ) -> Result<Committed, ChangeError> {
        let (done, result) = oneshot::channel();
        let request = Request { actor: self.actor.clone(), decide: Box::new(decide), done };
        self.queue.send(request).await.map_err(|_| ChangeError::Stopping)?;
        result.await.map_err(|_| ChangeError::Stopping)?
    }

    /// The declarations as they were last committed.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
}

async fn work(
    workshop: Workshop,
    mut compiled: Compiled,
    view: Arc<ArcSwap<View>>,
    mut requests: mpsc::Receiver<Request>,
) {
    let mut waiting = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut waiting, BATCH).await > 0 {
        let mut batch = Batch::on(View::clone(&view.load()), compiled.clone());
        let mut done = Vec::with_capacity(waiting.len());
        for request in waiting.drain(..) {
            match batch.take(&workshop, &request.actor, request.decide) {
                Ok(committed) => done.push((request.done, committed)),
                Err(error) => {
                    // Whoever asked may have gone; nothing was changed.
                    let _ = request.done.send(Err(error));
                }
            }
        }
        let written = match std::mem::take(&mut batch.writes) {
            writes if writes.is_empty() => Ok(0),
            writes => workshop.parts.sessions.write(writes).await,
        };
        if let Err(error) = written {
            tracing::error!(%error, "a change could not be written");
            for (done, _) in done {
                let _ = done.send(Err(error.clone().into()));
            }
            continue;
        }
        publish(&workshop, &batch).await;
        view.store(Arc::new(batch.next));
        compiled = batch.compiled;
        for (done, committed) in done {
            let _ = done.send(Ok(committed));
        }
    }
}

/// Makes what was committed visible to calls. Keys and clients count at once where they change alone; where routes change
/// with them, each worker takes up both in one moment, so that no call meets the one without the other.
async fn publish(workshop: &Workshop, batch: &Batch) {
    let mut entries = workshop.directory.copy();
    let (mut directory_changed, mut routes_changed) = (false, false);
    for edit in &batch.edits {
        match edit {
            Edit::Client(name, client) => entries.set_client(name, client.clone()),
            Edit::ApiKey(hash, key) => entries.set_key(*hash, key.as_ref().map(|key| key.owner.clone())),
            Edit::Service(..) | Edit::Route(..) => {
                routes_changed = true;
                continue;
            }
            _ => continue,
        }
        directory_changed = true;
    }
    if routes_changed {
        let step = match directory_changed {
            true => workshop.directory.prepare(entries.clone()),
            false => workshop.directory.step(),
        };
        workshop.publisher.publish(batch.compiled.snapshot.clone(), step).await;
    }
    if directory_changed {
        // Also for a worker that is slow: what was taken back is gone when the change is answered.
        workshop.directory.publish(entries);
    }
}
