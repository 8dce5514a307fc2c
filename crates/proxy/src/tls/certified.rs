//! Client certificates of connections that stand. What was good in the handshake is looked at again when roots or
//! revocation lists are others than then, and when the time of one of its certificates is up: until then a call costs two
//! comparisons.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_core::call::ClientCertificate;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::{Termination, certificates};
use crate::connection::Watch;

thread_local! {
    /// The connections of this worker that have shown one.
    static SHOWN: RefCell<Vec<(Weak<Certified>, Weak<Watch>)>> = const { RefCell::new(Vec::new()) };
}

/// What a client has shown on a connection.
#[derive(Debug)]
pub struct Certified {
    facts: Arc<ClientCertificate>,
    chain: Vec<CertificateDer<'static>>,
    /// Which material it was judged by last.
    judged_by: AtomicU64,
    /// Between which moments, in seconds of Unix time, no certificate of the chain begins or ends.
    since: AtomicI64,
    until: AtomicI64,
}

impl Certified {
    /// What was found good at a moment by this material. None if it cannot be read.
    pub(super) fn new(chain: &[CertificateDer<'_>], judged_by: u64, now: i64) -> Option<Self> {
        let facts = Arc::new(certificates::client(chain.first()?)?);
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let (since, until) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
        let certified = Self { facts, chain, judged_by: AtomicU64::new(judged_by), since, until };
        certified.note_judgement(judged_by, now);
        Some(certified)
    }

    /// Who it is for, and which it is.
    pub fn facts(&self) -> &Arc<ClientCertificate> {
        &self.facts
    }

    fn note_judgement(&self, judged_by: u64, now: i64) {
        let (mut since, mut until) = (i64::MIN, i64::MAX);
        for (begin, end) in self.chain.iter().filter_map(certificates::validity) {
            for moment in [begin, end.saturating_add(1)] {
                if moment <= now {
                    since = since.max(moment);
                } else {
                    until = until.min(moment);
                }
            }
        }
        self.since.store(since, Relaxed);
        self.until.store(until, Relaxed);
        self.judged_by.store(judged_by, Relaxed);
    }

    fn is_judged(&self, by: u64, now: i64) -> bool {
        self.judged_by.load(Relaxed) == by && (self.since.load(Relaxed)..self.until.load(Relaxed)).contains(&now)
    }

    /// Has this worker look at it from now on, as long as its connection stands.
    pub(crate) fn watch(self: &Arc<Self>, watch: &Arc<Watch>) {
        SHOWN.with_borrow_mut(|shown| shown.push((Arc::downgrade(self), Arc::downgrade(watch))));
    }
}

/// The connections of this worker whose certificates are to be judged again.
pub(crate) fn due(tls: &Termination, now: i64) -> Vec<(Arc<Certified>, Arc<Watch>)> {
    let by = tls.generation.load(Acquire);
    SHOWN.with_borrow_mut(|shown| {
        shown.retain(|(certified, watch)| certified.strong_count() > 0 && watch.strong_count() > 0);
        let standing = shown.iter().filter_map(|(certified, watch)| Some((certified.upgrade()?, watch.upgrade()?)));
        standing.filter(|(certified, _)| !certified.is_judged(by, now) && !certified.facts.has_ended()).collect()
    })
}

impl Termination {
    /// Whether a certificate that was good in its handshake still is, `now` being in seconds of Unix time. One that is not
    /// stays so.
    pub fn admits(&self, certified: &Certified, now: i64) -> bool {
        if certified.facts.has_ended() {
            return false;
        }
        let generation = self.generation.load(Acquire);
        if certified.is_judged(generation, now) {
            return true;
        }
        let material = self.current.load();
        let Some((first, rest)) = certified.chain.split_first() else { return false };
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
        let judged = material.verifier.as_ref().map(|verifier| verifier.verify_client_cert(first, rest, moment));
        match judged {
            Some(Ok(_)) => {
                certified.note_judgement(generation, now);
                true
            }
            refused => {
                if let Some(Err(error)) = refused {
                    let fingerprint = &certified.facts.fingerprint;
                    tracing::info!(%fingerprint, %error, "a client certificate is not good any more: its connection ends");
                }
                certified.facts.end();
                false
            }
        }
    }
}
