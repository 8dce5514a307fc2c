//! The wiring: the only room that knows every other. Opens what lasts, starts the workers and the control
//! plane, and brings everything down in order.

mod builtin;
mod certificates;
mod files;
mod identity;
mod jobs;
mod listening;
mod obtaining;
mod offline;
mod settings;
mod stopping;
mod supervisor;
mod upkeep;

pub(crate) use offline::dry_run;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, bail};
use portcullis_admin::{AdminState, Registrar};
use portcullis_core::audit::Link;
use portcullis_core::call::hex;
use portcullis_core::jobs::Jobs;
use portcullis_core::message::FieldValue;
use portcullis_core::model::{Client, Grant, Label, Owner};
use portcullis_core::ports::{Clock, Expect, Kind, Objects, Registry, Row, SystemClock, Upkeep, Write};
use portcullis_core::secret::Secret;
use portcullis_core::vital;
use portcullis_identity::{DEFAULT_CLIENT, MasterKey, Revocations, hash_key};
use portcullis_issuer::fomalhaut::AuthApi;
use portcullis_policies::{Limiters, Parts, SharedSteps};
use portcullis_proxy::admission::Admission;
use portcullis_proxy::explain::Explainer;
use portcullis_proxy::inherit::Inherited;
use portcullis_proxy::node::Node;
use portcullis_proxy::stage::Stage;
use portcullis_proxy::tls::ClientCertificates;
use portcullis_proxy::worker;
use portcullis_routing::Claims;
use portcullis_routing::change::{ChangeContext, Changes, DryRun, Edit, Transaction};
use portcullis_routing::live::LiveRoutes;
use portcullis_routing::snapshot::{Publisher, Snapshot};
use portcullis_store::{Journal, JournalSettings, SqliteRegistry};
use portcullis_telemetry::{AccessLogHandle, AccessLogWriter, CaptureStore, Counters};
use portcullis_upstream::Upstreams;
use portcullis_upstream::outbound::HttpOutbound;
use tokio::sync::watch;

use crate::acme;
use crate::config::{Config, ConfigError, MetricsAccess};
use crate::process::{Descriptors, Shares, open_descriptors};
use files::{DATABASE, DataDir};
use identity::Identity;
use jobs::ControlJobs;
use listening::{Listening, admin_listener, alternative, data_listeners, own_url, redirect};
use obtaining::Obtaining;
pub(crate) use settings::default_routes;
use settings::{
    capture_settings, holding, limits, log_settings, registration_bounds, strangers, timeouts, upstream_settings,
};

/// The directory of the journal of nonces, in the data directory.
const NONCES: &str = "nonces";

/// A running gateway.
pub(crate) struct Gateway {
    /// Where calls go in clear.
    pub(crate) data_addr: Option<SocketAddr>,
    /// Where calls go over TLS.
    pub(crate) tls_addr: Option<SocketAddr>,
    /// Where the admin API is.
    pub(crate) admin_addr: SocketAddr,
    /// How it is spoken to: `http` or `https`.
    pub(crate) admin_scheme: &'static str,
    /// The admin token.
    pub(crate) admin_token: Secret,
    config: Config,
    stage: watch::Sender<Stage>,
    workers: Vec<JoinHandle<()>>,
    admin: tokio::task::JoinHandle<()>,
    log: Arc<AccessLogHandle>,
    captures: Arc<CaptureStore>,
    registry: Arc<SqliteRegistry>,
    nonces: Arc<Journal>,
    /// Obtains certificates.
    renewing: Option<tokio::task::JoinHandle<()>>,
    /// Orders to read the certificates anew.
    reread: watch::Sender<()>,
    _data: DataDir,
}

