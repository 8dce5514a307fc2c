//! HTTP Message Signatures (RFC 9421) and the `Content-Digest` of RFC 9530.

mod algorithm;
mod base;
mod component;
mod digest;
mod flaw;
#[cfg(test)]
#[path = "../../../../fuzz/engine.rs"]
mod fuzzing;
mod jwk;
mod keys;
mod message;
mod parameters;
mod pem;
mod query;
mod requirements;
mod sign;
mod signatures;
mod structured;
#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use base::{Base, Difference, Line, Uncoverable};
pub use component::{Component, Kind};
pub use digest::{ContentDigest, DigestAlgorithm, DigestError, Digester};
pub use flaw::Flaw;
pub use keys::{Failure, KeyRefused, NotSigned, SHORTEST_SECRET, SigningKey, VerifyingKey};
pub use message::{Fields, Message, Request, Response};
pub use parameters::Parameters;
pub use requirements::{Coverage, Need, NotCovered, Untimely, Window};
pub use sign::{Identifiers, SignError, Signed, Signer, Stamp};
pub use signatures::{Choice, Limits, NotChosen, Signature, Signatures};
pub use structured::{FieldKind, KnownFields};
