//! Captured exchanges on disk: what calls hand them to, and what the operator reads them from.
//!
//! Each exchange is a file of its own, written by one thread after what must not be seen was taken out. The files are
//! limited by their size together and by their age; the oldest go first.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portcullis_core::budget::Budget;
use portcullis_core::capture::{Capture, Exchange, Summary};
use portcullis_core::ports::{Captures, Clock};
use portcullis_core::vital;
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::file::Seldom;
use capture_dir::CaptureDir;

mod capture_dir;

/// How often the thread looks for what is too old.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Where captured exchanges are and how many of them there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSettings {
    /// Their directory; it is made if it is not there.
    pub directory: PathBuf,
    /// Bytes of all files together; one counts as 4 KiB at least.
    pub max_bytes: u64,
    /// How long they are kept.
    pub max_age: Duration,
    /// Bytes of exchanges that are under way or wait to be written; those beyond are dropped and counted.
    pub queue_bytes: usize,
}

enum Message {
    Exchange(Box<Exchange>),
    /// Answer when everything before has been dealt with.
    Mark(oneshot::Sender<()>),
    /// Take out everything, and answer how many that were.
    Clear(oneshot::Sender<u64>),
    Stop,
}

/// Which exchanges are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureFilter {
    /// Of this service.
    pub service: Option<String>,
    /// Of this version of it.
    pub version: Option<String>,
    /// Of this route.
    pub route: Option<String>,
    /// Of the call with this id.
    pub request_id: Option<String>,
}

impl CaptureFilter {
    fn wants(&self, summary: &Summary) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        same(&self.service, summary.service.as_deref())
            && same(&self.version, summary.version.as_deref())
            && same(&self.route, Some(&summary.route))
            && same(&self.request_id, Some(&summary.request_id))
    }
}

/// The captured exchanges, as calls and the operator see them.
pub struct CaptureStore {
    sender: Sender<Message>,
    budget: Arc<Budget>,
    accepting: AtomicBool,
    counters: Arc<Counters>,
    shelf: Arc<Mutex<CaptureDir>>,
    clock: Arc<dyn Clock>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for CaptureStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureStore").field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl CaptureStore {
    /// Opens the directory, takes over what is whole in it, and starts the thread that writes.
    pub fn start(settings: &CaptureSettings, clock: Arc<dyn Clock>, counters: Arc<Counters>) -> io::Result<Arc<Self>> {
        let shelf = CaptureDir::open(settings)?;
        let shelf = Arc::new(Mutex::new(shelf));
        locked(&shelf).prune(clock.unix_millis());
        let (sender, messages) = mpsc::channel();
        let writer = Writer {
            shelf: Arc::clone(&shelf),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            warning: Seldom::default(),
        };
        let running = thread::Builder::new()
            .name("captures".to_owned())
            .spawn(move || vital::thread("the captured exchanges", || writer.run(&messages)))?;
        Ok(Arc::new(Self {
            sender,
            budget: Budget::new(settings.queue_bytes),
            accepting: AtomicBool::new(true),
            counters,
            shelf,
            clock,
            running: Mutex::new(Some(running)),
        }))
    }

    /// The newest exchanges that match and are older than the place `before`, if one is given, each with its place.
    pub fn list(&self, filter: &CaptureFilter, limit: usize, before: Option<u64>) -> Vec<(u64, Summary)> {
        let shelf = locked(&self.shelf);
        let found = shelf.newest_first(self.clock.unix_millis());
        let found = found.filter(|(place, _)| before.is_none_or(|before| *place < before));
        found.filter(|(_, summary)| filter.wants(summary)).take(limit).map(|(at, it)| (at, it.clone())).collect()
    }

    /// The newest exchange of the call with this id. Reads a file, so it is never to be called on a runtime's thread.
    pub fn read(&self, request_id: &str) -> io::Result<Option<Capture>> {
        let path = {
            let shelf = locked(&self.shelf);
            let mut found = shelf.newest_first(self.clock.unix_millis());
            found.find(|(_, summary)| summary.request_id == request_id).map(|(place, _)| shelf.path(place))
        };
        path.map_or(Ok(None), |path| capture_dir::read(&path))
    }

    /// Waits until every exchange handed over before is on disk, and what is too old is not.
    pub async fn flushed(&self) {
        let (answer, answered) = oneshot::channel();
        // A thread that has ended dealt with everything then.
        let _ = self.sender.send(Message::Mark(answer));
        let _ = answered.await;
    }

    /// Takes out every exchange handed over before; says how many those were.
    pub async fn clear(&self) -> u64 {
        let (answer, answered) = oneshot::channel();
        let _ = self.sender.send(Message::Clear(answer));
        answered.await.unwrap_or(0)
    }

    /// Writes what was handed over so far, then ends; blocks until that is done.
    pub fn flush_and_stop(&self) {
        self.stop();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if running.is_some_and(|running| running.join().is_err()) {
            tracing::error!("the thread of the captured exchanges has panicked");
        }
    }

    fn stop(&self) {
        self.accepting.store(false, Ordering::SeqCst);
        let _ = self.sender.send(Message::Stop);
    }
}

impl Drop for CaptureStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Captures for CaptureStore {
    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn keep(&self, exchange: Box<Exchange>) {
        // What waits in the channel has its bytes in the budget, so the channel is bounded by it.
        if !self.accepting.load(Ordering::SeqCst) || self.sender.send(Message::Exchange(exchange)).is_err() {
            self.lost();
        }
    }

    fn lost(&self) {
        self.counters.captures_dropped.add_one();
    }
}

fn locked(shelf: &Mutex<CaptureDir>) -> MutexGuard<'_, CaptureDir> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the thread.
struct Writer {
    shelf: Arc<Mutex<CaptureDir>>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    warning: Seldom,
}

impl Writer {
    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        loop {
            match messages.recv_timeout(LOOK_EVERY) {
                Ok(Message::Exchange(exchange)) => self.write(&exchange),
                Ok(Message::Mark(answer)) => {
                    self.prune();
                    let _ = answer.send(());
                }
                Ok(Message::Clear(answer)) => {
                    let _ = answer.send(locked(&self.shelf).clear());
                }
                Err(RecvTimeoutError::Timeout) => self.prune(),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What a call has handed over in the moment of the stop.
        for message in messages.try_iter() {
            if let Message::Exchange(exchange) = message {
                self.write(&exchange);
            }
        }
    }

    fn prune(&self) {
        locked(&self.shelf).prune(self.clock.unix_millis());
    }

    /// The lock is not held while a file is written: whoever lists does not wait for the disk.
    fn write(&mut self, exchange: &Exchange) {
        let capture = exchange.shown();
        let (place, directory) = locked(&self.shelf).next();
        match capture_dir::write(&directory, place, &capture) {
            Ok(bytes) => {
                let mut shelf = locked(&self.shelf);
                shelf.add(place, bytes, capture.summary);
                shelf.prune(self.clock.unix_millis());
                self.counters.captures_written.add_one();
            }
            Err(error) => {
                self.counters.captures_dropped.add_one();
                if self.warning.now() {
                    tracing::warn!(%error, "a captured exchange could not be written");
                }
            }
        }
    }
}
