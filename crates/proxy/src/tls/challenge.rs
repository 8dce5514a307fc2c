//! `tls-alpn-01` (RFC 8737): a certificate authority connects, asks for the protocol `acme-tls/1` alone, and looks at the
//! certificate it is shown. Nothing goes over such a connection.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;

use super::{Secured, Termination};
use crate::challenges::Challenges;

/// The protocol, as ALPN names it.
const ACME_TLS: &[u8] = b"acme-tls/1";

impl Termination {
    /// The handshake on a new connection, like [`Termination::accept`], where a certificate authority may be expected.
    /// None if it was one: it has seen what it wanted, and the connection has ended.
    pub async fn accept_or_prove<S>(
        &self,
        stream: S,
        challenges: &dyn Challenges,
    ) -> Result<Option<Secured<S>>, (io::Error, Option<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut hearing = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let heard = match (&mut hearing).await {
            Ok(heard) => heard,
            Err(error) => return Err((error, hearing.take_io())),
        };
        let host = {
            let hello = heard.client_hello();
            let asks = hello.alpn().is_some_and(|protocols| protocols.eq([ACME_TLS]));
            hello.server_name().filter(|_| asks).map(str::to_ascii_lowercase)
        };
        let proof = match host {
            Some(host) => challenges.certificate(&host).await,
            None => None,
        };
        let given_back = |(error, stream)| (error, Some(stream));
        let Some(proof) = proof else {
            let (config, generation) = self.newest();
            let stream = heard.into_stream(config).into_fallible().await.map_err(given_back)?;
            return self.secured(stream, generation).map(Some).map_err(given_back);
        };
        let config = self.proving(&proof).map_err(|error| (io::Error::other(error), None))?;
        let mut stream = heard.into_stream(config).into_fallible().await.map_err(given_back)?;
        // What comes after the handshake is of no interest, and neither is whether the farewell arrives.
        let _ = stream.shutdown().await;
        Ok(None)
    }

    /// Shows this certificate to whoever speaks `acme-tls/1`, and asks for none.
    fn proving(&self, proof: &CertifiedKey) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(proof.clone())));
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}
