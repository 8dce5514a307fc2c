//! The one form in which a request's host and path are seen by router, policies, log and upstream.
//!
//! Percent-escapes of unreserved characters are decoded once, other escapes get upper-case digits, bytes that
//! may not stand in a path are escaped, dot segments are resolved (RFC 3986 section 6.2.2) and runs of slashes
//! become one. What two parties could read in two ways is refused.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::Authority;

use crate::refusal::Refusal;

/// What to do with `%2F` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlash {
    /// Refuse it with 400.
    #[default]
    Refuse,
    /// Keep it as it is; it does not separate segments.
    Keep,
}

/// A canonical path: begins with `/`, has no dot segment, no `//`, no NUL, no backslash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Arc<str>);

impl Path {
    /// Brings the path of a request target into canonical form, or says with 400 why it cannot be.
    pub fn parse(raw: &str, encoded_slash: EncodedSlash) -> Result<Self, Refusal> {
        if is_canonical(raw) { Ok(Self(raw.into())) } else { Self::resolve(raw, encoded_slash) }
    }

    /// The same for a path of which something may have to be changed.
    fn resolve(raw: &str, encoded_slash: EncodedSlash) -> Result<Self, Refusal> {
        if !raw.starts_with('/') {
            return Err(Refusal::malformed("bad_target", "a path begins with '/'"));
        }
        let mut path = String::with_capacity(raw.len());
        for segment in raw.split('/').skip(1) {
            let segment = canonical_segment(segment, encoded_slash)?;
            // Some servers cut parameters off before they resolve dot segments; such a path has two readings.
            let name = segment.split(';').next().unwrap_or_default();
            if name.len() != segment.len() && (name == "." || name == "..") {
                return Err(Refusal::malformed("dot_segment_parameter", "a dot segment carries no parameters"));
            }
            match segment.as_str() {
                "" | "." => end_with_slash(&mut path),
                ".." => {
                    if path.ends_with('/') {
                        path.pop();
                    }
                    path.truncate(path.rfind('/').unwrap_or(0));
                    path.push('/');
                }
                segment => {
                    end_with_slash(&mut path);
                    path.push_str(segment);
                }
            }
        }
        Ok(Self(path.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as a shared text, without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn end_with_slash(path: &mut String) {
    if !path.ends_with('/') {
        path.push('/');
    }
}

/// What a byte is in a path and in a host, as bits.
static KINDS: [u8; 256] = kinds();
/// It does not stand for itself.
const FOREIGN: u8 = 1;
/// Behind a slash it may mean something else: a dot may begin a dot segment, and a slash is one too many.
const DOUBTFUL: u8 = 2;
/// It is a slash. Shifted by one, it is the bit of what is doubtful behind it.
const SLASH: u8 = 4;
/// It stands in nearly all names of hosts.
const NAMING: u8 = 8;

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'/' => DOUBTFUL | SLASH,
            b'.' => DOUBTFUL | NAMING,
            b'a'..=b'z' | b'0'..=b'9' | b'-' => NAMING,
            byte if stands_for_itself(byte) => 0,
            _ => FOREIGN,
        };
        byte += 1;
    }
    kinds
}

/// Whether nothing needs to be done: the way of nearly every call. Where there is a doubt, the slow way looks.
fn is_canonical(raw: &str) -> bool {
    let (mut before, mut doubts) = (0, 0);
    for &byte in raw.as_bytes() {
        let kind = KINDS[usize::from(byte)];
        doubts |= kind & (FOREIGN | (before & SLASH) >> 1);
        before = kind;
    }
    doubts == 0 && raw.starts_with('/')
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986, and `/`, without escapes.
const fn stands_for_itself(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/'
        )
}

fn canonical_segment(segment: &str, encoded_slash: EncodedSlash) -> Result<String, Refusal> {
    let mut out = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, escaped) = if byte == b'%' {
            let digits = (bytes.next().and_then(hex_digit), bytes.next().and_then(hex_digit));
            let (Some(high), Some(low)) = digits else {
                return Err(Refusal::malformed("bad_escape", "'%' is followed by two hex digits"));
            };
            (high << 4 | low, true)
        } else {
            (byte, false)
        };
        match byte {
            0 => return Err(Refusal::malformed("nul_in_path", "a path has no NUL")),
            b'\\' => return Err(Refusal::malformed("backslash_in_path", "a path has no backslash")),
            b'/' if encoded_slash == EncodedSlash::Refuse => {
                return Err(Refusal::malformed("encoded_slash", "an encoded slash has two readings and is refused"));
            }
            byte if is_unreserved(byte) || (!escaped && stands_for_itself(byte)) => out.push(char::from(byte)),
            byte => push_escape(&mut out, byte),
        }
    }
    Ok(out)
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The host a request is for, in lower case, with its port if it named one.
#[derive(Clone, PartialEq, Eq)]
pub struct Host(HeaderValue);

