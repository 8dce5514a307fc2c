//! TLS termination on a listener: which certificates it shows (SNI), what it asks of clients (mTLS), and how all of that is
//! reloaded while it runs.
//!
//! What a handshake needs is one immutable [`Material`], read and checked as a whole and then put in the place of the
//! former one. Handshakes take the newest without waiting. Connections keep what they began with, but for the certificate
//! of their client: that is judged again by the newest.

mod certificates;
pub mod certified;
mod challenge;
mod names;
mod obtained;
mod settings;
mod stamp;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_core::model::Problem;
use portcullis_core::ports::Clock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
#[cfg(feature = "http3")]
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

pub use certificates::Leaf;
pub use certified::Certified;
use names::Names;
pub use obtained::Obtained;
pub use settings::{CertificateFiles, ClientCertificates, Profile, Settings, UnknownName};
pub use stamp::Stamp;
/// A connection behind its handshake.
pub use tokio_rustls::server::TlsStream;

/// How often the files are looked at. What has changed is read when it has stayed the same for as long again.
pub const LOOK: Duration = Duration::from_secs(1);

/// What is spoken over TLS, as ALPN names it, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What ends TLS on a listener. One for all workers.
pub struct Termination {
    settings: Settings,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    /// Seals sessions into tickets, with keys that all workers share and that change by the hour.
    ticketer: Arc<dyn ProducesTickets>,
    first_stamp: Stamp,
    /// What was obtained while it runs. Held while material is made, so that the newest of both goes in.
    obtained: Mutex<Vec<Obtained>>,
    current: ArcSwap<Material>,
    /// Counts what was in its place. What is newer is there before it is counted.
    generation: AtomicU64,
}

/// What handshakes need. It does not change.
struct Material {
    config: Arc<ServerConfig>,
    names: Arc<Names>,
    warnings: Vec<String>,
    shown: Vec<PresentedCertificate>,
    /// What client certificates are judged by, where they are asked for.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// The same for QUIC; none if it cannot be spoken with this.
    #[cfg(feature = "http3")]
    quic: Option<Arc<quinn::crypto::rustls::QuicServerConfig>>,
}

/// A certificate that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// The DNS names it is shown for.
    pub names: Vec<Box<str>>,
    /// The addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// The file it is from; none where it was obtained.
    pub file: Option<PathBuf>,
    /// What it says of itself.
    pub leaf: Leaf,
}

/// A connection that is behind its handshake.
pub struct Secured<S> {
    /// What goes over it in clear.
    pub stream: TlsStream<S>,
    /// The certificate its client has shown.
    pub client: Option<Arc<Certified>>,
    /// Whether it goes on with a session from before.
    pub is_resumed: bool,
}

