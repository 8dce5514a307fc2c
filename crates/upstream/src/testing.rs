//! What tests of this crate have in common.

use std::path::Path;
use std::sync::Arc;

use portcullis_core::memory::ManualClock;
use portcullis_core::model::{Protocol, ServiceId, Target};

use crate::backend::{Backend, backends};
use crate::member::Member;
use crate::tls::Identities;

/// A service, written `name/version`.
pub(crate) fn service(id: &str) -> ServiceId {
    ServiceId::try_from(id.to_owned()).expect("a service")
}

/// A target in clear.
pub(crate) fn backend(url: &str) -> Backend {
    let identities = Identities::new(Path::new("/nowhere"), Arc::new(ManualClock::at(0)));
    let target = Target { url: url.parse().expect("a URL"), weight: 1, instance: None };
    backends(&[target], Protocol::Http1, None, &identities).expect("a backend").remove(0)
}

/// Members with these weights.
pub(crate) fn members(weights: &[u16]) -> Vec<Member> {
    let member = |(number, weight): (usize, &u16)| Member {
        backend: backend(&format!("http://target-{number}")),
        weight: *weight,
        state: Arc::default(),
    };
    weights.iter().enumerate().map(member).collect()
}
