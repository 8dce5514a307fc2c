//! What was verified of a signature: for operators who look for the reason why it does not match.

use std::sync::Arc;

use crate::model::Label;

/// What was found out about the signature of a call that is only tried. Neither secrets nor expected signatures stand in it,
/// and credentials among the signed fields are replaced by their length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureReport {
    /// `fo`, `api` or `rfc9421`.
    pub scheme: &'static str,
    /// Whether the signature is right. Its time, and what it has to cover, make no difference here.
    pub verdict: SignatureVerdict,
    /// Whose signature it says it is.
    pub client: Label,
    /// The ids of the secrets and public keys it was verified with.
    pub keys: Vec<Arc<str>>,
    /// What is signed, without the body; empty where that cannot be made of the request.
    pub string_to_sign: String,
    /// The same, line by line.
    pub parts: Vec<SignedPart>,
    /// The body; none if it was only announced.
    pub body: Option<SignedBody>,
    /// Where the client's own string differs; none if it does not, or was not given.
    pub difference: Option<PartDifference>,
    /// What is probably wrong, in sentences.
    pub hints: Vec<String>,
}

/// Whether a signature is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureVerdict {
    /// A secret or key of the client gives it.
    Matches,
    /// No secret or key of the client gives it.
    Differs,
    /// The signature is right, and the body is not the one of its `Content-Digest`.
    BodyDiffers,
    /// There is none, or it cannot be read.
    NoSignature,
    /// It was not verified: there is no key, no body, or no string to verify.
    NotVerified,
}

impl SignatureVerdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Differs => "differs",
            Self::BodyDiffers => "body_differs",
            Self::NoSignature => "no_signature",
            Self::NotVerified => "not_verified",
        }
    }
}

/// One line of what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPart {
    /// `method`, `target`, the name of a field, or the identifier of a component.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The body that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBody {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// The first difference between what the gateway verified and what the client signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartDifference {
    /// The name of the part, as in [`SignedPart`]; or `body`, or `end`.
    pub part: String,
    /// What the gateway has there; none if it has no such part.
    pub gateway: Option<String>,
    /// What the client has there; none if it has no such part, or has it elsewhere.
    pub client: Option<String>,
    /// The byte of the body from which on they differ.
    pub offset: Option<u64>,
}
