//! The process around the gateway: its signals, its stderr, its logs, its descriptors, its disk, its database.

mod access_log;
mod descriptors;
mod diagnostics;
mod disk;
mod registry;
mod secrets;
mod signals;