impl Gateway {
    /// Starts everything, on the sockets that were passed in and on new ones for what is missing; when it returns,
    /// calls are answered.
    pub(crate) async fn start(config: Config, inherited: Inherited, counters: Arc<Counters>) -> anyhow::Result<Self> {
        let started = Instant::now();
        let descriptors = Descriptors::raise();
        tracing::info!("{descriptors}");
        let data = DataDir::take(&config.data_dir)?;
        let master = Arc::new(data.master_key()?);
        let admin_token = data.admin_token()?;
        let metrics = match config.metrics.access {
            MetricsAccess::Open => portcullis_admin::MetricsAccess::Open,
            MetricsAccess::Token => {
                let token = data.metrics_token(config.metrics.token_file.as_deref())?;
                portcullis_admin::MetricsAccess::Token(hash_key(token.expose()))
            }
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let started_at = clock.now();
        let is_new = !data.file(DATABASE).try_exists()?;
        let sqlite = Arc::new(open_registry(&data.file(DATABASE), &master).await?);
        let registry: Arc<dyn Registry> = Arc::clone(&sqlite) as Arc<dyn Registry>;
        check_master(registry.as_ref(), &master, data.path()).await?;
        let nonces = open_nonces(&config, is_new, &clock).await?;

        let Listening { data: data_addr, tls: tls_addr, of_workers } =
            data_listeners(&config, inherited.data, inherited.tls)?;
        let admin_listener = admin_listener(&config, inherited.admin).await?;
        let admin_addr = admin_listener.local_addr()?;
        let tls = match tls_addr {
            Some(_) => certificates::of_data_plane(&config, &clock)?,
            None => None,
        };
        let acme = acme::Settings::of(&config).map_err(|problems| ConfigError { problems })?;
        let admin_tls = certificates::of_admin(&config, &clock)?;
        let reread = watch::Sender::new(());
        for (tls, listener) in [(&tls, "data plane"), (&admin_tls, "admin API")] {
            if let Some(tls) = tls {
                let following = certificates::follow(Arc::clone(tls), listener, reread.subscribe());
                tokio::spawn(vital::task("the reading of certificates", following));
            }
        }

        let (log, recent) = AccessLogWriter::start(&log_settings(&config), Arc::clone(&counters))?;
        let settings = capture_settings(&config);
        let captures = CaptureStore::start(&settings, Arc::clone(&clock), Arc::clone(&counters))
            .with_context(|| format!("opening the captured exchanges in {}", settings.directory.display()))?;
        let (stage, stage_seen) = watch::channel(Stage::Serving);
        let jobs: Arc<dyn Jobs> = Arc::new(ControlJobs::on(tokio::runtime::Handle::current()));
        let issuer: Arc<str> = config.public_url.clone().unwrap_or_else(|| own_url(data_addr, tls_addr)).into();
        let (changes, pending) = Changes::prepare();
        let changing = Arc::new(changes.clone());
        let identity = Identity::build(&config, &registry, &master, &clock, Arc::clone(&issuer), changing).await?;

        let limiters = Arc::new(Limiters::default());
        let strangers = strangers(&config, &limiters, &clock);
        let parts = Arc::new(Parts {
            directory: Arc::clone(&identity.directory),
            tokens: Arc::clone(&identity.tokens),
            issuer,
            sessions: Arc::clone(&identity.sessions),
            jobs: Arc::clone(&jobs),
            shared_steps: SharedSteps::default(),
            limiters,
            state: Arc::clone(&nonces) as _,
            captures: Arc::clone(&captures) as _,
            strangers: Arc::clone(&strangers),
            routes: Arc::new(LiveRoutes),
            holding: holding(&config),
            windows: Arc::default(),
            clock: Arc::clone(&clock),
            token_memory: config.limits.remembered_token_bytes / config.workers.max(1) as u64,
            client_certificates: tls.is_some() && config.tls.client_certificates != ClientCertificates::Off,
            body_limit: config.limits.body_bytes,
        });
        let pseudonym = FieldValue::of(&format!("portcullis-{}", &master.id()[..8]))?;
        let own = [data_addr, tls_addr, Some(admin_addr)].into_iter().flatten().collect();
        let shares = shares(&descriptors, &config);
        let settings = upstream_settings(&config, &pseudonym, own, shares.services, shares.lookups);
        let upstreams = Upstreams::new(settings, Arc::clone(&clock));
        let obtaining = match (acme, &tls) {
            (Some(acme), Some(tls)) => {
                let tls = Arc::clone(tls);
                Some(
                    Obtaining::start(acme, &(Arc::clone(&registry) as _), &master, &clock, &jobs, &upstreams, tls)
                        .await?,
                )
            }
            _ => None,
        };
        let data_tls = tls.clone();
        let node = Arc::new(Node {
            pseudonym,
            limits: limits(&config, shares.callers),
            timeouts: timeouts(&config),
            trusted_proxies: config.trusted_proxies.clone(),
            forwarded_hosts: config.own_hosts(),
            proxy_protocol: config.proxy_protocol,
            tls,
            challenges: obtaining.as_ref().map(|obtaining| Arc::clone(&obtaining.challenges)),
            strict_transport: config.strict_transport().map(FieldValue::try_from).transpose()?,
            alternative: tls_addr.filter(|_| config.tls.http3).map(|tls| alternative(&config, tls)).transpose()?,
            redirect: tls_addr.filter(|_| config.http_redirect).map(|tls| redirect(&config, tls)),
            log: counters.calls.before(Arc::clone(&log) as _),
            welcome: Arc::new(Revocations::new(
                Arc::clone(&identity.directory),
                Arc::clone(&identity.sessions),
                Arc::clone(&jobs),
                Arc::clone(&clock),
            )),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            claims: Some(Arc::new(Claims::new(Arc::clone(&identity.directory), strangers))),
        });

        let (publisher, inboxes) = Publisher::new(of_workers.len());
        let admission = Arc::new(Admission::default());
        let workers = of_workers.into_iter().zip(inboxes).enumerate().map(|(number, (listeners, inbox))| {
            let (node, admission) = (Arc::clone(&node), Arc::clone(&admission));
            worker::start(format!("worker-{number}"), node, listeners, admission, inbox, stage_seen.clone())
        });
        let workers = workers.collect::<std::io::Result<Vec<_>>>()?;

        let explainer = Explainer::new(&node, publisher.clone());
        let registrar = Arc::new(Registrar::new(registration_bounds(&config), Arc::clone(&clock)));
        let outbound = HttpOutbound::over(&upstreams, None).map_err(|problems| ConfigError { problems })?;
        let auth_api = AuthApi::over(Arc::new(outbound));
        let builtins = builtin::of_gateway(&identity, &jobs, &clock, (&changes, &registrar), &auth_api, &stage_seen);
        let builtin = Snapshot::of_builtin(config.builtin_hosts.clone(), &builtins, &parts)
            .map_err(|problems| ConfigError { problems })?;
        let workshop = ChangeContext {
            registry: Arc::clone(&registry) as _,
            directory: Arc::clone(&identity.directory),
            unseal: Arc::clone(&master) as _,
            parts: Arc::clone(&parts),
            upstreams: upstreams.clone(),
            publisher,
            builtins: builtins.clone(),
            builtin,
            default_routes: Arc::new(default_routes(&config)),
        };
        pending.start(workshop).await?;
        ensure_default_client(&changes).await?;

        let certificates = upstreams.clone();
        let limited = Arc::clone(&parts.limiters);
        let state = Arc::new(AdminState {
            changes,
            registrar,
            dry_run: DryRun::new(parts, upstreams, builtins),
            explainer,
            users: identity.users,
            token_pairs: identity.pairs,
            registry: Arc::clone(&registry),
            sessions: Arc::clone(&identity.sessions),
            lockout: identity.lockout,
            limiters: limited,
            directory: identity.directory,
            nonces: Arc::clone(nonces.memory()),
            master,
            clock: Arc::clone(&clock),
            token: hash_key(admin_token.expose()),
            metrics,
            hosts: Vec::new(),
            connections: shares.admin,
            tls: admin_tls.clone(),
            data_tls,
            renewals: obtaining.as_ref().map(|obtaining| Arc::clone(&obtaining.report) as _),
            log: Arc::clone(&log),
            recent,
            captures: Arc::clone(&captures),
            counters,
            started,
            started_at,
            stage: stage.subscribe(),
        });
        let mut stopping = stage.subscribe();
        let serving = portcullis_admin::serve(admin_listener, state, async move {
            // An error means that the gateway itself is gone.
            let _ = stopping.wait_for(|stage| *stage >= Stage::Stopping).await;
        });
        let admin = tokio::spawn(vital::task("the admin API", serving));
        let renewing = obtaining.map(|obtaining| {
            tokio::spawn(vital::task("the renewal of certificates", obtaining.renewer.run(stage.subscribe())))
        });
        tokio::spawn(vital::task("the forgetting of sessions", upkeep::prune(identity.sessions)));
        tokio::spawn(vital::task("the reading of client certificates", upkeep::refresh(certificates)));
        Ok(Self {
            data_addr,
            tls_addr,
            admin_addr,
            admin_scheme: if admin_tls.is_some() { "https" } else { "http" },
            admin_token,
            config,
            stage,
            workers,
            admin,
            log,
            captures,
            registry: sqlite,
            nonces,
            renewing,
            reread,
            _data: data,
        })
    }
}

/// How the file descriptors are shared out, now that all files are open. Callers who get fewer connections than they were
/// meant to have are told of.
fn shares(descriptors: &Descriptors, config: &Config) -> Shares {
    let wanted = config.limits.connections;
    let shares = descriptors.share(open_descriptors(), config.workers, wanted);
    if shares.callers < wanted {
        tracing::warn!(
            "limits.connections is {wanted}, but {descriptors}: callers have {} connections at most, and services {}; raise \
             the hard limit (LimitNOFILE=, ulimit -Hn)",
            shares.callers,
            shares.services
        );
    }
    shares
}

/// Reads what replay protection has to remember.
async fn open_nonces(config: &Config, is_new: bool, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<Journal>> {
    let (bytes, clock) = (config.limits.nonce_bytes, Arc::clone(clock));
    let settings = JournalSettings { directory: config.data_dir.join(NONCES), bytes, is_new };
    Ok(tokio::task::spawn_blocking(move || Journal::open(&settings, clock)).await??)
}

/// The audit trail is chained under a key that is not in the file.
async fn open_registry(path: &Path, master: &Arc<MasterKey>) -> anyhow::Result<SqliteRegistry> {
    let master = Arc::clone(master);
    let link = Link::new(move |bytes| master.mac("audit", bytes));
    SqliteRegistry::open(path, link).await.with_context(|| format!("opening the registry {}", path.display()))
}

/// Looks at every entry of the audit trail, and at what it tells of, in a data directory that no gateway runs on.
pub(crate) async fn verify_audit(directory: &Path) -> anyhow::Result<serde_json::Value> {
    for name in [DATABASE, files::MASTER_KEY] {
        let path = directory.join(name);
        if !path.is_file() {
            bail!("{} is not there; name the data directory of a gateway that has run", path.display());
        }
    }
    let data = DataDir::take(directory)?;
    let master = Arc::new(data.master_key()?);
    let registry = open_registry(&data.file(DATABASE), &master).await?;
    let verdict = registry.verify_audit().await?;
    registry.close().await?;
    let mut shown = serde_json::json!({
        "entries": verdict.entries,
        "intact": verdict.first_broken.is_none(),
        "head": hex(&verdict.head.hash),
    });
    if let Some(place) = verdict.first_broken {
        shown["first_broken"] = place.into();
    }
    if let Some(fault) = verdict.fault {
        shown["reason"] = fault.to_string().into();
    }
    Ok(shown)
}

/// The registry belongs to one master key: what it holds sealed could not be opened with another.
async fn check_master(registry: &dyn Upkeep, master: &MasterKey, directory: &Path) -> anyhow::Result<()> {
    const KEY: &str = "master_key";
    let body = serde_json::to_string(&master.id())?;
    match registry.kept(Kind::Meta, KEY).await? {
        Some(row) if row.body == body => Ok(()),
        Some(_) => bail!(
            "the registry in {} belongs to another master key than master.key holds; put the right key back",
            directory.display()
        ),
        None => {
            let row = Row { kind: Kind::Meta, key: KEY.to_owned(), revision: 1, owner: Owner::Api, body };
            Ok(registry.keep(vec![Write::Put { row, expect: Expect::Absent }]).await?)
        }
    }
}

/// The client that logins without an API key belong to. It may call everything, until an operator narrows it.
async fn ensure_default_client(changes: &Changes) -> anyhow::Result<()> {
    let name: Label = DEFAULT_CLIENT.parse()?;
    let made = changes.submit(move |view| {
        let client = Client { services: vec![Grant::All], ..Client::default() };
        let missing = view.client(&name).is_none();
        let edits = missing.then_some(Edit::Client(name.clone(), Some(client))).into_iter().collect();
        Ok((Transaction { owner: Owner::Api, edits }, ()))
    });
    made.await?;
    Ok(())
}
