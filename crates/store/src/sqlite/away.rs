//! Whether the database has failed because it is away for now: locked by another connection for longer than one waits, gone
//! from its place, or not answering. The same may go well later, and nothing is wrong with what was asked.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// SQLITE_PERM, _BUSY, _LOCKED, _READONLY, _IOERR, _CANTOPEN and _PROTOCOL.
const AWAY: [i32; 7] = [3, BUSY, 6, 8, 10, 14, 15];
/// SQLITE_BUSY.
const BUSY: i32 = 5;

/// Whether the database or the way to it says so.
pub(crate) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        // The low byte of an extended code is the code it extends.
        sqlx::Error::Database(_) => code(error).is_some_and(|code| AWAY.contains(&(code & 0xff))),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether another connection has the lock.
pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xff == BUSY)
}

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    /// The file at this path.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self { device: found.dev(), number: found.ino() })
    }

    /// Says what has become of the file, if it is not at its path any more. What is written to it then is lost with the
    /// last who has it open, though the database knows of no fault.
    pub(crate) fn missed_at(self, path: &Path) -> Option<String> {
        match Self::at(path) {
            Ok(found) if found == self => None,
            Ok(_) => Some(format!("another file is at '{}' now", path.display())),
            Err(error) => Some(format!("'{}' is gone: {error}", path.display())),
        }
    }
}
