//! SQLite: the registry in one file of the data directory.

mod audit;
mod away;
mod column;
mod objects;
mod open;
mod pairs;
mod realms;
mod registry;
mod room;
mod sessions;
mod writer;

pub use open::OpenError;
pub use registry::SqliteRegistry;
