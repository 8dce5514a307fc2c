//! The routes that are there without having been declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_admin::{Registering, Registrar};
use portcullis_core::handler::{Handler, OnControl};
use portcullis_core::jobs::Jobs;
use portcullis_core::policy::Endpoint;
use portcullis_core::ports::Clock;
use portcullis_issuer::keys::{KeySet, OneKey};
use portcullis_issuer::token::{LogIn, LogOut, Refresh};
use portcullis_proxy::probes::{Health, Ready};
use portcullis_proxy::stage::Stage;
use portcullis_routing::builtins::{Builtin, Builtins};
use portcullis_routing::change::Changes;
use portcullis_routing::routes::Meets;
use serde_json::json;
use tokio::sync::watch;

use super::identity::Identity;

/// The largest body a built-in endpoint is sent.
const BODY: u64 = 64 << 10;

/// The routes that are there without having been declared.
pub(super) fn routes(
    identity: &Identity,
    jobs: &Arc<dyn Jobs>,
    clock: &Arc<dyn Clock>,
    (changes, registrar): (&Changes, &Arc<Registrar>),
    stage: watch::Receiver<Stage>,
) -> Builtins {
    let (login, keys, directory) = (&identity.login, &identity.keys, &identity.directory);
    let log_in = LogIn::new(Arc::clone(login), Arc::clone(directory));
    let refresh = Refresh::new(Arc::clone(login), Arc::clone(directory));
    let registering = Registering::new(Arc::clone(registrar), changes.clone(), Arc::clone(clock));
    Builtins::new(vec![
        whole("/-/token", on_control(log_in, jobs)),
        whole("/-/token/refresh", on_control(refresh, jobs)),
        whole("/-/token/revoke", on_control(LogOut::new(Arc::clone(login)), jobs)),
        whole("/.well-known/jwks.json", Arc::new(KeySet::new(keys))),
        Builtin { meets: Meets::Below, ..whole("/.well-known/keys", Arc::new(OneKey::new(Arc::clone(keys)))) },
        whole("/-/register", on_control(registering, jobs)),
        whole("/-/health", Arc::new(Health)),
        whole("/-/ready", Arc::new(Ready(stage))),
    ])
}

fn on_control<H: Handler>(handler: H, jobs: &Arc<dyn Jobs>) -> Arc<dyn Endpoint> {
    Arc::new(OnControl::new(handler, Arc::clone(jobs)))
}

/// An open endpoint at this path alone.
fn whole(path: &'static str, endpoint: Arc<dyn Endpoint>) -> Builtin {
    let policies = BTreeMap::from([("request_limits".to_owned(), json!({"body_bytes": BODY}))]);
    Builtin { path, meets: Meets::Whole, grant: None, require: Vec::new(), policies, endpoint }
}
