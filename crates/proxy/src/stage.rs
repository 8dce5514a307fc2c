//! Graceful shutdown: its stages (draining, closing, stopping), and which of them a worker has reached.

use std::cell::Cell;

use tokio::sync::watch;

thread_local! {
    static DRAINING: Cell<bool> = const { Cell::new(false) };
}

/// How far the gateway is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    Serving,
    /// Answers say `Connection: close`; new connections are still taken.
    Draining,
    /// No new connections; what is under way is finished.
    Closing,
    /// What is left is cut off.
    Stopping,
}

/// Whether this worker is being emptied.
pub fn is_draining() -> bool {
    DRAINING.get()
}

/// The next stage that is reached. Where nobody is there to say it, that is the end.
pub(crate) async fn reached(stage: &mut watch::Receiver<Stage>) -> Stage {
    match stage.changed().await {
        Ok(()) => *stage.borrow_and_update(),
        Err(_) => Stage::Stopping,
    }
}

/// This worker is being emptied from now on.
pub(crate) fn drain() {
    DRAINING.set(true);
}
