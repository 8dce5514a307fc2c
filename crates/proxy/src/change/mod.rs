//! The one way in which declarations change: edit → compile → commit → publish.
//!
//! A change is a function that looks at the [`View`] and says which [`Edit`]s shall happen. One task takes the
//! changes in order, so that each decides on what the former left; those that are waiting together share one
//! commit. When [`Changes::submit`] returns, the change is on disk and every worker routes by it. The commit holds,
//! beside the objects, what the audit trail says of each: who changed it ([`Changes::by`]), and from what into what.

mod edit;
mod trail;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_core::audit::Actor;
use portcullis_core::directory::Directory;
use portcullis_core::model::{Problem, Service, ServiceId};
use portcullis_core::policy::Pipeline;
use portcullis_core::ports::{Registry, RegistryError};
use tokio::sync::{mpsc, oneshot};

pub use edit::{ChangeError, Edit, Transaction};
pub use view::View;

use crate::snapshot::{Publisher, Snapshot, compile_service};
use crate::upstream::Upstreams;
use portcullis_policies::Parts;

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
}

/// Changes that nobody takes yet: the handle can be given to those the changing task itself depends on.
pub struct Pending {
    requests: mpsc::Receiver<Request>,
    view: Arc<ArcSwap<View>>,
}

impl Pending {
    /// Reads the registry, compiles and publishes what is there, and starts the changing task on this runtime.
    /// What does not compile is left out and told in the log; it stays in the registry.
    pub async fn start(self, workshop: Workshop) -> Result<(), RegistryError> {
        let view = View::load(workshop.registry.as_ref()).await?;
        let mut snapshot = workshop.builtin.clone();
        for (id, stored) in view.services() {
            match compile_service(id, &stored.value, &workshop.parts, &workshop.upstreams) {
                Ok(pipeline) => snapshot.set_service(id, Some(pipeline)),
                Err(problems) => {
                    for problem in problems {
                        tracing::error!(service = %id, %problem, "a stored service does not compile and is not served");
                    }
                }
            }
        }
        let mut entries = workshop.directory.copy();
        for (name, stored) in view.clients() {
            entries.set_client(name, Some(stored.value.clone()));
        }
        for (hash, stored) in view.keys() {
            entries.set_key(*hash, Some(stored.value.owner.clone()));
        }
        workshop.directory.publish(entries);
        workshop.publisher.publish(snapshot.clone()).await;
        self.view.store(Arc::new(view));
        tokio::spawn(work(workshop, snapshot, self.view, self.requests));
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
    mut snapshot: Snapshot,
    view: Arc<ArcSwap<View>>,
    mut requests: mpsc::Receiver<Request>,
) {
    let mut waiting = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut waiting, BATCH).await > 0 {
        let mut batch = Batch { next: View::clone(&view.load()), ..Batch::default() };
        for request in waiting.drain(..) {
            match batch.take(&workshop, &request.actor, request.decide) {
                Ok(committed) => batch.done.push((request.done, committed)),
                Err(error) => {
                    // Whoever asked may have gone; nothing was changed.
                    let _ = request.done.send(Err(error));
                }
            }
        }
        if batch.done.is_empty() {
            continue;
        }
        let written = match std::mem::take(&mut batch.writes) {
            writes if writes.is_empty() => Ok(()),
            writes => workshop.registry.commit(writes).await,
        };
        if let Err(error) = written {
            tracing::error!(%error, "a change could not be written");
            for (done, _) in batch.done {
                let _ = done.send(Err(error.clone().into()));
            }
            continue;
        }
        publish(&workshop, &mut snapshot, &batch).await;
        view.store(Arc::new(batch.next));
        for (done, committed) in batch.done {
            let _ = done.send(Ok(committed));
        }
    }
}

/// Makes what was committed visible to calls: keys and clients first, so that a new route finds them.
async fn publish(workshop: &Workshop, snapshot: &mut Snapshot, batch: &Batch) {
    let mut entries = workshop.directory.copy();
    let mut directory_changed = false;
    for edit in &batch.edits {
        match edit {
            Edit::Client(name, client) => entries.set_client(name, client.clone()),
            Edit::ApiKey(hash, key) => entries.set_key(*hash, key.as_ref().map(|key| key.owner.clone())),
            _ => continue,
        }
        directory_changed = true;
    }
    if directory_changed {
        workshop.directory.publish(entries);
    }
    if !batch.pipelines.is_empty() {
        for (id, pipeline) in &batch.pipelines {
            snapshot.set_service(id, pipeline.clone());
        }
        workshop.publisher.publish(snapshot.clone()).await;
    }
}

/// Changes that share one commit.
#[derive(Default)]
struct Batch {
    next: View,
    writes: Vec<portcullis_core::ports::Write>,
    edits: Vec<Edit>,
    pipelines: HashMap<ServiceId, Option<Arc<Pipeline>>>,
    done: Vec<(oneshot::Sender<Result<Committed, ChangeError>>, Committed)>,
}

impl Batch {
    /// Takes one change in, or leaves everything as it was.
    fn take(&mut self, workshop: &Workshop, actor: &Actor, decide: Decide) -> Result<Committed, ChangeError> {
        let transaction = decide(&self.next)?;
        let mut problems = Vec::new();
        let mut compiled = Vec::new();
        for edit in &transaction.edits {
            if let Edit::Service(id, service) = edit {
                match compile_edit(workshop, id, service.as_ref()) {
                    Ok(pipeline) => compiled.push((id.clone(), pipeline)),
                    Err(found) => problems.extend(found),
                }
            }
        }
        if !problems.is_empty() {
            return Err(ChangeError::Invalid(problems));
        }
        let mut next = self.next.clone();
        let now = workshop.parts.clock.unix_millis();
        let mut writes = Vec::with_capacity(transaction.edits.len() * 2);
        let mut revisions = Vec::with_capacity(transaction.edits.len());
        for edit in &transaction.edits {
            let told = trail::told(&next, edit, actor, now)?;
            let (write, revision) = next.apply(edit, transaction.owner)?;
            writes.push(write);
            writes.extend(told.map(|told| told.leading_to(revision)));
            revisions.push(revision);
        }
        self.next = next;
        self.writes.extend(writes);
        self.edits.extend(transaction.edits);
        self.pipelines.extend(compiled);
        Ok(Committed { revisions })
    }
}

fn compile_edit(
    workshop: &Workshop,
    id: &ServiceId,
    service: Option<&Service>,
) -> Result<Option<Arc<Pipeline>>, Vec<Problem>> {
    service.map(|service| compile_service(id, service, &workshop.parts, &workshop.upstreams)).transpose()
}
