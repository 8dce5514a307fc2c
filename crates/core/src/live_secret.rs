//! A client's shared secret as calls use it: opened, with what is prepared of it and when it was last used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::{ClientSecret, SecretUse, SecretUses};
use crate::prepared::Prepared;
use crate::secret::Secret;

/// Of uses that follow each other this closely, in milliseconds, only the first is noted.
const NOTED_EVERY: u64 = 1_000;

/// A secret that has been opened. Times are Unix milliseconds.
#[derive(Debug)]
pub struct LiveSecret {
    /// The handle it goes by.
    pub id: Arc<str>,
    /// What it may be used for.
    pub uses: SecretUses,
    /// When it was made.
    pub created_at: u64,
    /// From when on it is good no more; never if absent.
    pub not_after: Option<u64>,
    /// The secret itself.
    pub text: Secret,
    /// What is worked out of it once, such as keys for signatures.
    pub prepared: Prepared,
    /// When it was last used; 0: not since the start of the node. All that stand for the same secret share it.
    used: Arc<AtomicU64>,
}

impl LiveSecret {
    /// What is kept of a secret, and the secret itself as it was opened.
    pub fn new(id: impl Into<Arc<str>>, kept: &ClientSecret, text: Secret) -> Self {
        Self {
            id: id.into(),
            uses: kept.uses,
            created_at: kept.created_at,
            not_after: kept.not_after,
            text,
            prepared: Prepared::default(),
            used: Arc::default(),
        }
    }

    /// The same secret as it is from now on: when it was last used goes on.
    #[must_use]
    pub(crate) fn following(self, former: &Self) -> Self {
        Self { used: Arc::clone(&former.used), ..self }
    }

    /// Whether it may be used for this, at this time.
    pub fn is_good_for(&self, wanted: SecretUse, now: u64) -> bool {
        self.uses.contains(wanted) && self.not_after.is_none_or(|end| now < end)
    }

    /// Notes that it is used now.
    pub fn touch(&self, now: u64) {
        // Workers share this word, so that it is not written more often than anybody wants to know.
        if now.abs_diff(self.used.load(Relaxed)) >= NOTED_EVERY {
            self.used.store(now, Relaxed);
        }
    }

    /// When it was last used, to the second; none, if not since the start of the node.
    pub fn last_used(&self) -> Option<u64> {
        Some(self.used.load(Relaxed)).filter(|used| *used > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(not_after: Option<u64>) -> ClientSecret {
        ClientSecret { sealed: String::new(), uses: [SecretUse::Sign].into_iter().collect(), created_at: 1, not_after }
    }

    #[test]
    fn it_is_good_for_its_uses_until_its_end() {
        let secret = LiveSecret::new("s", &kept(Some(10)), Secret::from("x"));
        assert!(secret.is_good_for(SecretUse::Sign, 9));
        assert!(!secret.is_good_for(SecretUse::Sign, 10) && !secret.is_good_for(SecretUse::Seal, 9));
        assert!(LiveSecret::new("s", &kept(None), Secret::from("x")).is_good_for(SecretUse::Sign, u64::MAX));
    }

    #[test]
    fn its_last_use_goes_on_in_what_follows_it() {
        let former = LiveSecret::new("s", &kept(None), Secret::from("x"));
        assert_eq!(former.last_used(), None);
        former.touch(5_000);
        former.touch(5_999);
        assert_eq!(former.last_used(), Some(5_000), "it is told to the second");
        let next = LiveSecret::new("s", &kept(Some(9)), Secret::from("x")).following(&former);
        former.touch(6_000);
        assert_eq!(next.last_used(), Some(6_000));
        next.touch(3_000);
        assert_eq!(former.last_used(), Some(3_000), "a clock that was set back is believed");
    }

    #[test]
    fn it_does_not_show() {
        let secret = LiveSecret::new("s", &kept(None), Secret::from("open sesame"));
        assert!(!format!("{secret:?}").contains("sesame"));
    }
}
