//! Which certificate is shown to whom: by the name the client asks for (SNI), else the first.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::settings::UnknownName;

/// Certificates that a name has, in the order of the settings.
type Keys = Vec<Arc<CertifiedKey>>;

/// The certificates of a listener by their names. It does not change.
#[derive(Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, Keys>,
    /// By what follows `*.`.
    wildcards: HashMap<Box<str>, Keys>,
    addresses: Vec<IpAddr>,
    first: Keys,
    unknown: UnknownName,
    /// Names that will have a certificate of their own.
    awaited: HashSet<Box<str>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("exact", &self.exact.keys()).field("wildcards", &self.wildcards.keys()).finish()
    }
}

impl Names {
    /// No names yet.
    pub(super) fn new(unknown: UnknownName) -> Self {
        Self { unknown, ..Self::default() }
    }

    /// Adds a certificate with its names, which are in lower case.
    pub(super) fn add(&mut self, key: &Arc<CertifiedKey>, names: &[Box<str>], addresses: &[IpAddr]) {
        for name in names {
            let keys = match name.strip_prefix("*.") {
                Some(domain) => self.wildcards.entry(domain.into()),
                None => self.exact.entry(name.clone()),
            };
            keys.or_default().push(Arc::clone(key));
        }
        self.addresses.extend(addresses);
        // What stands in for unknown names may have a second key of another kind under its own.
        let is_second_of_first = self.first.first().is_some_and(|first| {
            let same = |keys: &Keys| keys.iter().any(|other| Arc::ptr_eq(other, first));
            names.iter().any(|name| self.keys(name).is_some_and(same))
        });
        if self.first.is_empty() || is_second_of_first {
            self.first.push(Arc::clone(key));
        }
    }

    /// Keeps a name from being shown a certificate that is not good for it.
    pub(super) fn wait_for(&mut self, name: &str) {
        self.awaited.insert(name.into());
    }

    /// Whether a certificate names this very host.
    pub(super) fn has(&self, name: &str) -> bool {
        self.exact.contains_key(name)
    }

    /// Whether some certificate is good for a host: a name in lower case, or an address.
    pub(super) fn cover(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.find(host).is_some(),
        }
    }

    /// The certificates under a name as they were added: `*.` stands for itself.
    fn keys(&self, name: &str) -> Option<&Keys> {
        name.strip_prefix("*.").map_or_else(|| self.exact.get(name), |domain| self.wildcards.get(domain))
    }

    /// Those that are good for a name. A wildcard stands for one label (RFC 9525 section 6.3).
    fn find(&self, name: &str) -> Option<&Keys> {
        self.exact.get(name).or_else(|| self.wildcards.get(name.split_once('.')?.1))
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let lower = name.filter(|name| name.bytes().any(|byte| byte.is_ascii_uppercase()));
        let lower = lower.map(str::to_ascii_lowercase);
        let name = lower.as_deref().or(name);
        let keys = match (name.and_then(|name| self.find(name)), self.unknown) {
            (Some(keys), _) => keys,
            (None, _) if name.is_some_and(|name| self.awaited.contains(name)) => return None,
            (None, UnknownName::First) => &self.first,
            (None, UnknownName::Refuse) => return None,
        };
        let fits = keys.iter().find(|key| key.key.choose_scheme(schemes).is_some());
        fits.or(keys.first()).cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
