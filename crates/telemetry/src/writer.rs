//! The log's thread: takes records out of the lanes, writes their lines, and puts them where they are searched.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::counters::Counters;
use crate::file::{LogFile, Seldom};
use crate::lane::is_worth_keeping;
use crate::line::{Lines, Reason};
use crate::packed::{RecordView, each};
use crate::queue::{Message, Queue, QueueStage};
use crate::recent::Recent;

/// Under load, lines reach the file at least this often.
const FLUSH_EVERY: Duration = Duration::from_millis(250);
/// So many bytes of records are written between two looks at the clock.
const STRIDE: usize = 16 << 10;
/// How long the thread waits for more before it sleeps. During that time nobody has to wake it.
const LINGER: Duration = Duration::from_millis(5);
/// How long it sleeps while lines wait for a disk that was full.
const RETRY: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(crate) struct Writer {
    inbox: Arc<Queue>,
    file: LogFile,
    recent: Arc<Recent>,
    counters: Arc<Counters>,
    /// Empty buffers, at most one for each lane: what a lane gets for the one that is taken from it.
    spare: Vec<Vec<u8>>,
    lanes: usize,
    /// The records that are being written, those buffers of which nothing is left, and one line.
    stride: Vec<u8>,
    done: Vec<Vec<u8>>,
    line: Vec<u8>,
    lines: Lines,
    flushed: Instant,
    dropped: u64,
    warning: Seldom,
}

impl Writer {
    pub(crate) fn new(inbox: Arc<Queue>, file: LogFile, recent: Arc<Recent>, counters: Arc<Counters>) -> Self {
        Self {
            inbox,
            file,
            recent,
            counters,
            spare: Vec::new(),
            lanes: 0,
            stride: Vec::new(),
            done: Vec::new(),
            line: Vec::with_capacity(1_024),
            lines: Lines::default(),
            flushed: Instant::now(),
            dropped: 0,
            warning: Seldom::default(),
        }
    }

    /// Works until the log is stopped, and then until everything taken by then is dealt with.
    pub(crate) fn run(mut self) {
        let (mut messages, mut taken) = (Vec::new(), Batch::default());
        let mut has_lingered = false;
        loop {
            let (lanes, stage) = self.inbox.take(&mut messages, &mut taken, &mut self.spare);
            self.lanes = lanes;
            if !taken.is_empty() {
                has_lingered = false;
            }
            let is_quiet = messages.is_empty() && taken.is_empty();
            self.deal_with(&mut messages, &mut taken);
            if stage != QueueStage::Open {
                break;
            }
            if !is_quiet {
                continue;
            }
            self.file.flush_unless_failed();
            self.warn_of_drops();
            self.flushed = Instant::now();
            if has_lingered {
                self.sleep();
            } else {
                thread::park_timeout(LINGER);
            }
            has_lingered = !has_lingered;
        }
        self.file.finish();
    }

    fn deal_with(&mut self, messages: &mut Vec<Message>, taken: &mut Batch) {
        let mut marks = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Mark(answer) => marks.push(answer),
                Message::Reopen(mut before) => {
                    self.write(&mut before);
                    self.file.reopen();
                }
            }
        }
        self.write(taken);
        if marks.is_empty() {
            return;
        }
        self.file.flush();
        for answer in marks {
            let _ = answer.send(());
        }
    }

    fn write(&mut self, taken: &mut Batch) {
        while !taken.is_empty() {
            self.stride.clear();
            taken.next(&mut self.stride, STRIDE, &mut self.done);
            for record in each(&self.stride).filter_map(RecordView::unpack) {
                self.line.clear();
                self.lines.write(&mut self.line, &record, Reason::Shown);
                self.line.push(b'\n');
                self.file.append(&self.line);
            }
            self.counters.records_written.add(self.recent.extend(&self.stride));
            self.keep_what_is_done();
            self.look_at_the_clock();
        }
    }

    fn keep_what_is_done(&mut self) {
        for mut piece in self.done.drain(..) {
            self.inbox.give_back(piece.len());
            if self.spare.len() < self.lanes && is_worth_keeping(&piece) {
                piece.clear();
                self.spare.push(piece);
            }
        }
    }

    fn look_at_the_clock(&mut self) {
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.file.flush_unless_failed();
            self.warn_of_drops();
            self.flushed = Instant::now();
        }
    }

    fn sleep(&mut self) {
        // What a burst has needed is not kept for nothing.
        self.spare = Vec::new();
        for buffer in [&mut self.stride, &mut self.line] {
            if buffer.capacity() > 2 * STRIDE {
                *buffer = Vec::new();
            }
        }
        self.inbox.sleep(|| {
            if self.file.has_pending() {
                thread::park_timeout(RETRY);
            } else {
                thread::park();
            }
        });
    }

    fn warn_of_drops(&mut self) {
        let dropped = self.counters.records_dropped.get();
        if dropped > self.dropped && self.warning.now() {
            tracing::warn!(dropped, "records have been dropped because the queue of the access log was full");
            self.dropped = dropped;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox.end();
    }
}
