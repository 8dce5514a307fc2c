//! A merged batch: what was taken out of all lanes at one time, and the order in which it is written: that in which the calls ended.
//!
//! Each lane has its records in that order, so the lanes are merged. What ended while the thread went from one lane to
//! the next may come before what ended in a lane that it had just left; that is a matter of microseconds.

use std::mem;

use crate::lane::{Budget, Lane};
use crate::packed::{each, ended};

/// Buffers of records, of one lane after the other, of each lane the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pieces: Vec<Vec<u8>>,
    heads: Vec<Head>,
}

/// The next record of a lane.
#[derive(Debug)]
struct Head {
    /// Which buffer it is in, and where it begins there.
    piece: usize,
    at: usize,
    /// What comes after the last buffer of the lane.
    end: usize,
    /// When its call ended.
    ended: i64,
}

impl Batch {
    /// Takes everything out of a lane; see [`Lane::take`].
    pub(crate) fn take(&mut self, lane: &Lane, spare: &mut Vec<Vec<u8>>, budget: &Budget) {
        let piece = self.pieces.len();
        lane.take(&mut self.pieces, spare, budget);
        if let Some(first) = self.pieces.get(piece) {
            self.heads.push(Head { piece, at: 0, end: self.pieces.len(), ended: ended(first) });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Copies the next records to the end of `out` until it has so many bytes, and puts buffers of which nothing is
    /// left to the end of `done`.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>, bytes: usize, done: &mut Vec<Vec<u8>>) {
        while out.len() < bytes {
            let Some(first) = (0..self.heads.len()).min_by_key(|at| self.heads[*at].ended) else { break };
            let head = &mut self.heads[first];
            let piece = &self.pieces[head.piece];
            // None is an end that does not come: a buffer has whole records.
            let record = each(&piece[head.at..]).next();
            out.extend_from_slice(record.unwrap_or_default());
            head.at = record.map_or(piece.len(), |record| head.at + record.len());
            if head.at == piece.len() {
                done.push(mem::take(&mut self.pieces[head.piece]));
                (head.piece, head.at) = (head.piece + 1, 0);
            }
            if head.piece == head.end {
                self.heads.remove(first);
            } else {
                head.ended = ended(&self.pieces[head.piece][head.at..]);
            }
        }
        if self.heads.is_empty() {
            self.pieces.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use portcullis_core::record::Record;
    use proptest::prelude::*;

    use super::*;
    use crate::line::tests::record;
    use crate::packed::{Packing, RecordView};

    proptest! {
        #[test]
        fn lanes_are_merged_by_when_their_calls_ended(
            lanes in prop::collection::vec(prop::collection::vec((0..1_000_u64, 0..1_000_u64, 0..20_000_usize), 0..40), 0..5),
            is_steady in any::<bool>(),
            bytes in 1..100_000_usize,
        ) {
            let (budget, mut taken, mut spare) = (Budget::new(usize::MAX), Batch::default(), Vec::new());
            let epoch = SystemTime::UNIX_EPOCH;
            let mut all = Vec::new();
            for (number, mut records) in lanes.into_iter().enumerate() {
                let lane = Lane::default();
                if is_steady {
                    records.sort_by_key(|(time, duration, _)| time + duration);
                }
                for (at, (time, duration, size)) in records.into_iter().enumerate() {
                    let record = Record {
                        time: epoch + Duration::from_micros(time) - Duration::from_micros(500),
                        duration: Duration::from_micros(duration),
                        path: "/".repeat(size).into(),
                        bytes_in: number as u64,
                        bytes_out: at as u64,
                        ..record(epoch)
                    };
                    assert!(lane.put(&Packing::of(&record), &budget));
                    all.push((time + duration, number as u64, at as u64));
                }
                taken.take(&lane, &mut spare, &budget);
            }
            let (mut found, mut done) = (Vec::new(), Vec::new());
            let total = all.len();
            while !taken.is_empty() {
                let mut out = Vec::new();
                taken.next(&mut out, bytes, &mut done);
                prop_assert!(!out.is_empty());
                found.extend(each(&out).filter_map(RecordView::unpack).map(|record| (record.bytes_in, record.bytes_out)));
            }
            prop_assert!(taken.pieces.is_empty());
            prop_assert_eq!(found.len(), total);
            for lane in 0..5 {
                let own: Vec<_> = found.iter().filter(|(of, _)| *of == lane).map(|(_, at)| *at).collect();
                prop_assert_eq!(&own, &(0..own.len() as u64).collect::<Vec<_>>(), "the order of a lane is kept");
            }
            if is_steady {
                all.sort_unstable();
                prop_assert_eq!(found, all.into_iter().map(|(_, lane, at)| (lane, at)).collect::<Vec<_>>());
            }
            // Each buffer comes back once, with everything that was in it.
            prop_assert_eq!(done.iter().map(|piece| each(piece).count()).sum::<usize>(), total);
        }
    }
}
