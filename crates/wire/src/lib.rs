//! What both sides of the data plane share: a worker's clock and alarms, message fields, and bytes and bodies on their
//! way. It knows neither callers nor targets.

pub mod alarm;
pub mod clock;
pub mod content_length;
pub mod date;
pub mod fields;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
pub mod h2_body;
pub mod h2_head;
pub mod incoming;
pub mod pause;
pub mod revocation;
pub mod spare;
pub mod stream;
pub mod trace;
