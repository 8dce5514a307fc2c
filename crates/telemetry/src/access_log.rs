//! The access log's front: what calls hand their records to, and how it is started, followed and stopped.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use portcullis_core::ports::AccessLog;
use portcullis_core::record::Record;
use portcullis_core::vital;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::file::LogFile;
use crate::queue::{Entrance, Message, Queue};
use crate::recent::Recent;
use crate::sink::Target;
use crate::writer::Writer;

/// The usual name of the file in its directory; rotated ones have a number behind it.
const FILE_NAME: &str = "access.log";

/// Where the log is and how much of it there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where lines are written. The directory of a file must be there.
    pub target: Target,
    /// Bytes of records that may wait to be written, and of lines that may wait for a reader; those beyond are dropped and
    /// counted.
    pub queue_bytes: usize,
    /// Bytes of records kept in memory to be searched.
    pub recent_bytes: usize,
    /// Bytes at which the file is rotated, if it is the log's own.
    pub file_bytes: u64,
    /// How many rotated files are kept.
    pub kept_files: u32,
}

impl Settings {
    /// The defaults: 64 MiB waiting, 64 MiB searchable, files of 64 MiB, 5 of them kept.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        let bytes = 64 << 20;
        Self {
            target: Target::Path(directory.into().join(FILE_NAME)),
            queue_bytes: bytes,
            recent_bytes: bytes,
            file_bytes: 64 << 20,
            kept_files: 5,
        }
    }
}

/// Why the log could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// What it is to be written to could not be opened.
    #[error("cannot open the access log '{path}': {source}; check that its directory exists and is writable", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its thread could not be started.
    #[error("cannot start the thread of the access log: {0}")]
    Thread(io::Error),
}

/// Starts the access log.
#[derive(Debug)]
pub struct AccessLogWriter;

impl AccessLogWriter {
    /// Opens the file and starts the thread that writes it. Returns the port that takes records, and the
    /// newest records to be searched.
    pub fn start(
        settings: &Settings,
        counters: Arc<Counters>,
    ) -> Result<(Arc<AccessLogHandle>, Arc<Recent>), StartError> {
        let rotation = (settings.file_bytes, settings.kept_files);
        let file = LogFile::open(settings.target.clone(), rotation, settings.queue_bytes, Arc::clone(&counters));
        let file = file.map_err(|source| StartError::File {
            path: settings.target.path().map_or_else(|| "a stream of the process".into(), Path::to_owned),
            source,
        })?;
        let recent = Arc::new(Recent::new(settings.recent_bytes));
        let inbox = Arc::new(Queue::new(settings.queue_bytes, Arc::clone(&counters)));
        let writer = Writer::new(Arc::clone(&inbox), file, Arc::clone(&recent), counters);
        let running = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || vital::thread("the access log", || writer.run()))
            .map_err(StartError::Thread)?;
        inbox.belongs_to(running.thread().clone());
        let entrance = Entrance::new(&inbox);
        let handle = AccessLogHandle { entrance, inbox, running: Mutex::new(Some(running)) };
        Ok((Arc::new(handle), recent))
    }
}

/// The access log as calls and the operator see it.
pub struct AccessLogHandle {
    /// For everybody who has none of their own.
    entrance: Entrance,
    inbox: Arc<Queue>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for AccessLogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogHandle").finish_non_exhaustive()
    }
}

impl AccessLog for AccessLogHandle {
    fn write(&self, record: &Record) {
        self.entrance.write(record);
    }

    fn lane(&self) -> Option<Arc<dyn AccessLog>> {
        Some(Arc::new(Entrance::new(&self.inbox)))
    }
}

impl AccessLogHandle {
    /// Bytes of memory that records on their way have taken.
    pub fn waiting_bytes(&self) -> usize {
        self.inbox.waiting_bytes()
    }

    /// Opens the file anew, after something else has moved it away. What was written before goes to the old file.
    pub fn reopen(&self) {
        self.inbox.reopen();
    }

    /// Waits until every record written before this call is searchable and handed to the file.
    pub async fn flushed(&self) {
        // If the log has stopped, it dealt with everything then, and the answer is dropped.
        let _ = self.mark().await;
    }

    /// The same for a thread that may block; never to be called on an asynchronous runtime.
    pub fn flushed_blocking(&self) {
        let _ = self.mark().blocking_recv();
    }

    /// Writes everything taken so far, then ends; blocks until that is done. What is written later is dropped
    /// and counted. Stopping twice is fine.
    pub fn flush_and_stop(&self) {
        self.inbox.stop();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if running.is_some_and(|running| running.join().is_err()) {
            tracing::error!("the thread of the access log has panicked");
        }
    }

    fn mark(&self) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        self.inbox.tell(Message::Mark(answer));
        answered
    }
}

impl Drop for AccessLogHandle {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}

#[cfg(test)]
mod tests;
