//! The routes that are there without having been declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_admin::{Registering, Registrar};
use portcullis_core::handler::{Handler, OnControl};
use portcullis_core::jobs::Jobs;
use portcullis_core::model::{NameError, ServiceId};
use portcullis_core::policy::Endpoint;
use portcullis_core::ports::{Clock, Outbound};
use portcullis_issuer::fomalhaut::{self, AuthApi, Part};
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
    outbound: Arc<dyn Outbound>,
    stage: watch::Receiver<Stage>,
) -> Result<Builtins, NameError> {
    let (login, keys, directory) = (&identity.login, &identity.keys, &identity.directory);
    let log_in = LogIn::new(Arc::clone(login), Arc::clone(directory));
    let refresh = Refresh::new(Arc::clone(login), Arc::clone(directory));
    let registering = Registering::new(Arc::clone(registrar), changes.clone(), Arc::clone(clock));
    let auth_api = AuthApi::over(outbound);
    let endpoint = |part| {
        let endpoint = fomalhaut::Endpoint::new(part, Arc::clone(&identity.pairs), auth_api.clone());
        on_control(endpoint, jobs)
    };
    let below = |path, endpoint| Builtin { meets: Meets::Below, ..whole(path, endpoint) };
    let signed = |credentials: &[&str]| vec![credentials.iter().map(|name| (*name).to_owned()).collect()];
    Ok(Builtins::new(vec![
        whole("/-/token", on_control(log_in, jobs)),
        whole("/-/token/refresh", on_control(refresh, jobs)),
        whole("/-/token/revoke", on_control(LogOut::new(Arc::clone(login)), jobs)),
        whole("/.well-known/jwks.json", Arc::new(KeySet::new(keys))),
        below("/.well-known/keys", Arc::new(OneKey::new(Arc::clone(keys)))),
        Builtin {
            grant: Some(granted("auth")?),
            require: signed(&["signature"]),
            ..below("/auth/v1", endpoint(Part::Auth))
        },
        Builtin {
            grant: Some(granted("account")?),
            require: signed(&["signature", "bearer"]),
            ..below("/account/v1", endpoint(Part::Account))
        },
        whole("/-/register", on_control(registering, jobs)),
        whole("/-/health", Arc::new(Health)),
        whole("/-/ready", Arc::new(Ready(stage))),
    ]))
}

/// What a client is granted for such an endpoint, in its one version.
fn granted(name: &str) -> Result<ServiceId, NameError> {
    // Kept for the gateway itself, so no service is called so.
    Ok(ServiceId { name: name.parse()?, version: "v1".parse()? })
}

fn on_control<H: Handler>(handler: H, jobs: &Arc<dyn Jobs>) -> Arc<dyn Endpoint> {
    Arc::new(OnControl::new(handler, Arc::clone(jobs)))
}

/// An open endpoint at this path alone.
fn whole(path: &'static str, endpoint: Arc<dyn Endpoint>) -> Builtin {
    let policies = BTreeMap::from([("request_limits".to_owned(), json!({"body_bytes": BODY}))]);
    Builtin { path, meets: Meets::Whole, grant: None, require: Vec::new(), policies, endpoint }
}
