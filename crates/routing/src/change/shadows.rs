//! Which services that have registered themselves are shadowed by what operators have declared since: calls under their
//! path go to a route, everywhere or on its hosts. And which services have names that differ in case alone.
//!
//! Looked at when a plan is made, when the gateway starts, and when an operator asks; calls never come here.

use std::collections::{BTreeSet, HashMap};

use portcullis_core::model::{Match, Name, Owner, RESERVED_SERVICE_NAMES, ServiceId};
use serde::Serialize;

use super::View;
use crate::routes::{DeclaredPath, Meets};

/// Shadows that are told of at once, and lines of the log about them.
const MOST: usize = 100;

/// A registered service of which calls go to a declared route instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Shadow {
    /// The service.
    pub service: String,
    /// The route; the default route of a service by its path.
    pub route: String,
    /// The hosts on which it is so; on all, if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Whether only some calls go there: those for one path, or those that meet the conditions of the route.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partly: bool,
}

/// The shadows there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shadows {
    /// The first of them, by service and route.
    pub told: Vec<Shadow>,
    /// How many more there are.
    pub left_out: usize,
}

impl std::fmt::Display for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let partly = if self.partly { "partly " } else { "" };
        write!(f, "registered service '{}' is {partly}shadowed by route '{}'", self.service, self.route)?;
        if self.hosts.is_empty() { Ok(()) } else { write!(f, " on {}", self.hosts.join(", ")) }
    }
}

impl Shadows {
    /// All shadows of a view, the first of them told.
    pub fn of(view: &View) -> Self {
        let mut told = Vec::new();
        each(view, |shadow| told.push(shadow));
        told.sort();
        let left_out = told.len().saturating_sub(MOST);
        told.truncate(MOST);
        Self { told, left_out }
    }

    /// The routes that shadow each service.
    pub fn by_service(view: &View) -> HashMap<String, Vec<String>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        each(view, |shadow| found.entry(shadow.service).or_default().push(shadow.route));
        found.values_mut().for_each(|routes| routes.sort());
        found
    }

    /// The services that each route shadows.
    pub fn by_route(view: &View) -> HashMap<String, Vec<String>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        each(view, |shadow| found.entry(shadow.route).or_default().push(shadow.service));
        found.values_mut().for_each(|services| services.sort());
        found
    }
}

/// The services that have registered themselves, by every path they lie at or below.
struct Registered<'a> {
    all: Vec<(&'a ServiceId, String)>,
    below: HashMap<String, Vec<usize>>,
}

impl<'a> Registered<'a> {
    fn of(view: &'a View) -> Self {
        let own = view.services().filter(|(_, stored)| stored.owner == Owner::Registration);
        let all: Vec<_> = own.filter_map(|(id, _)| Some((id, view.default_path(id)?))).collect();
        let mut below: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, (_, path)) in all.iter().enumerate() {
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            ends.for_each(|end| below.entry(path[..end].to_owned()).or_default().push(at));
        }
        Self { all, below }
    }

    /// Those that a declared path takes calls from: it is theirs, or about everything below it.
    fn at<'b>(&'b self, declared: &'b DeclaredPath) -> impl Iterator<Item = &'a ServiceId> + use<'a, 'b> {
        let is_text = declared.shape.mask == 0 && !declared.shape.folded;
        let key = if is_text { declared.key.as_str() } else { "" };
        let near = self.below.get(key).into_iter().flatten().map(|at| &self.all[*at]);
        near.filter(|(_, path)| covers(declared, path)).map(|(id, _)| *id)
    }
}

fn covers(declared: &DeclaredPath, path: &str) -> bool {
    let is_same = |own: &str, asked: &str| {
        if declared.shape.folded { own.eq_ignore_ascii_case(asked) } else { own == asked }
    };
    let (mut own, mut asked) = (declared.key.split('/').skip(1), path.split('/').skip(1));
    let mut fits = own
        .by_ref()
        .zip(asked.by_ref().take(declared.shape.depth))
        .all(|(own, asked)| is_same(own, asked) || own == "{}");
    let depth = path.bytes().filter(|byte| *byte == b'/').count();
    fits &= declared.shape.depth <= depth;
    fits && (declared.meets == Meets::Below || declared.shape.depth == depth)
}

