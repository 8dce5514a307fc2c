//! Which paths are taken by what operators have declared for every host: what nobody can register at or below.
//!
//! Each declared path has a *place*, a text by which it is found without looking at all of them: its segments in lower
//! case, with `{}` for a parameter, and a `/*` behind it where it is about everything below. Names that differ in case
//! alone are taken too, so that nobody can stand beside a route and look like it.

use std::collections::BTreeSet;

use portcullis_core::model::{Ambiguous, Owner, PathOptions, Route, ServiceId};

use super::View;
use crate::routes::{DeclaredPath, Meets};

/// What is about everything below it has this behind its segments.
const BELOW: &str = "/*";

/// The place of a declared route for every host; none if it is for some hosts, for the calls of one client, for every path, or
/// for an endpoint of the gateway itself, whose path nobody can have.
pub(super) fn taken_by(route: &Route) -> Option<String> {
    if !route.matches.hosts.is_empty() || route.matches.client.is_some() || route.builtin {
        return None;
    }
    // However its path is read, it is taken in upper and lower case.
    let options = PathOptions { encoded_slash: Ambiguous::Keep, case_insensitive: true, ..PathOptions::default() };
    let path = DeclaredPath::parse(&route.matches.path, options).ok()?;
    let below = if path.meets == Meets::Below { BELOW } else { "" };
    (path.shape.depth > 0).then(|| path.key + below)
}

impl View {
    /// Whether a path equals or lies below one that an operator has declared for every host. Costs the same however
    /// much is declared.
    pub fn is_taken(&self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        // All ways in which a route may have written the segments so far.
        let mut places = BTreeSet::from([String::new()]);
        for (position, segment) in segments.iter().enumerate() {
            places = places.iter().flat_map(|place| [format!("{place}/{segment}"), format!("{place}/{{}}")]).collect();
            let is_whole = position + 1 == segments.len();
            let is_declared = |place: &String| {
                !self.routes_at(&format!("{place}{BELOW}")).is_empty() || is_whole && !self.routes_at(place).is_empty()
            };
            if places.iter().any(is_declared) {
                return true;
            }
        }
        matches!(segments.as_slice(), [name, version, ..] if self.has_declared_service(name, version))
    }

    /// Whether an operator has made this service, however its name is written, and calls reach it by its own path.
    fn has_declared_service(&self, name: &str, version: &str) -> bool {
        self.spellings(name).iter().any(|name| {
            let versions = self.versions(name).iter().filter(|held| held.as_str().eq_ignore_ascii_case(version));
            versions.into_iter().any(|version| {
                let id = ServiceId { name: name.clone(), version: version.clone() };
                let is_declared = self.service(&id).is_some_and(|stored| stored.owner != Owner::Registration);
                is_declared && self.default_path(&id).is_some()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::model::{DefaultRoutes, PathMatch};
    use serde_json::json;

    use super::*;
    use crate::change::Edit;

    fn view(routes: &[(PathMatch, &[&str])]) -> View {
        let mut view = View::default();
        for (number, (path, hosts)) in routes.iter().enumerate() {
            let route = json!({"match": {"path": path, "hosts": hosts}, "answer": {"status": 200}});
            let route = serde_json::from_value(route).expect("a route");
            let name = format!("r{number}").parse().expect("a name");
            view.apply(&Edit::Route(name, Some(Box::new(route))), Owner::Api).expect("applied");
        }
        view
    }

    #[test]
    fn a_path_is_taken_at_and_below_what_is_declared_for_every_host() {
        let prefix = |path: &str| PathMatch::Prefix(path.into());
        let exact = |path: &str| PathMatch::Exact(path.into());
        let pattern = |path: &str| PathMatch::Pattern(path.into());
        for (path, taken) in [
            (prefix("/checkout"), true),
            (prefix("/checkout/"), true),
            (prefix("/Checkout"), true),
            (prefix("/checkout/pay"), true),
            (prefix("/CHECKOUT/Pay"), true),
            (exact("/checkout/pay"), true),
            (exact("/checkout/pay/"), true),
            (pattern("/{x}/pay"), true),
            (pattern("/checkout/{x}"), true),
            (pattern("/{x}/{y}"), true),
            (pattern("/{x}/{y}/*"), true),
            (pattern("/{x}/*"), true),
            (pattern("/checkout/*"), true),
            // For every path: a fallback.
            (prefix("/"), false),
            (pattern("/*"), false),
            // It has nothing below it.
            (exact("/"), false),
            (exact("/checkout"), false),
            (pattern("/{x}"), false),
            (pattern("/checkout"), false),
            // Elsewhere, or deeper.
            (prefix("/check"), false),
            (prefix("/pay"), false),
            (prefix("/checkout/pay/x"), false),
            (pattern("/{x}/pay/{y}"), false),
            (pattern("/{x}/cash"), false),
        ] {
            let of_all = view(&[(path.clone(), &[])]);
            for asked in ["/checkout/pay", "/Checkout/PAY"] {
                assert_eq!(of_all.is_taken(asked), taken, "{path:?} {asked}");
            }
            let of_one = view(&[(path.clone(), &["a.example"]), (prefix("/"), &[])]);
            assert!(!of_one.is_taken("/checkout/pay"), "{path:?} for a host");
        }
    }

    #[test]
    fn a_route_that_is_gone_or_elsewhere_takes_nothing_any_more() {
        let mut now =
            view(&[(PathMatch::Prefix("/checkout".into()), &[]), (PathMatch::Prefix("/checkout".into()), &[])]);
        let name = |name: &str| name.parse().expect("a name");
        now.apply(&Edit::Route(name("r0"), None), Owner::Api).expect("applied");
        assert!(now.is_taken("/checkout/pay"), "the other one is there");
        let moved = json!({"match": {"path": {"prefix": "/till"}}, "answer": {"status": 200}});
        let moved = serde_json::from_value(moved).expect("a route");
        now.apply(&Edit::Route(name("r1"), Some(Box::new(moved))), Owner::Api).expect("applied");
        assert!(!now.is_taken("/checkout/pay") && now.is_taken("/till/pay"));
    }

    #[test]
    fn the_own_paths_of_declared_services_are_declared_too() {
        let mut view = View::with(DefaultRoutes { by_default: true, registered_below: "/svc".into() }.into());
        let service = |default_route: Option<bool>| {
            serde_json::from_value(json!({"targets": [{"url": "http://127.0.0.1:1"}], "default_route": default_route}))
                .expect("a service")
        };
        let id: ServiceId = "svc/orders".parse().expect("an id");
        let mut put = |owner, said| {
            view.apply(&Edit::Service(id.clone(), None), owner).expect("applied");
            view.apply(&Edit::Service(id.clone(), Some(service(said))), owner).expect("applied");
            view.is_taken("/svc/Orders/v1")
        };
        assert!(put(Owner::Api, None));
        assert!(!put(Owner::Api, Some(false)));
        assert!(!put(Owner::Registration, None));
    }
}
