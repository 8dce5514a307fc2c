//! Declared routes to built-in endpoints: they take the place of the endpoint's own route, and of no other.

use super::*;

/// Built-in endpoints, one of which has everything below it, on one host.
fn with_builtin() -> Routes {
    let mut routes = Routes::new(vec!["gate.example".into()]);
    for (path, meets) in [
        ("/-/token", Meets::Whole),
        ("/-/token/refresh", Meets::Whole),
        ("/auth/v1", Meets::Below),
        ("/auth", Meets::Below),
    ] {
        routes.set_builtin(&DeclaredPath::plain(path, meets), candidate(path, meets, Conditions::default()));
    }
    routes
}

/// Declares a route to an endpoint; for one client if its name says so.
fn instead(routes: &mut Routes, endpoint: &str, name: &str, hosts: &[&str], path: &PathMatch, method: Option<&str>) {
    let matches = Match {
        client: None,
        hosts: Vec::new(),
        path: path.clone(),
        methods: method.map(str::to_owned).into_iter().collect(),
        headers: Default::default(),
        query: Default::default(),
    };
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let path = DeclaredPath::parse(path, PathOptions::default()).expect("well formed");
    let conditions = Conditions::parse(&matches).expect("well formed");
    let candidate = candidate(name, path.meets, conditions);
    routes.set_at_builtin(endpoint, client_of(name).as_ref(), &hosts, &path, name, Some(&candidate));
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.to_owned())
}

fn by(routes: &Routes, client: Option<&str>, method: &str, url: &str) -> Option<(String, String)> {
    found_by(client, routes, method, url, &[])
}

fn want(name: &str, rest: &str) -> Option<(String, String)> {
    Some((name.to_owned(), rest.to_owned()))
}

#[test]
fn the_clients_route_goes_before_the_declared_one_and_that_before_the_endpoints_own() {
    let mut routes = with_builtin();
    instead(&mut routes, "/-/token", "cors", &[], &exact("/-/token"), Some("POST"));
    instead(&mut routes, "/auth/v1", "login", &[], &prefix("/auth/v1/login"), None);
    instead(&mut routes, "/auth/v1", "shop:auth", &[], &prefix("/auth/v1"), None);
    instead(&mut routes, "/auth/v1", "till:post", &[], &exact("/auth/v1/token"), Some("POST"));
    for (method, path, nobody, shop, till) in [
        ("POST", "/-/token", ("cors", ""), ("cors", ""), ("cors", "")),
        ("POST", "/-/token/", ("cors", "/"), ("cors", "/"), ("cors", "/")),
        ("GET", "/-/token", ("/-/token", ""), ("/-/token", ""), ("/-/token", "")),
        ("POST", "/-/token/refresh", ("/-/token/refresh", ""), ("/-/token/refresh", ""), ("/-/token/refresh", "")),
        // What is left of the path is what the endpoint has below it, whichever route led there.
        ("POST", "/auth/v1/login", ("login", "/login"), ("shop:auth", "/login"), ("login", "/login")),
        ("POST", "/auth/v1/login/x", ("login", "/login/x"), ("shop:auth", "/login/x"), ("login", "/login/x")),
        ("POST", "/auth/v1/token", ("/auth/v1", "/token"), ("shop:auth", "/token"), ("till:post", "/token")),
        ("GET", "/auth/v1/token", ("/auth/v1", "/token"), ("shop:auth", "/token"), ("/auth/v1", "/token")),
        ("GET", "/auth/v1", ("/auth/v1", ""), ("shop:auth", ""), ("/auth/v1", "")),
        ("GET", "/auth/v2", ("/auth", "/v2"), ("/auth", "/v2"), ("/auth", "/v2")),
    ] {
        for (client, (name, rest)) in
            [(None, nobody), (Some("other"), nobody), (Some("shop"), shop), (Some("till"), till)]
        {
            let found = by(&routes, client, method, &format!("gate.example{path}"));
            assert_eq!(found, want(name, rest), "{client:?} {method} {path}");
        }
        assert_eq!(
            by(&routes, Some("shop"), method, &format!("other.example{path}")),
            None,
            "not on this host: {path}"
        );
    }
}

#[test]
fn no_declared_route_takes_a_call_from_an_endpoint_unless_it_says_so() {
    let mut routes = with_builtin();
    let paths =
        [exact("/-/token"), prefix("/-"), prefix("/"), pattern("/{a}/{b}"), pattern("/*"), prefix("/auth/v1/login")];
    for (number, path) in paths.iter().enumerate() {
        for hosts in [&[][..], &["gate.example"], &["*.example"]] {
            let name = format!("r{number}-{}", hosts.len());
            declare(&mut routes, &name, hosts, path, &[]);
            declare(&mut routes, &format!("shop:{name}"), hosts, path, &[("method", "POST")]);
        }
    }
    // One of an endpoint above takes no call from the one below it.
    instead(&mut routes, "/auth", "above", &[], &prefix("/auth"), None);
    for (path, name, rest) in [
        ("/-/token", "/-/token", ""),
        ("/-/token/refresh", "/-/token/refresh", ""),
        ("/auth/v1/login", "/auth/v1", "/login"),
        ("/auth/v2/login", "above", "/v2/login"),
    ] {
        for client in [None, Some("shop")] {
            assert_eq!(
                by(&routes, client, "POST", &format!("gate.example{path}")),
                want(name, rest),
                "{client:?} {path}"
            );
        }
    }
}

