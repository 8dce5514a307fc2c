//! Ends the process where it stands, with its reason: when work is lost without which it must not go on, and when an order
//! to stop is not obeyed in time.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_core::vital;

use super::{Diagnostics, LAST_WORDS};

/// The exit code of a process that did not come to its end by itself.
const FAILED: i32 = 1;

static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

/// The loss of vital work ends the process.
pub(super) fn on_loss(diagnostics: Diagnostics) {
    vital::on_loss(move |name, reason| {
        let reason = format_args!("{name} is lost, and the gateway does not go on without it: {reason}");
        now(&diagnostics, reason, FAILED, LAST_WORDS);
    });
}

/// Ends the process with this code, after saying why for as long as this. It does not come back; whoever has another reason
/// meanwhile waits for the end.
pub(super) fn now(diagnostics: &Diagnostics, reason: fmt::Arguments<'_>, code: i32, words: Duration) -> ! {
    if HAS_BEGUN.swap(true, Ordering::SeqCst) {
        loop {
            std::thread::park();
        }
    }
    diagnostics.say(format!("error: {reason}\n").as_bytes());
    diagnostics.flush(words);
    std::process::exit(code);
}

/// The same for an order that is repeated.
pub(super) fn at_once(diagnostics: &Diagnostics, reason: fmt::Arguments<'_>, code: i32) -> ! {
    now(diagnostics, reason, code, Duration::from_millis(100))
}
