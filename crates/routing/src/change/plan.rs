//! What a file of declarations would change: compared with the declarations as they stand, without changing any.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::directory::KeyOwner;
use portcullis_core::model::{Client, Declarations, Label, Name, Owner, Problem, Route, Service, ServiceId, Stored};
use serde::Serialize;
use serde_json::Value;

use super::shadows::{Shadow, Shadows};
use super::sharing::{SharedTarget, SharedTargets};
use super::{Declared, Edit, View};

/// By which rules a plan is made.
pub struct Rules<'a> {
    /// Whose objects are declared: what it owns and no longer declares is removed.
    pub owner: Owner,
    /// Whether it takes over objects of other owners that it declares otherwise.
    pub adopt: bool,
    /// The client that always exists: it has no access key and is never removed.
    pub builtin_client: &'a Label,
    /// Makes an access key for a client that is declared without one.
    pub access_key: &'a dyn Fn() -> String,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is not there and will be.
    Add,
    /// It is there and will be otherwise.
    Change,
    /// It is there and will not be.
    Remove,
}

/// What happens to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What happens.
    pub action: Action,
    /// `service`, `route`, `client` or `host`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Which of its fields change; `owner`, where it changes hands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// How the policies of one route change: the default route of a service by its path, others by their name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyStep {
    /// The route.
    pub route: String,
    /// The kinds of policies, and `require`, that are other than before.
    pub kinds: BTreeMap<String, Action>,
}

/// A plan.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// What happens to objects: services, routes, clients, hosts, each by name.
    pub steps: Vec<Step>,
    /// How policies of routes change.
    pub policies: Vec<PolicyStep>,
    /// How many declared objects stay as they are.
    pub unchanged: usize,
    /// The registered services of which calls go to declared routes then, the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadowed: Vec<Shadow>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub shadowed_left_out: usize,
    /// The registered services that are at targets of services with rules then, the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared_targets: Vec<SharedTarget>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub shared_targets_left_out: usize,
    /// The edits that bring it about, in order.
    #[serde(skip)]
    pub edits: Vec<Edit>,
    /// The clients it removes.
    #[serde(skip)]
    pub removed_clients: Vec<Label>,
    /// Why it cannot be.
    #[serde(skip)]
    pub problems: Vec<Problem>,
}

/// Compares what is declared with what there is.
pub fn plan(view: &View, declared: &Declarations, rules: &Rules<'_>) -> Plan {
    let mut plan = Plan::default();
    for (id, service) in &declared.services {
        let edit = Edit::Service(id.clone(), Some(service.clone()));
        plan.object(rules, Declared::Service(id.clone()), view.service(id), service, edit);
    }
    let gone = sorted(view.services(), rules, |id| declared.services.contains_key(id));
    for id in &gone {
        plan.removal(&Declared::Service(id.clone()), Edit::Service(id.clone(), None));
    }
    plan.forget_names(view, declared, &gone);
    for (name, route) in &declared.routes {
        let edit = Edit::Route(name.clone(), Some(Box::new(route.clone())));
        plan.object(rules, Declared::Route(name.clone()), view.route(name), route, edit);
    }
    for name in sorted(view.routes(), rules, |name| declared.routes.contains_key(name)) {
        plan.removal(&Declared::Route(name.clone()), Edit::Route(name, None));
    }
    plan.clients(view, declared, rules);
    for (name, host) in &declared.hosts {
        let edit = Edit::Host(name.clone(), Some(host.clone()));
        plan.object(rules, Declared::Host(name.clone()), view.host(name), host, edit);
    }
    for name in sorted(view.hosts(), rules, |name| declared.hosts.contains_key(name)) {
        plan.removal(&Declared::Host(name.clone()), Edit::Host(name, None));
    }
    plan.policies(view);
    plan.neighbours(view, rules.owner);
    plan
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What an owner has and does not declare, in order.
fn sorted<'a, K: Ord + Clone + 'a, V: 'a>(
    held: impl Iterator<Item = (&'a K, &'a std::sync::Arc<Stored<V>>)>,
    rules: &Rules<'_>,
    is_declared: impl Fn(&K) -> bool,
) -> BTreeSet<K> {
    let own = held.filter(|(key, stored)| stored.owner == rules.owner && !is_declared(key));
    own.map(|(key, _)| key.clone()).collect()
}

