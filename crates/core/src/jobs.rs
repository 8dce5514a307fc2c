//! Work that a call hands to the control runtime and waits for: whatever needs the registry or much computing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::refusal::Refusal;

/// A piece of work. It runs to its end even if the call that asked for it has gone.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// A bounded queue of jobs on another runtime.
pub trait Jobs: Send + Sync {
    /// Takes the job on, or says at once that the queue is full.
    fn submit(&self, job: Job) -> Result<(), QueueFull>;
}

/// Runs a future on the control runtime and waits for its result; a full queue is a 503 with `Retry-After`.
pub async fn run<T: Send + 'static>(
    jobs: &Arc<dyn Jobs>,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Refusal> {
    let (done, result) = oneshot::channel();
    let job = async move {
        // The caller may have left; its job is done all the same.
        let _ = done.send(work.await);
    };
    jobs.submit(Box::pin(job))
        .map_err(|QueueFull| Refusal::Overloaded { private: "control queue", retry_after: Duration::from_secs(1) })?;
    result.await.map_err(|_| Refusal::internal("a control job ended without a result"))
}
