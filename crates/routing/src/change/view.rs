//! The declarations and keys as they stand: what a change is decided on.

use std::sync::Arc;

use portcullis_core::directory::{KeyHash, KeyOwner};
use portcullis_core::model::{
    ApiKey, Client, ClientSecret, DefaultRoutes, Enrolment, Host, HostName, Label, Name, Owner, Registration, Route,
    Service, ServiceId, Stored,
};
use portcullis_core::ports::{Expect, Kind, Objects, RegistryError, Row, Write};
use portcullis_core::table::Table;
use serde::Serialize;

use super::follow::{KINDS, emptied, read};
use super::sites::Guarded;
use super::taken::taken_by;
use super::{Declared, Edit};

/// Everything that was declared or handed out, at one moment. Cheap to copy.
#[derive(Debug, Clone, Default)]
pub struct View {
    services: Held<ServiceId, Service>,
    routes: Held<Name, Route>,
    clients: Held<Label, Client>,
    hosts: Held<HostName, Host>,
    secrets: Held<(Label, String), ClientSecret>,
    keys: Held<KeyHash, ApiKey>,
    registrations: Held<Name, Registration>,
    enrolments: Held<Label, Enrolment>,
    /// The keys of an owner, so that none has to be searched for.
    keys_of: Table<KeyOwner, Arc<Vec<KeyHash>>>,
    /// The secrets of a client, likewise.
    secrets_of: Table<Label, Arc<Vec<String>>>,
    /// The routes that lead to a service, likewise.
    routes_to: Table<ServiceId, Arc<Vec<Name>>>,
    /// The routes for the calls of a client, likewise.
    routes_of: Table<Label, Arc<Vec<Name>>>,
    /// The versions of a service name, likewise.
    versions_of: Table<Name, Arc<Vec<Name>>>,
    /// The enrolment with a token's hash, likewise.
    enrolment_of: Table<String, Label>,
    /// The client with an access key, likewise.
    client_of: Table<String, Label>,
    /// The ways in which the name of services is written, by the name in lower case.
    spellings_of: Table<String, Arc<Vec<Name>>>,
    /// The routes for every host at a place of paths ([`taken_by`]).
    routes_at: Table<String, Arc<Vec<Name>>>,
    /// Where the targets of services with rules are.
    guarded: Guarded,
    /// How many names are registered with an enrolment token.
    registered_with: Table<Label, usize>,
    /// Where the default routes of services stand.
    default_routes: Arc<DefaultRoutes>,
}

type Held<K, V> = Table<K, Arc<Stored<V>>>;

impl View {
    /// Nothing, where default routes stand like this.
    pub fn with(default_routes: Arc<DefaultRoutes>) -> Self {
        Self { default_routes, ..Self::default() }
    }

    /// Reads everything from the registry.
    pub async fn load(registry: &dyn Objects, default_routes: Arc<DefaultRoutes>) -> Result<Self, RegistryError> {
        let mut view = Self::with(default_routes);
        for kind in KINDS {
            for row in registry.all(kind).await? {
                view.place(read(&row)?, row.owner, Some(row.revision));
            }
        }
        Ok(view)
    }

