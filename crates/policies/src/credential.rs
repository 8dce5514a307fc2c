//! What a kind of credential can do: tell whether it was shown, and verify it.

use std::future::Future;
use std::pin::Pin;

use portcullis_core::call::Call;
use portcullis_core::refusal::Refusal;

/// What a verified credential adds to the call.
pub type CredentialFacts = Box<dyn FnOnce(&mut Call) + Send>;

/// The result of looking at a credential.
pub enum Verification {
    /// It is good; what it says has been noted in the call.
    Good,
    /// It cannot be told from memory; the future asks the registry.
    Ask(Pin<Box<dyn Future<Output = Result<CredentialFacts, Refusal>> + Send>>),
}

/// A kind of credential.
pub trait Verifier: Send + Sync {
    /// Whether the call shows one of this kind, good or not.
    fn is_shown(&self, call: &Call) -> bool;
    /// How a call without one is refused.
    fn missing(&self) -> Refusal;
    /// Verifies the one that is shown.
    fn verify(&self, call: &mut Call) -> Result<Verification, Refusal>;
    /// Keeps one that is shown from travelling on to the service, unless it may: what has not been verified on this
    /// call never travels where the route asks for its kind.
    fn withhold(&self, call: &mut Call, part: Part);
}

/// What a kind of credential had to do with letting a call in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is of the alternative that let the call in: what it was shown has been verified.
    LetIn,
    /// Another alternative of the route asks for it: what is shown has not been verified, or was found wrong.
    Passed,
    /// No alternative of the route asks for it: what is shown may be the service's own.
    Unasked,
}
