//! What is wrong with who may call a service, how often, and where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portcullis_core::model::{Grant, RESERVED_SERVICE_NAMES, ServiceId};
use serde_json::Value;

use super::finding::{Location, Subject};
use super::sites::{SettingsSite, objects, sites};

fn each(subject: &Subject<'_>, look: impl Fn(&SettingsSite<'_>) -> Vec<Location>) -> Vec<Location> {
    sites(subject).iter().flat_map(look).collect()
}

pub(super) fn open(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, |site| match site.require() {
        Some((path, [])) if site.client.is_none() => vec![Location::new(path, "require is []")],
        _ => Vec::new(),
    })
}

/// Routes of a client that ask for nothing but its name.
pub(super) fn open_to_claims(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, |site| match (site.client, site.require()) {
        (Some(client), Some((_, []))) => vec![Location::new(site.path.clone(), format!("whoever claims '{client}'"))],
        _ => Vec::new(),
    })
}

pub(super) fn open_without_limit(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, |site| match site.require() {
        Some((path, [])) if site.is_known() && site.limits().is_empty() => {
            vec![Location::new(path, "neither throttle nor rate_limit")]
        }
        _ => Vec::new(),
    })
}

pub(super) fn without_limit(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, |site| {
        let is_found = site.says_limits() && site.is_open() == Some(false) && site.limits().is_empty();
        let place = || Location::new(format!("{}.policies", site.path), "neither throttle nor rate_limit");
        is_found.then(place).into_iter().collect()
    })
}

/// Limits an anonymous caller escapes: all of them count by a field the caller writes.
pub(super) fn limits_of_the_callers_choice(subject: &Subject<'_>) -> Vec<Location> {
    let is_chosen = |limit: &Value| {
        let parts = limit.get("key").and_then(Value::as_array);
        parts.is_some_and(|parts| {
            parts.iter().any(|part| part.as_str().is_some_and(|part| part.starts_with("header:") || part == "path"))
        })
    };
    each(subject, |site| {
        let limits = match site.is_open() {
            Some(true) => site.limits(),
            _ => site.early_limits(),
        };
        if limits.is_empty() || !limits.iter().all(|(_, limit)| is_chosen(limit)) {
            return Vec::new();
        }
        limits.into_iter().map(|(path, _)| Location::new(format!("{path}.key"), "no limit counts without it")).collect()
    })
}

/// An alternative that asks for less than another one makes that other one idle.
pub(super) fn optional_credentials(subject: &Subject<'_>) -> Vec<Location> {
    let kinds = |alternative: &Value| -> Vec<String> {
        let kinds = alternative.as_array().into_iter().flatten();
        kinds.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    // What is no list of kinds asks for nothing that is known here.
    let asks_less = |less: &[String], more: &[String]| {
        !less.is_empty() && less.len() < more.len() && less.iter().all(|kind| more.contains(kind))
    };
    each(subject, |site| {
        let Some((path, alternatives)) = site.require() else { return Vec::new() };
        let alternatives: Vec<_> = alternatives.iter().map(kinds).collect();
        let mut found = Vec::new();
        for (at, less) in alternatives.iter().enumerate() {
            let more = alternatives.iter().find(|more| asks_less(less, more));
            if let Some(more) = more {
                let detail = format!("'{}' is enough, so '{}' is never needed", less.join("+"), more.join("+"));
                found.push(Location::new(format!("{path}[{at}]"), detail));
            }
        }
        found
    })
}

/// What decides who may call a service, from where, what and how often, but for `require`.
const FENCES: [&str; 10] = [
    "ip_filter",
    "throttle",
    "request_limits",
    "signature",
    "sealed",
    "bearer",
    "api_key",
    "client_certificate",
    "acl",
    "rate_limit",
];

/// Ways to one service that do not hold calls to the same, and that one caller may choose between: a route of a client is a
/// way for that client alone, and the others are ways for it too where its grants say so.
pub(super) fn differing_ways(subject: &Subject<'_>) -> Vec<Location> {
    let mut sites = sites(subject);
    // Those for everybody first.
    sites.sort_by_key(|site| site.client.is_some());
    let mut first: BTreeMap<(Option<&str>, &str), &SettingsSite<'_>> = BTreeMap::new();
    let mut found = Vec::new();
    for site in &sites {
        let of_all = first.get(&(None, site.to)).filter(|_| is_granted(subject, site.client, site.to));
        let Some(other) = of_all.or_else(|| first.get(&(site.client, site.to))) else {
            first.insert((site.client, site.to), site);
            continue;
        };
        let differs = |kind: &&str| match (site.effect(kind), other.effect(kind)) {
            (Some(own), Some(others)) => own != others,
            _ => false,
        };
        let kinds: Vec<_> = ["require"].into_iter().chain(FENCES).filter(differs).collect();
        if !kinds.is_empty() {
            let other = if other.is_route() { other.path.clone() } else { format!("'/{}'", site.to) };
            let detail = format!("it and {other} both lead to '{}', but differ in {}", site.to, kinds.join(", "));
            found.push(Location::new(site.path.clone(), detail));
        }
    }
    found
}

/// Whether a client may call a service also by what is no route of its own. Whoever is no client in particular may.
fn is_granted(subject: &Subject<'_>, client: Option<&str>, service: &str) -> bool {
    let Some(client) = client else { return true };
    let declared = subject.declared.and_then(|declared| declared.get("clients")?.get(client)?.get("services"));
    let grants = declared.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let Ok(id) = service.parse::<ServiceId>() else { return false };
    grants.filter_map(|grant| grant.parse::<Grant>().ok()).any(|grant| grant.covers(&id))
}

/// Services that registered themselves and whose calls go to routes.
pub(super) fn shadowed(subject: &Subject<'_>) -> Vec<Location> {
    registered(subject, "shadowed_by", "by")
}

/// Services that registered themselves at a target of a service with rules.
pub(super) fn shared_target(subject: &Subject<'_>) -> Vec<Location> {
    registered(subject, "shares_target_with", "with")
}

/// The services of which a running gateway tells this list of others.
fn registered(subject: &Subject<'_>, field: &str, word: &str) -> Vec<Location> {
    let text = |service: &Value, field: &str| service.get(field).and_then(Value::as_str).unwrap_or("?").to_owned();
    let services = subject.services.into_iter().flatten();
    let found = services.filter_map(|service| {
        let others = service.get(field)?.as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>();
        let path = format!("services.{}/{}", text(service, "name"), text(service, "version"));
        (!others.is_empty()).then(|| Location::new(path, format!("{word} {}", others.join(", "))))
    });
    found.collect()
}

/// Services whose names differ in case alone from those of others, or from those of the gateway.
pub(super) fn twins(subject: &Subject<'_>) -> Vec<Location> {
    let Some(declared) = subject.declared else { return Vec::new() };
    let name = |id: &str| id.split('/').next().unwrap_or(id).to_owned();
    let mut spellings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, _) in objects(declared, "services") {
        spellings.entry(name(id).to_ascii_lowercase()).or_default().insert(name(id));
    }
    let looks_like = |id: &str| {
        let lower = name(id).to_ascii_lowercase();
        let kept = RESERVED_SERVICE_NAMES.iter().find(|kept| **kept == lower).map(|kept| (*kept).to_owned());
        let others = spellings.get(&lower).into_iter().flatten().find(|other| **other != name(id));
        kept.or_else(|| others.cloned())
    };
    let found = objects(declared, "services").filter_map(|(id, _)| Some((id, looks_like(id)?)));
    found.map(|(id, other)| Location::new(format!("services.{id}"), format!("beside '{other}'"))).collect()
}

