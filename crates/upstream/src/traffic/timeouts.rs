//! `timeouts`: how long a call to the targets of a service may take, in place of the node's limits.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::model::{Problem, Timeout};
use portcullis_core::settings;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Origin, Traffic};
use crate::settings::Settings as Node;

/// Time limits for calls. Each is a number of seconds or a text like `500ms`, `10s`, `5m`, `1h`, from 1 ms to 1 day; what
/// is absent is as the node has it. A value may also be greater than the node's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// For a connection to a target; then another target is tried, or 502. The node's: `timeouts.connect`.
    connect: Option<Timeout>,
    /// From the last byte of the request to the head of the answer; then 504. The node's: `timeouts.upstream_first_byte`.
    first_byte: Option<Timeout>,
    /// For the next bytes of an answer's body, or of a connection that has switched protocols (WebSocket); then it is
    /// broken off. The node's: `timeouts.body_idle`, and `timeouts.tunnel_idle` after a switch.
    idle: Option<Timeout>,
    /// For the whole call, from its routing to the last byte of its answer; then 504, or the answer is broken off. A
    /// connection that has switched protocols goes on. The node has no such limit.
    call: Option<Timeout>,
}

/// The JSON schema of the settings.
pub(super) fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Puts the limits of an origin over those that are there.
pub(super) fn build(declared: &Value, origin: Origin, traffic: &mut Traffic) -> Result<(), Vec<Problem>> {
    let Settings { connect, first_byte, idle, call } = settings::parse(declared)?;
    let limit = |timeout: Option<Timeout>| timeout.map(|Timeout(time)| Limit { time, origin });
    let Timeouts { connect: c, first_byte: f, idle: i, call: w } = traffic.timeouts;
    traffic.timeouts = Timeouts {
        connect: limit(connect).or(c),
        first_byte: limit(first_byte).or(f),
        idle: limit(idle).or(i),
        call: limit(call).or(w),
    };
    Ok(())
}

/// A limit on time, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How long.
    pub time: Duration,
    /// Whose it is.
    pub origin: Origin,
}

/// Which limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// On connecting.
    Connect,
    /// On the answer's head.
    FirstByte,
    /// On silence.
    Idle,
    /// On the whole call.
    Call,
}

impl Limit {
    /// What the record says of a call that has reached it: which it was, and whose.
    pub fn told(self, which: Which) -> &'static str {
        match (which, self.origin) {
            (Which::Connect, Origin::Node) => "time limit reached: connect of the node",
            (Which::Connect, Origin::Service) => "time limit reached: connect of the service",
            (Which::Connect, Origin::Route) => "time limit reached: connect of the route",
            (Which::FirstByte, Origin::Node) => "time limit reached: first_byte of the node",
            (Which::FirstByte, Origin::Service) => "time limit reached: first_byte of the service",
            (Which::FirstByte, Origin::Route) => "time limit reached: first_byte of the route",
            (Which::Idle, Origin::Node) => "time limit reached: idle of the node",
            (Which::Idle, Origin::Service) => "time limit reached: idle of the service",
            (Which::Idle, Origin::Route) => "time limit reached: idle of the route",
            (Which::Call, Origin::Node) => "time limit reached: call of the node",
            (Which::Call, Origin::Service) => "time limit reached: call of the service",
            (Which::Call, Origin::Route) => "time limit reached: call of the route",
        }
    }
}

/// The limits that are declared for a service or route; where there is none, the node's holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// On connecting.
    pub connect: Option<Limit>,
    /// On the answer's head.
    pub first_byte: Option<Limit>,
    /// On silence.
    pub idle: Option<Limit>,
    /// On the whole call.
    pub call: Option<Limit>,
}

impl Timeouts {
    /// A node's settings with these limits in place of its own.
    pub fn over(self, node: &Arc<Node>) -> Arc<Node> {
        if self == node.timeouts {
            return Arc::clone(node);
        }
        Arc::new(Node { timeouts: self, ..Node::clone(node) })
    }
}

/// The limits that hold: what is declared, or else the node's.
impl Node {
    /// On connecting to a target.
    #[inline]
    pub fn connect_limit(&self) -> Limit {
        declared_or(self.timeouts.connect, self.connect_timeout)
    }

    /// On the head of an answer.
    #[inline]
    pub fn first_byte_limit(&self) -> Limit {
        declared_or(self.timeouts.first_byte, self.first_byte)
    }

    /// On silence in an answer's body.
    #[inline]
    pub fn idle_limit(&self) -> Limit {
        declared_or(self.timeouts.idle, self.body_idle)
    }

    /// On silence in a connection that has switched protocols.
    #[inline]
    pub fn tunnel_limit(&self) -> Limit {
        declared_or(self.timeouts.idle, self.stream_idle)
    }
}

#[inline]
fn declared_or(declared: Option<Limit>, nodes: Duration) -> Limit {
    declared.unwrap_or(Limit { time: nodes, origin: Origin::Node })
}
