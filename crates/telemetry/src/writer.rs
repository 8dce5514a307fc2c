//! The log's thread: takes records out of the queue, writes their lines, and puts them where they are searched.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_core::record::Record;

use crate::access_log::{Message, Shared};
use crate::counters::Counters;
use crate::file::{LogFile, Seldom};
use crate::line::{Lines, Reason};
use crate::recent::Recent;

/// Under load, lines reach the file at least this often.
const FLUSH_EVERY: Duration = Duration::from_millis(250);
/// So many records are taken between two looks at the clock.
const STRIDE: u32 = 64;
/// How long the thread waits for more before it sleeps. During that time nobody has to wake it.
const LINGER: Duration = Duration::from_millis(20);
/// How long it sleeps while lines wait for a disk that was full.
const RETRY: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(crate) struct Writer {
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    file: LogFile,
    recent: Arc<Recent>,
    counters: Arc<Counters>,
    lines: Lines,
    line: Vec<u8>,
    dropped: u64,
    warning: Seldom,
}

impl Writer {
    pub(crate) fn new(
        messages: Receiver<Message>,
        shared: Arc<Shared>,
        file: LogFile,
        recent: Arc<Recent>,
        counters: Arc<Counters>,
    ) -> Self {
        let (lines, line, warning) = (Lines::default(), Vec::with_capacity(1_024), Seldom::default());
        Self { messages, shared, file, recent, counters, lines, line, dropped: 0, warning }
    }

    /// Works until it is told to stop, and then until the queue is empty.
    pub(crate) fn run(mut self) {
        let mut stopping = false;
        let mut lingered = false;
        let mut flushed = Instant::now();
        let mut since_look = 0;
        loop {
            match self.messages.try_recv() {
                Ok(Message::Record(record, size)) => {
                    lingered = false;
                    self.take(record, size);
                    since_look += 1;
                    if since_look == STRIDE {
                        since_look = 0;
                        if flushed.elapsed() >= FLUSH_EVERY {
                            self.file.flush_unless_failed();
                            self.warn_of_drops();
                            flushed = Instant::now();
                        }
                    }
                }
                Ok(Message::Mark(answer)) => {
                    self.file.flush();
                    let _ = answer.send(());
                }
                Ok(Message::Reopen) => self.file.reopen(),
                Ok(Message::Stop) => stopping = true,
                // Records being put into the queue right now are counted already; they are waited for.
                Err(TryRecvError::Empty) if stopping && self.shared.queued.load(Ordering::SeqCst) > 0 => {
                    thread::yield_now();
                }
                Err(TryRecvError::Empty) if !stopping => {
                    self.file.flush_unless_failed();
                    self.warn_of_drops();
                    flushed = Instant::now();
                    if lingered {
                        self.sleep();
                    } else {
                        thread::park_timeout(LINGER);
                    }
                    lingered = !lingered;
                }
                Err(_) => break,
            }
        }
        self.file.finish();
    }

    fn take(&mut self, record: Box<Record>, size: usize) {
        self.line.clear();
        self.lines.write(&mut self.line, &record, Reason::Shown);
        self.line.push(b'\n');
        self.file.append(&self.line);
        self.recent.push_weighed(record, size);
        self.counters.records_written.add_one();
        self.shared.queued.fetch_sub(size, Ordering::SeqCst);
    }

    fn sleep(&self) {
        self.shared.asleep.store(true, Ordering::SeqCst);
        if self.shared.queued.load(Ordering::SeqCst) == 0 {
            if self.file.has_pending() {
                thread::park_timeout(RETRY);
            } else {
                thread::park();
            }
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
    }

    fn warn_of_drops(&mut self) {
        let dropped = self.counters.records_dropped.get();
        if dropped > self.dropped && self.warning.now() {
            tracing::warn!(dropped, "records have been dropped because the queue of the access log was full");
            self.dropped = dropped;
        }
    }
}
