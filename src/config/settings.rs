//! The table of settings: every name, type, default and meaning, once.
//!
//! From this one table come the typed [`Config`], the keys of `portcullis.toml`, the names of the environment
//! variables, the flags of `portcullis serve`, and the reference text. A new setting is one new line here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_core::address::Network;
use portcullis_proxy::proxy_protocol::ProxyProtocol;
use portcullis_proxy::tls::{CertificateFiles, ClientCertificates, Profile, UnknownName};
use portcullis_telemetry::Target;

use super::acme::ChallengeKind;
use super::read::{self, AllowTarget, MetricsAccess, Raw, ResolverKind};

/// What the names of all environment variables of this program begin with.
pub(crate) const ENV_PREFIX: &str = "PORTCULLIS_";

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The key in `portcullis.toml`, dotted where it is in a table: `limits.body_bytes`.
    pub(crate) key: &'static str,
    /// What it means, in one or a few sentences, in lines that each end.
    pub(crate) doc: &'static str,
    /// The default, as an environment variable would write it.
    pub(crate) default: &'static str,
    /// What its value looks like: `BYTES`, `DURATION`.
    pub(crate) form: &'static str,
    /// Whether several values may be given.
    pub(crate) list: bool,
    /// Reads a value into its field; an error says what was expected.
    pub(crate) set: fn(&mut Config, &Raw<'_>) -> Result<(), String>,
}

/// A table of settings.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its name in `portcullis.toml`.
    pub(crate) name: &'static str,
    /// What its settings are about, in lines that each end.
    pub(crate) doc: &'static str,
    /// Both in one line.
    pub(crate) heading: &'static str,
}

impl Setting {
    /// The table it is in; none if it is in none.
    pub(crate) fn group(&self) -> Option<&'static Group> {
        let (name, _) = self.key.split_once('.')?;
        GROUPS.iter().find(|group| group.name == name)
    }

    /// The environment variable: `PORTCULLIS_LIMITS_BODY_BYTES`.
    pub(crate) fn env(&self) -> String {
        format!("{}{}", ENV_PREFIX, self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The flag without its dashes: `limits-body-bytes`.
    pub(crate) fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }
}