fn each(view: &View, mut tell: impl FnMut(Shadow)) {
    let registered = Registered::of(view);
    if registered.all.is_empty() {
        return;
    }
    for (name, stored) in view.routes() {
        let matches = &stored.value.matches;
        if matches.client.is_some() || stored.value.builtin {
            // It goes before the service for the calls of that client, which is what such a route is for; or it takes calls
            // of the gateway's own endpoints alone.
            continue;
        }
        let service = stored.value.service.as_ref().and_then(|id| view.service(id));
        let options = stored.value.paths(service.map(|stored| stored.value.paths()).unwrap_or_default());
        let Ok(path) = DeclaredPath::parse(&matches.path, options) else { continue };
        if path.shape.depth == 0 && matches.hosts.is_empty() {
            // A fallback behind them.
            continue;
        }
        let partly = path.meets == Meets::Whole || has_conditions(matches);
        for id in registered.at(&path) {
            let hosts = matches.hosts.clone();
            tell(Shadow { service: id.to_string(), route: name.to_string(), hosts, partly });
        }
    }
    if view.default_routes().registered_below.is_empty() {
        // Their paths are of the same form as those of other services, and so never below them.
        return;
    }
    for (id, _) in view.services().filter(|(_, stored)| stored.owner != Owner::Registration) {
        let Some(path) = view.default_path(id) else { continue };
        for other in registered.at(&DeclaredPath::plain(&path, Meets::Below)) {
            tell(Shadow { service: other.to_string(), route: path.clone(), hosts: Vec::new(), partly: false });
        }
    }
}

fn has_conditions(matches: &Match) -> bool {
    !(matches.methods.is_empty() && matches.headers.is_empty() && matches.query.is_empty())
}

/// Names of services that differ in case alone from each other, or from one the gateway keeps for itself. They were made
/// when that was allowed; none of them takes a new version.
pub fn twins(view: &View) -> Vec<Vec<String>> {
    let reserved = RESERVED_SERVICE_NAMES.map(|name| (name, view.spellings(name)));
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    let texts = |names: &[Name]| names.iter().map(Name::to_string).collect::<Vec<_>>();
    let mut note = |mut names: Vec<String>| {
        names.sort();
        found.insert(names);
    };
    for (kept, names) in &reserved {
        if !names.is_empty() {
            note(texts(names).into_iter().chain([(*kept).to_owned()]).collect());
        }
    }
    let is_reserved = |names: &[Name]| reserved.iter().any(|(_, held)| held.first() == names.first());
    view.all_spellings().filter(|names| names.len() > 1 && !is_reserved(names)).for_each(|names| note(texts(names)));
    found.into_iter().collect()
}

