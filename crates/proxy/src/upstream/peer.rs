//! A target as a worker meets it: its URL, and for `https` the TLS it is spoken to over.

use std::sync::Arc;

use portcullis_core::model::{Problem, Scheme, Target, TargetTls, TargetUrl};
use rustls::pki_types::ServerName;

use super::tls::{Identities, Identity};

/// What connections have in common that may stand in for one another: the same authority, reached in the same way.
/// Compiled once, so that a call looks its pool up without making anything.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    authority: Arc<str>,
    /// Which TLS identity; none is in clear.
    identity: Option<u64>,
}

/// A target with what is needed to connect to it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is.
    pub url: TargetUrl,
    /// Which connections are for it.
    pub pool: Arc<PoolKey>,
    /// How it is spoken to over TLS.
    pub tls: Option<PeerTls>,
}

/// TLS to one target.
#[derive(Debug, Clone)]
pub struct PeerTls {
    /// What it must prove, and what it is shown.
    pub identity: Arc<Identity>,
    /// The name it must prove.
    pub name: ServerName<'static>,
}

impl Peer {
    fn new(url: TargetUrl, tls: Option<PeerTls>) -> Self {
        let identity = tls.as_ref().map(|tls| tls.identity.id());
        Self { pool: Arc::new(PoolKey { authority: Arc::clone(url.authority()), identity }), url, tls }
    }
}

/// The targets of a service as peers, or everything that is wrong with how they are spoken to.
pub fn peers(targets: &[Target], tls: Option<&TargetTls>, identities: &Identities) -> Result<Vec<Peer>, Vec<Problem>> {
    let is_https = |target: &&Target| target.url.scheme() == Scheme::Https;
    let mut problems = Vec::new();
    let Some(first) = targets.iter().find(is_https) else {
        if tls.is_some() && !targets.is_empty() {
            problems.push(Problem::new("tls", "no target is 'https', so it has no meaning"));
        }
        let plain = targets.iter().map(|target| Peer::new(target.url.clone(), None));
        return if problems.is_empty() { Ok(plain.collect()) } else { Err(problems) };
    };
    if tls.is_some() {
        // Whoever says how targets prove who they are does not mean to send calls to others in clear.
        for (position, _) in targets.iter().enumerate().filter(|(_, target)| !is_https(target)) {
            let message = "a service with 'tls' has 'https' targets alone";
            problems.push(Problem::new(format!("targets[{position}].url"), message));
        }
    }
    let identity = match identities.of(tls.unwrap_or(&TargetTls::default())) {
        Ok(identity) => Some(identity),
        Err(found) if tls.is_some() => {
            problems.extend(found.into_iter().map(|problem| problem.under("tls")));
            None
        }
        // Where nothing is declared, what is wrong is wrong with the target.
        Err(found) => {
            let position = targets.iter().position(|target| target.url == first.url).unwrap_or_default();
            let place = format!("targets[{position}].url");
            problems.extend(found.into_iter().map(|problem| Problem::new(place.clone(), problem.message)));
            None
        }
    };
    let mut peers = Vec::with_capacity(targets.len());
    for (position, target) in targets.iter().enumerate() {
        if !is_https(&target) {
            peers.push(Peer::new(target.url.clone(), None));
            continue;
        }
        let Some(identity) = &identity else { continue };
        let name = match identity.server_name() {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(target.url.host().to_owned()),
        };
        match name {
            Ok(name) => {
                let tls = PeerTls { identity: Arc::clone(identity), name };
                peers.push(Peer::new(target.url.clone(), Some(tls)));
            }
            Err(_) => {
                let message = "its host is no name a certificate could be for; declare 'tls.server_name'";
                problems.push(Problem::new(format!("targets[{position}].url"), message));
            }
        }
    }
    if problems.is_empty() { Ok(peers) } else { Err(problems) }
}
