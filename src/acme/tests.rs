//! Two nodes on one registry.
