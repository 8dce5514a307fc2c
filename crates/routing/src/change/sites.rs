//! Where targets are, as far as their URLs say it, and which of those places belong to services with rules of their own.
//!
//! Two targets share a place if host and port are the same and the base path of one begins with that of the other,
//! whatever their schemes. Hosts are compared by what is written: a name that resolves to the address of another one is
//! another host here. Each place is found under a text, so that nothing has to be compared with all there are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::address::{self, Class, Readings};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::model::{Route, Service, ServiceId, TargetUrl, default_require};
use portcullis_core::table::Table;
use serde_json::Value;

/// Segments of base paths that are told apart; what differs behind them counts as the same.
const SEGMENTS: usize = 32;
/// What lies at or below a place has this behind it; no path has it.
const WITHIN: &str = "//";
/// This machine, however it is written.
const THIS_MACHINE: &str = "localhost";
/// Names of this machine that systems come with, beside `localhost` and what ends in it.
const ITS_NAMES: [&str; 7] = [
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
];

/// Where a target is.
pub(super) struct TargetSite {
    /// `host:port`, in all ways in which the host can be read.
    hosts: Vec<String>,
    /// The base path, segment by segment.
    segments: Vec<String>,
}

impl TargetSite {
    pub(super) fn of(url: &TargetUrl) -> Self {
        let hosts = hosts(url.host()).into_iter().map(|host| format!("{host}:{}", url.port()));
        Self { hosts: hosts.collect(), segments: segments(url.base()) }
    }

    /// The places at which it is found: its own, and within each at or above it.
    fn found_at(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().flat_map(|host| {
            let above = above(host, &self.segments);
            let own = above.last().cloned();
            above.into_iter().map(|place| place + WITHIN).chain(own)
        })
    }

    /// The places at which those are found that share it: within it, and at each above it.
    fn asked_at(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().flat_map(|host| {
            let above = above(host, &self.segments);
            let within = above.last().map(|own| format!("{own}{WITHIN}"));
            above.into_iter().chain(within)
        })
    }
}

/// A host with nothing, with the first segment, with the first two, …
fn above(host: &str, segments: &[String]) -> Vec<String> {
    let mut all = vec![host.to_owned()];
    for segment in segments {
        let next = all.last().map(|last| format!("{last}/{segment}")).unwrap_or_default();
        all.push(next);
    }
    all
}

/// A host in its one form: each address it may stand for, or its name in lower case without the dot of the root.
fn hosts(written: &str) -> Vec<String> {
    let bare = written.strip_suffix('.').unwrap_or(written);
    if let Some(address) = address::literal(bare) {
        let mut all: Vec<_> = Readings::of(address).iter().map(address_text).collect();
        all.sort();
        all.dedup();
        return all;
    }
    let name = Host::parse(bare.as_bytes()).map(|host| host.name().to_owned());
    let name = name.unwrap_or_else(|_| bare.to_ascii_lowercase());
    let is_local = name == THIS_MACHINE || name.ends_with(".localhost") || ITS_NAMES.contains(&name.as_str());
    vec![if is_local { THIS_MACHINE.to_owned() } else { name }]
}

fn address_text(address: IpAddr) -> String {
    // Whoever connects to no address in particular comes to this machine.
    if address::class(address) == Class::Loopback || address.is_unspecified() {
        return THIS_MACHINE.to_owned();
    }
    address.to_canonical().to_string()
}

/// The segments of a base path as they are decided on, without case and parameters. One that can be read in several ways
/// is taken for the root, which shares a place with everything at its host.
fn segments(base: &str) -> Vec<String> {
    let mut plain = base.to_owned();
    for (escaped, read) in [("%2F", "/"), ("%2f", "/"), ("%5C", "/"), ("%5c", "/"), ("%3B", ";"), ("%3b", ";")] {
        plain = plain.replace(escaped, read);
    }
    let Ok(path) = Path::parse(if plain.is_empty() { "/" } else { &plain }) else { return Vec::new() };
    let folded = path.decision().folded();
    let segments = folded.decision().as_str().split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    let segments: Vec<_> = segments.filter(|segment| !segment.is_empty()).take(SEGMENTS).map(str::to_owned).collect();
    if segments.iter().any(|segment| matches!(segment.as_str(), "." | "..")) { Vec::new() } else { segments }
}

/// Whether a service has rules that whoever calls its targets in another way would not be held to.
pub(super) fn service_has_rules(service: &Service) -> bool {
    is_narrow(&service.require) || service.policies.iter().any(|(kind, settings)| refuses(kind, settings))
}

