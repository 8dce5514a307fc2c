//! The threads of the journal of nonces: one writes what is noted, in rounds; one asks the disk to keep it.
//!
//! A round takes what waits in the memory, writes it, and then tells those who wait for it. It begins as soon as something
//! waits, but not sooner than some milliseconds after the last one, so that many share a write. While nothing is noted,
//! nothing is written. Asking the disk takes long now and then, so rounds do not wait for it.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use portcullis_core::memory::{MemoryState, Nonce};
use portcullis_core::ports::Clock;
use tokio::sync::watch;

use super::files::Files;

/// How long the thread waits for more between two rounds.
const LINGER: Duration = Duration::from_millis(10);
/// How often it looks for what is over while nothing is noted.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long after a failure the next attempt is made, and how often the disk is asked to keep what was written.
const SECOND: Duration = Duration::from_secs(1);

/// How far the rounds are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The last round that is written.
    pub(super) written: u64,
    /// The last one that could not be written.
    pub(super) failed: u64,
}

/// The state of the thread that writes.
pub(super) struct Writer {
    pub(super) files: Files,
    pub(super) memory: Arc<MemoryState>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) is_stopping: Arc<AtomicBool>,
    pub(super) unsynced: Arc<Unsynced>,
    pub(super) round: u64,
    /// What is not written yet, and the latest stamp that was noted.
    pub(super) taken: Vec<Nonce>,
    pub(super) latest: u64,
    /// Whether the disk knows that this process runs.
    pub(super) is_marked: bool,
    pub(super) has_failed: bool,
}

impl Writer {
    /// Works until it is stopped, and then writes what waits for the last time.
    pub(super) fn run(mut self) {
        while !self.is_stopping.load(SeqCst) {
            if self.has_failed {
                self.retry();
                continue;
            }
            self.memory.rest(|| thread::park_timeout(LOOK_EVERY));
            self.memory.drop_all_over();
            self.round(false);
            thread::sleep(LINGER);
        }
        self.round(true);
        if !self.has_failed
            && let Err(error) = self.files.finish(self.clock.unix_millis())
        {
            self.tell(&error);
        }
    }

    /// Once a second; a stop is seen sooner.
    fn retry(&mut self) {
        thread::park_timeout(SECOND);
        self.round(false);
    }

    /// One round. Where nothing waits and nothing is over, nothing is written.
    pub(super) fn round(&mut self, is_last: bool) {
        self.round += 1;
        let (began, latest) = self.memory.take(self.round, is_last, &mut self.taken);
        self.latest = self.latest.max(latest);
        let over = self.files.over(began / 1_000);
        if let Some(until) = over {
            self.memory.raise_horizon(until);
        }
        if self.taken.is_empty() && over.is_none() && self.is_marked && !self.has_failed {
            return self.tell_waiting(|progress, round| progress.written = round);
        }
        match self.write(began) {
            Ok(()) => {
                self.memory.written(began);
                self.tell_waiting(|progress, round| progress.written = round);
                self.unsynced.add(self.files.take_unsynced());
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!("the journal of nonces can be written again");
                }
                // What a burst has needed is not kept for nothing.
                self.taken.clear();
                self.taken.shrink_to(4_096);
            }
            Err(error) => {
                self.memory.not_written();
                self.tell_waiting(|progress, round| progress.failed = round);
                self.tell(&error);
            }
        }
    }

    fn write(&mut self, began: u64) -> io::Result<()> {
        let horizon = self.memory.horizon();
        // What has waited for too long for the disk.
        self.taken.retain(|nonce| nonce.until > horizon);
        self.files.write(&mut self.taken, began, horizon, self.latest)?;
        if !self.is_marked {
            // Both copies of the head, and on the disk before the first nonce: what comes after is not a clean end.
            self.files.write(&mut [], began, horizon, self.latest)?;
            self.files.sync_head()?;
            self.is_marked = true;
        }
        Ok(())
    }

    fn tell_waiting(&self, change: impl FnOnce(&mut Progress, u64)) {
        self.progress.send_modify(|progress| change(progress, self.round));
    }

    /// A failure is told when it begins.
    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::error!(%error, "the journal of nonces cannot be written; signed requests get 503 until it can");
        }
    }
}

/// Files whose bytes the disk has not been asked to keep.
#[derive(Default)]
pub(super) struct Unsynced {
    waiting: Mutex<(Vec<Arc<File>>, bool)>,
    bell: Condvar,
}

impl Unsynced {
    fn add(&self, files: Vec<Arc<File>>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            if !waiting.0.iter().any(|held| Arc::ptr_eq(held, &file)) {
                waiting.0.push(file);
            }
        }
        self.bell.notify_one();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.bell.notify_one();
    }

    /// Asks the disk once a second at most, until it is stopped.
    pub(super) fn run(&self) {
        let mut has_failed = false;
        loop {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            while waiting.0.is_empty() && !waiting.1 {
                waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.1 {
                return;
            }
            let files = std::mem::take(&mut waiting.0);
            drop(waiting);
            let failure = files.iter().find_map(|file| file.sync_data().err());
            if let Some(error) = failure.filter(|_| !has_failed) {
                // After a crash of the machine every stamp before the start is refused, whatever the disk has kept.
                tracing::warn!(%error, "the disk could not be asked to keep the journal of nonces");
                has_failed = true;
            }
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // A stop is not waited for.
            drop(self.bell.wait_timeout_while(waiting, SECOND, |(_, is_stopping)| !*is_stopping));
        }
    }
}
