//! The PROXY protocol, versions 1 and 2: what a proxy that forwards bare connections writes in front of each, to say
//! whose it is. (The protocol is HAProxy's; its text is `doc/proxy-protocol.txt` there.)
//!
//! [`parse`] is a pure function over the bytes that have come. It takes nothing that is not exactly as the protocol
//! has it: what begins like a header and does not end like one ends the connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};

use crate::socket::Socket;

/// Whether connections on a listener begin with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// They do not; one that does is a malformed request.
    #[default]
    Off,
    /// Those of trusted proxies may.
    Optional,
    /// They all do, so that only trusted proxies can connect.
    Required,
}

/// The most bytes of a header, both versions, with everything version 2 lets a proxy add.
pub const LONGEST: usize = 4_096;

/// The most bytes of a header of version 1, its end included.
const LONGEST_V1: usize = 107;
const START_V1: &[u8] = b"PROXY ";
const START_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Start, version and command, family, length.
const FIXED_V2: usize = 16;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// No header.
    Other,
    /// Perhaps a header, of which more has to come.
    Partial,
    /// A header.
    Header {
        /// Its bytes.
        length: usize,
        /// Whose the connection is.
        source: Source,
    },
}

/// Whose a connection is, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Somebody's with this address.
    Address(SocketAddr),
    /// Somebody's; the proxy does not know whose.
    Unknown,
    /// The proxy's own, as when it looks whether we are there.
    Proxy,
}

/// A header that is not as the protocol has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the PROXY header is malformed")]
pub struct Malformed;

/// Takes the header off the beginning of a connection. What comes behind it, or everything if there is none, is left
/// to be read. An error of the kind `InvalidData` says that the header is malformed.
pub async fn take(stream: &mut Socket) -> io::Result<Option<Source>> {
    let mut bytes = BytesMut::new();
    loop {
        match parse(&bytes).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))? {
            Beginning::Partial => stream.read_unseen(&mut bytes, LONGEST).await?,
            Beginning::Other => {
                stream.give_back(bytes.freeze());
                return Ok(None);
            }
            Beginning::Header { length, source } => {
                bytes.advance(length);
                stream.give_back(bytes.freeze());
                return Ok(Some(source));
            }
        }
    }
}

/// Reads the beginning of a connection.
pub fn parse(bytes: &[u8]) -> Result<Beginning, Malformed> {
    if bytes.starts_with(START_V1) {
        parse_v1(bytes)
    } else if bytes.starts_with(START_V2) {
        parse_v2(bytes)
    } else if START_V1.starts_with(bytes) || START_V2.starts_with(bytes) {
        Ok(Beginning::Partial)
    } else {
        Ok(Beginning::Other)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Beginning, Malformed> {
    let within = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST_V1 { Ok(Beginning::Partial) } else { Err(Malformed) };
    };
    let line = std::str::from_utf8(&bytes[START_V1.len()..end]).map_err(|_| Malformed)?;
    let length = end + 2;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        // Whatever follows is to be skipped.
        return Ok(Beginning::Header { length, source: Source::Unknown });
    }
    let words: Vec<&str> = line.split(' ').collect();
    let &[family, source, destination, source_port, destination_port] = words.as_slice() else { return Err(Malformed) };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse().ok().map(IpAddr::V4),
            "TCP6" => text.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let source = address(source).zip(port(source_port));
    let (Some((source, port)), Some(_)) = (source, address(destination).zip(port(destination_port))) else {
        return Err(Malformed);
    };
    Ok(Beginning::Header { length, source: Source::Address((source.to_canonical(), port).into()) })
}

