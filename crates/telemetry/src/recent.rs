//! The newest records, in memory within a budget, to be searched and followed.
//!
//! A search holds the lock only while it looks for the next block, or into the one that is being filled; blocks that are
//! full do not change, and are read without it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::record::Record;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::blocks::{Block, Blocks};
use crate::filter::Filter;
use crate::line::{Lines, Reason};
use crate::packed::{Packing, RecordView};

/// How many records a page has unless its reader says otherwise.
pub const DEFAULT_LIMIT: usize = 100;
/// How many records a page has at most.
pub const MAX_LIMIT: usize = 1_000;

/// A record with its place in the order in which calls ended.
#[derive(Debug)]
pub struct RecentRecord {
    /// Counts up from 1 with every record of this process.
    pub sequence: u64,
    json: String,
}

impl RecentRecord {
    fn new(sequence: u64, record: &RecordView<'_>, lines: &mut Lines) -> Self {
        let mut out = Vec::with_capacity(512);
        lines.write(&mut out, record, Reason::Hidden);
        // Everything in it came out of `str`s; should that ever change, nothing is lost but the odd byte.
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let json = String::from_utf8(out).unwrap_or_else(|error| lossy(error.as_bytes()));
        Self { sequence, json }
    }

    /// The record as the admin API shows it: JSON without the refusal's private reason.
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// Serialises as [`RecentRecord::json`]; only into JSON.
impl Serialize for RecentRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.json).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// A part of what a search finds.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The records.
    pub items: Vec<RecentRecord>,
    /// The cursor of the page that comes after it, if there is one.
    pub next: Option<String>,
}

/// A cursor that no page has given out.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the cursor does not come from an earlier answer")]
pub struct CursorError;

/// The newest records. Written by the log's thread, read by the admin API.
#[derive(Debug)]
pub struct Recent {
    blocks: Mutex<Blocks>,
}

impl Recent {
    /// An empty one that keeps about so many bytes.
    pub fn new(budget: usize) -> Self {
        Self { blocks: Mutex::new(Blocks::new(budget)) }
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the log's thread from going on.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.blocks()
    }

    /// Takes a record; the oldest go when the budget is spent.
    pub fn push(&self, record: &Record) {
        let mut packed = Vec::new();
        Packing::of(record).write(&mut packed);
        self.extend(&packed);
    }

    /// Takes packed records; returns how many.
    pub(crate) fn extend(&self, records: &[u8]) -> u64 {
        self.blocks().extend(records)
    }

    /// The sequence number of the newest record so far; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.blocks().last()
    }

    /// Newest first. `cursor` is the `next` of the page before; `limit` is held between 1 and [`MAX_LIMIT`].
    /// `next` is there if and only if an older record fulfils the filter.
    pub fn search(&self, filter: &Filter, limit: usize, cursor: Option<&str>) -> Result<Page, CursorError> {
        let mut before = cursor.map(sequence).transpose()?.unwrap_or(u64::MAX);
        let limit = limit.clamp(1, MAX_LIMIT);
        let (mut items, mut lines) = (Vec::new(), Lines::default());
        let mut look_into = |block: &Block, before: u64| {
            for (sequence, record) in wanted(block.before(before), filter) {
                if items.len() == limit {
                    return Some(true);
                }
                items.push(RecentRecord::new(sequence, &record, &mut lines));
            }
            None
        };
        let more = loop {
            let blocks = self.blocks();
            let open = blocks.open();
            let (found, first) = if before > open.first() && open.end() > open.first() {
                (look_into(open, before), open.first())
            } else {
                let Some(block) = blocks.sealed_before(before).map(Arc::clone) else { break false };
                drop(blocks);
                (look_into(&block, before), block.first())
            };
            if let Some(more) = found {
                break more;
            }
            before = first;
        };
        let next = items.last().filter(|_| more).map(|entry: &RecentRecord| entry.sequence.to_string());
        Ok(Page { items, next })
    }

    /// Those that came after a sequence number, in the order in which they came. `next` is always there: what
    /// to ask for next time, also when nothing new fulfilled the filter.
    pub fn after(&self, filter: &Filter, limit: usize, after: u64) -> Page {
        let mut from = after.saturating_add(1);
        let limit = limit.clamp(1, MAX_LIMIT);
        let (mut items, mut lines) = (Vec::new(), Lines::default());
        let mut look_into = |block: &Block, from: u64| {
            for (sequence, record) in wanted(block.from(from), filter) {
                items.push(RecentRecord::new(sequence, &record, &mut lines));
                if items.len() == limit {
                    return Some(sequence);
                }
            }
            None
        };
        let seen = loop {
            let blocks = self.blocks();
            let Some(block) = blocks.sealed_from(from).map(Arc::clone) else {
                // Everything up to the newest has been looked at, under one lock.
                break look_into(blocks.open(), from).unwrap_or(blocks.last());
            };
            drop(blocks);
            if let Some(last) = look_into(&block, from) {
                break last;
            }
            from = block.end();
        };
        Page { items, next: Some(seen.to_string()) }
    }

    /// Reads a cursor as [`after`](Self::after) takes it.
    pub fn sequence(cursor: &str) -> Result<u64, CursorError> {
        sequence(cursor)
    }
}

/// Those that the filter takes.
fn wanted<'a>(
    records: impl Iterator<Item = (u64, &'a [u8])>,
    filter: &Filter,
) -> impl Iterator<Item = (u64, RecordView<'a>)> {
    let shown = records.filter_map(|(sequence, record)| Some((sequence, RecordView::unpack(record)?)));
    shown.filter(|(_, record)| filter.takes(record))
}

fn sequence(cursor: &str) -> Result<u64, CursorError> {
    let fine = cursor.bytes().all(|byte| byte.is_ascii_digit());
    cursor.parse().ok().filter(|_| fine).ok_or(CursorError)
}
