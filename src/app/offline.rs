//! Compiles declarations where no gateway runs: the same parts, on a registry that is forgotten with the process.

use std::sync::Arc;

use portcullis_core::message::FieldValue;
use portcullis_core::ports::{Clock, SystemClock};
use portcullis_policies::Parts;
use portcullis_proxy::tls::ClientCertificates;
use portcullis_routing::change::DryRun;
use portcullis_upstream::Upstreams;

use super::listening::own_url;
use super::{builtin, upstream_settings};
use crate::config::Config;

/// A dry run as the gateway with this configuration would make it.
pub(crate) async fn dry_run(config: &Config) -> anyhow::Result<DryRun> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuer = config.public_url.clone().unwrap_or_else(|| own_url(config.listen, config.tls_listen));
    let parts = Parts {
        client_certificates: config.tls.client_certificates != ClientCertificates::Off,
        body_limit: config.limits.body_bytes,
        ..Parts::for_dry_run(issuer, Arc::clone(&clock)).await?
    };
    let own = [config.listen, config.tls_listen, Some(config.admin_listen)].into_iter().flatten().collect();
    let pseudonym = FieldValue::from_static("portcullis");
    let upstreams = Upstreams::new(upstream_settings(config, &pseudonym, own, usize::MAX, 1), clock);
    Ok(DryRun::new(Arc::new(parts), upstreams, builtin::of_none()))
}
