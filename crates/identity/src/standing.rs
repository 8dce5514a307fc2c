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
