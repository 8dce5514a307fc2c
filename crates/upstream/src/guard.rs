//! Protection against server-side request forgery (SSRF): which addresses the gateway connects to. A name is judged after it
//! has been resolved, an address that is declared at once.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use portcullis_core::address::{self, Class, Network, Readings};
use portcullis_core::model::{Problem, Target, TargetUrl};

/// A set of addresses that may be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// This machine: 127.0.0.0/8 and ::1.
    Loopback,
    /// RFC 1918, RFC 4193 and RFC 6598 networks.
    Private,
    /// Whatever is none of the above and no special-purpose address.
    Public,
    /// A network, also one that is forbidden otherwise.
    Network(Network),
}

impl FromStr for Allow {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "loopback" => Ok(Self::Loopback),
            "private" => Ok(Self::Private),
            "public" => Ok(Self::Public),
            other => other.parse().map(Self::Network).map_err(|_| {
                format!("expected 'loopback', 'private', 'public' or a network like 10.0.0.0/8, found '{other}'")
            }),
        }
    }
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// The gateway itself listens there.
    Own,
    /// It is of a class, or there is an address of that class inside of it, that is not allowed.
    Class(Class),
    /// The service registered itself, and such services are not there.
    Registered,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "the gateway itself listens there",
            Self::Registered => "'registration.allow_targets' leaves it out",
            Self::Class(Class::Metadata) => {
                "a cloud tells machines their secrets there; only a network in 'allow_targets' admits it"
            }
            Self::Class(Class::Special) => {
                "it is link-local, multicast, reserved or of another special purpose; only a network in 'allow_targets' admits it"
            }
            Self::Class(Class::Loopback) => "'allow_targets' leaves out 'loopback'",
            Self::Class(Class::Private) => "'allow_targets' leaves out 'private'",
            Self::Class(Class::Public) => "'allow_targets' leaves out 'public'",
        })
    }
}

/// Decides on addresses.
#[derive(Debug, Clone)]
pub struct Guard {
    allow: Vec<Allow>,
    /// Where services that registered themselves may be; wherever others may, if empty.
    registered: Vec<Allow>,
    /// Whether it decides for such a service.
    is_for_registered: bool,
    own: Vec<SocketAddr>,
}

impl Guard {
    /// A guard that lets through what is allowed and never one of the gateway's own listeners.
    pub fn new(allow: Vec<Allow>, own: Vec<SocketAddr>) -> Self {
        Self { allow, registered: Vec::new(), is_for_registered: false, own }
    }

    /// The same, where services that registered themselves may be in these places alone, and nowhere where others may not.
    /// Empty: wherever others may.
    #[must_use]
    pub fn with_registered(self, registered: Vec<Allow>) -> Self {
        Self { registered, ..self }
    }

    /// The guard for services that registered themselves; none if they may be wherever others may.
    #[must_use]
    pub fn for_registered(&self) -> Option<Self> {
        (!self.registered.is_empty()).then(|| Self { is_for_registered: true, ..self.clone() })
    }

    /// Whether this address may be connected to.
    pub fn admits(&self, address: SocketAddr) -> bool {
        self.judge(address).is_ok()
    }

    /// The same, with the reason why not. An IPv6 address with an IPv4 address in it is admitted if both are.
    pub fn judge(&self, address: SocketAddr) -> Result<(), Forbidden> {
        let readings = Readings::of(address.ip());
        let is_own =
            |ip| self.own.iter().any(|own| own.port() == address.port() && is_own(own.ip().to_canonical(), ip));
        if readings.iter().any(is_own) {
            return Err(Forbidden::Own);
        }
        self.judge_ip(address.ip())
    }

    /// Whether an address is allowed, whoever listens there; if not, the class that is not.
    fn judge_ip(&self, ip: IpAddr) -> Result<(), Forbidden> {
        judge_by(&self.allow, ip).map_err(Forbidden::Class)?;
        if self.is_for_registered {
            judge_by(&self.registered, ip).map_err(|_| Forbidden::Registered)?;
        }
        Ok(())
    }

    /// What is wrong with targets whose URL itself names an address that is not connected to. Names are judged by what
    /// they resolve to, when it is time; so is what this node listens on, which another node may reach.
    pub fn problems(&self, targets: &[Target]) -> Vec<Problem> {
        let forbidden = |(position, target): (usize, &Target)| {
            let address = literal(&target.url)?;
            let reason = self.judge_ip(address.ip()).err()?;
            let message = format!("the gateway does not connect to {}: {reason}", address.ip());
            Some(Problem::new(format!("targets[{position}].url"), message))
        };
        targets.iter().enumerate().filter_map(forbidden).collect()
    }

