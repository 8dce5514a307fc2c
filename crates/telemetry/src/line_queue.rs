//! Lines on their way to somebody who may not take them: a pipe that nobody reads, a terminal that is gone, a full disk.
//!
//! Whoever has a line leaves it here and goes on. A thread of its own writes; it alone waits. What finds no room is dropped
//! and counted, and so is what cannot be written. How much was lost is told when a line can be written again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_core::vital;

use portcullis_core::metrics::Counter;

use crate::counters::Counters;
use crate::file::Seldom;

/// How long the thread waits before it writes again to what has no room and says so instead of waiting.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the lines of a queue go, and what is said and counted of those that do not arrive.
#[derive(Debug, Clone, Copy)]
pub struct Destination {
    /// What it is called: the name of the thread.
    pub name: &'static str,
    /// Bytes that may wait, and be on their way.
    pub most: usize,
    /// Counts the lines that were lost.
    pub lost: fn(&Counters) -> &Counter,
    /// Counts the writes that failed.
    pub failed: fn(&Counters) -> &Counter,
    /// Whether a failed write is told among the diagnostics. Not where the diagnostics themselves are written.
    pub tells: bool,
}

/// A queue of lines with a thread that writes them. The thread ends when the queue is dropped and empty.
#[derive(Debug)]
pub struct LineQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The thread waits for lines.
    left: Condvar,
    /// Others wait for the thread.
    written: Condvar,
    counters: Arc<Counters>,
    to: Destination,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the thread has taken and not written yet.
    under_way: usize,
    lost: u64,
    is_closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, lines: &[u8]) {
        let lines = lines_in(lines);
        self.state().lost += lines;
        (self.to.lost)(&self.counters).add(lines);
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    ends as u64 + u64::from(bytes.last().is_some_and(|byte| *byte != b'\n'))
}

impl LineQueue {
    /// Starts the thread that writes.
    pub fn start(to: Destination, sink: impl Write + Send + 'static, counters: Arc<Counters>) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), left: Condvar::new(), written: Condvar::new(), counters, to });
        let thread = Writer { shared: Arc::clone(&shared), sink, torn: false, told: 0, warning: Seldom::default() };
        thread::Builder::new().name(to.name.to_owned()).spawn(move || vital::thread(to.name, || thread.run()))?;
        Ok(Self(shared))
    }

    /// Leaves whole lines. Waits for nothing: lines that find no room are dropped and counted.
    pub fn put(&self, mut lines: &[u8]) {
        let shared = &*self.0;
        let mut state = shared.state();
        let mut room = shared.to.most.saturating_sub(state.waiting.len() + state.under_way);
        let was_empty = state.waiting.is_empty();
        while !lines.is_empty() {
            // As many lines as fit; where all do, all at once.
            let end = if lines.len() <= room { lines.len() } else { line_end(&lines[..room]) };
            if end > 0 {
                state.waiting.extend_from_slice(&lines[..end]);
                room -= end;
                lines = &lines[end..];
                continue;
            }
            let end = line_end_of_first(lines);
            state.lost += 1;
            (shared.to.lost)(&shared.counters).add_one();
            lines = &lines[end..];
        }
        if was_empty && !state.waiting.is_empty() {
            shared.left.notify_one();
        }
    }

    /// Waits until everything is written or lost, but no longer than this. Returns how many lines are still waiting.
    pub fn flush(&self, within: Duration) -> u64 {
        let deadline = Instant::now() + within;
        let mut state = self.0.state();
        while !state.waiting.is_empty() || state.under_way > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return lines_in(&state.waiting) + u64::from(state.under_way > 0);
            }
            let waited = self.0.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        0
    }
}

/// Where the last whole line ends.
fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn line_end_of_first(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

impl Drop for LineQueue {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.left.notify_one();
    }
}

