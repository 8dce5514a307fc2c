//! Verification of a target's certificate: by its issuer and its name as always, and by its key where keys are pinned.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::model::Problem;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

/// Pins of one service.
const MOST_PINS: usize = 16;

/// The SHA-256 hash of a public key.
pub(super) type Pin = [u8; 32];

/// Reads pins as they are declared.
pub(super) fn read(declared: &[String]) -> Result<Vec<Pin>, Vec<Problem>> {
    if declared.len() > MOST_PINS {
        return Err(vec![Problem::new("pins", format!("at most {MOST_PINS}"))]);
    }
    let mut problems = Vec::new();
    let mut pins = Vec::with_capacity(declared.len());
    for (position, text) in declared.iter().enumerate() {
        let place = || format!("pins[{position}]");
        match STANDARD.decode(text) {
            Err(_) => problems.push(Problem::new(place(), "expected a SHA-256 hash in Base64")),
            Ok(bytes) => match Pin::try_from(bytes) {
                Ok(pin) => pins.push(pin),
                Err(bytes) => {
                    let message = format!("expected the 32 bytes of a SHA-256 hash, found {}", bytes.len());
                    problems.push(Problem::new(place(), message));
                }
            },
        }
    }
    if problems.is_empty() { Ok(pins) } else { Err(problems) }
}

/// A certificate whose key is not pinned, with the hash of that key.
#[derive(Debug)]
pub(super) struct Unpinned(pub(super) Pin);

impl fmt::Display for Unpinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its key is not pinned")
    }
}

impl std::error::Error for Unpinned {}

/// Asks everything of a certificate that is always asked, and then for its key.
#[derive(Debug)]
pub(super) struct Verifier {
    web: Arc<WebPkiServerVerifier>,
    pins: Vec<Pin>,
}

impl Verifier {
    pub(super) fn new(web: Arc<WebPkiServerVerifier>, pins: Vec<Pin>) -> Self {
        Self { web, pins }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.web.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        if self.pins.is_empty() {
            return Ok(verified);
        }
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let mut found = Pin::default();
        found.copy_from_slice(digest(&SHA256, &key).as_ref());
        if self.pins.contains(&found) {
            return Ok(verified);
        }
        Err(CertificateError::Other(OtherError(Arc::new(Unpinned(found)))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.web.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.web.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web.supported_verify_schemes()
    }
}
