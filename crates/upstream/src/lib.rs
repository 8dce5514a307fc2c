//! The other side of the data plane: a call is sent to a target of its service, and the answer brought back.
//!
//! A call passes the files in this order: [`endpoint`] → [`retry`] → [`cluster`] → [`balance`] → [`lend`] → [`pool`], or [`connect`] where none
//! stands → [`forward`] → [`http1`] or [`http2`] and back through [`forward`].

pub mod attempt;
pub mod backend;
pub mod balance;
pub mod bell;
pub mod bound;
pub mod caller_id;
pub mod capacity;
pub mod checkout;
pub mod cluster;
pub mod connect;
pub mod connection;
pub mod counting_io;
mod demands;
pub mod endpoint;
pub mod forward;
pub mod forwarding_fields;
pub mod freshness;
pub mod gather;
pub mod grpc;
pub mod guard;
pub mod http1;
pub mod http2;
pub mod lend;
pub mod member;
pub mod names;
pub mod outbound;
pub mod pool;
pub mod pool_key;
pub mod pool_mark;
pub mod race;
pub mod replay;
pub mod retry;
pub mod rooms;
pub mod settings;
pub mod sockets;
pub mod template;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod traffic;
pub mod upgrade;
mod weak_map;

pub use endpoint::Upstreams;
pub use settings::{ForwardPath, Forwarding, Settings};