impl Termination {
    /// Reads everything there is to read, or says what is wrong with each file.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Vec<Problem>> {
        let first_stamp = Stamp::of(settings.files());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let no_tickets = |error| vec![Problem::new("tls", format!("session tickets cannot be sealed: {error}"))];
        let ticketer = aws_lc_rs::Ticketer::new().map_err(no_tickets)?;
        let material = Material::read(&settings, &[], &provider, &ticketer, seconds(clock.as_ref()))?;
        material.warn();
        let current = ArcSwap::from_pointee(material);
        Ok(Self {
            settings,
            provider,
            clock,
            ticketer,
            first_stamp,
            obtained: Mutex::default(),
            current,
            generation: AtomicU64::new(1),
        })
    }

    /// Reads everything anew. What was in use stays in use if anything is wrong.
    pub fn reload(&self) -> Result<(), Vec<Problem>> {
        let obtained = self.obtained.lock().unwrap_or_else(PoisonError::into_inner);
        self.make(&obtained)
    }

    /// Takes these in the place of what was obtained before, and reads everything else anew. Where that fails, what was
    /// in use stays in use, and these come with the next that is good.
    pub fn take_obtained(&self, certificates: Vec<Obtained>) -> Result<(), Vec<Problem>> {
        let mut obtained = self.obtained.lock().unwrap_or_else(PoisonError::into_inner);
        *obtained = certificates;
        self.make(&obtained)
    }

    fn make(&self, obtained: &[Obtained]) -> Result<(), Vec<Problem>> {
        let now = seconds(self.clock.as_ref());
        let material = Material::read(&self.settings, obtained, &self.provider, &self.ticketer, now)?;
        material.warn();
        self.current.store(Arc::new(material));
        self.generation.fetch_add(1, Release);
        Ok(())
    }

    /// The certificates that are in use.
    pub fn shown(&self) -> Vec<PresentedCertificate> {
        self.current.load().shown.clone()
    }

    /// Whether a file has a certificate that names this very host.
    pub fn has_file_for(&self, host: &str) -> bool {
        self.current
            .load()
            .shown
            .iter()
            .any(|shown| shown.file.is_some() && shown.names.iter().any(|name| **name == *host))
    }

    /// What the files looked like before they were read for the first time.
    pub fn first_stamp(&self) -> &Stamp {
        &self.first_stamp
    }

    /// What the files look like now.
    pub fn stamp(&self) -> Stamp {
        Stamp::of(self.settings.files())
    }

    /// Whether there is a certificate for a host: a name in lower case or an address, without a port.
    pub fn covers(&self, host: &str) -> bool {
        self.current.load().names.cover(host)
    }

    /// What handshakes over QUIC need. The newest; no data comes before the end of a handshake.
    #[cfg(feature = "http3")]
    pub(crate) fn quic(&self) -> Option<Arc<quinn::crypto::rustls::QuicServerConfig>> {
        self.current.load().quic.clone()
    }

    /// The certificate that a client has shown over QUIC. By what it was judged there is not known.
    #[cfg(feature = "http3")]
    pub(crate) fn client_of(&self, connection: &quinn::Connection) -> io::Result<Option<Arc<Certified>>> {
        let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let shown = shown.filter(|shown| !shown.is_empty());
        let certified = |shown: Box<Vec<_>>| Certified::new(&shown, 0, seconds(self.clock.as_ref())).map(Arc::new);
        shown.map(|shown| certified(shown).ok_or_else(unreadable)).transpose()
    }

    /// The handshake on a new connection. One that fails has told its client why; the connection is given back to be
    /// closed.
    pub async fn accept<S>(&self, stream: S) -> Result<Secured<S>, (io::Error, S)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, generation) = self.newest();
        self.secured(TlsAcceptor::from(config).accept(stream).into_fallible().await?, generation)
    }

    /// What handshakes are made with now, and which material that is of, or the one before.
    fn newest(&self) -> (Arc<ServerConfig>, u64) {
        let generation = self.generation.load(Acquire);
        (Arc::clone(&self.current.load().config), generation)
    }

    /// What a handshake has shown.
    fn secured<S>(&self, stream: TlsStream<S>, generation: u64) -> Result<Secured<S>, (io::Error, S)> {
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().filter(|shown| !shown.is_empty());
        let client =
            shown.map(|shown| Certified::new(shown, generation, seconds(self.clock.as_ref())).ok_or_else(unreadable));
        let client = client.transpose();
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        match client {
            Ok(client) => Ok(Secured { stream, client: client.map(Arc::new), is_resumed }),
            Err(error) => Err((error, stream.into_inner().0)),
        }
    }
}

/// The time of day in seconds of Unix time.
fn seconds(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.unix_millis() / 1_000).unwrap_or(i64::MAX)
}

/// Two readers of certificates, and only one could read it.
fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the client's certificate cannot be read")
}

/// Whether a handshake failed by the client's certificate, or for want of one.
pub fn is_about_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::InvalidCertRevocationList(_)
        )
    )
}

