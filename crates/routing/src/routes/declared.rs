//! What operators have declared, for calls of everybody and for those of single clients.

use std::sync::Arc;

use portcullis_core::model::Label;
use portcullis_core::table::Table;

use super::host_routes::HostRoutes;
use super::{Asked, Candidate, DeclaredPath, Found, Shape};

/// Declared routes by whose calls they take.
#[derive(Debug, Clone, Default)]
pub(super) struct DeclaredRoutes {
    /// For calls of everybody.
    all: HostRoutes,
    /// For the calls of a client.
    of_clients: Table<Label, Arc<HostRoutes>>,
}

impl DeclaredRoutes {
    /// Sets or takes out a route by its name.
    pub(super) fn set(
        &mut self,
        client: Option<&Label>,
        hosts: &[String],
        path: &DeclaredPath,
        name: &str,
        candidate: Option<&Candidate>,
    ) {
        let Some(client) = client else { return self.all.set(hosts, path, name, candidate) };
        // Taken out, so that it is copied only where another copy of the table has it.
        let mut own = self.of_clients.remove(client).unwrap_or_default();
        Arc::make_mut(&mut own).set(hosts, path, name, candidate);
        if !own.is_empty() {
            self.of_clients.insert(client.clone(), own);
        }
    }

    /// Whether nothing is declared.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.of_clients.is_empty()
    }

    /// Whether any route is one of a client.
    pub(super) fn has_routes_of_clients(&self) -> bool {
        !self.of_clients.is_empty()
    }

    /// Whether one more shape has room beside those that are declared for these hosts, or for these hosts of a client.
    pub(super) fn has_room(&self, client: Option<&Label>, hosts: &[String], shape: Shape) -> bool {
        let routes = client.map_or(Some(&self.all), |client| self.of_client(client));
        routes.is_none_or(|routes| routes.has_room(hosts, shape))
    }

    /// The routes of a client.
    pub(super) fn of_client(&self, client: &Label) -> Option<&HostRoutes> {
        self.of_clients.get(client).map(AsRef::as_ref)
    }

    /// The routes of everybody.
    pub(super) fn of_all(&self) -> &HostRoutes {
        &self.all
    }

    /// Each client, with its routes.
    pub(super) fn clients(&self) -> impl Iterator<Item = (&Label, &HostRoutes)> {
        self.of_clients.iter().map(|(client, routes)| (client, routes.as_ref()))
    }

    /// The route for a request: one of the client that it claims, else one of everybody.
    pub(super) fn find<'a>(&'a self, asked: &Asked<'_>) -> Option<Found<'a>> {
        let own = asked.wanted.client.and_then(|client| self.of_client(client));
        own.and_then(|own| own.find(asked)).or_else(|| self.all.find(asked))
    }
}
