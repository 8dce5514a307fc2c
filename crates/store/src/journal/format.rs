//! The bytes of the journal of nonces: records of a fixed size with a checksum (CRC-32 as in IEEE 802.3), and the head.

use std::ops::RangeInclusive;

use portcullis_core::memory::Nonce;

use super::boot::Boot;

/// Bytes of a record, and of the header of a file of them.
pub(super) const RECORD: usize = 56;
/// Bytes of a copy of the head in its file.
pub(super) const HEAD: usize = 4_096;
/// Spans of refused stamps that are kept at most; of more, the oldest become one.
pub(super) const MOST_HOLES: usize = 16;
/// Files that a head can name.
pub(super) const MOST_FILES: usize = (HEAD - FIXED) / PAIR - MOST_HOLES;

const FILE_MAGIC: &[u8; 8] = b"PCnonces";
const HEAD_MAGIC: &[u8; 8] = b"PCnonceh";
const VERSION: u32 = 1;
/// Bytes of a head before its lists, and of an element of these.
const FIXED: usize = 80;
const PAIR: usize = 16;

/// Puts the checksum of everything behind the first four bytes there.
fn sealed<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let sum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn is_sealed(bytes: &[u8]) -> bool {
    bytes.split_first_chunk().is_some_and(|(sum, rest)| u32::from_le_bytes(*sum) == crc32fast::hash(rest))
}

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

fn get(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |number| u64::from_le_bytes(*number))
}

/// The header of the file of a period.
pub(super) fn header(period: u64) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[8..16].copy_from_slice(FILE_MAGIC);
    bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
    put(&mut bytes, 16, period);
    sealed(bytes)
}

/// The record of a nonce.
pub(super) fn record(nonce: &Nonce) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[8..40].copy_from_slice(&nonce.key);
    put(&mut bytes, 40, nonce.owner);
    put(&mut bytes, 48, nonce.until);
    sealed(bytes)
}

/// The nonce of a record; none if it is damaged.
pub(super) fn nonce(bytes: &[u8; RECORD]) -> Option<Nonce> {
    let mut key = [0; 32];
    key.copy_from_slice(&bytes[8..40]);
    is_sealed(bytes).then(|| Nonce { key, owner: get(bytes, 40), until: get(bytes, 48) })
}

/// How the last process that wrote the journal has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It runs, or has crashed.
    Open,
    /// Everything is written and on the disk.
    Clean,
}

/// What is known of the journal as a whole, written anew with every round. Two copies in one file are written by turns, so
/// that a whole one is always there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the round.
    pub(super) round: u64,
    /// When it began, in Unix milliseconds: what was noted before is in the files.
    pub(super) written_at: u64,
    /// Nothing is known of what was to be taken until this second.
    pub(super) horizon: u64,
    /// The latest stamp that was noted.
    pub(super) latest: u64,
    /// Which start of the machine this was written in.
    pub(super) boot: Boot,
    pub(super) ending: Ending,
    /// The periods that have a file, and the bytes of it that are written.
    pub(super) files: Vec<(u64, u64)>,
    /// Stamps that are refused.
    pub(super) holes: Vec<RangeInclusive<u64>>,
}

impl Head {
    /// The copy as bytes. What is more than [`MOST_FILES`] and [`MOST_HOLES`] has no place in it.
    pub(super) fn to_bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let holes = self.holes.iter().take(MOST_HOLES).map(|hole| (*hole.start(), *hole.end()));
        let files = self.files.iter().take(MOST_FILES).copied();
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(HEAD_MAGIC);
        put(&mut bytes, 16, self.round);
        put(&mut bytes, 24, self.written_at);
        put(&mut bytes, 32, self.horizon);
        bytes[40..56].copy_from_slice(&self.boot.0);
        put(&mut bytes, 56, u64::from(self.ending == Ending::Clean));
        put(&mut bytes, 64, self.latest);
        put(&mut bytes, 72, (files.len() as u64) << 32 | holes.len() as u64);
        for (place, (one, other)) in bytes[FIXED..].chunks_exact_mut(PAIR).zip(holes.chain(files)) {
            put(place, 0, one);
            put(place, 8, other);
        }
        sealed(bytes)
    }

    /// Reads a copy; none if it is damaged, or of another version.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD] = bytes.first_chunk()?;
        let is_known = bytes[4..8] == VERSION.to_le_bytes() && bytes[8..16] == *HEAD_MAGIC;
        if !is_known || !is_sealed(bytes) {
            return None;
        }
        let counts = get(bytes, 72);
        let (files, holes) = ((counts >> 32) as usize, counts as u32 as usize);
        let mut pairs = bytes[FIXED..].chunks_exact(PAIR).map(|pair| (get(pair, 0), get(pair, 8)));
        let holes = pairs.by_ref().take(holes).map(|(from, to)| from..=to).collect();
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[40..56]);
        Some(Self {
            round: get(bytes, 16),
            written_at: get(bytes, 24),
            horizon: get(bytes, 32),
            latest: get(bytes, 64),
            boot: Boot(boot),
            ending: if get(bytes, 56) == 1 { Ending::Clean } else { Ending::Open },
            files: pairs.take(files).collect(),
            holes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            round: 7,
            written_at: 1_700_000_000_123,
            horizon: 1_699_999_999,
            latest: 1_700_000_600,
            boot: Boot([9; 16]),
            ending: Ending::Clean,
            files: (0..MOST_FILES as u64).map(|period| (period, period * 100)).collect(),
            holes: (0..MOST_HOLES as u64).map(|hole| hole * 10..=hole * 10 + 4).collect(),
        }
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn what_is_written_is_read_and_no_damage_goes_unseen() {
        let nonce = Nonce { key: [5; 32], owner: 77, until: 1_700_000_000 };
        let bytes = record(&nonce);
        assert_eq!(super::nonce(&bytes), Some(nonce));
        assert_ne!(header(3), header(4));
        let whole = head().to_bytes();
        assert_eq!(Head::read(&whole), Some(head()));
        for at in 0..RECORD {
            let mut bytes = bytes;
            bytes[at] ^= 0x10;
            assert_eq!(super::nonce(&bytes), None, "byte {at}");
        }
        for at in 0..HEAD {
            let mut bytes = whole;
            bytes[at] ^= 1;
            assert_eq!(Head::read(&bytes), None, "byte {at}");
        }
        assert_eq!(super::nonce(&[0; RECORD]), None);
        assert_eq!((Head::read(&[0; HEAD]), Head::read(&whole[..HEAD - 1]), Head::read(&[])), (None, None, None));
    }
}
