//! The declarations compiled: what a worker routes by. Never changed once it is published.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use portcullis_core::canonical::Host;
use portcullis_core::directory::Directory;
use portcullis_core::model::{self, DefaultRoutes, HostDialect, HostName, Label, Owner, Problem, ServiceId};
use portcullis_core::policy::Pipeline;
use portcullis_core::table::Table;
use portcullis_policies::Parts;
use tokio::sync::{mpsc, oneshot};

use crate::builtins::Builtins;
use crate::compile::CompiledRoute;
use crate::routes::{Candidate, Conditions, DeclaredPath, Found, Leads, MatchReport, Meets, RouteQuery, Routes};

/// How long a publication waits for a worker that is busy before it goes on without its answer.
const PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    static SNAPSHOT: RefCell<Option<Arc<Snapshot>>> = const { RefCell::new(None) };
}

/// The compiled declarations.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    routes: Routes,
    hosts: Table<Arc<str>, Arc<HostFacts>>,
    has_hosts: bool,
}

/// What calls are told of a declared host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// How calls and answers are written on it.
    pub dialect: HostDialect,
    /// The URL under which callers reach it, where one is declared.
    pub public_url: Option<Arc<str>>,
}

/// What answers under the path of a service.
pub struct DefaultRoute {
    /// What answers.
    pub pipeline: Arc<Pipeline>,
    /// Whether the service has registered itself.
    pub is_registered: bool,
}

impl Snapshot {
    /// A snapshot of the built-in routes alone, or what is wrong with them.
    pub fn of_builtin(hosts: Vec<String>, builtins: &Builtins, parts: &Arc<Parts>) -> Result<Self, Vec<Problem>> {
        let mut routes = Routes::new(hosts);
        for builtin in builtins.all() {
            let candidate = builtin.compile(parts)?;
            routes.set_builtin(&DeclaredPath::plain(builtin.path, builtin.meets), candidate);
        }
        Ok(Self { routes, hosts: Table::default(), has_hosts: false })
    }

    /// Sets or takes out a declared host.
    pub fn set_host(&mut self, name: &HostName, host: Option<&model::Host>) {
        match host {
            Some(host) => {
                let public_url = host.public_url.as_ref().map(|url| url.to_string().into());
                self.hosts.insert(name.shared(), Arc::new(HostFacts { dialect: host.dialect, public_url }));
            }
            None => drop(self.hosts.remove(name.as_str())),
        }
        self.has_hosts = !self.hosts.is_empty();
        self.routes.set_builtin_host(name.as_str(), host.and_then(|host| host.builtin));
    }

    /// Whether any route is one of a client.
    pub fn has_routes_of_clients(&self) -> bool {
        self.routes.has_routes_of_clients()
    }

    /// Whether a client has any route of its own.
    pub fn has_routes_of(&self, client: &Label) -> bool {
        self.routes.has_routes_of(client)
    }

    /// What is declared of the host of a call, whatever port it names.
    pub fn host(&self, host: &Host) -> Option<&Arc<HostFacts>> {
        if self.has_hosts { self.hosts.get(host.name()) } else { None }
    }

    /// Sets or takes out the default route of a service, wherever it would stand: that of one that has registered itself
    /// is behind whatever operators have declared, also when it was at another place before, or has changed its regard to
    /// case.
    pub fn set_service(&mut self, id: &ServiceId, places: &DefaultRoutes, route: Option<&DefaultRoute>) {
        let ignores_case = route.is_some_and(|route| route.pipeline.route.paths.case_insensitive);
        for owner in [Owner::Api, Owner::Registration] {
            let path = places.place(id, owner);
            let is_registered = owner == Owner::Registration;
            let candidate = route.filter(|route| route.is_registered == is_registered).map(|route| Candidate {
                name: path.as_str().into(),
                meets: Meets::Below,
                conditions: Conditions::default(),
                pipeline: Arc::clone(&route.pipeline),
            });
            let place = DeclaredPath::plain(&path, Meets::Below);
            for (place, is_here) in [(place.clone(), !ignores_case), (place.without_case(), ignores_case)] {
                let candidate = candidate.as_ref().filter(|_| is_here);
                match is_registered {
                    true => self.routes.set_registered(&place, &path, candidate),
                    false => self.routes.set(None, &[], &place, &path, candidate),
                }
            }
        }
    }

