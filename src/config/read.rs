//! Reading one value: from the text of a flag or environment variable, or from a TOML value.
//!
//! Every reader says what it expects, so that a message about a bad value is the same wherever the value came from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_core::address::Network;
use portcullis_core::duration::{REACH, parse as duration};
use portcullis_core::model::is_reserved_service_name;
use portcullis_proxy::proxy_protocol::ProxyProtocol;
use portcullis_proxy::tls::{CertificateFiles, ClientCertificates, Profile, UnknownName};
use portcullis_telemetry::Target;

use super::acme::ChallengeKind;
pub(crate) use super::raw::{Raw, Reader};

/// Which addresses a service may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowTarget {
    /// This machine itself.
    Loopback,
    /// Private networks (RFC 1918, RFC 4193 and the like).
    Private,
    /// Everything that can be reached on the internet.
    Public,
    /// A network by its prefix, whatever kind it is of.
    Network(Network),
}

/// Whom names are resolved by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolverKind {
    /// The hosts file and name servers.
    Dns,
    /// The system's own resolver.
    System,
}

/// Who may read what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsAccess {
    /// Who shows a token.
    Token,
    /// Whoever reaches the admin listener.
    Open,
}

/// Who may read what is counted.
pub(super) const METRICS_ACCESS: Reader<MetricsAccess> = Reader {
    form: "MODE",
    list: false,
    expected: "'token' or 'open'",
    read: |raw| match raw.text()? {
        "token" => Some(MetricsAccess::Token),
        "open" => Some(MetricsAccess::Open),
        _ => None,
    },
};

/// An address with its port.
pub(super) const ADDRESS: Reader<SocketAddr> = Reader {
    form: "ADDRESS",
    list: false,
    expected: "an address with a port like '127.0.0.1:6500'",
    read: |raw| raw.text()?.parse().ok(),
};

/// An address with its port, or none.
pub(super) const ADDRESS_OR_OFF: Reader<Option<SocketAddr>> = Reader {
    form: "ADDRESS",
    list: false,
    expected: "an address with a port like '127.0.0.1:6500', or 'off'",
    read: |raw| match raw.text()? {
        "off" => Some(None),
        text => text.parse().ok().map(Some),
    },
};

/// Addresses with their ports.
pub(super) const ADDRESSES: Reader<Vec<SocketAddr>> = Reader {
    form: "ADDRESS",
    list: true,
    expected: "addresses with ports like '10.0.0.2:53'",
    read: |raw| raw.items()?.into_iter().map(|item| item.parse().ok()).collect(),
};

/// Whom names are resolved by.
pub(super) const RESOLVER: Reader<ResolverKind> = Reader {
    form: "RESOLVER",
    list: false,
    expected: "'dns' or 'system'",
    read: |raw| match raw.text()? {
        "dns" => Some(ResolverKind::Dns),
        "system" => Some(ResolverKind::System),
        _ => None,
    },
};

/// Yes or no.
pub(super) const SWITCH: Reader<bool> = Reader {
    form: "BOOL",
    list: false,
    expected: "true or false",
    read: |raw| match raw {
        Raw::Text(text) => text.trim().parse().ok(),
        Raw::Toml(value) => value.as_bool(),
    },
};

/// A file, or none.
pub(super) const FILE: Reader<Option<PathBuf>> = Reader {
    form: "FILE",
    list: false,
    expected: "the path of a file",
    read: |raw| Some(Some(raw.text()?).filter(|text| !text.is_empty()).map(PathBuf::from)),
};

/// Where lines are written.
pub(super) const LOG_TARGET: Reader<Target> = Reader {
    form: "FILE",
    list: false,
    expected: "the path of a file, 'stdout' or 'stderr'",
    read: |raw| match raw.text()? {
        "" => None,
        "stdout" => Some(Target::Stdout),
        "stderr" => Some(Target::Stderr),
        path => Some(Target::Path(path.into())),
    },
};

/// Files.
pub(super) const FILES: Reader<Vec<PathBuf>> = Reader {
    form: "FILE",
    list: true,
    expected: "a list of paths of files",
    read: |raw| Some(raw.items()?.into_iter().map(PathBuf::from).collect()),
};

