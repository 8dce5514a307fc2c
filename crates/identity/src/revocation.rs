//! Revocation: whether those who were let in are still welcome, asked again and again for calls that go on for long.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{AdmittedBy, SignedBy};
use portcullis_core::directory::{Directory, Entries};
use portcullis_core::jobs::{self, Class, Jobs};
use portcullis_core::model::SecretUse;
use portcullis_core::ports::{Clock, Welcome};

use crate::Sessions;

/// Looks in the directory and among the sessions.
pub struct Revocations {
    directory: Arc<Directory>,
    sessions: Arc<Sessions>,
    jobs: Arc<dyn Jobs>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revocations")
    }
}

impl Revocations {
    /// By this directory and these sessions; `jobs` reads those from the registry that are not remembered.
    pub fn new(directory: Arc<Directory>, sessions: Arc<Sessions>, jobs: Arc<dyn Jobs>, clock: Arc<dyn Clock>) -> Self {
        Self { directory, sessions, jobs, clock }
    }
}

/// Whether a client could sign with this secret or key today.
fn still_signs(entries: &Entries, signed: &SignedBy, now: u64) -> bool {
    let Some(client) = entries.client(&signed.client) else { return false };
    client.key(&signed.key).is_some() || client.secrets_for(SecretUse::Sign, now).any(|secret| secret.id == signed.key)
}

#[async_trait]
impl Welcome for Revocations {
    async fn stands(&self, admitted_by: &AdmittedBy) -> bool {
        let now = self.clock.unix_millis();
        let is_over = |until| now / 1_000 >= until;
        if admitted_by.until.is_some_and(is_over) {
            return false;
        }
        let known = self.directory.read(|entries| {
            admitted_by.key.is_none_or(|key| entries.holder(&key).is_some())
                && [&admitted_by.client, &admitted_by.certified]
                    .into_iter()
                    .flatten()
                    .all(|client| entries.client(client).is_some())
                && admitted_by.signed.as_ref().is_none_or(|signed| still_signs(entries, signed, now))
        });
        let Some(session) = admitted_by.session.filter(|_| known) else { return known };
        if self.sessions.cached(session).is_some() {
            return true;
        }
        let sessions = Arc::clone(&self.sessions);
        match jobs::run(&self.jobs, Class::Sessions, async move { sessions.fetch(session).await }).await {
            Ok(Ok(found)) => found.is_some(),
            // A registry that is busy has taken nothing back, but a time that is over is over.
            _ => !self.sessions.has_run_out(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::jobs::{Job, QueueFull};
    use portcullis_core::memory::{ManualClock, MemoryRegistry};
    use portcullis_core::ports::{Beside, Session, SessionId};
    use std::time::Duration;

    use super::*;
    use crate::LiveSession;
    use crate::testing::{Control, session};

    /// Has never room.
    struct Busy;

    impl Jobs for Busy {
        fn submit(&self, _: Class, _: Job) -> Result<(), QueueFull> {
            Err(QueueFull)
        }
    }

    #[tokio::test]
    async fn a_call_is_let_go_on_as_long_as_a_token_of_another_issuer_lasts() {
        let clock = Arc::new(ManualClock::at(99));
        let registry = Arc::new(MemoryRegistry::default());
        let sessions = Arc::new(Sessions::new(registry, clock.clone(), Duration::ZERO, 1 << 20));
        let (directory, time) = (Arc::new(Directory::default()), Arc::<ManualClock>::clone(&clock));
        let standing = Revocations::new(directory, sessions, Arc::new(Control), time);
        let admitted_by = AdmittedBy { until: Some(100), ..AdmittedBy::default() };
        assert!(standing.stands(&admitted_by).await);
        clock.advance(Duration::from_secs(1));
        assert!(!standing.stands(&admitted_by).await);
    }

    #[tokio::test]
    async fn a_call_is_let_go_on_as_long_as_its_session_lasts() {
        let (long, never) = (u64::MAX, 0);
        for (ttl, expires_at, remembered, busy, stands) in [
            (100, long, true, false, false),
            (100, long, false, false, false),
            (100, long, true, true, false),
            (never, long, true, false, true),
            (never, long, false, false, true),
            (never, long, true, true, true),
            (never, 100_000, true, false, false),
            (never, 100_000, false, false, false),
            (never, 100_000, true, true, false),
            // Nobody can tell.
            (never, 100_000, false, true, true),
        ] {
            let registry = Arc::new(MemoryRegistry::default());
            let opened = Session { expires_at, ..session(SessionId([1; 16]), "ada", "{}") };
            let (id, live) = (opened.id, Arc::new(LiveSession::from(&opened)));
            portcullis_core::ports::Sessions::open_session(registry.as_ref(), opened, Beside::at_most(9), Vec::new())
                .await
                .expect("in");
            let (clock, lasts) = (Arc::new(ManualClock::at(99)), Duration::from_secs(ttl));
            let sessions = Arc::new(Sessions::new(registry, clock.clone(), lasts, 1 << 20));
            if remembered {
                sessions.remember(&live, sessions.epoch(id));
            }
            let jobs: Arc<dyn Jobs> = if busy { Arc::new(Busy) } else { Arc::new(Control) };
            let directory = Arc::new(Directory::default());
            let standing = Revocations::new(directory, sessions, jobs, clock.clone());
            let admitted_by = AdmittedBy { session: Some(id), ..AdmittedBy::default() };
            assert!(standing.stands(&admitted_by).await, "{ttl:?}");
            clock.advance(Duration::from_secs(1));
            assert_eq!(standing.stands(&admitted_by).await, stands, "{ttl} {expires_at} {remembered} {busy}");
        }
    }
}
