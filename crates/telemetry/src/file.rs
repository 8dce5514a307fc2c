//! The log's file: appended to through a buffer, rotated by size, reopened on demand, and patient with a full
//! disk.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::sink::{Opened, Sink, Target, stands_at};

/// The buffer is written out when it holds so many bytes.
const BUFFER: usize = 64 << 10;
/// While writing fails, so many bytes of lines are kept for a better time; those beyond are lost.
const RETAINED: usize = 1 << 20;
/// How long after a failure the next attempt is made.
const RETRY: Duration = Duration::from_secs(1);
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Says "at most once a minute".
#[derive(Debug, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether a minute has passed since the last time this was true.
    pub(crate) fn now(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// How long what a reader has not taken is waited for at the end.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A file of lines. Nothing here fails: what goes wrong is counted, and warned about now and then.
pub(crate) struct LogFile {
    target: Target,
    sink: Sink,
    /// Lines not yet written. After a failure it may begin inside the line whose start is in the file.
    buffer: Vec<u8>,
    torn: bool,
    failed: Option<Instant>,
    /// Rotate before the file would have more bytes than this.
    limit: u64,
    rotate_at: u64,
    kept: u32,
    /// Bytes that may wait for a reader.
    queue: usize,
    counters: Arc<Counters>,
    warning: Seldom,
}

impl LogFile {
    /// Opens it for appending. A file is made, with mode 0600, if there is none.
    pub(crate) fn open(
        target: Target,
        (limit, kept): (u64, u32),
        queue: usize,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let sink = match target.open(queue, &counters, None)? {
            Opened::Sink(sink) => sink,
            Opened::Same => return Err(io::ErrorKind::Other.into()),
        };
        let log = Self {
            target,
            sink,
            buffer: Vec::with_capacity(BUFFER),
            torn: false,
            failed: None,
            limit,
            rotate_at: limit,
            kept,
            queue,
            counters,
            warning: Seldom::default(),
        };
        log.tell_of_others();
        Ok(log)
    }

    /// Says of a file that grows and is not rotated that this is so.
    fn tell_of_others(&self) {
        if let (Sink::Led(file), Some(path)) = (&self.sink, self.target.path())
            && file.metadata().is_ok_and(|facts| facts.is_file())
        {
            let path = path.display();
            tracing::info!(%path, "the access log leads to a file elsewhere, which is not rotated here; after it was moved, SIGUSR1 opens it anew");
        }
    }

    /// Bytes in the file, where it is one that is rotated.
    fn size(&self) -> Option<u64> {
        match &self.sink {
            Sink::Own(_, size) => Some(*size),
            Sink::Led(_) | Sink::Reader(..) => None,
        }
    }

    /// Takes a line, which ends with its line end.
    pub(crate) fn append(&mut self, line: &[u8]) {
        let before = self.size().map(|size| size + self.buffer.len() as u64);
        if before.is_some_and(|before| before > 0 && before + line.len() as u64 > self.rotate_at) {
            self.flush_unless_failed();
            if self.buffer.is_empty() {
                self.rotate();
            }
        } else if self.buffer.len() + line.len() > BUFFER {
            self.flush_unless_failed();
        }
        if self.buffer.len() + line.len() > RETAINED.max(line.len()) {
            self.counters.log_lines_lost.add_one();
            return;
        }
        self.buffer.extend_from_slice(line);
    }

    /// Whether lines wait to be written.
    pub(crate) fn has_pending(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Writes what is waiting, except shortly after a failure.
    pub(crate) fn flush_unless_failed(&mut self) {
        if self.failed.is_none_or(|failed| failed.elapsed() >= RETRY) {
            self.flush();
        }
    }

    /// Writes what is waiting, as far as that is possible.
    pub(crate) fn flush(&mut self) {
        let (file, size) = match &mut self.sink {
            Sink::Own(file, size) => (file, Some(size)),
            Sink::Led(file) => (file, None),
            Sink::Reader(queue, _) => {
                queue.put(&self.buffer);
                self.buffer.clear();
                return;
            }
        };
        let mut written = 0;
        let outcome = loop {
            if written == self.buffer.len() {
                break Ok(());
            }
            match file.write(&self.buffer[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if written > 0 {
            self.torn = self.buffer[written - 1] != b'\n';
            if let Some(size) = size {
                *size += written as u64;
            }
            self.buffer.drain(..written);
        }
        match outcome {
            Ok(()) => self.failed = None,
            Err(error) => {
                self.failed = Some(Instant::now());
                self.count(&error, "written");
            }
        }
    }

    /// Opens the path anew, for a file that somebody has moved away. If that fails, the old one stays in use.
    pub(crate) fn reopen(&mut self) {
        self.flush();
        self.open_anew("reopened");
    }

    fn open_anew(&mut self, what: &str) {
        match self.target.open(self.queue, &self.counters, Some(&self.sink)) {
            Ok(Opened::Same) => {}
            Ok(Opened::Sink(sink)) => {
                self.replace(sink);
                self.tell_of_others();
            }
            Err(error) => self.count(&error, what),
        }
    }

    /// Brings everything to the disk, for the last time.
    pub(crate) fn finish(&mut self) {
        self.flush();
        let lost = self.buffer.iter().filter(|byte| **byte == b'\n').count();
        self.counters.log_lines_lost.add(lost as u64);
        match &self.sink {
            // A device cannot be synchronised and needs not to be.
            Sink::Own(file, _) | Sink::Led(file) => drop(file.sync_data()),
            Sink::Reader(queue, _) => self.counters.log_lines_lost.add(queue.flush(LAST_LINES)),
        }
    }

    fn replace(&mut self, sink: Sink) {
        if self.torn {
            // The rest of a line whose start is in the old file has no place in the new one.
            let end = self.buffer.iter().position(|byte| *byte == b'\n').map_or(self.buffer.len(), |at| at + 1);
            self.buffer.drain(..end);
            self.counters.log_lines_lost.add_one();
        }
        self.torn = false;
        self.failed = None;
        self.sink = sink;
        self.rotate_at = self.limit;
    }

    /// `access.log` becomes `access.log.1`, that becomes `access.log.2` …; the last one goes.
    fn rotate(&mut self) {
        let (Sink::Own(file, size), Some(path)) = (&self.sink, self.target.path()) else { return };
        let size = *size;
        if !stands_at(file, path) {
            // Somebody has put something else there, which is not ours to move.
            return self.open_anew("reopened");
        }
        match move_along(path, self.kept) {
            Ok(()) => self.open_anew("rotated"),
            Err(error) => self.count(&error, "rotated"),
        }
        if matches!(&self.sink, Sink::Own(_, now) if *now == size) {
            // It is the same file: the next attempt is made after as many bytes again, not with every line.
            self.rotate_at = size.saturating_add(self.limit);
        }
    }

    fn count(&mut self, error: &io::Error, what: &str) {
        self.counters.log_write_errors.add_one();
        if self.warning.now() {
            let path = self.target.path().map(|path| path.display().to_string());
            let errors = self.counters.log_write_errors.get();
            tracing::warn!(%error, path, errors, "the access log cannot be {what}; calls go on");
        }
    }
}

fn move_along(path: &Path, kept: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let unless_missing = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if kept == 0 {
        return unless_missing(fs::remove_file(path));
    }
    for number in (1..kept).rev() {
        unless_missing(fs::rename(numbered(number), numbered(number + 1)))?;
    }
    unless_missing(fs::rename(path, numbered(1)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn half_a_line_stays_in_the_file_where_it_began() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        symlink("/dev/full", &path).expect("links");
        let counters = Arc::new(Counters::default());
        let mut log =
            LogFile::open(Target::Path(path.clone()), (1 << 20, 1), 1 << 20, Arc::clone(&counters)).expect("opens");
        // As if the disk had become full in the middle of the first of these lines.
        log.buffer.extend_from_slice(b"the second half\n");
        log.torn = true;
        log.append(b"a whole line\n");
        fs::remove_file(&path).expect("removes");
        log.reopen();
        log.finish();
        assert_eq!(fs::read_to_string(&path).expect("reads"), "a whole line\n");
        assert_eq!(counters.log_lines_lost.get(), 1);
    }

    #[test]
    fn without_kept_files_rotation_begins_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        let mut log = LogFile::open(Target::Path(path.clone()), (10, 0), 1 << 20, Arc::default()).expect("opens");
        for line in ["aaaaaa\n", "bbbbbb\n", "a line longer than the limit\n", "c\n"] {
            log.append(line.as_bytes());
            log.flush();
            assert_eq!(fs::read_to_string(&path).expect("reads"), line);
        }
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);
    }
}
