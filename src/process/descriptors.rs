//! File descriptors: as many as the system allows, and how they are shared out, so that whoever takes many of them leaves
//! enough for everything else.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a worker needs for itself.
const OF_WORKER: usize = 8;
/// What is kept for the admin API, the registry, logs, certificates and names, of a small limit and of a large one.
const KEPT: (usize, usize) = (4, 512);

/// What descriptors the process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// As many as it may have now.
    most: usize,
    /// As many as it might have had before.
    before: usize,
}

/// Who gets how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections of callers.
    pub(crate) callers: usize,
    /// Connections to services.
    pub(crate) services: usize,
    /// Connections to the admin API.
    pub(crate) admin: usize,
    /// Names that are resolved at once.
    pub(crate) lookups: usize,
}

impl Descriptors {
    /// Raises the limit as far as it goes without asking anybody.
    pub(crate) fn raise() -> Self {
        let number = |limit: Option<u64>| limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // What the system does not grant stays as it was.
        let is_raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        Self { most: number(if is_raised { maximum } else { current }), before: number(current) }
    }

    /// Shares out what is left beside what is open now, if callers may have so many connections at most. A call needs one
    /// to its service too, so callers get no more than half.
    pub(crate) fn share(&self, open: usize, workers: usize, callers: usize) -> Shares {
        let kept = (self.most / 8).clamp(KEPT.0, KEPT.1);
        let left = self.most.saturating_sub(open + kept + workers * OF_WORKER);
        let callers = callers.min(left / 2).max(1);
        let services = left.saturating_sub(callers).max(1);
        Shares { callers, services, admin: (kept / 2).max(2), lookups: (kept / 8).max(2) }
    }
}

/// How many are open. Where that cannot be seen, as many as there usually are.
pub(crate) fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count)
}

impl fmt::Display for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most == self.before {
            true => write!(f, "the process may have {} file descriptors", self.most),
            false => write!(f, "the process may have {} file descriptors, raised from {}", self.most, self.before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_what_others_need() {
        for most in [0, 16, 60, 120, 256, 1_024, 4_096, 65_536, 262_144, 1 << 30, usize::MAX] {
            for workers in [1, 2, 64] {
                for wanted in [1, 1_000, 100_000] {
                    let shares = Descriptors { most, before: most }.share(30, workers, wanted);
                    assert!(shares.callers >= 1 && shares.services >= 1 && shares.admin >= 2);
                    assert!(shares.callers <= wanted);
                    let all = shares.callers.saturating_add(shares.services).saturating_add(shares.admin);
                    let others = 30 + workers * OF_WORKER;
                    // So few that nothing can be shared out leave one for each.
                    assert!(all.saturating_add(others) <= most || shares.callers == 1, "{most}: {shares:?}");
                }
            }
        }
        let usual = Descriptors { most: 262_144, before: 1_024 }.share(40, 8, 100_000);
        assert_eq!(usual.callers, 100_000);
        assert!(usual.services > 100_000 && usual.admin == 256 && usual.lookups == 64);
    }
}
