//! The static configuration: from flags, the environment, `portcullis.toml` and defaults to one typed [`Config`].
//!
//! A flag beats the environment, the environment beats the file, the file beats the default. Whatever is not a
//! setting is an error that names it, and all errors are told at once.

mod acme;
mod raw;
mod read;
mod reference;
mod settings;

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_core::model::Problem;
use portcullis_proxy::proxy_protocol::ProxyProtocol;
use portcullis_proxy::tls::{CertificateFiles, ClientCertificates};

pub(crate) use acme::ChallengeKind;
pub(crate) use portcullis_core::duration::parse as duration;
pub(crate) use read::{AllowTarget, MetricsAccess, ResolverKind};
pub(crate) use reference::reference;
pub(crate) use settings::*;

use read::Raw;

/// The data directory, where `--data-dir` is not given.
pub(crate) const ENV_DATA_DIR: &str = "PORTCULLIS_DATA_DIR";
/// The file, where `--config` is not given.
pub(crate) const ENV_CONFIG: &str = "PORTCULLIS_CONFIG";
/// How much the process tells on stderr.
pub(crate) const ENV_LOG: &str = "PORTCULLIS_LOG";
/// The admin API that commands talk to.
pub(crate) const ENV_ADMIN_URL: &str = "PORTCULLIS_ADMIN_URL";
/// The admin token commands show.
pub(crate) const ENV_ADMIN_TOKEN: &str = "PORTCULLIS_ADMIN_TOKEN";
/// The roots that commands trust the admin API by.
pub(crate) const ENV_ADMIN_CA: &str = "PORTCULLIS_ADMIN_CA";
/// The password of a user that is made.
pub(crate) const ENV_PASSWORD: &str = "PORTCULLIS_PASSWORD";
/// The password of Redis, for `import`.
pub(crate) const ENV_REDIS_PASSWORD: &str = "PORTCULLIS_REDIS_PASSWORD";
/// Variables that are no settings of the gateway.
const OTHER_ENV: [&str; 8] =
    [ENV_DATA_DIR, ENV_CONFIG, ENV_LOG, ENV_ADMIN_URL, ENV_ADMIN_TOKEN, ENV_ADMIN_CA, ENV_PASSWORD, ENV_REDIS_PASSWORD];

/// The name of the file in the data directory.
const FILE_NAME: &str = "portcullis.toml";
/// A file larger than this is none of ours.
const FILE_LIMIT: u64 = 1 << 20;
/// The data directory where nothing else is said.
const DEFAULT_DATA_DIR: &str = "./data";

