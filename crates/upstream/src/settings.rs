//! How this node deals with targets, and how a route's calls reach its service.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::budget::Budget;
use portcullis_core::model::{HostMode, QueryMode};

use crate::forwarding_fields::Via;
use crate::guard::Guard;
use crate::names::Names;
use crate::sockets::Sockets;
use crate::template::Template;
use crate::traffic::timeouts::Timeouts;

/// How this node deals with targets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which addresses it connects to.
    pub guard: Guard,
    /// Connections to one target, on all workers. Beyond: a queue, then 503.
    pub per_target: usize,
    /// Tunnels to one target, on all workers. Beyond: 503.
    pub tunnels: usize,
    /// Connections to all targets, on all workers. Beyond: 503.
    pub sockets: Arc<Sockets>,
    /// Where the names of targets lead.
    pub names: Arc<Names>,
    /// Beginnings of bodies that calls without a connection have.
    pub gathered: Arc<Budget>,
    /// How long a call waits in that queue.
    pub queue_wait: Duration,
    /// How long opening a connection may take. Beyond: 502.
    pub connect_timeout: Duration,
    /// From the request's last byte to the answer's first. Beyond: 504.
    pub first_byte: Duration,
    /// Between two pieces of an answer's body.
    pub body_idle: Duration,
    /// Both, where the call is a stream that may be silent.
    pub stream_idle: Duration,
    /// How long an unused connection is kept.
    pub keep_alive: Duration,
    /// Bytes of an answer's header block. Beyond: 502.
    pub answer_head: usize,
    /// What is declared of these times for a service or route, in place of the node's.
    pub timeouts: Timeouts,
    /// What `Via` says of this node.
    pub via: Via,
    /// Below which directory the certificates are that it shows to targets.
    pub files: PathBuf,
}

/// How a route's calls reach its service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forwarding {
    /// What becomes of the path.
    pub path: ForwardPath,
    /// What becomes of the query.
    pub query: QueryMode,
    /// Which `Host` the target gets.
    pub host: HostMode,
    /// Whether the service registered itself, and is connected to in the places alone that such services may be in.
    pub is_registered: bool,
}

/// What of a call's path goes behind the target's base path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// What the route has not matched.
    Rest,
    /// All of it.
    Whole,
    /// A text filled from it.
    Template(Template),
    /// Nothing of it: every call goes to the target's own URL.
    Nothing,
}