    /// Puts a declared route in its place.
    pub fn set_route(&mut self, route: &CompiledRoute) {
        self.put(route, Some(&route.candidate));
    }

    /// Takes a declared route out of its place.
    pub fn remove_route(&mut self, route: &CompiledRoute) {
        self.put(route, None);
    }

    fn put(&mut self, route: &CompiledRoute, candidate: Option<&Candidate>) {
        let (client, name) = (route.client.as_ref(), &route.candidate.name);
        match route.endpoint {
            Some(endpoint) => {
                self.routes.set_at_builtin(endpoint, client, &route.hosts, &route.path, name, candidate);
            }
            None => self.routes.set(client, &route.hosts, &route.path, name, candidate),
        }
    }

    /// Whether a route's shape has room beside those that are there.
    pub fn has_room(&self, route: &CompiledRoute) -> bool {
        self.routes.has_room(route.endpoint, route.client.as_ref(), &route.hosts, route.path.shape)
    }

    /// Why each route was or was not chosen for a request, nearest first.
    pub fn weigh(&self, wanted: &RouteQuery<'_>, most: usize) -> MatchReport {
        self.routes.weigh(wanted, most)
    }

    /// The route for a request.
    pub fn find(&self, wanted: &RouteQuery<'_>) -> Option<Found<'_>> {
        self.routes.find(wanted)
    }
}

/// A snapshot on its way to a worker.
pub struct Update {
    /// What to route by from now on.
    pub snapshot: Arc<Snapshot>,
    /// The step of the directory that goes with it.
    pub step: u64,
    /// Told when it is so.
    pub done: oneshot::Sender<()>,
}

/// Routes by it from now on, on this worker.
pub fn take_up(update: Update) {
    // In one moment: no call of this worker is in between.
    SNAPSHOT.set(Some(update.snapshot));
    Directory::take(update.step);
    // Whoever published may have stopped waiting.
    let _ = update.done.send(());
}

/// The pipeline this worker routes a request to, and how many bytes of its path that has matched.
pub fn find(wanted: &RouteQuery<'_>) -> Option<Leads> {
    SNAPSHOT.with_borrow(|snapshot| Some(snapshot.as_ref()?.find(wanted)?.into()))
}

/// What is declared of the host of a call, as this worker routes; none where it is not declared.
pub fn host(host: &Host) -> Option<Arc<HostFacts>> {
    SNAPSHOT.with_borrow(|snapshot| snapshot.as_ref()?.host(host).cloned())
}

/// Whether any route is one of a client, as this worker routes.
pub fn has_routes_of_clients() -> bool {
    SNAPSHOT.with_borrow(|snapshot| snapshot.as_ref().is_some_and(|snapshot| snapshot.has_routes_of_clients()))
}

/// Whether a client has any route of its own, as this worker routes.
pub fn has_routes_of(client: &Label) -> bool {
    SNAPSHOT.with_borrow(|snapshot| snapshot.as_ref().is_some_and(|snapshot| snapshot.has_routes_of(client)))
}

/// Carries snapshots to the workers.
#[derive(Clone)]
pub struct Publisher {
    workers: Vec<mpsc::UnboundedSender<Update>>,
    latest: Arc<ArcSwapOption<Snapshot>>,
}

/// Where a worker gets its snapshots from.
pub type SnapshotReceiver = mpsc::UnboundedReceiver<Update>;

impl Publisher {
    /// A publisher to so many workers, and their inboxes. One update at a time is under way, so they stay short.
    pub fn new(workers: usize) -> (Self, Vec<SnapshotReceiver>) {
        let (senders, inboxes) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        (Self { workers: senders, latest: Arc::default() }, inboxes)
    }

    /// Gives every worker the snapshot, with the step of the directory that goes with it, and waits until all route by it.
    pub async fn publish(&self, snapshot: Snapshot, step: u64) {
        let snapshot = Arc::new(snapshot);
        let waiting: Vec<_> = self
            .workers
            .iter()
            .filter_map(|worker| {
                let (done, taken) = oneshot::channel();
                worker.send(Update { snapshot: Arc::clone(&snapshot), step, done }).ok().map(|()| taken)
            })
            .collect();
        let all = async {
            for taken in waiting {
                // A worker that has stopped routes no more calls.
                let _ = taken.await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("a worker is slow to take up a change");
        }
        self.latest.store(Some(snapshot));
    }

    /// What the workers route by; none before the first publication.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        self.latest.load_full()
    }
}