    /// A service.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Stored<Service>>> {
        self.services.get(id)
    }

    /// Every service, in no order.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceId, &Arc<Stored<Service>>)> {
        self.services.iter()
    }

    /// The versions a service name has.
    pub fn versions(&self, name: &Name) -> &[Name] {
        self.versions_of.get(name).map_or(&[], |versions| versions)
    }

    /// The ways in which a name is written that services have, whatever the case of its letters.
    pub fn spellings(&self, name: &str) -> &[Name] {
        self.spellings_of.get(&name.to_ascii_lowercase()).map_or(&[], |spellings| spellings)
    }

    /// Every name in all the ways in which it is written, in no order.
    pub fn all_spellings(&self) -> impl Iterator<Item = &[Name]> {
        self.spellings_of.iter().map(|(_, spellings)| spellings.as_slice())
    }

    /// Where the default routes of services stand.
    pub fn default_routes(&self) -> &DefaultRoutes {
        &self.default_routes
    }

    /// The path of a service's default route; none if it has none, or is not there.
    pub fn default_path(&self, id: &ServiceId) -> Option<String> {
        let stored = self.services.get(id)?;
        self.default_routes.of(id, &stored.value, stored.owner)
    }

    /// The routes for every host at a place of paths ([`taken_by`]).
    pub(super) fn routes_at(&self, place: &str) -> &[Name] {
        self.routes_at.get(place).map_or(&[], |routes| routes)
    }

    /// Where the targets of services with rules are.
    pub(super) fn guarded(&self) -> &Guarded {
        &self.guarded
    }

    /// A route.
    pub fn route(&self, name: &Name) -> Option<&Arc<Stored<Route>>> {
        self.routes.get(name)
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = (&Name, &Arc<Stored<Route>>)> {
        self.routes.iter()
    }

    /// The routes that lead to a service.
    pub fn routes_to(&self, service: &ServiceId) -> &[Name] {
        self.routes_to.get(service).map_or(&[], |routes| routes)
    }

    /// The routes for the calls of a client.
    pub fn routes_of(&self, client: &Label) -> &[Name] {
        self.routes_of.get(client).map_or(&[], |routes| routes)
    }

    /// A client.
    pub fn client(&self, name: &Label) -> Option<&Arc<Stored<Client>>> {
        self.clients.get(name)
    }

    /// The name of a client as it stands here: all that is made of this view shares it.
    pub(super) fn client_name(&self, name: &Label) -> Option<Label> {
        self.clients.entry(name).map(|(name, _)| name.clone())
    }

    /// Every client, in no order.
    pub fn clients(&self) -> impl Iterator<Item = (&Label, &Arc<Stored<Client>>)> {
        self.clients.iter()
    }

    /// A host.
    pub fn host(&self, name: &HostName) -> Option<&Arc<Stored<Host>>> {
        self.hosts.get(name)
    }

    /// Every host, in no order.
    pub fn hosts(&self) -> impl Iterator<Item = (&HostName, &Arc<Stored<Host>>)> {
        self.hosts.iter()
    }

    /// The client with this access key.
    pub fn client_with_access_key(&self, access_key: &str) -> Option<&Label> {
        self.client_of.get(access_key)
    }

    /// The secrets of a client, with their handles.
    pub fn secrets<'a>(&'a self, client: &'a Label) -> impl Iterator<Item = (&'a str, &'a Arc<Stored<ClientSecret>>)> {
        let ids = self.secrets_of.get(client).map_or(&[][..], |ids| ids.as_slice());
        ids.iter().filter_map(|id| self.secret(client, id).map(|secret| (id.as_str(), secret)))
    }

    /// Every secret, by client and handle, in no order.
    pub(super) fn all_secrets(&self) -> impl Iterator<Item = (&(Label, String), &Arc<Stored<ClientSecret>>)> {
        self.secrets.iter()
    }

    /// A secret of a client by its handle.
    pub fn secret(&self, client: &Label, id: &str) -> Option<&Arc<Stored<ClientSecret>>> {
        self.secrets.get(&(client.clone(), id.to_owned()))
    }

    /// An API key by its hash.
    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<Stored<ApiKey>>> {
        self.keys.get(hash)
    }

    /// The API keys of an owner.
    pub fn keys_of(&self, owner: &KeyOwner) -> impl Iterator<Item = (&KeyHash, &Arc<Stored<ApiKey>>)> {
        let hashes = self.keys_of.get(owner).map_or(&[][..], |hashes| hashes.as_slice());
        hashes.iter().filter_map(|hash| self.keys.get(hash).map(|key| (hash, key)))
    }

    /// Every API key, in no order.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyHash, &Arc<Stored<ApiKey>>)> {
        self.keys.iter()
    }

    /// A registration.
    pub fn registration(&self, name: &Name) -> Option<&Arc<Stored<Registration>>> {
        self.registrations.get(name)
    }

    /// How many names are registered with an enrolment token.
    pub fn registered_with(&self, enrolment: &Label) -> usize {
        self.registered_with.get(enrolment).copied().unwrap_or_default()
    }

    /// An enrolment token by its name.
    pub fn enrolment(&self, name: &Label) -> Option<&Arc<Stored<Enrolment>>> {
        self.enrolments.get(name)
    }

    /// Every enrolment token, in no order.
    pub fn enrolments(&self) -> impl Iterator<Item = (&Label, &Arc<Stored<Enrolment>>)> {
        self.enrolments.iter()
    }

    /// The enrolment token with this hash.
    pub fn enrolment_with(&self, token: &KeyHash) -> Option<(&Label, &Arc<Stored<Enrolment>>)> {
        let name = self.enrolment_of.get(&token.to_hex())?;
        self.enrolments.get(name).map(|enrolment| (name, enrolment))
    }

    /// Applies an edit and says what has to be written for it, and the revision the object has now (0: gone).
    pub(super) fn apply(&mut self, edit: &Edit, owner: Owner) -> Result<(Option<Write>, u64), RegistryError> {
        if let Edit::Adopt(object) = edit {
            return Ok((None, self.adopt(object, owner)));
        }
        let (kind, key) = address(edit);
        let held = self.row(edit)?.map(|row| row.revision);
        let Some((before, revision, owner)) = self.place(edit.clone(), owner, None) else {
            // One that is not there stays away, if nobody else has made it meanwhile.
            return Ok((Some(Write::Delete { kind, key, expect: held.map_or(Expect::Absent, Expect::Revision) }), 0));
        };
        let expect = if before == 0 { Expect::Absent } else { Expect::Revision(before) };
        let Some(Row { body, .. }) = self.row(edit)? else { return Ok((None, revision)) };
        Ok((Some(Write::Put { row: Row { kind, key, revision, owner, body }, expect }), revision))
    }

    /// The object an edit is about, as the registry keeps it; none if it is not there.
    pub(super) fn row(&self, edit: &Edit) -> Result<Option<Row>, RegistryError> {
        match edit {
            Edit::Service(id, _) => row(edit, self.services.get(id)),
            Edit::Route(name, _) => row(edit, self.routes.get(name)),
            Edit::Client(name, _) => row(edit, self.clients.get(name)),
            Edit::Host(name, _) | Edit::Adopt(Declared::Host(name)) => row(edit, self.hosts.get(name)),
            Edit::ClientSecret(client, id, _) => row(edit, self.secret(client, id)),
            Edit::ApiKey(hash, _) => row(edit, self.keys.get(hash)),
            Edit::Registration(name, _) => row(edit, self.registrations.get(name)),
            Edit::Enrolment(name, _) => row(edit, self.enrolments.get(name)),
            Edit::Adopt(Declared::Service(id)) => row(edit, self.services.get(id)),
            Edit::Adopt(Declared::Route(name)) => row(edit, self.routes.get(name)),
            Edit::Adopt(Declared::Client(name)) => row(edit, self.clients.get(name)),
        }
    }

    /// Takes up an object as somebody else has left it, with its owner and revision; none if it is gone.
    pub(super) fn take_up(&mut self, edit: Edit, left: Option<(Owner, u64)>) {
        // An object that is there keeps its owner in this node's own changes, so it goes first.
        self.place(emptied(&edit), Owner::Api, None);
        if let Some((owner, revision)) = left {
            self.place(edit, owner, Some(revision));
        }
    }

    /// Where everything is that is there.
    pub(super) fn addresses(&self) -> Vec<(Kind, String)> {
        let services = self.services.iter().map(|(id, _)| (Kind::Service, id.to_string()));
        let routes = self.routes.iter().map(|(name, _)| (Kind::Route, name.to_string()));
        let clients = self.clients.iter().map(|(name, _)| (Kind::Client, name.to_string()));
        let hosts = self.hosts.iter().map(|(name, _)| (Kind::Host, name.to_string()));
        let secrets = self.secrets.iter().map(|((client, id), _)| (Kind::ClientSecret, format!("{client}/{id}")));
        let keys = self.keys.iter().map(|(hash, _)| (Kind::ApiKey, hash.to_hex()));
        let registrations = self.registrations.iter().map(|(name, _)| (Kind::Registration, name.to_string()));
        let enrolments = self.enrolments.iter().map(|(name, _)| (Kind::Enrolment, name.to_string()));
        services
            .chain(routes)
            .chain(clients)
            .chain(hosts)
            .chain(secrets)
            .chain(keys)
            .chain(registrations)
            .chain(enrolments)
            .collect()
    }

    /// Gives an object to an owner; returns its revision, 0 if it is not there.
    fn adopt(&mut self, object: &Declared, owner: Owner) -> u64 {
        match object {
            Declared::Service(id) => give(&mut self.services, id, owner),
            Declared::Route(name) => give(&mut self.routes, name, owner),
            Declared::Client(name) => give(&mut self.clients, name, owner),
            Declared::Host(name) => give(&mut self.hosts, name, owner),
        }
    }

    /// Puts the object of an edit in its place, with the indexes over it. Returns the revision before (0: none),
    /// the revision now, and its owner; `None` if it is gone.
    fn place(&mut self, edit: Edit, owner: Owner, revision: Option<u64>) -> Option<(u64, u64, Owner)> {
        match edit {
            Edit::Service(id, value) => {
                list_set(&mut self.versions_of, id.name.clone(), &id.version, value.is_some());
                let is_there = self.versions_of.get(&id.name).is_some();
                list_set(&mut self.spellings_of, id.name.as_str().to_ascii_lowercase(), &id.name, is_there);
                let former = self.services.get(&id).map(|former| &former.value);
                self.guarded.set_service(&id, former, value.as_ref());
                set(&mut self.services, id, value, owner, revision)
            }
            Edit::Route(name, value) => {
                let former = self.routes.get(&name).map(|former| &former.value);
                let service = |id: &ServiceId| self.services.get(id).map(|stored| &stored.value);
                self.guarded.set_route(former, value.as_deref(), service);
                let former =
                    former.map(|former| (former.service.clone(), former.matches.client.clone(), taken_by(former)));
                let (service, client, place) = former.unwrap_or_default();
                if let Some(client) = client {
                    list_set(&mut self.routes_of, client, &name, false);
                }
                if let Some(client) = value.as_ref().and_then(|route| route.matches.client.clone()) {
                    list_set(&mut self.routes_of, client, &name, true);
                }
                if let Some(service) = service {
                    list_set(&mut self.routes_to, service, &name, false);
                }
                if let Some(place) = place {
                    list_set(&mut self.routes_at, place, &name, false);
                }
                if let Some(place) = value.as_deref().and_then(taken_by) {
                    list_set(&mut self.routes_at, place, &name, true);
                }
                if let Some(service) = value.as_ref().and_then(|route| route.service.clone()) {
                    list_set(&mut self.routes_to, service, &name, true);
                }
                set(&mut self.routes, name, value.map(|route| *route), owner, revision)
            }
            Edit::Client(name, value) => {
                if let Some(access_key) = self.clients.get(&name).and_then(|former| former.value.access_key.clone())
                    && self.client_of.get(&access_key) == Some(&name)
                {
                    self.client_of.remove(&access_key);
                }
                if let Some(access_key) = value.as_ref().and_then(|client| client.access_key.clone()) {
                    self.client_of.insert(access_key, name.clone());
                }
                set(&mut self.clients, name, value, owner, revision)
            }
            Edit::Host(name, value) => set(&mut self.hosts, name, value, owner, revision),
            Edit::ClientSecret(client, id, value) => {
                list_set(&mut self.secrets_of, client.clone(), &id, value.is_some());
                set(&mut self.secrets, (client, id), value, owner, revision)
            }
            Edit::ApiKey(hash, value) => {
                if let Some(former) = self.keys.get(&hash) {
                    list_set(&mut self.keys_of, former.value.owner.clone(), &hash, false);
                }
                if let Some(key) = &value {
                    list_set(&mut self.keys_of, key.owner.clone(), &hash, true);
                }
                set(&mut self.keys, hash, value, owner, revision)
            }
            Edit::Registration(name, value) => {
                if let Some(former) = self.registrations.get(&name).map(|former| former.value.enrolment.clone()) {
                    count(&mut self.registered_with, former, -1);
                }
                if let Some(registration) = &value {
                    count(&mut self.registered_with, registration.enrolment.clone(), 1);
                }
                set(&mut self.registrations, name, value, owner, revision)
            }
            Edit::Enrolment(name, value) => {
                if let Some(former) = self.enrolments.get(&name) {
                    self.enrolment_of.remove(&former.value.token_hash);
                }
                if let Some(enrolment) = &value {
                    self.enrolment_of.insert(enrolment.token_hash.clone(), name.clone());
                }
                set(&mut self.enrolments, name, value, owner, revision)
            }
            Edit::Adopt(object) => {
                self.adopt(&object, owner);
                None
            }
        }
    }
}

