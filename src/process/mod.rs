//! The process itself, before and beside everything it does: its signals, its diagnostics, its file descriptors, and how it
//! ends.
//!
//! What is here begins before anything else and depends on nothing else, so that it still works when something else does
//! not: signals have a thread of their own, stderr has a thread of its own, and neither waits for the other for long.

mod descriptors;
mod diagnostics;
mod ending;
mod panics;
mod signals;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use portcullis_telemetry::Counters;

pub(crate) use descriptors::{Descriptors, Shares, open as open_descriptors};
pub(crate) use diagnostics::Diagnostics;
pub(crate) use signals::{Ordered, Orders};

/// How long the end of the process waits for what is still to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a process has before it knows what it is to do.
pub(crate) struct Process {
    /// What is counted.
    pub(crate) counters: Arc<Counters>,
    /// What it has to say of itself.
    pub(crate) diagnostics: Diagnostics,
    orders: Option<Orders>,
}

impl Process {
    /// Begins. A process that may be a gateway takes its signals first, before it has read what it is to do: from then on
    /// none of them ends it but by an order to stop.
    pub(crate) fn begin() -> io::Result<Self> {
        let counters = Arc::new(Counters::default());
        let may_serve = std::env::args_os().any(|argument| argument == "serve");
        let may_last = may_serve || std::env::args_os().any(|argument| argument == "demo");
        let diagnostics = match may_last {
            true => Diagnostics::queued(&counters)?,
            false => Diagnostics::direct(),
        };
        panics::tell(diagnostics.clone(), Arc::clone(&counters));
        ending::on_loss(diagnostics.clone());
        let orders = may_serve.then(|| signals::take(&diagnostics)).transpose()?;
        Ok(Self { counters, diagnostics, orders })
    }

    /// What a gateway is ordered by signals.
    pub(crate) fn orders(&self) -> Option<Orders> {
        self.orders.clone()
    }

    /// It is no gateway: what asks any other command to end ends it.
    pub(crate) fn is_no_gateway(&self) {
        if let Some(orders) = &self.orders {
            orders.end_at_once();
        }
    }

    /// Gives what is still to be told a moment, and no more.
    pub(crate) fn end(&self) {
        self.diagnostics.flush(LAST_WORDS);
    }
}
