//! The callers' side of the data plane: listen, read a call, walk its pipeline, and write the answer.
//!
//! A call passes the files in this order: [`listen`] → [`worker`] → [`serve`] → [`opening`] → [`http1`] → [`exchange`] →
//! [`door`] → the route ([`portcullis_routing`]) → the pipeline ([`portcullis_core::policy`]) → the target
//! ([`portcullis_upstream`]) and back through [`exchange`].

pub mod admission;
pub mod challenges;
pub mod connection;
pub mod connections;
pub mod door;
pub mod exchange;
pub mod expansion;
pub mod explain;
pub mod forwarded;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
pub mod grpc;
pub mod http1;
pub mod http2;
#[cfg(feature = "http3")]
mod http3;
pub mod inherit;
pub mod interim;
pub mod limits;
pub mod listen;
pub mod node;
pub mod opening;
pub mod preface;
pub mod probes;
pub mod proxy_protocol;
pub mod received;
pub mod redirect;
pub mod revocation;
pub mod serve;
pub mod smuggling;
pub mod socket;
pub mod stage;
pub mod tls;
pub mod tunnel;
pub mod watched;
pub mod worker;
