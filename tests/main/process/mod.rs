//! The process around the gateway: its signals, its stderr, its logs, its disk, its secrets.

mod access_log;
mod diagnostics;
mod disk;
mod secrets;
mod signals;
