//! The access log's front: what calls hand their records to, and how it is started, followed and stopped.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

use portcullis_core::ports::AccessLog;
use portcullis_core::record::Record;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::file::LogFile;
use crate::recent::{Recent, weight};
use crate::writer::Writer;

/// The name of the file in its directory; rotated ones have a number behind it.
const FILE_NAME: &str = "access.log";

/// Where the log is and how much of it there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory of `access.log`; it must be there.
    pub directory: PathBuf,
    /// Bytes of records that may wait to be written; those beyond are dropped and counted.
    pub queue_bytes: usize,
    /// Bytes of records kept in memory to be searched.
    pub recent_bytes: usize,
    /// Bytes of the file at which it is rotated.
    pub file_bytes: u64,
    /// How many rotated files are kept.
    pub kept_files: u32,
}

impl Settings {
    /// The defaults: 64 MiB waiting, 64 MiB searchable, files of 64 MiB, 5 of them kept.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        let bytes = 64 << 20;
        Self {
            directory: directory.into(),
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
    /// Its file could not be opened.
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

/// What waits for the log's thread.
pub(crate) enum Message {
    /// A record with its weight.
    Record(Box<Record>, usize),
    /// Answer when everything before has been dealt with.
    Mark(oneshot::Sender<()>),
    Reopen,
    Stop,
}

/// What calls and the log's thread tell each other besides messages.
///
/// All of it is sequentially consistent, because each side writes one of these and then reads another: a call
/// counts its bytes and then looks whether the thread sleeps or has stopped; the thread says that it sleeps or
/// stops and then looks for bytes. So one of the two always sees the other.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Bytes of the records in the queue, and of those just being put there.
    pub(crate) queued: AtomicUsize,
    /// Whether the thread sleeps until it is woken.
    pub(crate) asleep: AtomicBool,
    accepting: AtomicBool,
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
        let path = settings.directory.join(FILE_NAME);
        let file = LogFile::open(path.clone(), settings.file_bytes, settings.kept_files, Arc::clone(&counters))
            .map_err(|source| StartError::File { path, source })?;
        let recent = Arc::new(Recent::new(settings.recent_bytes));
        let shared = Arc::new(Shared {
            queued: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            accepting: AtomicBool::new(true),
        });
        let (sender, messages) = mpsc::channel();
        let writer = Writer::new(messages, Arc::clone(&shared), file, Arc::clone(&recent), Arc::clone(&counters));
        let running = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())
            .map_err(StartError::Thread)?;
        let handle = AccessLogHandle {
            sender,
            shared,
            budget: settings.queue_bytes,
            counters,
            thread: running.thread().clone(),
            running: Mutex::new(Some(running)),
        };
        Ok((Arc::new(handle), recent))
    }
}

/// The access log as calls and the operator see it.
#[derive(Debug)]
pub struct AccessLogHandle {
    sender: Sender<Message>,
    shared: Arc<Shared>,
    budget: usize,
    counters: Arc<Counters>,
    thread: Thread,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog for AccessLogHandle {
    fn write(&self, record: Box<Record>) {
        let size = weight(&record);
        let before = self.shared.queued.fetch_add(size, Ordering::SeqCst);
        let fits = before.saturating_add(size) <= self.budget;
        let taken = fits
            && self.shared.accepting.load(Ordering::SeqCst)
            && self.sender.send(Message::Record(record, size)).is_ok();
        if !taken {
            self.shared.queued.fetch_sub(size, Ordering::SeqCst);
            self.counters.records_dropped.add_one();
            return;
        }
        // Waking costs a system call, so the thread looks by itself for a while before it sleeps.
        if self.shared.asleep.load(Ordering::SeqCst) && self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

impl AccessLogHandle {
    /// Opens `access.log` anew, after something else has moved it away.
    pub fn reopen(&self) {
        self.tell(Message::Reopen);
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
        self.stop();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if running.is_some_and(|running| running.join().is_err()) {
            tracing::error!("the thread of the access log has panicked");
        }
    }

    fn mark(&self) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        self.tell(Message::Mark(answer));
        answered
    }

    fn stop(&self) {
        self.shared.accepting.store(false, Ordering::SeqCst);
        self.tell(Message::Stop);
    }

    fn tell(&self, message: Message) {
        // A thread that has ended needs not to be told anything.
        let _ = self.sender.send(message);
        self.thread.unpark();
    }
}

impl Drop for AccessLogHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::line::tests::record;

    #[test]
    fn a_record_wakes_the_sleeping_thread() {
        let directory = tempfile::tempdir().expect("a directory");
        let counters = Arc::new(Counters::default());
        let (handle, recent) =
            AccessLogWriter::start(&Settings::in_directory(directory.path()), Arc::clone(&counters)).expect("starts");
        for number in 1..=3 {
            while !handle.shared.asleep.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            handle.write(Box::new(record(SystemTime::UNIX_EPOCH)));
            // Nothing but the record itself has told the thread.
            while counters.records_written.get() < number {
                thread::yield_now();
            }
        }
        handle.flushed_blocking();
        assert_eq!(recent.newest(), 3);
        assert_eq!(handle.shared.queued.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn stopping_waits_for_a_record_that_is_being_put_into_the_queue() {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = Settings::in_directory(directory.path());
        let (handle, recent) = AccessLogWriter::start(&settings, Arc::default()).expect("starts");
        let record = Box::new(record(SystemTime::UNIX_EPOCH));
        // A call in the middle of `write`: counted, let in, and not yet in the queue when the log is stopped.
        let size = weight(&record);
        handle.shared.queued.fetch_add(size, Ordering::SeqCst);
        handle.stop();
        for _ in 0..10_000 {
            thread::yield_now();
        }
        handle.sender.send(Message::Record(record, size)).expect("the thread is still there");
        handle.flush_and_stop();
        assert_eq!(recent.newest(), 1);
    }
}
