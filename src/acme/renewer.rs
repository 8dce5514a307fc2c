//! Keeps the certificates of the hosts good: takes up what other nodes have obtained, and orders what is due if no other
//! node does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portcullis_core::ports::{Clock, RegistryError, Upkeep};
use portcullis_identity::MasterKey;
use portcullis_proxy::stage::Stage;
use portcullis_proxy::tls::{Obtained, Termination};
use tokio::sync::watch;

use super::certificate_store::{CertificateStore, Kept, LastError};
use super::challenge_store::ChallengeStore;
use super::lease::LeaderLease;
use super::report::Report;
use super::schedule;
use super::{CertificateRequest, ChallengeKind, Failure, Issued, Issuer};

/// How often one looks at what others have done.
const LOOK: Duration = Duration::from_secs(5);
/// How long one rests after a fault of the gateway's own.
const AFTER_FAULT: Duration = Duration::from_secs(60);
/// The lease of whoever orders.
const LEASE: &str = "acme";
/// What is wrong with a certificate that is no sooner there than it is to be renewed.
const DUE_AT_ONCE: &str =
    "the new certificate is to be renewed at once; this gateway's clock or the authority is wrong";

/// What it works with.
pub(crate) struct RenewerParts {
    /// The hosts that certificates are for.
    pub(crate) hosts: Vec<String>,
    /// The directory of the authority.
    pub(crate) directory: String,
    /// How the authority is convinced, the best first; at least one.
    pub(crate) challenges: Vec<ChallengeKind>,
    /// Where certificates are kept.
    pub(crate) registry: Arc<dyn Upkeep>,
    /// Seals them.
    pub(crate) master: Arc<MasterKey>,
    /// The time of day.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whoever issues them.
    pub(crate) issuer: Arc<dyn Issuer>,
    /// What the authority is to find.
    pub(crate) board: Arc<ChallengeStore>,
    /// Where they are shown.
    pub(crate) tls: Arc<Termination>,
    /// Where one can see how it goes.
    pub(crate) report: Arc<Report>,
}

/// Keeps the certificates good.
pub(crate) struct Renewer {
    parts: RenewerParts,
    shelf: CertificateStore,
    lease: Arc<LeaderLease>,
    /// The order that is under way: for which host, when it began, and what was known before.
    under_way: Option<(usize, u64, Kept)>,
}

impl Renewer {
    /// Takes up what is kept, without asking anybody for more.
    pub(crate) async fn start(parts: RenewerParts) -> Result<Self, RegistryError> {
        let shelf = CertificateStore::new(&parts.hosts, Arc::clone(&parts.registry), Arc::clone(&parts.master));
        let lease = Arc::new(LeaderLease::new(LEASE, Arc::clone(&parts.registry), Arc::clone(&parts.clock)));
        let mut renewer = Self { parts, shelf, lease, under_way: None };
        renewer.refresh().await?;
        Ok(renewer)
    }

