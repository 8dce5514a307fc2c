//! From what is declared to what calls are routed by: declarations are changed in one way, compiled into pipelines, and
//! published as a snapshot, in which each call finds its route.
//!
//! A change passes the files in this order: [`change`] → [`compile`] → [`snapshot`]; a call these: [`choose`] →
//! [`snapshot`] → [`routes`].

pub mod answers;
pub mod builtins;
pub mod change;
pub mod choose;
pub mod client_keys;
pub mod compile;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
pub mod live;
pub mod refusing;
pub mod routes;
pub mod snapshot;

pub use portcullis_policies::Claims;
