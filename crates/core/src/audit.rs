//! The audit trail: who changed what, when and from where, each entry bound to the one before it.
//!
//! A registry chains entries in the transaction of the change they tell of. The link between two entries is a
//! keyed hash over everything in the later one and the hash of the earlier one, so that whoever can write to the
//! storage but does not hold the key can neither change an entry nor take one out unseen. The head, which is
//! authenticated too, says where the chain ends, so that entries taken off its end are missed; and it is sealed over
//! the objects that the chain tells of, so that neither can be put back, taken away or changed without the other.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Label, Name};

mod held;
mod redact;

pub use held::{Fault, Object, Sum, TrailVerdict, Walk};
pub(crate) use redact::is_secret;
pub use redact::{NEW_SECRET, sides};

/// The hash that the first entry names as that of the one before it.
pub const BEGINNING: ChainHash = [0; 32];

/// What binds an entry to the one before it.
pub type ChainHash = [u8; 32];

/// Who makes a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What the change was authorised by, in words; never a secret.
    pub name: Arc<str>,
    /// The address it came from; none for the gateway's own changes.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Whoever holds the admin token.
    pub fn admin_token(address: Option<IpAddr>) -> Self {
        Self { name: "admin token".into(), address }
    }

    /// Whoever applies a file of declarations.
    pub fn file_apply(address: Option<IpAddr>) -> Self {
        Self { name: "file apply".into(), address }
    }

    /// A service that registers itself with an enrolment token.
    pub fn enrolment(token: &Label, address: Option<IpAddr>) -> Self {
        Self { name: format!("enrolment token {token}").into(), address }
    }

    /// A service that shows the registration key of its name.
    pub fn registration_key(name: &Name, address: Option<IpAddr>) -> Self {
        Self { name: format!("registration key of {name}").into(), address }
    }

    /// A user, who has shown its password.
    pub fn user(name: &Label, address: Option<IpAddr>) -> Self {
        Self { name: format!("user {name}").into(), address }
    }

    /// The gateway itself, which makes what it cannot do without.
    pub fn gateway() -> Self {
        Self { name: "gateway".into(), address: None }
    }
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was not there before.
    Created,
    /// It is another one now.
    Changed,
    /// It is gone.
    Deleted,
    /// It was looked at, and holds what people have sent.
    Read,
}

impl Action {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Read => "read",
        }
    }

    /// What was done to an object that was there or not before, and is now; nothing to one that never was.
    pub fn leading(was_there: bool, is_there: bool) -> Option<Self> {
        match (was_there, is_there) {
            (false, false) => None,
            (false, true) => Some(Self::Created),
            (true, true) => Some(Self::Changed),
            (true, false) => Some(Self::Deleted),
        }
    }

    /// The action a stored word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Created, Self::Changed, Self::Deleted, Self::Read].into_iter().find(|action| action.as_str() == word)
    }
}

/// One change of one object, as it is remembered. Neither text of it holds a secret or the hash of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in Unix milliseconds.
    pub time: u64,
    /// Who and from where.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// The kind of the object, in the registry's word.
    pub kind: String,
    /// What the object is called; for an API key its owner and handle, never the key's hash.
    pub key: String,
    /// The revision it has now; of one that is gone, the last it had.
    pub revision: u64,
    /// What it was before: JSON.
    pub before: Option<String>,
    /// What it is now: JSON.
    pub after: Option<String>,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainedEntry {
    /// Its number, from 1 without a gap.
    pub seq: u64,
    /// The hash of the entry before it.
    pub previous: ChainHash,
    /// Its own.
    pub hash: ChainHash,
    /// What it tells.
    pub entry: AuditEntry,
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 if there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: ChainHash,
}

impl Head {
    /// The head of a chain without entries.
    pub const EMPTY: Self = Self { seq: 0, hash: BEGINNING };
}

/// The keyed hash that a chain is made with. Cheap to copy.
#[derive(Clone)]
pub struct Link(Arc<Mac>);

type Mac = dyn Fn(&[u8]) -> ChainHash + Send + Sync;

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(…)")
    }
}

impl Link {
    /// A chain over this function, which must be a message authentication code under a key that is kept apart
    /// from the storage.
    pub fn new(mac: impl Fn(&[u8]) -> ChainHash + Send + Sync + 'static) -> Self {
        Self(Arc::new(mac))
    }

