//! What a kind of credential can do: tell whether it was shown, and verify it.

use futures_util::future::BoxFuture;
use portcullis_core::call::Call;
use portcullis_core::refusal::Refusal;

/// The result of looking at a credential.
pub enum Verification<'c> {
    /// It is good; what it says has been noted in the call.
    Good,
    /// It cannot be told from memory: the future reads the body or asks the registry, and then notes the same.
    Wait(BoxFuture<'c, Result<(), Refusal>>),
}

/// A kind of credential.
pub trait Verifier: Send + Sync {
    /// Whether the call shows one of this kind, good or not.
    fn is_shown(&self, call: &Call) -> bool;
    /// How a call without one is refused.
    fn missing(&self, call: &Call) -> Refusal;
    /// Verifies the one that is shown, and notes in the call who calls by it.
    fn verify<'c>(&'c self, call: &'c mut Call) -> Result<Verification<'c>, Refusal>;
    /// Keeps one that is shown from travelling on to the service, unless it may: what has not been verified on this
    /// call never travels where the route asks for its kind. Refuses what the service would take for something else.
    fn withhold(&self, call: &mut Call, part: Part) -> Result<(), Refusal>;

    /// Whether the call has chosen this kind, so that an alternative with it is tried though the call shows nothing of the
    /// others: they may be inside, or missing, and both are told behind it.
    fn leads(&self, _: &Call) -> bool {
        false
    }

    /// The kind beside which this one stands. It is asked in every alternative with that kind, wherever it is shown, also
    /// where no alternative names it.
    fn beside(&self) -> Option<&'static str> {
        None
    }
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
