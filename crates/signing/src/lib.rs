//! Signatures and sealed payloads of every dialect, as pure functions over bytes.
//!
//! Nothing here reads a clock, a file or a socket, and nothing knows the gateway: a client in Rust can use this crate
//! alone. What is random comes from the operating system's generator.

pub mod fomalhaut;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
pub mod http;