/// Tells the log of services that are shadowed, and of names that differ in case alone.
pub(super) fn warn(view: &View) {
    let Shadows { told, left_out } = Shadows::of(view);
    for shadow in &told {
        tracing::warn!("{shadow}");
    }
    if left_out > 0 {
        tracing::warn!("{left_out} more registered services are shadowed by routes");
    }
    let twins = twins(view);
    for names in twins.iter().take(MOST) {
        tracing::warn!(
            "the names {} differ in case alone; services of these names get no new versions",
            names.join(", ")
        );
    }
    if twins.len() > MOST {
        tracing::warn!("{} more names differ in case alone", twins.len() - MOST);
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::model::{DefaultRoutes, PathMatch};
    use serde_json::{Value, json};

    use super::*;
    use crate::change::Edit;

    fn view(below: &str, registered: &[&str], declared: &[&str], routes: &[(&str, Value)]) -> View {
        let mut view = View::with(DefaultRoutes { by_default: true, registered_below: below.into() }.into());
        let service = json!({"targets": [{"url": "http://127.0.0.1:1"}]});
        for (ids, owner) in [(registered, Owner::Registration), (declared, Owner::Api)] {
            for id in ids {
                let service = serde_json::from_value(service.clone()).expect("a service");
                view.apply(&Edit::Service(id.parse().expect("an id"), Some(service)), owner).expect("applied");
            }
        }
        for (name, matches) in routes {
            let route = serde_json::from_value(json!({"match": matches, "answer": {"status": 200}})).expect("a route");
            view.apply(&Edit::Route(name.parse().expect("a name"), Some(Box::new(route))), Owner::File)
                .expect("applied");
        }
        view
    }

    fn told(view: &View) -> Vec<String> {
        Shadows::of(view).told.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn services_that_routes_go_before_are_named() {
        let prefix = |path: &str| json!({"path": {"prefix": path}});
        let routes = [
            ("all", prefix("/")),
            ("deeper", prefix("/checkout/pay/x")),
            ("elsewhere", prefix("/checkouts")),
            ("exact", json!({"path": {"exact": "/checkout/pay"}})),
            ("host", json!({"hosts": ["a.example"], "path": {"prefix": "/"}})),
            ("pattern", json!({"path": {"pattern": "/{x}/pay/*"}, "methods": ["GET"]})),
            ("shop", prefix("/checkout")),
            ("whole", json!({"path": {"exact": "/checkout"}})),
        ];
        let view = view("", &["checkout/pay"], &["checkout/own"], &routes);
        assert_eq!(
            told(&view),
            [
                "registered service 'checkout/pay' is partly shadowed by route 'exact'",
                "registered service 'checkout/pay' is shadowed by route 'host' on a.example",
                "registered service 'checkout/pay' is partly shadowed by route 'pattern'",
                "registered service 'checkout/pay' is shadowed by route 'shop'",
            ]
        );
        assert_eq!(Shadows::by_service(&view)["checkout/pay"], ["exact", "host", "pattern", "shop"]);
        assert_eq!(Shadows::by_route(&view)["shop"], ["checkout/pay"]);
    }

    #[test]
    fn what_is_named_is_what_nobody_could_register() {
        let paths =
            ["/", "/a", "/a/b", "/a/b/c", "/{x}", "/{x}/b", "/{x}/{y}", "/{x}/*", "/a/*", "/a/{y}/*", "/{x}/b/c", "/b"];
        for path in paths {
            let ways = [PathMatch::Pattern(path.into())].into_iter().chain(
                (!path.contains('{') && !path.contains('*'))
                    .then(|| [PathMatch::Prefix(path.into()), PathMatch::Exact(path.into())])
                    .into_iter()
                    .flatten(),
            );
            for way in ways {
                for below in ["", "/a", "/svc/b"] {
                    let view = view(below, &["a/b"], &[], &[("r", json!({"path": way}))]);
                    let path = view.default_path(&"a/b".parse().expect("an id")).expect("has one");
                    assert_eq!(view.is_taken(&path), !told(&view).is_empty(), "{way:?} {path}");
                }
            }
        }
    }

    #[test]
    fn with_a_place_of_their_own_services_of_operators_can_be_in_the_way() {
        let view = view("/svc", &["orders/v1", "svc/orders"], &["svc/orders2"], &[]);
        assert_eq!(told(&view), Vec::<String>::new());
        let view = self::view("/svc", &["orders/v1"], &["svc/orders"], &[]);
        assert_eq!(told(&view), ["registered service 'orders/v1' is shadowed by route '/svc/orders'"]);
    }

    #[test]
    fn names_that_differ_in_case_alone_are_found() {
        let view = view(
            "",
            &["shop/v1", "Shop/v2", "SHOP/v1", "Auth/v1", "fine/v1", "fine/v2"],
            &["OAUTH/v1", "oAuth/v1"],
            &[],
        );
        assert_eq!(twins(&view), [vec!["Auth", "auth"], vec!["OAUTH", "oAuth", "oauth"], vec!["SHOP", "Shop", "shop"]]);
    }
}
