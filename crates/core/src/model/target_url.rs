//! The base URL of one instance, split into what a connection and a forwarded request need.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text cannot be a target's URL.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TargetUrlError {
    /// Not an absolute URL.
    #[error("expected an absolute URL like 'http://10.0.0.7:8080/base'")]
    NotAbsolute,
    /// A scheme other than `http` and `https`.
    #[error("expected the scheme 'http' or 'https', found '{0}'")]
    Scheme(String),
    /// User information in the authority.
    #[error("a target carries no user information")]
    UserInfo,
    /// A query; a target is a base path.
    #[error("a target carries no query")]
    Query,
    /// Port 0 or none that can be read.
    #[error("expected a port from 1 to 65535")]
    Port,
}

/// How a target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URL begins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where a URL names none.
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An `http[s]://host[:port][/base]` URL. Its base path carries no trailing slash.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetUrl {
    scheme: Scheme,
    authority: Arc<str>,
    host: Arc<str>,
    port: u16,
    base: Arc<str>,
}

impl TargetUrl {
    /// Whether it is spoken to over TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `host[:port]` as written: what the `Host` header of a forwarded request says.
    pub fn authority(&self) -> &Arc<str> {
        &self.authority
    }

    /// The host alone; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The TCP port; 80, or 443 for `https`, where the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The base path without its trailing slash; empty for the root.
    pub fn base(&self) -> &str {
        &self.base
    }
}

impl FromStr for TargetUrl {
    type Err = TargetUrlError;
    fn from_str(text: &str) -> Result<Self, TargetUrlError> {
        let uri: Uri = text.parse().map_err(|_| TargetUrlError::NotAbsolute)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(TargetUrlError::NotAbsolute);
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(TargetUrlError::Scheme(other.to_owned())),
        };
        if authority.as_str().contains('@') {
            return Err(TargetUrlError::UserInfo);
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(TargetUrlError::Query);
        }
        let port_text = authority.as_str().rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let port = match (authority.port_u16(), port_text) {
            (Some(port), _) if port > 0 => port,
            (None, None) => scheme.default_port(),
            _ => return Err(TargetUrlError::Port),
        };
        if authority.host().is_empty() {
            return Err(TargetUrlError::NotAbsolute);
        }
        Ok(Self {
            scheme,
            authority: authority.as_str().to_ascii_lowercase().into(),
            host: authority.host().to_ascii_lowercase().into(),
            port,
            base: uri.path().trim_end_matches('/').into(),
        })
    }
}

impl TryFrom<String> for TargetUrl {
    type Error = TargetUrlError;
    fn try_from(text: String) -> Result<Self, TargetUrlError> {
        text.parse()
    }
}

impl From<TargetUrl> for String {
    fn from(url: TargetUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority, self.base)
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

text_schema!(TargetUrl, "target_url", "http://127.0.0.1:9001");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_target_is_split_into_its_parts() {
        let url: TargetUrl = "http://LocalHost:8080/base/".parse().expect("well formed");
        assert_eq!((url.host(), url.port(), url.base()), ("localhost", 8080, "/base"));
        let url: TargetUrl = "http://[::1]".parse().expect("well formed");
        assert_eq!((url.host(), url.port(), url.base(), url.authority().as_ref()), ("::1", 80, "", "[::1]"));
        assert_eq!(url.scheme(), Scheme::Http);
        let url: TargetUrl = "HTTPS://A.example/base".parse().expect("well formed");
        assert_eq!((url.scheme(), url.port(), url.authority().as_ref()), (Scheme::Https, 443, "a.example"));
        let url: TargetUrl = "https://[::1]:80".parse().expect("well formed");
        assert_eq!((url.scheme(), url.port(), url.host()), (Scheme::Https, 80, "::1"));
    }

    #[test]
    fn the_scheme_makes_another_target() {
        let (plain, tls): (TargetUrl, TargetUrl) =
            ("http://a:1/b".parse().expect("well formed"), "https://a:1/b".parse().expect("well formed"));
        assert_ne!(plain, tls);
        assert_eq!((plain.to_string().as_str(), tls.to_string().as_str()), ("http://a:1/b", "https://a:1/b"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(
            scheme in "http|https|HTTPS",
            host in r"[a-zA-Z][a-zA-Z0-9.-]{0,20}|10\.0\.0\.[1-9]|\[::[1-9a-f]\]",
            port in proptest::option::of(1_u16..),
            base in "(/[a-z0-9]{1,5}){0,3}/{0,2}",
        ) {
            let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
            let url: TargetUrl = format!("{scheme}://{host}{port_text}{base}").parse().expect("well formed");
            let is_tls = scheme.eq_ignore_ascii_case("https");
            prop_assert_eq!(url.scheme() == Scheme::Https, is_tls);
            prop_assert_eq!(url.port(), port.unwrap_or(if is_tls { 443 } else { 80 }));
            prop_assert_eq!(url.base(), base.trim_end_matches('/'));
            prop_assert_eq!(url.to_string().parse::<TargetUrl>(), Ok(url));
        }

        #[test]
        fn no_text_makes_it_fall_over(text in "(https?:)?[ -~]{0,40}") {
            if let Ok(url) = text.parse::<TargetUrl>() {
                prop_assert_eq!(url.to_string().parse::<TargetUrl>(), Ok(url));
            }
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_its_reason() {
        for (text, error) in [
            ("localhost:80", TargetUrlError::NotAbsolute),
            ("/base", TargetUrlError::NotAbsolute),
            ("ftp://a/", TargetUrlError::Scheme("ftp".into())),
            ("http://u:p@a/", TargetUrlError::UserInfo),
            ("http://a/?q", TargetUrlError::Query),
            ("http://a/#f", TargetUrlError::Query),
            ("http://a:0/", TargetUrlError::Port),
            ("http://a:70000/", TargetUrlError::Port),
        ] {
            assert_eq!(text.parse::<TargetUrl>(), Err(error), "{text}");
        }
    }
}