    /// Goes on until the gateway stops. Work that is under way then ends where it stands.
    pub(crate) async fn run(mut self, mut stage: watch::Receiver<Stage>) {
        loop {
            // What an order was about is kept before it begins, so that one that ends in a panic is a failure like others.
            let wait = match AssertUnwindSafe(self.step(&mut stage)).catch_unwind().await {
                Ok(Ok(due)) => Duration::from_millis(due.saturating_sub(self.now())).min(LOOK),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "certificates could not be looked after");
                    LOOK
                }
                Err(_) => {
                    tracing::error!("looking after certificates has panicked; it goes on in a minute");
                    self.under_way = None;
                    self.parts.board.order_here(false);
                    AFTER_FAULT
                }
            };
            tokio::select! {
                () = stopped(&mut stage) => return,
                // Whatever is due, others get their turn.
                () = tokio::time::sleep(wait.max(Duration::from_millis(100))) => {}
            }
        }
    }

    /// Takes up what others have done, and does what is due. When there is something to do the next time.
    pub(super) async fn step(&mut self, stage: &mut watch::Receiver<Stage>) -> Result<u64, RegistryError> {
        self.refresh().await?;
        if self.due() > self.now() {
            return Ok(self.due());
        }
        let lease = Arc::clone(&self.lease);
        let Some(mut held) = lease.take().await? else { return Ok(u64::MAX) };
        self.parts.board.order_here(true);
        let worked = held
            .during(async {
                tokio::select! {
                    () = stopped(stage) => Ok(()),
                    worked = self.work() => worked,
                }
            })
            .await;
        self.parts.board.order_here(false);
        if matches!(worked, Ok(Some(Ok(())))) {
            self.resume_later().await?;
        }
        held.release().await?;
        if let Some(worked) = worked? {
            worked?;
        } else {
            tracing::warn!("another node has taken over the ordering of certificates");
        }
        Ok(self.due())
    }

    fn now(&self) -> u64 {
        self.parts.clock.unix_millis()
    }

    /// Takes up what is kept.
    async fn refresh(&mut self) -> Result<(), RegistryError> {
        if self.shelf.refresh().await? {
            self.show().await;
        }
        self.publish();
        Ok(())
    }

    /// Has the listener show what is there. What is known of it is told first: nobody is to see it beside what was known before.
    async fn show(&self) {
        self.publish();
        let obtained: Vec<Obtained> = self.shelf.entries.iter().filter_map(|entry| entry.obtained.clone()).collect();
        let tls = Arc::clone(&self.parts.tls);
        match tokio::task::spawn_blocking(move || tls.take_obtained(obtained)).await {
            Ok(Ok(())) => {}
            Ok(Err(problems)) => {
                for problem in problems {
                    tracing::error!("{problem}; what was obtained is shown when this is good again");
                }
            }
            Err(error) => tracing::error!(%error, "showing certificates has failed"),
        }
    }

    fn publish(&self) {
        let (tls, now) = (&self.parts.tls, self.now());
        let (entries, directory) = (&self.shelf.entries, &self.parts.directory);
        self.parts.report.publish(entries, directory, now, |host| tls.has_file_for(host));
        let ordered = entries.iter().filter(|entry| !tls.has_file_for(&entry.host));
        let expected = ordered.map(|entry| entry.expected(directory, now)).min().unwrap_or(u64::MAX);
        self.parts.board.expect_from(expected.min(self.due()));
    }

    /// When there is something to do for some host.
    fn due(&self) -> u64 {
        (0..self.shelf.entries.len()).map(|position| self.due_for(position)).min().unwrap_or(u64::MAX)
    }

    fn due_for(&self, position: usize) -> u64 {
        let entry = &self.shelf.entries[position];
        if self.parts.tls.has_file_for(&entry.host) {
            return u64::MAX;
        }
        // Only an authority that is still asked at all is asked for its word on what it has issued.
        let can_ask = entry.obtained.is_some() && entry.kept.directory == self.parts.directory;
        let now = self.now();
        let ask_at = entry.kept.ask_at.filter(|_| can_ask).map_or(u64::MAX, |ask_at| schedule::believed(ask_at, now));
        entry.due(&self.parts.directory, now).min(ask_at)
    }

    /// Does what is due, one host after another. What one host fails with is no reason to leave the others.
    async fn work(&mut self) -> Result<(), RegistryError> {
        // It may have been done while the lease was waited for.
        self.refresh().await?;
        for position in 0..self.shelf.entries.len() {
            if self.due_for(position) > self.now() {
                continue;
            }
            self.ask(position).await?;
            if self.shelf.entries[position].due(&self.parts.directory, self.now()) <= self.now() {
                self.order(position).await?;
            }
            self.publish();
        }
        self.shelf.forget_old(self.now()).await
    }

    /// Asks the authority when it wants a certificate to be renewed, if it is time to.
    async fn ask(&mut self, position: usize) -> Result<(), RegistryError> {
        let (entry, now) = (&self.shelf.entries[position], self.now());
        let Some(obtained) = &entry.obtained else { return Ok(()) };
        if entry.kept.ask_at.is_none_or(|ask_at| schedule::believed(ask_at, now) > now)
            || entry.kept.directory != self.parts.directory
        {
            return Ok(());
        }
        let Some(certificate) = obtained.certificate() else { return Ok(()) };
        let mut kept = entry.kept.clone();
        match self.parts.issuer.window(certificate).await {
            Ok(Some((window, age))) => {
                if kept.window != Some(window) {
                    // Whatever the window is, it is renewed before it ends.
                    let (begin, end) = life(obtained);
                    let latest = end.saturating_sub((end - begin) / 20);
                    kept.renew_at = schedule::by_window(window, schedule::chance()).min(latest);
                    kept.window = Some(window);
                }
                kept.ask_at = Some(now.saturating_add(schedule::window_age(millis(age))));
            }
            Ok(None) => kept.ask_at = None,
            Err(failure) => {
                tracing::info!(host = %entry.host, reason = %failure.detail, "nobody says when a certificate is to be renewed");
                kept.ask_at = Some(now.saturating_add(schedule::window_retry(failure.retry_after.map(millis))));
            }
        }
        self.shelf.keep(position, kept).await.map(drop)
    }

    /// Keeps that an order begins, as one that has failed: whatever becomes of it, the next comes no sooner. False if that
    /// is not to be kept because somebody else was faster.
    async fn begin(&mut self, position: usize) -> Result<bool, RegistryError> {
        let (before, now) = (self.shelf.entries[position].kept.clone(), self.now());
        let failures = before.failures.saturating_add(1);
        let not_before = now.saturating_add(schedule::after_failures(failures, None, 0.0));
        let kept = Kept { failures, not_before, began_at: Some(now), ..before.clone() };
        let is_kept = self.shelf.keep(position, kept).await?;
        self.under_way = is_kept.then_some((position, now, before));
        Ok(is_kept)
    }

    /// An order that a stop has broken off is no failure. Yet somebody who stops again and again does not order each time.
    async fn resume_later(&mut self) -> Result<(), RegistryError> {
        let Some((position, began_at, before)) = self.under_way.take() else { return Ok(()) };
        let not_before = before.not_before.max(began_at.saturating_add(schedule::REST));
        self.shelf.keep(position, Kept { not_before, ..before }).await.map(drop)
    }

    /// Orders a certificate and shows it; or notes why there is none.
    async fn order(&mut self, position: usize) -> Result<(), RegistryError> {
        let challenge = self.challenge_for(&self.shelf.entries[position].kept);
        if !self.begin(position).await? {
            return Ok(());
        }
        let failures = self.shelf.entries[position].kept.failures;
        let entry = &self.shelf.entries[position];
        let replaces = entry.obtained.as_ref().filter(|_| entry.kept.directory == self.parts.directory);
        let wanted =
            CertificateRequest { host: &entry.host, challenge, replaces: replaces.and_then(Obtained::certificate) };
        let issued = self.parts.issuer.issue(wanted).await.and_then(|issued| {
            let read = Obtained::read(&entry.host, &issued.chain, &issued.key);
            let unusable = |problem| Failure::new(format!("the certificate that was issued cannot be used: {problem}"));
            read.map(|obtained| (issued, obtained)).map_err(unusable)
        });
        self.under_way = None;
        match issued {
            Ok((issued, obtained)) => self.take(position, challenge, &issued, obtained).await?,
            Err(failure) => {
                tracing::warn!(
                    host = %entry.host, reason = %failure.detail, failures, "no certificate could be obtained"
                );
                return self.note(position, failures, failure).await;
            }
        }
        // A new certificate may be one that its authority wants to have back soon.
        self.ask(position).await?;
        let entry = &self.shelf.entries[position];
        if entry.kept.renew_at <= self.now().saturating_add(schedule::REST) {
            tracing::warn!(host = %entry.host, failures, "{DUE_AT_ONCE}");
            return self.note(position, failures, Failure::new(DUE_AT_ONCE)).await;
        }
        Ok(())
    }

    /// What convinced the authority the last time, then what stands in the settings; after each failure the next.
    fn challenge_for(&self, kept: &Kept) -> ChallengeKind {
        let known = kept.convinced_by().filter(|known| self.parts.challenges.contains(known));
        let others = self.parts.challenges.iter().copied().filter(|kind| Some(*kind) != known);
        let order: Vec<ChallengeKind> = known.into_iter().chain(others).collect();
        order[kept.failures as usize % order.len()]
    }

    async fn take(
        &mut self,
        position: usize,
        challenge: ChallengeKind,
        issued: &Issued,
        obtained: Obtained,
    ) -> Result<(), RegistryError> {
        let (begin, end) = life(&obtained);
        let mut kept = Kept {
            directory: self.parts.directory.clone(),
            renew_at: schedule::by_lifetime(begin, end, schedule::chance()),
            ask_at: Some(0),
            not_before: self.now().saturating_add(schedule::REST),
            ..Kept::default()
        };
        kept.set_convinced_by(challenge);
        let (host, leaf) = (self.shelf.entries[position].host.clone(), obtained.leaf.clone());
        if self.shelf.keep_issued(position, issued, obtained, kept).await? {
            tracing::info!(%host, serial = %leaf.serial, not_after = leaf.not_after, "a certificate was obtained");
            self.show().await;
        }
        Ok(())
    }

    /// Keeps why an order has failed, as so many before it, and until when there is no other.
    async fn note(&mut self, position: usize, failures: u32, failure: Failure) -> Result<(), RegistryError> {
        let (entry, now) = (&self.shelf.entries[position], self.now());
        let wait = schedule::after_failures(failures, failure.retry_after.map(millis), schedule::chance());
        let last_error = Some(LastError { at: now, detail: failure.detail });
        let not_before = now.saturating_add(wait);
        let kept = Kept { failures, not_before, began_at: None, last_error, ..entry.kept.clone() };
        self.shelf.keep(position, kept).await.map(drop)
    }
}

/// From when until when a certificate is good, in milliseconds of Unix time.
fn life(obtained: &Obtained) -> (u64, u64) {
    let millis = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    let begin = millis(obtained.leaf.not_before);
    (begin, millis(obtained.leaf.not_after).max(begin))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn stopped(stage: &mut watch::Receiver<Stage>) {
    // A sender that is gone has stopped as well.
    let _ = stage.wait_for(|stage| *stage > Stage::Serving).await;
}
