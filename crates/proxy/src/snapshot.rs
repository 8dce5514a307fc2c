//! The declarations compiled: what a worker routes by. Never changed once it is published.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::call::RouteFacts;
use portcullis_core::model::{Problem, Service, ServiceId};
use portcullis_core::policy::{Endpoint, Pipeline, Step};
use portcullis_policies::Parts;
use tokio::sync::{mpsc, oneshot};

use crate::routes::{Meets, Routes};
use crate::upstream::Upstreams;

/// How long a publication waits for a worker that is busy before it goes on without its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The compiled declarations.
#[derive(Debug, Clone)]
pub struct Snapshot {
    routes: Routes,
}

/// A route that is there without having been declared.
pub struct Builtin {
    /// Its path.
    pub path: &'static str,
    /// Whether paths below it are meant too.
    pub meets: Meets,
    /// What answers.
    pub endpoint: Arc<dyn Endpoint>,
}

impl Snapshot {
    /// A snapshot of the built-in routes alone. `steps` are walked before each of them.
    pub fn of_builtin(builtin_hosts: Vec<String>, builtin: Vec<Builtin>, steps: &[(&'static str, Step)]) -> Self {
        let mut routes = Routes::new(builtin_hosts);
        for route in builtin {
            let facts = RouteFacts { name: route.path.into(), service: None, prefix: route.path.len() };
            let pipeline = Pipeline::new(Arc::new(facts), steps.to_vec(), route.endpoint);
            routes.set(route.path, route.meets, true, Some(Arc::new(pipeline)));
        }
        Self { routes }
    }

    /// Sets or takes out the default route of a service.
    pub fn set_service(&mut self, id: &ServiceId, pipeline: Option<Arc<Pipeline>>) {
        self.routes.set(&id.path(), Meets::Below, false, pipeline);
    }

    /// The pipeline for a host and a canonical path.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Pipeline>> {
        self.routes.find(host, path)
    }
}

/// Compiles the default route of a service, or says everything that is wrong with it.
pub fn compile_service(
    id: &ServiceId,
    service: &Service,
    parts: &Arc<Parts>,
    upstreams: &Upstreams,
) -> Result<Arc<Pipeline>, Vec<Problem>> {
    let steps = portcullis_policies::compile(id, service, parts);
    let endpoint = upstreams.compile(&service.targets);
    match (steps, endpoint) {
        (Ok(steps), Ok(endpoint)) => {
            let path = id.path();
            let facts = RouteFacts { prefix: path.len(), name: path.into(), service: Some(id.clone()) };
            Ok(Arc::new(Pipeline::new(Arc::new(facts), steps, endpoint)))
        }
        (steps, endpoint) => {
            let found = steps.err().into_iter().chain(endpoint.err()).flatten();
            Err(found.map(|problem| problem.under(&format!("services.{id}"))).collect())
        }
    }
}

/// A snapshot on its way to a worker.
pub struct Update {
    /// What to route by from now on.
    pub snapshot: Arc<Snapshot>,
    /// Told when it is so.
    pub done: oneshot::Sender<()>,
}

/// Carries snapshots to the workers.
#[derive(Clone)]
pub struct Publisher(Vec<mpsc::UnboundedSender<Update>>);

/// Where a worker gets its snapshots from.
pub type Inbox = mpsc::UnboundedReceiver<Update>;

impl Publisher {
    /// A publisher to so many workers, and their inboxes. One update at a time is under way, so they stay short.
    pub fn new(workers: usize) -> (Self, Vec<Inbox>) {
        let (senders, inboxes) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        (Self(senders), inboxes)
    }

    /// Gives every worker the snapshot and waits until all route by it.
    pub async fn publish(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let waiting: Vec<_> = self
            .0
            .iter()
            .filter_map(|worker| {
                let (done, taken) = oneshot::channel();
                worker.send(Update { snapshot: Arc::clone(&snapshot), done }).ok().map(|()| taken)
            })
            .collect();
        let all = async {
            for taken in waiting {
                // A worker that has stopped routes no more calls.
                let _ = taken.await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("a worker is slow to take up a change");
        }
    }
}
