//! The data plane: listen, read a call, route it, walk its pipeline, forward it, and bring the answer back.
//!
//! A call passes the files in this order: [`listen`] → [`worker`] → [`serve`] → [`opening`] → [`http1`] →
//! [`connection`] → [`door`] → [`routes`] → the pipeline ([`portcullis_core::policy`]) → [`upstream`] and back through [`serve`].

pub mod admission;
pub mod answers;
pub mod challenges;
pub mod change;
mod choose;
pub mod compile;
pub mod connection;
pub mod connections;
pub mod door;
pub mod exchange;
pub mod expansion;
pub mod explain;
pub mod forwarded;
pub mod grpc;
pub mod http1;
pub mod http2;
#[cfg(feature = "http3")]
mod http3;
pub mod inherit;
pub mod interim;
pub mod limits;
pub mod lines;
pub mod listen;
pub mod node;
pub mod opening;
pub mod preface;
pub mod probes;
pub mod proxy_protocol;
pub mod received;
pub mod redirect;
mod refusing;
pub mod routes;
pub mod serve;
pub mod snapshot;
pub mod socket;
pub mod stage;
pub mod standing;
pub mod tls;
pub mod tunnel;
pub mod watched;
pub mod worker;