impl Host {
    /// Reads a `Host` field or the authority of an absolute target; 400 if it is none.
    pub fn parse(raw: &[u8]) -> Result<Self, Refusal> {
        if is_plain(raw)
            && let Some(short) = Short::of(raw)
            && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from_owner(short))
        {
            return Ok(Self(value));
        }
        Self::read(raw)
    }

    /// The same for whatever may come.
    fn read(raw: &[u8]) -> Result<Self, Refusal> {
        let bad = || Refusal::malformed("bad_host", "the host is not a host name or address with an optional port");
        let text = std::str::from_utf8(raw).map_err(|_| bad())?;
        let authority: Authority = text.parse().map_err(|_| bad())?;
        let host = authority.host();
        let port = text.strip_prefix(host).ok_or_else(bad)?;
        let name_fine = if host.starts_with('[') {
            host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        };
        let port_fine = match port.strip_prefix(':') {
            None => port.is_empty(),
            Some(digits) => {
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
            }
        };
        if !name_fine || !port_fine || text.contains('@') {
            return Err(bad());
        }
        let value = if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            HeaderValue::from_str(&text.to_ascii_lowercase())
        } else {
            HeaderValue::from_bytes(raw)
        };
        value.map(Self).map_err(|_| bad())
    }

    /// Host and port as one text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("")
    }

    /// Host and port as a header value.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
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

