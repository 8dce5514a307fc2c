//! The newest records, packed, in blocks of memory within a budget. The oldest block goes as a whole, and its memory
//! becomes that of the newest.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::packed::{each, make_room};

/// Bytes of a block. Of a small budget a block takes a smaller part, so that not much goes at once.
const BLOCK: usize = 64 << 10;

/// Packed records that came one after the other.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The sequence number of its first record.
    first: u64,
    /// Where each of them begins.
    starts: Vec<u32>,
    bytes: Vec<u8>,
}

impl Block {
    /// The sequence number that comes after its last record.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.starts.len() as u64
    }

    /// The sequence number of its first record, if it has one.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Its records with their sequence numbers, from `from` on, in the order in which they came, each still packed.
    pub(crate) fn from(&self, from: u64) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let places = skipped.min(self.starts.len())..self.starts.len();
        places.map(|place| (self.first + place as u64, self.record(place)))
    }

    /// Its records with numbers below `before`, the newest first.
    pub(crate) fn before(&self, before: u64) -> impl Iterator<Item = (u64, &[u8])> {
        self.from(0).rev().skip_while(move |(sequence, _)| *sequence >= before)
    }

    fn record(&self, place: usize) -> &[u8] {
        let start = |place: usize| self.starts.get(place).map_or(self.bytes.len(), |start| *start as usize);
        self.bytes.get(start(place)..start(place + 1)).unwrap_or_default()
    }

    fn has_room_for(&self, record: &[u8], block: usize) -> bool {
        self.starts.is_empty() || self.bytes.len() + record.len() <= block
    }

    /// Takes a record. Memory grows with what there is, up to a whole block.
    fn push(&mut self, record: &[u8], block: usize) {
        make_room(&mut self.bytes, record.len(), block);
        self.starts.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(record);
    }

    /// Bytes it occupies, used or not.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity() + self.starts.capacity() * size_of::<u32>()
    }

    fn emptied(mut self, first: u64) -> Self {
        self.bytes.clear();
        self.starts.clear();
        Self { first, ..self }
    }
}

/// All blocks.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Full ones, which do not change any more, the oldest first.
    sealed: VecDeque<Arc<Block>>,
    sealed_weight: usize,
    open: Block,
    /// The sequence number of the newest record.
    last: u64,
    budget: usize,
    block: usize,
}

impl Blocks {
    /// None, with a budget in bytes.
    pub(crate) fn new(budget: usize) -> Self {
        let (open, block) = (Block { first: 1, ..Block::default() }, BLOCK.min(budget / 16));
        Self { sealed: VecDeque::new(), sealed_weight: 0, open, last: 0, budget, block }
    }

    /// The sequence number of the newest record so far.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The block in which new records are put.
    pub(crate) fn open(&self) -> &Block {
        &self.open
    }

    /// The newest full block with a record whose number is below this.
    pub(crate) fn sealed_before(&self, before: u64) -> Option<&Arc<Block>> {
        let older = self.sealed.partition_point(|block| block.first < before);
        self.sealed.get(older.checked_sub(1)?)
    }

    /// The oldest full block with a record of this number or a higher one.
    pub(crate) fn sealed_from(&self, from: u64) -> Option<&Arc<Block>> {
        self.sealed.get(self.sealed.partition_point(|block| block.end() <= from))
    }

    /// Takes packed records; returns how many.
    pub(crate) fn extend(&mut self, records: &[u8]) -> u64 {
        each(records).map(|record| self.push(record)).count() as u64
    }

    fn push(&mut self, record: &[u8]) {
        if !self.open.has_room_for(record, self.block) {
            self.begin_another();
        }
        self.open.push(record, self.block);
        self.last += 1;
        while self.weight() > self.budget {
            if self.take_oldest().is_none() {
                // Not even the newest block fits.
                self.open = Block { first: self.last + 1, ..Block::default() };
                return;
            }
        }
    }

