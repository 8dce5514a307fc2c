//! Signals, as orders to the gateway. They are taken before anything else is done, on a thread of their own that waits for
//! nothing but them, and that ends the process when an order to stop is given twice or is not obeyed in time.
//!
//! | signal | order |
//! |---|---|
//! | `SIGTERM`, `SIGINT` | stop; the second time, at once |
//! | `SIGHUP` | open the access log anew and read the certificates anew |
//! | `SIGUSR1` | open the access log anew |
//! | `SIGUSR2`, `SIGXFSZ` | none |
//! | `SIGPIPE` | none; the runtime has seen to that |

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use portcullis_core::vital;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Diagnostics;
use super::ending::{at_once, now};

/// A file has reached a size that the process may not write beyond. The write itself fails, and that is dealt with.
const SIGXFSZ: i32 = 25;
/// How long a gateway may take to stop before it has said how long that is.
const BEFORE_IT_SERVES: Duration = Duration::from_secs(5);

/// What was ordered so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ordered {
    /// Whether to stop.
    pub(crate) stop: bool,
    /// How often to open the log anew and read the certificates anew.
    pub(crate) reload: u32,
    /// How often to open the log anew.
    pub(crate) reopen: u32,
}

/// Orders as they are given.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    given: watch::Receiver<Ordered>,
    terms: Arc<Terms>,
}

/// What an order to stop is measured by.
#[derive(Debug)]
struct Terms {
    /// Milliseconds until the process ends anyway.
    patience: AtomicU64,
    /// Whether it ends without further ado.
    at_once: AtomicBool,
}

impl Terms {
    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Ordering::SeqCst))
    }
}

impl Orders {
    /// Waits for an order that is not among these, and says all there are then.
    pub(crate) async fn other_than(&mut self, seen: Ordered) -> Ordered {
        match self.given.wait_for(|given| *given != seen).await {
            Ok(given) => *given,
            // The thread that takes signals is vital: without it the process ends.
            Err(_) => Ordered { stop: true, ..seen },
        }
    }

    /// Waits for the order to stop.
    pub(crate) async fn stopped(&mut self) {
        // As above.
        let _ = self.given.wait_for(|given| given.stop).await;
    }

    /// From now on an order to stop may take so long, and no longer.
    pub(crate) fn may_take(&self, patience: Duration) {
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.terms.patience.store(millis, Ordering::SeqCst);
    }

    /// From now on an order to stop is obeyed by the end of the process.
    pub(super) fn end_at_once(&self) {
        self.terms.at_once.store(true, Ordering::SeqCst);
    }
}

/// Takes the signals. When it returns, none of them ends the process any more but through what is written here.
pub(super) fn take(diagnostics: &Diagnostics) -> io::Result<Orders> {
    let (giving, given) = watch::channel(Ordered::default());
    let patience = AtomicU64::new(u64::try_from(BEFORE_IT_SERVES.as_millis()).unwrap_or(u64::MAX));
    let terms = Arc::new(Terms { patience, at_once: AtomicBool::new(false) });
    let (taken, is_taken) = mpsc::channel();
    let (kept, diagnostics) = (Arc::clone(&terms), diagnostics.clone());
    let work = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            // Whoever waits is gone only if the process is.
            Err(error) => return drop(taken.send(Err(error))),
        };
        runtime.block_on(async {
            match Signals::new() {
                Ok(signals) => {
                    let _ = taken.send(Ok(()));
                    signals.give(giving, &kept, &diagnostics).await;
                }
                Err(error) => drop(taken.send(Err(error))),
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || vital::thread("the thread of signals", work))?;
    is_taken.recv().map_err(io::Error::other)??;
    Ok(Orders { given, terms })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    reopen: Signal,
    ignored: [Signal; 2],
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            ignored: [signal(SignalKind::user_defined2())?, signal(SignalKind::from_raw(SIGXFSZ))?],
        })
    }

    async fn give(mut self, giving: watch::Sender<Ordered>, terms: &Terms, diagnostics: &Diagnostics) {
        let mut ordered: Option<Instant> = None;
        let [other, too_large] = &mut self.ignored;
        loop {
            let (name, number) = tokio::select! {
                _ = self.terminate.recv() => ("SIGTERM", 15),
                _ = self.interrupt.recv() => ("SIGINT", 2),
                _ = self.hang_up.recv() => {
                    if terms.at_once.load(Ordering::SeqCst) {
                        at_once(diagnostics, format_args!("ended by SIGHUP"), 128 + 1);
                    }
                    giving.send_modify(|ordered| ordered.reload = ordered.reload.wrapping_add(1));
                    continue;
                }
                _ = self.reopen.recv() => {
                    giving.send_modify(|ordered| ordered.reopen = ordered.reopen.wrapping_add(1));
                    continue;
                }
                _ = other.recv() => continue,
                _ = too_large.recv() => continue,
                () = until(ordered.map(|ordered| ordered + terms.patience())) => {
                    // It may have been said meanwhile that it takes longer.
                    if ordered.is_none_or(|ordered| ordered.elapsed() < terms.patience()) {
                        continue;
                    }
                    let reason = format_args!("the gateway has not stopped in the time it has, and is ended");
                    now(diagnostics, reason, 1, super::LAST_WORDS);
                }
            };
            if terms.at_once.load(Ordering::SeqCst) {
                at_once(diagnostics, format_args!("ended by {name}"), 128 + number);
            }
            if giving.borrow().stop {
                at_once(diagnostics, format_args!("ordered to stop a second time, by {name}: ended at once"), 1);
            }
            ordered = Some(Instant::now());
            giving.send_modify(|ordered| ordered.stop = true);
        }
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
