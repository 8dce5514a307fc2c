//! Networks as they are declared, and what an address is: whether a service can be there, and whether a cloud tells machines
//! their secrets there.
//!
//! An IPv4 address has many forms in IPv6. Which of them reaches the machine behind it depends on routers and translators
//! that nobody here knows, so all of them are judged by the IPv4 address inside.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

/// A network, or one address. One of IPv4 addresses in IPv6 form (`::ffff:10.0.0.0/104`) is the network of those addresses,
/// because that is how addresses are seen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

/// A text that is no network.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("expected a network like 10.0.0.0/8 or 2001:db8::/32, or an address")]
pub struct NoNetwork;

impl Network {
    /// Whether an address is in it, in whatever form.
    ///
    /// ```
    /// use portcullis_core::address::Network;
    ///
    /// let network: Network = "10.0.0.0/8".parse()?;
    /// assert!(network.contains("10.1.2.3".parse().expect("an address")));
    /// assert!(network.contains("::ffff:10.1.2.3".parse().expect("the same in IPv6 form")));
    /// assert!("10.0.0.0/33".parse::<Network>().is_err());
    /// # Ok::<(), portcullis_core::address::NoNetwork>(())
    /// ```
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether another network is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// How many bits of an address are the network's.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether it is one of IPv4 addresses.
    pub fn is_ipv4(&self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }
}

impl From<IpNet> for Network {
    fn from(network: IpNet) -> Self {
        let mapped = match network {
            IpNet::V6(network) if network.prefix_len() >= 96 => {
                let address = network.network().to_ipv4_mapped();
                address.and_then(|address| Ipv4Net::new(address, network.prefix_len() - 96).ok())
            }
            _ => None,
        };
        Self(mapped.map_or(network, IpNet::V4))
    }
}

impl FromStr for Network {
    type Err = NoNetwork;
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(Self::from).ok_or(NoNetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// This machine.
    Loopback,
    /// A network of one's own: RFC 1918, RFC 4193 and RFC 6598.
    Private,
    /// The internet.
    Public,
    /// Where a cloud tells a machine its secrets, or speaks to it in the cloud's own name.
    Metadata,
    /// Where no service is: link-local, multicast, reserved, or set apart for something else by the special-purpose
    /// registries of IANA.
    Special,
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(segments: [u16; 8]) -> IpAddr {
    let [a, b, c, d, e, f, g, h] = segments;
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

/// Where clouds tell machines their secrets, and whose they are. They stand in networks of every class.
pub static METADATA: [(IpAddr, &str); 16] = [
    (v4(169, 254, 169, 254), "AWS, Azure, Google Cloud, Oracle, DigitalOcean, OpenStack and others"),
    (v4(169, 254, 170, 2), "credentials of tasks, AWS ECS"),
    (v4(169, 254, 170, 23), "credentials of pods, AWS EKS"),
    (v4(169, 254, 42, 42), "Scaleway"),
    (v4(169, 254, 0, 23), "Tencent Cloud"),
    (v4(100, 100, 100, 200), "Alibaba Cloud"),
    (v4(168, 63, 129, 16), "Azure's WireServer"),
    (v4(192, 0, 0, 192), "Oracle Cloud"),
    (v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254]), "AWS"),
    (v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x23]), "credentials of pods, AWS EKS"),
    (v6([0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200]), "Alibaba Cloud"),
    (v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]), "Akamai"),
    (v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254]), "Google Cloud"),
    (v6([0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x42]), "Scaleway"),
    (v6([0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]), "Oracle Cloud"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]), "OpenStack"),
];

