//! The bounded way from a worker to the control runtime.

use std::sync::Arc;

use portcullis_core::jobs::{Job, Jobs, QueueFull};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Jobs that are under way or waiting at most.
const MOST: usize = 1_024;

/// Runs jobs on the control runtime.
pub(crate) struct ControlJobs {
    runtime: Handle,
    room: Arc<Semaphore>,
}

impl ControlJobs {
    /// Jobs on this runtime.
    pub(crate) fn on(runtime: Handle) -> Self {
        Self { runtime, room: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Jobs for ControlJobs {
    fn submit(&self, job: Job) -> Result<(), QueueFull> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| QueueFull)?;
        self.runtime.spawn(async move {
            job.await;
            drop(room);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_so_and_has_room_again() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let jobs = ControlJobs::on(runtime.handle().clone());
        let (open, gate) = tokio::sync::watch::channel(false);
        for _ in 0..MOST {
            let mut gate = gate.clone();
            let job = async move {
                gate.wait_for(|open| *open).await.expect("opened");
            };
            assert_eq!(jobs.submit(Box::pin(job)), Ok(()));
        }
        assert_eq!(jobs.submit(Box::pin(async {})), Err(QueueFull));
        open.send(true).expect("somebody waits");
        let all = u32::try_from(MOST).expect("a small number");
        drop(runtime.block_on(jobs.room.acquire_many(all)).expect("not closed"));
        assert_eq!(jobs.submit(Box::pin(async {})), Ok(()));
    }
}
