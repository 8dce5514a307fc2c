//! Whether those who were let in are still welcome: asked again and again for calls that go on for long.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::Ties;
use portcullis_core::directory::Directory;
use portcullis_core::jobs::{self, Jobs};
use portcullis_core::ports::Welcome;

use crate::Sessions;

/// Looks in the directory and among the sessions.
pub struct Standing {
    directory: Arc<Directory>,
    sessions: Arc<Sessions>,
    jobs: Arc<dyn Jobs>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

impl Standing {
    /// By this directory and these sessions; `jobs` reads those from the registry that are not remembered.
    pub fn new(directory: Arc<Directory>, sessions: Arc<Sessions>, jobs: Arc<dyn Jobs>) -> Self {
        Self { directory, sessions, jobs }
    }
}

#[async_trait]
impl Welcome for Standing {
    async fn stands(&self, ties: &Ties) -> bool {
        let known = self.directory.read(|entries| {
            ties.key.is_none_or(|key| entries.holder(&key).is_some())
                && [&ties.client, &ties.certified].into_iter().flatten().all(|client| entries.client(client).is_some())
        });
        let Some(session) = ties.session.filter(|session| known && self.sessions.cached(*session).is_none()) else {
            return known;
        };
        let sessions = Arc::clone(&self.sessions);
        let fetched = jobs::run(&self.jobs, async move { sessions.fetch(session).await }).await;
        // A registry that is busy has taken nothing back.
        !matches!(fetched, Ok(Ok(None)))
    }
}
