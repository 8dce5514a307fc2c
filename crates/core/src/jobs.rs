//! Work that a call hands to the control runtime and waits for: whatever needs the registry or much computing.
//!
//! Work comes in classes, and each class has a bound of its own (a bulkhead): what waits for something slow takes no place
//! away from what does not.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::Label;
use crate::refusal::Refusal;

/// A piece of work. It runs to its end even if the call that asked for it has gone.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a piece of work is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// A login with a password, a refresh, a logout: what whoever likes can ask for.
    Logins,
    /// A session, or a token, that this node has not met yet: what calls of services wait for.
    Sessions,
    /// A question to the Auth API of a client, which takes as long as that takes. One client has a share of all at most, and
    /// one network a share of that.
    AuthApi {
        /// The client.
        client: Label,
        /// The address of whoever asks.
        from: IpAddr,
    },
    /// The registration of a service.
    Registrations,
    /// What a certificate authority looks for on another node.
    Certificates,
}

impl Class {
    /// What is told in the log when it is full.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Logins => "jobs of logins",
            Self::Sessions => "jobs of sessions",
            Self::AuthApi { .. } => "jobs of Auth APIs",
            Self::Registrations => "jobs of registrations",
            Self::Certificates => "jobs of certificates",
        }
    }
}

/// There is no room for one more job of its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// Bounded queues of jobs on another runtime, one for each class.
pub trait Jobs: Send + Sync {
    /// Takes the job on, or says at once that there is no room for one more of this class.
    fn submit(&self, class: Class, job: Job) -> Result<(), QueueFull>;
}

/// Runs a future on the control runtime and waits for its result; a full queue is a 503 with `Retry-After`.
pub async fn run<T: Send + 'static>(
    jobs: &Arc<dyn Jobs>,
    class: Class,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Refusal> {
    let (done, result) = oneshot::channel();
    let job = async move {
        // The caller may have left; its job is done all the same.
        let _ = done.send(work.await);
    };
    let private = class.reason();
    jobs.submit(class, Box::pin(job))
        .map_err(|QueueFull| Refusal::Overloaded { private, retry_after: Duration::from_secs(1) })?;
    result.await.map_err(|_| Refusal::internal("a control job ended without a result"))
}