/// What an address is by itself.
pub fn class(address: IpAddr) -> Class {
    let address = address.to_canonical();
    // EC2 has more than one address of this kind in its network.
    let is_ec2 = matches!(address, IpAddr::V6(v6) if v6.segments()[..2] == [0xfd00, 0x0ec2]);
    if is_ec2 || METADATA.iter().any(|(metadata, _)| *metadata == address) {
        return Class::Metadata;
    }
    match address {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

/// After the IANA IPv4 special-purpose address registry (RFC 6890).
fn class_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [127, ..] => Class::Loopback,
        [10, ..] | [172, 16..32, ..] | [192, 168, ..] | [100, 64..128, ..] => Class::Private,
        // This network, link-local, protocol assignments, documentation, relays for 6to4, benchmarks, multicast, reserved.
        [0, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [224..=255, ..] => Class::Special,
        _ => Class::Public,
    }
}

/// After the IANA IPv6 special-purpose address registry. Outside of 2000::/3 nothing is given out for services but what is
/// named here.
fn class_v6(address: Ipv6Addr) -> Class {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0xfc00..=0xfdff, ..] | [0x64, 0xff9b, 1, ..] => Class::Private,
        // Protocol assignments (benchmarks, ORCHID and others), documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Class::Special,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Special,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The address that a host is, as those read it who connect: also an IPv4 address of fewer than four parts, or of parts in
/// octal or hexadecimal (`inet_aton(3)`), and one with the dot of the root or a zone behind it. None is a name.
///
/// ```
/// use portcullis_core::address::literal;
///
/// let metadata = literal("169.254.169.254");
/// assert_eq!(literal("0xa9fea9fe"), metadata);
/// assert_eq!(literal("0251.254.43518"), metadata);
/// assert_eq!(literal("example.com"), None);
/// ```
pub fn literal(host: &str) -> Option<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    // A zone says by which way an address is reached, not which it is.
    let host = host.split('%').next().unwrap_or(host);
    host.parse().ok().or_else(|| loosely(host).map(IpAddr::V4))
}

