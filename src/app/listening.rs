//! The addresses of the gateway: taken, or passed in by whoever has started the process.

use portcullis_core::message::FieldValue;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, bail};
use portcullis_proxy::listen::{self, Listener};
use portcullis_proxy::redirect::Redirect;

use crate::config::Config;

/// The addresses of the data plane, and the listeners of each worker.
pub(super) struct Listening {
    /// In clear.
    pub(super) data: Option<SocketAddr>,
    /// Over TLS.
    pub(super) tls: Option<SocketAddr>,
    /// The listeners.
    pub(super) of_workers: Vec<Vec<Listener>>,
}

/// Takes the addresses of the data plane, in clear and over TLS.
pub(super) fn data_listeners(
    config: &Config,
    passed: Option<TcpListener>,
    passed_tls: Option<TcpListener>,
) -> anyhow::Result<Listening> {
    let take = |passed: Option<TcpListener>, address: Option<SocketAddr>, what: &'static str| match (passed, address) {
        (Some(socket), _) => {
            listen::share(&socket, config.workers).with_context(|| format!("{what} cannot use its socket")).map(Some)
        }
        (None, Some(address)) => listen::bind(address, config.workers).with_context(|| taken(address, what)).map(Some),
        (None, None) => Ok(None),
    };
    let (data, plain) = take(passed, config.listen, "the data plane")?.unzip();
    let (tls, secured) = take(passed_tls, config.tls_listen, "the data plane over TLS")?.unzip();
    let mut of_workers: Vec<Vec<Listener>> = (0..config.workers.max(1)).map(|_| Vec::new()).collect();
    let datagrams = match tls.filter(|_| config.tls.http3) {
        Some(address) => listen::bind_datagrams(address, config.workers)
            .with_context(|| format!("{address} is taken: HTTP/3 cannot have it over UDP"))?,
        None => Vec::new(),
    };
    let mut datagrams = datagrams.into_iter();
    let secured = secured.into_iter().flatten().map(Listener::with_tls);
    let secured = secured.map(|listener| match datagrams.next() {
        Some(socket) => listener.with_datagrams(socket),
        None => listener,
    });
    for (worker, listener) in of_workers.iter_mut().zip(plain.into_iter().flatten()) {
        worker.push(listener);
    }
    for (worker, listener) in of_workers.iter_mut().zip(secured) {
        worker.push(listener);
    }
    Ok(Listening { data, tls, of_workers })
}

/// The URL of a gateway that was not told how apps know it.
pub(super) fn own_url(data: Option<SocketAddr>, tls: Option<SocketAddr>) -> String {
    let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{address}");
    let over_tls = tls.map(|address| url("https", address));
    over_tls.or_else(|| data.map(|address| url("http", address))).unwrap_or_else(|| "http://localhost".to_owned())
}

/// Calls in clear go to the port that apps know, which need not be the one that is listened on.
pub(super) fn redirect(config: &Config, tls: SocketAddr) -> Redirect {
    Redirect { port: public_port(config, tls) }
}

/// `Alt-Svc` for those who could come over HTTP/3 (RFC 7838 section 3), for a day.
pub(super) fn alternative(config: &Config, tls: SocketAddr) -> anyhow::Result<FieldValue> {
    Ok(FieldValue::try_from(format!("h3=\":{}\"; ma=86400", public_port(config, tls)))?)
}

fn public_port(config: &Config, tls: SocketAddr) -> u16 {
    let public: Option<http::Uri> = config.public_url.as_ref().and_then(|url| url.parse().ok());
    let public = public.filter(|url| url.scheme_str() == Some("https"));
    public.map_or(tls.port(), |url| url.port_u16().unwrap_or(443))
}

/// The listener of the admin API.
pub(super) async fn admin_listener(
    config: &Config,
    passed: Option<TcpListener>,
) -> anyhow::Result<tokio::net::TcpListener> {
    let Some(socket) = passed else {
        let bound = tokio::net::TcpListener::bind(config.admin_listen).await;
        return bound.with_context(|| taken(config.admin_listen, "the admin API"));
    };
    let (address, _) = listen::share(&socket, 1).context("the admin API cannot use its socket")?;
    if !address.ip().is_loopback() && config.admin_certificate().is_none() {
        bail!("the socket for the admin API is on {address}: off loopback it needs 'admin_tls.certificate'");
    }
    Ok(tokio::net::TcpListener::from_std(socket)?)
}

fn taken(address: SocketAddr, what: &str) -> String {
    format!("{what} cannot listen on {address}")
}
