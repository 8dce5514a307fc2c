//! Journal of nonces: keeps what replay protection remembers over a restart.
//!
//! ```text
//! calls  ──►  MemoryState  ──(rounds)──►  journal thread  ──►  nonces/head, nonces/PERIOD.nonces
//! ```
//!
//! A call with a stamp of this moment does not wait for its nonce to be written. After a crash of the process, stamps of the
//! moment that may be missing are refused; where more may be missing, every stamp before the start
//! (docs/adr/0030-what-was-signed-once-passes-once.md).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use portcullis_core::call::Effects;
use portcullis_core::memory::{MemoryState, Noted};
use portcullis_core::ports::{Clock, Once, SharedState, Spent, Unavailable};
use portcullis_core::vital;
use thiserror::Error;
use tokio::sync::watch;

use boot::Boot;
use files::Files;
use writer::{Progress, Unsynced, Writer};

mod boot;
mod files;
mod format;
mod writer;

/// How long a call waits for its nonce to be written.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How many times the memory for nonces their files may have together.
const DISK: u64 = 4;
/// What the memory counts as for that at least.
const LEAST: u64 = 64 << 10;

/// Where the journal is and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// Its directory; it is made if it is not there.
    pub directory: PathBuf,
    /// Bytes of memory for nonces. The files have four times as many at most.
    pub bytes: u64,
    /// Whether there was no state before, so that no journal can be missing.
    pub is_new: bool,
}

/// Why the journal could not be opened.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Its directory could not be made, or its files not be opened.
    #[error("cannot open the journal of nonces in '{path}': {source}; check that it is a directory of the gateway's own and writable", path = path.display())]
    Files {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its threads could not be started.
    #[error("cannot start the threads of the journal of nonces: {0}")]
    Threads(io::Error),
}

/// [`SharedState`] in memory, kept over a restart.
pub struct Journal {
    memory: Arc<MemoryState>,
    progress: watch::Receiver<Progress>,
    is_stopping: Arc<AtomicBool>,
    unsynced: Arc<Unsynced>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Journal {
    /// Reads what is still to be remembered, and starts the threads that write. What is damaged is told and never a reason
    /// not to start. Blocks on the disk.
    pub fn open(settings: &JournalSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, JournalError> {
        let boot = Boot::this(clock.as_ref());
        Self::open_in(settings, clock, boot)
    }

    fn open_in(settings: &JournalSettings, clock: Arc<dyn Clock>, boot: Boot) -> Result<Arc<Self>, JournalError> {
        let mut writer = prepare(settings, clock, boot)?;
        let (memory, progress) = (Arc::clone(&writer.memory), writer.progress.subscribe());
        let (is_stopping, unsynced) = (Arc::clone(&writer.is_stopping), Arc::clone(&writer.unsynced));
        // The first round marks the journal as open. If it fails, it is tried again.
        writer.round(false);
        let syncing = Arc::clone(&unsynced);
        let syncing = thread::Builder::new()
            .name("nonces-sync".to_owned())
            .spawn(move || vital::thread("the syncing of nonces", || syncing.run()))
            .map_err(JournalError::Threads)?;
        let writing = thread::Builder::new()
            .name("nonces".to_owned())
            .spawn(move || vital::thread("the journal of nonces", || writer.run()))
            .map_err(JournalError::Threads)?;
        memory.is_written_by(writing.thread().clone());
        let running = Mutex::new(vec![writing, syncing]);
        Ok(Arc::new(Self { memory, progress, is_stopping, unsynced, running }))
    }

    /// The memory, for what it tells of itself.
    pub fn memory(&self) -> &Arc<MemoryState> {
        &self.memory
    }

    /// Writes everything and brings it to the disk, then ends; blocks until that is done. Nothing is noted any more, and the
    /// next start refuses nothing that is new. Stopping twice is fine.
    pub fn flush_and_stop(&self) {
        self.stop();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in running {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the journal of nonces has panicked");
            }
        }
    }

    fn stop(&self) {
        self.is_stopping.store(true, SeqCst);
        self.unsynced.stop();
        for thread in self.running.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            thread.thread().unpark();
        }
    }

    /// Waits until a round is written.
    async fn written(&self, round: u64) -> Result<Spent, Unavailable> {
        let mut progress = self.progress.clone();
        let done = progress.wait_for(|progress| progress.written >= round || progress.failed >= round);
        match tokio::time::timeout(LONGEST_WAIT, done).await {
            Ok(Ok(progress)) if progress.written >= round => Ok(Spent::First),
            Ok(_) => Err(Unavailable("the journal of nonces cannot be written")),
            Err(_) => Err(Unavailable("the disk takes too long to write the journal of nonces")),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

#[async_trait]
impl SharedState for Journal {
    async fn once(&self, effects: &Effects, what: Once<'_>) -> Result<Spent, Unavailable> {
        match self.memory.note(effects, &what)? {
            Noted::Again => Ok(Spent::Again),
            Noted::First => Ok(Spent::First),
            Noted::FirstAfter(round) => self.written(round).await,
        }
    }
}

/// Reads what there is, without starting anything.
fn prepare(settings: &JournalSettings, clock: Arc<dyn Clock>, boot: Boot) -> Result<Writer, JournalError> {
    let JournalSettings { directory, bytes, is_new } = settings;
    let memory_bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
    let mut memory = MemoryState::with_journal(memory_bytes, Arc::clone(&clock));
    let (limit, now) = ((*bytes).max(LEAST).saturating_mul(DISK), clock.unix_millis() / 1_000);
    let opened = Files::open(directory, *is_new, boot, limit, now, &mut memory);
    let (files, found) = opened.map_err(|source| JournalError::Files { path: directory.clone(), source })?;
    if found.cut > 0 {
        tracing::warn!(bytes = found.cut, "the journal of nonces ended in the middle of a write, which was cut off");
    }
    let reboot = || found.is_rebooted.then(|| "the machine was started anew after a crash".to_owned());
    if let Some(reason) = found.damage.clone().or_else(reboot) {
        tracing::warn!(reason, "nonces may be missing: requests signed before this start are refused as replays");
    }
    tracing::debug!(nonces = found.nonces, "read the journal of nonces");
    Ok(Writer {
        files,
        memory: Arc::new(memory),
        clock,
        progress: watch::Sender::new(Progress::default()),
        is_stopping: Arc::default(),
        unsynced: Arc::default(),
        round: 0,
        taken: Vec::new(),
        latest: 0,
        is_marked: false,
        has_failed: false,
    })
}

#[cfg(test)]
mod tests;
