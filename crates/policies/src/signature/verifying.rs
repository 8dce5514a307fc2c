//! What both ways of verifying share: the settings, that a request passes once, who calls by it, and what answers are signed with.

use std::sync::Arc;

use portcullis_core::call::{Call, ClientEntry, Effects, KeyHolder};
use portcullis_core::digits::hex;
use portcullis_core::fresh;
use portcullis_core::message::FieldValue;
use portcullis_core::ports::{Once, Spent};
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_identity::hash_all;

use super::settings::Settings;
use crate::Parts;
use crate::windows::Scheme;

/// The credential.
pub(super) struct Verify {
    pub(super) settings: Settings,
    pub(super) parts: Arc<Parts>,
}

impl Verify {
    /// Notes that a request has passed; one that has passed before is refused. Times are Unix seconds.
    pub(super) async fn once(&self, effects: Option<Effects>, what: &Passed<'_>) -> Result<(), Refusal> {
        // A call that is only tried passes nothing.
        let Some(effects) = effects else { return Ok(()) };
        let Passed { scheme, client, proof, stamp } = *what;
        let until = self.parts.windows.until(scheme, stamp).ok_or(Refusal::Replayed)?;
        let scheme: &[u8; 4] = if scheme == Scheme::Http { b"http" } else { b"fo_1" };
        // What is signed names the client, however it is called here.
        let key = hash_all([scheme, proof]).0;
        match self.parts.state.once(&effects, Once { owner: client, key, stamp, until }).await {
            Ok(Spent::First) => Ok(()),
            Ok(Spent::Again) => Err(Refusal::Replayed),
            Err(unavailable) => {
                let retry_after = std::time::Duration::from_secs(1);
                Err(Refusal::Overloaded { private: unavailable.0, retry_after })
            }
        }
    }
}

/// A request that passes once.
pub(super) struct Passed<'a> {
    /// How it is signed.
    pub(super) scheme: Scheme,
    /// The client's name.
    pub(super) client: &'a str,
    /// What is the same for the same request, however it is spelled.
    pub(super) proof: &'a [u8],
    /// When it says it was signed.
    pub(super) stamp: u64,
}

/// Takes a client for the caller.
pub(super) fn accept(call: &mut Call, client: Arc<ClientEntry>) -> Result<(), Refusal> {
    call.record.note(|record| record.client = Some(client.name.shared()));
    if call.caller.speaks_for(KeyHolder::Client(client)) {
        return Ok(());
    }
    Err(invalid("a signature of a client other than the one another credential speaks for"))
}

/// A signature that is not good, and why, for the operator.
pub(super) fn invalid(private: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::invalid(Credential::Signature, private)
}

/// A nonce of an answer: no other has it. It is no secret.
pub(super) fn nonce() -> String {
    hex(&fresh::bytes())
}

/// The value of a field that the gateway writes.
pub(super) fn text(value: String) -> FieldValue {
    FieldValue::try_from(value).unwrap_or(FieldValue::from_static(""))
}