    /// A checksum without a key: for what is kept in memory alone, where nobody can come between.
    pub fn unkeyed() -> Self {
        Self::new(|bytes| {
            let mut sum = [0; 32];
            for (lane, part) in sum.chunks_mut(8).enumerate() {
                let mut hasher = DefaultHasher::new();
                hasher.write_usize(lane);
                hasher.write(bytes);
                part.copy_from_slice(&hasher.finish().to_be_bytes());
            }
            sum
        })
    }

    /// The entry that follows on a head.
    pub fn chain(&self, head: &Head, entry: AuditEntry) -> ChainedEntry {
        let (seq, previous) = (head.seq + 1, head.hash);
        let hash = (self.0)(&canonical(seq, &previous, &entry));
        ChainedEntry { seq, previous, hash, entry }
    }

    /// What shows that a head was written by whoever holds the key, when these were the objects.
    pub fn seal(&self, head: &Head, objects: &Sum) -> ChainHash {
        let mut bytes = b"portcullis audit head 2\n".to_vec();
        bytes.extend_from_slice(&head.seq.to_be_bytes());
        bytes.extend_from_slice(&head.hash);
        bytes.extend_from_slice(objects.bytes());
        (self.0)(&bytes)
    }

    /// Whether a head was sealed by a release that sealed it without the objects.
    pub fn is_sealed_alone(&self, head: &Head, seal: &ChainHash) -> bool {
        let mut bytes = b"portcullis audit head 1\n".to_vec();
        bytes.extend_from_slice(&head.seq.to_be_bytes());
        bytes.extend_from_slice(&head.hash);
        *seal == (self.0)(&bytes)
    }

    /// What one object adds to the sum of all.
    pub fn sum(&self, object: &Object<'_>) -> Sum {
        let mut bytes = Vec::with_capacity(128 + object.key.len() + object.body.len());
        bytes.extend_from_slice(b"portcullis audit object 1\n");
        bytes.extend_from_slice(&object.revision.to_be_bytes());
        for text in [object.kind.as_str(), object.key, object.owner, object.body] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Sum::of((self.0)(&bytes))
    }
}

impl ChainedEntry {
    /// The head of the chain that ends with this entry.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// Everything in an entry as bytes, each part after its length, so that no two entries have the same.
fn canonical(seq: u64, previous: &ChainHash, entry: &AuditEntry) -> Vec<u8> {
    let texts = [Some(&entry.kind), Some(&entry.key), entry.before.as_ref(), entry.after.as_ref()];
    let length: usize = texts.iter().flatten().map(|text| text.len()).sum();
    let mut bytes = Vec::with_capacity(256 + length);
    bytes.extend_from_slice(b"portcullis audit entry 1\n");
    for number in [seq, entry.time, entry.revision] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(previous);
    let address = entry.actor.address.map(|address| address.to_string());
    let mut put = |text: Option<&str>| {
        let Some(text) = text else { return bytes.push(0) };
        bytes.push(1);
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    put(Some(&entry.actor.name));
    put(address.as_deref());
    put(Some(entry.action.as_str()));
    for text in texts {
        put(text.map(String::as_str));
    }
    bytes
}

/// Which entries are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// From where on, and in which order.
    pub from: AuditFrom,
    /// How many at most.
    pub limit: u32,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only of the object with this key, and of those whose key is this, a slash and more.
    pub key: Option<String>,
}

/// A place in the trail and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFrom {
    /// Entries with a greater number, in order.
    After(u64),
    /// Entries with a smaller number, the newest first.
    Before(u64),
}

