//! Declarations become pipelines here, or every problem with them is told. Nothing else decides what is valid.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::call::RouteFacts;
use portcullis_core::canonical::{Host, Path};
use portcullis_core::model::{
    HostMode, Label, MAX_HOSTS, Name, Owner, PathOptions, Problem, QueryMode, Route, Service, ServiceId, Stored,
};
use portcullis_core::policy::Pipeline;
use portcullis_core::refusal::Refusal;
use portcullis_policies::{Parts, RouteEnd};
use portcullis_upstream::template::Template;
use portcullis_upstream::{ForwardPath, Forwarding, Upstreams, traffic};
use serde_json::Value;

use crate::answers;
use crate::builtins::Builtins;
use crate::refusing::refusing;
use crate::routes::{Candidate, Conditions, DeclaredPath};

/// A declared route, ready for the table.
#[derive(Debug, Clone)]
pub struct CompiledRoute {
    /// The client whose calls alone it takes; none for those of everybody.
    pub client: Option<Label>,
    /// The hosts it is for; none means every host.
    pub hosts: Vec<String>,
    /// The path of the built-in endpoint it leads to, if it leads to one.
    pub endpoint: Option<&'static str>,
    /// Its path.
    pub path: DeclaredPath,
    /// What stands there.
    pub candidate: Candidate,
}

/// Compiles the default route of a service at a path, or says everything that is wrong with it.
pub fn compile_service(
    path: String,
    id: &ServiceId,
    service: &Stored<Service>,
    parts: &Arc<Parts>,
    upstreams: &Upstreams,
) -> Result<Arc<Pipeline>, Vec<Problem>> {
    let is_registered = service.owner == Owner::Registration;
    let (query, host) = (QueryMode::Keep, HostMode::Target);
    let forwarding = Forwarding { path: ForwardPath::Rest, query, host, is_registered };
    pipeline(path.into(), None, id, &service.value, forwarding, parts, upstreams)
        .map_err(|found| found.into_iter().map(|problem| problem.under(&format!("services.{id}"))).collect())
}

/// Compiles a declared route over the service or the built-in endpoint it leads to, or says everything that is wrong with it.
/// `service` looks services up, and `client` clients by their names, which it gives back as others have them.
pub fn compile_route<'a>(
    name: &Name,
    route: &Route,
    service: impl FnOnce(&ServiceId) -> Option<&'a Stored<Service>>,
    client: impl FnOnce(&Label) -> Option<Label>,
    builtins: &Builtins,
    parts: &Arc<Parts>,
    upstreams: &Upstreams,
) -> Result<CompiledRoute, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut keep = |found: Vec<Problem>| problems.extend(found);
    let client = route.matches.client.as_ref().and_then(|name| {
        let found = client(name);
        if found.is_none() {
            keep(vec![Problem::new("match.client", format!("there is no client '{name}'"))]);
        }
        found
    });
    let hosts = hosts(&route.matches.hosts).map_err(&mut keep).ok();
    let conditions = Conditions::parse(&route.matches).map_err(&mut keep).ok();
    let service = route.service.as_ref().and_then(service);
    let paths = route.paths(service.map(|service| service.value.paths()).unwrap_or_default());
    let path = DeclaredPath::parse(&route.matches.path, paths).map_err(|problem| keep(vec![problem])).ok();
    let pipeline = path.as_ref().and_then(|path| {
        route_pipeline((name, route), client.as_ref(), path, service, builtins, parts, upstreams)
            .map_err(&mut keep)
            .ok()
    });
    let endpoint = path.as_ref().filter(|_| route.builtin).and_then(|path| builtins.at(path).ok());
    let endpoint = endpoint.map(|builtin| builtin.path);
    match (hosts, conditions, path, pipeline) {
        (Some(hosts), Some(conditions), Some(path), Some(pipeline)) if problems.is_empty() => {
            let pipeline = match route.enabled {
                true => pipeline,
                false => {
                    let facts = RouteFacts { is_disabled: true, ..RouteFacts::clone(&pipeline.route) };
                    refusing(Arc::new(facts), Refusal::RouteDisabled)
                }
            };
            let candidate = Candidate { name: name.shared(), meets: path.meets, conditions, pipeline };
            Ok(CompiledRoute { client, hosts, endpoint, path, candidate })
        }
        _ => Err(problems.into_iter().map(|problem| problem.under(&format!("routes.{name}"))).collect()),
    }
}

