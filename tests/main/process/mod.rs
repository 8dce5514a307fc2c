//! The process around the gateway: its signals, its stderr, its descriptors, its disk.

mod diagnostics;
mod signals;