impl AuditQuery {
    /// Whether an entry is wanted, apart from its place.
    pub fn wants(&self, entry: &AuditEntry) -> bool {
        let named = |key: &str| match entry.key.strip_prefix(key) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        self.kind.as_ref().is_none_or(|kind| *kind == entry.kind) && self.key.as_deref().is_none_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> AuditEntry {
        AuditEntry {
            time: 7,
            actor: Actor::admin_token(Some([127, 0, 0, 1].into())),
            action: Action::Changed,
            kind: "service".into(),
            key: key.into(),
            revision: 3,
            before: Some("{}".into()),
            after: None,
        }
    }

    fn chain(keys: &[&str]) -> Vec<ChainedEntry> {
        let mut head = Head::EMPTY;
        let mut chained = Vec::new();
        for key in keys {
            let next = Link::unkeyed().chain(&head, entry(key));
            head = next.head();
            chained.push(next);
        }
        chained
    }

    fn verdict(chained: &[ChainedEntry], kept: Option<Head>) -> TrailVerdict {
        let mut walk = Walk::new(Link::unkeyed());
        chained.iter().for_each(|found| walk.step(Some(found.clone())));
        walk.finish(kept.map(|head| (head, Link::unkeyed().seal(&head, &Sum::NONE))))
    }

    #[test]
    fn a_chain_as_it_was_made_is_intact() {
        assert_eq!(verdict(&[], None).first_broken, None);
        let chained = chain(&["a", "b", "c"]);
        let end = chained[2].head();
        assert_eq!(
            verdict(&chained, Some(end)),
            TrailVerdict { entries: 3, first_broken: None, fault: None, head: end }
        );
    }

    #[test]
    fn what_is_missing_changed_or_moved_is_found_at_its_place() {
        let chained = chain(&["a", "b", "c", "d"]);
        let end = Some(chained[3].head());
        let broken = |chained: &[ChainedEntry], end| verdict(chained, end).first_broken;
        for at in 0..4 {
            let mut less = chained.clone();
            less.remove(at);
            assert_eq!(broken(&less, end), Some(at as u64 + 1), "without entry {}", at + 1);
        }
        assert_eq!(broken(&[], end), Some(1));
        let mut moved = chained.clone();
        moved.swap(1, 2);
        assert_eq!(broken(&moved, end), Some(2));
        // A head that names the end of a shorter chain was not sealed for it.
        let mut walk = Walk::new(Link::unkeyed());
        walk.step(Some(chained[0].clone()));
        let seal = Link::unkeyed().seal(&chained[3].head(), &Sum::NONE);
        assert_eq!(walk.finish(Some((chained[0].head(), seal))).first_broken, Some(2));
        assert_eq!(broken(&chained, None), Some(5), "the head is gone");
        let changes: [fn(&mut ChainedEntry); 12] = [
            |found| found.seq += 1,
            |found| found.previous[0] ^= 1,
            |found| found.hash[31] ^= 1,
            |found| found.entry.time += 1,
            |found| found.entry.actor.name = "somebody".into(),
            |found| found.entry.actor.address = None,
            |found| found.entry.action = Action::Deleted,
            |found| found.entry.kind.push('s'),
            |found| found.entry.key.clear(),
            |found| found.entry.revision = 0,
            |found| found.entry.before = None,
            |found| found.entry.after = Some(String::new()),
        ];
        for (number, change) in changes.iter().enumerate() {
            for at in 0..4 {
                let mut changed = chained.clone();
                change(&mut changed[at]);
                assert_eq!(broken(&changed, end), Some(at as u64 + 1), "change {number} of entry {}", at + 1);
            }
        }
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let (mut one, mut other) = (entry("ab"), entry("a"));
        (one.before, other.before) = (Some("c".into()), Some("bc".into()));
        assert_ne!(canonical(1, &BEGINNING, &one), canonical(1, &BEGINNING, &other));
        (one.before, one.after) = (None, Some("x".into()));
        let swapped = AuditEntry { before: Some("x".into()), after: None, ..one.clone() };
        assert_ne!(canonical(1, &BEGINNING, &one), canonical(1, &BEGINNING, &swapped));
    }

    #[test]
    fn a_key_names_an_object_and_what_is_below_it() {
        let query = |key: &str, kind: Option<&str>| AuditQuery {
            from: AuditFrom::After(0),
            limit: 1,
            kind: kind.map(str::to_owned),
            key: Some(key.to_owned()),
        };
        for (key, wanted) in [("orders/v1", true), ("orders", true), ("order", false), ("orders/v", false), ("", false)]
        {
            assert_eq!(query(key, None).wants(&entry("orders/v1")), wanted, "{key}");
        }
        assert!(query("orders", Some("service")).wants(&entry("orders/v1")));
        assert!(!query("orders", Some("client")).wants(&entry("orders/v1")));
    }
}
