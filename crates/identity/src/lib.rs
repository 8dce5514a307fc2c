//! Passwords, tokens, signing keys, sessions, and the use cases of logging in. Over HTTP they are met in `portcullis-issuer`.
//!
//! Everything here that waits for the registry or computes for long runs on the control runtime; what a call
//! needs on its way ([`access_tokens`], [`foreign`], [`sessions::Sessions::cached`]) is synchronous.

pub mod access_tokens;
pub mod claims;
pub mod error;
pub mod foreign;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
pub mod keys;
pub mod lockout;
pub mod login;
pub mod master;
pub mod opaque;
pub mod passwords;
mod random;
mod refresh_tokens;
mod revocation;
pub mod sessions;
pub mod signing_keys;
#[cfg(test)]
mod testing;
pub mod token_pairs;
pub mod users;

pub use access_tokens::{AccessClaims, AccessTokens};
pub use claims::TokenError;
pub use error::IdentityError;
pub use foreign::{ClientMarker, ForeignClaims, StaticAlgorithm, StaticKey, StaticKeys, TokenTypes, Trust, qualified};
pub use keys::{KeyKind, checksum_ok, hash_all, hash_key, mint};
pub use lockout::{Lockout, LockoutReport, LockoutSettings, LoginOrigin};
pub use login::{DEFAULT_CLIENT, Login, LoginSettings, TokenReply};
pub use master::{MasterKey, SealError};
pub use passwords::{Cost, PasswordLimits, Passwords};
pub use revocation::Revocations;
pub use sessions::{AccessToken, LiveSession, Sessions};
pub use signing_keys::SigningKeys;
pub use token_pairs::{Changed, Imported, ImportedPair, Lifetimes, Pair, TokenPairs};
pub use users::{User, UserChange, UserError, Users};
