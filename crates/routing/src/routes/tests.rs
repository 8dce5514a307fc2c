//! Which route wins: data-driven, one table, many requests.

use super::*;
use async_trait::async_trait;
use http::Method;
use portcullis_core::call::{Call, Response, RouteFacts};
use portcullis_core::canonical::Path;
use portcullis_core::message::{FieldMap, Fields, HasFields};
use portcullis_core::model::{Match, PathMatch, PathOptions};
use portcullis_core::policy::Endpoint;
use portcullis_core::refusal::Refusal;

mod builtin;
mod clients;

struct Nothing;

#[async_trait]
impl Endpoint for Nothing {
    async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
        Err(Refusal::NoRoute)
    }
}

fn candidate(name: &str, meets: Meets, conditions: Conditions) -> Candidate {
    let facts = RouteFacts { name: name.into(), ..RouteFacts::default() };
    let pipeline = Arc::new(Pipeline::new(Arc::new(facts), Vec::new(), Arc::new(Nothing)));
    Candidate { name: name.into(), meets, conditions, pipeline }
}

fn declare(routes: &mut Routes, name: &str, hosts: &[&str], path: &PathMatch, conditions: &[(&str, &str)]) {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    put(routes, name, &hosts, path, PathOptions::default(), conditions);
}

fn declare_folded(routes: &mut Routes, name: &str, path: &PathMatch, folded: bool, conditions: &[(&str, &str)]) {
    put(routes, name, &[], path, PathOptions { case_insensitive: folded, ..PathOptions::default() }, conditions);
}

/// A route is for one client if its name says so, before a `:`.
fn client_of(name: &str) -> Option<Label> {
    Some(name.split_once(':')?.0.parse().expect("a label"))
}

fn put(
    routes: &mut Routes,
    name: &str,
    hosts: &[String],
    path: &PathMatch,
    options: PathOptions,
    conditions: &[(&str, &str)],
) {
    let mut declared = Match {
        client: None,
        hosts: Vec::new(),
        path: path.clone(),
        methods: Vec::new(),
        headers: Default::default(),
        query: Default::default(),
    };
    for (kind, value) in conditions {
        let (key, value) = value.split_once('=').unwrap_or((value, "*"));
        match *kind {
            "method" => declared.methods.push(key.to_owned()),
            "header" => drop(declared.headers.insert(key.to_owned(), value.to_owned())),
            _ => drop(declared.query.insert(key.to_owned(), value.to_owned())),
        }
    }
    let path = DeclaredPath::parse(path, options).expect("well formed");
    let conditions = Conditions::parse(&declared).expect("well formed");
    let client = client_of(name);
    routes.set(client.as_ref(), hosts, &path, name, Some(&candidate(name, path.meets, conditions)));
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.to_owned())
}

fn pattern(path: &str) -> PathMatch {
    PathMatch::Pattern(path.to_owned())
}

fn table() -> Routes {
    let mut routes = Routes::new(vec!["gate.example".into()]);
    for path in ["/orders/v1", "/orders/v2", "/orders/v1/special"] {
        declare(&mut routes, path, &[], &prefix(path), &[]);
    }
    declare(&mut routes, "exact", &[], &PathMatch::Exact("/orders/v1/special".into()), &[]);
    declare(&mut routes, "user", &[], &pattern("/users/{id}"), &[]);
    declare(&mut routes, "me", &[], &PathMatch::Exact("/users/me".into()), &[]);
    declare(&mut routes, "user-orders", &[], &pattern("/users/{id}/orders/*"), &[]);
    declare(&mut routes, "beta", &[], &prefix("/app"), &[("header", "x-beta=1")]);
    declare(&mut routes, "app", &[], &prefix("/app"), &[]);
    declare(&mut routes, "app-post", &[], &prefix("/app"), &[("method", "POST")]);
    declare(&mut routes, "app-v2", &[], &prefix("/app"), &[("query", "v=2"), ("query", "debug")]);
    declare(&mut routes, "host", &["api.example"], &prefix("/"), &[]);
    declare(&mut routes, "wild", &["*.example"], &prefix("/deep/er"), &[]);
    let token = DeclaredPath::plain("/-/token", Meets::Whole);
    routes.set_builtin(&token, candidate("token", Meets::Whole, Conditions::default()));
    declare(&mut routes, "shadow", &["gate.example"], &PathMatch::Exact("/-/token".into()), &[]);
    routes
}

