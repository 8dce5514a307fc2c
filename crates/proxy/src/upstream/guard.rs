//! Which addresses the gateway connects to, decided after the name has been resolved.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

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
    Network(IpNet),
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

/// Decides on addresses.
#[derive(Debug, Clone)]
pub struct Guard {
    allow: Vec<Allow>,
    own: Vec<SocketAddr>,
}

impl Guard {
    /// A guard that lets through what is allowed and never one of the gateway's own listeners.
    pub fn new(allow: Vec<Allow>, own: Vec<SocketAddr>) -> Self {
        Self { allow, own }
    }

    /// Whether this address may be connected to.
    pub fn admits(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        if self.own.iter().any(|own| own.port() == address.port() && is_own(own.ip().to_canonical(), ip)) {
            return false;
        }
        let class = classify(ip);
        self.allow.iter().any(|allow| match allow {
            Allow::Loopback => class == Class::Loopback,
            Allow::Private => class == Class::Private,
            Allow::Public => class == Class::Public,
            Allow::Network(network) => network.contains(&ip),
        })
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

fn is_own(own: IpAddr, ip: IpAddr) -> bool {
    own == ip || (own.is_unspecified() && ip.is_loopback()) || ip.is_unspecified()
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Loopback,
    Private,
    Public,
    /// Link-local (cloud metadata among them), multicast, unspecified, reserved.
    Special,
}

fn classify(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            if ip.is_loopback() {
                Class::Loopback
            } else if ip.is_private() || (a == 100 && (64..128).contains(&b)) {
                Class::Private
            } else if ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || a == 0
                || a >= 240
                || ip == Ipv4Addr::new(192, 0, 0, 192)
                || (a, b, c) == (192, 0, 0)
            {
                Class::Special
            } else {
                Class::Public
            }
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            if ip.is_loopback() {
                Class::Loopback
            } else if first & 0xfe00 == 0xfc00 {
                // fd00:ec2::254 is the metadata address of a large cloud, in a private network.
                if ip.segments()[..2] == [0xfd00, 0x0ec2] { Class::Special } else { Class::Private }
            } else if ip.is_unspecified() || ip.is_multicast() || first & 0xffc0 == 0xfe80 {
                Class::Special
            } else if first == 0x64 && ip.segments()[1] == 0xff9b {
                // NAT64: what counts is the IPv4 address inside.
                let [.., high, low] = ip.segments();
                let bits = u32::from(high) << 16 | u32::from(low);
                classify(IpAddr::V4(Ipv4Addr::from_bits(bits)))
            } else {
                Class::Public
            }
        }
    }
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
        ] {
            check(&all, address, false);
        }
        check(&["public"], "127.0.0.1:80", false);
        check(&["public"], "[::ffff:127.0.0.1]:80", false);
        check(&["public"], "10.0.0.1:80", false);
        check(&["169.254.169.254/32"], "169.254.169.254:80", true);
        check(&["10.1.0.0/16"], "10.1.0.1:80", true);
        check(&["10.1.0.0/16"], "10.2.0.1:80", false);
    }

    #[test]
    fn own_listeners_are_never_targets() {
        let all = ["loopback", "private", "public", "0.0.0.0/0", "::/0"];
        check(&all, "127.0.0.1:6500", false);
        check(&all, "[::ffff:127.0.0.1]:6500", false);
        check(&all, "127.0.0.2:6501", false);
        check(&all, "0.0.0.0:6500", false);
        check(&all, "127.0.0.1:6502", true);
    }
}
