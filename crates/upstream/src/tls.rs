//! TLS to targets: what a target must prove and what it is shown, made once for each distinct declaration.
//!
//! An [`Identity`] outlives every change of declarations that leaves its own alone: its connections stay in their
//! pools and its sessions can be resumed. It ends with the last service that is declared like this.

mod failure;
mod material;
mod pins;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_core::model::{Problem, TargetTls, TlsVersion};
use portcullis_core::ports::Clock;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use failure::{find as find_failure, reason};
use material::{ClientFiles, Stamp};
use pins::{Pin, Verifier};

/// What targets declared in one way must prove, and what they are shown.
pub struct Identity {
    id: u64,
    server_name: Option<ServerName<'static>>,
    verifier: Arc<Verifier>,
    min_version: TlsVersion,
    client: Option<Client>,
    config: ArcSwap<ClientConfig>,
    /// Counts what was shown before. What is newer is there before it is counted.
    generation: AtomicU64,
}

/// The certificate that is shown, as it was last read.
struct Client {
    files: ClientFiles,
    /// In which state of the files it was read.
    taken: Mutex<Stamp>,
    /// Which state of the files has been told to be no good.
    told: Mutex<Option<Stamp>>,
}

impl Identity {
    /// A number that no other identity of this process has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name that is to be proved in place of the target's host.
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// Which certificate is shown now, counted from when the identity was made: what was opened with another is not lent
    /// any more.
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Shakes hands over a connection, on which one of the offered protocols may be chosen. The error says what went
    /// wrong, for the operator.
    pub async fn shake_hands(
        &self,
        name: ServerName<'static>,
        offered: Vec<Vec<u8>>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let connector = TlsConnector::from(self.config.load_full());
        connector.with_alpn(offered).connect(name, stream).await.map_err(|error| match find_failure(&error) {
            Some(failure) => reason(failure),
            None => format!("the handshake broke off: {error}"),
        })
    }

    /// Reads the certificate that is shown anew, if its files are other than when they were last read. Whoever
    /// connects from then on shows the new one. What cannot be used changes nothing.
    fn refresh(&self, workshop: &ConfigParts) -> Result<(), Vec<Problem>> {
        let Some(client) = &self.client else { return Ok(()) };
        let mut taken = client.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = client.files.stamp();
        if *taken == stamp {
            return Ok(());
        }
        // A session of the former certificate is not resumed: the configuration is a new one.
        self.config.store(workshop.config(&self.verifier, self.min_version, Some(&client.files))?);
        self.generation.fetch_add(1, Release);
        *taken = stamp;
        tracing::info!(identity = self.id, "a changed client certificate is shown to targets from now on");
        Ok(())
    }

    /// Whether nobody has been told yet that the files are no good as they are now.
    fn is_news(&self) -> bool {
        let Some(client) = &self.client else { return false };
        let mut told = client.told.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = client.files.stamp();
        told.replace(stamp) != Some(stamp)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What configurations are made with.
struct ConfigParts {
    provider: Arc<CryptoProvider>,
    time: Arc<Time>,
}

impl ConfigParts {
    fn config(
        &self,
        verifier: &Arc<Verifier>,
        min_version: TlsVersion,
        client: Option<&ClientFiles>,
    ) -> Result<Arc<ClientConfig>, Vec<Problem>> {
        let broken = |error: rustls::Error| vec![Problem::new("", error.to_string())];
        let builder = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.time) as _)
            .with_protocol_versions(versions(min_version))
            .map_err(broken)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(verifier) as _);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = files.read()?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    vec![Problem::new("client_key", format!("does not go with 'client_certificate': {error}"))]
                })?
            }
        };
        Ok(Arc::new(config))
    }
}

static FROM_TLS12: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

fn versions(lowest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match lowest {
        TlsVersion::Tls12 => &FROM_TLS12,
        TlsVersion::Tls13 => &FROM_TLS12[..1],
    }
}

/// Every identity that a service is declared with, by what is declared.
pub struct Identities {
    files: PathBuf,
    workshop: ConfigParts,
    system: OnceLock<Arc<RootCertStore>>,
    known: Mutex<HashMap<TargetTls, Weak<Identity>>>,
    next: AtomicU64,
}