fn found(
    routes: &Routes,
    method: &str,
    url: &str,
    fields: &[(&'static str, &'static str)],
) -> Option<(String, String)> {
    found_by(None, routes, method, url, fields)
}

/// The same for a call that claims to be of a client.
fn found_by(
    client: Option<&str>,
    routes: &Routes,
    method: &str,
    url: &str,
    fields: &[(&'static str, &'static str)],
) -> Option<(String, String)> {
    let (host, target) = url.split_at(url.find('/').expect("a path"));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers: FieldMap =
        fields.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect();
    let method = method.parse().expect("a method");
    let (host, path) = (Host::parse(host.as_bytes()).expect("a host"), Path::parse(path).expect("a path"));
    let query = query.map(str::as_bytes);
    let client: Option<Label> = client.map(|client| client.parse().expect("a label"));
    let wanted = RouteQuery { client: client.as_ref(), ..wanted(&host, &path, &method, headers.fields(), query) };
    let found = routes.find(&wanted);
    let weighed = routes.weigh(&wanted, usize::MAX);
    let chosen =
        weighed.routes.iter().find(|(_, weight)| *weight == MatchOutcome::Chosen).map(|(name, _)| name.clone());
    let name = found.as_ref().map(|found| Arc::clone(&found.pipeline.route.name));
    assert_eq!(chosen, name, "what is told is what happens: {url}");
    let found = found?;
    Some((found.pipeline.route.name.as_ref().to_owned(), path.forwarded_behind(found.matched).to_owned()))
}

fn wanted<'a>(
    host: &'a Host,
    path: &'a Path,
    method: &'a Method,
    headers: Fields<'a>,
    query: Option<&'a [u8]>,
) -> RouteQuery<'a> {
    let path = path.decision();
    RouteQuery { client: None, host, path, method, headers, query, announced: false, in_any_case: false }
}

#[test]
fn a_field_of_a_condition_in_another_spelling_is_told() {
    let mut routes = Routes::default();
    declare(&mut routes, "open", &[], &prefix("/a"), &[]);
    declare(&mut routes, "closed", &[], &prefix("/a"), &[("header", "x-debug-mode")]);
    declare(&mut routes, "value", &["h"], &prefix("/a"), &[("header", "x-tenant=a")]);
    declare(&mut routes, "elsewhere", &[], &prefix("/b"), &[("header", "x-elsewhere")]);
    let found = |host: &str, name: &str| {
        let headers: FieldMap = [(name.parse().expect("a name"), "1".parse().expect("a value"))].into_iter().collect();
        let (host, path) = (Host::parse(host.as_bytes()).expect("a host"), Path::parse("/a/x").expect("a path"));
        let found = routes.find(&wanted(&host, &path, &Method::GET, headers.fields(), None)).expect("a route");
        (found.pipeline.route.name.to_string(), found.doubt.is_some())
    };
    let open = |misspelled| ("open".to_owned(), misspelled);
    for separator in b"!#$%&'*+.^_`|~" {
        let spelled = |name: &str| name.replace('-', &char::from(*separator).to_string());
        for host in ["h", "other"] {
            assert_eq!(found(host, &spelled("x-debug-mode")), open(true));
            assert_eq!(found(host, &spelled("X-Debug-Mode")), open(true));
            assert_eq!(found(host, &spelled("x-other")), open(false));
            assert_eq!(found(host, &spelled("x-elsewhere")), open(false));
        }
        assert_eq!((found("h", &spelled("x-tenant")), found("other", &spelled("x-tenant"))), (open(true), open(false)));
    }
    assert_eq!(found("other", "x-debug-mode"), ("closed".to_owned(), false));
}

