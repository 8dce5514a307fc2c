//! What callers may send, and how long they may take.

use std::time::Duration;

/// Bounds on what callers send.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request's first line. Beyond: 414.
    pub request_line: usize,
    /// Bytes of a request's header block. Beyond: 431.
    pub header_block: usize,
    /// Header fields of a request. Beyond: 431.
    pub header_count: usize,
    /// The least bytes a second of a request body whose length is declared. Slower: 408. 0: any.
    pub body_rate: u64,
    /// Calls under way at once on one connection over HTTP/2. Beyond: refused before they are looked at.
    pub http2_streams: u32,
    /// Connections on the listener. Beyond: not accepted.
    pub connections: usize,
    /// Connections of one peer address. Beyond: closed. Trusted proxies carry many callers and are not counted.
    pub connections_per_peer: usize,
}

/// How long things may take on the callers' side.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From accepting a connection to its first byte.
    pub first_byte: Duration,
    /// From a request's first byte to the end of its header block. Beyond: 408.
    pub head: Duration,
    /// Between two pieces of a body, either way. Beyond: 408, or the connection is closed.
    pub body_idle: Duration,
    /// Between two requests on a connection.
    pub keep_alive: Duration,
    /// How long nothing passes through a tunnel.
    pub tunnel_idle: Duration,
    /// After how long a connection takes no further call; none: it may last for ever.
    pub connection_age: Option<Duration>,
}

/// How long a connection that carries no call may do so while there are nearly as many as there may be.
const WHEN_CROWDED: Duration = Duration::from_secs(1);

impl Timeouts {
    /// The same while there are nearly as many connections as there may be: whoever holds one and does not use it makes room
    /// soon, instead of keeping others out for as long as it may otherwise.
    pub(crate) fn when_crowded(&self) -> Self {
        Self {
            first_byte: self.first_byte.min(WHEN_CROWDED),
            head: self.head.min(3 * WHEN_CROWDED),
            keep_alive: self.keep_alive.min(WHEN_CROWDED),
            ..self.clone()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: 16 << 10,
            header_block: 64 << 10,
            header_count: 128,
            body_rate: 240,
            http2_streams: 128,
            connections: 100_000,
            connections_per_peer: 1_000,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            tunnel_idle: Duration::from_secs(3_600),
            connection_age: Some(Duration::from_secs(3_600)),
        }
    }
}
