//! `X-Forwarded-*` and `Forwarded` of trusted proxies: the client address, the scheme and the host of a call (only read
//! where the peer is trusted, see `door`). Read from the right, because each proxy adds on the right what it has seen itself; whatever stands
//! left of the first hop that is not ours may have been made up by the caller.
//!
//! There are two families, and only one is read: `Forwarded` (RFC 7239) where it is there and `X-Forwarded-For` is
//! not, `X-Forwarded-*` in every other case.

use std::net::{IpAddr, SocketAddr};

use portcullis_core::canonical::Host;
use portcullis_core::message::names::{FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use portcullis_core::message::{FieldName, FieldValue};

/// Hops that are looked at. A longer chain goes in a circle, or is made up.
const HOPS: usize = 32;

/// A scheme, as a proxy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

/// What is known of a call beyond the connection it came over.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address it came from: the first one from the right that is not a trusted proxy's own. A hop that names
    /// no address ends the chain at the proxy that wrote it.
    pub client: IpAddr,
    /// The scheme it came with, where a proxy says so.
    pub scheme: Option<Scheme>,
    /// The host it was for, where a proxy says so.
    pub host: Option<Host>,
    /// Whether the chain goes on behind an address that is none of the internet's: it is another proxy's, then, and
    /// not the caller's. What stands left of an address of the internet may have been made up there, and says nothing.
    pub cut: bool,
}

/// Whether a peer that is not trusted is a proxy all the same: it says that it speaks for somebody, and is not on the
/// internet, where anybody could say so to gain by it.
pub fn speaks_for_others(peer: IpAddr, removed: &[(FieldName, FieldValue)]) -> bool {
    removed.iter().any(|(name, _)| *name == X_FORWARDED_FOR || *name == FORWARDED) && is_inside(peer)
}

/// Loopback, private, link-local and carrier-side addresses (RFC 1918, 3927, 4193, 4291, 6598).
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

impl Origin {
    /// A call whose peer's word does not count, or that says nothing.
    pub fn unsaid(peer: IpAddr) -> Self {
        Self { client: peer, scheme: None, host: None, cut: false }
    }

    /// What the fields of a call from a trusted peer say; `removed` are the fields that were taken away at the door.
    pub fn told(peer: IpAddr, trusts: impl Fn(IpAddr) -> bool, removed: &[(FieldName, FieldValue)]) -> Self {
        let lines = |wanted: FieldName| {
            let found = removed.iter().rev().filter(move |(name, _)| *name == wanted);
            found.map(|(_, value)| value.as_bytes())
        };
        let mut origin = Self::unsaid(peer);
        if lines(X_FORWARDED_FOR).next().is_none() && lines(FORWARDED).next().is_some() {
            for element in lines(FORWARDED).flat_map(Elements).take(HOPS) {
                let Some(element) = Element::parse(element).filter(|_| trusts(origin.client)) else {
                    origin.cut = is_inside(origin.client);
                    break;
                };
                // Each element is the word of the proxy that received the call, about the connection it received.
                origin.scheme = element.proto.or(origin.scheme);
                origin.host = element.host.or(origin.host);
                let Some(address) = element.client else { break };
                origin.client = address;
            }
            return origin;
        }
        for hop in lines(X_FORWARDED_FOR).flat_map(|line| line.rsplit(|byte| *byte == b',')).take(HOPS) {
            let Some(address) = address(hop).filter(|_| trusts(origin.client)) else {
                origin.cut = is_inside(origin.client);
                break;
            };
            origin.client = address;
        }
        // These two have no chain: the word of the nearest proxy counts.
        let last = |name| lines(name).next().and_then(|line| line.rsplit(|byte| *byte == b',').next());
        origin.scheme = last(X_FORWARDED_PROTO).and_then(|text| scheme(text.trim_ascii()));
        origin.host = last(X_FORWARDED_HOST).and_then(|text| Host::parse(text.trim_ascii()).ok());
        origin
    }
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bare = || text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    if text.eq_ignore_ascii_case(b"https") {
        Some(Scheme::Https)
    } else if text.eq_ignore_ascii_case(b"http") {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// The elements of a `Forwarded` line, from the right.
///
/// They are parted from the right too: a caller's quote that never ends must not swallow what a proxy has written
/// behind it.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let line = self.0;
        let mut quoted = false;
        for at in (0..line.len()).rev() {
            match line[at] {
                b'"' if quoted && is_escaped(line, at) => {}
                b'"' => quoted = !quoted,
                b',' if !quoted => {
                    self.0 = &line[..at];
                    return Some(&line[at + 1..]);
                }
                _ => {}
            }
        }
        self.0 = &[];
        Some(line)
    }
}

