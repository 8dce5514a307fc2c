//! Whether a write has failed because there is no room for it: on the disk, in a quota, or below a limit of the process.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// SQLITE_FULL: the disk was full.
const FULL: i32 = 13;
/// SQLITE_IOERR_WRITE, _FSYNC, _TRUNCATE and _SHMSIZE: a file could not grow, for whatever reason.
const NOT_GROWN: [i32; 4] = [778, 1_034, 1_546, 4_874];
/// What is written to see whether there is room.
const PROBE: &[u8] = &[0; 64 << 10];

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Whether the database says so, or only that a file could not grow where none may beyond a size.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xff == FULL || NOT_GROWN.contains(&code) && is_limited())
}

/// The same, or where no other file beside the database can grow either.
pub(crate) fn is_lacking(error: &sqlx::Error, database: &Path) -> bool {
    is_full(error) || code(error).is_some_and(|code| NOT_GROWN.contains(&code)) && !is_left(database)
}

/// Whether the files of this process may have so many bytes and no more.
fn is_limited() -> bool {
    getrlimit(Resource::Fsize).current.is_some()
}

/// Whether another file can be written beside the database.
fn is_left(database: &Path) -> bool {
    let mut name = database.as_os_str().to_owned();
    name.push(".room");
    let name = Path::new(&name);
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(name);
    let written = file.and_then(|mut file| file.write_all(PROBE).and_then(|()| file.sync_data()));
    // One that was never made is gone as well.
    let _ = fs::remove_file(name);
    let lacks = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
    written.map_or_else(|error| !lacks.contains(&error.kind()), |()| true)
}
