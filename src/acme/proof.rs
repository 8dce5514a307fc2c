//! The certificate that `tls-alpn-01` shows: it signs itself, and says of which order it knows (RFC 8737 section 3).

use std::sync::Arc;

use aws_lc_rs::digest;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// The certificate for a host whose key authorization is this.
pub(super) fn certificate(host: &str, authorization: &str) -> Result<Arc<CertifiedKey>, String> {
    let fault = |error: rcgen::Error| format!("a certificate to prove '{host}' by could not be made: {error}");
    let digest = digest::digest(&digest::SHA256, authorization.as_bytes());
    let mut params = CertificateParams::new([host.to_owned()]).map_err(fault)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let key = KeyPair::generate().map_err(fault)?;
    let certificate = params.self_signed(&key).map_err(fault)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_ecdsa_type(&key).map_err(|error| error.to_string())?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_host_and_the_order() {
        let made = certificate("api.example.com", "token.thumbprint").expect("made");
        let der = made.cert[0].as_ref();
        let holds = |bytes: &[u8]| der.windows(bytes.len()).any(|part| part == bytes);
        assert!(holds(b"api.example.com"));
        // id-pe-acmeIdentifier, critical, and the digest as an OCTET STRING in another.
        let mut extension = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 1, 1, 0xff, 4, 34, 4, 32];
        extension.extend_from_slice(digest::digest(&digest::SHA256, b"token.thumbprint").as_ref());
        assert!(holds(&extension), "{der:02x?}");
    }
}
