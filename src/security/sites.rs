//! The places calls go through: each service under its own path, and each route to a service, with what it inherits.

use portcullis_core::model::default_require;
use serde_json::{Map, Value};

use super::finding::Subject;

/// One way to a service.
pub(super) struct SettingsSite<'a> {
    /// `services.orders/v1` or `routes.orders`.
    pub(super) path: String,
    /// The service it leads to, as `name/version`.
    pub(super) to: &'a str,
    /// The client whose calls alone a route takes.
    pub(super) client: Option<&'a str>,
    own: &'a Value,
    /// The service a route leads to, where it is declared.
    service: Option<(String, &'a Value)>,
    is_route: bool,
}

/// Every way to a service. One that has no path of its own is reached by its routes alone.
pub(super) fn sites<'a>(subject: &Subject<'a>) -> Vec<SettingsSite<'a>> {
    let Some(declared) = subject.declared else { return Vec::new() };
    let has_own = |service: &Value| match service.get("default_route") {
        Some(Value::Bool(said)) => *said,
        _ => subject.config.default_route,
    };
    let services = objects(declared, "services").filter(|(_, service)| has_own(service)).map(|(name, service)| {
        let path = format!("services.{name}");
        SettingsSite { path, to: name, client: None, own: service, service: None, is_route: false }
    });
    let routes = objects(declared, "routes").filter_map(|(name, route)| {
        let id = route.get("service")?.as_str()?;
        let service = declared.get("services").and_then(|services| services.get(id));
        Some(SettingsSite {
            path: format!("routes.{name}"),
            to: id,
            client: route.get("match").and_then(|matches| matches.get("client")?.as_str()),
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

impl<'a> SettingsSite<'a> {
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

    /// Whether it is a route, and not the service's own path.
    pub(super) fn is_route(&self) -> bool {
        self.is_route
    }

    /// What the credentials it wants, or a policy, come to; none if that is declared elsewhere.
    pub(super) fn effect(&self, kind: &str) -> Option<Value> {
        let is_known = |is_own: bool| is_own || self.is_known();
        if kind == "require" {
            let found = self.require().map(|(_, alternatives)| alternatives.to_vec());
            let usual = || serde_json::to_value(default_require()).ok()?.as_array().cloned();
            let found = if is_known(found.is_some()) { found.or_else(usual) } else { found };
            return found.map(|alternatives| {
                sorted(alternatives.into_iter().map(|kinds| match kinds {
                    Value::Array(kinds) => sorted(kinds),
                    other => other,
                }))
            });
        }
        let found = self.policy(kind).map(|(_, policy)| policy.clone());
        let is_nothing = |policy: &Value| {
            policy.as_object().is_some_and(|members| {
                members.iter().all(|(name, value)| name == "limits" && value.as_array().is_some_and(Vec::is_empty))
            })
        };
        is_known(found.is_some()).then(|| found.filter(|policy| !is_nothing(policy)).unwrap_or_default())
    }

    /// Whether all that holds for it is declared here.
    pub(super) fn is_known(&self) -> bool {
        !self.is_route || self.service.is_some()
    }
}

/// A list whose order does not matter.
fn sorted(items: impl IntoIterator<Item = Value>) -> Value {
    let mut items: Vec<Value> = items.into_iter().collect();
    items.sort_by_key(Value::to_string);
    items.into()
}

fn limits((path, policy): (String, &Value)) -> Vec<(String, &Value)> {
    match policy.get("limits").and_then(Value::as_array) {
        Some(several) => several.iter().enumerate().map(|(at, one)| (format!("{path}.limits[{at}]"), one)).collect(),
        None => vec![(path, policy)],
    }
}