#[test]
fn hosts_and_doubts_count_for_routes_to_endpoints_too() {
    let mut routes = Routes::default();
    let path = DeclaredPath::plain("/-/token", Meets::Whole);
    routes.set_builtin(&path, candidate("/-/token", Meets::Whole, Conditions::default()));
    instead(&mut routes, "/-/token", "host", &["a.example"], &exact("/-/token"), None);
    instead(&mut routes, "/-/token", "wild", &["*.example"], &exact("/-/token"), None);
    let name = |routes: &Routes, host: &str| by(routes, None, "POST", &format!("{host}/-/token")).map(|(name, _)| name);
    for (host, want) in [("a.example", "host"), ("b.example:80", "wild"), ("other.test", "/-/token")] {
        assert_eq!(name(&routes, host).as_deref(), Some(want), "{host}");
    }
    let mut declared = Match {
        client: None,
        hosts: Vec::new(),
        path: exact("/-/token"),
        methods: Vec::new(),
        headers: [("x-tenant".to_owned(), "a".to_owned())].into(),
        query: Default::default(),
    };
    let conditions = Conditions::parse(&declared).expect("well formed");
    routes.set_at_builtin("/-/token", None, &[], &path, "tenant", Some(&candidate("tenant", Meets::Whole, conditions)));
    let find = |routes: &Routes, fields: &[(&str, &'static str)]| {
        let fields: FieldMap = fields
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        let (host, path) = (Host::parse(b"other.test").expect("a host"), Path::parse("/-/token").expect("a path"));
        let found = routes.find(&wanted(&host, &path, &Method::POST, fields.fields(), None)).expect("an endpoint");
        (found.pipeline.route.name.to_string(), found.doubt)
    };
    assert_eq!(find(&routes, &[("x-tenant", "a")]), ("tenant".to_owned(), None));
    assert_eq!(find(&routes, &[("x-tenant", "b")]), ("/-/token".to_owned(), None));
    assert_eq!(find(&routes, &[("x-tenant", "a"), ("x-tenant", "b")]).1, Some(Doubt::Values));
    assert_eq!(find(&routes, &[("x_tenant", "a")]).1, Some(Doubt::Spelling));
    // Taken out, nothing is left of it.
    declared.headers.clear();
    routes.set_at_builtin("/-/token", None, &[], &path, "tenant", None);
    for host in ["host", "wild"] {
        let hosts = [if host == "host" { "a.example" } else { "*.example" }.to_owned()];
        routes.set_at_builtin("/-/token", None, &hosts, &path, host, None);
    }
    assert!(routes.at_builtin.is_empty() && name(&routes, "a.example").as_deref() == Some("/-/token"));
}

#[test]
fn claims_are_read_where_a_client_has_a_route_to_an_endpoint() {
    let mut routes = with_builtin();
    instead(&mut routes, "/auth/v1", "all", &[], &prefix("/auth/v1"), None);
    assert!(!routes.has_routes_of_clients());
    instead(&mut routes, "/auth/v1", "shop:auth", &[], &prefix("/auth/v1"), None);
    assert!(routes.has_routes_of_clients());
    let path = DeclaredPath::plain("/auth/v1", Meets::Below);
    routes.set_at_builtin("/auth/v1", client_of("shop:").as_ref(), &[], &path, "shop:auth", None);
    assert!(!routes.has_routes_of_clients());
}

#[test]
fn it_is_told_why_a_route_to_an_endpoint_is_taken_or_not() {
    let mut routes = with_builtin();
    instead(&mut routes, "/auth/v1", "all", &[], &prefix("/auth/v1"), None);
    instead(&mut routes, "/auth/v1", "shop:auth", &[], &prefix("/auth/v1"), None);
    instead(&mut routes, "/auth/v1", "elsewhere", &["b.example"], &prefix("/auth/v1"), None);
    instead(&mut routes, "/auth", "above", &[], &prefix("/auth"), None);
    declare(&mut routes, "ordinary", &[], &prefix("/auth/v1/login"), &[]);
    let told = |host: &str, client: Option<&str>| {
        let client: Option<Label> = client.map(|client| client.parse().expect("a label"));
        let headers = FieldMap::new();
        let (host, path) =
            (Host::parse(host.as_bytes()).expect("a host"), Path::parse("/auth/v1/login").expect("a path"));
        let wanted =
            RouteQuery { client: client.as_ref(), ..wanted(&host, &path, &Method::GET, headers.fields(), None) };
        let told = routes.weigh(&wanted, 6).routes;
        told.into_iter().map(|(name, outcome)| (name.to_string(), outcome)).collect::<Vec<_>>()
    };
    let behind = |name: &str, reason: &'static str| (name.to_owned(), MatchOutcome::Outranked(reason));
    let chosen = |name: &str| (name.to_owned(), MatchOutcome::Chosen);
    let client_first = "the routes of the client that the call claims go first";
    assert_eq!(
        told("gate.example", Some("shop")),
        [
            chosen("shop:auth"),
            behind("all", client_first),
            behind("/auth/v1", client_first),
            behind("above", "a longer path goes first"),
            behind("/auth", "a longer path goes first"),
            behind("ordinary", "built-in routes go first"),
        ]
    );
    let told_to_nobody = told("gate.example", None);
    assert_eq!(told_to_nobody[0], chosen("all"));
    let own = behind("/auth/v1", "a declared route goes before the one that a built-in endpoint has by itself");
    assert_eq!(told_to_nobody[1], own);
    let away = MatchOutcome::Host("built-in endpoints do not answer on this host".to_owned());
    let told_elsewhere = told("b.example", None);
    assert_eq!(told_elsewhere[0], chosen("ordinary"));
    for name in ["above", "all", "elsewhere"] {
        assert!(told_elsewhere.contains(&(name.to_owned(), away.clone())), "{name}: {told_elsewhere:?}");
    }
}
