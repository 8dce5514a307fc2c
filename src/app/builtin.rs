//! The gateway's own endpoints: which there are, and what is asked of calls there.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use portcullis_admin::{Registering, Registrar};
use portcullis_core::call::{Call, Response};
use portcullis_core::handler::{Handler, OnControl};
use portcullis_core::jobs::Jobs;
use portcullis_core::model::ServiceId;
use portcullis_core::policy::Endpoint;
use portcullis_core::ports::Clock;
use portcullis_core::refusal::Refusal;
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

/// The endpoints of the gateway itself.
#[derive(Debug, Clone, Copy)]
enum Own {
    LogIn,
    Refresh,
    LogOut,
    KeySet,
    OneKey,
    Auth,
    Account,
    Register,
    Health,
    Ready,
}

/// The endpoints of this gateway.
pub(super) fn of_gateway(
    identity: &Identity,
    jobs: &Arc<dyn Jobs>,
    clock: &Arc<dyn Clock>,
    (changes, registrar): (&Changes, &Arc<Registrar>),
    auth_api: &AuthApi,
    stage: &watch::Receiver<Stage>,
) -> Builtins {
    let (login, keys, directory) = (&identity.login, &identity.keys, &identity.directory);
    let fomalhaut =
        |part| on_control(fomalhaut::Endpoint::new(part, Arc::clone(&identity.pairs), auth_api.clone()), jobs);
    all(|own| match own {
        Own::LogIn => on_control(LogIn::new(Arc::clone(login), Arc::clone(directory)), jobs),
        Own::Refresh => on_control(Refresh::new(Arc::clone(login), Arc::clone(directory)), jobs),
        Own::LogOut => on_control(LogOut::new(Arc::clone(login)), jobs),
        Own::KeySet => Arc::new(KeySet::new(keys)),
        Own::OneKey => Arc::new(OneKey::new(Arc::clone(keys))),
        Own::Auth => fomalhaut(Part::Auth),
        Own::Account => fomalhaut(Part::Account),
        Own::Register => on_control(Registering::new(Arc::clone(registrar), changes.clone(), Arc::clone(clock)), jobs),
        Own::Health => Arc::new(Health),
        Own::Ready => Arc::new(Ready(stage.clone())),
    })
}

/// The same where no gateway runs, for routes that are declared for them. Nobody calls these.
pub(super) fn of_none() -> Builtins {
    /// Is never called.
    struct NotHere;

    #[async_trait]
    impl Endpoint for NotHere {
        async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
            Err(Refusal::NotServed)
        }
    }
    all(|_| Arc::new(NotHere))
}

/// What stands at which path, and what is asked of calls there.
fn all(endpoint: impl Fn(Own) -> Arc<dyn Endpoint>) -> Builtins {
    let open = |path, own, meets| {
        let policies = BTreeMap::from([("request_limits".to_owned(), json!({"body_bytes": BODY}))]);
        Builtin { path, meets, grant: None, require: Vec::new(), policies, endpoint: endpoint(own) }
    };
    // Kept for the gateway itself, so no service is called so.
    let granted =
        |name: &str| ServiceId { name: name.parse().expect("a name"), version: "v1".parse().expect("a name") };
    let fomalhaut = |path, own, grant, credentials: &[&str]| Builtin {
        grant: Some(granted(grant)),
        require: vec![credentials.iter().map(|name| (*name).to_owned()).collect()],
        ..open(path, own, Meets::Below)
    };
    Builtins::new(vec![
        open("/-/token", Own::LogIn, Meets::Whole),
        open("/-/token/refresh", Own::Refresh, Meets::Whole),
        open("/-/token/revoke", Own::LogOut, Meets::Whole),
        open("/.well-known/jwks.json", Own::KeySet, Meets::Whole),
        open("/.well-known/keys", Own::OneKey, Meets::Below),
        fomalhaut("/auth/v1", Own::Auth, "auth", &["signature"]),
        fomalhaut("/account/v1", Own::Account, "account", &["signature", "bearer"]),
        open("/-/register", Own::Register, Meets::Whole),
        open("/-/health", Own::Health, Meets::Whole),
        open("/-/ready", Own::Ready, Meets::Whole),
    ])
}

fn on_control<H: Handler>(handler: H, jobs: &Arc<dyn Jobs>) -> Arc<dyn Endpoint> {
    Arc::new(OnControl::new(handler, Arc::clone(jobs)))
}
