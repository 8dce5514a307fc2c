//! Certificates by the `openssl` command, and servers that end TLS in front of plain backends.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Somebody who issues certificates.
pub(crate) struct Authority {
    directory: TempDir,
    /// Its own certificate, in PEM.
    pub(crate) pem: String,
}

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The certificate.
    pub(crate) pem: String,
    /// The private key.
    pub(crate) key: String,
}

impl Authority {
    /// A new one.
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let subject = format!("/CN={name}");
        let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        openssl(
            path,
            &[&request[..], &["-days", "2", "-subj", &subject, "-keyout", "ca.key", "-out", "ca.pem"]].concat(),
        );
        let configuration = "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n\
            default_md=sha256\nunique_subject=no\npolicy=any\ncertificate=ca.pem\nprivate_key=ca.key\n\
            [any]\ncommonName=supplied\n";
        std::fs::write(path.join("ca.cnf"), configuration).expect("written");
        std::fs::write(path.join("index.txt"), "").expect("written");
        let pem = read(path, "ca.pem");
        Self { directory, pem }
    }

    /// A certificate for these names, `DNS:…` or `IP:…`, that is good today.
    pub(crate) fn issue(&self, names: &str) -> Certificate {
        self.issue_until(names, "20991231235959Z")
    }

    /// A certificate that was good once.
    pub(crate) fn issue_expired(&self, names: &str) -> Certificate {
        self.issue_until(names, "20200201000000Z")
    }

    fn issue_until(&self, names: &str, end: &str) -> Certificate {
        let path = self.directory.path();
        let request =
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=leaf"];
        openssl(path, &[&request[..], &["-keyout", "leaf.key", "-out", "leaf.csr"]].concat());
        std::fs::write(path.join("leaf.cnf"), format!("subjectAltName={names}\n")).expect("written");
        let sign = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-extfile", "leaf.cnf", "-in", "leaf.csr"];
        let dates = ["-startdate", "20200101000000Z", "-enddate", end, "-out", "leaf.pem"];
        openssl(path, &[&sign[..], &dates].concat());
        Certificate { pem: read(path, "leaf.pem"), key: read(path, "leaf.key") }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM")).expect("a root");
        roots
    }
}

impl Certificate {
    /// The hash of its public key in Base64, as `pins` have it, made by other hands.
    pub(crate) fn pin(&self) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("leaf.key"), &self.key).expect("written");
        let pipe = "openssl pkey -in leaf.key -pubout -outform DER | openssl dgst -sha256 -binary | openssl base64";
        let output = Command::new("sh").args(["-c", pipe]).current_dir(directory.path()).output().expect("sh runs");
        String::from_utf8(output.stdout).expect("Base64").trim().to_owned()
    }

    /// Writes both as files of this name with `.pem` and `.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        std::fs::create_dir_all(directory).expect("made");
        std::fs::write(directory.join(format!("{name}.key")), &self.key).expect("written");
        std::fs::write(directory.join(format!("{name}.pem")), &self.pem).expect("written");
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM")]
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM")
    }
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().expect("openssl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).expect("there")
}

/// A server that ends TLS and passes on what is inside, in both directions. It lives as long as the test's process.
pub(crate) struct TlsFront {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    full: AtomicUsize,
    resumed: AtomicUsize,
    failed: AtomicUsize,
}

impl TlsFront {
    /// In front of a backend, with this certificate.
    pub(crate) fn before(backend: SocketAddr, certificate: &Certificate) -> Self {
        Self::start(backend, certificate, None, false)
    }

    /// The same, that ends a connection whose backend has ended it without saying so inside of TLS, as somebody on the
    /// way could.
    pub(crate) fn cutting(backend: SocketAddr, certificate: &Certificate) -> Self {
        Self::start(backend, certificate, None, true)
    }

    /// The same, for those who show a certificate of this authority.
    pub(crate) fn asking(backend: SocketAddr, certificate: &Certificate, clients: &Authority) -> Self {
        Self::start(backend, certificate, Some(clients), false)
    }

    fn start(backend: SocketAddr, certificate: &Certificate, clients: Option<&Authority>, cuts: bool) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let mut config = builder.with_single_cert(certificate.chain(), certificate.private()).expect("a pair");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::<Counts>::default();
        let (acceptor, counted) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&counts));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(pass_on(acceptor.clone(), stream, backend, cuts, Arc::clone(&counted)));
                }
            });
        });
        Self { address, counts }
    }

    /// Its base URL under a name.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.address.port())
    }

    /// How many handshakes have been brought to their end, whole and resumed.
    pub(crate) fn handshakes(&self) -> (usize, usize) {
        (self.counts.full.load(SeqCst), self.counts.resumed.load(SeqCst))
    }

    /// How many have not.
    pub(crate) fn failed(&self) -> usize {
        self.counts.failed.load(SeqCst)
    }
}

async fn pass_on(acceptor: TlsAcceptor, stream: TcpStream, backend: SocketAddr, cuts: bool, counts: Arc<Counts>) {
    let Ok(mut inside) = acceptor.accept(stream).await else {
        counts.failed.fetch_add(1, SeqCst);
        return;
    };
    assert_eq!(inside.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let is_resumed = inside.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    if is_resumed { &counts.resumed } else { &counts.full }.fetch_add(1, SeqCst);
    let mut plain = TcpStream::connect(backend).await.expect("the backend listens");
    if cuts {
        let (mut from, mut to) = plain.split();
        let (mut inner, mut outer) = tokio::io::split(inside);
        // Whatever ends first, nothing is said about it.
        tokio::select! {
            _ = tokio::io::copy(&mut inner, &mut to) => {}
            _ = forward(&mut from, &mut outer) => {}
        }
        return;
    }
    // Either side may end it at any time.
    let _ = tokio::io::copy_bidirectional(&mut inside, &mut plain).await;
}

/// Passes on and flushes, and leaves the end to whoever asked.
async fn forward(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    tokio::io::copy(from, to).await?;
    to.flush().await
}
