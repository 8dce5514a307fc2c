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
use crate::connection::ConnectionState;

thread_local! {
    /// The connections of this worker that have shown one.
    static SHOWN: RefCell<Vec<(Weak<Certified>, Weak<ConnectionState>)>> = const { RefCell::new(Vec::new()) };
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
    pub(crate) fn watch(self: &Arc<Self>, watch: &Arc<ConnectionState>) {
        SHOWN.with_borrow_mut(|shown| shown.push((Arc::downgrade(self), Arc::downgrade(watch))));
    }
}

/// The connections of this worker whose certificates are to be judged again.
pub(crate) fn due(tls: &Termination, now: i64) -> Vec<(Arc<Certified>, Arc<ConnectionState>)> {
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use portcullis_core::memory::ManualClock;
    use portcullis_core::ports::{Clock, SystemClock};
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::tls::{CertificateFiles, ClientCertificates, Settings};

    const DAY: i64 = 86_400;

    /// An authority and a client, whose certificate is good for two days from yesterday on.
    struct Cast {
        directory: tempfile::TempDir,
        clock: Arc<ManualClock>,
        tls: Termination,
        now: i64,
    }

    fn openssl(directory: &Path, line: &str) {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(directory).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn authority(directory: &Path, name: &str) {
        let kind = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(directory, &format!("req -x509 {kind} -days 30 -subj /CN={name} -keyout ca.key -out ca.pem"));
    }

    impl Cast {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let place = directory.path();
            authority(place, "first");
            let kind = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
            openssl(place, &format!("req {kind} -subj /CN=shop -keyout shop.key -out shop.csr"));
            std::fs::write(place.join("leaf"), "basicConstraints = CA:FALSE\n").expect("written");
            let sign = "x509 -req -in shop.csr -CA ca.pem -CAkey ca.key -CAcreateserial";
            openssl(place, &format!("{sign} -extfile leaf -days 2 -out shop.pem"));
            let file = |name: &str| -> PathBuf { place.join(name) };
            let now = i64::try_from(SystemClock.unix_millis() / 1_000).expect("a time");
            let clock = Arc::new(ManualClock::at(now.unsigned_abs()));
            let settings = Settings {
                certificates: vec![CertificateFiles { certificate: file("shop.pem"), key: file("shop.key") }],
                client_certificates: ClientCertificates::Required,
                client_ca: Some(file("ca.pem")),
                ..Settings::default()
            };
            let tls = Termination::open(settings, clock.clone()).expect("good");
            Self { directory, clock, tls, now }
        }

        /// What was good in a handshake just now.
        fn shown(&self) -> Certified {
            let chain = CertificateDer::from_pem_file(self.directory.path().join("shop.pem")).expect("PEM");
            Certified::new(&[chain], self.tls.generation.load(Acquire), self.now).expect("readable")
        }
    }

    #[test]
    fn a_certificate_is_good_until_its_end_and_never_after() {
        let cast = Cast::new();
        let shown = cast.shown();
        for at in [0, 1, DAY, 2 * DAY - 60] {
            assert!(cast.tls.admits(&shown, cast.now + at), "{at}");
        }
        assert!(!cast.tls.admits(&shown, cast.now + 2 * DAY + 60));
        assert!(shown.facts().has_ended());
        assert!(!cast.tls.admits(&shown, cast.now), "whatever the clock is set to afterwards");
        let early = cast.shown();
        assert!(!cast.tls.admits(&early, cast.now - DAY), "before its beginning");
        assert_eq!(cast.clock.unix_millis() / 1_000, cast.now.unsigned_abs(), "no clock is asked");
    }

    #[test]
    fn what_has_been_read_anew_is_what_it_is_judged_by() {
        let cast = Cast::new();
        let (shown, other) = (cast.shown(), cast.shown());
        cast.tls.reload().expect("good");
        assert!(!shown.is_judged(cast.tls.generation.load(Acquire), cast.now));
        assert!(cast.tls.admits(&shown, cast.now), "the same authority");
        assert!(shown.is_judged(cast.tls.generation.load(Acquire), cast.now), "and not asked again for each call");
        authority(cast.directory.path(), "second");
        assert!(cast.tls.admits(&shown, cast.now), "what is in the files is not read for a call");
        cast.tls.reload().expect("good");
        assert!(!cast.tls.admits(&shown, cast.now) && !cast.tls.admits(&other, cast.now));
        assert!(shown.facts().has_ended());
    }

    #[test]
    fn connections_are_looked_at_as_long_as_they_stand() {
        let cast = Cast::new();
        let due = || due(&cast.tls, cast.now).len();
        let kept: Vec<_> = (0..3).map(|_| (Arc::new(cast.shown()), ConnectionState::new(1))).collect();
        kept.iter().for_each(|(shown, watch)| shown.watch(watch));
        assert_eq!(due(), 0, "nothing has changed");
        cast.tls.reload().expect("good");
        assert_eq!(due(), 3);
        assert!(cast.tls.admits(&kept[0].0, cast.now));
        kept[1].0.facts().end();
        assert_eq!(due(), 1);
        drop(kept);
        assert!(due() == 0 && SHOWN.with_borrow(Vec::is_empty));
    }
}
