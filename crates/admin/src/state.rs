//! What every request to the control plane works with.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use portcullis_core::directory::{Directory, KeyHash};
use portcullis_core::memory::MemoryState;
use portcullis_core::ports::{Clock, Registry};
use portcullis_identity::{Lockout, MasterKey, Sessions, TokenPairs, Users};
use portcullis_policies::Limiters;
use portcullis_proxy::explain::Explainer;
use portcullis_proxy::stage::Stage;
use portcullis_proxy::tls::Termination;
use portcullis_routing::change::{Changes, DryRun};
use portcullis_telemetry::{AccessLogHandle, CaptureStore, Counters, Recent};
use tokio::sync::watch;

use crate::auth::MetricsAccess;
use crate::registrar::Registrar;
use crate::renewals::Renewals;

/// What every request works with.
pub struct AdminState {
    /// The declarations.
    pub changes: Changes,
    /// Bounds self-registration, and knows who was heard of.
    pub registrar: Arc<Registrar>,
    /// Tells the problems of what was not read in full, so that all of them are told at once.
    pub dry_run: DryRun,
    /// Tells what would become of a call.
    pub explainer: Explainer,
    /// The people.
    pub users: Arc<Users>,
    /// Pairs of opaque tokens.
    pub token_pairs: Arc<TokenPairs>,
    /// The durable store, for the sessions of clients.
    pub registry: Arc<dyn Registry>,
    /// The sessions this node remembers.
    pub sessions: Arc<Sessions>,
    /// Who has to wait before the next guess at a password.
    pub lockout: Arc<Lockout>,
    /// What limits on calls remember.
    pub limiters: Arc<Limiters>,
    /// Clients and their secrets as calls see them.
    pub directory: Arc<Directory>,
    /// The nonces of signed requests that are remembered.
    pub nonces: Arc<MemoryState>,
    /// Seals the secrets of clients.
    pub master: Arc<MasterKey>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// The hash of the admin token.
    pub token: KeyHash,
    /// Who may read what is counted.
    pub metrics: MetricsAccess,
    /// Host names, beside the loopback ones, under which the control plane may be spoken to; without ports.
    pub hosts: Vec<String>,
    /// Connections at a time; those beyond wait. There are never more than 256.
    pub connections: usize,
    /// What ends TLS on the listener, where it does. The names of its certificate are host names too.
    pub tls: Option<Arc<Termination>>,
    /// What ends TLS on the data plane, where it does.
    pub data_tls: Option<Arc<Termination>>,
    /// How it goes with certificates that are obtained, where any are.
    pub renewals: Option<Arc<dyn Renewals>>,
    /// The access log, to wait for what is on its way to be searchable.
    pub log: Arc<AccessLogHandle>,
    /// The newest records.
    pub recent: Arc<Recent>,
    /// The captured exchanges.
    pub captures: Arc<CaptureStore>,
    /// What happened on this node.
    pub counters: Arc<Counters>,
    /// When the process started.
    pub started: Instant,
    /// The same as a time of day.
    pub started_at: SystemTime,
    /// How far the gateway is on its way out.
    pub stage: watch::Receiver<Stage>,
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