fn is_escaped(line: &[u8], at: usize) -> bool {
    line[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// One `forwarded-element` (RFC 7239 section 4).
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    client: Option<IpAddr>,
    proto: Option<Scheme>,
    host: Option<Host>,
}

impl Element {
    /// Reads an element; `None` if it is not well formed, or says one thing twice.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut element = Self::default();
        let mut seen = Vec::new();
        let mut rest = text.trim_ascii();
        loop {
            let (name, value, after) = pair(rest)?;
            if seen.iter().any(|other: &&[u8]| other.eq_ignore_ascii_case(name)) {
                return None;
            }
            seen.push(name);
            match name.to_ascii_lowercase().as_slice() {
                b"for" => element.client = node(&value)?,
                b"proto" => element.proto = scheme(&value),
                b"host" => element.host = Host::parse(&value).ok(),
                _ => {}
            }
            rest = after.trim_ascii_start();
            if rest.is_empty() {
                return Some(element);
            }
            rest = rest.strip_prefix(b";")?.trim_ascii_start();
        }
    }
}

/// A `forwarded-pair` at the beginning of a text, with its value unquoted, and what follows it.
fn pair(text: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let (name, rest) = token(text)?;
    let rest = rest.strip_prefix(b"=")?;
    let Some(mut quoted) = rest.strip_prefix(b"\"") else {
        let (value, rest) = token(rest)?;
        return Some((name, value.to_vec(), rest));
    };
    let mut value = Vec::new();
    loop {
        let (&byte, after) = quoted.split_first()?;
        quoted = after;
        match byte {
            b'"' => return Some((name, value, quoted)),
            b'\\' => {
                let (&escaped, after) = quoted.split_first()?;
                value.push(escaped);
                quoted = after;
            }
            byte => value.push(byte),
        }
    }
}

