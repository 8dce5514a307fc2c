//! Which header fields are not the caller's to say: those that speak about one connection, those that say who calls, how it
//! came or where it is to go, and those that only a proxy in front may write.
//!
//! Names compare by a normal form: letters in lower case, and every character that is neither letter nor digit read as
//! `-`. CGI, WSGI, Rack and PHP hand `X-User-Json`, `X_User_Json` and `X.User.Json` to an application as one.

/// Fields that speak about one connection (RFC 9110 section 7.6.1), or that the framing writes anew.
pub static HOP_BY_HOP: [FieldName; 8] =
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION];

/// Fields of a request in which a caller shows who it is.
pub static CREDENTIALS: [FieldName; 9] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    X_API_KEY,
    X_AUTH_TOKEN,
    X_FO_ACCESS_TOKEN,
    X_FO_SIGNATURE,
    X_API_ACCESS_TOKEN,
    X_API_SIGNATURE,
];

/// What a field is that is not just the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It speaks about one connection, or belongs to the framing of the message.
    Connection,
    /// Only the gateway writes it: backends believe it.
    Gateway,
    /// An API key for the gateway.
    Key,
    /// Others believe it: who calls, with which certificate, over which scheme, for which URL. The gateway writes none of
    /// these, so whoever does is the caller.
    Believed,
    /// Where the call comes from, as proxies in front say it.
    Address,
    /// The trace that the call belongs to (W3C Trace Context).
    Trace,
    /// Which method is meant in place of the one that was sent.
    Method,
    /// A field of one of fomalhaut's dialects: said to the gateway alone, and signed.
    Dialect,
}

impl Kind {
    /// Whether a call may have it once it has entered: API keys, and what trusted proxies say.
    pub fn may_enter(self) -> bool {
        matches!(self, Self::Key | Self::Address | Self::Trace)
    }
}

/// A field that is not just the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What it is.
    pub kind: Kind,
    /// Whether it is written as it is called, and not merely in a way that some would read as the same.
    pub is_exact: bool,
}

