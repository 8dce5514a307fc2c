//! What the access log is written to: a file of its own, a file that somebody else looks after, or somebody who reads.
//!
//! Only a regular file that stands itself where the log belongs is the log's own: it alone is rotated. Where a link leads,
//! what was opened for this process as stdout, a pipe, a terminal, is somebody else's. It is written to and never moved,
//! replaced or taken away. What can make a writer wait gets a thread that waits.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::counters::Counters;
use crate::line_queue::{Destination, LineQueue};

/// A terminal that is opened must not become the process's own.
const NO_CONTROL: i32 = 0o400;

/// Where the access log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a file, or whatever stands in its place.
    Path(PathBuf),
    /// To stdout.
    Stdout,
    /// To stderr.
    Stderr,
}

/// What it is written to.
pub(crate) enum Sink {
    /// A regular file of the log's own, and how many bytes it has.
    Own(File, u64),
    /// A file of somebody else, which never makes anybody wait for long.
    Led(File),
    /// Somebody who may not read, and which pipe, socket or terminal that is.
    Reader(LineQueue, Identity),
}

/// What tells one file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    fn of(found: &Metadata) -> Self {
        Self(found.dev(), found.ino())
    }
}

impl Target {
    /// The file, where it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Stdout | Self::Stderr => None,
        }
    }

    /// Opens it. A file is made, with mode 0600, where there is none. `queue`: bytes that may wait for a reader; `current`:
    /// what is open already, which stays if it is the same reader.
    pub(crate) fn open(&self, queue: usize, counters: &Arc<Counters>, current: Option<&Sink>) -> io::Result<Opened> {
        let found = match self {
            Self::Stdout => standard(io::stdout().as_fd())?,
            Self::Stderr => standard(io::stderr().as_fd())?,
            Self::Path(path) => at(path)?,
        };
        let file = match found {
            Found::Own(file, size) => return Ok(Opened::Sink(Sink::Own(file, size))),
            Found::Other(file) => file,
        };
        let facts = file.metadata()?;
        let waits = facts.file_type().is_fifo() || facts.file_type().is_socket() || file.is_terminal();
        if !waits {
            return Ok(Opened::Sink(Sink::Led(file)));
        }
        let identity = Identity::of(&facts);
        if matches!(current, Some(Sink::Reader(_, same)) if *same == identity) {
            return Ok(Opened::Same);
        }
        let to = Destination {
            name: "the access log",
            most: queue,
            lost: |counters| &counters.log_lines_lost,
            failed: |counters| &counters.log_write_errors,
            tells: true,
        };
        Ok(Opened::Sink(Sink::Reader(LineQueue::start(to, file, Arc::clone(counters))?, identity)))
    }
}

/// What opening has led to.
pub(crate) enum Opened {
    /// Something to write to.
    Sink(Sink),
    /// The reader that there is already.
    Same,
}

enum Found {
    Own(File, u64),
    Other(File),
}

/// The same open file, so that whoever has opened it and this process write behind one another.
fn standard(stream: BorrowedFd<'_>) -> io::Result<Found> {
    Ok(Found::Other(File::from(stream.try_clone_to_owned()?)))
}

fn at(path: &Path) -> io::Result<Found> {
    let itself = match fs::symlink_metadata(path) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let is_own = itself.as_ref().is_none_or(Metadata::is_file);
    if !is_own && let Ok(led) = fs::metadata(path) {
        if led.file_type().is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a disk"));
        }
        // A socket cannot be opened by its path, and a file that is opened twice is written to from its start twice.
        for stream in [io::stdout().as_fd(), io::stderr().as_fd()] {
            let open = File::from(stream.try_clone_to_owned()?);
            if open.metadata().is_ok_and(|facts| Identity::of(&facts) == Identity::of(&led)) {
                return Ok(Found::Other(open));
            }
        }
    }
    // Open for reading too, so that a pipe without a reader is opened at once.
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(0o600).custom_flags(NO_CONTROL).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(Found::Other(file));
    }
    let size = ended(&mut file, found.len())?;
    Ok(if is_own { Found::Own(file, size) } else { Found::Other(file) })
}

/// A line cut short by a crash or a full disk must not swallow the line that follows. Returns the size.
fn ended(file: &mut File, size: u64) -> io::Result<u64> {
    if size == 0 {
        return Ok(0);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(size);
    }
    file.write_all(b"\n")?;
    Ok(size + 1)
}

/// Whether this file is the one that stands itself at a path: not behind a link, and not another that was put there.
pub(crate) fn stands_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    there.is_file() && Identity::of(&open) == Identity::of(&there)
}