/// The place of a declared route that does not compile, so that it stays taken: what would have gone there is refused,
/// and falls to no route that is more open. None if its place cannot be known.
pub fn closed_route(
    name: &Name,
    route: &Route,
    service: Option<&Service>,
    builtins: &Builtins,
) -> Option<CompiledRoute> {
    let paths = match route.builtin {
        true => PathOptions::default(),
        false => route.paths(service.map(Service::paths).unwrap_or_default()),
    };
    let declared = &route.matches.hosts;
    let hosts: Vec<String> =
        declared.iter().filter_map(|host| hosts(std::slice::from_ref(host)).ok()).flatten().collect();
    if hosts.is_empty() != declared.is_empty() {
        return None;
    }
    let mut path = DeclaredPath::place(&route.matches.path, paths)?;
    let builtin = if route.builtin { Some(builtins.at(&path).ok()?) } else { None };
    // Below an endpoint that has nothing there, it takes nothing.
    path.meets = builtin.map_or(path.meets, |builtin| path.meets.min(builtin.meets));
    let conditions = Conditions::readable(&route.matches);
    let client = route.matches.client.clone();
    let facts = RouteFacts {
        name: name.shared(),
        service: route.service.clone(),
        client: client.clone(),
        paths,
        grant: builtin.and_then(|builtin| builtin.grant.clone()),
        is_disabled: !route.enabled,
    };
    let refusal = if route.enabled { Refusal::NotServed } else { Refusal::RouteDisabled };
    let pipeline = refusing(Arc::new(facts), refusal);
    let candidate = Candidate { name: name.shared(), meets: path.meets, conditions, pipeline };
    Some(CompiledRoute { client, hosts, endpoint: builtin.map(|builtin| builtin.path), path, candidate })
}

/// What stands at the place of a service that does not compile.
pub fn closed_service(path: &str, id: &ServiceId, service: &Service) -> Arc<Pipeline> {
    let facts = RouteFacts {
        name: path.into(),
        service: Some(id.clone()),
        client: None,
        paths: service.paths(),
        ..RouteFacts::default()
    };
    refusing(Arc::new(facts), Refusal::NotServed)
}

fn route_pipeline(
    (name, route): (&Name, &Route),
    client: Option<&Label>,
    path: &DeclaredPath,
    service: Option<&Stored<Service>>,
    builtins: &Builtins,
    parts: &Arc<Parts>,
    upstreams: &Upstreams,
) -> Result<Arc<Pipeline>, Vec<Problem>> {
    let id = match (&route.service, &route.redirect, &route.answer, route.builtin) {
        (Some(id), None, None, false) => id,
        (None, Some(redirect), None, false) => return answering(name, route, answers::redirect(redirect, path)),
        (None, None, Some(answer), false) => return answering(name, route, answers::fixed(answer)),
        (None, None, None, true) => {
            let builtin = builtins.at(path).map_err(|problem| vec![problem])?;
            return builtin.compile_route(name, route, path, parts);
        }
        _ => {
            let message = "a route has exactly one of 'service', 'redirect', 'answer' and 'builtin'";
            return Err(vec![Problem::new("", message)]);
        }
    };
    let Some(service) = service else {
        return Err(vec![Problem::new("service", format!("there is no service '{id}'"))]);
    };
    let is_registered = service.owner == Owner::Registration;
    let forwarding = Forwarding { is_registered, ..forwarding(route, path)? };
    let service = &service.value;
    // Rules over paths are written for the paths the service gets; they would see others here, and let them pass.
    let has_rules = service.policies.get("acl").is_some_and(|acl| acl.get("rules").is_some());
    if has_rules && forwarding.path != ForwardPath::Rest && !route.policies.contains_key("acl") {
        let message = "the service has 'acl' rules on paths, and on this route they would match other paths: declare 'policies.acl' on the route itself";
        return Err(vec![Problem::new("policies.acl", message)]);
    }
    let mut effective = service.clone();
    if let Some(require) = &route.require {
        effective.require.clone_from(require);
    }
    effective.policies.extend(route.policies.clone());
    let paths = route.paths(service.paths());
    (effective.path_parameters, effective.encoded_slash) = (paths.parameters, paths.encoded_slash);
    effective.case_insensitive = paths.case_insensitive;
    pipeline(name.shared(), Some((route, client)), id, &effective, forwarding, parts, upstreams)
}

