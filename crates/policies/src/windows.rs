//! For how long a signed request would pass, on whatever route: it is noted for that long.
//!
//! Routes have windows of their own, and what chooses a route is not always signed. So a request is noted until it would
//! pass nowhere on this node. Where a window becomes wider than any before, what was noted under the narrower ones may be
//! forgotten already: signatures from before that time pass no more. What was wider in a former life of the process is not
//! known, so after a start the windows by default are taken for those of before.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The widest windows, in seconds, and from when on signatures count.
#[derive(Debug)]
pub struct Windows {
    fo: Widest,
    api: Widest,
    http: Widest,
}

/// A way to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// fomalhaut's dialect `fo`.
    Fo,
    /// fomalhaut's dialect `api`.
    Api,
    /// RFC 9421.
    Http,
}

#[derive(Debug)]
struct Widest {
    seconds: AtomicU64,
    /// Unix seconds.
    since: AtomicU64,
}

impl Widest {
    fn new(seconds: u64) -> Self {
        Self { seconds: AtomicU64::new(seconds), since: AtomicU64::new(0) }
    }
}

/// The windows by default: no route remembers for less.
impl Default for Windows {
    fn default() -> Self {
        Self { fo: Widest::new(600), api: Widest::new(3_600), http: Widest::new(360) }
    }
}

impl Windows {
    fn of(&self, scheme: Scheme) -> &Widest {
        match scheme {
            Scheme::Fo => &self.fo,
            Scheme::Api => &self.api,
            Scheme::Http => &self.http,
        }
    }

    /// A route has this window, from now on, in Unix seconds.
    pub(crate) fn widen(&self, scheme: Scheme, seconds: u64, now: u64) {
        let widest = self.of(scheme);
        let before = widest.seconds.fetch_max(seconds, SeqCst);
        if before < seconds {
            widest.since.fetch_max(now.saturating_sub(before), SeqCst);
        }
    }

    /// Until when a request signed then would pass on some route; none if nobody could say whether it has passed before.
    pub(crate) fn until(&self, scheme: Scheme, stamp: u64) -> Option<u64> {
        let widest = self.of(scheme);
        let until = stamp.saturating_add(widest.seconds.load(SeqCst));
        (stamp >= widest.since.load(SeqCst)).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_somewhere_is_noted_for_as_long() {
        let windows = Windows::default();
        windows.widen(Scheme::Fo, 600, 10_000);
        windows.widen(Scheme::Fo, 1, 10_000);
        assert_eq!(windows.until(Scheme::Fo, 9_500), Some(10_100), "the widest counts, whichever route it is");
        assert_eq!(windows.until(Scheme::Api, 9_500), Some(13_100), "each way to sign by itself");
        windows.widen(Scheme::Fo, 3_600, 20_000);
        assert_eq!(windows.until(Scheme::Fo, 19_399), None, "what was noted then is forgotten");
        assert_eq!(windows.until(Scheme::Fo, 19_400), Some(23_000));
        windows.widen(Scheme::Fo, 600, 30_000);
        assert_eq!(windows.until(Scheme::Fo, 19_400), Some(23_000), "it never becomes narrower");
    }
}
