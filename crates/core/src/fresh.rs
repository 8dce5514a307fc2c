//! Bytes that nobody else has: of ids, traces and handshakes. They keep no secret.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    /// A random start and how far this thread has counted from it.
    static IDS: (u64, Cell<u64>) = {
        let random = RandomState::new();
        (random.hash_one(0), Cell::new(random.hash_one(1)))
    };
}

/// 16 bytes that no other call has; no secret.
#[inline]
pub fn bytes() -> [u8; 16] {
    let (start, count) = IDS.with(|(start, count)| {
        count.set(count.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        (*start, count.get())
    });
    let mut id = [0; 16];
    id[..8].copy_from_slice(&start.to_be_bytes());
    id[8..].copy_from_slice(&count.to_be_bytes());
    id
}