/// A route that answers by itself; it is open, and has nothing that policies could stand before.
fn answering(
    name: &Name,
    route: &Route,
    endpoint: Result<Arc<dyn portcullis_core::policy::Endpoint>, Vec<Problem>>,
) -> Result<Arc<Pipeline>, Vec<Problem>> {
    let mut problems = Vec::new();
    for (field, is_given) in [
        ("require", route.require.as_ref().is_some_and(|require| !require.is_empty())),
        ("policies", !route.policies.is_empty()),
        ("traffic", !route.traffic.is_empty()),
        ("strip", route.strip),
        ("rewrite", route.rewrite.is_some()),
        ("query", !route.query.is_keep()),
        ("host", route.host != HostMode::Target),
    ] {
        if is_given {
            problems.push(Problem::new(field, "only a route that leads to a service has this"));
        }
    }
    match endpoint {
        Ok(endpoint) if problems.is_empty() => {
            let paths = route.paths(PathOptions::default());
            let facts = RouteFacts {
                name: name.shared(),
                service: None,
                client: route.matches.client.clone(),
                paths,
                ..RouteFacts::default()
            };
            Ok(Arc::new(Pipeline::new(Arc::new(facts), Vec::new(), endpoint)))
        }
        endpoint => {
            problems.extend(endpoint.err().into_iter().flatten());
            Err(problems)
        }
    }
}

fn forwarding(route: &Route, path: &DeclaredPath) -> Result<Forwarding, Vec<Problem>> {
    let forward = match (&route.rewrite, route.strip) {
        (Some(_), true) => return Err(vec![Problem::new("strip", "a route has either 'strip' or 'rewrite'")]),
        (Some(rewrite), false) if rewrite.is_empty() => ForwardPath::Nothing,
        (Some(rewrite), false) => {
            let plain = rewrite.replace(['{', '}'], "~");
            let canonical = Path::parse(&plain);
            let is_one = |path: Path| path.forwarded() == plain && !path.has_encoded_slash();
            if !canonical.is_ok_and(is_one) {
                return Err(vec![Problem::new(
                    "rewrite",
                    "expected a canonical path like '/v2/{id}/{rest}', or '' for the target's own URL",
                )]);
            }
            ForwardPath::Template(
                Template::parse(rewrite, &path.parameters, "rewrite").map_err(|problem| vec![problem])?,
            )
        }
        (None, true) => ForwardPath::Rest,
        (None, false) => ForwardPath::Whole,
    };
    Ok(Forwarding { path: forward, query: route.query, host: route.host.clone(), is_registered: false })
}

