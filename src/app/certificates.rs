//! The certificates of the listeners: read at the start, and again whenever their files change or SIGHUP says so.

use std::sync::Arc;

use anyhow::bail;
use portcullis_core::ports::Clock;
use portcullis_proxy::tls::{self, Settings, Stamp, Termination};
use tokio::sync::watch;

use crate::config::{Config, ConfigError};

/// What ends TLS on the data plane. None where it has no such listener.
pub(super) fn of_data_plane(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Arc<Termination>>> {
    let tls = &config.tls;
    let settings = Settings {
        certificates: tls.certificates.clone(),
        awaited: config.acme.hosts.clone(),
        profile: tls.profile,
        http2: true,
        unknown_names: tls.unknown_names,
        client_certificates: tls.client_certificates,
        client_ca: tls.client_ca.clone(),
        client_crls: tls.client_crls.clone(),
    };
    open(settings, clock).map(Some)
}

/// What ends TLS on the admin API. None where it is spoken to in clear.
pub(super) fn of_admin(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Arc<Termination>>> {
    let Some(certificate) = config.admin_certificate() else { return Ok(None) };
    let settings = Settings { certificates: vec![certificate], profile: config.tls.profile, ..Settings::default() };
    open(settings, clock).map(Some)
}

fn open(settings: Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<Termination>> {
    if settings.certificates.is_empty() && settings.awaited.is_empty() {
        bail!("a socket for TLS needs certificates: expected 'tls.certificates' or 'acme.hosts'");
    }
    let opened = Termination::open(settings, Arc::clone(clock));
    Ok(Arc::new(opened.map_err(|problems| ConfigError { problems })?))
}

/// Reads the files of a listener anew when they have changed and come to rest, and at each order. What cannot be used
/// is told and not put in the place of what can. Ends with the orders.
pub(super) async fn follow(tls: Arc<Termination>, listener: &'static str, mut orders: watch::Receiver<()>) {
    let mut read = tls.first_stamp().clone();
    let mut seen = read.clone();
    loop {
        let is_ordered = tokio::select! {
            order = orders.changed() => match order {
                Ok(()) => true,
                Err(_) => return,
            },
            () = tokio::time::sleep(tls::LOOK) => false,
        };
        // A look that has failed is told where it was made; the next one is made as usual.
        let Some(now) = stamp(&tls).await else { continue };
        let is_at_rest = now == seen;
        seen = now.clone();
        if is_ordered || (is_at_rest && now != read) {
            read = now;
            reload(&tls, listener).await;
        }
    }
}

async fn stamp(tls: &Arc<Termination>) -> Option<Stamp> {
    let tls = Arc::clone(tls);
    tokio::task::spawn_blocking(move || tls.stamp()).await.ok()
}

async fn reload(tls: &Arc<Termination>, listener: &'static str) {
    let tls = Arc::clone(tls);
    match tokio::task::spawn_blocking(move || tls.reload()).await {
        Ok(Ok(())) => tracing::info!(listener, "the certificates were read anew"),
        Ok(Err(problems)) => {
            for problem in problems {
                tracing::error!(listener, "{problem}; the certificates that were in use stay in use");
            }
        }
        Err(error) => tracing::error!(listener, %error, "reading certificates has failed"),
    }
}
