//! How a running gateway takes orders, and how it stops: in time, whatever hangs.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis_proxy::stage::Stage;

use super::Gateway;
use super::supervisor::Supervisor;
use crate::process::{Ordered, Orders};

/// How long each part may take to end that has nothing to do any more.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// How long moving what was written last into the registry's file may take.
const CHECKPOINT: Duration = Duration::from_secs(3);
/// How long all of them may take together. Then the process ends without them.
const CLOSING: Duration = Duration::from_secs(8);

impl Gateway {
    /// Runs until it is ordered to stop, then stops.
    pub(crate) async fn run(self, mut orders: Orders) -> anyhow::Result<()> {
        let timeouts = &self.config.timeouts;
        orders.may_take(timeouts.drain_delay + timeouts.drain_limit + CLOSING);
        let supervisor = Supervisor::from_env();
        supervisor.ready();
        let mut seen = Ordered::default();
        loop {
            // Those that were given while it started are obeyed now.
            let given = orders.other_than(seen).await;
            if given.stop {
                break;
            }
            tracing::info!("opening the access log anew");
            self.log.reopen();
            if given.reload != seen.reload {
                self.reread.send_replace(());
            }
            seen = given;
        }
        supervisor.stopping();
        self.stop().await
    }

    /// Stops: tells, goes on accepting for `drain_delay`, finishes what is in flight within `drain_limit`, closes. What
    /// does not end when it should is left behind and told.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { config, stage, workers, admin, log, captures, registry, nonces, renewing, .. } = self;
        tracing::info!("stopping");
        stage.send_replace(Stage::Draining);
        tokio::time::sleep(config.timeouts.drain_delay).await;
        stage.send_replace(Stage::Closing);
        let deadline = Instant::now() + config.timeouts.drain_limit;
        ended(&workers, deadline).await;
        stage.send_replace(Stage::Stopping);
        if !ended(&workers, Instant::now() + LAST_MOMENT).await {
            tracing::error!("a worker does not stop; the calls that it carries are lost");
        }
        // Requests to the admin API have what is left of the time that calls have.
        let left = deadline.saturating_duration_since(Instant::now()).max(LAST_MOMENT);
        in_time("the admin API", left, admin).await;
        if let Some(renewing) = renewing {
            // What is left of the stop does not depend on it.
            in_time("looking after certificates", LAST_MOMENT, renewing).await;
        }
        let nonces = tokio::task::spawn_blocking(move || nonces.flush_and_stop());
        in_time("the registry", CHECKPOINT, registry.close()).await;
        in_time("the journal of nonces", LAST_MOMENT, nonces).await;
        let logs = tokio::task::spawn_blocking(move || {
            captures.flush_and_stop();
            log.flush_and_stop();
        });
        in_time("the access log", LAST_MOMENT, logs).await;
        Ok(())
    }
}

/// Waits until all workers have ended, until a moment at most; says whether they have.
async fn ended(workers: &[JoinHandle<()>], deadline: Instant) -> bool {
    while workers.iter().any(|worker| !worker.is_finished()) {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Waits for the end of something, so long at most. How it fails is told, and is no reason not to go on.
async fn in_time<E: std::fmt::Display>(what: &str, within: Duration, ending: impl IntoFuture<Output = Result<(), E>>) {
    match tokio::time::timeout(within, ending.into_future()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{what} has ended badly"),
        Err(_) => tracing::error!("{what} has not ended in time, and is left as it is"),
    }
}
