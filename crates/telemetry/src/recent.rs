//! The newest records, in memory within a budget, to be searched and followed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::record::Record;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::filter::Filter;
use crate::line::{Lines, Reason};

/// How many records a page has unless its reader says otherwise.
pub const DEFAULT_LIMIT: usize = 100;
/// How many records a page has at most.
pub const MAX_LIMIT: usize = 1_000;

/// A record with its place in the order in which calls ended.
#[derive(Debug)]
pub struct Entry {
    /// Counts up from 1 with every record of this process.
    pub sequence: u64,
    /// The record.
    pub record: Box<Record>,
    size: usize,
}

impl Entry {
    /// The record as the admin API shows it: JSON without the refusal's private reason.
    pub fn json(&self) -> String {
        let mut out = Vec::with_capacity(512);
        Lines::default().write(&mut out, &self.record, Reason::Hidden);
        // Everything in it came out of `str`s; should that ever change, nothing is lost but the odd byte.
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// Serialises as [`Entry::json`]; only into JSON.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.json()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// A part of what a search finds.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The records.
    pub items: Vec<Arc<Entry>>,
    /// The cursor of the page that comes after it, if there is one.
    pub next: Option<String>,
}

/// A cursor that no page has given out.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the cursor is none that was given out")]
pub struct CursorError;

/// Bytes a record occupies, estimated from above: what it shares with others is counted as its own.
pub(crate) fn weight(record: &Record) -> usize {
    let shared = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len() + 16);
    size_of::<Record>()
        + size_of::<Entry>()
        + 64
        + record.request_id.size()
        + record.path.len()
        + record.reason.as_ref().map_or(0, |text| text.len())
        + shared(&record.service)
        + shared(&record.version)
        + shared(&record.client)
        + shared(&record.user)
        + shared(&record.target)
}

#[derive(Debug, Default)]
struct Ring {
    /// Without gaps: an entry's place is its sequence number less that of the first.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    last: u64,
}

impl Ring {
    /// How many entries have a sequence number below the given one.
    fn below(&self, sequence: u64) -> usize {
        let first = self.last + 1 - self.entries.len() as u64;
        usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX).min(self.entries.len())
    }
}

/// The newest records. Written by the log's thread, read by the admin API.
#[derive(Debug)]
pub struct Recent {
    ring: Mutex<Ring>,
    budget: usize,
}

impl Recent {
    /// An empty one that keeps about so many bytes.
    pub fn new(budget: usize) -> Self {
        Self { ring: Mutex::default(), budget }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record; the oldest go when the budget is spent.
    pub fn push(&self, record: Box<Record>) {
        let size = weight(&record);
        self.push_weighed(record, size);
    }

    /// Takes a record whose weight is known.
    pub(crate) fn push_weighed(&self, record: Box<Record>, size: usize) {
        let mut ring = self.ring();
        ring.last += 1;
        ring.bytes += size;
        let entry = Arc::new(Entry { sequence: ring.last, record, size });
        ring.entries.push_back(entry);
        while ring.bytes > self.budget {
            let Some(oldest) = ring.entries.pop_front() else { break };
            ring.bytes -= oldest.size;
        }
    }

    /// The sequence number of the newest record so far; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.ring().last
    }

    /// Newest first. `cursor` is the `next` of the page before; `limit` is held between 1 and [`MAX_LIMIT`].
    /// `next` is there if and only if an older record fulfils the filter.
    pub fn search(&self, filter: &Filter, limit: usize, cursor: Option<&str>) -> Result<Page, CursorError> {
        let before = cursor.map(sequence).transpose()?.unwrap_or(u64::MAX);
        let limit = limit.clamp(1, MAX_LIMIT);
        let ring = self.ring();
        let older = ring.entries.range(..ring.below(before)).rev();
        let mut items: Vec<_> =
            older.filter(|entry| filter.takes(&entry.record)).take(limit + 1).map(Arc::clone).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|entry| entry.sequence.to_string());
        Ok(Page { items, next })
    }

    /// Those that came after a sequence number, in the order in which they came. `next` is always there: what
    /// to ask for next time, also when nothing new fulfilled the filter.
    pub fn after(&self, filter: &Filter, limit: usize, after: u64) -> Page {
        let limit = limit.clamp(1, MAX_LIMIT);
        let ring = self.ring();
        let newer = ring.entries.range(ring.below(after.saturating_add(1))..);
        let items: Vec<_> = newer.filter(|entry| filter.takes(&entry.record)).take(limit).map(Arc::clone).collect();
        let seen = match items.last() {
            Some(last) if items.len() == limit => last.sequence,
            _ => ring.last,
        };
        Page { items, next: Some(seen.to_string()) }
    }

    /// Reads a cursor as [`after`](Self::after) takes it.
    pub fn sequence(cursor: &str) -> Result<u64, CursorError> {
        sequence(cursor)
    }
}

fn sequence(cursor: &str) -> Result<u64, CursorError> {
    let fine = cursor.bytes().all(|byte| byte.is_ascii_digit());
    cursor.parse().ok().filter(|_| fine).ok_or(CursorError)
}
