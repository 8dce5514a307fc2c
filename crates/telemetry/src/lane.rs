//! A lane: where one worker leaves its records, packed, until the log's thread takes them; and what all lanes together may hold.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::packed::{Packing, make_room};

/// A buffer that has so many bytes is put aside and another begun, so that none becomes large and is moved often.
const PIECE: usize = 256 << 10;
/// What a lane keeps for the next records while nothing comes.
const AT_REST: usize = 4 << 10;
/// A lane takes so much of the budget at a time at most.
const GRANT: usize = 64 << 10;

/// The bytes that all lanes may still take. A lane takes more than it needs, so that it comes here seldom.
#[derive(Debug)]
pub(crate) struct Budget {
    free: AtomicUsize,
    whole: usize,
    grant: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        // With a small budget less, lest one lane has it all while the others have nothing.
        Self { free: AtomicUsize::new(bytes), whole: bytes, grant: GRANT.min(bytes / 64) }
    }

    /// At least so many bytes, or none at all.
    fn take(&self, needed: usize) -> Option<usize> {
        let granted = |free: usize| needed.max(self.grant).min(free);
        let enough = |free: usize| (free >= needed).then(|| free - granted(free));
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough).ok().map(granted)
    }

    /// What was taken and is not needed any more.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.free.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// What is taken now.
    pub(crate) fn taken(&self) -> usize {
        self.whole.saturating_sub(self.free.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}

/// What one worker has written. Apart from others in memory, so that workers do not wait for each other's writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Lane(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Full buffers, the oldest first.
    full: Vec<Vec<u8>>,
    /// The buffer that is being filled.
    records: Vec<u8>,
    /// Bytes that were taken from the budget and not used yet.
    room: usize,
    closed: bool,
}

impl Lane {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record; not if there is no room for it, or if the lane is closed.
    pub(crate) fn put(&self, record: &Packing<'_>, budget: &Budget) -> bool {
        let size = record.size();
        let mut waiting = self.waiting();
        if waiting.closed {
            return false;
        }
        if waiting.room < size {
            let Some(granted) = budget.take(size - waiting.room) else { return false };
            waiting.room += granted;
        }
        waiting.room -= size;
        if waiting.records.len() + size > PIECE && !waiting.records.is_empty() {
            let full = mem::take(&mut waiting.records);
            waiting.full.push(full);
        }
        // What was not counted as taken is little.
        make_room(&mut waiting.records, size, PIECE);
        record.write(&mut waiting.records);
        true
    }

    /// Moves everything to the end of `taken`, and lays an empty buffer in its place. Who takes a buffer gives its
    /// bytes back to the budget when they are dealt with.
    pub(crate) fn take(&self, taken: &mut Vec<Vec<u8>>, spare: &mut Vec<Vec<u8>>, budget: &Budget) {
        let mut waiting = self.waiting();
        if waiting.records.is_empty() {
            return;
        }
        taken.append(&mut waiting.full);
        let empty = spare.pop().unwrap_or_default();
        taken.push(mem::replace(&mut waiting.records, empty));
        budget.give_back(mem::take(&mut waiting.room));
    }

    /// Whether nothing waits in it. Then it does without the buffer that a burst has left it.
    pub(crate) fn is_at_rest(&self) -> bool {
        let mut waiting = self.waiting();
        let is_empty = waiting.records.is_empty();
        if is_empty && waiting.records.capacity() > AT_REST {
            waiting.records = Vec::new();
        }
        is_empty
    }

    /// Keeps everybody else from leaving or taking anything.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.waiting()
    }

    /// Takes no more records.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
    }
}

/// Whether a buffer that has been dealt with is kept for other records: not if it is large, because it is seldom needed.
pub(crate) fn is_worth_keeping(buffer: &Vec<u8>) -> bool {
    buffer.capacity() <= PIECE
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::line::tests::record;
    use crate::packed::tests::packed;

    #[test]
    fn what_waits_and_what_is_in_hand_never_exceeds_the_budget() {
        let record = record(SystemTime::UNIX_EPOCH);
        let size = packed(&record).len();
        // Room for 1,000 records and not quite for one more.
        let whole = size * 1_001 - 1;
        let (budget, lanes) = (Budget::new(whole), [Lane::default(), Lane::default(), Lane::default()]);
        let put = || (0..4_000).filter(|at| lanes[at % 3].put(&Packing::of(&record), &budget)).count();
        let held = |taken: &[Vec<u8>]| taken.iter().map(Vec::len).sum::<usize>();

        let first = put();
        // What a lane has taken and not used is not there for the others; it is little.
        assert!((950..=1_000).contains(&first), "{first}");
        let (mut taken, mut spare) = (Vec::new(), Vec::new());
        lanes[0].take(&mut taken, &mut spare, &budget);
        lanes[1].take(&mut taken, &mut spare, &budget);
        // What has been taken out counts until it is dealt with.
        assert!(first + put() <= 1_000);
        lanes.iter().for_each(|lane| lane.take(&mut taken, &mut spare, &budget));
        assert_eq!(budget.free() + held(&taken), whole);
        budget.give_back(held(&taken));
        assert_eq!(budget.free(), whole);
        assert!(put() > 950, "and then there is room again");
    }

    #[test]
    fn a_buffer_that_has_grown_large_is_put_aside_in_order() {
        let (lane, budget) = (Lane::default(), Budget::new(usize::MAX));
        let mut written = Vec::new();
        for number in 0..5_000 {
            let record = portcullis_core::record::Record { bytes_in: number, ..record(SystemTime::UNIX_EPOCH) };
            assert!(lane.put(&Packing::of(&record), &budget));
            written.extend(packed(&record));
        }
        let (mut taken, mut spare) = (Vec::new(), vec![Vec::with_capacity(4_711)]);
        lane.take(&mut taken, &mut spare, &budget);
        assert!(taken.len() > 2 && taken.iter().all(|piece| piece.len() <= PIECE), "{}", taken.len());
        assert_eq!(taken.concat(), written);
        assert!(taken.iter().all(is_worth_keeping), "none has grown beyond what is counted");
        assert_eq!(lane.waiting().records.capacity(), 4_711, "the buffer that was brought along");
        assert!(lane.is_at_rest() && spare.is_empty());
        assert_eq!(lane.waiting().records.capacity(), 0, "too large to be kept for nothing");
    }
}
