//! Whether those who were let in are still welcome: asked again and again for calls that go on for long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portcullis_core::call::Ties;
use portcullis_core::directory::Directory;
use portcullis_core::jobs::{self, Jobs};
use portcullis_core::ports::{Clock, Welcome};

use crate::login::last_end;
use crate::{LiveSession, Sessions};

/// Looks in the directory and among the sessions.
pub struct Standing {
    directory: Arc<Directory>,
    sessions: Arc<Sessions>,
    jobs: Arc<dyn Jobs>,
    clock: Arc<dyn Clock>,
    session_ttl: Duration,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

impl Standing {
    /// By this directory and these sessions, which last so long (zero: for ever); `jobs` reads those from the registry that
    /// are not remembered.
    pub fn new(
        directory: Arc<Directory>,
        sessions: Arc<Sessions>,
        jobs: Arc<dyn Jobs>,
        clock: Arc<dyn Clock>,
        session_ttl: Duration,
    ) -> Self {
        Self { directory, sessions, jobs, clock, session_ttl }
    }

    fn lasts(&self, session: &LiveSession) -> bool {
        self.clock.unix_millis() < last_end(self.session_ttl, session.created_at)
    }
}

#[async_trait]
impl Welcome for Standing {
    async fn stands(&self, ties: &Ties) -> bool {
        let is_over = |until| self.clock.unix_millis() / 1_000 >= until;
        if ties.until.is_some_and(is_over) {
            return false;
        }
        let known = self.directory.read(|entries| {
            ties.key.is_none_or(|key| entries.holder(&key).is_some())
                && [&ties.client, &ties.certified].into_iter().flatten().all(|client| entries.client(client).is_some())
        });
        let Some(session) = ties.session.filter(|_| known) else { return known };
        if let Some(session) = self.sessions.cached(session) {
            return self.lasts(&session);
        }
        let sessions = Arc::clone(&self.sessions);
        match jobs::run(&self.jobs, async move { sessions.fetch(session).await }).await {
            Ok(Ok(found)) => found.is_some_and(|session| self.lasts(&session)),
            // A registry that is busy has taken nothing back.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::jobs::{Job, QueueFull};
    use portcullis_core::memory::{ManualClock, MemoryRegistry};
    use portcullis_core::ports::SessionId;

    use super::*;
    use crate::testing::session;

    struct Control;

    impl Jobs for Control {
        fn submit(&self, job: Job) -> Result<(), QueueFull> {
            tokio::spawn(job);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_call_is_let_go_on_as_long_as_a_token_of_another_issuer_lasts() {
        let clock = Arc::new(ManualClock::at(99));
        let sessions = Arc::new(Sessions::new(Arc::new(MemoryRegistry::default()), 1 << 20));
        let (directory, time) = (Arc::new(Directory::default()), Arc::<ManualClock>::clone(&clock));
        let standing = Standing::new(directory, sessions, Arc::new(Control), time, Duration::ZERO);
        let ties = Ties { until: Some(100), ..Ties::default() };
        assert!(standing.stands(&ties).await);
        clock.advance(Duration::from_secs(1));
        assert!(!standing.stands(&ties).await);
    }

    #[tokio::test]
    async fn a_call_is_let_go_on_as_long_as_its_session_lasts() {
        for (ttl, remembered, stands) in [(100, true, false), (100, false, false), (0, true, true), (0, false, true)] {
            let registry = Arc::new(MemoryRegistry::default());
            let opened = session(SessionId([1; 16]), "ada", "{}");
            let (id, live) = (opened.id, Arc::new(LiveSession::from(&opened)));
            portcullis_core::ports::Registry::open_session(registry.as_ref(), opened, 9, Vec::new()).await.expect("in");
            let sessions = Arc::new(Sessions::new(registry, 1 << 20));
            if remembered {
                sessions.remember(&live, sessions.epoch(id));
            }
            let clock = Arc::new(ManualClock::at(99));
            let directory = Arc::new(Directory::default());
            let (time, ttl) = (Arc::<ManualClock>::clone(&clock), Duration::from_secs(ttl));
            let standing = Standing::new(directory, sessions, Arc::new(Control), time, ttl);
            let ties = Ties { session: Some(id), ..Ties::default() };
            assert!(standing.stands(&ties).await, "{ttl:?}");
            clock.advance(Duration::from_secs(1));
            assert_eq!(standing.stands(&ties).await, stands, "{ttl:?}, remembered: {remembered}");
        }
    }
}
