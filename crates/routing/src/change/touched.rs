//! What edits touch and so has to be compiled, every problem with it, and the dry run that changes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portcullis_core::model::{Host, HostName, Label, Name, Owner, Problem, PublicUrl, ServiceId};
use portcullis_policies::Parts;
use portcullis_upstream::Upstreams;

use super::{Edit, View};
use crate::builtins::Builtins;
use crate::client_keys::check_keys;
use crate::compile::{compile_route, compile_service};

/// The services, routes, clients and hosts that edits change, the routes that lead to those services, and those for clients that come
/// or go.
pub(super) struct Touched<'a> {
    pub(super) services: HashSet<&'a ServiceId>,
    pub(super) routes: HashSet<&'a Name>,
    pub(super) clients: HashSet<&'a Label>,
    pub(super) hosts: HashSet<&'a HostName>,
}

impl<'a> Touched<'a> {
    /// What the edits touch that led from one view to another. Where the former is not known, clients may have come or gone.
    pub(super) fn by(former: Option<&View>, view: &'a View, edits: &'a [Edit]) -> Self {
        // One that stays can be changed, and switched off, whatever is wrong with its routes.
        let stays =
            |name: &Label| former.is_some_and(|former| former.client(name).is_some() == view.client(name).is_some());
        let mut touched =
            Self { services: HashSet::new(), routes: HashSet::new(), clients: HashSet::new(), hosts: HashSet::new() };
        for edit in edits {
            match edit {
                Edit::Service(id, _) => {
                    touched.services.insert(id);
                    touched.routes.extend(view.routes_to(id));
                }
                Edit::Route(name, _) => {
                    touched.routes.insert(name);
                }
                Edit::Host(name, _) => {
                    touched.hosts.insert(name);
                }
                Edit::Client(name, _) => {
                    touched.clients.insert(name);
                    if !stays(name) {
                        touched.routes.extend(view.routes_of(name));
                    }
                }
                _ => {}
            }
        }
        touched
    }
}

/// What is wrong with where a change puts the targets of a service. Those that were there before it are left alone, so that
/// what was declared while other addresses were allowed can still be changed.
pub(super) fn misplaced(upstreams: &Upstreams, former: &View, next: &View, id: &ServiceId) -> Result<(), Vec<Problem>> {
    let Some(stored) = next.service(id) else { return Ok(()) };
    let targets = &stored.value.targets;
    let before = former.service(id).map_or(&[][..], |former| &former.value.targets);
    let is_new = |problem: &Problem| {
        let at = problem.path.trim_start_matches("targets[").split(']').next().and_then(|at| at.parse::<usize>().ok());
        at.and_then(|at| targets.get(at)).is_none_or(|target| before.iter().all(|former| former.url != target.url))
    };
    let found = upstreams.judge(targets, stored.owner).into_iter().filter(is_new);
    let found: Vec<_> = found.map(|problem| problem.under(&format!("services.{id}"))).collect();
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Problems as they are found: those of services first, then those of routes.
#[derive(Default)]
pub(super) struct Problems<'a> {
    all: Vec<Problem>,
    of_services: HashMap<&'a ServiceId, Vec<Problem>>,
}

impl<'a> Problems<'a> {
    /// Keeps what is wrong with a service.
    pub(super) fn of_service<T>(&mut self, id: &'a ServiceId, compiled: Result<T, Vec<Problem>>) {
        let Err(found) = compiled else { return };
        self.all.extend(found.iter().cloned());
        self.of_services.insert(id, found);
    }

    /// Keeps what is wrong with a client as it stands in the view.
    pub(super) fn of_client(&mut self, view: &View, name: &Label) {
        let Some(stored) = view.client(name) else { return };
        let place = format!("clients.{name}");
        let found = check_keys(&stored.value).into_iter().chain(stored.value.login_problem());
        self.all.extend(found.map(|problem| problem.under(&place)));
    }