fn loosely(host: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| {
        let (digits, radix) = match part.as_bytes() {
            [b'0', b'x' | b'X', ..] => (&part[2..], 16),
            [b'0', _, ..] => (&part[1..], 8),
            _ => (part, 10),
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
        u64::from_str_radix(digits, radix).ok().filter(|_| is_number)
    };
    let parts: Vec<u64> = host.split('.').take(5).map(number).collect::<Option<_>>()?;
    let (last, before) = parts.split_last()?;
    let room = 32_u32.checked_sub(8 * u32::try_from(before.len()).ok()?).filter(|room| *room > 0)?;
    if *last >> room != 0 || before.iter().any(|part| *part > 255) {
        return None;
    }
    let high = before.iter().enumerate().fold(0, |high, (at, part)| high | part << (24 - 8 * at));
    Some(Ipv4Addr::from_bits(u32::try_from(high | last).ok()?))
}

/// The readings of an address: itself and the IPv4 addresses inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readings([Option<IpAddr>; 5]);

impl Readings {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        let v6 = match address.to_canonical() {
            address @ IpAddr::V4(_) => return Self([Some(address), None, None, None, None]),
            IpAddr::V6(v6) => v6,
        };
        let itself = Some(IpAddr::V6(v6));
        let bits = v6.to_bits();
        let at = |shift: u32| Some(IpAddr::V4(Ipv4Addr::from_bits((bits >> shift) as u32)));
        match v6.segments() {
            // NAT64 (RFC 6052), and translation without state (RFC 7915): there is nothing but the address inside.
            [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Self([at(0), None, None, None, None]),
            // NAT64 of a site (RFC 8215). How long its prefix is, nobody says: with 48, 56 and 64 bits the address stands
            // around the ninth byte (RFC 6052 section 2.2), with 96 at the end.
            [0x64, 0xff9b, 1, ..] => {
                let joined = |high: u128, low: u128| Ipv4Addr::from_bits((high | low) as u32);
                let [after_48, after_56, after_64] = [
                    joined((bits >> 48) & 0xffff_0000, (bits >> 40) & 0xffff),
                    joined((bits >> 40) & 0xff00_0000, (bits >> 32) & 0x00ff_ffff),
                    joined(0, bits >> 24),
                ];
                // Most prefixes are none of these, so they count only where that would do harm.
                let harmful = |inner: Ipv4Addr| {
                    let inner = IpAddr::V4(inner);
                    let does_harm = matches!(class(inner), Class::Metadata | Class::Loopback) || is_link_local(inner);
                    does_harm.then_some(inner)
                };
                let at_end = at(0).filter(|inner| !inner.is_unspecified());
                Self([itself, at_end, harmful(after_48), harmful(after_56), harmful(after_64)])
            }
            // 6to4 (RFC 3056).
            [0x2002, ..] => Self([at(80), None, None, None, None]),
            // Teredo (RFC 4380): the server, and the client, whose bits are turned round.
            [0x2001, 0, ..] => {
                let client = Some(IpAddr::V4(Ipv4Addr::from_bits(!(bits as u32))));
                Self([at(64), client, None, None, None])
            }
            // IPv4-compatible (RFC 4291 section 2.5.5.1): deprecated, and may be routed all the same.
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => Self([itself, at(0), None, None, None]),
            // ISATAP (RFC 5214 section 6.1), in any network.
            [_, _, _, _, 0 | 0x0200, 0x5efe, ..] => Self([itself, at(0), None, None, None]),
            _ => Self([itself, None, None, None, None]),
        }
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn readings(text: &str) -> Vec<String> {
        Readings::of(ip(text)).iter().map(|reading| reading.to_string()).collect()
    }

    #[test]
    fn a_network_of_ipv4_addresses_in_ipv6_form_is_one_of_ipv4() {
        for (text, same) in [
            ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::FFFF:a01:200/120", "10.1.2.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let network: Network = text.parse().expect("a network");
            assert_eq!(network.to_string(), same, "{text}");
        }
        let network: Network = "::ffff:127.0.0.0/104".parse().expect("a network");
        assert!(network.contains(ip("127.0.0.1")) && network.contains(ip("::ffff:127.0.0.1")) && network.is_ipv4());
        assert!(!network.contains(ip("::1")) && !network.contains(ip("128.0.0.1")));
        // It is no part of the other family.
        assert!(!"::/0".parse::<Network>().expect("a network").contains(ip("127.0.0.1")));
        for text in ["", "here", "10.0.0.0/33", "::/129", "10.0.0.0/8/8", "10.0.0.256", "fe80::1%eth0"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }

    #[test]
    fn every_block_of_the_registries_has_its_class() {
        for (class, addresses) in [
            (Class::Loopback, &["127.0.0.1", "127.255.255.255", "::1"][..]),
            (Class::Private, &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.0.1"]),
            (Class::Private, &["fc00::1", "fdff::1", "fd00:ec3::1", "64:ff9b:1::1"]),
            (
                Class::Public,
                &["1.1.1.1", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "192.0.3.1"],
            ),
            (
                Class::Public,
                &["198.17.0.1", "198.20.0.1", "198.51.99.1", "203.0.112.1", "223.255.255.255", "168.63.129.15"],
            ),
            (
                Class::Public,
                &["2606:4700::1", "2a00::1", "2001:200::1", "2001:db7::1", "2001:db9::1", "3ffe::1", "3fff:1000::1"],
            ),
            (
                Class::Special,
                &["0.0.0.0", "0.1.2.3", "169.254.1.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1"],
            ),
            (
                Class::Special,
                &["198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
            ),
            (Class::Special, &["::", "100::1", "100:0:0:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1"]),
            (
                Class::Special,
                &["2001:db8::1", "3fff::1", "3fff:fff::1", "5f00::1", "fe80::1", "febf::1", "fec0::1", "ff02::1"],
            ),
            (Class::Special, &["1::1", "400::1", "4000::1", "e000::1", "fe00::1", "::2"]),
        ] {
            for address in addresses {
                assert_eq!(super::class(ip(address)), class, "{address}");
            }
        }
        for (address, _) in METADATA {
            assert_eq!(class(address), Class::Metadata, "{address}");
        }
        assert_eq!(class(ip("::ffff:169.254.169.254")), Class::Metadata);
        assert_eq!(class(ip("fd00:ec2::253")), Class::Metadata);
    }

    #[test]
    fn an_ipv4_address_is_found_in_every_form_of_ipv6() {
        for (form, inside) in [
            ("::ffff:169.254.169.254", &["169.254.169.254"][..]),
            ("::169.254.169.254", &["::a9fe:a9fe", "169.254.169.254"]),
            ("64:ff9b::169.254.169.254", &["169.254.169.254"]),
            ("::ffff:0:169.254.169.254", &["169.254.169.254"]),
            ("2002:a9fe:a9fe::1", &["169.254.169.254"]),
            ("2001:0:a9fe:a9fe::f5ff:fffe", &["169.254.169.254", "10.0.0.1"]),
            ("2001:0:102:304::5601:5601", &["1.2.3.4", "169.254.169.254"]),
            ("2606:4700::5efe:169.254.169.254", &["2606:4700::5efe:a9fe:a9fe", "169.254.169.254"]),
            ("2606:4700::200:5efe:169.254.169.254", &["2606:4700::200:5efe:a9fe:a9fe", "169.254.169.254"]),
            ("64:ff9b:1::169.254.169.254", &["64:ff9b:1::a9fe:a9fe", "169.254.169.254"]),
            ("64:ff9b:1:a9fe:a9:fe00::", &["64:ff9b:1:a9fe:a9:fe00::", "169.254.169.254"]),
            ("64:ff9b:1:a9:fe:a9fe::", &["64:ff9b:1:a9:fe:a9fe::", "169.254.169.254"]),
            ("64:ff9b:1:0:a9:fea9:fe00:0", &["64:ff9b:1:0:a9:fea9:fe00:0", "169.254.169.254"]),
            ("64:ff9b:1::93.184.216.34", &["64:ff9b:1::5db8:d822", "93.184.216.34"]),
            ("2606:4700::1", &["2606:4700::1"]),
            ("::1", &["::1"]),
            ("::", &["::"]),
            ("10.0.0.1", &["10.0.0.1"]),
        ] {
            let found = readings(form);
            assert!(inside.iter().all(|inner| found.iter().any(|reading| reading == inner)), "{form}: {found:?}");
            if !form.starts_with("64:ff9b:1") {
                assert_eq!(found, inside, "{form}");
            }
        }
    }

    #[test]
    fn hosts_are_read_as_addresses_by_those_who_connect() {
        for host in [
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.16689662",
            "0xA9.254.0xa9fe",
            "169.254.169.254.",
            "169.254.43518.",
        ] {
            assert_eq!(literal(host), Some(ip("169.254.169.254")), "{host}");
        }
        assert_eq!((literal("127.1"), literal("0")), (Some(ip("127.0.0.1")), Some(ip("0.0.0.0"))));
        for host in ["::1", "::1%1", "::1%25lo", "::1%eth0"] {
            assert_eq!(literal(host), Some(ip("::1")), "{host}");
        }
        for host in [
            "",
            "a",
            "localhost",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "0x",
            "08.1.1.1",
            "1..2",
            "4294967296",
            "1.2.3..",
            "+1",
            "0x1g",
        ] {
            assert_eq!(literal(host), None, "{host}");
        }
    }

    proptest! {
        /// Whatever form an address has: what is inside is found.
        #[test]
        fn what_is_inside_is_found(inner: u32, host: u64, form in 0..7_usize) {
            let (inner, host) = (u128::from(inner), u128::from(host));
            let flat = |high: u128, low: u128| high << 64 | low;
            let bits = match form {
                0 => flat(0, 0xffff << 32 | inner),
                1 => flat(0x0064_ff9b << 32, inner),
                2 => flat(0x2002 << 48 | inner << 16, host),
                3 => flat(0x2001 << 48 | inner, host),
                4 => flat(0x2001 << 48, host & !0xffff_ffff | u128::from(!(inner as u32))),
                5 => flat(0x2606_4700 << 32, 0x5efe << 32 | inner),
                // RFC 7915: ::ffff:0:a.b.c.d.
                _ => flat(0, 0xffff << 48 | inner),
            };
            let found: Vec<_> = Readings::of(IpAddr::V6(Ipv6Addr::from_bits(bits))).iter().collect();
            prop_assert!(found.contains(&IpAddr::V4(Ipv4Addr::from_bits(inner as u32))), "{:x}: {:?}", bits, found);
        }

        /// Any bits at all have readings and a class, and any text is read.
        #[test]
        fn anything_is_judged(bits: u128, text in "[0-9a-fx.]{0,20}") {
            for reading in Readings::of(IpAddr::V6(Ipv6Addr::from_bits(bits))).iter() {
                class(reading);
            }
            literal(&text);
        }
    }

    #[test]
    fn fuzz_address() {
        let seeds = [
            "169.254.169.254",
            "0xa9fea9fe",
            "0251.254.43518",
            "::ffff:10.1.2.3",
            "10.0.0.0/8",
            "2001:db8::/32",
            "1.2",
            "017.1",
            "0x.1",
        ];
        crate::fuzzing::run("address", &seeds, |input| {
            let Ok(text) = std::str::from_utf8(input) else { return None };
            let found = literal(text);
            if let Ok(plain) = text.parse::<IpAddr>() {
                assert_eq!(found, Some(plain), "what everybody reads is read here alike");
            }
            if let Some(address) = found {
                assert_eq!(literal(&address.to_string()), Some(address));
                // It counts as something, and as itself if it is of IPv4.
                let readings = Readings::of(address);
                assert!(readings.iter().next().is_some());
                assert!(!address.is_ipv4() || readings.iter().eq([address]));
                assert_eq!(Readings::of(address.to_canonical()), readings);
            }
            let network = text.parse::<Network>().ok();
            if let Some(network) = network {
                assert_eq!(network.to_string().parse(), Ok(network), "{network}");
                assert!(network.covers(&network));
            }
            Some((
                found.map(|address| class(address) as usize),
                network.map(|network| (network.is_ipv4(), network.prefix_len() / 8)),
            ))
        });
    }
}
