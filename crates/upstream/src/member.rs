//! One target as a member of its service's cluster: how it is reached, its share of the calls, and what is known of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::backend::Backend;

/// A target of a service. Made anew whenever it is declared; its state is not.
#[derive(Debug)]
pub struct Member {
    /// How it is reached.
    pub backend: Backend,
    /// Its share of the calls.
    pub weight: u16,
    /// What is known of it.
    pub state: Arc<MemberState>,
}

/// What the state of a member is about, inside of its service: an authority that proves who it is in one way. Two base paths
/// of one server share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberId {
    authority: Arc<str>,
    /// Which TLS identity; none is in clear.
    identity: Option<u64>,
}

impl MemberId {
    /// That of a target.
    pub fn of(backend: &Backend) -> Self {
        let identity = backend.tls.as_ref().map(|tls| tls.identity.id());
        Self { authority: Arc::clone(backend.url.authority()), identity }
    }
}

/// What is known of a member, on all workers and by all routes to its service, for as long as the service has it.
#[derive(Debug, Default)]
pub struct MemberState {
    /// Attempts in a row that failed by its fault.
    failures: AtomicU32,
}

impl MemberState {
    /// How many attempts in a row have failed by its fault.
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// An attempt has failed by its fault. How many in a row that makes.
    pub fn has_failed(&self) -> u32 {
        // As many as there may ever be in a row: it does not start from the beginning again.
        let more = |failures: u32| Some(failures.saturating_add(1));
        let (Ok(before) | Err(before)) = self.failures.fetch_update(Relaxed, Relaxed, more);
        before.saturating_add(1)
    }

    /// It has answered. How many attempts in a row had failed before. Where none had, nothing is written: calls that go well
    /// do not contend.
    pub fn has_answered(&self) -> u32 {
        if self.failures() == 0 { 0 } else { self.failures.swap(0, Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use portcullis_core::memory::ManualClock;
    use portcullis_core::model::{Protocol, Target, TargetTls};

    use super::*;
    use crate::backend::backends;
    use crate::tls::Identities;

    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIUW/Q4f5qG0JVd9Ru6szEG2bFGSVgwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIc29tZWJvZHkwIBcNMjYxMTI2MjM1NjMxWhgPMjEyNjExMDIy
MzU2MzFaMBMxETAPBgNVBAMMCHNvbWVib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEYk0E3qxe94g0se2tvLvTZpxpuv4YdrBgwda0P+v//ucOrcfmUghUJxQs
L1MCXjEiQFHdC5B7fHGH5m8HsU5n6aNTMFEwHQYDVR0OBBYEFIdTVvhAr7B6lvAL
aH8qYkjD5Sz0MB8GA1UdIwQYMBaAFIdTVvhAr7B6lvALaH8qYkjD5Sz0MA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAIQ4wIzjo/P3vhOsSsxaLnvo
ZG4k/gl7UjfXbiIt1Te5AiATKqZwYOur+B8s8Iu5+XsBWNGGqDzHN2joWjhflLWu
4g==
-----END CERTIFICATE-----
";

    #[test]
    fn state_is_of_an_authority_and_an_identity() {
        let identities = Identities::new(Path::new("/nowhere"), Arc::new(ManualClock::at(0)));
        let id = |url: &str, tls: Option<&TargetTls>| {
            let target = Target { url: url.parse().expect("a URL"), weight: 1, instance: None };
            let backend = backends(&[target], Protocol::Auto, tls, &identities).expect("good").remove(0);
            (MemberId::of(&backend), backend)
        };
        let trusting = TargetTls { ca: Some(AUTHORITY.to_owned()), ..TargetTls::default() };
        let other = TargetTls { server_name: Some("b".to_owned()), ..trusting.clone() };
        // Held, as what was compiled holds it: its identity is there for as long.
        let (one, _held) = id("https://a:443", Some(&trusting));
        for (url, tls, same) in [
            ("https://a:443", Some(&trusting), true),
            ("https://A:443/base", Some(&trusting), true),
            ("https://a:443", Some(&other), false),
            ("https://b:443", Some(&trusting), false),
            ("http://a:443", None, false),
        ] {
            assert_eq!(id(url, tls).0 == one, same, "{url}");
        }
        assert_eq!(id("http://a", None).0, id("http://a/base", None).0);
    }

    #[test]
    fn failures_count_in_a_row() {
        let state = MemberState::default();
        assert_eq!((state.has_failed(), state.has_failed(), state.failures()), (1, 2, 2));
        assert_eq!((state.has_answered(), state.has_answered(), state.failures()), (2, 0, 0));
        let state = MemberState { failures: AtomicU32::new(u32::MAX) };
        assert_eq!((state.has_failed(), state.failures()), (u32::MAX, u32::MAX));
    }
}
