//! HTTP Message Signatures (RFC 9421) and the `Content-Digest` of RFC 9530: a signature over chosen parts of a request or a
//! response, which holds while intermediaries change the rest.
//!
//! # Sign and verify a request
//!
//! A [`Signer`] is made once, and signs many messages. The verifier picks a signature, decides by its parameters which key it
//! takes, and then verifies. [`Coverage`] and [`Window`] say what the signature must cover and when it may have been made:
//! without them, a signature over nothing would do.
//!
//! ```
//! use portcullis_signing::http::{
//!     Choice, ContentDigest, Coverage, DigestAlgorithm, KnownFields, Limits, Request, Signatures, Signer, SigningKey,
//!     Stamp, VerifyingKey, Window,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = b"a secret of at least sixteen bytes";
//! let known = KnownFields::STANDARD;
//!
//! // The client.
//! let body = br#"{"hello": "world"}"#;
//! let digest = ContentDigest::of(body, DigestAlgorithm::Sha256).to_string();
//! let mut fields = vec![("Content-Digest", digest)];
//! let signer = Signer::new("sig1", &["@method", "@target-uri", "content-digest"])?.keyid("client-1").tag("orders");
//! let stamp = Stamp { created: Some(1_618_884_473), nonce: Some("b3k2pp5k7z"), ..Stamp::default() };
//! let request = Request::new("POST", "https", "example.com", "/orders?dry=1", &fields);
//! let signed = signer.sign(&request, &stamp, &SigningKey::hmac(secret)?, &known)?;
//! assert_eq!(
//!     signed.signature_input,
//!     "sig1=(\"@method\" \"@target-uri\" \"content-digest\")\
//!      ;created=1618884473;keyid=\"client-1\";nonce=\"b3k2pp5k7z\";tag=\"orders\""
//! );
//! fields.push(("Signature-Input", signed.signature_input));
//! fields.push(("Signature", signed.signature));
//!
//! // The server.
//! let request = Request::new("POST", "https", "example.com", "/orders?dry=1", &fields);
//! let signatures = Signatures::parse(&fields, &Limits::default())?;
//! let signature = signatures.choose(&Choice { tag: Some("orders"), ..Choice::default() })?;
//! let parameters = signature.parameters()?;
//! Coverage::request().check(parameters, &request, !body.is_empty())?;
//! Window::default().check(parameters, 1_618_884_500)?;
//! assert_eq!(parameters.keyid.as_deref(), Some("client-1"));
//! let base = signature.base(&request, &known)?;
//! signature.verify(&base, &VerifyingKey::hmac(secret)?)?;
//! # Ok(())
//! # }
//! ```
//!
//! # A response bound to its request
//!
//! Components with `;req` are taken from the request that is answered. The signature of the request, covered in this way, binds
//! the response to that one request. Cover its components as well: a signature of a signature does not (RFC 9421, section
//! 2.4).
//!
//! ```
//! use portcullis_signing::http::{
//!     Coverage, KnownFields, Limits, Request, Response, Signatures, Signer, SigningKey, Stamp, VerifyingKey,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = b"a secret of at least sixteen bytes";
//! let asked = [("Signature", "sig1=:K2qGT5srn2OGbOIDzQ6kYT+ruaycnDAAUpKv+ePFfD0=:")];
//! let request = Request::new("GET", "https", "example.com", "/orders/7", &asked);
//! let components = ["@status", "@method;req", "@target-uri;req", "signature;req;key=\"sig1\""];
//! let answer = Response { status: 200, fields: &[("Content-Type", "text/plain")], request: Some(&request) };
//! let stamp = Stamp { created: Some(1_618_884_479), ..Stamp::default() };
//! let signed =
//!     Signer::new("answer", &components)?.sign(&answer, &stamp, &SigningKey::hmac(secret)?, &KnownFields::STANDARD)?;
//!
//! // The client still has the request it made.
//! let fields = [("Signature-Input", signed.signature_input), ("Signature", signed.signature)];
//! let answer = Response { status: 200, fields: &fields, request: Some(&request) };
//! let signatures = Signatures::parse(&fields, &Limits::default())?;
//! let signature = signatures.get("answer").ok_or("no signature")?;
//! Coverage::response().and_components(&components)?.check(signature.parameters()?, &answer, false)?;
//! let base = signature.base(&answer, &KnownFields::STANDARD)?;
//! signature.verify(&base, &VerifyingKey::hmac(secret)?)?;
//!
//! // What was signed, for a person to read.
//! let lines: Vec<_> = base.lines().map(|line| (line.identifier, line.value)).collect();
//! assert_eq!(lines[0], ("\"@status\"", "200"));
//! assert_eq!(lines[1], ("\"@method\";req", "GET"));
//! # Ok(())
//! # }
//! ```
//!
//! # The digest of a content
//!
//! A signature covers the content of a message by its `Content-Digest`. The content itself is compared here, piece by piece.
//!
//! ```
//! use portcullis_signing::http::{ContentDigest, DigestAlgorithm};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let field = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
//! let digest = ContentDigest::parse([field])?;
//! let mut digester = digest.digester();
//! digester.update(b"{\"hello\": ");
//! digester.update(b"\"world\"}");
//! digest.check(&digester.finish())?;
//! assert!(digest.check_content(b"something else").is_err());
//! assert_eq!(ContentDigest::of(b"{\"hello\": \"world\"}", DigestAlgorithm::Sha256).to_string(), field);
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod base;
mod component;
mod digest;
mod flaw;
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
