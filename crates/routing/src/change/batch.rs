//! Changes that share one commit: each is applied to a copy of the declarations and compiled, or leaves no trace.

use std::ops::Range;
use std::sync::Arc;

use portcullis_core::audit::Actor;
use portcullis_core::model::{Label, Name, Owner, Problem, ServiceId};
use portcullis_core::ports::{Commit, Decision, Row, SessionsOf, Write};
use portcullis_core::table::Table;

use super::request::{Decided, Done, Request};
use super::rows::{Address, Rows};
use super::touched::{Problems, Touched, misplaced};
use super::{ChangeContext, ChangeError, Edit, Transaction, View, trail};
use crate::compile::{CompiledRoute, closed_route, closed_service, compile_route, compile_service};
use crate::routes::MAX_SHAPES;
use crate::snapshot::{DefaultRoute, Snapshot};

/// The declarations compiled, with what is needed to take a route out again.
#[derive(Clone)]
pub(super) struct Compiled {
    pub(super) snapshot: Snapshot,
    routes: Table<Name, Arc<CompiledRoute>>,
}

impl Compiled {
    /// Compiles everything. What does not compile is told in the log, and its place stays taken: calls that would have
    /// gone there are refused, and fall to nothing that is more open.
    pub(super) fn of(workshop: &ChangeContext, view: &View) -> Self {
        let mut compiled = Self { snapshot: workshop.builtin.clone(), routes: Table::default() };
        view.services().for_each(|(id, _)| compiled.place_service(workshop, view, id));
        view.routes().for_each(|(name, _)| compiled.place_route(workshop, view, name));
        view.hosts().for_each(|(name, stored)| compiled.snapshot.set_host(name, Some(&stored.value)));
        compiled
    }

    /// Compiles what edits touch that are on disk already, so that nothing about them can be refused any more.
    pub(super) fn follow(&mut self, workshop: &ChangeContext, view: &View, edits: &[Edit]) {
        let touched = Touched::by(None, view, edits);
        touched.services.into_iter().for_each(|id| self.place_service(workshop, view, id));
        touched.routes.into_iter().for_each(|name| self.place_route(workshop, view, name));
        self.place_hosts(edits);
    }

    /// Puts hosts in their places, or takes them out. Nothing about one that could be read is wrong.
    fn place_hosts(&mut self, edits: &[Edit]) {
        for edit in edits {
            if let Edit::Host(name, host) = edit {
                self.snapshot.set_host(name, host.as_ref());
            }
        }
    }

    /// Compiles the default route of a service, or closes its place.
    fn place_service(&mut self, workshop: &ChangeContext, view: &View, id: &ServiceId) {
        let Err(problems) = self.compile_service(workshop, view, id) else { return };
        tell(&problems);
        let Some(stored) = view.service(id) else { return };
        let path = view.default_routes().place(id, stored.owner);
        let pipeline = closed_service(&path, id, &stored.value);
        let closed = DefaultRoute { pipeline, is_registered: stored.owner == Owner::Registration };
        let has_way = view.default_path(id).is_some();
        self.snapshot.set_service(id, view.default_routes(), has_way.then_some(&closed));
    }

    /// Compiles a declared route, or closes its place.
    fn place_route(&mut self, workshop: &ChangeContext, view: &View, name: &Name) {
        let Err(problems) = self.compile_route(workshop, view, name) else { return };
        tell(&problems);
        // One that was there before is the same no more.
        if let Some(former) = self.routes.remove(name) {
            self.snapshot.remove_route(&former);
        }
        let Some(stored) = view.route(name) else { return };
        let service = stored.value.service.as_ref().and_then(|id| view.service(id));
        match closed_route(name, &stored.value, service.map(|stored| &stored.value), &workshop.builtins) {
            Some(closed) => {
                self.snapshot.set_route(&closed);
                self.routes.insert(name.clone(), Arc::new(closed));
            }
            None => tracing::error!(route = %name, "its place is not known, so it is left out"),
        }
    }

    /// Compiles the default route of a service as it stands in the view, or takes it out.
    fn compile_service(&mut self, workshop: &ChangeContext, view: &View, id: &ServiceId) -> Result<(), Vec<Problem>> {
        let route = match view.service(id) {
            Some(stored) => {
                // One without a way of its own is compiled too: what is wrong with it is told nevertheless.
                let path = view.default_routes().place(id, stored.owner);
                let pipeline = compile_service(path, id, stored, &workshop.parts, &workshop.upstreams)?;
                let route = DefaultRoute { pipeline, is_registered: stored.owner == Owner::Registration };
                view.default_path(id).is_some().then_some(route)
            }
            None => None,
        };
        self.snapshot.set_service(id, view.default_routes(), route.as_ref());
        Ok(())
    }

    /// Compiles a declared route as it stands in the view, or takes it out.
    fn compile_route(&mut self, workshop: &ChangeContext, view: &View, name: &Name) -> Result<(), Vec<Problem>> {
        let compiled = match view.route(name) {
            None => None,
            Some(stored) => {
                let service = |id: &ServiceId| view.service(id).map(AsRef::as_ref);
                let client = |name: &Label| view.client_name(name);
                let ChangeContext { builtins, parts, upstreams, .. } = workshop;
                Some(compile_route(name, &stored.value, service, client, builtins, parts, upstreams)?)
            }
        };
        if let Some(former) = self.routes.remove(name) {
            self.snapshot.remove_route(&former);
        }
        if let Some(route) = compiled {
            if !self.snapshot.has_room(&route) {
                let message = format!(
                    "the patterns of one host's routes have at most {MAX_SHAPES} shapes (a shape is the depth, the positions of parameters, and whether case matters)"
                );
                return Err(vec![Problem::new(format!("routes.{name}.match.path"), message)]);
            }
            self.snapshot.set_route(&route);
            self.routes.insert(name.clone(), Arc::new(route));
        }
        Ok(())
    }
}