/// Pairs of files.
pub(super) const CERTIFICATES: Reader<Vec<CertificateFiles>> = Reader {
    form: "CERTIFICATE:KEY",
    list: true,
    expected: "a list of {certificate = \"FILE\", key = \"FILE\"}, or of 'CERTIFICATE:KEY'",
    read: |raw| match raw {
        Raw::Text(_) => raw.items()?.into_iter().map(certificate_pair).collect(),
        Raw::Toml(value) => value.as_array()?.iter().map(certificate_table).collect(),
    },
};

/// Which versions of TLS are spoken.
pub(super) const PROFILE: Reader<Profile> = Reader {
    form: "PROFILE",
    list: false,
    expected: "'modern' or 'intermediate'",
    read: |raw| match raw.text()? {
        "modern" => Some(Profile::Modern),
        "intermediate" => Some(Profile::Intermediate),
        _ => None,
    },
};

/// What happens to unknown names.
pub(super) const UNKNOWN_NAME: Reader<UnknownName> = Reader {
    form: "MODE",
    list: false,
    expected: "'first' or 'refuse'",
    read: |raw| match raw.text()? {
        "first" => Some(UnknownName::First),
        "refuse" => Some(UnknownName::Refuse),
        _ => None,
    },
};

/// Whether clients are asked for a certificate.
pub(super) const CLIENT_CERTIFICATES: Reader<ClientCertificates> = Reader {
    form: "MODE",
    list: false,
    expected: "'off', 'optional' or 'required'",
    read: |raw| match raw.text()? {
        "off" => Some(ClientCertificates::Off),
        "optional" => Some(ClientCertificates::Optional),
        "required" => Some(ClientCertificates::Required),
        _ => None,
    },
};

/// A size, 0 included.
pub(super) const BYTES: Reader<u64> = Reader {
    form: "BYTES",
    list: false,
    expected: "a size in bytes like 65536 or '64KiB'",
    read: |raw| raw.number().or_else(|| bytes(raw.text()?)),
};

/// A size that is not 0.
pub(super) const POSITIVE_BYTES: Reader<u64> = Reader {
    form: "BYTES",
    list: false,
    expected: "a size of at least 1 byte like 65536 or '64KiB'",
    read: |raw| (BYTES.read)(raw).filter(|size| *size > 0),
};

/// A count, 0 included.
pub(super) const COUNT: Reader<usize> = Reader {
    form: "NUMBER",
    list: false,
    expected: "a whole number, 0 or more",
    read: |raw| raw.number()?.try_into().ok(),
};

/// A count that is not 0.
pub(super) const POSITIVE: Reader<usize> = Reader {
    form: "NUMBER",
    list: false,
    expected: "a whole number, 1 or more",
    read: |raw| (COUNT.read)(raw).filter(|count| *count > 0),
};

/// Segments a path has at most under which others stand.
const MAX_PREFIX_DEPTH: usize = 4;

/// A path under which others stand, or none: one that is written in one way only, and none of the gateway's own.
pub(super) const PATH_PREFIX: Reader<String> = Reader {
    form: "PATH",
    list: false,
    expected: "a path like '/svc': at most four segments of letters, digits, '_', '-', '.' and '~', none of the gateway's own",
    read: |raw| {
        let text = raw.text()?;
        let mut segments = text.split('/');
        let (root, first) = (segments.next()?, segments.clone().next());
        let is_own = first.is_some_and(is_reserved_service_name);
        let is_plain = |segment: &str| {
            let written = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte));
            written && !segment.is_empty() && segment != "." && segment != ".."
        };
        let is_prefix = root.is_empty() && !is_own && segments.clone().all(is_plain);
        (is_prefix && segments.count() <= MAX_PREFIX_DEPTH).then(|| text.to_owned())
    },
};

/// A number of threads, in itself or by the cores of this machine.
pub(super) const THREADS: Reader<usize> = Reader {
    form: "NUMBER",
    list: false,
    expected: "a number from 1 to 1024, 'cores' or 'cores/2'",
    read: |raw| {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        match raw.text() {
            Some("cores") => Some(cores()),
            Some("cores/2") => Some((cores() / 2).max(1)),
            _ => (COUNT.read)(raw).filter(|count| (1..=1024).contains(count)),
        }
    },
};

