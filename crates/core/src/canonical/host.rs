//! The host a request is for, and hosts that are declared, in one form.

use std::cell::RefCell;
use std::fmt;
use std::net::Ipv6Addr;

use bytes::Bytes;

use super::{DOUBTFUL, KINDS, NAMING};
use crate::message::FieldValue;
use crate::refusal::Refusal;

/// The longest name there can be (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// A host in the one form it is decided on: in lower case, without a dot at its end and without empty labels, an IPv6
/// address as RFC 5952 writes it; with its port, if it named one.
#[derive(Clone, PartialEq, Eq)]
pub struct Host(FieldValue);

thread_local! {
    /// The last host in its one form that was read on this thread: most requests are for the same one again.
    static LATEST: RefCell<Host> = const { RefCell::new(Host(FieldValue::from_static("localhost"))) };
}

impl Host {
    /// Reads a `Host` field or the authority of an absolute target; 400 if it is none.
    ///
    /// ```
    /// use portcullis_core::canonical::Host;
    ///
    /// let host = Host::parse(b"API.Example.com.:8443")?;
    /// assert_eq!(host.as_str(), "api.example.com:8443");
    /// assert_eq!(host.name(), "api.example.com");
    /// assert_eq!(Host::parse(b"[2001:DB8:0:0::1]")?.as_str(), "[2001:db8::1]");
    /// assert_eq!(Host::parse(b"a..b").unwrap_err().code(), "bad_host");
    /// # Ok::<(), portcullis_core::refusal::Refusal>(())
    /// ```
    pub fn parse(raw: &[u8]) -> Result<Self, Refusal> {
        LATEST.with_borrow_mut(|latest| {
            if latest.0.as_bytes() == raw {
                return Ok(latest.clone());
            }
            if is_plain(raw)
                && let Some(short) = Short::of(raw)
                && let Ok(value) = FieldValue::from_shared(Bytes::from_owner(short))
            {
                *latest = Self(value);
                return Ok(latest.clone());
            }
            Self::read(raw)
        })
    }

    /// The host of a request that names none, as HTTP/1.0 allows.
    pub fn unnamed() -> Self {
        Self(FieldValue::from_static("localhost"))
    }

    /// The same as [`Self::parse`] for whatever may come.
    fn read(raw: &[u8]) -> Result<Self, Refusal> {
        let bad = || Refusal::malformed("bad_host", "the host is not a host name or address with an optional port");
        let text = std::str::from_utf8(raw).map_err(|_| bad())?;
        let (name, port) = match text.find(']') {
            Some(end) if text.starts_with('[') => text.split_at(end + 1),
            _ => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let mut host = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().map_err(|_| bad())?),
            None => name_of_host(name).ok_or_else(bad)?,
        };
        match port.strip_prefix(':') {
            None if port.is_empty() => {}
            // No port at all (RFC 3986 section 6.2.3).
            Some("") => {}
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port: u16 = digits.parse().map_err(|_| bad())?;
                host.push_str(&format!(":{port}"));
            }
            _ => return Err(bad()),
        }
        FieldValue::try_from(host).map(Self).map_err(|_| bad())
    }

    /// Host and port as one text.
    pub fn as_str(&self) -> &str {
        self.0.text().unwrap_or("")
    }

    /// The host without its port.
    pub fn name(&self) -> &str {
        let host = self.as_str();
        match host.bytes().rposition(|byte| byte == b':') {
            Some(at) if !host.ends_with(']') => &host[..at],
            _ => host,
        }
    }

    /// Whether it names a port.
    pub fn has_port(&self) -> bool {
        self.name().len() != self.as_str().len()
    }

    /// Host and port as a header value.
    pub fn header(&self) -> FieldValue {
        self.0.clone()
    }
}

/// A name of labels, in lower case and without the dot of the root.
fn name_of_host(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (name.len() <= LONGEST && name.split('.').all(is_label)).then(|| name.to_ascii_lowercase())
}

/// A host that is held in one piece of memory with the count of those who share it.
struct Short {
    bytes: [u8; Self::MOST],
    length: u8,
}

impl Short {
    const MOST: usize = 55;

    fn of(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        u8::try_from(raw.len()).ok().map(|length| Self { bytes, length })
    }
}