/// A name in normal form, or how names begin.
enum KnownName {
    Is(&'static str),
    Begins(&'static str),
}

use Kind::{Address, Believed, Connection, Dialect, Gateway, Key, Method, Trace};
use KnownName::{Begins, Is};

use crate::message::FieldName;
use crate::message::names::{
    AUTHORIZATION, CONNECTION, COOKIE, KEEP_ALIVE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, PROXY_CONNECTION, TE,
    TRANSFER_ENCODING, UPGRADE, X_API_ACCESS_TOKEN, X_API_KEY, X_API_SIGNATURE, X_AUTH_TOKEN, X_FO_ACCESS_TOKEN,
    X_FO_SIGNATURE,
};

/// What a field is by its name, in any case and spelling; none is the caller's own.
///
/// Every field of every call comes by here. Two letters tell which few names it could have, and of those nearly all differ
/// in length or in the letter that is compared first.
///
/// ```
/// use portcullis_core::fields::{Kind, known};
///
/// let known_exactly = known("X-User-Json").expect("backends believe it");
/// assert_eq!((known_exactly.kind, known_exactly.is_exact), (Kind::Gateway, true));
/// // A CGI application would read this as the same field, so it is taken for it.
/// let misspelled = known("x_user.json").expect("in any spelling");
/// assert_eq!((misspelled.kind, misspelled.is_exact), (Kind::Gateway, false));
/// assert_eq!(known("X-Api-Key").map(|known| known.kind), Some(Kind::Key));
/// assert_eq!(known("X-Tenant"), None);
/// ```
pub fn known(name: &str) -> Option<Known> {
    let name = name.as_bytes();
    let (candidates, tells) = match name {
        [first, dash, one, other, ..] if normal(*first) == b'x' && normal(*dash) == b'-' => {
            match [normal(*one), normal(*other)] {
                // Most of these are `x-client-` and something.
                letters @ [b'c', b'l'] => (extension(letters), 9),
                letters => (extension(letters), 4),
            }
        }
        [one, other, ..] => (plain([normal(*one), normal(*other)]), 2),
        _ => return None,
    };
    if candidates.is_empty() {
        return None;
    }
    let letter = name.get(tells).map(|byte| normal(*byte));
    let (entry, kind) = candidates.iter().find(|(entry, _)| entry.matches(name, tells, letter))?;
    let is_plain = || name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    Some(Known { kind: *kind, is_exact: entry.is_written(name) || is_plain() })
}

/// Whether no call has a field of this name once it has entered, in this spelling: whoever waits for it waits for ever. What
/// proxies in front say of addresses and traces is there, where they are trusted.
pub fn is_never_seen(name: &str) -> bool {
    known(name).is_some_and(|Known { kind, is_exact }| !(kind.may_enter() && is_exact))
}

/// Whether only the gateway writes a field, in whatever spelling.
pub fn is_identity(name: &str) -> bool {
    known(name).is_some_and(|known| known.kind == Gateway)
}

impl KnownName {
    /// Whether a name is this one. `letter` is the one of the name that tells most.
    fn matches(&self, name: &[u8], tells: usize, letter: Option<u8>) -> bool {
        let known = match self {
            Is(known) if known.len() == name.len() => known.as_bytes(),
            Begins(known) if known.len() <= name.len() => known.as_bytes(),
            _ => return false,
        };
        let may_be = known.get(tells).is_none_or(|known| Some(*known) == letter);
        // Nearly every name comes as it is called.
        may_be && (name == known || name.iter().zip(known).all(|(byte, known)| normal(*byte) == *known))
    }

    /// Whether a name is written as this one is called.
    fn is_written(&self, name: &[u8]) -> bool {
        matches!(self, Is(known) if known.as_bytes() == name)
    }
}

/// Every byte in normal form.
static NORMAL: [u8; 256] = {
    let mut normal = [b'-'; 256];
    let mut byte = 0;
    while byte < normal.len() {
        let it = byte as u8;
        if it.is_ascii_alphanumeric() {
            normal[byte] = it.to_ascii_lowercase();
        }
        byte += 1;
    }
    normal
};

pub(crate) fn normal(byte: u8) -> u8 {
    NORMAL[usize::from(byte)]
}

/// Names by their first two letters.
type Group = ([u8; 2], &'static [(KnownName, Kind)]);

/// Fields by their first two letters.
const PLAIN: &[Group] = &[
    (*b"al", &[(Is("ali-cdn-real-ip"), Address)]),
    (*b"au", &[(Is("auth-user"), Believed), (Is("auth-type"), Believed)]),
    (*b"cd", &[(Is("cdn-real-ip"), Address), (Is("cdn-src-ip"), Address)]),
    (
        *b"cf",
        &[
            (Is("cf-connecting-ip"), Address),
            (Is("cf-connecting-ipv6"), Address),
            (Is("cf-pseudo-ipv4"), Address),
            (Is("cf-visitor"), Believed),
            (Is("cf-access-authenticated-user-email"), Believed),
            (Begins("cf-client-cert"), Believed),
        ],
    ),
    (
        *b"cl",
        &[
            (Is("client-ip"), Address),
            (Is("clientip"), Address),
            // RFC 9440.
            (Begins("client-cert"), Believed),
        ],
    ),
    (*b"co", &[(Is("connection"), Connection), (Is("content-length"), Connection), (Is("coming-from"), Address)]),
    (*b"do", &[(Is("do-connecting-ip"), Address)]),
    (*b"ex", &[(Is("expect"), Connection)]),
    (*b"fa", &[(Is("fastly-client-ip"), Address), (Is("fastly-ssl"), Believed)]),
    (*b"fl", &[(Is("fly-client-ip"), Address)]),
    (*b"fo", &[(Is("forwarded"), Gateway), (Is("forwarded-for"), Address), (Is("forwarded-for-ip"), Address)]),
    (*b"fr", &[(Is("front-end-https"), Believed)]),
    (*b"ho", &[(Is("host"), Connection)]),
    (
        *b"ht",
        &[
            (Is("http2-settings"), Connection),
            (Is("http-client-ip"), Address),
            (Is("http-host"), Believed),
            (Is("http-proxy"), Believed),
            (Begins("http-x-forwarded"), Believed),
        ],
    ),
    (*b"im", &[(Is("impersonate-user"), Believed), (Is("impersonate-group"), Believed)]),
    (*b"in", &[(Is("incap-client-ip"), Address)]),
    (
        *b"iv",
        &[
            (Is("iv-user"), Believed),
            (Is("iv-user-l"), Believed),
            (Is("iv-groups"), Believed),
            (Is("iv-creds"), Believed),
        ],
    ),
    (*b"ke", &[(Is("keep-alive"), Connection)]),
    (*b"lo", &[(Is("logon-user"), Believed)]),
    (*b"me", &[(Begins("mellon-"), Believed)]),
    (*b"oa", &[(Is("oam-remote-user"), Believed)]),
    (*b"oi", &[(Begins("oidc-"), Believed)]),
    (*b"or", &[(Is("orig-path-info"), Believed), (Is("original-url"), Believed), (Is("origin-url"), Believed)]),
    (*b"pa", &[(Is("path-info"), Believed), (Is("path-translated"), Believed)]),
    (
        *b"pr",
        &[
            (Is("proxy-connection"), Connection),
            (Is("proxy-authenticate"), Connection),
            (Is("proxy-authorization"), Connection),
            (Is("proxy-authentication-info"), Connection),
            // Read as HTTP_PROXY, where requests of an application go (CVE-2016-5385).
            (Is("proxy"), Believed),
            (Is("proxy-host"), Believed),
            (Is("proxy-user"), Believed),
            (Is("proxy-client-ip"), Address),
        ],
    ),
    (
        *b"re",
        &[
            (Begins("remote-user"), Believed),
            (Begins("remote-group"), Believed),
            (Is("remote-name"), Believed),
            (Is("remote-email"), Believed),
            (Is("remote-ident"), Believed),
            (Is("remote-addr"), Address),
            (Is("remote-host"), Address),
            (Is("remote-ip"), Address),
            (Is("remote-port"), Address),
            (Is("real-ip"), Address),
            (Is("request-uri"), Believed),
            (Is("request-method"), Believed),
            (Is("rewrite-url"), Believed),
        ],
    ),
    (*b"sc", &[(Is("script-name"), Believed), (Is("script-url"), Believed), (Is("script-filename"), Believed)]),
    (*b"se", &[(Is("server-name"), Believed), (Is("server-port"), Believed)]),
    (*b"sh", &[(Begins("shib-"), Believed)]),
    (*b"sm", &[(Begins("sm-user"), Believed), (Is("sm-universalid"), Believed)]),
    (*b"ss", &[(Begins("ssl-"), Believed)]),
    (*b"ta", &[(Begins("tailscale-user-"), Believed)]),
    (*b"te", &[(Is("te"), Connection)]),
    (
        *b"tr",
        &[
            (Is("transfer-encoding"), Connection),
            (Is("traceparent"), Trace),
            (Is("tracestate"), Trace),
            (Is("true-client-ip"), Address),
        ],
    ),
    (*b"un", &[(Is("unencoded-url"), Believed)]),
    (*b"up", &[(Is("upgrade"), Connection)]),
    (
        *b"wl",
        &[(Is("wl-proxy-client-ip"), Address), (Is("wl-proxy-ssl"), Believed), (Is("wl-proxy-client-cert"), Believed)],
    ),
    (*b"x5", &[(Begins("x509-"), Believed)]),
];

/// Fields that begin with `x-`, by the two letters behind it.
const EXTENSIONS: &[Group] = &[
    (*b"ac", &[(Is("x-accel-mapping"), Believed)]),
    (*b"am", &[(Begins("x-amzn-oidc-"), Believed), (Begins("x-amzn-mtls-"), Believed)]),
    (*b"an", &[(Is("x-anonymous-consumer"), Believed)]),
    (
        *b"ap",
        &[
            (Is("x-api-key"), Key),
            (Is("x-app-id"), Gateway),
            (Is("x-api-user-json"), Gateway),
            (Is("x-api-access-key"), Dialect),
            (Is("x-api-access-token"), Dialect),
            (Is("x-api-timestamp"), Dialect),
            (Is("x-api-nonce"), Dialect),
            (Is("x-api-signature"), Dialect),
            (Is("x-api-encrypt-type"), Dialect),
            (Is("x-api-encrypted-uri"), Dialect),
            (Is("x-api-encrypted-headers"), Dialect),
            (Is("x-api-require-response-signature"), Dialect),
            (Begins("x-apigateway-api-userinfo"), Believed),
            (Is("x-appengine-user-ip"), Address),
            (Is("x-appengine-remote-addr"), Address),
            (Begins("x-appengine-user-"), Believed),
        ],
    ),
    (*b"ar", &[(Begins("x-arr-"), Believed)]),
    (
        *b"au",
        &[
            (Begins("x-auth-request-"), Believed),
            (Is("x-auth-user"), Believed),
            (Is("x-auth-username"), Believed),
            (Begins("x-authenticated"), Believed),
            (Begins("x-authentik-"), Believed),
        ],
    ),
    (*b"az", &[(Is("x-azure-clientip"), Address), (Is("x-azure-socketip"), Address)]),
    (*b"ba", &[(Is("x-backend-host"), Believed)]),
    (*b"cd", &[(Is("x-cdn-src-ip"), Address)]),
    (
        *b"cl",
        &[
            (Is("x-client-ip"), Address),
            (Is("x-clientip"), Address),
            (Is("x-client-addr"), Address),
            (Is("x-client-port"), Address),
            (Is("x-cluster-client-ip"), Address),
            (Begins("x-client-cert"), Believed),
            (Begins("x-clientcert"), Believed),
            (Begins("x-client-verify"), Believed),
            (Begins("x-client-verified"), Believed),
            (Begins("x-client-dn"), Believed),
            (Is("x-client-cn"), Believed),
            (Is("x-client-common-name"), Believed),
            (Begins("x-client-subject"), Believed),
            (Begins("x-client-issuer"), Believed),
            (Begins("x-client-serial"), Believed),
            (Begins("x-client-s-dn"), Believed),
            (Begins("x-client-i-dn"), Believed),
            (Begins("x-client-fingerprint"), Believed),
            (Begins("x-client-san"), Believed),
            (Begins("x-client-tls"), Believed),
            (Begins("x-client-ssl"), Believed),
        ],
    ),
    (*b"co", &[(Is("x-coming-from"), Address), (Is("x-connecting-ip"), Address), (Begins("x-consumer-"), Believed)]),
    (*b"cr", &[(Is("x-credential-identifier"), Believed)]),
    (*b"en", &[(Begins("x-envoy-"), Believed), (Begins("x-endpoint-api-userinfo"), Believed)]),
    (
        *b"fo",
        &[
            (Begins("x-forwarded"), Gateway),
            (Begins("x-fo-"), Dialect),
            (Is("x-forward-for"), Address),
            (Is("x-forward-proto"), Believed),
            (Is("x-forward-host"), Believed),
        ],
    ),
    (*b"go", &[(Begins("x-goog-authenticated-user-"), Believed)]),
    (*b"ho", &[(Is("x-host"), Believed), (Is("x-host-override"), Believed)]),
    (
        *b"ht",
        &[
            (Is("x-http-host-override"), Believed),
            (Is("x-http-method-override"), Method),
            (Is("x-http-method"), Method),
            (Is("x-http-destinationurl"), Believed),
            (Is("x-http-path-override"), Believed),
            (Is("x-http-client-ip"), Address),
            (Is("x-https"), Believed),
        ],
    ),
    (*b"me", &[(Is("x-method-override"), Method)]),
    (
        *b"ms",
        &[(Begins("x-ms-client-principal"), Believed), (Begins("x-ms-token-"), Believed), (Is("x-ms-proxy"), Believed)],
    ),
    (*b"mi", &[(Is("x-middleware-subrequest"), Believed)]),
    (*b"mt", &[(Begins("x-mtls-"), Believed)]),
    (*b"nf", &[(Is("x-nf-client-connection-ip"), Address)]),
    (
        *b"or",
        &[
            (Is("x-original-url"), Believed),
            (Is("x-original-uri"), Believed),
            (Is("x-original-path"), Believed),
            (Is("x-original-query"), Believed),
            (Is("x-original-host"), Believed),
            (Is("x-original-method"), Believed),
            (Is("x-original-proto"), Believed),
            (Is("x-original-scheme"), Believed),
            (Is("x-original-forwarded-host"), Believed),
            (Is("x-original-request-uri"), Believed),
            (Is("x-original-for"), Address),
            (Is("x-original-forwarded-for"), Address),
            (Is("x-original-remote-addr"), Address),
            (Is("x-originally-forwarded-for"), Address),
            (Is("x-originating-ip"), Address),
            (Is("x-orig-client-ip"), Address),
        ],
    ),
    (*b"ov", &[(Is("x-override-url"), Believed)]),
    (*b"pa", &[(Is("x-path-info"), Believed), (Is("x-path-override"), Believed)]),
    (*b"po", &[(Begins("x-pomerium-claim-"), Believed)]),
    (
        *b"pr",
        &[
            (Is("x-proxy-url"), Believed),
            (Is("x-proxy-host"), Believed),
            (Is("x-proxy-user"), Believed),
            (Is("x-proxy-remote-user"), Believed),
            (Is("x-proxyuser-ip"), Address),
            (Is("x-proxy-client-ip"), Address),
        ],
    ),
    (
        *b"re",
        &[
            (Is("x-request-id"), Gateway),
            (Begins("x-real-ip"), Gateway),
            (Begins("x-remote-user"), Believed),
            (Begins("x-remote-group"), Believed),
            (Begins("x-remote-extra-"), Believed),
            (Is("x-remote-uid"), Believed),
            (Is("x-remote-name"), Believed),
            (Is("x-remote-email"), Believed),
            (Is("x-remote-ip"), Address),
            (Is("x-remote-addr"), Address),
            (Is("x-remote-host"), Address),
            (Is("x-remote-port"), Address),
            (Is("x-request-uri"), Believed),
            (Is("x-rewrite-url"), Believed),
            (Is("x-rewrite-uri"), Believed),
        ],
    ),
    (*b"sc", &[(Is("x-scheme"), Believed), (Is("x-script-name"), Believed)]),
    (*b"so", &[(Is("x-source-ip"), Address)]),
    (*b"ss", &[(Begins("x-ssl"), Believed)]),
    (*b"su", &[(Is("x-sucuri-clientip"), Address)]),
    (*b"tl", &[(Begins("x-tls-"), Believed)]),
    (*b"tr", &[(Is("x-true-client-ip"), Address), (Is("x-true-ip"), Address)]),
    (*b"ur", &[(Is("x-url-scheme"), Believed), (Is("x-url-rewrite"), Believed)]),
    (*b"us", &[(Is("x-user-json"), Gateway), (Is("x-userinfo"), Believed)]),
    (*b"ve", &[(Is("x-vercel-forwarded-for"), Address), (Is("x-vercel-proxied-for"), Address)]),
    (*b"vo", &[(Begins("x-vouch-"), Believed)]),
    (*b"wa", &[(Is("x-waws-unencoded-url"), Believed)]),
    (*b"we", &[(Begins("x-webauth-"), Believed)]),
];

/// Letters, digits, and whatever is neither.
const LETTERS: usize = 37;

/// At two letters: one more than the number of their group, or nothing.
type Index = [[u8; LETTERS]; LETTERS];

static PLAIN_AT: Index = index(PLAIN);
static EXTENSIONS_AT: Index = index(EXTENSIONS);

const fn index(groups: &[Group]) -> Index {
    let mut index = [[0; LETTERS]; LETTERS];
    let mut number = 0;
    while number < groups.len() {
        let [one, other] = groups[number].0;
        index[place(one)][place(other)] = number as u8 + 1;
        number += 1;
    }
    index
}

/// Where a letter in normal form stands.
const fn place(letter: u8) -> usize {
    match letter {
        b'a'..=b'z' => 1 + (letter - b'a') as usize,
        b'0'..=b'9' => 27 + (letter - b'0') as usize,
        _ => 0,
    }
}

fn plain([one, other]: [u8; 2]) -> &'static [(KnownName, Kind)] {
    of_group(PLAIN, PLAIN_AT[place(one)][place(other)])
}

fn extension([one, other]: [u8; 2]) -> &'static [(KnownName, Kind)] {
    of_group(EXTENSIONS, EXTENSIONS_AT[place(one)][place(other)])
}

fn of_group(groups: &'static [Group], number: u8) -> &'static [(KnownName, Kind)] {
    usize::from(number).checked_sub(1).and_then(|at| groups.get(at)).map_or(&[], |(_, entries)| entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters of a token that are neither letters nor digits (RFC 9110 section 5.6.2).
    const OTHERS: &[u8] = b"!#$%&'*+-.^_`|~";

    fn entries() -> impl Iterator<Item = (String, Kind)> {
        let letters = (0..=u16::MAX).map(u16::to_be_bytes);
        let all = letters.flat_map(|letters| plain(letters).iter().chain(extension(letters)));
        all.flat_map(|(entry, kind)| match entry {
            Is(name) => vec![((*name).to_owned(), *kind)],
            Begins(name) => vec![((*name).to_owned(), *kind), (format!("{name}z9-a"), *kind)],
        })
    }

    fn spelled(name: &str, separator: u8) -> String {
        name.replace('-', &char::from(separator).to_string())
    }

    fn title(name: &str) -> String {
        let parts =
            name.split('-').map(|part| part[..1.min(part.len())].to_ascii_uppercase() + &part[1.min(part.len())..]);
        parts.collect::<Vec<_>>().join("-")
    }

    #[test]
    fn the_nginx_that_is_delivered_hands_on_nothing_that_its_callers_say_of_themselves() {
        let configuration = include_str!("../../../deploy/nginx/portcullis.conf").to_ascii_lowercase();
        for (name, kind) in entries().filter(|(name, _)| !name.ends_with("z9-a")) {
            let is_emptied = configuration.contains(&format!("proxy_set_header {name} \"\";"));
            assert!(is_emptied || !matches!(kind, Address | Trace), "{name}");
        }
    }

    #[test]
    fn every_name_is_known_in_every_spelling() {
        let mut count = 0;
        for (name, kind) in entries() {
            for separator in OTHERS {
                for cased in [name.clone(), name.to_ascii_uppercase(), title(&name)] {
                    let spelling = spelled(&cased, *separator);
                    let is_exact = *separator == b'-' || !name.contains('-');
                    assert_eq!(known(&spelling), Some(Known { kind, is_exact }), "{spelling}");
                    count += 1;
                }
            }
            // One of several alone is spelled otherwise.
            for (at, _) in name.match_indices('-') {
                let spelling = format!("{}.{}", &name[..at], &name[at + 1..]);
                assert_eq!(known(&spelling), Some(Known { kind, is_exact: false }), "{spelling}");
            }
        }
        assert!(count > 5_000, "{count}");
    }

    #[test]
    fn what_a_backend_believes_is_known_by_what_it_is() {
        for (kind, names) in [
            (
                Gateway,
                &["X-User-Json", "X-App-Id", "X-Request-Id", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"][..],
            ),
            (Gateway, &["X-Forwarded-Host", "X-Forwarded-User", "X-Forwarded-Groups", "X-Forwarded-Access-Token"]),
            (Gateway, &["X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Real-IP", "X-Forwarded-Ssl"]),
            (
                Believed,
                &["Remote-User", "X-Remote-User", "X-Authenticated-User", "X-WEBAUTH-USER", "X-Auth-Request-Email"],
            ),
            (Believed, &["X-SSL-Client-Cert", "SSL-Client-Verify", "X-Client-Cert", "X-Client-Verify", "X-Client-DN"]),
            (
                Believed,
                &["Client-Cert", "Client-Cert-Chain", "Proxy", "X-Original-URL", "X-Rewrite-URL", "Script-Name"],
            ),
            (Believed, &["X-Original-URI", "X-HTTP-Host-Override", "X-Original-Method", "X-Consumer-Username"]),
            (Address, &["Client-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP"]),
            (Address, &["Fastly-Client-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "Remote-Addr"]),
            (Method, &["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]),
            (Connection, &["Content-Length", "Transfer-Encoding", "Keep-Alive", "Proxy-Authorization", "Host", "TE"]),
            (Trace, &["traceparent", "tracestate"]),
            (Key, &["X-API-Key"]),
        ] {
            for name in names {
                assert_eq!(known(name), Some(Known { kind, is_exact: true }), "{name}");
            }
        }
        for field in &HOP_BY_HOP {
            assert_eq!(known(field.as_str()).map(|known| known.kind), Some(Connection), "{field}");
        }
    }

    #[test]
    fn other_fields_are_the_callers_own() {
        for name in [
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Authorization",
            "Cache-Control",
            "Content-Type",
            "Cookie",
            "Content-Encoding",
            "Date",
            "ETag",
            "If-Match",
            "If-None-Match",
            "Origin",
            "Range",
            "Referer",
            "User-Agent",
            "Sec-Fetch-Mode",
            "Sec-WebSocket-Key",
            "Idempotency-Key",
            "X-Requested-With",
            "X-CSRF-Token",
            "X-Custom",
            "X",
            "X-",
            "X-User-Jsons",
            "X-User",
            "X-User-Id",
            "X-App",
            "XUserJson",
            "X--User-Json",
            "-X-User-Json",
            "F",
            "Remote",
            "Client",
            "Proxies",
            "Hosts",
            "Content-Lengths",
            "Transfer",
            "baggage",
            "traceparents",
            "grpc-timeout",
            "Via",
            "Trailer",
            "Forward",
            "Clients-IP",
            "",
            "-",
            "x",
            "x_",
        ] {
            assert_eq!(known(name), None, "{name}");
        }
    }
}
