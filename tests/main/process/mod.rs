//! The process around the gateway: its signals, its stderr, its logs, its descriptors, its disk.

mod access_log;
mod descriptors;
mod diagnostics;
mod disk;
mod secrets;
mod signals;