impl AsRef<[u8]> for Short {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Whether it is what nearly all hosts are, and in its one form already: a name in lower case or an address of version
/// 4, and perhaps a port.
fn is_plain(raw: &[u8]) -> bool {
    // A dot at the beginning, at the end or behind another one makes an empty label.
    let mut before = DOUBTFUL;
    let mut doubts = 0;
    let mut end = raw.len();
    for (at, byte) in raw.iter().enumerate() {
        let kind = KINDS[usize::from(*byte)];
        if kind & NAMING == 0 {
            end = at;
            break;
        }
        doubts |= kind & before & DOUBTFUL;
        before = kind;
    }
    let (name, port) = raw.split_at(end);
    let port_fine = match port {
        [] => true,
        [b':', digits @ ..] => {
            let number = || digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && (digits.len() == 1 || digits[0] != b'0')
                && number() <= u32::from(u16::MAX)
        }
        _ => false,
    };
    (1..=LONGEST).contains(&name.len()) && doubts == 0 && before & DOUBTFUL == 0 && port_fine
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_have_one_form() {
        let long = format!("{}a.example", "a.".repeat(122));
        for (raw, want) in [
            ("Api.Example.COM:8080", "api.example.com:8080"),
            ("[::1]:80", "[::1]:80"),
            ("10.0.0.1", "10.0.0.1"),
            ("api.example.com.", "api.example.com"),
            ("API.example.com.:8080", "api.example.com:8080"),
            ("a:", "a"),
            ("a.:", "a"),
            ("[::1]:", "[::1]"),
            ("a:0080", "a:80"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8:0::00FF]:443", "[2001:db8::ff]:443"),
            ("[::FFFF:127.0.0.1]", "[::ffff:127.0.0.1]"),
            ("a_b.c", "a_b.c"),
            (&long, &long),
        ] {
            assert_eq!(Host::parse(raw.as_bytes()).expect(raw).as_str(), want);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}a.example", "a.".repeat(123));
        for bad in [
            "",
            "a b",
            "a/b",
            "u@a",
            "a:x",
            "a:99999",
            "[::1",
            "a,b",
            "a\"b",
            "a:80:80",
            "%41",
            "[zz]",
            "a:za",
            ":",
            ":80",
            "a.b:,c,a.b",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            ".a.b:80",
            "a:+80",
            "a:-1",
            "[::1]80",
            "[::1].",
            "::1",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "a;b",
            "a\\b",
            "a#b",
            "a?b",
            "a\u{e9}",
            "*.a",
            &long,
        ] {
            assert!(Host::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_have_no_port() {
        for (raw, want) in [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")] {
            let host = Host::parse(raw.as_bytes()).expect("a host");
            assert_eq!((host.name(), host.has_port()), (want, raw.ends_with(":80")));
        }
    }

    proptest! {
        #[test]
        fn the_short_way_to_a_host_is_the_long_way(
            bytes in proptest::collection::vec(any::<u8>(), 0..12),
            like in "[a-z0-9.-]{0,24}(:[0-9]{0,6})?",
            nearly in "[a-cA0-9.:@_\\[\\]% -]{0,12}",
            dots in "[a.]{0,6}(:0?[0-9]{0,2})?",
            long in "[a-z0-9.-]{50,60}",
            longest in "[a-z.]{250,256}",
        ) {
            for raw in [&bytes[..], like.as_bytes(), nearly.as_bytes(), dots.as_bytes(), long.as_bytes(), longest.as_bytes()] {
                let result = |host: Result<Host, Refusal>| host.map_err(|refusal| refusal.code());
                prop_assert_eq!(result(Host::parse(raw)), result(Host::read(raw)));
                if is_plain(raw) {
                    let host = Host::parse(raw).expect("plain");
                    prop_assert_eq!(host.as_str().as_bytes(), raw);
                }
                if let Ok(host) = Host::parse(raw) {
                    let again = Host::parse(host.as_str().as_bytes()).expect("a host");
                    prop_assert_eq!(&again, &host);
                    prop_assert!(host.name().starts_with('[') || host.name().split('.').all(|label| !label.is_empty()));
                }
            }
        }
    }

    #[test]
    fn fuzz_host() {
        let seeds = [
            "api.example.com",
            "A.b.:8443",
            "[2001:DB8::1]:443",
            "127.0.0.1:80",
            "a_b-c.d",
            "[::ffff:1.2.3.4]",
            "x:065535",
        ];
        crate::fuzzing::run("host", &seeds, |input| {
            let (read, slowly) = (Host::parse(input), Host::read(input));
            let Ok(host) = read.as_ref() else {
                assert_eq!(read.as_ref().err(), slowly.as_ref().err());
                return None;
            };
            assert_eq!(host.as_str(), slowly.expect("the long way reads it too").as_str());
            assert_eq!(Host::parse(host.as_str().as_bytes()).expect("canonical").as_str(), host.as_str());
            assert!(
                !host.as_str().is_empty() && !host.as_str().bytes().any(|byte| byte.is_ascii_uppercase()),
                "{host:?}"
            );
            let port = host.as_str().strip_prefix(host.name()).expect("the name comes first");
            assert_eq!(host.has_port(), !port.is_empty());
            assert!(
                port.is_empty() || port[1..].parse::<u16>().is_ok_and(|number| format!(":{number}") == port),
                "{port}"
            );
            Some((host.has_port(), host.name().starts_with('['), host.name().matches('.').count().min(5)))
        });
    }
}
