//! A target as a worker meets it: its URL, and for `https` the TLS it is spoken to over.

use std::sync::Arc;

use portcullis_core::message::FieldValue;
use portcullis_core::model::{Problem, Protocol, Scheme, Target, TargetTls, TargetUrl};
use rustls::pki_types::ServerName;

use crate::pool_key::{PoolKey, Spoken};
use crate::rooms::Rooms;
use crate::tls::{Identities, Identity};

/// A target with what is needed to connect to it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Where it is.
    pub url: TargetUrl,
    /// Its authority as `Host` names it.
    pub host: Option<FieldValue>,
    /// Which connections are for it.
    pub pool: Arc<PoolKey>,
    /// Which are for calls that go on in another protocol, or that it wants over HTTP/1.1.
    pub http1: Arc<PoolKey>,
    /// How it is spoken to over TLS.
    pub tls: Option<BackendTls>,
    /// How many connections this node may have to it.
    pub rooms: Arc<Rooms>,
}

/// TLS to one target.
#[derive(Debug, Clone)]
pub struct BackendTls {
    /// What it must prove, and what it is shown.
    pub identity: Arc<Identity>,
    /// The name it must prove.
    pub name: ServerName<'static>,
}

impl Backend {
    /// Which certificate the target is shown now; 0 where it is shown none.
    pub fn generation(&self) -> u64 {
        self.tls.as_ref().map_or(0, |tls| tls.identity.generation())
    }

    fn new(url: TargetUrl, tls: Option<BackendTls>, protocol: Protocol) -> Self {
        let identity = tls.as_ref().map(|tls| tls.identity.id());
        let key = |spoken| Arc::new(PoolKey::new(url.authority(), identity, spoken, false));
        let pool = key(Spoken::to(url.scheme(), protocol));
        let http1 = if pool.spoken == Spoken::Http1 { Arc::clone(&pool) } else { key(Spoken::Http1) };
        let host = FieldValue::of(url.authority()).ok();
        Self { pool, http1, url, host, tls, rooms: Arc::default() }
    }

    /// The same with connections that are not shared with services of operators: where those may be, this one may not.
    #[must_use]
    pub fn apart(self) -> Self {
        let key = |held: &PoolKey| Arc::new(held.apart());
        Self { pool: key(&self.pool), http1: key(&self.http1), ..self }
    }

    /// The same with this many connections, shared with whoever else has these.
    #[must_use]
    pub fn within(self, rooms: Arc<Rooms>) -> Self {
        Self { rooms, ..self }
    }

    /// Which connections are for a call, by whether it wishes to go on in another protocol.
    pub fn pool_of(&self, upgrades: bool) -> &Arc<PoolKey> {
        if upgrades { &self.http1 } else { &self.pool }
    }
}

/// The targets of a service as backends, or everything that is wrong with how they are spoken to.
pub fn backends(
    targets: &[Target],
    protocol: Protocol,
    tls: Option<&TargetTls>,
    identities: &Identities,
) -> Result<Vec<Backend>, Vec<Problem>> {
    let first = targets.iter().position(is_https);
    let mut problems = if tls.is_some() { in_clear(targets, first) } else { Vec::new() };
    problems.extend(speechless(targets, protocol));
    let identity =
        first.and_then(|first| identity(tls, first, identities).map_err(|found| problems.extend(found)).ok());
    let mut backends = Vec::with_capacity(targets.len());
    for (position, target) in targets.iter().enumerate() {
        let tls = match &identity {
            _ if !is_https(target) => None,
            // What is wrong with it has been told.
            None => continue,
            Some(identity) => match name(identity, &target.url) {
                Some(name) => Some(BackendTls { identity: Arc::clone(identity), name }),
                None => {
                    let message = "its host is no name a certificate could be for; declare 'tls.server_name'";
                    problems.push(Problem::new(place(position), message));
                    continue;
                }
            },
        };
        backends.push(Backend::new(target.url.clone(), tls, protocol));
    }
    if problems.is_empty() { Ok(backends) } else { Err(problems) }
}

fn is_https(target: &Target) -> bool {
    target.url.scheme() == Scheme::Https
}

fn place(position: usize) -> String {
    format!("targets[{position}].url")
}

/// Whoever says how targets prove who they are does not mean to send calls to others in clear.
fn in_clear(targets: &[Target], first_https: Option<usize>) -> Vec<Problem> {
    if first_https.is_none() {
        return vec![Problem::new("tls", "no target is 'https', so it has no meaning")];
    }
    let plain = targets.iter().enumerate().filter(|(_, target)| !is_https(target));
    plain.map(|(position, _)| Problem::new(place(position), "a service with 'tls' has 'https' targets alone")).collect()
}

/// Targets that cannot be spoken to in what is declared: HTTP/2 begins otherwise in clear than over TLS.
fn speechless(targets: &[Target], protocol: Protocol) -> Vec<Problem> {
    let (wants_https, message) = match protocol {
        Protocol::Auto | Protocol::Http1 => return Vec::new(),
        Protocol::H2 => (true, "'protocol: h2' is spoken to 'https' targets alone; in clear it is 'h2c'"),
        Protocol::H2c => (false, "'protocol: h2c' is spoken to 'http' targets alone; over TLS it is 'h2'"),
    };
    let wrong = targets.iter().enumerate().filter(|(_, target)| is_https(target) != wants_https);
    wrong.map(|(position, _)| Problem::new(place(position), message)).collect()
}

/// What is declared; where nothing is, what is wrong is wrong with the first target that needs it.
fn identity(tls: Option<&TargetTls>, first: usize, identities: &Identities) -> Result<Arc<Identity>, Vec<Problem>> {
    identities.of(tls.unwrap_or(&TargetTls::default())).map_err(|found| {
        let placed = |problem: Problem| match tls {
            Some(_) => problem.under("tls"),
            None => Problem::new(place(first), problem.message),
        };
        found.into_iter().map(placed).collect()
    })
}

fn name(identity: &Identity, url: &TargetUrl) -> Option<ServerName<'static>> {
    match identity.server_name() {
        Some(name) => Some(name.clone()),
        None => ServerName::try_from(url.host().to_owned()).ok(),
    }
}
