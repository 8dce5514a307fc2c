//! Header compression bombs (HPACK, QPACK): how much larger the fields that come over one connection may be than the bytes
//! they come in.
//!
//! HPACK and QPACK let a caller name in a byte what it has said before, or what stands in a table that everybody has. So a
//! few kilobytes could become megabytes towards a service and in the log. Callers are told to remember nothing (the
//! dynamic table of HTTP/2 has no room, HTTP/3 here has none), but one that does not obey is still understood. What this
//! counts holds whatever the caller does.

use portcullis_core::message::Fields;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{Method, Uri};

/// Bytes of fields that may come in no bytes at all: what a caller sends before it knows what it was told.
pub const AHEAD: u64 = 64 << 10;
/// Bytes of fields for each byte that has come. Text in Huffman's code becomes 1.6 times as long, and a request of few
/// and common fields, without a table of one's own, some 4 times.
pub const FOR_EACH: u64 = 8;

/// What has come over a connection, and what it has become. Written on one thread.
#[derive(Debug, Default)]
pub struct Expansion {
    received: AtomicU64,
    expanded: AtomicU64,
}

impl Expansion {
    /// So many more bytes have come.
    pub fn receive(&self, bytes: usize) {
        self.received.store(self.received.load(Relaxed) + bytes as u64, Relaxed);
    }

    /// So many bytes have come in all.
    #[cfg(feature = "http3")]
    pub fn has_received(&self, bytes: u64) {
        self.received.store(bytes, Relaxed);
    }

    /// They have become so many bytes more of fields. False if that is more than they may.
    #[must_use]
    pub fn admits(&self, bytes: usize) -> bool {
        let expanded = self.expanded.load(Relaxed).saturating_add(bytes as u64);
        self.expanded.store(expanded, Relaxed);
        expanded <= self.received.load(Relaxed).saturating_mul(FOR_EACH).saturating_add(AHEAD)
    }
}

/// Bytes of the head of a request, as they would stand in HTTP/1.1.
pub fn of_request(method: &Method, uri: &Uri, headers: Fields<'_>) -> usize {
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    method.as_str().len() + target + authority + of_fields(headers)
}

/// Bytes of fields.
pub fn of_fields(headers: Fields<'_>) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_somewhat_larger_than_what_they_come_in() {
        let expansion = Expansion::default();
        assert!(expansion.admits(AHEAD as usize));
        assert!(!expansion.admits(1), "there is no more ahead");
        expansion.receive(1_000);
        assert!(expansion.admits(7_999));
        assert!(!expansion.admits(1));
        // Whoever sends what it says is never refused.
        let honest = Expansion::default();
        for _ in 0..10_000 {
            honest.receive(700);
            assert!(honest.admits(1_200));
        }
        assert!(!honest.admits(usize::MAX));
        assert!(!honest.admits(1), "nothing wraps");
    }
}
