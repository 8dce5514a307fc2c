//! How much one declaration may hold.

/// Targets of one service.
pub const MAX_TARGETS: usize = 1_000;
/// Permissions of one client.
pub const MAX_GRANTS: usize = 1_000;
