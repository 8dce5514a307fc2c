//! The places calls go through: each service under its own path, and each route to a service, with what it inherits.

use serde_json::{Map, Value};

/// One way to a service.
pub(super) struct Site<'a> {
    /// `services.orders/v1` or `routes.orders`.
    pub(super) path: String,
    own: &'a Value,
    /// The service a route leads to, where it is declared.
    service: Option<(String, &'a Value)>,
    is_route: bool,
}

/// Every way to a service.
pub(super) fn sites(declared: &Value) -> Vec<Site<'_>> {
    let services = objects(declared, "services").map(|(name, service)| Site {
        path: format!("services.{name}"),
        own: service,
        service: None,
        is_route: false,
    });
    let routes = objects(declared, "routes").filter_map(|(name, route)| {
        let id = route.get("service")?.as_str()?;
        let service = declared.get("services").and_then(|services| services.get(id));
        Some(Site {
            path: format!("routes.{name}"),
            own: route,
            service: service.map(|service| (format!("services.{id}"), service)),
            is_route: true,
        })
    });
    services.chain(routes).collect()
}

/// The objects of a section by name.
pub(super) fn objects<'a>(declared: &'a Value, section: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    declared.get(section).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

impl<'a> Site<'a> {
    /// The alternatives of credentials, with the place they are declared at; none if that place is not known.
    pub(super) fn require(&self) -> Option<(String, &'a [Value])> {
        let found = |path: &str, object: &'a Value| {
            let alternatives = object.get("require").and_then(Value::as_array)?;
            Some((format!("{path}.require"), alternatives.as_slice()))
        };
        let service = self.service.as_ref();
        found(&self.path, self.own).or_else(|| service.and_then(|(path, service)| found(path, service)))
    }

    /// Whether anybody may call; none if that is declared elsewhere.
    pub(super) fn is_open(&self) -> Option<bool> {
        self.require().map(|(_, alternatives)| alternatives.is_empty())
    }

    /// The settings of a policy, with the place they are declared at.
    pub(super) fn policy(&self, kind: &str) -> Option<(String, &'a Value)> {
        let found = |path: &str, object: &'a Value| {
            Some((format!("{path}.policies.{kind}"), object.get("policies")?.get(kind)?))
        };
        let service = self.service.as_ref();
        found(&self.path, self.own).or_else(|| service.and_then(|(path, service)| found(path, service)))
    }

    /// The limits of both kinds, each with its place.
    pub(super) fn limits(&self) -> Vec<(String, &'a Value)> {
        ["throttle", "rate_limit"].iter().filter_map(|kind| self.policy(kind)).flat_map(limits).collect()
    }

    /// The limits that count before anybody is known.
    pub(super) fn early_limits(&self) -> Vec<(String, &'a Value)> {
        self.policy("throttle").map(limits).unwrap_or_default()
    }

    /// Where it says itself what holds calls back: not a route that leaves all of this to its service.
    pub(super) fn says_limits(&self) -> bool {
        let has = |kind: &str| self.own.get("policies").is_some_and(|policies| policies.get(kind).is_some());
        !self.is_route || ["throttle", "rate_limit"].iter().any(|kind| has(kind))
    }

    /// Whether all that holds for it is declared here.
    pub(super) fn is_known(&self) -> bool {
        !self.is_route || self.service.is_some()
    }
}

fn limits((path, policy): (String, &Value)) -> Vec<(String, &Value)> {
    match policy.get("limits").and_then(Value::as_array) {
        Some(several) => several.iter().enumerate().map(|(at, one)| (format!("{path}.limits[{at}]"), one)).collect(),
        None => vec![(path, policy)],
    }
}
