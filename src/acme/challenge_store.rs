//! ACME challenge store, what certificate authorities are to find: posted by the node that orders, looked up in the registry by the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use portcullis_core::jobs::{self, Class, Jobs};
use portcullis_core::model::Owner;
use portcullis_core::ports::{Clock, Expect, Kind, RegistryError, Row, Upkeep, Write};
use portcullis_proxy::challenges::Challenges;
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::proof;

/// How long what was posted is looked for, if nobody takes it down: longer than an order may take.
const LASTS: Duration = Duration::from_secs(600);
/// How many wait for a look at the same time. Beyond it nothing is known.
const MOST_WAITING: usize = 64;
/// How long before an order may begin elsewhere it is looked for: longer than nodes take to hear of one another.
const AHEAD: u64 = 30_000;

/// What is posted for a host.
#[derive(Clone)]
struct Posted {
    token: Box<str>,
    authorization: Arc<str>,
    certificate: Option<Arc<CertifiedKey>>,
    /// Unix milliseconds.
    until: u64,
    /// Whether this node has posted it.
    is_own: bool,
}

/// The same, as the registry keeps it. None of it is a secret: the authority publishes the token, and the rest is a hash
/// of a public key.
#[derive(Serialize, Deserialize)]
struct StoredChallenge {
    token: String,
    authorization: String,
    until: u64,
}

/// The board: at most one order for each host.
pub(crate) struct ChallengeStore {
    hosts: Vec<String>,
    registry: Arc<dyn Upkeep>,
    jobs: Arc<dyn Jobs>,
    clock: Arc<dyn Clock>,
    posted: RwLock<HashMap<Box<str>, Posted>>,
    count: AtomicUsize,
    /// From when on, in Unix milliseconds, another node may order.
    expected: AtomicU64,
    /// Whether this node orders, so that nobody else does.
    is_ordering: AtomicBool,
    /// Looks into the registry that have begun. One is under way at a time.
    looks: AtomicU64,
    looking: tokio::sync::Mutex<()>,
    waiting: Semaphore,
}

/// Something that was posted. It is taken off the board when this is dropped.
pub(super) struct Posting<'a> {
    board: &'a Arc<ChallengeStore>,
    host: Box<str>,
    key: String,
}

