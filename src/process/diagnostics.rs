//! What the process says of itself, on stderr: logged, panicked, failed. Saying it never fails, and a gateway never waits
//! for whoever reads it.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use portcullis_telemetry::{Counters, Destination, LineQueue};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that wait for stderr; lines beyond them are dropped and counted.
const MOST: usize = 1 << 20;

/// Where diagnostics go.
#[derive(Debug, Clone)]
pub(crate) struct Diagnostics(Option<Arc<LineQueue>>);

impl Diagnostics {
    /// To stderr by way of a queue, for a process that has something else to do than to wait.
    pub(super) fn queued(counters: &Arc<Counters>) -> io::Result<Self> {
        let to = Destination {
            name: "stderr",
            most: MOST,
            lost: |counters| &counters.diagnostics_dropped,
            failed: |counters| &counters.diagnostics_write_errors,
            tells: false,
        };
        Ok(Self(Some(Arc::new(LineQueue::start(to, io::stderr(), Arc::clone(counters))?))))
    }

    /// To stderr at once, for a command whose user waits for it to be told.
    pub(super) fn direct() -> Self {
        Self(None)
    }

    /// Says something, in whole lines.
    pub(crate) fn say(&self, lines: &[u8]) {
        match &self.0 {
            Some(queue) => queue.put(lines),
            // A reader who is gone misses nothing.
            None => drop(io::stderr().write_all(lines)),
        }
    }

    /// Waits for what was said to be written, but no longer than this.
    pub(super) fn flush(&self, within: Duration) {
        if let Some(queue) = &self.0 {
            queue.flush(within);
        }
    }
}

/// Each write is a whole event, or a whole line.
impl Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.say(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Diagnostics {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