impl Plan {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn object<T: PartialEq + Serialize>(
        &mut self,
        rules: &Rules<'_>,
        object: Declared,
        held: Option<&std::sync::Arc<Stored<T>>>,
        wanted: &T,
        edit: Edit,
    ) {
        let Some(held) = held else { return self.step(Action::Add, &object, Vec::new(), vec![edit]) };
        let mut fields = differences(&held.value, wanted);
        let is_other = held.owner != rules.owner;
        if is_other && rules.adopt {
            fields.push("owner".to_owned());
            return self.step(Action::Change, &object.clone(), fields, vec![Edit::Adopt(object), edit]);
        }
        if fields.is_empty() {
            self.unchanged += 1;
        } else if is_other {
            let owner = held.owner.as_str();
            let message =
                format!("exists, is owned by '{owner}' and differs from the file; run with --adopt to take it over");
            self.problems.push(Problem::new(object.to_string(), message));
        } else {
            self.step(Action::Change, &object, fields, vec![edit]);
        }
    }

    fn removal(&mut self, object: &Declared, edit: Edit) {
        self.step(Action::Remove, object, Vec::new(), vec![edit]);
    }

    fn step(&mut self, action: Action, object: &Declared, fields: Vec<String>, edits: Vec<Edit>) {
        self.steps.push(Step { action, kind: object.kind(), name: object.name(), fields });
        self.edits.extend(edits);
    }

    /// With the last version of a name go its registration and the name's own API keys.
    fn forget_names(&mut self, view: &View, declared: &Declarations, gone: &BTreeSet<ServiceId>) {
        let names: BTreeSet<&Name> = gone.iter().map(|id| &id.name).collect();
        for name in names {
            let stays = view
                .versions(name)
                .iter()
                .any(|version| !gone.iter().any(|id| id.name == *name && id.version == *version));
            if stays || declared.services.keys().any(|id| id.name == *name) {
                continue;
            }
            if view.registration(name).is_some() {
                self.edits.push(Edit::Registration(name.clone(), None));
            }
            let own = KeyOwner::Service(name.clone());
            self.edits.extend(view.keys_of(&own).map(|(hash, _)| Edit::ApiKey(*hash, None)));
        }
    }

    fn clients(&mut self, view: &View, declared: &Declarations, rules: &Rules<'_>) {
        let gone =
            sorted(view.clients(), rules, |name| declared.clients.contains_key(name) || name == rules.builtin_client);
        // Whose each access key will be.
        let mut access_keys: BTreeMap<String, &Label> = view
            .clients()
            .filter(|(name, _)| !gone.contains(name) && !declared.clients.contains_key(name))
            .filter_map(|(name, stored)| Some((stored.value.access_key.clone()?, name)))
            .collect();
        access_keys.insert(rules.builtin_client.to_string(), rules.builtin_client);
        for name in gone {
            let own = KeyOwner::Client(name.clone());
            let keys = view.keys_of(&own).map(|(hash, _)| Edit::ApiKey(*hash, None));
            let secrets = view.secrets(&name).map(|(id, _)| Edit::ClientSecret(name.clone(), id.to_owned(), None));
            self.edits.extend(keys.chain(secrets));
            self.removal(&Declared::Client(name.clone()), Edit::Client(name.clone(), None));
            self.removed_clients.push(name);
        }
        for (name, client) in &declared.clients {
            let held = view.client(name);
            let place = || format!("clients.{name}.access_key");
            if name == rules.builtin_client && client.access_key.is_some() {
                self.problems.push(Problem::new(place(), "the built-in client has none"));
            }
            let kept = held.and_then(|held| held.value.access_key.clone());
            let access_key = client.access_key.clone().or(kept);
            let wanted = Client {
                access_key: access_key.or_else(|| (name != rules.builtin_client).then(|| (rules.access_key)())),
                ..client.clone()
            };
            if let Some(access_key) = &wanted.access_key
                && let Some(other) = access_keys.insert(access_key.clone(), name)
            {
                self.problems.push(Problem::new(place(), format!("is the access key of client '{other}' already")));
            }
            let edit = Edit::Client(name.clone(), Some(wanted.clone()));
            self.object(rules, Declared::Client(name.clone()), held, &wanted, edit);
        }
    }

