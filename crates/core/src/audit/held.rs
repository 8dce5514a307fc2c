//! Looking at a chain from its beginning, and holding it against the objects that it tells of.
//!
//! Two things are held. By name: the newest entry of each object says in which revision it is there, or that it is
//! gone. And by sum: the head is sealed over everything in every object, so that one whose revision fits but whose
//! content was never written with an entry is missed too. The sum itself is kept nowhere: whoever has the storage
//! alone sees only what the seal makes of it.

use std::collections::BTreeMap;
use std::fmt;

use super::{Action, AuditEntry, ChainHash, ChainedEntry, Head, Link};
use crate::model::ApiKey;
use crate::object::{Kind, Row};

/// What all objects come to that a trail tells of: the keyed hashes of all, added without carry. Adding one twice
/// takes it out again.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(ChainHash);

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sum(…)")
    }
}

impl Sum {
    /// The sum of no objects.
    pub const NONE: Self = Self([0; 32]);

    pub(super) fn of(hash: ChainHash) -> Self {
        Self(hash)
    }

    pub(super) fn bytes(&self) -> &ChainHash {
        &self.0
    }

    /// Adds what is not in it, and takes out what is.
    pub fn toggle(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
    }
}

/// An object as it is kept, whether or not this program can have written it.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its key in the registry.
    pub key: &'a str,
    /// Its revision.
    pub revision: u64,
    /// The word for whom it belongs to.
    pub owner: &'a str,
    /// JSON.
    pub body: &'a str,
}

impl<'a> From<&'a Row> for Object<'a> {
    fn from(row: &'a Row) -> Self {
        let Row { kind, key, revision, owner, body } = row;
        Self { kind: *kind, key, revision: *revision, owner: owner.as_str(), body }
    }
}

impl Object<'_> {
    /// What the trail calls it. An API key goes by its owner and its handle, never by its hash.
    fn called(&self) -> String {
        match self.kind {
            Kind::ApiKey => serde_json::from_str(self.body).map_or_else(|_| "?".to_owned(), |key: ApiKey| key.called()),
            _ => self.key.to_owned(),
        }
    }
}

/// Why a trail is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An entry is missing, was put in, or is another one than was written.
    Entry(u64),
    /// The chain ends elsewhere than its head says.
    End(u64),
    /// An object is there, though nothing tells that it was made, or the newest entry tells that it was deleted.
    Untold(&'static str, String),
    /// An object is in another revision than its newest entry tells.
    Revision {
        /// What it is.
        kind: &'static str,
        /// What the trail calls it.
        key: String,
        /// The revision it has.
        found: u64,
        /// The revision the trail tells of.
        told: u64,
    },
    /// An object is gone, though no entry tells that it was deleted.
    Gone(&'static str, String),
    /// The objects are not those the head was sealed with, or nobody with the key has sealed it.
    Seal,
    /// What this process has written is missing: an older state was put back under it.
    Earlier,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(seq) => write!(f, "entry {seq} is missing or is not what was written"),
            Self::End(seq) => write!(
                f,
                "the trail ends with entry {seq}, and its head says otherwise: entries were taken off the end, or the \
                 head was replaced"
            ),
            Self::Untold(kind, key) => write!(
                f,
                "{kind} '{key}' is in the registry, but by the trail it was never made or is deleted: entries were \
                 taken out, or the object was put in"
            ),
            Self::Revision { kind, key, found, told } => write!(
                f,
                "{kind} '{key}' is in the registry in revision {found}, but its newest entry tells of revision \
                 {told}: entries were taken out, or the object was changed"
            ),
            Self::Gone(kind, key) => write!(
                f,
                "{kind} '{key}' is there by the trail, but not in the registry: an entry or the object was taken out"
            ),
            Self::Seal => f.write_str(
                "the end of the trail is not sealed over what the registry holds: an object was changed without an \
                 entry, or the end was replaced",
            ),
            Self::Earlier => f.write_str("what the gateway wrote last is missing: an earlier state was put back"),
        }
    }
}

/// What looking at every entry of a chain, and at every object it tells of, has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailVerdict {
    /// How many entries there are.
    pub entries: u64,
    /// The first number at which the chain is not what it was: an entry that was changed, put in, or is missing. The
    /// number after the last, if every entry is what it was and what is told is not what there is.
    pub first_broken: Option<u64>,
    /// Why; there if and only if `first_broken` is.
    pub fault: Option<Fault>,
    /// Where the chain ends, as far as it holds. Whoever notes it elsewhere can tell later that the storage was
    /// not put back to an earlier state.
    pub head: Head,
}

