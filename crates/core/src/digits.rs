//! Bytes and addresses as text, written straight into bytes: what every call needs several times over.
//!
//! The standard library writes the same through `fmt`, which costs a call more than the digits do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    put_hex(&mut text, bytes);
    String::from_utf8(text).unwrap_or_default()
}

/// Writes bytes as lower-case hex digits to a place that has room for two digits for each.
pub fn put_hex(place: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in place.chunks_exact_mut(2).zip(bytes) {
        digits[0] = hex_digit(byte >> 4);
        digits[1] = hex_digit(byte & 15);
    }
}

/// Reckoned instead of looked up, so that many are written at once.
fn hex_digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

/// Each number up to 255 with a dot behind it, and how many bytes that are.
static OCTETS: [([u8; 4], u8); 256] = octets();

const fn octets() -> [([u8; 4], u8); 256] {
    let mut all = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) = (octet / 100, octet / 10 % 10, octet % 10);
        let [hundreds, tens, ones] = [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8];
        all[octet] = match octet {
            0..10 => ([ones, b'.', 0, 0], 2),
            10..100 => ([tens, ones, b'.', 0], 3),
            _ => ([hundreds, tens, ones, b'.'], 4),
        };
        octet += 1;
    }
    all
}

/// An address as text (RFC 5952), without brackets.
#[derive(Debug, Clone, Copy)]
pub struct AddressText {
    bytes: [u8; 40],
    length: usize,
}

impl AddressText {
    /// Writes an address.
    pub fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; 40], length: 0 };
        match address {
            IpAddr::V4(address) => text.push_v4(address),
            IpAddr::V6(address) => text.push_v6(address),
        }
        text
    }

    /// The text, which is ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn push_v4(&mut self, address: Ipv4Addr) {
        for octet in address.octets() {
            let (text, length) = &OCTETS[usize::from(octet)];
            self.bytes[self.length..self.length + 4].copy_from_slice(text);
            self.length += usize::from(*length);
        }
        // Without the last dot.
        self.length -= 1;
    }

    fn push_v6(&mut self, address: Ipv6Addr) {
        if let Some(mapped) = address.to_ipv4_mapped() {
            for &byte in b"::ffff:" {
                self.push(byte);
            }
            self.push_v4(mapped);
            return;
        }
        let groups = address.segments();
        let left_out = longest_zeros(&groups);
        for (place, &group) in groups.iter().enumerate() {
            if left_out.contains(&place) {
                // The colon before it stands there already, unless nothing does.
                if place == 0 {
                    self.push(b':');
                }
                if place == left_out.start {
                    self.push(b':');
                }
                continue;
            }
            self.push_group(group);
            if place < 7 {
                self.push(b':');
            }
        }
    }

    fn push_group(&mut self, group: u16) {
        let mut digits = [0; 4];
        put_hex(&mut digits, &group.to_be_bytes());
        let zeros = digits.iter().take(3).take_while(|digit| **digit == b'0').count();
        for &digit in &digits[zeros..] {
            self.push(digit);
        }
    }
}

/// The longest run of two or more groups of zeros, the first of several (RFC 5952 section 4.2); empty if there is none.
fn longest_zeros(groups: &[u16; 8]) -> std::ops::Range<usize> {
    let (mut longest, mut run) = (0..0, 0..0);
    for (place, &group) in groups.iter().enumerate() {
        run = if group == 0 { run.start..place + 1 } else { place + 1..place + 1 };
        if run.len() > longest.len() && run.len() > 1 {
            longest = run.clone();
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(address: IpAddr) -> String {
        String::from_utf8(AddressText::of(address).as_bytes().to_vec()).expect("ASCII")
    }

    #[test]
    fn addresses_are_written_as_everybody_does() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "10.20.30.40",
            "255.255.255.255",
            "1.10.100.109",
            "::",
            "::1",
            "1::",
            "2001:db8::7",
            "2001:db8:0:1:1:1:1:1",
            "2001:0:0:1::1",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6::",
            "::ffff:192.0.2.255",
            "::192.0.2.1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(written(address), address.to_string());
        }
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[0x00, 0x09, 0x0a, 0x9f, 0xf0, 0xff]), "00090a9ff0ff");
        assert_eq!(hex(&[]), "");
    }

    proptest! {
        #[test]
        fn every_address_is_written_as_the_standard_library_does(
            address in any::<IpAddr>(),
            groups in any::<[u16; 8]>(),
            zeros in any::<u8>(),
        ) {
            prop_assert_eq!(written(address), address.to_string());
            let kept = |place: usize| if zeros & (1 << place) == 0 { groups[place] } else { 0 };
            let sparse = IpAddr::from(std::array::from_fn::<u16, 8, _>(kept));
            prop_assert_eq!(written(sparse), sparse.to_string());
        }

        #[test]
        fn hex_is_what_fmt_writes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let slow: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(hex(&bytes), slow);
        }
    }
}
