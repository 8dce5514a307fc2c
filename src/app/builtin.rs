//! The routes that are there without having been declared.

use std::sync::Arc;

use portcullis_admin::{RegisterEndpoint, Registrar};
use portcullis_core::jobs::Jobs;
use portcullis_core::ports::Clock;
use portcullis_identity::endpoints::{JwksEndpoint, PemEndpoint, RefreshEndpoint, RevokeEndpoint, TokenEndpoint};
use portcullis_proxy::probes::{Health, Ready};
use portcullis_proxy::stage::Stage;
use portcullis_routing::change::Changes;
use portcullis_routing::routes::Meets;
use portcullis_routing::snapshot::Builtin;
use tokio::sync::watch;

use super::identity::Identity;

/// The routes that are there without having been declared.
pub(super) fn routes(
    identity: &Identity,
    jobs: &Arc<dyn Jobs>,
    clock: &Arc<dyn Clock>,
    (changes, registrar): (&Changes, &Arc<Registrar>),
    stage: watch::Receiver<Stage>,
) -> Vec<Builtin> {
    let (login, keys) = (&identity.login, &identity.keys);
    let token = TokenEndpoint::new(Arc::clone(login), Arc::clone(&identity.directory), Arc::clone(jobs));
    let refresh = RefreshEndpoint::new(Arc::clone(login), Arc::clone(&identity.directory), Arc::clone(jobs));
    let (registrar, changes) = (Arc::clone(registrar), changes.clone());
    let register = RegisterEndpoint::new(registrar, changes, Arc::clone(jobs), Arc::clone(clock));
    let whole = |path, endpoint| Builtin { path, meets: Meets::Whole, endpoint };
    vec![
        whole("/-/token", Arc::new(token)),
        whole("/-/token/refresh", Arc::new(refresh)),
        whole("/-/token/revoke", Arc::new(RevokeEndpoint::new(Arc::clone(login), Arc::clone(jobs)))),
        whole("/.well-known/jwks.json", Arc::new(JwksEndpoint::new(Arc::clone(keys)))),
        Builtin {
            path: "/.well-known/keys",
            meets: Meets::Below,
            endpoint: Arc::new(PemEndpoint::new(Arc::clone(keys))),
        },
        whole("/-/register", Arc::new(register)),
        whole("/-/health", Arc::new(Health)),
        whole("/-/ready", Arc::new(Ready(stage))),
    ]
}