/// A duration, 0 included.
pub(super) const TIME: Reader<Duration> = Reader {
    form: "DURATION",
    list: false,
    expected: "a time in seconds like 10, or like '500ms', '10s', '5m', '1h' or '1d'",
    read: |raw| match raw {
        Raw::Toml(toml::Value::Float(seconds)) => Duration::try_from_secs_f64(*seconds).ok().filter(within_reach),
        _ => raw.number().map(Duration::from_secs).filter(within_reach).or_else(|| duration(raw.text()?)),
    },
};

/// A duration that is not 0.
pub(super) const POSITIVE_TIME: Reader<Duration> = Reader {
    form: "DURATION",
    list: false,
    expected: "a time longer than 0 in seconds like 10, or like '500ms', '10s', '5m', '1h' or '1d'",
    read: |raw| (TIME.read)(raw).filter(|time| !time.is_zero()),
};

/// A duration of whole seconds, at least one: what a token can say about its own life.
pub(super) const WHOLE_SECONDS: Reader<Duration> = Reader {
    form: "DURATION",
    list: false,
    expected: "a time of whole seconds, 1 or more, like 300, '300s', '5m', '1h' or '1d'",
    read: |raw| (TIME.read)(raw).filter(|time| time.subsec_nanos() == 0 && !time.is_zero()),
};

/// An `http` or `https` URL without query, or nothing. Kept without a trailing slash.
pub(super) const URL: Reader<Option<String>> = Reader {
    form: "URL",
    list: false,
    expected: "a URL like 'https://api.example.com', without user, query or fragment",
    read: |raw| match raw.text()? {
        "" => Some(None),
        text => url(text).map(Some),
    },
};

/// Host names, in lower case.
pub(super) const HOSTS: Reader<Vec<String>> = Reader {
    form: "HOST",
    list: true,
    expected: "a list of host names without a port",
    read: |raw| raw.items()?.into_iter().map(host).collect(),
};

/// DNS names as they are written, in lower case. What is none is told with the reason.
pub(super) const DNS_NAMES: Reader<Vec<String>> = Reader {
    form: "HOST",
    list: true,
    expected: "a list of DNS names",
    read: |raw| Some(raw.items()?.into_iter().map(str::to_ascii_lowercase).collect()),
};

/// Mail addresses, kept as `mailto:` URLs.
pub(super) const CONTACTS: Reader<Vec<String>> = Reader {
    form: "MAIL",
    list: true,
    expected: "a list of mail addresses like 'ops@example.com'",
    read: |raw| raw.items()?.into_iter().map(contact).collect(),
};

/// Ways to convince a certificate authority.
pub(super) const CHALLENGES: Reader<Vec<ChallengeKind>> = Reader {
    form: "CHALLENGE",
    list: true,
    expected: "a list of 'tls-alpn-01' and 'http-01'",
    read: |raw| raw.items()?.into_iter().map(|item| item.parse().ok()).collect(),
};

/// A text, or none.
pub(super) const TEXT: Reader<Option<String>> = Reader {
    form: "TEXT",
    list: false,
    expected: "a text",
    read: |raw| Some(Some(raw.text()?).filter(|text| !text.is_empty()).map(str::to_owned)),
};

/// Networks; an address alone is a network of one.
pub(super) const NETWORKS: Reader<Vec<Network>> = Reader {
    form: "NETWORK",
    list: true,
    expected: "a list of networks like '10.0.0.0/8'",
    read: |raw| raw.items()?.into_iter().map(|item| item.parse().ok()).collect(),
};

/// Whether the PROXY protocol is spoken.
pub(super) const PROXY_PROTOCOL: Reader<ProxyProtocol> = Reader {
    form: "MODE",
    list: false,
    expected: "'off', 'optional' or 'required'",
    read: |raw| match raw.text()? {
        "off" => Some(ProxyProtocol::Off),
        "optional" => Some(ProxyProtocol::Optional),
        "required" => Some(ProxyProtocol::Required),
        _ => None,
    },
};

/// Kinds of address and networks.
pub(super) const TARGETS: Reader<Vec<AllowTarget>> = Reader {
    form: "KIND",
    list: true,
    expected: "a list of 'loopback', 'private', 'public' and networks like '10.0.0.0/8'",
    read: |raw| raw.items()?.into_iter().map(allow_target).collect(),
};

fn within_reach(time: &Duration) -> bool {
    *time <= REACH
}