fn pipeline(
    name: Arc<str>,
    route: Option<(&Route, Option<&Label>)>,
    id: &ServiceId,
    service: &Service,
    forwarding: Forwarding,
    parts: &Arc<Parts>,
    upstreams: &Upstreams,
) -> Result<Arc<Pipeline>, Vec<Problem>> {
    let nothing = BTreeMap::new();
    let of_route = |field: fn(&Route) -> &BTreeMap<String, Value>| route.map_or(&nothing, |(route, _)| field(route));
    let client = route.and_then(|(_, client)| client);
    let steps = portcullis_policies::compile(
        &name,
        client,
        of_route(|route| &route.policies),
        RouteEnd::Service(id),
        service,
        parts,
    );
    let traffic = traffic::compile(&service.traffic, of_route(|route| &route.traffic));
    let endpoint = upstreams.compile(id, service, traffic.as_ref().ok(), forwarding);
    match (steps, traffic, endpoint) {
        (Ok(steps), Ok(_), Ok(endpoint)) => {
            let facts = RouteFacts {
                name,
                service: Some(parts.shared_steps.id(id)),
                client: client.cloned(),
                paths: service.paths(),
                ..RouteFacts::default()
            };
            Ok(Arc::new(Pipeline::sharing(Arc::new(facts), steps, endpoint)))
        }
        (steps, traffic, endpoint) => {
            Err([steps.err(), traffic.err(), endpoint.err()].into_iter().flatten().flatten().collect())
        }
    }
}

fn hosts(declared: &[String]) -> Result<Vec<String>, Vec<Problem>> {
    let mut problems = Vec::new();
    if declared.len() > MAX_HOSTS {
        problems.push(Problem::new("match.hosts", format!("at most {MAX_HOSTS}")));
    }
    let mut hosts = Vec::with_capacity(declared.len());
    for (position, host) in declared.iter().enumerate() {
        let (wildcard, name) = host.strip_prefix("*.").map_or(("", host.as_str()), |name| ("*.", name));
        match Host::parse(name.as_bytes()) {
            Ok(host) if !host.has_port() && !name.ends_with(':') => hosts.push(format!("{wildcard}{}", host.as_str())),
            _ => {
                let message = format!("expected a host name without a port, or '*.' and one, found '{host}'");
                problems.push(Problem::new(format!("match.hosts[{position}]"), message));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use portcullis_core::message::{FieldMap, HasFields};
    use serde_json::json;

    use super::*;
    use crate::routes::RouteQuery;
    use crate::snapshot::Snapshot;

    #[test]
    fn the_closed_place_of_a_clients_route_falls_to_no_other() {
        let mut snapshot = Snapshot::default();
        let closed = |name: &str, matches: Value| {
            let route = serde_json::from_value(json!({"match": matches, "service": "gone/v1"})).expect("a route");
            closed_route(&name.parse().expect("a name"), &route, None, &Builtins::default()).expect("a place")
        };
        let own = closed("own", json!({"path": {"prefix": "/orders"}, "client": "shop"}));
        assert_eq!(own.candidate.pipeline.route.client.as_ref().map(Label::as_str), Some("shop"));
        for route in [&own, &closed("all", json!({"path": {"prefix": "/"}}))] {
            snapshot.set_route(route);
        }
        let found = |snapshot: &Snapshot, client: Option<&str>| {
            let client: Option<Label> = client.map(|client| client.parse().expect("a label"));
            let headers = FieldMap::new();
            let (host, path) = (Host::parse(b"any").expect("a host"), Path::parse("/orders/7").expect("a path"));
            let wanted = RouteQuery {
                client: client.as_ref(),
                host: &host,
                path: path.decision(),
                method: &Method::GET,
                headers: headers.fields(),
                query: None,
                announced: false,
                in_any_case: false,
            };
            snapshot.find(&wanted).expect("found").pipeline.route.name.to_string()
        };
        assert_eq!([Some("shop"), Some("till"), None].map(|client| found(&snapshot, client)), ["own", "all", "all"]);
        snapshot.remove_route(&own);
        assert_eq!(found(&snapshot, Some("shop")), "all");
    }
}