    /// Whether a connection that stands goes to one of the gateway's own listeners by an address of this machine
    /// that could not be told from outside.
    pub fn is_own_connection(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        local.ip() == remote.ip()
            && self
                .own
                .iter()
                .any(|own| own.port() == remote.port() && (own.ip().is_unspecified() || own.ip() == remote.ip()))
    }
}

/// Whether an address is in a list; if not, the class that is not.
fn judge_by(allow: &[Allow], ip: IpAddr) -> Result<(), Class> {
    let names = |ip| allow.iter().any(|allow| matches!(allow, Allow::Network(network) if network.contains(ip)));
    if names(ip) {
        return Ok(());
    }
    let refused = Readings::of(ip).iter().find(|ip| !names(*ip) && !allows(allow, address::class(*ip)));
    refused.map_or(Ok(()), |ip| Err(address::class(ip)))
}

fn allows(allow: &[Allow], class: Class) -> bool {
    allow.iter().any(|allow| {
        matches!(
            (allow, class),
            (Allow::Loopback, Class::Loopback) | (Allow::Private, Class::Private) | (Allow::Public, Class::Public)
        )
    })
}

/// The address of a target that is not a name.
pub fn literal(target: &TargetUrl) -> Option<SocketAddr> {
    Some(SocketAddr::new(address::literal(target.host())?, target.port()))
}

