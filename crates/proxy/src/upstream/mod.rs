//! The endpoint at the end of a service's pipeline: choose a target, forward the call, bring the answer back.

pub mod attempt;
pub mod balance;
pub mod bell;
pub mod bound;
pub mod connect;
pub mod connection;
pub mod endpoint;
pub mod exchange;
pub mod forward;
pub mod grpc;
pub mod guard;
pub mod http1;
pub mod http2;
pub mod lend;
pub mod noting;
pub mod peer;
pub mod pool;
pub mod settings;
pub mod sockets;
pub mod switched;
pub mod tls;
pub mod told;

pub use endpoint::{MAX_TARGETS, Upstreams};
pub use settings::{ForwardPath, Forwarding, Settings};