/// Writes the structs, their defaults and the rows out of one list.
macro_rules! settings {
    (
        { $( $(#[doc = $doc:literal])+ $field:ident : $kind:ty = $reader:ident($default:literal), )* }
        $( $(#[doc = $group_doc:literal])+ $group:ident : $Group:ident {
            $( $(#[doc = $inner_doc:literal])+ $inner:ident : $inner_kind:ty
                = $inner_reader:ident($inner_default:literal), )*
        } )*
    ) => {
        /// The static configuration: what a process is told when it starts, each setting in its final value.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct Config {
            /// The directory for all persistent state. From `--data-dir` or `PORTCULLIS_DATA_DIR`, never from the file.
            pub(crate) data_dir: PathBuf,
            $( $(#[doc = $doc])+ pub(crate) $field: $kind, )*
            $( $(#[doc = $group_doc])+ pub(crate) $group: $Group, )*
        }

        $(
            $(#[doc = $group_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub(crate) struct $Group {
                $( $(#[doc = $inner_doc])+ pub(crate) $inner: $inner_kind, )*
            }
        )*

        impl Config {
            /// Every setting at its default.
            pub(crate) fn with_data_dir(data_dir: PathBuf) -> Self {
                Self {
                    data_dir,
                    $( $field: read::$reader.default($default), )*
                    $( $group: $Group { $( $inner: read::$inner_reader.default($inner_default), )* }, )*
                }
            }
        }

        /// Every setting, in the order of the reference.
        pub(crate) static SETTINGS: &[Setting] = &[
            $( Setting {
                key: stringify!($field),
                doc: concat!($($doc, "\n"),+),
                default: $default,
                form: read::$reader.form,
                list: read::$reader.list,
                set: |config, raw| { config.$field = read::$reader.read(raw)?; Ok(()) },
            }, )*
            $( $( Setting {
                key: concat!(stringify!($group), ".", stringify!($inner)),
                doc: concat!($($inner_doc, "\n"),+),
                default: $inner_default,
                form: read::$inner_reader.form,
                list: read::$inner_reader.list,
                set: |config, raw| { config.$group.$inner = read::$inner_reader.read(raw)?; Ok(()) },
            }, )* )*
        ];

        /// Every table of settings.
        pub(crate) static GROUPS: &[Group] = &[
            $( Group {
                name: stringify!($group),
                doc: concat!($($group_doc, "\n"),+),
                heading: concat!("[", stringify!($group), "]", $($group_doc),+),
            }, )*
        ];
    };
}

settings! {
    {
        /// The address of the data plane for plain HTTP; "off": none.
        listen: Option<SocketAddr> = ADDRESS_OR_OFF("127.0.0.1:6500"),
        /// The address of the data plane over TLS. Needs `tls.certificates` or `acme.hosts`.
        tls_listen: Option<SocketAddr> = ADDRESS_OR_OFF("off"),
        /// Whether plain HTTP is redirected to TLS (308) instead of being served.
        http_redirect: bool = SWITCH("false"),
        /// The address of the admin API. Off loopback it needs `admin_tls`.
        admin_listen: SocketAddr = ADDRESS("127.0.0.1:6501"),
        /// Threads that carry calls; "cores" is one for each core.
        workers: usize = THREADS("cores"),
        /// The URL apps know the gateway by, like "https://api.example.com": the source of issuer and metadata.
        /// Empty: "https://" and `tls_listen`, else "http://" and `listen`.
        public_url: Option<String> = URL(""),
        /// The hosts on which the gateway's own endpoints (tokens, registration, probes) answer. Empty: all.
        builtin_hosts: Vec<String> = HOSTS(""),
        /// Networks of your reverse proxies. From them the gateway accepts `X-Request-Id`, `traceparent`, `tracestate`,
        /// `X-Forwarded-*` and `Forwarded`, and it passes their `Client-IP` and similar headers on to services.
        trusted_proxies: Vec<Network> = NETWORKS(""),
        /// Whether connections to the data plane begin with the PROXY protocol, version 1 or 2: "off"; "optional", for
        /// those of trusted proxies; "required", so that nobody but a trusted proxy can connect.
        proxy_protocol: ProxyProtocol = PROXY_PROTOCOL("off"),
        /// Where services may be: "loopback", "private", "public" and networks. Link-local, metadata and
        /// special-purpose addresses only when a network names them.
        allow_targets: Vec<AllowTarget> = TARGETS("loopback,private,public"),
        /// Whether calls reach a service under its own path, "/name/version", in addition to its routes. A service's declaration
        /// can override this.
        default_route: bool = SWITCH("true"),
    }
    /// Services that register themselves.
    registration: Registration {
        /// The path below which they are called, like "/svc" for "/svc/name/version". Empty: none, "/name/version".
        prefix: String = PATH_PREFIX(""),
        /// Addresses that registered services may have: "loopback", "private", "public" and networks. Only narrows
        /// `allow_targets`. Registering at another address is a 400; if a service's host name resolves to another address, its calls get 502. Empty:
        /// the same as `allow_targets`.
        allow_targets: Vec<AllowTarget> = TARGETS(""),
        /// Services that stand registered with one enrolment token; one more is 409.
        services_per_enrolment: usize = POSITIVE("1000"),
        /// Versions of one service that came by registration; one more is 409.
        versions_per_service: usize = POSITIVE("100"),
        /// Rate limit of changes to one registration: the burst; more are 429. A request that changes nothing is not counted.
        changes_at_once: usize = POSITIVE("60"),
        /// Sustained rate: changes a minute of one registration, after the burst (`changes_at_once`).
        changes_per_minute: usize = POSITIVE("60"),
        /// Burst of changes of all registrations with one enrolment token together; more get 429.
        enrolment_changes_at_once: usize = POSITIVE("1000"),
        /// Sustained rate: changes a minute of all registrations with one enrolment token together, after the burst
        /// (`enrolment_changes_at_once`).
        enrolment_changes_per_minute: usize = POSITIVE("600"),
    }
    /// How names are resolved, of services and of servers that the gateway itself calls.
    resolver: Resolver {
        /// By whom: "dns", the hosts file and then name servers; "system", `getaddrinfo` with whatever `nsswitch.conf` names.
        kind: ResolverKind = RESOLVER("dns"),
        /// The addresses of the name servers, with their ports, for "dns". Empty: those of `/etc/resolv.conf`.
        servers: Vec<SocketAddr> = ADDRESSES(""),
        /// How long the last good DNS answer stays in use after its TTL, while no name server answers (serve-stale, RFC 8767).
        /// NXDOMAIN is an answer. 0: not at all.
        stale: Duration = TIME("1h"),
    }
    /// TLS on the data plane.
    tls: Tls {
        /// PEM files of certificates with their keys, each written CERTIFICATE:KEY, or in the file as a table with
        /// `certificate` and `key`. Which one is shown goes by the name the client asks for.
        certificates: Vec<CertificateFiles> = CERTIFICATES(""),
        /// "modern": TLS 1.3 only; "intermediate": 1.2 too, with ECDHE and AEAD ciphers.
        profile: Profile = PROFILE("intermediate"),
        /// The certificate for a client whose server name (SNI) is in no certificate, or that sends no SNI: "first", the first
        /// certificate; "refuse", none.
        unknown_names: UnknownName = UNKNOWN_NAME("first"),
        /// Whether the gateway speaks HTTP/3 too, over UDP on the port of `tls_listen`. Experimental: the gateway must be built with
        /// the feature "http3".
        http3: bool = SWITCH("false"),
        /// How long browsers must use TLS only (`Strict-Transport-Security`, on answers over TLS). 0: no such field.
        hsts_max_age: Duration = TIME("0s"),
        /// Whether that includes all subdomains.
        hsts_include_subdomains: bool = SWITCH("false"),
        /// Whether browsers may preload it. Needs `hsts_max_age` of a year and `hsts_include_subdomains`.
        hsts_preload: bool = SWITCH("false"),
        /// Whether clients are asked for a certificate: "off", "optional", "required".
        client_certificates: ClientCertificates = CLIENT_CERTIFICATES("off"),
        /// A PEM file with the roots that client certificates must come from.
        client_ca: Option<PathBuf> = FILE(""),
        /// PEM files with certificate revocation lists (CRLs). If there is one, each authority in a client's chain needs one.
        client_crls: Vec<PathBuf> = FILES(""),
    }
    /// Certificates that are obtained and renewed by ACME, from Let's Encrypt or another authority that speaks it.
    acme: Acme {
        /// The DNS names that certificates are obtained for, one each. Empty: none are. A name in `tls.certificates` keeps
        /// the certificate of its file.
        hosts: Vec<String> = DNS_NAMES(""),
        /// The URL of the authority's directory.
        directory: Option<String> = URL("https://acme-v02.api.letsencrypt.org/directory"),
        /// Mail addresses at which the authority reaches whoever is responsible.
        contact: Vec<String> = CONTACTS(""),
        /// Whether you agree to the authority's terms of service. Nothing is ordered from it unless you do.
        terms_agreed: bool = SWITCH("false"),
        /// How the authority is convinced that a name is this gateway's: "tls-alpn-01" on `tls_listen`, which it must reach
        /// on port 443; "http-01" on `listen`, which it must reach on port 80. After a failure the next is tried.
        challenges: Vec<ChallengeKind> = CHALLENGES("tls-alpn-01,http-01"),
        /// A PEM file with the root certificates for the authority's own server. Empty: those of the system.
        ca_file: Option<PathBuf> = FILE(""),
        /// The id of the key that binds the account to another one you have at the authority (external account binding).
        eab_kid: Option<String> = TEXT(""),
        /// A file with that key, in base64url.
        eab_key_file: Option<PathBuf> = FILE(""),
    }
    /// TLS on the admin API.
    admin_tls: AdminTls {
        /// A PEM file with the certificate of the admin API and its chain.
        certificate: Option<PathBuf> = FILE(""),
        /// A PEM file with its key.
        key: Option<PathBuf> = FILE(""),
    }
    /// What is counted, at `/metrics` on the admin listener, for Prometheus.
    metrics: Metrics {
        /// Who may read `/metrics`: "token": requests with the metrics token or the admin token; "open": every request to the
        /// admin listener whose `Host` is one of its names.
        access: MetricsAccess = METRICS_ACCESS("token"),
        /// A file with the metrics token alone, which opens `/metrics` and nothing else. Empty: `metrics.token` in the data
        /// directory, made when the gateway first starts.
        token_file: Option<PathBuf> = FILE(""),
    }
    /// The access log.
    log: Log {
        /// Where it is written: the path of a file, in the data directory unless it is absolute; "stdout"; "stderr". A pipe,
        /// a device or a link may stand in the place of the file.
        access_log: Target = LOG_TARGET("access.log"),
        /// The size at which the access log file is rotated. Only a regular file is rotated: a symbolic link, its target, a pipe or
        /// a device is not.
        access_log_max_bytes: u64 = BYTES("64MiB"),
        /// How many rotated access log files are kept.
        access_log_keep: usize = COUNT("5"),
        /// Memory for the newest records, the ones that a search of the log finds. The oldest are dropped first.
        recent_log_bytes: u64 = BYTES("64MiB"),
        /// Maximum size of the queue of log records that wait to be written, and of the queue of lines that wait for a reader
        /// if the log is a pipe, a socket or a terminal. When a queue is full, what is added is dropped and counted.
        log_queue_bytes: u64 = BYTES("64MiB"),
    }
    /// Captured exchanges, of routes whose declaration says so.
    captures: Captures {
        /// Bytes of all of them on disk; the oldest go first.
        max_bytes: u64 = BYTES("256MiB"),
        /// How long they are kept.
        max_age: Duration = TIME("24h"),
    }
    /// Limits on what one caller, and all callers together, may use.
    limits: Limits {
        /// The longest request line; a longer one is 414.
        request_line_bytes: u64 = POSITIVE_BYTES("16KiB"),
        /// The largest header block; a larger one is 431.
        header_bytes: u64 = POSITIVE_BYTES("64KiB"),
        /// The most header fields; more are 431.
        header_count: usize = POSITIVE("128"),
        /// The largest request body; a larger one is 413. 0: any.
        body_bytes: u64 = BYTES("64MiB"),
        /// Maximum number of client connections; the gateway accepts no more. When seven eighths are in use, it closes
        /// connections that carry no call after one second. If the process has few file descriptors, the maximum is lower:
        /// half of those that the gateway does not need itself.
        connections: usize = POSITIVE("100000"),
        /// Connections from one peer address, of IPv6 from one /64; more are closed.
        connections_per_peer: usize = POSITIVE("1000"),
        /// Calls at once on one connection in HTTP/2; a caller learns the number and waits.
        http2_streams: usize = POSITIVE("128"),
        /// Maximum number of connections to one target of a service, over all workers, without tunnels (`upstream_tunnels`).
        /// When all are in use, calls wait and callers take turns. A caller that holds none may open one extra; all extra
        /// connections together are at most an eighth of the maximum, but at least one is allowed.
        upstream_connections: usize = POSITIVE("256"),
        /// Connections to one target of a service that have switched protocols, like WebSockets, over all workers. When all
        /// are in use, a caller that has none may open one extra; all extra ones together are at most an eighth of this number,
        /// but at least one is allowed. Others get 503.
        upstream_tunnels: usize = POSITIVE("1024"),
        /// Memory for buffering the beginning of request bodies, over all workers. Before a call gets an HTTP/1.1 connection
        /// to a target, the gateway waits for 64 KiB of its body, for all of it, or for 100 ms, whichever comes first.
        /// When this memory is used up, it does not wait. 0: it never waits.
        gathered_bytes: u64 = BYTES("64MiB"),
        /// Minimum rate, in bytes per second, of a request body with a `Content-Length` over HTTP/1.1. It is enforced once the gateway has
        /// waited for the body for `timeouts.body_idle` in total; a slower body gets 408. 0: no minimum.
        body_rate: u64 = BYTES("240"),
        /// Maximum size of a request body that the gateway must hold whole: one that is signed or sealed. A larger one gets 413.
        held_body_bytes: u64 = BYTES("1MiB"),
        /// Maximum size of a response body that the gateway must hold whole, because it is signed or sealed. A larger one becomes 502.
        held_answer_bytes: u64 = BYTES("8MiB"),
        /// Memory for bodies that are held whole, over all workers: half for requests, half for responses. One client address gets
        /// at most a quarter of a half. When it is used up, calls that need it get 503.
        held_bytes: u64 = BYTES("256MiB"),
        /// Calls from one address that may fail to prove the client they claim, at once. Further failures get 429 until
        /// `failed_signatures_per_minute` allows more. 0: any number.
        failed_signatures_at_once: usize = COUNT("60"),
        /// How many more such failures are allowed each minute.
        failed_signatures_per_minute: usize = COUNT("60"),
        /// Memory for tokens whose signature has been verified, over all workers; the least used are forgotten and
        /// verified again. 0: every token is verified on every call.
        remembered_token_bytes: u64 = BYTES("64MiB"),
        /// Memory for nonces of signed requests (replay protection). The gateway never forgets a nonce while its request is still
        /// valid; when this memory is full, signed requests get 503. One client gets at most half of it. The journal of the nonces
        /// in the data directory has at most four times this size.
        nonce_bytes: u64 = POSITIVE_BYTES("64MiB"),
        /// Sessions of users whom the Auth API of one client lets in, together. When there are as many, such a user who has none
        /// to give up for it gets 503; refreshes go on.
        auth_api_sessions: usize = POSITIVE("1000000"),
    }
    /// How long the gateway waits.
    timeouts: Timeouts {
        /// Time to the first byte of a connection, from accepting it and again from the end of its TLS handshake; then the
        /// gateway closes the connection.
        first_byte: Duration = POSITIVE_TIME("10s"),
        /// Time for a complete request head; then the request gets 408. Also time for a TLS handshake; then the gateway closes
        /// the connection.
        head: Duration = POSITIVE_TIME("10s"),
        /// Time for the next piece of a request body; then the request gets 408. Also time for a caller to read more of a
        /// response; then the gateway closes the connection.
        body_idle: Duration = POSITIVE_TIME("30s"),
        /// How long connecting to a target may take; then 502.
        connect: Duration = POSITIVE_TIME("5s"),
        /// How long a target may take to send the head of its answer; then 504.
        upstream_first_byte: Duration = POSITIVE_TIME("60s"),
        /// How long a caller's connection may be idle until the next request; then it is closed.
        keep_alive: Duration = POSITIVE_TIME("75s"),
        /// After how long a connection of a caller takes no further calls: the answer under way says `Connection: close`, or
        /// over HTTP/2 and HTTP/3 a GOAWAY does; calls and WebSockets under way go on to their end. 0: never.
        connection_age: Duration = TIME("1h"),
        /// How long a connection that has switched protocols, like a WebSocket, may be idle in both directions; then it is
        /// closed.
        tunnel_idle: Duration = POSITIVE_TIME("1h"),
        /// How long an idle connection to a target is kept.
        upstream_keep_alive: Duration = POSITIVE_TIME("4s"),
        /// How long a call queues for a free connection to a target (see `limits.upstream_connections`); then 503.
        upstream_queue_wait: Duration = TIME("1s"),
        /// How long connections are still accepted after SIGTERM, while `/-/ready` says 503.
        drain_delay: Duration = TIME("0s"),
        /// How long calls in flight may take after `drain_delay`.
        drain_limit: Duration = TIME("30s"),
    }
    /// The tokens the gateway issues.
    tokens: Tokens {
        /// How long an access token is good. It never outlives its session.
        access_ttl: Duration = WHOLE_SECONDS("300s"),
        /// How long a refresh token is good, and a session that is not refreshed. Should be longer than `access_ttl`.
        refresh_ttl: Duration = WHOLE_SECONDS("1d"),
        /// How long a session lasts, however often it is refreshed; then the user logs in again. 0: for ever.
        session_ttl: Duration = TIME("30d"),
        /// How long a refresh token that was already used still gets the same new refresh token (for retries). 0: not at all.
        refresh_grace: Duration = TIME("10s"),
    }
    /// The hashing of passwords.
    passwords: Passwords {
        /// Hashes computed at the same time; "cores/2" is one for every two cores.
        parallel: usize = THREADS("cores/2"),
        /// Hashes that wait for their turn; beyond it, 503.
        queue: usize = POSITIVE("128"),
    }
    /// How password guessing is throttled.
    lockout: Lockout {
        /// Wrong passwords of one user from one address (of IPv6, its /64) at which the first wait begins.
        failures: usize = POSITIVE("10"),
        /// The first wait; each further wrong password doubles it.
        first_wait: Duration = POSITIVE_TIME("1s"),
        /// The longest wait. It is also the time after which one failure is forgotten.
        longest_wait: Duration = POSITIVE_TIME("15m"),
        /// Wrong passwords for one user from addresses that this user never logged in from. Above this number, such an address
        /// has to wait `user_wait` before its first try.
        user_failures: usize = POSITIVE("50"),
        /// For how long it waits.
        user_wait: Duration = POSITIVE_TIME("15s"),
        /// Number of wrong passwords from one address, for all users together, at which this address has to wait.
        address_failures: usize = POSITIVE("100"),
        /// The longest wait of an address. It is also the time after which one failure is forgotten.
        address_wait: Duration = POSITIVE_TIME("1m"),
        /// Counters of each kind that are remembered, some 200 bytes each; the longest unused go first.
        entries: usize = POSITIVE("65536"),
    }
}