fn set<K, V>(
    table: &mut Held<K, V>,
    key: K,
    value: Option<V>,
    owner: Owner,
    revision: Option<u64>,
) -> Option<(u64, u64, Owner)>
where
    K: std::hash::Hash + Eq + Clone,
{
    let Some(value) = value else {
        table.remove(&key);
        return None;
    };
    let (before, owner) = table.get(&key).map_or((0, owner), |former| (former.revision, former.owner));
    let revision = revision.unwrap_or(before + 1);
    table.insert(key, Arc::new(Stored { value, revision, owner }));
    Some((before, revision, owner))
}

fn give<K, V>(table: &mut Held<K, V>, key: &K, owner: Owner) -> u64
where
    K: std::hash::Hash + Eq + Clone,
    V: Clone,
{
    let Some(held) = table.get(key) else { return 0 };
    let given = Stored { owner, ..held.as_ref().clone() };
    let revision = given.revision;
    table.insert(key.clone(), Arc::new(given));
    revision
}

fn list_set<K, V>(table: &mut Table<K, Arc<Vec<V>>>, key: K, value: &V, present: bool)
where
    K: std::hash::Hash + Eq + Clone,
    V: Clone + PartialEq,
{
    // Taken out, so that it is copied only where another view has it too.
    let mut shared = table.remove(&key).unwrap_or_default();
    let list = Arc::make_mut(&mut shared);
    list.retain(|held| held != value);
    if present {
        list.push(value.clone());
    }
    if !list.is_empty() {
        table.insert(key, shared);
    }
}

