//! The task that makes changes: it takes up what others have changed, has those that wait decided on that, and commits them
//! together.
//!
//! ```text
//! ┌► catch up with the registry ─► decide each ─► commit all ─► publish ─► answer
//! │                                                  │ somebody else was faster
//! └───────────── each half by itself ◄───────────────┘
//! ```
//!
//! A conflict is about one object, and the commit does not say how many changes meet others there. So the changes are parted
//! in halves until those that conflict stand alone: what conflicts with somebody else holds up nobody beside it. One that
//! stands alone is decided so often again, and then told that others are always faster. Whoever is refused because of a change
//! that waits with it hears so once that change is made, for it may not be.

use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_core::ports::{Commit, DECISIONS, Kind, News, RegistryError, SessionsOf, Version};
use tokio::sync::mpsc;

use super::batch::{Batch, Compiled};
use super::follow::{everything, taken_up};
use super::request::Request;
use super::rows::Rows;
use super::{ChangeContext, ChangeError, Edit, View, entries};

/// Changes that share one commit at most.
const BATCH: usize = 256;

/// What the task works on.
pub(super) struct Task {
    workshop: ChangeContext,
    compiled: Compiled,
    view: Arc<ArcSwap<View>>,
    /// Everything that was changed up to it is in the view.
    version: Version,
}

impl Task {
    /// A task on these declarations, which stand at this version or a later one.
    pub(super) fn new(workshop: ChangeContext, compiled: Compiled, view: Arc<ArcSwap<View>>, version: Version) -> Self {
        Self { workshop, compiled, view, version }
    }

    /// Makes changes as long as somebody may ask for some.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while requests.recv_many(&mut waiting, BATCH).await > 0 {
            self.make(std::mem::take(&mut waiting)).await;
        }
    }

    /// Makes these changes, or says of each why not.
    async fn make(&mut self, all: Vec<Request>) {
        let mut parts = vec![all];
        let mut tries = 0;
        while let Some(part) = parts.pop() {
            self.catch_up().await;
            let mut left = self.commit(part).await;
            match left.len() {
                0 => tries = 0,
                1 if tries + 1 < DECISIONS => {
                    tries += 1;
                    parts.push(left);
                }
                1 => {
                    tries = 0;
                    tracing::warn!("a change was given up, because others change the same objects all the time");
                    left.into_iter().for_each(|request| request.change.answer(Err(ChangeError::Contended)));
                }
                all => {
                    let latter = left.split_off(all / 2);
                    parts.extend([latter, left]);
                }
            }
        }
    }

    /// Decides changes and commits them together. Returns those that have to be decided again, because something that they
    /// stand on has been changed by somebody else.
    async fn commit(&mut self, requests: Vec<Request>) -> Vec<Request> {
        let about = requests.iter().filter_map(|request| request.change.about().cloned()).collect();
        let rows = Rows::read(self.workshop.registry.as_ref(), about).await;
        let mut batch = Batch::on(View::clone(&self.view.load()), self.compiled.clone(), rows);
        let mut decided = Vec::with_capacity(requests.len());
        for mut request in requests {
            match batch.take(&self.workshop, &mut request) {
                // Refused for what is there.
                Err(error) if batch.writes.is_empty() => request.change.answer(Err(error)),
                // Made, or refused, if what was decided before it comes true.
                taken => decided.push((request, taken)),
            }
        }
        let written = match std::mem::take(&mut batch.writes) {
            writes if writes.is_empty() => Ok(None),
            writes => self.workshop.parts.sessions.write(writes).await.map(Some),
        };
        let done = match written {
            Ok(done) => done,
            Err(RegistryError::Conflict { kind, key }) => {
                tracing::info!(kind, key, "somebody else has changed an object; changes are decided again");
                return decided.into_iter().map(|(request, _)| request).collect();
            }
            Err(error) => {
                tracing::error!(%error, "a change could not be written");
                decided.into_iter().for_each(|(request, _)| request.change.answer(Err(error.clone().into())));
                return Vec::new();
            }
        };
        publish(&self.workshop, &batch.compiled, &batch.edits).await;
        self.view.store(Arc::new(batch.next));
        self.compiled = batch.compiled;
        self.reach(done.as_ref()).await;
        for (request, taken) in decided {
            request.change.answer(taken.map(|taken| taken.done(done.as_ref())));
        }
        Vec::new()
    }

    /// Where the view stands after a commit of this task. Where others had changed something before it, that is taken up
    /// before anybody is answered; what this task has changed itself is met there once more, and is the same.
    async fn reach(&mut self, done: Option<&Commit>) {
        match done {
            Some(done) if done.since == self.version => self.version = done.version,
            Some(_) => self.catch_up().await,
            None => {}
        }
    }

    /// Takes up what others have changed. Where that cannot be read now, what is known counts on: a change of something
    /// else can be made, and one of the same will conflict.
    async fn catch_up(&mut self) {
        let Err(error) = self.try_to_catch_up().await else { return };
        tracing::warn!(%error, "what others have changed in the registry could not be read");
    }

    async fn try_to_catch_up(&mut self) -> Result<(), RegistryError> {
        let view = self.view.load_full();
        let (version, changed) = match self.workshop.registry.changes(self.version).await? {
            News::Changed(version, changed) => (version, changed),
            News::Unknown => {
                // Asked before everything is read: what is changed meanwhile is met once more.
                let version = self.workshop.registry.version().await?;
                (version, everything(self.workshop.registry.as_ref(), &view).await?)
            }
        };
        for gone in &changed {
            self.forget_sessions(gone.kind, &gone.key);
        }
        let (next, edits) = taken_up(&view, changed);
        self.version = version;
        if edits.is_empty() {
            return Ok(());
        }
        tracing::info!(objects = edits.len(), "takes up what others have changed in the registry");
        let mut compiled = self.compiled.clone();
        compiled.follow(&self.workshop, &next, &edits);
        publish(&self.workshop, &compiled, &edits).await;
        self.view.store(Arc::new(next));
        self.compiled = compiled;
        Ok(())
    }

    /// Sessions that stand on a client or user which others have changed are read again.
    fn forget_sessions(&self, kind: Kind, key: &str) {
        let of = match kind {
            Kind::Client => key.parse().map(SessionsOf::Client),
            Kind::User => key.parse().map(SessionsOf::User),
            _ => return,
        };
        if let Ok(of) = of {
            self.workshop.parts.sessions.forget_all_of(&of);
        }
    }
}

/// Makes what was changed visible to calls. Keys, secrets and clients count at once where they change alone; where routes change
/// with them, each worker takes up both in one moment, so that no call meets the one without the other.
async fn publish(workshop: &ChangeContext, compiled: &Compiled, edits: &[Edit]) {
    let entries = entries::after(workshop.unseal.as_ref(), &workshop.directory, edits);
    if edits.iter().any(|edit| matches!(edit, Edit::Service(..) | Edit::Route(..) | Edit::Host(..))) {
        let step = match &entries {
            Some(entries) => workshop.directory.prepare(entries.clone()),
            None => workshop.directory.step(),
        };
        workshop.publisher.publish(compiled.snapshot.clone(), step).await;
    }
    if let Some(entries) = entries {
        // Also for a worker that is slow: what was taken back is gone when the change is answered.
        workshop.directory.publish(entries);
    }
}