    /// Which registered services are shadowed, and which share targets, when it is done.
    fn neighbours(&mut self, view: &View, owner: Owner) {
        let mut next = view.clone();
        for edit in &self.edits {
            // What cannot be written is told when it is tried.
            let _ = next.apply(edit, owner);
        }
        let Shadows { told, left_out } = Shadows::of(&next);
        (self.shadowed, self.shadowed_left_out) = (told, left_out);
        let SharedTargets { told, left_out } = SharedTargets::of(&next);
        (self.shared_targets, self.shared_targets_left_out) = (told, left_out);
    }

    /// How the policies of every route that the edits touch change.
    fn policies(&mut self, view: &View) {
        let (mut services, mut routes) = (BTreeMap::new(), BTreeMap::new());
        for edit in &self.edits {
            match edit {
                Edit::Service(id, service) => drop(services.insert(id, service.as_ref())),
                Edit::Route(name, route) => drop(routes.insert(name, route.as_deref())),
                _ => {}
            }
        }
        let before = |id: &ServiceId| view.service(id).map(|stored| &stored.value);
        let after = |id: &ServiceId| services.get(id).map_or_else(|| before(id), |service| *service);
        let mut steps = Vec::new();
        for id in services.keys() {
            let (old, new) = (before(id).map(of_service), after(id).map(of_service));
            steps.extend(policy_step(id.path(), old, new));
        }
        let followers = services.keys().flat_map(|id| view.routes_to(id));
        let touched: BTreeSet<&Name> = followers.chain(routes.keys().copied()).collect();
        for name in touched {
            let held = view.route(name).map(|stored| &stored.value);
            let wanted = routes.get(name).map_or(held, |route| *route);
            let old = held.map(|route| of_route(route, route.service.as_ref().and_then(before)));
            let new = wanted.map(|route| of_route(route, route.service.as_ref().and_then(after)));
            steps.extend(policy_step(name.to_string(), old, new));
        }
        self.policies = steps;
    }
}

type Policies = BTreeMap<String, Value>;

fn of_service(service: &Service) -> Policies {
    let mut policies = service.policies.clone();
    policies.insert("require".to_owned(), service.require.clone().into());
    policies
}

/// A route has the policies of its service, and its own in place of those of the same kind.
fn of_route(route: &Route, service: Option<&Service>) -> Policies {
    let mut policies = service.map(of_service).unwrap_or_default();
    policies.extend(route.policies.clone());
    if let Some(require) = &route.require {
        policies.insert("require".to_owned(), require.clone().into());
    }
    policies
}

/// How the policies of a route change that is there before or after.
fn policy_step(route: String, old: Option<Policies>, new: Option<Policies>) -> Option<PolicyStep> {
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |kind: &String| match (old.get(kind), new.get(kind)) {
        (None, _) => Some(Action::Add),
        (_, None) => Some(Action::Remove),
        (Some(old), Some(new)) => (old != new).then_some(Action::Change),
    };
    let kinds: BTreeMap<_, _> = all.into_iter().filter_map(|kind| Some((kind.clone(), change(kind)?))).collect();
    (!kinds.is_empty()).then_some(PolicyStep { route, kinds })
}

/// The fields in which two objects differ.
fn differences<T: PartialEq + Serialize>(held: &T, wanted: &T) -> Vec<String> {
    if held == wanted {
        return Vec::new();
    }
    let fields = |object: &T| match serde_json::to_value(object) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (held, wanted) = (fields(held), fields(wanted));
    let all: BTreeSet<&String> = held.keys().chain(wanted.keys()).collect();
    all.into_iter().filter(|field| held.get(*field) != wanted.get(*field)).cloned().collect()
}

#[cfg(test)]
mod tests;
