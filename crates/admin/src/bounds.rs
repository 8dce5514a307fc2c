//! How much one declaration may hold.

pub use portcullis_core::model::{MAX_GRANTS, MAX_TARGETS};
