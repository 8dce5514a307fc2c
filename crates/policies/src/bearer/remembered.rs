//! Tokens that have been verified on this thread, by their hash: from its second call on a token costs a hash instead
//! of a signature.
//!
//! Each worker remembers for itself, so that no two cores meet over a token. What is remembered is what the token says,
//! never that it is good: its end, its audience and the session behind it are looked at on every call.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_core::call::{Effects, ForeignClient, UserFacts};
use portcullis_core::directory::KeyHash;
use portcullis_core::message::FieldValue;
use portcullis_core::ports::SessionId;
use portcullis_identity::claims::Audiences;
use portcullis_identity::sessions::user_json_header;
use portcullis_identity::{AccessClaims, ForeignClaims, qualified};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use serde_json::json;

/// What the hash table and the counts take of an entry, beside what stands in it.
const FIXED: usize = size_of::<KeyHash>() + size_of::<Token>() + 64;
/// Bytes of an entry, for the first size of the tables.
const USUAL: u64 = 512;

/// What a verified token says, as calls need it.
#[derive(Debug)]
pub(super) struct Token {
    /// Unix seconds from which on it is not taken any more.
    until: u64,
    /// Who may accept it.
    pub(super) audiences: Audiences,
    /// Whether that has been looked at with the key.
    pub(super) audience_checked: bool,
    /// For whom it speaks.
    pub(super) subject: Subject,
}

/// For whom a token speaks.
#[derive(Debug)]
pub(super) enum Subject {
    /// For the user of a session of ours.
    Session(SessionId),
    /// For somebody of another issuer.
    Foreign(Foreign),
}

/// What a token of another issuer says of its caller.
#[derive(Debug)]
pub(super) struct Foreign {
    /// Issuer and `sub`.
    pub(super) subject: Arc<str>,
    /// The user it speaks for; none if it speaks for the client alone.
    pub(super) user: Option<UserFacts>,
    /// The client it was issued to, where it names one.
    pub(super) client: Option<ForeignClient>,
    /// Unix seconds from which on the token is not taken any more.
    pub(super) until: u64,
}

impl Token {
    /// A token of ours.
    pub(super) fn own(claims: AccessClaims) -> Self {
        Self {
            until: claims.exp,
            audiences: claims.aud,
            audience_checked: false,
            subject: Subject::Session(claims.sid),
        }
    }

    /// A token of another issuer.
    pub(super) fn foreign(claims: ForeignClaims) -> Self {
        let client = claims.client_id.as_deref().and_then(|id| {
            let name = qualified(&claims.iss, id);
            // It is visible ASCII.
            let app_id = FieldValue::of(&name).ok()?;
            Some(ForeignClient { name: name.into(), app_id })
        });
        let user = (!claims.is_client).then(|| {
            let facts = json!({ "iss": claims.iss, "sub": claims.sub });
            UserFacts { name: claims.sub.as_str().into(), user_json: user_json_header(&facts.to_string()) }
        });
        let subject = qualified(&claims.iss, &claims.sub).into();
        let subject = Subject::Foreign(Foreign { subject, user, client, until: claims.until });
        Self { until: claims.until, audiences: claims.aud, audience_checked: claims.audience_checked, subject }
    }

    fn size(&self) -> usize {
        let subject = match &self.subject {
            Subject::Session(_) => 0,
            Subject::Foreign(foreign) => {
                let user = foreign.user.as_ref().map_or(0, |user| user.name.len() + user.user_json.len());
                let client = foreign.client.as_ref().map_or(0, |client| client.name.len() + client.app_id.len());
                foreign.subject.len() + user + client
            }
        };
        let audiences: usize = self.audiences.0.iter().map(|audience| size_of::<String>() + audience.len()).sum();
        FIXED + subject + audiences
    }
}

#[derive(Clone)]
struct Size;

impl Weighter<KeyHash, Rc<Token>> for Size {
    fn weight(&self, _: &KeyHash, token: &Rc<Token>) -> u64 {
        token.size() as u64
    }
}

thread_local! {
    static REMEMBERED: RefCell<Option<Cache<KeyHash, Rc<Token>, Size>>> = const { RefCell::new(None) };
}

/// What a token says that has been verified on this thread, and has not ended.
pub(super) fn find(hash: &KeyHash, now: u64) -> Option<Rc<Token>> {
    REMEMBERED.with_borrow_mut(|remembered| {
        let remembered = remembered.as_mut()?;
        let token = remembered.get(hash)?;
        if now < token.until {
            return Some(Rc::clone(token));
        }
        remembered.remove(hash);
        None
    })
}

/// Remembers what a token says that has just been verified. A thread has the budget it was first given, in bytes; with
/// none it remembers nothing.
pub(super) fn remember(_: &Effects, budget: u64, hash: KeyHash, token: &Rc<Token>) {
    if budget == 0 {
        return;
    }
    REMEMBERED.with_borrow_mut(|remembered| {
        let entries = usize::try_from(budget / USUAL).unwrap_or(usize::MAX).max(1);
        let remembered = remembered.get_or_insert_with(|| Cache::with_weighter(entries, budget, Size));
        remembered.insert(hash, Rc::clone(token));
    });
}

/// How many tokens this thread remembers.
#[cfg(test)]
pub(super) fn count() -> usize {
    REMEMBERED.with_borrow(|remembered| remembered.as_ref().map_or(0, Cache::len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(until: u64) -> Rc<Token> {
        let subject =
            Subject::Foreign(Foreign { subject: "https://idp#batch".into(), user: None, client: None, until: 0 });
        Rc::new(Token { until, audiences: Audiences(vec!["orders".into()]), audience_checked: false, subject })
    }

    fn hash(number: u64) -> KeyHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        KeyHash(hash)
    }

    #[test]
    fn a_token_is_remembered_until_its_end() {
        remember(&Effects::outside_of_calls(), 1 << 20, hash(1), &token(100));
        assert!(find(&hash(1), 99).is_some() && find(&hash(2), 99).is_none());
        assert!(find(&hash(1), 100).is_none(), "ended");
        assert!(find(&hash(1), 99).is_none(), "and gone");
    }

    #[test]
    fn memory_has_its_budget() {
        for number in 0..10_000 {
            remember(&Effects::outside_of_calls(), 64 << 10, hash(number), &token(100));
        }
        let (weight, length) =
            REMEMBERED.with_borrow(|it| it.as_ref().map(|it| (it.weight(), it.len())).expect("a memory"));
        assert!(weight <= 64 << 10 && length > 100, "{weight} bytes, {length} tokens");
    }

    #[test]
    fn without_a_budget_nothing_is_remembered() {
        remember(&Effects::outside_of_calls(), 0, hash(1), &token(100));
        assert!(find(&hash(1), 1).is_none());
    }
}