impl Identities {
    /// None yet. Client certificates are files below this directory.
    pub fn new(files: &Path, clock: Arc<dyn Clock>) -> Self {
        Self {
            files: files.to_owned(),
            workshop: ConfigParts { provider: Arc::new(aws_lc_rs::default_provider()), time: Arc::new(Time(clock)) },
            system: OnceLock::new(),
            known: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// The identity that is declared like this, or everything that is wrong with it.
    pub fn of(&self, declared: &TargetTls) -> Result<Arc<Identity>, Vec<Problem>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = known.get(declared).and_then(Weak::upgrade) {
            identity.refresh(&self.workshop)?;
            return Ok(identity);
        }
        let identity = Arc::new(self.make(declared)?);
        // No more of them than services and routes: those nobody is declared with any more make room.
        known.retain(|_, identity| identity.strong_count() > 0);
        known.insert(declared.clone(), Arc::downgrade(&identity));
        Ok(identity)
    }

    /// Takes up certificates of the gateway whose files have changed.
    pub fn refresh(&self) {
        let known: Vec<_> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().filter_map(Weak::upgrade).collect()
        };
        for identity in known {
            let found = identity.refresh(&self.workshop).err().filter(|_| identity.is_news());
            for problem in found.into_iter().flatten() {
                tracing::warn!(%problem, "a changed client certificate cannot be used; the former one is shown");
            }
        }
    }

    fn make(&self, declared: &TargetTls) -> Result<Identity, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |found: Vec<Problem>| problems.extend(found);
        let roots = match &declared.ca {
            Some(pem) => material::authorities(pem),
            None => self.system(),
        };
        let roots = roots.map_err(|problem| keep(vec![problem])).ok();
        let server_name = declared.server_name.as_ref().and_then(|name| {
            let problem = || vec![Problem::new("server_name", "expected a host name or an IP address")];
            ServerName::try_from(name.clone()).map_err(|_| keep(problem())).ok()
        });
        let pins = pins::read(&declared.pins).map_err(&mut keep).ok();
        let files = ClientFiles::declared(&self.files, declared).map_err(&mut keep).ok();
        let (Some(roots), Some(pins), Some(files)) = (roots, pins, files) else { return Err(problems) };
        // What it makes fails for want of roots, of which there are some, or for lists of revoked certificates.
        let verifier = self.verifier(roots, pins).map_err(|problem| vec![problem])?;
        let min_version = declared.min_version.unwrap_or(TlsVersion::Tls12);
        // Taken before they are read: a change in between is seen the next time.
        let client = files.map(|files| Client { taken: Mutex::new(files.stamp()), told: Mutex::default(), files });
        let config = self.workshop.config(&verifier, min_version, client.as_ref().map(|client| &client.files));
        match config {
            Ok(config) if problems.is_empty() => Ok(Identity {
                id: self.next.fetch_add(1, Relaxed),
                server_name,
                verifier,
                min_version,
                client,
                config: ArcSwap::new(config),
                generation: AtomicU64::new(0),
            }),
            config => {
                problems.extend(config.err().into_iter().flatten());
                Err(problems)
            }
        }
    }

    fn verifier(&self, roots: Arc<RootCertStore>, pins: Vec<Pin>) -> Result<Arc<Verifier>, Problem> {
        let web = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.workshop.provider)).build();
        let web = web.map_err(|error| Problem::new("ca", error.to_string()))?;
        Ok(Arc::new(Verifier::new(web, pins)))
    }

    /// What this machine trusts, read when it is first asked for.
    fn system(&self) -> Result<Arc<RootCertStore>, Problem> {
        let roots = self.system.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some of the machine's trusted roots cannot be read");
            }
            let mut roots = RootCertStore::empty();
            // Stores of machines hold roots that are too old for anybody to understand.
            let (_, _) = roots.add_parsable_certificates(found.certs);
            Arc::new(roots)
        });
        if roots.is_empty() {
            return Err(Problem::new(
                "ca",
                "this machine has no trusted roots: declare whom the targets are proved by",
            ));
        }
        Ok(Arc::clone(roots))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

/// The gateway's time of day, by which certificates are judged.
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.unix_millis())))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

#[cfg(test)]
mod tests;
