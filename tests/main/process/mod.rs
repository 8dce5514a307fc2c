//! The process around the gateway: its signals, its stderr, its logs, its disk.

mod access_log;
mod diagnostics;
mod disk;
mod signals;
