//! Origins as they are declared, and whether one of a call is among them.

/// The declared origins.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// Every origin, `*`.
    pub(super) any: bool,
    exact: Vec<String>,
    /// Scheme with `://`, and what the host and port must end with, from the dot.
    below: Vec<(String, String)>,
}

impl Origins {
    /// Reads them; tells of those that are none by their position.
    pub(super) fn parse(declared: &[String], mut wrong: impl FnMut(usize, String)) -> Self {
        let mut origins = Self::default();
        for (at, text) in declared.iter().enumerate() {
            if text == "*" {
                origins.any = true;
                continue;
            }
            let lower = text.to_ascii_lowercase();
            match lower.split_once("://") {
                Some((scheme, host)) if is_scheme(scheme) && is_authority(host) => origins.exact.push(lower),
                Some((scheme, host)) if is_scheme(scheme) => match host.strip_prefix('*') {
                    Some(end) if end.strip_prefix('.').is_some_and(is_authority) => {
                        origins.below.push((format!("{scheme}://"), end.to_owned()));
                    }
                    _ => wrong(at, expected(text)),
                },
                _ => wrong(at, expected(text)),
            }
        }
        origins
    }

    /// Whether the pages of an origin may call.
    pub(super) fn allow(&self, origin: &str) -> bool {
        let is_below = |(scheme, end): &(String, String)| {
            let host = origin.strip_prefix(scheme.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
            host.is_some_and(|labels| labels.split('.').all(is_label))
        };
        self.any || self.exact.iter().any(|exact| exact == origin) || self.below.iter().any(is_below)
    }
}

fn expected(found: &str) -> String {
    format!("expected '*', 'https://host[:port]' or 'https://*.domain[:port]', without a path, found '{found}'")
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}

/// A host with an optional port, as a browser writes it.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fine = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(is_label),
    };
    host_fine && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn is_label(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(declared: &[&str]) -> Origins {
        let declared: Vec<_> = declared.iter().map(ToString::to_string).collect();
        Origins::parse(&declared, |at, message| panic!("{at}: {message}"))
    }

    #[test]
    fn an_origin_is_met_whole() {
        let origins = origins(&["https://App.example.com", "http://localhost:3000", "http://[::1]:80"]);
        for fine in ["https://app.example.com", "http://localhost:3000", "http://[::1]:80"] {
            assert!(origins.allow(fine), "{fine}");
        }
        for other in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://evil.app.example.com",
            "http://localhost:30000",
            "null",
            "",
        ] {
            assert!(!origins.allow(other), "{other}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_whole_labels_below_the_domain() {
        let origins = origins(&["https://*.example.com"]);
        for fine in ["https://a.example.com", "https://a.b.example.com"] {
            assert!(origins.allow(fine), "{fine}");
        }
        for other in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "https://evil.example/.example.com",
            "https://evil.example#.example.com",
            "https://a..example.com",
            "https://u@a.example.com",
            "http://a.example.com",
            "https://a.example.com:444",
        ] {
            assert!(!origins.allow(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told() {
        for bad in [
            "app.example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*",
            "https://*example.com",
            "https://a.*.com",
            "https://a:x",
            "https://a:99999",
            "null",
            "",
        ] {
            let mut wrong = 0;
            Origins::parse(&[bad.to_owned()], |_, _| wrong += 1);
            assert_eq!(wrong, 1, "{bad}");
        }
    }
}