impl Material {
    fn read(
        settings: &Settings,
        obtained: &[Obtained],
        provider: &Arc<CryptoProvider>,
        ticketer: &Arc<dyn ProducesTickets>,
        now: i64,
    ) -> Result<Self, Vec<Problem>> {
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let (mut names, mut shown) = (Names::new(settings.unknown_names), Vec::new());
        for files in &settings.certificates {
            match certificates::certified(files, provider, now) {
                Ok(certified) => {
                    names.add(&certified.key, &certified.names, &certified.addresses);
                    warnings.extend(certified.warnings);
                    let file = Some(files.certificate.clone());
                    let certificates::Certified { names, addresses, leaf, .. } = certified;
                    shown.push(PresentedCertificate { names, addresses, file, leaf });
                }
                Err(problem) => problems.push(problem),
            }
        }
        for name in &settings.awaited {
            names.wait_for(name);
        }
        // What an operator has put into a file is meant for its names; what was obtained is for the others.
        for certificate in obtained.iter().filter(|certificate| !names.has(&certificate.host)).collect::<Vec<_>>() {
            names.add(&certificate.key, std::slice::from_ref(&certificate.host), &[]);
            let (names, leaf) = (vec![certificate.host.clone()], certificate.leaf.clone());
            shown.push(PresentedCertificate { names, addresses: Vec::new(), file: None, leaf });
        }
        let verifier = verifier(settings, provider, now, &mut warnings).map_err(|found| problems.extend(found));
        let (Ok(verifier), true) = (verifier, problems.is_empty()) else { return Err(problems) };

        let versions: &[&'static SupportedProtocolVersion] = match settings.profile {
            Profile::Modern => &[&TLS13],
            Profile::Intermediate => &[&TLS13, &TLS12],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(versions);
        let builder = builder.map_err(|error| vec![Problem::new("tls", error.to_string())])?;
        let asks_clients = verifier.is_some();
        let builder = match verifier.clone() {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let names = Arc::new(names);
        let mut config = builder.with_cert_resolver(Arc::clone(&names) as _);
        config.alpn_protocols = PROTOCOLS.iter().skip(usize::from(!settings.http2)).map(|name| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if asks_clients {
            // A session from before would bring its client in without another look at the certificate (ADR 10).
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Arc::clone(ticketer);
        }
        Ok(Self {
            #[cfg(feature = "http3")]
            quic: over_quic(&config),
            config: Arc::new(config),
            names,
            warnings,
            shown,
            verifier,
        })
    }

    fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// The same for QUIC.
#[cfg(feature = "http3")]
fn over_quic(config: &ServerConfig) -> Option<Arc<quinn::crypto::rustls::QuicServerConfig>> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"h3".to_vec()];
    quinn::crypto::rustls::QuicServerConfig::try_from(config).ok().map(Arc::new)
}

/// What looks at the certificates of clients; none where they are not asked for any.
fn verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
    now: i64,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Vec<Problem>> {
    if settings.client_certificates == ClientCertificates::Off {
        return Ok(None);
    }
    let Some(path) = &settings.client_ca else {
        return Err(vec![Problem::new("tls.client_ca", "is needed to verify client certificates")]);
    };
    let mut problems = Vec::new();
    let mut lists = Vec::new();
    for path in &settings.client_crls {
        match certificates::revoked(path, now) {
            Ok(read) => read.into_iter().for_each(|(list, warning)| {
                lists.push(list);
                warnings.extend(warning);
            }),
            Err(problem) => problems.push(problem),
        }
    }
    let roots = certificates::roots(path).map_err(|problem| problems.push(problem));
    let (Ok(roots), true) = (roots, problems.is_empty()) else { return Err(problems) };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).with_crls(lists);
    let builder = match settings.client_certificates {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        _ => builder,
    };
    let unusable = |error| vec![Problem::new(path.display().to_string(), format!("cannot be used: {error}"))];
    Ok(Some(builder.build().map_err(unusable)?))
}

#[cfg(test)]
mod tests {
    use rustls::{NamedGroup, ProtocolVersion};

    use super::*;

    #[test]
    fn what_is_negotiated_withstands_quantum_computers_and_is_never_weak() {
        let provider = aws_lc_rs::default_provider();
        assert_eq!(provider.kx_groups.first().map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
        for suite in &provider.cipher_suites {
            let name = format!("{:?}", suite.suite());
            let is_ephemeral = name.starts_with("TLS_ECDHE_") || suite.version().version == ProtocolVersion::TLSv1_3;
            assert!(is_ephemeral && (name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_")), "{name}");
        }
    }
}