#[test]
fn the_longest_path_wins_then_the_host_then_conditions_then_the_name() {
    let routes = table();
    let deep = format!("any/orders/v1{}", "/a".repeat(40));
    for (method, url, want) in [
        ("GET", "any/orders/v1", Some(("/orders/v1", ""))),
        ("GET", "any/orders/v1/", Some(("/orders/v1", "/"))),
        ("GET", "any/orders/v1/7/items", Some(("/orders/v1", "/7/items"))),
        ("GET", "any/orders/v1/special", Some(("exact", ""))),
        ("GET", "any/orders/v1/special/7", Some(("/orders/v1/special", "/7"))),
        ("GET", "any/orders/v1/specials", Some(("/orders/v1", "/specials"))),
        ("GET", "any/orders/v10", None),
        ("GET", "any/orders", None),
        ("GET", "any/", None),
        ("GET", deep.as_str(), Some(("/orders/v1", &deep[13..]))),
        ("GET", "any/users/7", Some(("user", ""))),
        ("GET", "any/users/me", Some(("me", ""))),
        ("GET", "any/users/", None),
        ("GET", "any/users/7/x", None),
        ("GET", "any/users/me/orders", Some(("user-orders", ""))),
        ("GET", "any/users/7/orders/9/x", Some(("user-orders", "/9/x"))),
        ("GET", "any/app/x", Some(("app", "/x"))),
        ("POST", "any/app/x", Some(("app-post", "/x"))),
        ("POST", "any/app/x?v=2&debug=", Some(("app-v2", "/x"))),
        ("GET", "any/app/x?v=3&debug", Some(("app", "/x"))),
        ("GET", "any/app/x?v=22&debug", Some(("app", "/x"))),
        ("GET", "api.example/", Some(("host", "/"))),
        ("GET", "api.example:8080/x/y", Some(("host", "/x/y"))),
        ("GET", "api.example/orders/v1/x", Some(("/orders/v1", "/x"))),
        ("GET", "api.example/deep/er/x", Some(("wild", "/x"))),
        ("GET", "a.b.example/deep/er", Some(("wild", ""))),
        ("GET", "example/deep/er", None),
        ("GET", "other.test/x", None),
        ("GET", "gate.example/-/token", Some(("token", ""))),
        ("GET", "gate.example:6500/-/token", Some(("token", ""))),
        ("GET", "other.example/-/token", None),
        ("GET", "gate.example/-/token/x", None),
    ] {
        let got = found(&routes, method, url, &[]);
        let got = got.as_ref().map(|(name, rest)| (name.as_str(), rest.as_str()));
        assert_eq!(got, want, "{method} {url}");
    }
    let beta = found(&routes, "GET", "any/app/x", &[("x-beta", "1")]);
    assert_eq!(beta.map(|(name, _)| name).as_deref(), Some("beta"));
}

#[test]
fn a_route_that_is_taken_out_is_gone_from_the_new_table_only() {
    let before = table();
    let mut after = before.clone();
    let path = DeclaredPath::plain("/orders/v2", Meets::Below);
    after.set(None, &[], &path, "/orders/v2", None);
    assert!(found(&before, "GET", "any/orders/v2/x", &[]).is_some());
    assert!(found(&after, "GET", "any/orders/v2/x", &[]).is_none());
    after.set(None, &[], &path, "/orders/v2", None);
    assert!(found(&after, "GET", "any/orders/v1/x", &[]).is_some());
    let root = DeclaredPath::parse(&prefix("/"), PathOptions::default()).expect("well formed");
    after.set(None, &["api.example".to_owned()], &root, "host", None);
    assert!(found(&after, "GET", "api.example/x", &[]).is_none());
}

#[test]
fn shapes_are_bounded() {
    let mut routes = Routes::default();
    for mask in 1..=MAX_SHAPES {
        let segments = (0..8).map(|bit| if mask & (1 << bit) == 0 { "/a".to_owned() } else { format!("/{{p{bit}}}") });
        let path = segments.collect::<String>();
        let parsed = DeclaredPath::parse(&pattern(&path), PathOptions::default()).expect("well formed");
        assert!(routes.has_room(None, None, &[], parsed.shape), "{mask}");
        declare(&mut routes, &path, &[], &pattern(&path), &[]);
    }
    let one_more = DeclaredPath::parse(&pattern("/{x}"), PathOptions::default()).expect("well formed");
    assert!(!routes.has_room(None, None, &[], one_more.shape));
    assert!(routes.has_room(None, None, &[], Shape { depth: 3, mask: 0, folded: false }));
}

#[test]
fn what_is_told_of_routes_is_what_happens() {
    let routes = table();
    let segments = ["", "/-", "/token", "/orders", "/v1", "/special", "/users", "/me", "/app", "/deep", "/er"];
    for host in ["any", "api.example", "gate.example", "a.b.example:80"] {
        for (one, other, last) in segments
            .iter()
            .flat_map(|one| segments.iter().map(move |other| (one, other)))
            .flat_map(|(one, other)| ["", "/special", "/orders"].map(move |last| (one, other, last)))
        {
            let path = format!("{one}{other}{last}");
            let path = if path.is_empty() { "/" } else { &path };
            for (method, query) in [("GET", ""), ("POST", "?v=2&debug")] {
                found(&routes, method, &format!("{host}{path}{query}"), &[("x-beta", "2")]);
            }
        }
    }
}