/// A port in digits, without a sign and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn parse_v2(bytes: &[u8]) -> Result<Beginning, Malformed> {
    let Some(&[version_and_command, family, high, low]) = bytes.get(START_V2.len()..FIXED_V2) else {
        return Ok(Beginning::Partial);
    };
    let length = FIXED_V2 + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(Malformed);
    }
    let is_proxied = match version_and_command {
        0x20 => false,
        0x21 => true,
        _ => return Err(Malformed),
    };
    let Some(rest) = bytes.get(FIXED_V2..length) else { return Ok(Beginning::Partial) };
    if !is_proxied {
        // What it says of addresses is to be skipped.
        return Ok(Beginning::Header { length, source: Source::Proxy });
    }
    let source = match family {
        // TCP over IPv4: two addresses and two ports. What follows them is to be skipped.
        0x11 => {
            let &[a, b, c, d, _, _, _, _, high, low, ..] = rest.get(..12).ok_or(Malformed)? else {
                return Err(Malformed);
            };
            Source::Address((IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([high, low])).into())
        }
        // TCP over IPv6, likewise.
        0x21 => {
            let addresses = rest.get(..36).ok_or(Malformed)?;
            let source: [u8; 16] = addresses[..16].try_into().map_err(|_| Malformed)?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Source::Address((IpAddr::V6(Ipv6Addr::from(source)).to_canonical(), port).into())
        }
        // Not specified, and sockets in a file system: a connection of somebody without an address.
        0x00 => Source::Unknown,
        0x31 if rest.len() >= 216 => Source::Unknown,
        _ => return Err(Malformed),
    };
    Ok(Beginning::Header { length, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(length: usize, source: &str) -> Result<Beginning, Malformed> {
        let source = match source {
            "unknown" => Source::Unknown,
            "proxy" => Source::Proxy,
            address => Source::Address(address.parse().expect("an address")),
        };
        Ok(Beginning::Header { length, source })
    }

    fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [START_V2, &[version_and_command, family][..], &length, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];

    #[test]
    fn version_1_says_whose_a_connection_is() {
        let check = |line: &str, source: &str| {
            assert_eq!(parse(line.as_bytes()), header(line.len(), source), "{line}");
            let followed = format!("{line}GET / HTTP/1.1\r\n");
            assert_eq!(parse(followed.as_bytes()), header(line.len(), source), "{line}");
        };
        check("PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", "203.0.113.9:4711");
        check("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", "[2001:db8::1]:4711");
        check("PROXY TCP6 ::ffff:203.0.113.9 ::1 0 65535\r\n", "203.0.113.9:0");
        check("PROXY UNKNOWN\r\n", "unknown");
        check("PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", "unknown");
        let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert_eq!(longest.len(), LONGEST_V1);
        check(longest, "unknown");
    }

    #[test]
    fn version_1_is_taken_to_the_letter() {
        for bad in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 -1\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 ::1 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP6 ::1%eth0 ::1 1 1\r\n",
            "PROXY TCP4\t1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\nX\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY  UNKNOWN\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(Malformed), "{bad:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LONGEST_V1));
        assert_eq!(parse(&long.as_bytes()[..LONGEST_V1 - 1]), Ok(Beginning::Partial));
        assert_eq!(parse(&long.as_bytes()[..LONGEST_V1]), Err(Malformed));
        assert_eq!(parse(format!("{}\r\n", &long[..LONGEST_V1 - 1]).as_bytes()), Err(Malformed), "one byte too long");
    }

    #[test]
    fn version_2_says_whose_a_connection_is() {
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
        let check = |bytes: Vec<u8>, source: &str| {
            let length = bytes.len();
            assert_eq!(parse(&bytes), header(length, source));
            assert_eq!(parse(&[&bytes[..], b"GET /"].concat()), header(length, source));
        };
        check(v2(0x21, 0x11, &V4), "203.0.113.9:4711");
        check(v2(0x21, 0x11, &[&V4[..], &[0x04, 0, 1, 0]].concat()), "203.0.113.9:4711");
        check(v2(0x21, 0x11, &[&V4[..], &vec![7; LONGEST - FIXED_V2 - 12]].concat()), "203.0.113.9:4711");
        check(v2(0x21, 0x21, &v6), "[2001:db8::1]:4711");
        check(v2(0x20, 0x00, &[]), "proxy");
        check(v2(0x20, 0x11, &V4), "proxy");
        check(v2(0x21, 0x00, &[1, 2, 3]), "unknown");
        check(v2(0x21, 0x31, &[b'/'; 216]), "unknown");
    }

    #[test]
    fn version_2_is_taken_to_the_letter() {
        for (version_and_command, family, rest) in [
            (0x11, 0x11, &V4[..]),
            (0x31, 0x11, &V4),
            (0x22, 0x11, &V4),
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x21, &V4),
            (0x21, 0x12, &V4),
            (0x21, 0x01, &V4),
            (0x21, 0x41, &V4),
            (0x21, 0x31, &V4),
            (0x21, 0x11, &[7; LONGEST - FIXED_V2 + 1]),
        ] {
            assert_eq!(
                parse(&v2(version_and_command, family, rest)),
                Err(Malformed),
                "{version_and_command:x} {family:x}"
            );
        }
    }

    #[test]
    fn what_does_not_begin_like_a_header_is_none() {
        for other in
            ["GET / HTTP/1.1\r\n", "PROXYS / HTTP/1.1", "proxy TCP4 ", "POST", "\r\nGET", "\r\n\r\n\0\r\nQUIT\r"]
        {
            assert_eq!(parse(other.as_bytes()), Ok(Beginning::Other), "{other:?}");
        }
        for partial in ["", "P", "PROXY", "\r", "\r\n\r\n\0\r\nQUIT"] {
            assert_eq!(parse(partial.as_bytes()), Ok(Beginning::Partial), "{partial:?}");
        }
    }

    proptest! {
        /// What has been written is read, however it is cut, and never before it is whole.
        #[test]
        fn headers_come_back(from: SocketAddr, port: u16, more in proptest::collection::vec(any::<u8>(), 0..60)) {
            let ports = [from.port().to_be_bytes(), port.to_be_bytes()].concat();
            let (word, family, addresses) = match from.ip() {
                IpAddr::V4(ip) => ("TCP4", 0x11, ip.octets().repeat(2)),
                IpAddr::V6(ip) => ("TCP6", 0x21, ip.octets().repeat(2)),
            };
            let first = format!("PROXY {word} {ip} {ip} {} {port}\r\n", from.port(), ip = from.ip()).into_bytes();
            let second = v2(0x21, family, &[addresses, ports, more.clone()].concat());
            let source = Source::Address((from.ip().to_canonical(), from.port()).into());
            for bytes in [first, second] {
                let want = Ok(Beginning::Header { length: bytes.len(), source });
                prop_assert_eq!(parse(&[&bytes[..], &more].concat()), want);
                for cut in 0..bytes.len() {
                    prop_assert_eq!(parse(&bytes[..cut]), Ok(Beginning::Partial));
                }
            }
        }

        /// Any bytes are read without harm; a header is never longer than what is there or than its bound.
        #[test]
        fn any_bytes_are_read(start in 0..3_usize, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [[&b""[..], START_V1, START_V2][start], &bytes].concat();
            if let Ok(Beginning::Header { length, .. }) = parse(&bytes) {
                prop_assert!(length <= bytes.len() && length <= LONGEST);
            }
            if let Ok(Beginning::Partial) = parse(&bytes) {
                prop_assert!(bytes.len() < LONGEST);
            }
        }
    }

    #[test]
    fn fuzz_proxy_protocol() {
        let seeds = [
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET /",
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            "PROXY UNKNOWN x\r\n",
            "\r\n\r\n\0\r\nQUIT\n!\u{11}\0\u{c}abcdABCD\u{1}\u{2}\u{3}\u{4}rest",
            "\r\n\r\n\0\r\nQUIT\n \0\0\0",
            "GET / HTTP/1.1\r\n",
        ];
        crate::fuzzing::run("proxy_protocol", &seeds, |input| {
            let whole = parse(input);
            // However it comes in: what has been told once holds, and until then more is waited for.
            for end in 0..input.len() {
                match parse(&input[..end]) {
                    Ok(Beginning::Partial) => assert!(end < LONGEST, "what is waited for has a bound"),
                    told => {
                        assert_eq!(told, whole);
                        break;
                    }
                }
            }
            if let Ok(Beginning::Header { length, source }) = whole {
                assert!(length <= input.len() && length <= LONGEST);
                assert_eq!(parse(&input[..length]), Ok(Beginning::Header { length, source }));
            }
            match whole {
                Ok(Beginning::Header { source: Source::Address(address), length }) => {
                    (3, address.is_ipv4(), length / 16)
                }
                Ok(Beginning::Header { length, .. }) => (2, false, length / 16),
                Ok(other) => (usize::from(other == Beginning::Other), false, 0),
                Err(Malformed) => (4, false, input.len() / 16),
            }
        });
    }
}