impl TrailVerdict {
    /// The same, where it is intact until now and yet has this fault.
    pub fn or_else_broken(&mut self, fault: Fault) {
        if self.first_broken.is_none() {
            self.first_broken = Some(self.head.seq + 1);
            self.fault = Some(fault);
        }
    }
}

/// Walks along a chain from its beginning, then over the objects. Takes room in proportion to the objects that are
/// there by the chain.
#[derive(Debug)]
pub struct Walk {
    link: Link,
    head: Head,
    entries: u64,
    broken: bool,
    /// What is there by the entries so far, with its revision.
    there: BTreeMap<(Kind, String), u64>,
    objects: Sum,
    stray: Option<Fault>,
}

impl Walk {
    /// A walk that begins before the first entry.
    pub fn new(link: Link) -> Self {
        let (there, objects) = (BTreeMap::new(), Sum::NONE);
        Self { link, head: Head::EMPTY, entries: 0, broken: false, there, objects, stray: None }
    }

    /// Looks at the next entry; `None` for one that could not even be read.
    pub fn step(&mut self, found: Option<ChainedEntry>) {
        self.entries += 1;
        if self.broken {
            return;
        }
        let wanted = found.as_ref().map(|found| self.link.chain(&self.head, found.entry.clone()));
        match (found, wanted) {
            // Whoever reads the verdict learns nothing from how long a comparison takes.
            (Some(found), Some(wanted)) if found == wanted => {
                self.head = found.head();
                self.tell(found.entry);
            }
            _ => self.broken = true,
        }
    }

    /// Takes in what a good entry says of its object.
    fn tell(&mut self, entry: AuditEntry) {
        let Some(kind) = Kind::AUDITED.into_iter().find(|kind| kind.as_str() == entry.kind) else { return };
        match entry.action {
            Action::Created => {
                self.there.insert((kind, entry.key), entry.revision);
            }
            // A change leads to the next revision. One that does not is about something beside the object, like the
            // sessions of a user; or what lies between is missing, and it must not stand for that.
            Action::Changed => {
                if let Some(revision) = self.there.get_mut(&(kind, entry.key))
                    && revision.checked_add(1) == Some(entry.revision)
                {
                    *revision = entry.revision;
                }
            }
            Action::Deleted => {
                self.there.remove(&(kind, entry.key));
            }
            Action::Read => {}
        }
    }

    /// Looks at the next object, after all entries; those of kinds the trail does not tell of are passed over.
    pub fn object(&mut self, object: &Object<'_>) {
        if !object.kind.is_audited() {
            return;
        }
        self.objects.toggle(self.link.sum(object));
        let (kind, key) = (object.kind.as_str(), object.called());
        let address = (object.kind, key);
        let told = self.there.remove(&address);
        let (_, key) = address;
        let found = object.revision;
        let fault = match told {
            Some(told) if told == found => return,
            Some(told) => Fault::Revision { kind, key, found, told },
            None => Fault::Untold(kind, key),
        };
        self.stray.get_or_insert(fault);
    }

    /// Holds the end against the head that was kept with its seal, if one was, and against the objects.
    pub fn finish(self, kept: Option<(Head, ChainHash)>) -> TrailVerdict {
        let Self { link, head, entries, broken, there, objects, stray } = self;
        let ends_here = kept.map_or(entries == 0, |(kept, _)| kept == head);
        let is_sealed = kept.map_or(objects == Sum::NONE, |(kept, seal)| {
            seal == link.seal(&kept, &objects) || link.is_sealed_alone(&kept, &seal)
        });
        let gone = || there.into_keys().next().map(|(kind, key)| Fault::Gone(kind.as_str(), key));
        let mut verdict = TrailVerdict { entries, first_broken: None, fault: None, head };
        let fault = match (broken, ends_here) {
            (true, _) => Some(Fault::Entry(head.seq + 1)),
            (false, false) => Some(Fault::End(head.seq)),
            (false, true) => stray.or_else(gone).or((!is_sealed).then_some(Fault::Seal)),
        };
        fault.into_iter().for_each(|fault| verdict.or_else_broken(fault));
        verdict
    }
}
