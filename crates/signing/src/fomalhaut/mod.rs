//! The fomalhaut protocols: HMAC signatures of requests and responses, and payloads sealed with AES.
//!
//! There are two dialects ([`Dialect`]). In both, the sender builds the string to sign ([`Canonical`]) from the method,
//! the target, a few header fields and the body, and computes its HMAC under the client's secret ([`SigningKey`]).
//!
//! A client signs a request:
//!
//! ```
//! use portcullis_signing::fomalhaut::{Algorithm, Canonical, Dialect, Head, SigningKey};
//!
//! let key = SigningKey::new(b"1234")?;
//! let head = Head { method: b"GET", target: b"/test_api/v1/resource/", host: b"127.0.0.1:6500" };
//! let fields = [
//!     ("X-Fo-App-Id", "abcd"),
//!     ("X-Fo-Timestamp", "1500000000"),
//!     ("X-Fo-Nonce", "0.123456789"),
//!     ("X-Fo-Encrypt-Type", "raw"),
//!     ("X-Fo-Sign-Response", "1"),
//! ];
//! let canonical = Canonical::request(Dialect::Fo, head, fields)?;
//! let signature = key.sign(Algorithm::HmacSha1, &canonical, b"");
//! assert_eq!(signature.to_text(), "HlcraEVgsy8dBjk_MHf-gu0r9ZY"); // X-Fo-Signature
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It verifies the response, which is signed with the method and target of the request:
//!
//! ```
//! use portcullis_signing::fomalhaut::{Canonical, Dialect, Signature, SigningKey};
//!
//! let key = SigningKey::new(b"1234")?;
//! let fields = [
//!     ("Content-Type", "application/json; charset=utf-8"),
//!     ("X-Fo-Encrypt-Type", "raw"),
//!     ("X-Fo-Timestamp", "1500000000"),
//!     ("X-Fo-Nonce", "0.123456789"),
//!     ("X-Fo-Signature", "2mspyWQSvvpuCjZ8kPG_WZIYupY"),
//! ];
//! let canonical = Canonical::response(Dialect::Fo, b"POST", b"/test_api/v1/resource/", fields)?;
//! let signature = Signature::read(Dialect::Fo, b"2mspyWQSvvpuCjZ8kPG_WZIYupY")?;
//! key.verify(&canonical, br#"{"a": 1}"#, &signature)?;
//! assert!(key.verify(&canonical, br#"{"a": 2}"#, &signature).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Payloads are sealed and opened with the same secret:
//!
//! ```
//! use portcullis_signing::fomalhaut::{Dialect, SigningKey};
//!
//! let key = SigningKey::new(b"1234")?;
//! let sealed = key.seal(Dialect::Fo, b"hello");
//! assert_eq!(key.open(sealed.as_bytes())?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the protocols do not protect
//!
//! - Sealing alone does not authenticate: verify the signature before you open anything ([`SigningKey::open`]).
//! - The status, `Content-Type` and every field without the dialect's prefix are unsigned.
//! - Nothing in the string says where the fields end and the body begins ([`Canonical`]).

mod canonical;
mod compare;
mod dialect;
mod key;
mod sealed;
mod signature;

pub use canonical::{Canonical, Head, MOST_BYTES, MOST_FIELDS, NotCanonical};
pub use compare::{Difference, Part};
pub use dialect::{Algorithm, Dialect};
pub use key::{EmptySecret, NotVerified, Signing, SigningKey};
pub use sealed::NotOpened;
pub use signature::{NotASignature, Signature};

#[cfg(test)]
mod tests;
