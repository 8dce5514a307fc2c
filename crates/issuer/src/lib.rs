//! The endpoints of the token issuer, as calls meet them on the data plane. What they do (passwords, sessions, keys) stands
//! in `portcullis-identity`; here is what is asked and answered over HTTP.
//!
//! Whatever needs the registry or Argon2 is a [`Handler`](portcullis_core::handler::Handler), and runs on the control
//! runtime; the keys are in memory, and are told where the call is.

pub mod fomalhaut;
pub mod json;
pub mod keys;
mod tags;
#[cfg(test)]
mod testing;
pub mod token;
