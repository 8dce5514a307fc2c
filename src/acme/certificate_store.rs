//! Certificate store: certificates that ACME obtained, as the registry keeps them: sealed, one row for each host, with the
//! renewal status. A row changes by comparing and setting alone.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::ports::{Expect, Kind, RegistryError, Row, Upkeep, Write};
use portcullis_identity::MasterKey;
use portcullis_proxy::tls::Obtained;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::row::put_over;
use super::schedule::believed;
use super::{ChallengeKind, Issued, Window};

/// How long after its renewal was due a certificate that nobody wants is forgotten: half a year, in milliseconds.
const FORGET: u64 = 180 * 86_400 * 1_000;
/// How long what has begun may be under way: longer than an order may take, in milliseconds.
const LONGEST_ORDER: u64 = 600 * 1_000;

/// What is known of a host's certificate. Times are Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Chain and key, sealed, in Base64.
    pub(super) sealed: Option<String>,
    /// The directory of the authority it is from.
    pub(super) directory: String,
    /// When it is to be renewed.
    pub(super) renew_at: u64,
    /// When its authority wants it to be.
    pub(super) window: Option<Window>,
    /// When the authority is asked about that the next time; none: it does not say.
    pub(super) ask_at: Option<u64>,
    /// Orders that have failed since the last that did not.
    pub(super) failures: u32,
    /// Before when nothing is ordered.
    pub(super) not_before: u64,
    /// When the order began that is under way, or that was when its node died.
    pub(super) began_at: Option<u64>,
    /// What the last failure was.
    pub(super) last_error: Option<LastError>,
    /// How the authority was convinced the last time.
    pub(super) convinced_by: Option<String>,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastError {
    /// When it was, in Unix milliseconds.
    pub(super) at: u64,
    /// What the authority said, or what kept it from saying anything.
    pub(super) detail: String,
}

impl Kept {
    /// What convinced the authority the last time it was asked.
    pub(super) fn convinced_by(&self) -> Option<ChallengeKind> {
        self.convinced_by.as_deref().and_then(|word| word.parse().ok())
    }

    /// Notes what has.
    pub(super) fn set_convinced_by(&mut self, kind: ChallengeKind) {
        self.convinced_by = Some(kind.as_str().to_owned());
    }
}

/// What is sealed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Content {
    chain: String,
    /// PKCS#8, in Base64.
    key: String,
}

/// A host with its certificate.
#[derive(Debug, Clone)]
pub(super) struct StoredCertificate {
    /// The host.
    pub(super) host: String,
    /// What is known.
    pub(super) kept: Kept,
    /// The certificate; none as long as there is none that can be used.
    pub(super) obtained: Option<Obtained>,
    /// The revision of the row, if there is one.
    revision: Option<u64>,
}

impl StoredCertificate {
    /// When a certificate is ordered for it the next time.
    pub(super) fn due(&self, directory: &str, now: u64) -> u64 {
        let is_wanted = self.obtained.is_some() && self.kept.directory == directory;
        let renew_at = if is_wanted { self.kept.renew_at } else { 0 };
        renew_at.max(believed(self.kept.not_before, now))
    }

    /// When an order begins for it on whichever node, or when the one has begun that may be under way.
    pub(super) fn expected(&self, directory: &str, now: u64) -> u64 {
        let may_go_on = |began_at: &u64| began_at.saturating_add(LONGEST_ORDER) > now;
        self.kept.began_at.filter(may_go_on).unwrap_or(u64::MAX).min(self.due(directory, now))
    }
}

/// The certificates of this gateway's hosts, as this node has seen them last.
pub(super) struct CertificateStore {
    registry: Arc<dyn Upkeep>,
    master: Arc<MasterKey>,
    /// In the order of the settings.
    pub(super) entries: Vec<StoredCertificate>,
}

impl CertificateStore {
    /// Nothing has been seen yet.
    pub(super) fn new(hosts: &[String], registry: Arc<dyn Upkeep>, master: Arc<MasterKey>) -> Self {
        let empty = |host: &String| StoredCertificate {
            host: host.clone(),
            kept: Kept::default(),
            obtained: None,
            revision: None,
        };
        Self { registry, master, entries: hosts.iter().map(empty).collect() }
    }

