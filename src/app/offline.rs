//! Compiles declarations where no gateway runs: the same parts, on a registry that is forgotten with the process.

use std::sync::Arc;

use http::HeaderValue;
use portcullis_core::directory::Directory;
use portcullis_core::memory::{MemoryCaptures, MemoryRegistry};
use portcullis_core::ports::{Clock, Registry, SystemClock};
use portcullis_identity::{AccessTokens, MasterKey, Sessions, SigningKeys};
use portcullis_policies::{Limiters, Parts};
use portcullis_proxy::tls::ClientCertificates;
use portcullis_routing::change::DryRun;
use portcullis_upstream::Upstreams;

use super::identity::SESSION_BYTES;
use super::jobs::ControlJobs;
use super::listening::own_url;
use super::upstream_settings;
use crate::config::Config;

/// A trial as the gateway with this configuration would make it.
pub(crate) async fn dry_run(config: &Config) -> anyhow::Result<DryRun> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
    // Nothing that is made with it is seen by anybody.
    let master = MasterKey::from_bytes(&[0; 32]);
    let keys = SigningKeys::load_or_create(registry.as_ref(), &master, clock.as_ref()).await?;
    let issuer: Arc<str> =
        config.public_url.clone().unwrap_or_else(|| own_url(config.listen, config.tls_listen)).into();
    let parts = Parts {
        directory: Arc::new(Directory::default()),
        tokens: Arc::new(AccessTokens::new(Arc::new(keys), Arc::clone(&issuer), Arc::clone(&clock))),
        issuer,
        sessions: Arc::new(Sessions::new(registry, Arc::clone(&clock), config.tokens.session_ttl, SESSION_BYTES)),
        jobs: Arc::new(ControlJobs::on(tokio::runtime::Handle::current())),
        captures: Arc::new(MemoryCaptures::new(0)),
        clock: Arc::clone(&clock),
        token_memory: 0,
        client_certificates: config.tls.client_certificates != ClientCertificates::Off,
        body_limit: config.limits.body_bytes,
        limiters: Arc::new(Limiters::default()),
    };
    let own = [config.listen, config.tls_listen, Some(config.admin_listen)].into_iter().flatten().collect();
    let pseudonym = HeaderValue::from_static("portcullis");
    let upstreams = Upstreams::new(upstream_settings(config, &pseudonym, own, usize::MAX), clock);
    Ok(DryRun::new(Arc::new(parts), upstreams))
}
