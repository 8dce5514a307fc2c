//! What a signature needs to see of a request or a response: control data and header fields.

/// The header fields of a message.
///
/// Implemented for slices, arrays and vectors of pairs (name, value). Names of such pairs are compared without regard to
/// case.
pub trait Fields {
    /// Calls `see` with the value of each line of the field, in the order of the message. `name` is in lower case.
    /// Values are as received: the caller need not trim them.
    fn each<'a>(&'a self, name: &str, see: &mut dyn FnMut(&'a [u8]));
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Fields for &[(N, V)] {
    fn each<'a>(&'a self, name: &str, see: &mut dyn FnMut(&'a [u8])) {
        for (own, value) in *self {
            if own.as_ref().eq_ignore_ascii_case(name) {
                see(value.as_ref());
            }
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LENGTH: usize> Fields for [(N, V); LENGTH] {
    fn each<'a>(&'a self, name: &str, see: &mut dyn FnMut(&'a [u8])) {
        for (own, value) in self {
            if own.as_ref().eq_ignore_ascii_case(name) {
                see(value.as_ref());
            }
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Fields for Vec<(N, V)> {
    fn each<'a>(&'a self, name: &str, see: &mut dyn FnMut(&'a [u8])) {
        for (own, value) in self {
            if own.as_ref().eq_ignore_ascii_case(name) {
                see(value.as_ref());
            }
        }
    }
}

/// A request, as signer and verifier see it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method, in the case it was sent in.
    pub method: &'a str,
    /// `http` or `https`, in any case.
    pub scheme: &'a str,
    /// The host and the port, as in `Host` or `:authority`. Case and default port are normalised for the signature.
    pub authority: &'a str,
    /// The request target of the request line. For HTTP/2 and HTTP/3: the `:path`.
    pub target: &'a str,
    /// The path of the target, not decoded. None where the target has none: `*`, and the authority of a `CONNECT`.
    pub path: Option<&'a str>,
    /// The query of the target, without its `?`, not decoded. None where there is no `?`.
    pub query: Option<&'a str>,
    /// The header fields.
    pub fields: &'a dyn Fields,
}

impl<'a> Request<'a> {
    /// A request with this target; path and query are taken from it, whichever form it has (RFC 9112, section 3.2).
    #[must_use]
    pub fn new(method: &'a str, scheme: &'a str, authority: &'a str, target: &'a str, fields: &'a dyn Fields) -> Self {
        let (path, query) = match method {
            "CONNECT" => (None, None),
            _ => path_and_query(target),
        };
        Self { method, scheme, authority, target, path, query, fields }
    }
}

/// The path and the query of a target in origin form or absolute form; no path for any other.
fn path_and_query(target: &str) -> (Option<&str>, Option<&str>) {
    let local = if target.starts_with('/') {
        target
    } else if let Some((_, rest)) = target.split_once("://") {
        &rest[rest.find(['/', '?']).unwrap_or(rest.len())..]
    } else {
        return (None, None);
    };
    match local.split_once('?') {
        Some((path, query)) => (Some(path), Some(query)),
        None => (Some(local), None),
    }
}

/// A response, as signer and verifier see it.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub fields: &'a dyn Fields,
    /// The request that was answered. Components with `;req` are taken from it.
    pub request: Option<&'a Request<'a>>,
}

/// What a signature is made over.
#[derive(Clone, Copy)]
pub enum Message<'a> {
    /// A request.
    Request(&'a Request<'a>),
    /// A response, with the request it answers.
    Response(&'a Response<'a>),
}

impl<'a> Message<'a> {
    /// The header fields.
    #[must_use]
    pub fn fields(&self) -> &'a dyn Fields {
        match self {
            Self::Request(request) => request.fields,
            Self::Response(response) => response.fields,
        }
    }
}

impl<'a> From<&'a Request<'a>> for Message<'a> {
    fn from(request: &'a Request<'a>) -> Self {
        Self::Request(request)
    }
}

impl<'a> From<&'a Response<'a>> for Message<'a> {
    fn from(response: &'a Response<'a>) -> Self {
        Self::Response(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, target: &str, path: Option<&str>, query: Option<&str>) {
        let request = Request::new(method, "https", "example.com", target, &[("a", "b")]);
        assert_eq!((request.path, request.query), (path, query), "{method} {target}");
    }

    #[test]
    fn path_and_query_come_from_any_form_of_target() {
        check("GET", "/a/b?c=d", Some("/a/b"), Some("c=d"));
        check("GET", "/a", Some("/a"), None);
        check("GET", "/a?", Some("/a"), Some(""));
        check("GET", "/a?b?c", Some("/a"), Some("b?c"));
        check("GET", "/http://x/y", Some("/http://x/y"), None);
        check("GET", "http://example.com/a?b", Some("/a"), Some("b"));
        check("GET", "http://example.com?b/c", Some(""), Some("b/c"));
        check("GET", "http://example.com", Some(""), None);
        check("OPTIONS", "*", None, None);
        check("CONNECT", "example.com:80", None, None);
        check("CONNECT", "/a?b", None, None);
        check("GET", "", None, None);
    }

    #[test]
    fn fields_of_pairs_are_found_in_any_case() {
        let pairs = [("Accept", "a"), ("X-Other", "b"), ("ACCEPT", "c")];
        let mut seen = Vec::new();
        pairs.each("accept", &mut |value| seen.push(value));
        assert_eq!(seen, [b"a", b"c"]);
        let mut counted = 0;
        pairs.as_slice().each("accept", &mut |_| counted += 1);
        pairs.to_vec().each("accept", &mut |_| counted += 1);
        assert_eq!(counted, 4);
    }
}
