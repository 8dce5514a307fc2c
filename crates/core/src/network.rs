//! Whom an address stands for wherever something is counted by address.

use std::net::{IpAddr, Ipv6Addr};

/// The network that one party commands: an IPv4 address by itself, also where it is written in IPv6 (RFC 4291 section
/// 2.5.5.2); of any other IPv6 address its /64, because whoever has one address of that has all of them.
///
/// Every count, bound and limit by address goes by this. What is recorded and what is filtered goes by the address.
///
/// ```
/// use std::net::IpAddr;
/// use portcullis_core::network;
///
/// let of = |address: &str| network::of(address.parse::<IpAddr>().expect("an address")).to_string();
/// assert_eq!(of("192.0.2.7"), "192.0.2.7");
/// assert_eq!(of("2001:db8:1:2::7"), "2001:db8:1:2::"); // One customer has all of them.
/// ```
pub fn of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_stands_for_the_network_of_its_owner() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:c000:207", "192.0.2.7"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::"),
            ("2001:db8:1:2::7", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
            ("2001:db8:1:3::7", "2001:db8:1:3::"),
            ("fe80::1", "fe80::"),
            // Written in IPv6, but not the form in which the system shows an IPv4 address.
            ("::192.0.2.7", "::"),
            ("64:ff9b::192.0.2.7", "64:ff9b::"),
        ] {
            assert_eq!(of(address.parse().expect(address)), network.parse::<IpAddr>().expect(network), "{address}");
        }
    }

    proptest! {
        #[test]
        fn neighbours_are_one_and_others_are_not(network in any::<u64>(), one in any::<u64>(), other in any::<u64>()) {
            let address = |network: u64, host: u64| IpAddr::from(Ipv6Addr::from(u128::from(network) << 64 | u128::from(host)));
            // Below ::/64 stand the addresses of IPv4.
            prop_assume!(network != 0);
            prop_assert_eq!(of(address(network, one)), of(address(network, other)));
            prop_assert_ne!(of(address(network, one)), of(address(network ^ 1 << 20, one)));
            prop_assert_eq!(of(of(address(network, one))), of(address(network, one)));
        }
    }
}