/// What was given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// Settings with the values of their flags; the values of a list are joined by commas.
    pub(crate) settings: Vec<(&'static Setting, String)>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// One for each mistake; the path begins with the place: `--listen`, an environment variable, or the file.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has a problem"),
            count => write!(f, "the configuration has {count} problems"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Brings the layers together. `env` is the whole environment.
    pub(crate) fn load(
        flags: &Flags,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let env = own_variables(env, &mut problems);
        let lookup = |name: &str| env.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());

        let data_dir = flags.data_dir.clone().or_else(|| lookup(ENV_DATA_DIR).map(PathBuf::from));
        let mut config = Self::with_data_dir(data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into()));

        let named = flags.config.clone().or_else(|| lookup(ENV_CONFIG).map(PathBuf::from));
        let file = config.file_named(named.as_deref());
        match read_file(&file, named.is_some()) {
            Ok(Some(text)) => config.apply_file(&file, &text, &mut problems),
            Ok(None) => {}
            Err(message) => problems.push(Problem::new(file.display().to_string(), message)),
        }
        for (name, value) in &env {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.env() == *name) {
                config.apply(setting, &Raw::Text(value), name, &mut problems);
            }
        }
        for (setting, value) in &flags.settings {
            config.apply(setting, &Raw::Text(value), &format!("--{}", setting.flag()), &mut problems);
        }
        config.check_addresses(&mut problems);
        config.check_tls(&mut problems);
        config.check_acme(&mut problems);
        if config.proxy_protocol != ProxyProtocol::Off && config.trusted_proxies.is_empty() {
            let message = "is accepted from trusted proxies only: set 'trusted_proxies' to their networks";
            problems.push(Problem::new("proxy_protocol", message));
        }
        if config.resolver.kind == ResolverKind::System && !config.resolver.servers.is_empty() {
            let message = "is used only with 'resolver.kind' = 'dns', not with 'system'";
            problems.push(Problem::new("resolver.servers", message));
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Every address has one use, and each use that is needed has an address.
    fn check_addresses(&self, problems: &mut Vec<Problem>) {
        let all = [("listen", self.listen), ("tls_listen", self.tls_listen), ("admin_listen", Some(self.admin_listen))];
        for (position, (name, address)) in all.iter().enumerate() {
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            if let Some((other, _)) = all[..position].iter().find(|(_, other)| *other == Some(address)) {
                problems.push(Problem::new(*name, format!("{address} is also the address of '{other}'")));
            }
        }
        if self.listen.is_none() && self.tls_listen.is_none() {
            problems.push(Problem::new("listen", "is off, and so is 'tls_listen': nobody could call"));
        }
        if !self.admin_listen.ip().is_loopback() && self.admin_certificate().is_none() {
            let message = format!(
                "{} can be reached from other machines, and the admin token is not sent in clear: \
                 expected a loopback address, or 'admin_tls.certificate' and 'admin_tls.key'",
                self.admin_listen
            );
            problems.push(Problem::new("admin_listen", message));
        }
    }

    /// What belongs together is there together.
    fn check_tls(&self, problems: &mut Vec<Problem>) {
        const YEAR: Duration = Duration::from_secs(31_536_000);
        let mut needs = |wrong: bool, path: &str, message: &str| {
            if wrong {
                problems.push(Problem::new(path, message));
            }
        };
        let (has_listener, tls) = (self.tls_listen.is_some(), &self.tls);
        let has_none = tls.certificates.is_empty() && self.acme.hosts.is_empty();
        needs(has_listener && has_none, "tls.certificates", "'tls_listen' needs at least one, or 'acme.hosts'");
        needs(self.http_redirect && !has_listener, "http_redirect", "leads nowhere without 'tls_listen'");
        let is_built = cfg!(feature = "http3");
        needs(tls.http3 && !is_built, "tls.http3", "is not in this build: expected one with '--features http3'");
        needs(tls.http3 && !has_listener, "tls.http3", "needs 'tls_listen', whose port it shares");
        let announced = self.proxy_protocol == ProxyProtocol::Required;
        needs(tls.http3 && announced, "tls.http3", "has no PROXY protocol, which 'proxy_protocol' requires");
        let asks = tls.client_certificates != ClientCertificates::Off;
        needs(asks && tls.client_ca.is_none(), "tls.client_ca", "is needed to verify client certificates");
        let names_whole = tls.hsts_include_subdomains && tls.hsts_max_age >= YEAR;
        let message = "needs 'tls.hsts_include_subdomains' and a 'tls.hsts_max_age' of a year ('365d')";
        needs(tls.hsts_preload && !names_whole, "tls.hsts_preload", message);
        let (certificate, key) = (&self.admin_tls.certificate, &self.admin_tls.key);
        needs(certificate.is_some() && key.is_none(), "admin_tls.key", "'admin_tls.certificate' needs its key");
        needs(certificate.is_none() && key.is_some(), "admin_tls.certificate", "'admin_tls.key' needs its certificate");
    }

    /// The certificate of the admin API.
    pub(crate) fn admin_certificate(&self) -> Option<CertificateFiles> {
        let AdminTls { certificate, key } = &self.admin_tls;
        Some(CertificateFiles { certificate: certificate.clone()?, key: key.clone()? })
    }

    /// `Strict-Transport-Security`, if browsers are to be told (RFC 6797 section 6.1).
    pub(crate) fn strict_transport(&self) -> Option<String> {
        let Tls { hsts_max_age, hsts_include_subdomains, hsts_preload, .. } = &self.tls;
        let mut policy = format!("max-age={}", hsts_max_age.as_secs());
        for (name, said) in [("includeSubDomains", hsts_include_subdomains), ("preload", hsts_preload)] {
            if *said {
                policy.push_str("; ");
                policy.push_str(name);
            }
        }
        (!hsts_max_age.is_zero()).then_some(policy)
    }

    /// The file the settings are read from, whether or not it is there.
    pub(crate) fn file(&self, flags: &Flags) -> PathBuf {
        let named = flags.config.clone().or_else(|| std::env::var_os(ENV_CONFIG).map(PathBuf::from));
        self.file_named(named.as_deref())
    }

    fn file_named(&self, named: Option<&Path>) -> PathBuf {
        named.map_or_else(|| self.data_dir.join(FILE_NAME), Path::to_owned)
    }

    /// The hosts this gateway is known by, in lower case and without ports: those of its own endpoints, and that of its
    /// public URL.
    pub(crate) fn own_hosts(&self) -> Vec<String> {
        let public: Option<http::Uri> = self.public_url.as_ref().and_then(|url| url.parse().ok());
        let public = public.as_ref().and_then(http::Uri::host).map(str::to_ascii_lowercase);
        self.builtin_hosts.iter().cloned().chain(public).collect()
    }

    /// What is allowed, but hardly meant.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.tokens.refresh_ttl <= self.tokens.access_ttl {
            warnings.push(format!(
                "tokens.refresh_ttl ({} s) is not longer than tokens.access_ttl ({} s): \
                 a session, and its access tokens with it, ends before it could be refreshed",
                self.tokens.refresh_ttl.as_secs(),
                self.tokens.access_ttl.as_secs()
            ));
        }
        if self.public_url.is_none() && !self.trusted_proxies.is_empty() {
            warnings.push(
                "trusted_proxies is set but public_url is not: \
                 tokens name an issuer that callers behind the proxy do not know"
                    .to_owned(),
            );
        }
        let asks = self.tls.client_certificates != ClientCertificates::Off;
        if !asks && (self.tls.client_ca.is_some() || !self.tls.client_crls.is_empty()) {
            warnings.push("tls.client_ca or tls.client_crls is set but tls.client_certificates is off".to_owned());
        }
        warnings
    }

    fn apply(&mut self, setting: &Setting, raw: &Raw<'_>, place: &str, problems: &mut Vec<Problem>) {
        if let Err(message) = (setting.set)(self, raw) {
            problems.push(Problem::new(place, message));
        }
    }

    fn apply_file(&mut self, file: &Path, text: &str, problems: &mut Vec<Problem>) {
        let file = file.display().to_string();
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
                problems.push(Problem::new(format!("{file}:{line}"), error.message().to_owned()));
                return;
            }
        };
        for (key, value) in &table {
            let is_group = SETTINGS.iter().any(|setting| setting.key.split_once('.').is_some_and(|(g, _)| g == key));
            match value {
                toml::Value::Table(group) if is_group => {
                    for (inner, value) in group {
                        self.apply_key(&file, &format!("{key}.{inner}"), value, problems);
                    }
                }
                _ if is_group => {
                    problems.push(Problem::new(format!("{file}: {key}"), format!("expected a table [{key}]")));
                }
                _ => self.apply_key(&file, key, value, problems),
            }
        }
    }

    fn apply_key(&mut self, file: &str, key: &str, value: &toml::Value, problems: &mut Vec<Problem>) {
        let place = format!("{file}: {key}");
        match SETTINGS.iter().find(|setting| setting.key == key) {
            Some(setting) => self.apply(setting, &Raw::Toml(value), &place, problems),
            None if key == "data_dir" => {
                problems.push(Problem::new(place, format!("is set by --data-dir or {ENV_DATA_DIR} only")));
            }
            None => problems.push(Problem::new(place, unknown(key, SETTINGS.iter().map(|s| s.key.to_owned())))),
        }
    }
}

