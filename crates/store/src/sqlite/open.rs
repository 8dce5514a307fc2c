//! Opening a registry file: its mode, what is checked before anything is changed in it, and its migrations.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use thiserror::Error;

use super::away::Inode;

/// Connections that read, at most.
const READERS: u32 = 4;
/// How long a connection waits for a lock that another process holds.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read waits for one of the reading connections.
const READER_TIMEOUT: Duration = Duration::from_secs(10);
/// "PCLS": what the first migration writes into the file's header.
const APPLICATION_ID: i64 = 0x5043_4C53;
const OWNER_ONLY: u32 = 0o600;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Why a registry file could not be opened. Every message names the file and what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file could not be made or read at all.
    #[error("cannot open '{path}': {source}; check that its directory exists and is writable", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something else than a SQLite database, or a damaged one.
    #[error("'{path}' is not a database or is damaged; restore it from a backup, or move it away to begin with an empty registry", path = path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database of another program.
    #[error("'{path}' is the database of another program; name another file or data directory", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a version of the program that this one does not know.
    #[error("'{path}' was written by a newer Portcullis (its schema has version {version}, this program knows {known}); start that version, or restore a backup made before the upgrade", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found in it.
        version: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The database itself failed.
    #[error("cannot open the registry '{path}': {message}; check the disk, its free space and who else has the file open", path = path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the database said.
        message: String,
    },
}

/// An opened file: the connection that writes and those that read.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) file: Inode,
    pub(crate) writer: SqliteConnection,
    pub(crate) readers: SqlitePool,
}

/// Opens the file, making it if it is not there, and brings its schema up to date.
pub(crate) async fn open(path: &Path) -> Result<Opened, OpenError> {
    // SQLite gives relative names like `:memory:` and `file:…` a meaning of their own; an absolute one has none.
    let path = std::path::absolute(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    prepare_files(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;

    let file = Inode::at(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
    let failed = |error: sqlx::Error| failure(&path, &error);
    let mut writer = connect_writer(&path).await.map_err(failed)?;
    if !is_ours(&mut writer).await.map_err(failed)? {
        return Err(OpenError::Foreign { path });
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut writer).await.map_err(failed)?;
    if mode != "wal" {
        let message = "its file system has no shared memory for a write-ahead log".to_owned();
        return Err(OpenError::Storage { path, message });
    }
    MIGRATIONS.run(&mut writer).await.map_err(|error| migration_failure(&path, &error))?;

    let place = path.clone();
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        // All from the start, and none to another file that came to this path meanwhile.
        .min_connections(READERS)
        .after_connect(move |_, _| {
            let missed = file.missed_at(&place);
            Box::pin(async move { missed.map_or(Ok(()), |reason| Err(sqlx::Error::Io(io::Error::other(reason)))) })
        })
        .acquire_timeout(READER_TIMEOUT)
        .test_before_acquire(false)
        .max_lifetime(None)
        .connect_with(options(&path).read_only(true))
        .await
        .map_err(failed)?;
    Ok(Opened { path, file, writer, readers })
}

/// Connects for writing to a file that is there.
pub(crate) async fn connect_writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnection::connect_with(&options(path)).await
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .thread_name(|id| format!("registry-{id}"))
        .disable_statement_logging()
}

/// Makes the file for its owner alone. SQLite gives its companions the mode of the file; companions left behind
/// by a crash are narrowed too.
fn prepare_files(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path) {
        Ok(_) => {
            if let Some(directory) = path.parent() {
                File::open(directory)?.sync_all()?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if path.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
        }
        Err(error) => return Err(error),
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::metadata(&name) {
            Ok(found) if found.permissions().mode() & 0o777 != OWNER_ONLY => {
                fs::set_permissions(&name, Permissions::from_mode(OWNER_ONLY))?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the database is empty or carries our mark.
async fn is_ours(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '\\_sqlx\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        .fetch_one(connection)
        .await?;
    Ok(id == APPLICATION_ID || (id == 0 && tables == 0))
}

fn migration_failure(path: &Path, error: &MigrateError) -> OpenError {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            OpenError::Newer { path: path.to_owned(), version: *version, known }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failure(path, error),
        other => OpenError::Storage { path: path.to_owned(), message: other.to_string() },
    }
}

fn failure(path: &Path, error: &sqlx::Error) -> OpenError {
    let path = path.to_owned();
    // SQLITE_CORRUPT and SQLITE_NOTADB; the low byte of an extended code is the code it extends.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok()).map(|code| code & 0xff);
    match code {
        Some(11 | 26) => OpenError::NotADatabase { path },
        _ => OpenError::Storage { path, message: error.to_string() },
    }
}