#[test]
fn each_route_is_told_what_stands_against_it() {
    let routes = table();
    let (headers, method) = (FieldMap::new(), Method::GET);
    let (host, path) = (Host::parse(b"any").expect("a host"), Path::parse("/app/x").expect("a path"));
    let wanted = wanted(&host, &path, &method, headers.fields(), None);
    let told = routes.weigh(&wanted, 6);
    let shown: Vec<_> = told.routes.iter().map(|(name, weight)| (name.as_ref(), weight.clone())).collect();
    let condition = |text: &str| MatchOutcome::Condition(text.to_owned());
    assert_eq!(
        shown,
        [
            ("app", MatchOutcome::Chosen),
            ("app-post", condition("the method is none of POST")),
            ("app-v2", condition("there is no query parameter 'debug'")),
            ("beta", condition("no field 'x-beta' is '1'")),
            ("host", MatchOutcome::Host("it is for the host 'api.example'".to_owned())),
            ("/orders/v1", MatchOutcome::Path("the path does not begin with '/orders/v1'".to_owned())),
        ]
    );
    assert_eq!(told.left_out, 8, "what is left out is counted");
    let path = Path::parse("/orders/v1/special").expect("a path");
    let wanted = wanted.at(path.decision());
    let told = routes.weigh(&wanted, 3);
    let outranked: Vec<_> = told.routes[1..].iter().map(|(name, weight)| (name.as_ref(), weight.clone())).collect();
    let behind = MatchOutcome::Outranked;
    assert_eq!(
        outranked,
        [
            ("/orders/v1/special", behind("an exact path goes first")),
            ("/orders/v1", behind("a longer path goes first"))
        ]
    );
}

/// A service registers itself under a path.
fn register(routes: &mut Routes, path: &str) {
    let declared = DeclaredPath::plain(path, Meets::Below);
    routes.set_registered(&declared, path, Some(&candidate(path, Meets::Below, Conditions::default())));
}

#[test]
fn whatever_is_declared_goes_before_whoever_registers() {
    let hosts: [&[&str]; 3] = [&[], &["api.example"], &["*.example"]];
    let paths = [
        prefix("/checkout"),
        prefix("/checkout/pay"),
        prefix("/checkout/pay/x"),
        PathMatch::Exact("/checkout/pay".into()),
        PathMatch::Exact("/checkout/pay/x".into()),
        pattern("/{a}/*"),
        pattern("/{a}/pay/*"),
        pattern("/{a}/{b}/*"),
        pattern("/checkout/{b}"),
        pattern("/{a}/{b}/{c}"),
        prefix("/"),
        pattern("/*"),
    ];
    // One that would win by its name, by its depth or by both.
    for of_hosts in hosts {
        for path in &paths {
            for name in ["zzz", "a"] {
                let mut routes = Routes::default();
                declare(&mut routes, name, of_hosts, path, &[]);
                let alone = routes.clone();
                register(&mut routes, "/checkout/pay");
                register(&mut routes, "/Checkout/pay");
                for host in ["any", "api.example", "api.example:80", "b.example"] {
                    for asked in
                        ["/", "/checkout", "/checkout/pay", "/checkout/pay/", "/checkout/pay/x", "/Checkout/pay/x/y"]
                    {
                        let url = format!("{host}{asked}");
                        let declared = found(&alone, "GET", &url, &[]).map(|(name, _)| name);
                        let is_fallback = of_hosts.is_empty() && matches!(path, PathMatch::Prefix(p) if p == "/")
                            || of_hosts.is_empty() && matches!(path, PathMatch::Pattern(p) if p == "/*");
                        let registered = asked.to_ascii_lowercase().starts_with("/checkout/pay");
                        let want = match declared {
                            Some(name) if !(is_fallback && registered) => Some(name),
                            _ if registered => Some(asked[..13].to_owned()),
                            none => none,
                        };
                        let got = found(&routes, "GET", &url, &[]).map(|(name, _)| name);
                        assert_eq!(got, want, "{of_hosts:?} {path:?} {url}");
                    }
                }
            }
        }
    }
}