/// A target with its place and its host, where it is spoken to in clear.
fn plain_targets(subject: &Subject<'_>) -> Vec<(String, String)> {
    let services = subject.declared.into_iter().flat_map(|declared| objects(declared, "services"));
    services
        .flat_map(|(name, service)| {
            let targets = service.get("targets").and_then(Value::as_array).into_iter().flatten().enumerate();
            targets.filter_map(move |(at, target)| {
                let host = plain_host(target.get("url")?.as_str()?)?;
                Some((format!("services.{name}.targets[{at}].url"), host))
            })
        })
        .collect()
}

/// The host of a URL that leads to another machine in clear.
pub(super) fn plain_host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    (uri.scheme_str() == Some("http") && !is_loopback(&host)).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

pub(super) fn plain_target(subject: &Subject<'_>) -> Vec<Location> {
    let targets = plain_targets(subject).into_iter().filter(|(_, host)| !is_public(host));
    targets.map(|(path, host)| Location::new(path, format!("http to {host}"))).collect()
}

pub(super) fn plain_public_target(subject: &Subject<'_>) -> Vec<Location> {
    let targets = plain_targets(subject).into_iter().filter(|(_, host)| is_public(host));
    targets.map(|(path, host)| Location::new(path, format!("http to {host}"))).collect()
}

/// An address that is certainly not of a network of one's own.
fn is_public(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(ip)) => {
            let [first, second, ..] = ip.octets();
            !(ip.is_private() || ip.is_link_local() || first == 100 && (64..128).contains(&second))
        }
        Ok(IpAddr::V6(ip)) => !ip.is_unique_local() && !ip.is_unicast_link_local(),
        Err(_) => false,
    }
}

/// Redirects that lead from TLS to clear text.
pub(super) fn plain_redirect(subject: &Subject<'_>) -> Vec<Location> {
    let routes = subject.declared.into_iter().flat_map(|declared| objects(declared, "routes"));
    let to = |route: &Value| Some(route.get("redirect")?.get("to")?.as_str()?.to_owned());
    let found = routes.filter_map(|(name, route)| Some((name, to(route).filter(|to| to.starts_with("http://"))?)));
    found.map(|(name, to)| Location::new(format!("routes.{name}.redirect.to"), to)).collect()
}

#[cfg(test)]
mod tests {
    use portcullis_policies::KINDS;

    use super::FENCES;

    #[test]
    fn every_kind_of_policy_is_a_fence_or_known_to_be_none() {
        // They decide nothing about who may call what; `require` is looked at beside the fences.
        let none = ["capture", "cors", "grpc_web", "headers", "require", "sign_response", "seal_response"];
        for kind in KINDS.iter().map(|kind| kind.name) {
            assert!(FENCES.contains(&kind) != none.contains(&kind), "'{kind}' is new: is it a fence?");
        }
    }
}