/// Whether it is what nearly all hosts are: a name in lower case or an address of version 4, and perhaps a port.
fn is_plain(raw: &[u8]) -> bool {
    let end = raw.iter().position(|byte| KINDS[usize::from(*byte)] & NAMING == 0).unwrap_or(raw.len());
    let (name, port) = raw.split_at(end);
    let port_fine = match port {
        [] => true,
        [b':', digits @ ..] => {
            let number = || digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
            (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) && number() <= u32::from(u16::MAX)
        }
        _ => false,
    };
    !name.is_empty() && port_fine
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

    fn canonical(raw: &str) -> Result<String, &'static str> {
        Path::parse(raw, EncodedSlash::Refuse).map(|path| path.as_str().to_owned()).map_err(|refusal| refusal.code())
    }

    #[test]
    fn paths_become_canonical() {
        for (raw, want) in [
            ("/", "/"),
            ("/orders/v1/7", "/orders/v1/7"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/../../a", "/a"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/%61%7e%7E", "/a~~"),
            ("/a%3fb%3B", "/a%3Fb%3B"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a b", "/a%20b"),
            ("/ü", "/%C3%BC"),
            ("/.hidden/..x", "/.hidden/..x"),
            ("/a;p=1/b", "/a;p=1/b"),
        ] {
            assert_eq!(canonical(raw).as_deref(), Ok(want), "{raw}");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for (raw, code) in [
            ("/a%2fb", "encoded_slash"),
            ("/a%2Fb", "encoded_slash"),
            ("/a%00", "nul_in_path"),
            ("/a\\b", "backslash_in_path"),
            ("/a%5c..", "backslash_in_path"),
            ("/a%zz", "bad_escape"),
            ("/a%2", "bad_escape"),
            ("/a/..;/b", "dot_segment_parameter"),
            ("/a/%2e%2e;x/b", "dot_segment_parameter"),
            ("*", "bad_target"),
            ("", "bad_target"),
        ] {
            assert_eq!(canonical(raw), Err(code), "{raw}");
        }
        let kept = Path::parse("/a%2fb", EncodedSlash::Keep).expect("kept");
        assert_eq!(kept.as_str(), "/a%2Fb");
    }

    #[test]
    fn hosts_are_read_strictly() {
        for (raw, want) in
            [("Api.Example.COM:8080", "api.example.com:8080"), ("[::1]:80", "[::1]:80"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(Host::parse(raw.as_bytes()).expect(raw).as_str(), want);
        }
        for bad in [
            "",
            "a b",
            "a/b",
            "u@a",
            "a:",
            "a:x",
            "a:99999",
            "[::1",
            "a,b",
            "a\"b",
            "a:80:80",
            "%41",
            "[zz]",
            "a:za",
            "a.b:,c,a.b",
        ] {
            assert!(Host::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn canonicalising_twice_is_canonicalising_once(raw in "(/|\\.|%2e|%2E|%2|%|;|a|B|~| |ü|%C3|%3f|%25){0,24}") {
            let raw = format!("/{raw}");
            if let Ok(once) = canonical(&raw) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
                prop_assert!(once.starts_with('/') && !once.contains("//") && !once.contains('\\'));
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(once.is_ascii());
            }
        }

        #[test]
        fn no_encoding_of_a_path_escapes_its_canonical_form(
            segments in proptest::collection::vec("[a-z]{1,3}", 1..5),
            choice in proptest::collection::vec(0_u8..4, 64),
        ) {
            // Every unreserved character may be escaped or not, every slash doubled or followed by '.'.
            let plain = format!("/{}", segments.join("/"));
            let mut raw = String::new();
            for (character, choice) in plain.chars().zip(choice) {
                match (character, choice) {
                    ('/', 1) => raw.push_str("//"),
                    ('/', 2) => raw.push_str("/./"),
                    ('/', 3) => raw.push_str("/zz/%2E./"),
                    ('/', _) => raw.push('/'),
                    (other, 1) => raw.push_str(&format!("%{:02x}", u32::from(other))),
                    (other, 2) => raw.push_str(&format!("%{:02X}", u32::from(other))),
                    (other, _) => raw.push(other),
                }
            }
            prop_assert_eq!(canonical(&raw), Ok(plain));
        }

        #[test]
        fn no_bytes_make_it_panic(raw in "\\PC{0,40}", host in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = canonical(&raw);
            let _ = Host::parse(&host);
        }

        #[test]
        fn the_short_way_to_a_path_is_the_long_way(raw in "(/|/|\\.|%2e|%41|a|B7|~|_-|:@|\\$&'()\\*\\+,;=| |ü|\"|<|\u{7f}){0,12}") {
            for raw in [&raw, &format!("/{raw}")] {
                let result = |path: Result<Path, Refusal>| path.map_err(|refusal| refusal.code());
                let short = result(Path::parse(raw, EncodedSlash::Refuse));
                prop_assert_eq!(short, result(Path::resolve(raw, EncodedSlash::Refuse)));
            }
        }

        #[test]
        fn the_short_way_to_a_host_is_the_long_way(
            bytes in proptest::collection::vec(any::<u8>(), 0..12),
            like in "[a-z0-9.-]{0,24}(:[0-9]{0,6})?",
            nearly in "[a-cA0-9.:@_\\[\\]% -]{0,12}",
            long in "[a-z0-9.-]{50,60}",
        ) {
            for raw in [&bytes[..], like.as_bytes(), nearly.as_bytes(), long.as_bytes()] {
                let result = |host: Result<Host, Refusal>| host.map_err(|refusal| refusal.code());
                prop_assert_eq!(result(Host::parse(raw)), result(Host::read(raw)));
                if is_plain(raw) {
                    let host = Host::parse(raw).expect("plain");
                    prop_assert_eq!(host.as_str().as_bytes(), raw);
                }
            }
        }
    }
}