/// Whether a route has such rules itself, beside those of its service.
fn route_has_rules(route: &Route) -> bool {
    let narrow = route.require.as_deref().is_some_and(is_narrow);
    narrow || route.policies.iter().any(|(kind, settings)| refuses(kind, settings))
}

/// Whether every way in asks for something that a registered service does not ask for: that wants a token and a key.
fn is_narrow(require: &[Vec<String>]) -> bool {
    let usual = default_require().concat();
    !require.is_empty() && require.iter().all(|kinds| kinds.iter().any(|kind| !usual.contains(kind)))
}

/// Whether a policy with these settings refuses some calls, or says in the caller's place what services believe.
fn refuses(kind: &str, settings: &Value) -> bool {
    let says = |field: &str| match settings.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    let is = |field: &str, word: &str| settings.get(field).and_then(Value::as_str) == Some(word);
    match kind {
        "acl" => says("rules") || is("default", "deny"),
        "ip_filter" => says("allow") || says("deny"),
        "throttle" | "rate_limit" => match settings {
            Value::Null => false,
            Value::Array(limits) => !limits.is_empty(),
            Value::Object(limit) => !limit.is_empty(),
            _ => true,
        },
        "headers" => settings.get("request").and_then(Value::as_object).is_some_and(|edits| !edits.is_empty()),
        "request_limits" => settings.get("body_bytes").and_then(Value::as_u64).is_some_and(|bytes| bytes > 0),
        "bearer" => is("subject", "client"),
        _ => false,
    }
}

/// The places of services with rules. Cheap to copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Guarded {
    /// How many routes to a service have rules themselves.
    routes: Table<ServiceId, usize>,
    /// The services that are found at a place.
    at: Table<String, Arc<BTreeSet<ServiceId>>>,
}

impl Guarded {
    /// A service is there, is another one, or is gone.
    pub(super) fn set_service(&mut self, id: &ServiceId, former: Option<&Service>, now: Option<&Service>) {
        let by_route = self.routes.get(id).is_some();
        let places = |service: Option<&Service>| {
            let guarded = service.filter(|service| by_route || service_has_rules(service));
            guarded.map(places).unwrap_or_default()
        };
        let (former, now) = (places(former), places(now));
        former.difference(&now).for_each(|place| self.mark(place, id, false));
        now.difference(&former).for_each(|place| self.mark(place, id, true));
    }

    /// A route is there, is another one, or is gone. `service` looks services up.
    pub(super) fn set_route<'a>(
        &mut self,
        former: Option<&Route>,
        now: Option<&Route>,
        service: impl Fn(&ServiceId) -> Option<&'a Service>,
    ) {
        let guards = |route: Option<&Route>| {
            let route = route.filter(|route| route_has_rules(route))?;
            route.service.clone()
        };
        let (former, now) = (guards(former), guards(now));
        if former == now {
            return;
        }
        for (id, is_there) in former.map(|id| (id, false)).into_iter().chain(now.map(|id| (id, true))) {
            let before = self.routes.get(&id).copied().unwrap_or_default();
            let after = if is_there { before + 1 } else { before.saturating_sub(1) };
            if after == 0 {
                self.routes.remove(&id)
            } else {
                self.routes.insert(id.clone(), after)
            };
            if let Some(service) = service(&id).filter(|service| !service_has_rules(service))
                && (before == 0) != (after == 0)
            {
                places(service).iter().for_each(|place| self.mark(place, &id, is_there));
            }
        }
    }

    fn mark(&mut self, place: &str, id: &ServiceId, is_there: bool) {
        let mut held = self.at.remove(place).unwrap_or_default();
        let services = Arc::make_mut(&mut held);
        if is_there {
            services.insert(id.clone());
        } else {
            services.remove(id);
        }
        if !services.is_empty() {
            self.at.insert(place.to_owned(), held);
        }
    }

    /// The services with rules that share a place with a target, in as many sets as there are ways to share it.
    pub(super) fn sharing<'a>(&'a self, site: &TargetSite) -> impl Iterator<Item = &'a Arc<BTreeSet<ServiceId>>> {
        site.asked_at().filter_map(|place| self.at.get(&place)).collect::<Vec<_>>().into_iter()
    }
}

fn places(service: &Service) -> BTreeSet<String> {
    service.targets.iter().flat_map(|target| TargetSite::of(&target.url).found_at().collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests;