fn count(table: &mut Table<Label, usize>, key: Label, more: isize) {
    match table.get(&key).copied().unwrap_or_default().saturating_add_signed(more) {
        0 => drop(table.remove(&key)),
        now => drop(table.insert(key, now)),
    }
}

/// Where the registry keeps the object of an edit.
pub(super) fn address(edit: &Edit) -> (Kind, String) {
    match edit {
        Edit::Service(id, _) => (Kind::Service, id.to_string()),
        Edit::Route(name, _) => (Kind::Route, name.to_string()),
        Edit::Client(name, _) => (Kind::Client, name.to_string()),
        Edit::Host(name, _) | Edit::Adopt(Declared::Host(name)) => (Kind::Host, name.to_string()),
        Edit::ClientSecret(client, id, _) => (Kind::ClientSecret, format!("{client}/{id}")),
        Edit::ApiKey(hash, _) => (Kind::ApiKey, hash.to_hex()),
        Edit::Registration(name, _) => (Kind::Registration, name.to_string()),
        Edit::Enrolment(name, _) => (Kind::Enrolment, name.to_string()),
        Edit::Adopt(Declared::Service(id)) => (Kind::Service, id.to_string()),
        Edit::Adopt(Declared::Route(name)) => (Kind::Route, name.to_string()),
        Edit::Adopt(Declared::Client(name)) => (Kind::Client, name.to_string()),
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, RegistryError> {
    serde_json::to_string(value).map_err(|error| RegistryError::Storage(error.to_string()))
}

fn row<T: Serialize>(edit: &Edit, stored: Option<&Arc<Stored<T>>>) -> Result<Option<Row>, RegistryError> {
    let Some(stored) = stored else { return Ok(None) };
    let ((kind, key), body) = (address(edit), json(&stored.value)?);
    Ok(Some(Row { kind, key, revision: stored.revision, owner: stored.owner, body }))
}