fn tell(problems: &[Problem]) {
    for problem in problems {
        tracing::error!(%problem, "a stored declaration does not compile; its place answers 503");
    }
}

/// Changes that share one commit.
pub(super) struct Batch {
    /// The declarations after them.
    pub(super) next: View,
    /// The same compiled.
    pub(super) compiled: Compiled,
    /// The objects that no view holds, after them.
    rows: Rows,
    /// What has to be written for them.
    pub(super) writes: Vec<Write>,
    /// What they consist of.
    pub(super) edits: Vec<Edit>,
}

impl Batch {
    /// No change yet, on these declarations and other objects.
    pub(super) fn on(next: View, compiled: Compiled, rows: Rows) -> Self {
        Self { next, compiled, rows, writes: Vec::new(), edits: Vec::new() }
    }

    /// Takes one change in, or leaves everything as it was.
    pub(super) fn take(&mut self, workshop: &ChangeContext, request: &mut Request) -> Result<Taken, ChangeError> {
        let Request { actor, change } = request;
        let row = change.about().map_or(Ok(None), |address| self.rows.get(address))?;
        let from = self.writes.len();
        let (revisions, object) = match change.decide(&self.next, row)? {
            Decided::Declarations(transaction) => (self.edit(workshop, actor, transaction)?, None),
            Decided::Object(address, decision) => (Vec::new(), self.replace(workshop, actor, address, decision)?),
        };
        Ok(Taken { revisions, object, writes: from..self.writes.len() })
    }

    /// Has an object that no view holds become what is decided.
    fn replace(
        &mut self,
        workshop: &ChangeContext,
        actor: &Actor,
        address: Address,
        decision: Decision,
    ) -> Result<Option<Row>, ChangeError> {
        let before = self.rows.get(&address)?.cloned();
        let now = workshop.parts.clock.unix_millis();
        let (writes, after) = decision.writes((address.0, &address.1), before, actor, now);
        self.writes.extend(writes);
        self.rows.set(address, after.clone());
        Ok(after)
    }

    /// Applies edits of declarations and compiles what they touch; returns the revisions they lead to.
    fn edit(
        &mut self,
        workshop: &ChangeContext,
        actor: &Actor,
        transaction: Transaction,
    ) -> Result<Vec<u64>, ChangeError> {
        let mut next = self.next.clone();
        let now = workshop.parts.clock.unix_millis();
        let mut writes = Vec::with_capacity(transaction.edits.len() * 2);
        let mut revisions = Vec::with_capacity(transaction.edits.len());
        for edit in &transaction.edits {
            let told = trail::told(&next, edit, actor, now)?;
            let ended = ended_sessions(&next, edit);
            let (write, revision) = next.apply(edit, transaction.owner)?;
            writes.extend(write);
            writes.extend(ended);
            writes.extend(told.map(|told| told.leading_to(revision)));
            revisions.push(revision);
        }
        let compiled = compile(workshop, &self.compiled, (&self.next, &next), &transaction.edits);
        self.compiled = compiled.map_err(ChangeError::Invalid)?;
        self.next = next;
        self.writes.extend(writes);
        self.edits.extend(transaction.edits);
        Ok(revisions)
    }
}

/// What a change that was taken in leads to, once it is committed.
pub(super) struct Taken {
    revisions: Vec<u64>,
    object: Option<Row>,
    /// Which of the batch's writes are its own.
    writes: Range<usize>,
}

impl Taken {
    /// What it has led to with this commit; none if nothing had to be written for the whole batch.
    pub(super) fn done(self, commit: Option<&Commit>) -> Done {
        let ended = commit.map_or(&[][..], |commit| &commit.ended);
        let sessions = ended.iter().filter(|ended| self.writes.contains(&ended.write)).count();
        Done { revisions: self.revisions, object: self.object, sessions }
    }
}

/// The sessions that end with an edit: those of a client that is gone or disabled by it.
fn ended_sessions(before: &View, edit: &Edit) -> Option<Write> {
    let Edit::Client(name, after) = edit else { return None };
    let was = before.client(name).is_some_and(|stored| stored.value.enabled);
    let is = after.as_ref().is_some_and(|client| client.enabled);
    // One that is there and disabled already has none.
    let is_gone = after.is_none() && before.client(name).is_some();
    ((was && !is) || is_gone).then(|| Write::EndSessions(SessionsOf::Client(name.clone())))
}

/// Compiles what the edits touch: services, routes, the routes that lead to those services, and clients.
fn compile(
    workshop: &ChangeContext,
    before: &Compiled,
    (former, view): (&View, &View),
    edits: &[Edit],
) -> Result<Compiled, Vec<Problem>> {
    let mut compiled = before.clone();
    let mut problems = Problems::default();
    let touched = Touched::by(Some(former), view, edits);
    for id in touched.services {
        problems.of_service(id, compiled.compile_service(workshop, view, id));
        problems.of_place(misplaced(&workshop.upstreams, former, view, id));
    }
    touched.clients.into_iter().for_each(|name| problems.of_client(view, name));
    touched.hosts.into_iter().for_each(|name| problems.of_host(view, name));
    for name in touched.routes {
        problems.of_route(view, name, compiled.compile_route(workshop, view, name));
    }
    compiled.place_hosts(edits);
    problems.none_or_all().map(|()| compiled)
}
