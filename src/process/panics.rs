//! Panics are told like everything else the process says, and counted. What becomes of them is decided where they are caught:
//! a task of one connection ends alone, vital work takes the process with it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::sync::Arc;

use portcullis_core::vital::words_of;
use portcullis_telemetry::Counters;

use super::Diagnostics;

/// Tells panics from now on. The usual way would wait for whoever reads stderr, for ever.
pub(super) fn tell(diagnostics: Diagnostics, counters: Arc<Counters>) {
    std::panic::set_hook(Box::new(move |panic| {
        counters.tasks_panicked.add_one();
        let thread = std::thread::current();
        let mut text = format!("error: the thread '{}' panicked", thread.name().unwrap_or("without a name"));
        if let Some(place) = panic.location() {
            // Writing to a text does not fail.
            let _ = write!(text, " at {place}");
        }
        let _ = writeln!(text, ": {}", words_of(panic.payload()));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            let _ = writeln!(text, "{backtrace}");
        }
        diagnostics.say(text.as_bytes());
    }));
}