    /// Seals the open block. The next one will need as much, so the oldest go before, and one of them gives its memory.
    fn begin_another(&mut self) {
        let mut oldest = None;
        let needed = if self.is_oversized(&self.open) { self.block } else { self.open.weight() };
        while self.weight() + needed > self.budget {
            let Some(block) = self.take_oldest() else { break };
            oldest = Some(block);
        }
        // One that somebody searches just now is left to them.
        let empty = oldest.and_then(|oldest| Arc::try_unwrap(oldest).ok()).filter(|block| !self.is_oversized(block));
        let next = empty.unwrap_or_default().emptied(self.last + 1);
        let full = mem::replace(&mut self.open, next);
        self.sealed_weight += full.weight();
        self.sealed.push_back(Arc::new(full));
    }

    /// Whether a record larger than a block was in it.
    fn is_oversized(&self, block: &Block) -> bool {
        block.bytes.capacity() > self.block
    }

    fn take_oldest(&mut self) -> Option<Arc<Block>> {
        let oldest = self.sealed.pop_front()?;
        self.sealed_weight -= oldest.weight();
        Some(oldest)
    }

    /// Bytes that all of them occupy.
    pub(crate) fn weight(&self) -> usize {
        self.sealed_weight + self.open.weight()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::line::tests::record;
    use crate::packed::tests::packed;

    fn filled(budget: usize, bytes: usize) -> Blocks {
        let record = packed(&record(SystemTime::UNIX_EPOCH));
        let mut blocks = Blocks::new(budget);
        (0..bytes / record.len()).for_each(|_| blocks.push(&record));
        blocks
    }

    #[test]
    fn little_is_held_of_little_and_never_more_than_the_budget() {
        let budget = 4 << 20;
        assert!(filled(budget, 0).weight() < 256);
        assert!(filled(budget, 900).weight() < 1_500);
        assert!(filled(budget, 100_000).weight() < 160_000);
        let blocks = filled(budget, 20 << 20);
        assert!((budget - 2 * BLOCK..=budget).contains(&blocks.weight()), "{}", blocks.weight());
        let used: usize = blocks.sealed.iter().map(|block| block.bytes.len()).sum();
        assert!(used > budget / 10 * 9, "{used}: it is records that fill it");
    }

    #[test]
    fn the_memory_of_the_oldest_block_becomes_that_of_the_newest() {
        let mut blocks = filled(4 << 20, 20 << 20);
        let record = packed(&record(SystemTime::UNIX_EPOCH));
        for _ in 0..3 {
            let oldest = blocks.sealed[0].bytes.as_ptr();
            let before = blocks.sealed[0].first;
            while blocks.sealed[0].first == before {
                blocks.push(&record);
            }
            assert_eq!(blocks.open.bytes.as_ptr(), oldest);
        }
        // Unless somebody is reading it.
        let read = Arc::clone(&blocks.sealed[0]);
        let records: Vec<_> = read.from(0).map(|(sequence, record)| (sequence, record.to_vec())).collect();
        while Arc::strong_count(&read) > 1 {
            blocks.push(&record);
        }
        assert_ne!(blocks.open.bytes.as_ptr(), read.bytes.as_ptr());
        assert!(read.from(0).map(|(sequence, record)| (sequence, record.to_vec())).eq(records));
    }

    #[test]
    fn no_record_is_larger_than_a_block() {
        let long = "é".repeat(BLOCK);
        let shared = || Some(long.as_str().into());
        let largest = portcullis_core::record::Record {
            path: long.as_str().into(),
            service: shared(),
            version: shared(),
            client: shared(),
            user: shared(),
            reason: Some(long.as_str().into()),
            target: shared(),
            ..record(SystemTime::UNIX_EPOCH)
        };
        let largest = packed(&largest);
        assert!(largest.len() < BLOCK / 4, "{}", largest.len());
        let mut blocks = Blocks::new(1 << 20);
        for _ in 0..2_000 {
            blocks.push(&largest);
            assert!(blocks.open.bytes.capacity() <= BLOCK && blocks.weight() <= 1 << 20);
        }
    }
}