    /// Looks at what is there now. Whether any certificate is another than before.
    pub(super) async fn refresh(&mut self) -> Result<bool, RegistryError> {
        let rows = self.registry.all_kept(Kind::Certificate).await?;
        let mut has_changed = false;
        for entry in &mut self.entries {
            let row = rows.iter().find(|row| row.key == entry.host);
            if row.map(|row| row.revision) == entry.revision {
                continue;
            }
            let sealed = entry.kept.sealed.take();
            entry.revision = row.map(|row| row.revision);
            entry.kept = row.and_then(|row| serde_json::from_str(&row.body).ok()).unwrap_or_default();
            if entry.kept.sealed != sealed {
                entry.obtained =
                    entry.kept.sealed.as_deref().and_then(|sealed| unseal(&self.master, &entry.host, sealed));
                has_changed = true;
            }
        }
        Ok(has_changed)
    }

    /// Keeps a certificate that can be used, with what is known of it. False if somebody else was faster.
    pub(super) async fn keep_issued(
        &mut self,
        position: usize,
        issued: &Issued,
        obtained: Obtained,
        kept: Kept,
    ) -> Result<bool, RegistryError> {
        let entry = &self.entries[position];
        let content = Content { chain: issued.chain.clone(), key: STANDARD.encode(&*issued.key) };
        let failed = |error: &dyn std::fmt::Display| RegistryError::Storage(error.to_string());
        let content = serde_json::to_vec(&content).map(Zeroizing::new).map_err(|error| failed(&error))?;
        let sealed = self.master.seal(&purpose(&entry.host), &content).map_err(|error| failed(&error))?;
        let kept = Kept { sealed: Some(STANDARD.encode(sealed)), ..kept };
        let is_kept = self.put(position, kept).await?;
        if is_kept {
            self.entries[position].obtained = Some(obtained);
        }
        Ok(is_kept)
    }

    /// Keeps what is known of the certificate that is there. False if somebody else was faster.
    pub(super) async fn keep(&mut self, position: usize, kept: Kept) -> Result<bool, RegistryError> {
        let sealed = self.entries[position].kept.sealed.clone();
        self.put(position, Kept { sealed, ..kept }).await
    }

    /// Forgets certificates of hosts that nobody wants any more, long after their end.
    pub(super) async fn forget_old(&self, now: u64) -> Result<(), RegistryError> {
        let rows = self.registry.all_kept(Kind::Certificate).await?;
        let is_wanted = |row: &Row| self.entries.iter().any(|entry| entry.host == row.key);
        let is_old = |row: &Row| {
            let kept: Kept = serde_json::from_str(&row.body).unwrap_or_default();
            kept.renew_at.max(kept.not_before).saturating_add(FORGET) < now
        };
        let old = rows.into_iter().filter(|row| !is_wanted(row) && is_old(row));
        let gone: Vec<Write> =
            old.map(|row| Write::Delete { kind: Kind::Certificate, key: row.key, expect: Expect::Any }).collect();
        if gone.is_empty() { Ok(()) } else { self.registry.keep(gone).await }
    }

    async fn put(&mut self, position: usize, kept: Kept) -> Result<bool, RegistryError> {
        let entry = &mut self.entries[position];
        let row = (Kind::Certificate, entry.host.as_str());
        let Some(revision) = put_over(self.registry.as_ref(), row, entry.revision, &kept).await? else {
            return Ok(false);
        };
        (entry.revision, entry.kept) = (Some(revision), kept);
        Ok(true)
    }
}

/// What cannot be opened or used is as good as none, and another one is ordered.
fn unseal(master: &MasterKey, host: &str, sealed: &str) -> Option<Obtained> {
    let opened = STANDARD.decode(sealed).ok().and_then(|sealed| master.open(&purpose(host), &sealed).ok());
    let content: Option<Content> = opened.and_then(|opened| serde_json::from_slice(&opened).ok());
    let read = content.and_then(|content| {
        let key = Zeroizing::new(STANDARD.decode(content.key.as_bytes()).ok()?);
        Obtained::read(host, &content.chain, &key).ok()
    });
    if read.is_none() {
        tracing::error!(host, "the certificate that is kept cannot be used; another one is ordered");
    }
    read
}

/// Binds what is sealed to its row.
fn purpose(host: &str) -> String {
    format!("certificate/{host}")
}
