//! What lasts: the registry over SQLite, and the journal of nonces. The only crate that names a database driver.
//!
//! ```text
//! readers (4, read only)  ──►  registry.db  ◄──  one writer task  ◄──  queue of changes
//! ```
//!
//! Reads go to a small pool and see every acknowledged change. Changes go through one queue to one connection,
//! which does all that are waiting in a single transaction, so that they share one `fsync`.

mod journal;
mod sqlite;

pub use journal::{Journal, JournalError, JournalSettings};
pub use sqlite::{OpenError, SqliteRegistry};
