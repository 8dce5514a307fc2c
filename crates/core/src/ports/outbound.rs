//! Requests that the gateway makes in its own name: to certificate authorities, key sets, other issuers.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use thiserror::Error;

/// What an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of its body.
    pub bytes: usize,
    /// From the request to the answer's last byte.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 256 << 10, time: Duration::from_secs(5) }
    }
}

/// Why there is no answer. The words are for the operator and hold nothing of what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OutboundError {
    /// The request has no absolute `http` or `https` URL.
    #[error("'{0}' is no URL to send a request to")]
    Url(String),
    /// The address is one that the gateway does not connect to.
    #[error("{0}, which is not connected to (allow_targets)")]
    Forbidden(String),
    /// No connection, or none over which the other end has proved who it is.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection broke off, or what came over it is not HTTP.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The answer's body has more bytes than it may.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// The bytes it may have.
        limit: usize,
    },
    /// The answer was not there in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// The one way to send requests in the gateway's own name. What a call is forwarded over is another.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Sends a request to its absolute URL and takes the whole answer, whatever its status. Redirects are not followed.
    async fn send(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, OutboundError>;
}