/// A `token` (RFC 9110 section 5.6.2) at the beginning of a text, and what follows it.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.iter().position(|byte| !is_part(*byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A `node` (RFC 7239 section 6). `Some(None)` is one that names no address: `unknown`, `_hidden`.
fn node(text: &[u8]) -> Option<Option<IpAddr>> {
    let is_hidden = |text: &[u8]| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        text.len() > 1 && text[0] == b'_' && text.iter().all(allowed)
    };
    let is_port =
        |text: &[u8]| ((1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)) || is_hidden(text);
    let split = text.iter().rposition(|byte| *byte == b':').filter(|_| !text.ends_with(b"]"));
    let (name, port) = split.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    if !port.is_none_or(is_port) {
        return None;
    }
    if name.eq_ignore_ascii_case(b"unknown") || is_hidden(name) {
        return Some(None);
    }
    let name = std::str::from_utf8(name).ok()?;
    let address: IpAddr = match name.strip_prefix('[') {
        Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(name.parse().ok()?),
    };
    Some(Some(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: &str = "10.0.0.1";

    fn trusts(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
    }

    fn told(lines: &[(&str, &[u8])]) -> Origin {
        let field = |(name, value): &(&str, &[u8])| {
            let name = FieldName::from_bytes(name.as_bytes()).expect("a name");
            (name, FieldValue::from_bytes(value).expect("a value"))
        };
        Origin::told(PEER.parse().expect("an address"), trusts, &lines.iter().map(field).collect::<Vec<_>>())
    }

    #[track_caller]
    fn client(name: &str, lines: &[&str], want: &str) {
        let lines: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
        assert_eq!(told(&lines).client.to_string(), want, "{lines:?}");
    }

    #[test]
    fn a_chain_that_goes_on_behind_an_inner_address_is_cut() {
        for (name, line, cut) in [
            ("x-forwarded-for", "203.0.113.9", false),
            ("x-forwarded-for", "192.168.0.9", false),
            ("x-forwarded-for", "203.0.113.9, 192.168.0.9", true),
            ("x-forwarded-for", "nobody, fd00::9", true),
            ("x-forwarded-for", "6.6.6.6, 203.0.113.9", false),
            ("x-forwarded-for", "192.168.0.9, 203.0.113.9, 10.0.0.7", false),
            ("forwarded", "for=203.0.113.9, for=192.168.0.9", true),
            ("forwarded", "for=192.168.0.9, for=203.0.113.9", false),
        ] {
            assert_eq!(told(&[(name, line.as_bytes())]).cut, cut, "{line}");
        }
    }

    #[test]
    fn only_a_peer_inside_speaks_for_others_without_being_trusted() {
        let field = |name| [(name, FieldValue::from_static("for=203.0.113.9"))];
        let speaks = |peer: &str, name| speaks_for_others(peer.parse().expect("an address"), &field(name));
        for peer in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.0.1", "100.64.0.1", "::1"] {
            assert!(speaks(peer, X_FORWARDED_FOR) && speaks(peer, FORWARDED), "{peer}");
            assert!(!speaks(peer, X_FORWARDED_PROTO), "{peer}");
        }
        assert!(speaks("fd00::1", FORWARDED) && speaks("fe80::1", FORWARDED) && speaks("::ffff:10.0.0.1", FORWARDED));
        for peer in ["203.0.113.9", "100.128.0.1", "172.32.0.1", "2001:db8::1", "::ffff:203.0.113.9"] {
            assert!(!speaks(peer, X_FORWARDED_FOR) && !speaks(peer, FORWARDED), "{peer}");
        }
    }

    #[test]
    fn the_client_is_the_first_stranger_from_the_right() {
        let check = |lines: &[&str], want| client("x-forwarded-for", lines, want);
        check(&["203.0.113.9"], "203.0.113.9");
        check(&["6.6.6.6, 203.0.113.9"], "203.0.113.9");
        check(&["6.6.6.6, 203.0.113.9, 10.0.0.7,10.0.0.8"], "203.0.113.9");
        check(&["6.6.6.6", "203.0.113.9", "10.0.0.7"], "203.0.113.9");
        check(&["10.0.0.9, 10.0.0.7"], "10.0.0.9");
        check(&["6.6.6.6, 10.0.0.9"], "6.6.6.6");
        check(&["203.0.113.9:4711"], "203.0.113.9");
        check(&["[2001:db8::1]:443"], "2001:db8::1");
        check(&["[2001:db8::1]"], "2001:db8::1");
        check(&["2001:DB8::1"], "2001:db8::1");
        check(&["::ffff:203.0.113.9"], "203.0.113.9");
    }

    #[test]
    fn a_hop_that_is_no_address_ends_the_chain() {
        let check = |lines: &[&str], want| client("x-forwarded-for", lines, want);
        for bad in
            ["", "unknown", "6.6.6.6 7.7.7.7", "1.2.3", "01.2.3.4", "1.2.3.4:x", "[::1", "1.2.3.4:99999", "\u{fc}"]
        {
            check(&[&format!("6.6.6.6, {bad}")], PEER);
            check(&[&format!("6.6.6.6, {bad}, 10.0.0.7")], "10.0.0.7");
            check(&[&format!("6.6.6.6, {bad}, 203.0.113.9")], "203.0.113.9");
        }
        check(&["6.6.6.6", "", "10.0.0.7"], "10.0.0.7");
        check(&[&["6.6.6.6"].into_iter().chain(vec!["10.0.0.7"; HOPS]).collect::<Vec<_>>().join(",")], "10.0.0.7");
    }

    #[test]
    fn forwarded_is_read_in_the_forms_of_its_rfc() {
        let check = |lines: &[&str], want| client("forwarded", lines, want);
        check(&["for=203.0.113.9"], "203.0.113.9");
        check(&["For=\"203.0.113.9:4711\";proto=https;by=10.0.0.1"], "203.0.113.9");
        check(&["for=\"[2001:db8::1]\""], "2001:db8::1");
        check(&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17");
        check(&["for=\"[2001:db8::1]:_port\" ; proto=http"], "2001:db8::1");
        check(&["for=6.6.6.6, for=203.0.113.9;ext=\"a, \\\"for=7.7.7.7\", for=10.0.0.7"], "203.0.113.9");
        check(&["for=6.6.6.6", "for=203.0.113.9", "for=10.0.0.7"], "203.0.113.9");
        check(&["for=6.6.6.6, proto=http"], PEER);
        for hidden in ["unknown", "_hidden", "_a.b-c_d", "\"unknown:80\"", "\"_x:_y\""] {
            check(&[&format!("for=6.6.6.6, for={hidden}, for=10.0.0.7")], "10.0.0.7");
        }
    }

    #[test]
    fn an_element_that_is_not_well_formed_ends_the_chain() {
        for bad in [
            "",
            "for",
            "for=",
            "=1.2.3.4",
            "for=1.2.3.4;",
            "for=1.2.3.4;;proto=http",
            "for=1.2.3.4 proto=http",
            "for=2001:db8::1",
            "for=\"2001:db8::1\"",
            "for=1.2.3.4:80",
            "for=\"1.2.3.4",
            "for=1.2.3.4\"",
            "for=\"1.2.3.4\"x",
            "for=1.2.3.4;for=5.6.7.8",
            "for=1.2.3.4;FOR=5.6.7.8",
            "for=\"_\"",
            "for=_",
            "for=\"[1.2.3.4]\"",
            "for=\"[::1\"",
            "for=\"1.2.3.4:\"",
            "for=\"1.2.3.4:123456\"",
            "for = 1.2.3.4",
            "for=nonsense",
            "for=\"1.2.3.4\\\"",
        ] {
            assert_eq!(Element::parse(bad.as_bytes()), None, "{bad}");
            if !bad.is_empty() {
                client("forwarded", &[bad], PEER);
            }
            client("forwarded", &[&format!("{bad}, for=203.0.113.9")], "203.0.113.9");
        }
    }

    #[test]
    fn a_quote_of_the_callers_does_not_swallow_what_a_proxy_wrote() {
        for forged in ["for=\"", "for=\"6.6.6.6", "for=6.6.6.6;x=\"\\", "x=\"\\\"", "\"", "\\"] {
            client("forwarded", &[&format!("{forged}, for=203.0.113.9")], "203.0.113.9");
            client("forwarded", &[&format!("{forged}, for=\"203.0.113.9:1\"")], "203.0.113.9");
            client("forwarded", &[&format!("{forged}, for=203.0.113.9;by=\"[fd00::1]\", for=10.0.0.7")], "203.0.113.9");
        }
    }

    #[test]
    fn x_forwarded_for_goes_before_forwarded() {
        let forwarded = ("forwarded", &b"for=6.6.6.6;proto=https;host=a.example"[..]);
        assert_eq!(told(&[forwarded]).client.to_string(), "6.6.6.6");
        for line in ["203.0.113.9", "nonsense"] {
            let origin = told(&[forwarded, ("x-forwarded-for", line.as_bytes())]);
            assert_ne!(origin.client.to_string(), "6.6.6.6");
            assert_eq!((origin.scheme, origin.host), (None, None));
        }
        let origin =
            told(&[("forwarded", b"for=203.0.113.9"), ("x-forwarded-proto", b"https"), ("x-forwarded-host", b"a")]);
        assert_eq!((origin.scheme, origin.host), (None, None), "families are not mixed");
    }

    #[test]
    fn scheme_and_host_are_the_nearest_proxys_word() {
        let scheme = |line: &[u8]| told(&[("x-forwarded-proto", line)]).scheme;
        assert_eq!(scheme(b"https"), Some(Scheme::Https));
        assert_eq!(scheme(b"HTTPS "), Some(Scheme::Https));
        assert_eq!(scheme(b"https, http"), Some(Scheme::Http));
        assert_eq!(scheme(b"https,"), None);
        assert_eq!(scheme(b"httpss"), None);
        let host = |line: &[u8]| told(&[("x-forwarded-host", line)]).host.map(|host| host.as_str().to_owned());
        assert_eq!(host(b"API.example.com:8443").as_deref(), Some("api.example.com:8443"));
        assert_eq!(host(b"evil.example, api.example.com").as_deref(), Some("api.example.com"));
        assert_eq!(host(b"a b"), None);
        // In `Forwarded` both belong to the hop that is taken.
        let origin = told(&[(
            "forwarded",
            b"for=6.6.6.6;proto=http, for=203.0.113.9;proto=https;host=a.example, for=10.0.0.7;proto=http",
        )]);
        assert_eq!((origin.client.to_string().as_str(), origin.scheme), ("203.0.113.9", Some(Scheme::Https)));
        assert_eq!(origin.host.expect("a host").as_str(), "a.example");
    }

    fn visible() -> impl Strategy<Value = String> {
        // Mostly the characters that mean something.
        proptest::string::string_regex("([ -~]|[\",;=\\\\:_\\[\\]. ]|for=|1\\.2\\.3\\.4|10\\.0\\.0\\.2){0,40}")
            .expect("a pattern")
    }

    proptest! {
        /// Whatever stands before what the nearest proxy wrote: a caller that is no proxy is who that proxy says.
        #[test]
        fn nothing_a_caller_writes_changes_who_it_is(forged in visible(), more in visible()) {
            let chained = format!("{forged}, 203.0.113.9");
            let origin = told(&[("x-forwarded-for", more.as_bytes()), ("x-forwarded-for", chained.as_bytes())]);
            prop_assert_eq!(origin.client.to_string(), "203.0.113.9");
            for own in ["for=203.0.113.9", "for=\"203.0.113.9:7\";proto=http", "by=_x;for=203.0.113.9;x=\"a\\\"b,c\\\\\""] {
                let chained = format!("{forged}, {own}");
                let origin = told(&[("forwarded", more.as_bytes()), ("forwarded", chained.as_bytes())]);
                prop_assert_eq!(origin.client.to_string(), "203.0.113.9");
            }
        }

        /// Any bytes at all end in an address that stands there, or the peer's.
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec((32_u8..=255).prop_filter("fits", |byte| *byte != 127), 0..80)) {
            for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
                told(&[(name, &bytes)]);
            }
        }

        /// What is written as the RFC says is read as what it was.
        #[test]
        fn addresses_come_back(address: IpAddr, port: Option<u16>) {
            let bare = match address { IpAddr::V4(it) => it.to_string(), IpAddr::V6(it) => format!("[{it}]") };
            let node = port.map_or(bare.clone(), |port| format!("{bare}:{port}"));
            let line = format!("proto=https;for=\"{node}\"");
            prop_assert_eq!(told(&[("forwarded", line.as_bytes())]).client, address.to_canonical());
            prop_assert_eq!(told(&[("x-forwarded-for", node.as_bytes())]).client, address.to_canonical());
        }
    }

    #[test]
    fn fuzz_forwarded() {
        let seeds = [
            "for=6.6.6.6;proto=http",
            "for=\"[2001:db8::1]:7\";by=_x;host=a.example",
            "1.2.3.4, 10.0.0.2",
            "for=unknown",
            "for=\"a\\\"b,c\\\\\"",
            "[::1]:80,_hidden",
            "For = 1",
            ";;,,=\"",
        ];
        crate::fuzzing::run("forwarded", &seeds, |input| {
            FieldValue::from_bytes(input).ok()?;
            // Whatever a caller writes: whom the nearest proxy has named is who calls.
            for own in ["for=203.0.113.9", "by=_x;for=\"203.0.113.9:7\";x=\"a\\\"b,c\""] {
                let chained = [input, b", ", own.as_bytes()].concat();
                assert_eq!(told(&[("forwarded", input), ("forwarded", &chained)]).client.to_string(), "203.0.113.9");
            }
            let chained = [input, b", 203.0.113.9"].concat();
            assert_eq!(
                told(&[("x-forwarded-for", input), ("x-forwarded-for", &chained)]).client.to_string(),
                "203.0.113.9"
            );
            let (one, other) = (told(&[("forwarded", input)]), told(&[("x-forwarded-for", input)]));
            for (name, origin) in [
                ("x-forwarded-proto", told(&[("x-forwarded-proto", input)])),
                ("x-forwarded-host", told(&[("x-forwarded-host", input)])),
            ] {
                assert_eq!(origin.client, told(&[]).client, "{name} says nothing of addresses");
            }
            Some((
                one.client.is_ipv4(),
                one.scheme.is_some(),
                one.host.is_some(),
                one.cut,
                other.cut,
                other.client.to_string().len(),
            ))
        });
    }
}
