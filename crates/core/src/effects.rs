//! Leave to change what outlasts a call.

/// Leave to change what outlasts a call: counts, memories, what is spent. A call that is only tried has none, and whatever
/// keeps such state asks for it ([`crate::call::Call::effects`]).
#[derive(Debug)]
pub struct Effects(());

impl Effects {
    /// For a call that is no dry run.
    pub(crate) fn granted() -> Self {
        Self(())
    }

    /// For what keeps such state by itself, without a call: tests and benches.
    pub fn outside_of_calls() -> Self {
        Self(())
    }
}
