//! Which pool a connection is in: what connections have in common that may stand in for one another.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use portcullis_core::model::{Protocol, Scheme};

/// What connections have in common that may stand in for one another: the same authority, reached in the same way.
/// Compiled once, so that a call looks its pool up without making anything, not even a hash of its text.
#[derive(Debug, PartialEq, Eq)]
pub struct PoolKey {
    /// Of all that follows.
    hash: u64,
    authority: Arc<str>,
    /// Which TLS identity; none is in clear.
    identity: Option<u64>,
    /// What may be spoken.
    pub spoken: Spoken,
    /// Whether they are for services that registered themselves alone, which may be in fewer places.
    is_apart: bool,
}

impl PoolKey {
    /// A key for an authority.
    pub fn new(authority: &Arc<str>, identity: Option<u64>, spoken: Spoken, is_apart: bool) -> Self {
        /// Who declares targets must not be able to choose hashes.
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = SEED.hash_one((authority, identity, spoken, is_apart));
        Self { hash, authority: Arc::clone(authority), identity, spoken, is_apart }
    }

    /// The same for services that registered themselves.
    pub fn apart(&self) -> Self {
        Self::new(&self.authority, self.identity, self.spoken, true)
    }

    /// The authority of the target.
    pub fn authority(&self) -> &Arc<str> {
        &self.authority
    }
}

impl Hash for PoolKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes over the hash that a [`PoolKey`] brings along.
#[derive(Debug, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What may be spoken over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spoken {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// What the target chooses in the handshake of TLS.
    Either,
}

impl Spoken {
    /// What is spoken to a target of this scheme, for which this protocol is declared.
    pub fn to(scheme: Scheme, protocol: Protocol) -> Self {
        match (protocol, scheme) {
            (Protocol::Http1, _) | (Protocol::Auto, Scheme::Http) => Self::Http1,
            (Protocol::H2 | Protocol::H2c, _) => Self::Http2,
            (Protocol::Auto, Scheme::Https) => Self::Either,
        }
    }

    /// What is offered to a target in the handshake of TLS (RFC 7301), what is liked best first.
    pub fn offered(self) -> Vec<Vec<u8>> {
        let offered: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Either => &[b"h2", b"http/1.1"],
        };
        offered.iter().map(|name| name.to_vec()).collect()
    }
}