/// The state of the thread.
struct Writer<W> {
    shared: Arc<Shared>,
    sink: W,
    /// Whether what was written last is the beginning of a line.
    torn: bool,
    told: u64,
    warning: Seldom,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let mut taken = Vec::new();
        while self.take(&mut taken) {
            let arrived = self.write(&taken);
            let mut state = self.shared.state();
            state.under_way = 0;
            let lost = state.lost;
            drop(state);
            self.shared.written.notify_all();
            if arrived {
                self.tell(lost);
            }
        }
    }

    /// Waits for lines; false when there will be none any more.
    fn take(&self, taken: &mut Vec<u8>) -> bool {
        // What a burst has needed is not kept for nothing.
        *taken = Vec::new();
        let mut state = self.shared.state();
        while state.waiting.is_empty() {
            if state.is_closed {
                return false;
            }
            state = self.shared.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(taken, &mut state.waiting);
        state.under_way = taken.len();
        true
    }

    /// Writes lines; false if some of them are lost.
    fn write(&mut self, lines: &[u8]) -> bool {
        if self.torn {
            // What follows is not the rest of the line that has begun.
            self.torn = self.write_all(b"\n").is_err();
        }
        let Err((written, error)) = self.write_all(lines) else { return true };
        if written > 0 {
            self.torn = lines[written - 1] != b'\n';
        }
        self.shared.lose(&lines[written..]);
        (self.shared.to.failed)(&self.shared.counters).add_one();
        if self.shared.to.tells && self.warning.now() {
            tracing::warn!(%error, "{} cannot be written; calls go on", self.shared.to.name);
        }
        false
    }

    /// Writes as much as can be written; where that is not all, how much it was and why.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.sink.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(some) => written += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody else who has it open wants nobody to wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    /// Tells how much was lost, now that something could be written again.
    fn tell(&mut self, lost: u64) {
        if lost > self.told && (!self.shared.to.tells || self.warning.now()) {
            let lines = lost - self.told;
            self.told = lost;
            tracing::warn!(lines, "lines of {} were lost: they could not be written in time", self.shared.to.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    const TO: Destination = Destination {
        name: "a test",
        most: 64,
        lost: |counters| &counters.diagnostics_dropped,
        failed: |counters| &counters.diagnostics_write_errors,
        tells: false,
    };

    /// Takes what is written when it is told what to make of it.
    struct Gated {
        verdicts: Receiver<io::Result<usize>>,
        begun: Sender<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begun.send(());
            // A test that is over lets everything through.
            let taken = self.verdicts.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            let _ = self.written.send(bytes[..taken].to_vec());
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        queue: LineQueue,
        counters: Arc<Counters>,
        verdicts: Sender<io::Result<usize>>,
        begun: Receiver<()>,
        written: Receiver<Vec<u8>>,
    }

    impl Bench {
        fn new() -> Self {
            let (verdicts, of_sink) = mpsc::channel();
            let ((begins, begun), (writes, written)) = (mpsc::channel(), mpsc::channel());
            let sink = Gated { verdicts: of_sink, begun: begins, written: writes };
            let counters = Arc::new(Counters::default());
            let queue = LineQueue::start(TO, sink, Arc::clone(&counters)).expect("a thread");
            Self { queue, counters, verdicts, begun, written }
        }

        /// The thread is in the middle of a write.
        fn is_writing(&self) {
            self.begun.recv().expect("it writes");
        }

        fn lost(&self) -> u64 {
            self.counters.diagnostics_dropped.get()
        }

        /// Lets the thread write everything, and shows it.
        fn all(self) -> String {
            drop(self.verdicts);
            assert_eq!(self.queue.flush(Duration::from_secs(20)), 0);
            drop(self.queue);
            String::from_utf8(self.written.iter().flatten().collect()).expect("text")
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_who_does_not_read() {
        let bench = Bench::new();
        bench.queue.put(b"the first\n");
        bench.is_writing();
        for _ in 0..1_000 {
            bench.queue.put(b"one of many\n");
        }
        // 64 bytes, of which ten are on their way: four more of twelve.
        assert_eq!(bench.lost(), 996);
        assert_eq!(bench.queue.flush(Duration::from_millis(1)), 5);
        let all = bench.all();
        assert_eq!(all, format!("the first\n{}", "one of many\n".repeat(4)));
    }

    #[test]
    fn of_several_lines_those_that_fit_are_taken() {
        let bench = Bench::new();
        bench.queue.put(b"first\n");
        bench.is_writing();
        let long = "x".repeat(70);
        bench.queue.put(format!("a\n{long}\nb\nc").as_bytes());
        assert_eq!(bench.lost(), 1);
        assert_eq!(bench.all(), "first\na\nb\nc");
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_counted_and_the_rest_goes_on() {
        let bench = Bench::new();
        bench.queue.put(b"a\nb\n");
        bench.is_writing();
        bench.verdicts.send(Ok(1)).expect("it waits");
        bench.is_writing();
        bench.verdicts.send(Err(io::ErrorKind::StorageFull.into())).expect("it waits");
        assert_eq!(bench.queue.flush(Duration::from_secs(20)), 0);
        assert_eq!((bench.lost(), bench.counters.diagnostics_write_errors.get()), (2, 1));
        bench.queue.put(b"c\n");
        assert_eq!(bench.all(), "a\nc\n", "half a line is ended before the next");
    }

    #[test]
    fn who_wants_nobody_to_wait_gets_the_line_a_little_later() {
        let bench = Bench::new();
        bench.queue.put(b"a\n");
        for error in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted] {
            bench.is_writing();
            bench.verdicts.send(Err(error.into())).expect("it waits");
        }
        assert_eq!(bench.all(), "a\n");
    }
}