/// `64KiB`, `1MiB`, `2GiB`, `10B`; a number alone is bytes.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn split_unit(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| (&text[..digits], text[digits..].trim_start()))
}

fn url(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && uri.query().is_none()
        && !text.contains('#');
    plain.then(|| text.trim_end_matches('/').to_owned())
}

fn host(text: &str) -> Option<String> {
    let authority: http::uri::Authority = text.parse().ok()?;
    // Without a port and without a user, the authority is the host.
    (authority.host() == text && !text.is_empty()).then(|| text.to_ascii_lowercase())
}

/// With or without its scheme (RFC 6068).
fn contact(text: &str) -> Option<String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let (name, host) = address.rsplit_once('@')?;
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    (is_plain(name) && is_plain(host)).then(|| format!("mailto:{address}"))
}

/// `CERTIFICATE:KEY`; paths with a colon in them can only be given in the file.
fn certificate_pair(text: &str) -> Option<CertificateFiles> {
    let (certificate, key) = text.split_once(':')?;
    let plain = !certificate.is_empty() && !key.is_empty() && !key.contains(':');
    plain.then(|| CertificateFiles { certificate: certificate.into(), key: key.into() })
}

fn certificate_table(value: &toml::Value) -> Option<CertificateFiles> {
    let table = value.as_table().filter(|table| table.len() == 2)?;
    let path = |name: &str| table.get(name)?.as_str().filter(|path| !path.is_empty()).map(PathBuf::from);
    Some(CertificateFiles { certificate: path("certificate")?, key: path("key")? })
}