fn is_own(own: IpAddr, ip: IpAddr) -> bool {
    own == ip || (own.is_unspecified() && ip.is_loopback()) || ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], address: &str, want: bool) {
        let allow = allow.iter().map(|allow| allow.parse().expect("well formed")).collect();
        let guard = Guard::new(
            allow,
            vec!["127.0.0.1:6500".parse().expect("an address"), "0.0.0.0:6501".parse().expect("an address")],
        );
        assert_eq!(guard.admits(address.parse().expect("an address")), want, "{address}");
    }

    #[test]
    fn addresses_are_let_through_by_their_class() {
        let all = ["loopback", "private", "public"];
        for address in [
            "127.0.0.1:80",
            "10.1.2.3:80",
            "192.168.0.1:80",
            "100.64.0.1:80",
            "93.184.216.34:80",
            "[::1]:80",
            "[fc00::1]:80",
            "[2606:4700::1]:80",
        ] {
            check(&all, address, true);
        }
        for address in [
            "169.254.169.254:80",
            "0.0.0.0:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[fe80::1]:80",
            "[ff02::1]:80",
            "[::]:80",
            "[fd00:ec2::254]:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            // What clouds say, in networks of every class.
            "100.100.100.200:80",
            "168.63.129.16:80",
            "[fd20:ce::254]:80",
            "[fd00:a9fe:a9fe::1]:80",
            "[fd00:100::100:200]:80",
            "[fd00:42::42]:80",
            // Forms of an address that is not connected to.
            "[::169.254.169.254]:80",
            "[2002:a9fe:a9fe::1]:80",
            "[2002:6464:64c8::]:80",
            "[2001:0:a9fe:a9fe::1]:80",
            "[2001:0:808:808::5601:5601]:80",
            "[2606:4700::5efe:a9fe:a9fe]:80",
            "[::ffff:0:a9fe:a9fe]:80",
            "[64:ff9b:1::a9fe:a9fe]:80",
            "[64:ff9b::a83f:8110]:80",
            // What nobody can be at.
            "192.0.2.1:80",
            "198.18.0.1:80",
            "240.0.0.1:80",
            "[2001:db8::1]:80",
            "[3fff::1]:80",
            "[fec0::1]:80",
            "[100::1]:80",
            "[4000::1]:80",
        ] {
            check(&all, address, false);
        }
        check(&["public"], "127.0.0.1:80", false);
        check(&["public"], "[::ffff:127.0.0.1]:80", false);
        check(&["public"], "10.0.0.1:80", false);
        check(&["169.254.169.254/32"], "169.254.169.254:80", true);
        check(&["10.1.0.0/16"], "10.1.0.1:80", true);
        check(&["10.1.0.0/16"], "10.2.0.1:80", false);
        // A network admits addresses as they are written, and as they are meant.
        check(&["::ffff:10.1.0.0/112"], "10.1.0.1:80", true);
        check(&["::ffff:169.254.169.254"], "[64:ff9b::a9fe:a9fe]:80", true);
        check(&["2002::/16"], "[2002:a9fe:a9fe::1]:80", true);
        check(&["169.254.169.254"], "[2606:4700::5efe:a9fe:a9fe]:80", false);
        check(&["169.254.169.254", "public"], "[2606:4700::5efe:a9fe:a9fe]:80", true);
        check(&["public"], "[2002:808:808::1]:80", true);
        check(&["public"], "[2002:a00:1::1]:80", false);
        check(&["private"], "[64:ff9b::a00:1]:80", true);
        check(&["100.64.0.0/10"], "100.100.100.200:80", true);
    }

    #[test]
    fn a_list_for_registered_services_narrows_and_never_widens() {
        let read = |list: &[&str]| list.iter().map(|allow| allow.parse().expect("well formed")).collect::<Vec<Allow>>();
        let at = |address: &str| SocketAddr::new(address.parse().expect("an address"), 80);
        let own = vec!["127.0.0.1:80".parse().expect("an address")];
        let guard = |allow: &[&str], registered: &[&str]| {
            Guard::new(read(allow), own.clone()).with_registered(read(registered))
        };
        assert!(guard(&["private"], &[]).for_registered().is_none());
        for (allow, registered, address, wanted) in [
            (&["private", "public"][..], &["10.1.0.0/16"][..], "10.1.0.1", Ok(())),
            (&["private", "public"], &["10.1.0.0/16"], "::ffff:10.1.0.1", Ok(())),
            (&["private", "public"], &["10.1.0.0/16"], "10.2.0.1", Err(Forbidden::Registered)),
            (&["private", "public"], &["private"], "1.1.1.1", Err(Forbidden::Registered)),
            (&["private", "public"], &["private"], "64:ff9b::101:101", Err(Forbidden::Registered)),
            (&["100.64.0.0/10"], &["private"], "100.100.100.200", Err(Forbidden::Registered)),
            (&["private"], &["public", "0.0.0.0/0"], "1.1.1.1", Err(Forbidden::Class(Class::Public))),
            (&["private"], &["169.254.169.254"], "169.254.169.254", Err(Forbidden::Class(Class::Metadata))),
            (&["loopback"], &["loopback"], "127.0.0.1", Err(Forbidden::Own)),
        ] {
            let guard = guard(allow, registered);
            let narrow = guard.for_registered().expect("it narrows");
            assert_eq!(narrow.judge(at(address)), wanted, "{allow:?} {registered:?} {address}");
            assert!(guard.judge(at(address)).is_ok() || wanted.is_err(), "never wider");
            assert_eq!(guard.judge(at(address)).is_ok(), matches!(wanted, Ok(()) | Err(Forbidden::Registered)));
        }
    }

    #[test]
    fn own_listeners_are_never_targets() {
        let all = ["loopback", "private", "public", "0.0.0.0/0", "::/0"];
        check(&all, "127.0.0.1:6500", false);
        check(&all, "[::ffff:127.0.0.1]:6500", false);
        check(&all, "127.0.0.2:6501", false);
        check(&all, "0.0.0.0:6500", false);
        check(&all, "[64:ff9b::7f00:1]:6500", false);
        check(&all, "[::127.0.0.1]:6500", false);
        check(&all, "127.0.0.1:6502", true);
    }

    #[test]
    fn every_target_that_is_at_a_forbidden_address_is_told() {
        let guard =
            Guard::new(vec![Allow::Loopback, Allow::Public], vec!["127.0.0.1:6500".parse().expect("an address")]);
        let target = |url: &str| Target { url: url.parse().expect("a URL"), weight: 1, instance: None };
        let urls = [
            "http://169.254.169.254/latest",
            "http://orders.internal",
            "https://[::ffff:a9fe:a9fe]",
            "http://0xa9fea9fe",
            "http://127.0.0.1:6500",
            "http://127.0.0.1:6502",
            "http://10.0.0.1",
            "http://[fe80::1]:8080/base",
            "http://1.1.1.1",
        ];
        let found = guard.problems(&urls.map(target));
        let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, [0, 2, 3, 6, 7].map(|at| format!("targets[{at}].url")));
        assert!(found[0].message.starts_with("the gateway does not connect to 169.254.169.254: a cloud"), "{found:?}");
        assert!(found[3].message.ends_with("'allow_targets' leaves out 'private'"), "{found:?}");
    }
}
