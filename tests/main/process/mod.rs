//! The process around the gateway: its signals, its stderr, its disk.

mod diagnostics;
mod disk;
mod signals;