/// The own path of a declared service stands in the same table as routes do.
#[test]
fn a_route_goes_before_the_path_that_a_service_has_by_itself() {
    let paths = [prefix("/inv/v1"), pattern("/inv/v1/*"), prefix("/Inv/V1")];
    for path in paths {
        for [service_folded, route_folded] in [[false, false], [false, true], [true, false], [true, true]] {
            for conditions in [&[][..], &[("method", "GET")]] {
                for service_first in [true, false] {
                    let mut routes = Routes::default();
                    let service = |routes: &mut Routes| {
                        declare_folded(routes, "/inv/v1", &prefix("/inv/v1"), service_folded, &[]);
                    };
                    let route = |routes: &mut Routes| declare_folded(routes, "~route", &path, route_folded, conditions);
                    if service_first {
                        service(&mut routes);
                        route(&mut routes);
                    } else {
                        route(&mut routes);
                        service(&mut routes);
                    }
                    let name = |method: &str, asked: &str| found(&routes, method, asked, &[]).map(|(name, _)| name);
                    let is_same = route_folded || path != prefix("/Inv/V1");
                    let want = if is_same { "~route" } else { "/inv/v1" };
                    let case = format!("{path:?} {service_folded} {route_folded} {service_first}");
                    assert_eq!(name("GET", "any/inv/v1/x").as_deref(), Some(want), "{case}");
                    let other = if conditions.is_empty() { want } else { "/inv/v1" };
                    assert_eq!(name("PUT", "any/inv/v1/x").as_deref(), Some(other), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_declared_route_whose_conditions_fail_leaves_the_call_to_whoever_registered() {
    let mut routes = Routes::default();
    declare(&mut routes, "post", &[], &prefix("/checkout"), &[("method", "POST")]);
    declare(&mut routes, "rest", &[], &prefix("/"), &[]);
    declare(&mut routes, "host", &["api.example"], &prefix("/"), &[("method", "PUT")]);
    register(&mut routes, "/checkout/pay");
    let name = |method: &str, url: &str| found(&routes, method, url, &[]).map(|(name, _)| name).expect("found");
    assert_eq!(name("POST", "any/checkout/pay/x"), "post");
    assert_eq!(name("GET", "any/checkout/pay/x"), "/checkout/pay");
    assert_eq!(name("GET", "any/elsewhere"), "rest");
    assert_eq!(name("PUT", "api.example/checkout/pay/x"), "host");
    assert_eq!(name("GET", "api.example/checkout/pay/x"), "/checkout/pay");
    let (headers, method) = (FieldMap::new(), Method::POST);
    let (host, path) = (Host::parse(b"any").expect("a host"), Path::parse("/checkout/pay").expect("a path"));
    let wanted = wanted(&host, &path, &method, headers.fields(), None);
    let told = routes.weigh(&wanted, 3).routes;
    let reason = |at: usize| (told[at].0.as_ref(), told[at].1.clone());
    assert_eq!(reason(1), ("/checkout/pay", MatchOutcome::Outranked("declared routes go before registered services")));
    assert_eq!(reason(2), ("rest", MatchOutcome::Outranked("a longer path goes first")));
    let method = Method::GET;
    let told = routes.weigh(&RouteQuery { method: &method, ..wanted }, 2).routes;
    let fallback = "the route for every path of every host is a fallback behind registered services";
    assert_eq!(told[1], ("rest".into(), MatchOutcome::Outranked(fallback)));
}

#[test]
fn a_declared_host_says_for_itself_whether_built_in_routes_answer_on_it() {
    let answers = |routes: &Routes, host: &str| routes.is_builtin_host(&Host::parse(host.as_bytes()).expect("a host"));
    for (setting, others) in [(vec![], true), (vec!["auth.example".to_owned()], false)] {
        let mut routes = Routes::new(setting);
        routes.set_builtin_host("on.example", Some(true));
        routes.set_builtin_host("off.example", Some(false));
        routes.set_builtin_host("like.example", None);
        assert!(
            answers(&routes, "on.example:8443") && !answers(&routes, "off.example") && answers(&routes, "auth.example")
        );
        assert_eq!((answers(&routes, "like.example"), answers(&routes, "any.example")), (others, others));
        for host in ["on.example", "off.example"] {
            routes.set_builtin_host(host, None);
            assert_eq!(answers(&routes, host), others, "{host} is like every other again");
        }
    }
}
