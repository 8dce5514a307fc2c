//! What a caller was let in by, as far as it can be taken back.

use std::sync::Arc;

use crate::directory::KeyHash;
use crate::model::Label;
use crate::session_id::SessionId;

/// Who has signed a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignedBy {
    /// The client.
    pub client: Label,
    /// The id of its secret or key.
    pub key: Arc<str>,
}

/// What a caller was let in by, and what can be taken back: a call that goes on for long ends with it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct AdmittedBy {
    /// The API key.
    pub key: Option<KeyHash>,
    /// The session behind a token.
    pub session: Option<SessionId>,
    /// The client a token was issued to.
    pub client: Option<Label>,
    /// The client a certificate stands for.
    pub certified: Option<Label>,
    /// The client that has signed the request, and with which of its secrets or keys.
    pub signed: Option<SignedBy>,
    /// When a token ends with which the caller is let in no longer, in Unix seconds: one that no session stands behind, or the
    /// access token of a pair.
    pub until: Option<u64>,
}

impl AdmittedBy {
    /// Whether there are none: the caller has shown nothing that can be taken back.
    pub fn are_none(&self) -> bool {
        let Self { key, session, client, certified, signed, until } = self;
        let no_client = client.is_none() && certified.is_none() && signed.is_none();
        no_client && key.is_none() && session.is_none() && until.is_none()
    }
}