impl ChallengeStore {
    /// An empty board for these hosts. The registry is read by jobs.
    pub(crate) fn new(
        hosts: Vec<String>,
        registry: Arc<dyn Upkeep>,
        jobs: Arc<dyn Jobs>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            hosts,
            registry,
            jobs,
            clock,
            posted: RwLock::default(),
            count: AtomicUsize::new(0),
            expected: AtomicU64::new(0),
            is_ordering: AtomicBool::new(false),
            looks: AtomicU64::new(0),
            looking: tokio::sync::Mutex::new(()),
            waiting: Semaphore::new(MOST_WAITING),
        })
    }

    /// Says when the next order is due, on whichever node. What nobody has taken down is gone when its time is over.
    pub(super) fn expect_from(&self, due: u64) {
        let now = self.clock.unix_millis();
        if self.count.load(SeqCst) > 0 {
            self.change(|board| board.retain(|_, posted| posted.until > now));
        }
        self.expected.store(due.saturating_sub(AHEAD), SeqCst);
    }

    /// Says whether this node is the one that orders.
    pub(super) fn order_here(&self, is_ordering: bool) {
        self.is_ordering.store(is_ordering, SeqCst);
    }

    /// Posts what an authority is to find for a host, here and for all nodes.
    pub(super) async fn post<'a>(
        self: &'a Arc<Self>,
        host: &str,
        token: &str,
        authorization: &str,
        with_certificate: bool,
    ) -> Result<Posting<'a>, String> {
        let until = self.clock.unix_millis() + u64::try_from(LASTS.as_millis()).unwrap_or(u64::MAX);
        let certificate = with_certificate.then(|| proof::certificate(host, authorization)).transpose()?;
        let posted =
            Posted { token: token.into(), authorization: authorization.into(), certificate, until, is_own: true };
        let stored = StoredChallenge { token: token.to_owned(), authorization: authorization.to_owned(), until };
        let body = serde_json::to_string(&stored).map_err(|error| error.to_string())?;
        // A node that has lost its lease without knowing neither overwrites nor takes down what is another's.
        let key = format!("{host}/{token}");
        let row = Row { kind: Kind::Challenge, key: key.clone(), revision: 1, owner: Owner::Api, body };
        let mut writes = self.lapsed().await.map_err(|error| error.to_string())?;
        writes.push(Write::Put { row, expect: Expect::Any });
        self.registry.keep(writes).await.map_err(|error| error.to_string())?;
        self.change(|board| {
            board.insert(host.into(), posted);
        });
        Ok(Posting { board: self, host: host.into(), key })
    }

    /// Forgets what nodes that have died did not take down.
    async fn lapsed(&self) -> Result<Vec<Write>, RegistryError> {
        let (rows, now) = (self.registry.all_kept(Kind::Challenge).await?, self.clock.unix_millis());
        let is_good =
            |row: &Row| serde_json::from_str::<StoredChallenge>(&row.body).is_ok_and(|stored| stored.until > now);
        let lapsed = rows.into_iter().filter(|row| !is_good(row));
        Ok(lapsed.map(|row| Write::Delete { kind: Kind::Challenge, key: row.key, expect: Expect::Any }).collect())
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Box<str>, Posted>)) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut posted);
        self.count.store(posted.len(), SeqCst);
    }

    fn find(&self, host: &str) -> Option<Posted> {
        let posted = self.posted.read().unwrap_or_else(PoisonError::into_inner);
        posted.get(host).filter(|posted| posted.until > self.clock.unix_millis()).cloned()
    }

    /// Whether another node may have posted something for a host.
    fn is_expected(&self, host: &str) -> bool {
        !self.is_ordering.load(SeqCst)
            && self.clock.unix_millis() >= self.expected.load(SeqCst)
            && self.hosts.iter().any(|known| known == host)
    }

    /// Looks into the registry. Whoever asks while somebody looks waits, and shares the next look with all who wait.
    async fn look(self: &Arc<Self>) {
        let Ok(_waiting) = self.waiting.try_acquire() else { return };
        let before = self.looks.load(SeqCst);
        let board = Arc::clone(self);
        let look = async move {
            let _one_at_a_time = board.looking.lock().await;
            // One that has begun since has seen everything that was there when this one was asked for.
            if board.looks.load(SeqCst) == before {
                board.looks.fetch_add(1, SeqCst);
                if let Err(error) = board.read().await {
                    tracing::warn!(%error, "what certificate authorities are to find could not be looked up");
                }
            }
        };
        // A full queue is an answer too: nothing is known.
        let _ = jobs::run(&self.jobs, Class::Certificates, look).await;
    }

    async fn read(&self) -> Result<(), RegistryError> {
        let rows = self.registry.all_kept(Kind::Challenge).await?;
        let read = |row: Row| {
            let host = row.key.split_once('/').map_or("", |(host, _)| host);
            let known = self.hosts.iter().find(|known| *known == host)?;
            Some((known, serde_json::from_str::<StoredChallenge>(&row.body).ok()?))
        };
        let mut found: Vec<(&String, StoredChallenge)> = rows.into_iter().filter_map(read).collect();
        // Of two for a host, the older one is from a node that has died or has lost its lease.
        found.sort_by_key(|(_, stored)| stored.until);
        let newest: HashMap<&String, StoredChallenge> = found.into_iter().collect();
        let found = newest.into_iter().map(|(host, StoredChallenge { token, authorization, until })| {
            let certificate = proof::certificate(host, &authorization).ok();
            let (token, authorization) = (token.into(), authorization.into());
            (host.as_str().into(), Posted { token, authorization, certificate, until, is_own: false })
        });
        let found: HashMap<Box<str>, Posted> = found.collect();
        self.change(|board| {
            board.retain(|_, posted| posted.is_own);
            for (host, posted) in found {
                board.entry(host).or_insert(posted);
            }
        });
        Ok(())
    }
}

impl Posting<'_> {
    /// Takes it down everywhere.
    pub(super) async fn take_down(self) {
        let key = self.key.clone();
        if let Err(error) =
            self.board.registry.keep(vec![Write::Delete { kind: Kind::Challenge, key, expect: Expect::Any }]).await
        {
            tracing::warn!(host = %self.host, %error, "what a certificate authority was to find is still in the registry");
        }
    }
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        self.board.change(|board| {
            board.remove(&self.host);
        });
    }
}

/// What the data plane asks.
pub(crate) struct Asked(pub(crate) Arc<ChallengeStore>);

#[async_trait]
impl Challenges for Asked {
    fn may_be_pending(&self) -> bool {
        let board = &self.0;
        board.count.load(SeqCst) > 0
            || (!board.is_ordering.load(SeqCst) && board.clock.unix_millis() >= board.expected.load(SeqCst))
    }

    fn known(&self, host: &str, token: &str) -> Option<Arc<str>> {
        self.0.find(host).filter(|posted| *posted.token == *token).map(|posted| posted.authorization)
    }

    async fn answer(&self, host: &str, token: &str) -> Option<Arc<str>> {
        if let Some(known) = self.known(host, token) {
            return Some(known);
        }
        if self.0.is_expected(host) {
            self.0.look().await;
        }
        self.known(host, token)
    }

    async fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let known = self.0.find(host).and_then(|posted| posted.certificate);
        if known.is_some() || !self.0.is_expected(host) {
            return known;
        }
        self.0.look().await;
        self.0.find(host).and_then(|posted| posted.certificate)
    }
}
