//! What this node may have of one target at once.

use std::sync::Arc;

use crate::capacity::Capacity;

/// What this node may have of one target at once.
#[derive(Debug)]
pub struct Rooms {
    /// Connections for calls.
    pub connections: Arc<Capacity>,
    /// Connections that have become tunnels.
    pub tunnels: Arc<Capacity>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self::new(256, 1_024)
    }
}

impl Rooms {
    /// For so many of each.
    pub fn new(connections: usize, tunnels: usize) -> Self {
        Self { connections: Capacity::new(connections), tunnels: Capacity::new(tunnels) }
    }
}