    /// Keeps what is wrong with a host beside the others of the view: two that callers know by one URL could not be told
    /// apart by what is signed for them.
    pub(super) fn of_host(&mut self, view: &View, name: &HostName) {
        let url = view.host(name).and_then(|stored| stored.value.public_url.as_ref());
        let Some(url) = url else { return };
        let is_theirs = |other: &HostName, host: &Host| {
            let authority = host.public_url.as_ref().map_or(other.as_str(), PublicUrl::authority);
            other != name && authority.eq_ignore_ascii_case(url.authority())
        };
        if let Some((other, _)) = view.hosts().find(|(other, stored)| is_theirs(other, &stored.value)) {
            let message =
                format!("the host '{other}' has the same public URL: signed requests for one would pass on the other");
            self.all.push(Problem::new(format!("hosts.{name}.public_url"), message));
        }
    }

    /// Keeps what is wrong with where a service is.
    pub(super) fn of_place(&mut self, placed: Result<(), Vec<Problem>>) {
        self.all.extend(placed.err().into_iter().flatten());
    }

    /// Keeps what is wrong with a route, except for what is wrong with its service and told there.
    pub(super) fn of_route<T>(&mut self, view: &View, name: &Name, compiled: Result<T, Vec<Problem>>) {
        let Err(found) = compiled else { return };
        let service = view.route(name).and_then(|stored| stored.value.service.as_ref());
        let told = service.and_then(|id| Some((id, self.of_services.get(id)?)));
        let (own, base) = (format!("routes.{name}"), told.map(|(id, _)| format!("services.{id}")));
        let is_told = |problem: &Problem| {
            let (Some((_, told)), Some(base)) = (told, &base) else { return false };
            let place = problem.path.strip_prefix(&own);
            told.iter().any(|other| other.path.strip_prefix(base) == place && other.message == problem.message)
        };
        let new: Vec<_> = found.into_iter().filter(|problem| !is_told(problem)).collect();
        self.all.extend(new);
    }

    /// Everything that was found, by its place.
    pub(super) fn none_or_all(mut self) -> Result<(), Vec<Problem>> {
        self.all.sort_by(|one, other| one.path.cmp(&other.path));
        if self.all.is_empty() { Ok(()) } else { Err(self.all) }
    }
}

/// Compiles edits without putting anything anywhere, and says what is wrong with them.
#[derive(Clone)]
pub struct DryRun {
    parts: Arc<Parts>,
    upstreams: Upstreams,
    builtins: Builtins,
}

impl DryRun {
    /// A dry run with what policies and upstream endpoints are built from, and the endpoints of the gateway itself.
    pub fn new(parts: Arc<Parts>, upstreams: Upstreams, builtins: Builtins) -> Self {
        Self { parts, upstreams, builtins }
    }

    /// Every problem the edits would have on these declarations.
    pub fn problems(&self, view: &View, edits: &[Edit]) -> Vec<Problem> {
        let mut next = view.clone();
        for edit in edits {
            if let Err(error) = next.apply(edit, Owner::Api) {
                return vec![Problem::new("", error.to_string())];
            }
        }
        let mut problems = Problems::default();
        let touched = Touched::by(Some(view), &next, edits);
        for id in touched.services {
            if let Some(stored) = next.service(id) {
                problems.of_service(id, compile_service(id.path(), id, stored, &self.parts, &self.upstreams));
                problems.of_place(misplaced(&self.upstreams, view, &next, id));
            }
        }
        touched.clients.into_iter().for_each(|name| problems.of_client(&next, name));
        touched.hosts.into_iter().for_each(|name| problems.of_host(&next, name));
        for name in touched.routes {
            let Some(stored) = next.route(name) else { continue };
            let service = |id: &ServiceId| next.service(id).map(AsRef::as_ref);
            let client = |name: &Label| next.client_name(name);
            let Self { parts, upstreams, builtins } = self;
            let compiled = compile_route(name, &stored.value, service, client, builtins, parts, upstreams);
            problems.of_route(&next, name, compiled);
        }
        problems.none_or_all().err().unwrap_or_default()
    }
}

impl std::fmt::Debug for DryRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DryRun").finish_non_exhaustive()
    }
}