/// The address at which this machine reaches its own listener: one that listens everywhere is on loopback too.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Our variables out of an environment. What bears our prefix and is not known is a problem.
fn own_variables(
    env: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let env: Vec<_> = env.into_iter().collect();
    let in_kubernetes = env.iter().any(|(name, _)| name == "KUBERNETES_SERVICE_HOST");
    let mut own = Vec::new();
    for (name, value) in env {
        let Some(name) = name.to_str().filter(|name| name.starts_with(ENV_PREFIX)) else {
            continue;
        };
        if in_kubernetes && is_service_link(name) {
            continue;
        }
        if !OTHER_ENV.contains(&name) && !SETTINGS.iter().any(|setting| setting.env() == name) {
            let known = SETTINGS.iter().map(Setting::env).chain(OTHER_ENV.map(str::to_owned));
            problems.push(Problem::new(name, unknown(name, known)));
            continue;
        }
        match value.into_string() {
            Ok(value) => own.push((name.to_owned(), value)),
            Err(_) => problems.push(Problem::new(name, "is not UTF-8")),
        }
    }
    own.sort();
    own
}

/// Whether Kubernetes sets this variable by itself in every pod, for a Service called `portcullis` or `portcullis-…`.
fn is_service_link(name: &str) -> bool {
    let numbered = |tail: &str| {
        let mut parts = tail.split('_');
        parts.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
            && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
            && matches!((parts.next(), parts.next()), (None | Some("PROTO" | "PORT" | "ADDR"), None))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.rsplit_once("_PORT_").is_some_and(|(_, tail)| numbered(tail))
        || name.match_indices("_PORT_").any(|(at, found)| numbered(&name[at + found.len()..]))
}

/// Says that a name is not known, and which one it resembles.
fn unknown(name: &str, known: impl Iterator<Item = String>) -> String {
    let near = known.map(|known| (distance(name, &known), known)).min().filter(|(away, _)| *away <= 3);
    match near {
        Some((_, known)) => format!("is not a setting; did you mean '{known}'?"),
        None => "is not a setting".to_owned(),
    }
}

/// How many characters have to be put in, taken out or changed to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().take(256).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// The text of the file; `None` if it is not there and nobody asked for it.
fn read_file(path: &Path, asked_for: bool) -> Result<Option<String>, String> {
    match std::fs::metadata(path) {
        Ok(facts) if facts.len() > FILE_LIMIT => {
            return Err(format!("has more than {FILE_LIMIT} bytes"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            return Ok(None);
        }
        Err(error) => return Err(format!("cannot be read: {error}")),
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