fn allow_target(text: &str) -> Option<AllowTarget> {
    Some(match text {
        "loopback" => AllowTarget::Loopback,
        "private" => AllowTarget::Private,
        "public" => AllowTarget::Public,
        _ => AllowTarget::Network(text.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_carry_their_unit() {
        let millis = |text| duration(text).map(|time| time.as_millis());
        for (text, want) in [
            ("10", Some(10_000)),
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.5s", None),
            ("10 years", None),
            ("5M", None),
            ("18446744073709551615", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(millis(text), want, "{text}");
        }
        let value = toml::Value::Float(0.5);
        assert_eq!(TIME.read(&Raw::Toml(&value)), Ok(Duration::from_millis(500)));
        for bad in [f64::NAN, -1.0, f64::INFINITY, 1e300] {
            assert!(TIME.read(&Raw::Toml(&toml::Value::Float(bad))).is_err(), "{bad}");
        }
        assert!(TIME.read(&Raw::Toml(&toml::Value::Integer(-1))).is_err());
        assert!(POSITIVE_TIME.read(&Raw::Text("0")).is_err());
        assert!(WHOLE_SECONDS.read(&Raw::Text("1500ms")).is_err());
    }

    #[test]
    fn sizes_are_bytes_or_carry_their_unit() {
        for (text, want) in [
            ("65536", Some(65_536)),
            ("64KiB", Some(65_536)),
            ("2 GiB", Some(2 << 30)),
            ("0", Some(0)),
            ("64KB", None),
            ("KiB", None),
            ("-1", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(BYTES.read(&Raw::Text(text)).ok(), want, "{text}");
        }
        assert!(POSITIVE_BYTES.read(&Raw::Text("0KiB")).is_err());
    }

    #[test]
    fn a_prefix_is_written_in_one_way_and_is_not_the_gateways_own() {
        for good in ["", "/svc", "/a/b/c/d", "/Services_1/v2.0~x-y", "/authors"] {
            assert_eq!(PATH_PREFIX.read(&Raw::Text(good)).as_deref(), Ok(good));
        }
        for bad in [
            "/",
            "svc",
            "svc/",
            "/svc/",
            "//svc",
            "/a//b",
            "/a/../b",
            "/.",
            "/..",
            "/a/b/c/d/e",
            "/{x}",
            "/%61",
            "/a b",
            "/ü",
            "/a;b",
            "/*",
            "/-",
            "/-/x",
            "/oauth",
            "/OAuth/x",
            "/AUTH",
            "/.well-known",
            "/Verify_Token/y",
            "http://a/svc",
        ] {
            assert!(PATH_PREFIX.read(&Raw::Text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_public_url_has_no_query_no_user_and_no_slash_at_its_end() {
        for (text, want) in [
            ("https://api.example.com/", Some("https://api.example.com")),
            ("http://localhost:6500/base", Some("http://localhost:6500/base")),
            ("api.example.com", None),
            ("ftp://a", None),
            ("http://u@a", None),
            ("http://a/?q", None),
            ("http://a/#f", None),
        ] {
            assert_eq!(URL.read(&Raw::Text(text)).ok().flatten().as_deref(), want, "{text}");
        }
        assert_eq!(URL.read(&Raw::Text("")), Ok(None));
    }

    #[test]
    fn lists_are_arrays_in_the_file_and_have_commas_elsewhere() {
        let file: toml::Table = "a = ['LOOPBACK.example', 'b']".parse().expect("TOML");
        assert_eq!(HOSTS.read(&Raw::Toml(&file["a"])), Ok(vec!["loopback.example".to_owned(), "b".to_owned()]));
        let targets = TARGETS.read(&Raw::Text("loopback, 10.0.0.1,fd00::/8")).expect("readable");
        assert_eq!(targets[0], AllowTarget::Loopback);
        assert_eq!(targets[1], AllowTarget::Network("10.0.0.1/32".parse().expect("a network")));
        assert_eq!(targets.len(), 3);
        assert_eq!(TARGETS.read(&Raw::Text("")), Ok(vec![]));
        for bad in ["a:80", "u@a", "a b"] {
            assert!(HOSTS.read(&Raw::Text(bad)).is_err(), "{bad}");
        }
        assert!(NETWORKS.read(&Raw::Text("loopback")).is_err());
        assert!(HOSTS.read(&Raw::Toml(&toml::Value::String("a,b".into()))).is_err());
    }

    #[test]
    fn certificates_are_pairs_of_files() {
        let pair = |certificate: &str, key: &str| CertificateFiles { certificate: certificate.into(), key: key.into() };
        let read = CERTIFICATES.read(&Raw::Text("a.pem:a.key, /b/c.pem:/b/c.key"));
        assert_eq!(read, Ok(vec![pair("a.pem", "a.key"), pair("/b/c.pem", "/b/c.key")]));
        for bad in ["a.pem", "a.pem:", ":a.key", "a:b:c"] {
            assert!(CERTIFICATES.read(&Raw::Text(bad)).is_err(), "{bad}");
        }
        let table = |text: &str| text.parse::<toml::Table>().expect("TOML")["certificates"].clone();
        let file = table("[[certificates]]\ncertificate = 'a:b'\nkey = 'c'");
        assert_eq!(CERTIFICATES.read(&Raw::Toml(&file)), Ok(vec![pair("a:b", "c")]));
        for bad in
            ["[[certificates]]\nkey = 'c'", "certificates = ['a:b']", "certificates = [{certificate='a',kye='b'}]"]
        {
            assert!(CERTIFICATES.read(&Raw::Toml(&table(bad))).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_says_what_was_expected_and_what_was_found() {
        let message = BYTES.read(&Raw::Text("lots")).expect_err("no size");
        assert_eq!(message, "expected a size in bytes like 65536 or '64KiB', found 'lots'");
    }

    #[test]
    fn fuzz_durations_and_sizes() {
        crate::fuzzing::run(
            "durations_and_sizes",
            &["500ms", "10s", "1h", "36500d", "64KiB", "2 GiB", "16777216GiB", "07"],
            |input| {
                let Ok(text) = std::str::from_utf8(input) else { return None };
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let (number, unit) = (text[..digits].parse::<u128>().ok(), text[digits..].trim_start());
                // Another reader, in larger numbers.
                let expected = |units: &[(&str, u128)]| {
                    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
                    number?.checked_mul(*factor)
                };
                let millis = expected(&[
                    ("ms", 1),
                    ("", 1_000),
                    ("s", 1_000),
                    ("m", 60_000),
                    ("h", 3_600_000),
                    ("d", 86_400_000),
                ]);
                let millis = millis.filter(|millis| *millis <= REACH.as_millis());
                assert_eq!(duration(text).map(|time| time.as_millis()), millis, "{text}");
                let size = expected(&[("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]);
                assert_eq!(bytes(text).map(u128::from), size.filter(|size| *size <= u128::from(u64::MAX)), "{text}");
                Some((millis.is_some(), size.is_some(), unit.len().min(4)))
            },
        );
    }
}
