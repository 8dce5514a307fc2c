//! What certificates by ACME need, and what they cannot be for.

use std::net::IpAddr;

use portcullis_core::canonical::Host;
use portcullis_core::model::Problem;

use super::settings::Config;

/// A way to show a certificate authority that a name is this gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChallengeKind {
    /// By a certificate in a handshake (RFC 8737).
    TlsAlpn01,
    /// By an answer in clear (RFC 8555 section 8.3).
    Http01,
}

impl ChallengeKind {
    /// Its name in ACME.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        }
    }
}

impl std::str::FromStr for ChallengeKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::TlsAlpn01, Self::Http01].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// Hosts that certificates are obtained for at most.
const MOST_HOSTS: usize = 100;
/// The longest DNS name (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

impl Config {
    /// What belongs together is there together, if certificates are to be obtained.
    pub(super) fn check_acme(&self, problems: &mut Vec<Problem>) {
        let acme = &self.acme;
        let mut needs = |wrong: bool, path: &str, message: &str| {
            if wrong {
                problems.push(Problem::new(path, message));
            }
        };
        let (kid, key) = (acme.eab_kid.is_some(), acme.eab_key_file.is_some());
        needs(kid && !key, "acme.eab_key_file", "'acme.eab_kid' needs its key");
        needs(key && !kid, "acme.eab_kid", "'acme.eab_key_file' needs the id of its key");
        if acme.hosts.is_empty() {
            return;
        }
        let is_secure = acme.directory.as_ref().is_some_and(|directory| directory.starts_with("https://"));
        needs(!is_secure, "acme.directory", "expected a URL that begins with 'https://' (RFC 8555 section 6.1)");
        let message = "the certificate authority issues only to those who agreed to its terms of service: read them, then set this to true";
        needs(!acme.terms_agreed, "acme.terms_agreed", message);
        needs(self.tls_listen.is_none(), "acme.hosts", "certificates are of no use without 'tls_listen'");
        needs(acme.challenges.is_empty(), "acme.challenges", "expected at least one of 'tls-alpn-01' and 'http-01'");
        let is_twice = |position: usize| acme.challenges[..position].contains(&acme.challenges[position]);
        let has_twice = (0..acme.challenges.len()).any(is_twice);
        needs(has_twice, "acme.challenges", "each of 'tls-alpn-01' and 'http-01' at most once");
        let only_in_clear = acme.challenges.iter().all(|kind| *kind == ChallengeKind::Http01);
        let is_unheard = only_in_clear && !acme.challenges.is_empty() && self.listen.is_none();
        needs(is_unheard, "acme.challenges", "'http-01' needs 'listen'");
        let most = format!("at most {MOST_HOSTS}");
        needs(acme.hosts.len() > MOST_HOSTS, "acme.hosts", &most);
        for (position, host) in acme.hosts.iter().enumerate() {
            let twice = acme.hosts[..position].contains(host).then_some("is there twice");
            if let Some(reason) = twice.or_else(|| objection(host)) {
                problems.push(Problem::new(format!("acme.hosts[{position}]"), format!("'{host}' {reason}")));
            }
        }
    }
}

/// Why no certificate can be obtained for a host.
fn objection(host: &str) -> Option<&'static str> {
    if host.starts_with("*.") {
        return Some(
            "is a wildcard, which authorities issue by dns-01 only, and the gateway does not write to your DNS: \
             name the hosts, or put a wildcard certificate into 'tls.certificates'",
        );
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return Some("is an address; certificates are obtained for DNS names");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = host.len() <= LONGEST_NAME && host.contains('.') && host.split('.').all(is_label);
    let is_host = Host::parse(host.as_bytes()).is_ok();
    (!is_name || !is_host).then_some("is not a DNS name like 'api.example.com'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_dns_names() {
        for good in ["api.example.com", "a.b", "xn--bcher-kva.example", "1.example"] {
            assert_eq!(objection(good), None, "{good}");
        }
        for (bad, part) in [
            ("*.example.com", "dns-01"),
            ("10.0.0.1", "address"),
            ("[::1]", "address"),
            ("localhost", "DNS name"),
            ("a_b.example", "DNS name"),
            ("a..example", "DNS name"),
            ("-a.example", "DNS name"),
            ("api.example.com.", "DNS name"),
            ("api.example.com:443", "DNS name"),
            ("a.*.example", "DNS name"),
            (&format!("{}.example", "a".repeat(64)), "DNS name"),
        ] {
            assert!(objection(bad).is_some_and(|reason| reason.contains(part)), "{bad}");
        }
    }
}
