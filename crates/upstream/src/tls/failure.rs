//! Why there is no TLS with a target, in words an operator can act on.

use std::error::Error;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{AlertDescription, CertificateError};

use super::pins::Unpinned;

/// The failure of TLS among the causes of an error, if there is one.
pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // What an I/O error holds is not among its sources, only what that one has.
        let held: Option<&'a (dyn Error + 'static)> = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|held| held as &(dyn Error + 'static)),
            None => None,
        };
        cause = held.or_else(|| error.source());
    }
    None
}

/// The failure in words.
pub fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a client certificate, and was shown none".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("it ended the handshake: {}", words(*alert)),
        rustls::Error::InvalidMessage(error) => format!("what it says is not TLS: {error:?}"),
        rustls::Error::PeerIncompatible(error) => format!("it has no TLS in common with this gateway: {error:?}"),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "its certificate is from an issuer that is not trusted".to_owned(),
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {}, not for {}", presented.join(", "), expected.to_str())
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<Unpinned>() {
            Some(Unpinned(found)) => format!("its key has the hash {}, which is not pinned", STANDARD.encode(found)),
            None => format!("its certificate is not good: {other}"),
        },
        other => format!("its certificate is not good: {other}"),
    }
}

/// `BadCertificate` as `bad certificate`.
fn words(alert: AlertDescription) -> String {
    let mut words = String::new();
    let mut was_lower = false;
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && was_lower {
            words.push(' ');
        }
        was_lower = letter.is_ascii_lowercase();
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_found_however_deep_it_is() {
        let failure = || rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        let inner = io::Error::other(failure());
        let outer = io::Error::other(io::Error::other(failure()));
        for error in [&inner, &outer] {
            assert_eq!(find(error).map(reason).as_deref(), Some("it ended the handshake: unknown ca"));
        }
        assert!(find(&failure()).is_some());
        assert!(find(&io::Error::from(io::ErrorKind::ConnectionReset)).is_none());
    }
}
