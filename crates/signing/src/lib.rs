//! Signatures and sealed payloads of every dialect, as pure functions over bytes.

pub mod http;
