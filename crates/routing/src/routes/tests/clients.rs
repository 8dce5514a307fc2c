//! Routes for the calls of one client: chosen by what a call claims, before all others, and for no other call.

use portcullis_core::body::Body;
use portcullis_core::call::Request;
use portcullis_core::message::FieldName;

use super::*;
use crate::choose::choose;

/// The name of the route that a call takes which claims to be of a client, or of none.
fn by(routes: &Routes, client: Option<&str>, method: &str, url: &str) -> Option<String> {
    found_by(client, routes, method, url, &[]).map(|(name, _)| name)
}

#[test]
fn a_claim_chooses_the_routes_of_its_client_and_of_no_other() {
    let mut routes = table();
    declare(&mut routes, "shop:orders", &[], &prefix("/orders/v1"), &[]);
    declare(&mut routes, "shop:users", &[], &pattern("/users/{id}/*"), &[]);
    declare(&mut routes, "shop:post", &[], &prefix("/app"), &[("method", "POST")]);
    declare(&mut routes, "shop:host", &["api.example"], &prefix("/deep"), &[]);
    declare(&mut routes, "shop:token", &[], &PathMatch::Exact("/-/token".into()), &[]);
    declare(&mut routes, "till:all", &[], &prefix("/"), &[]);
    for (url, nobody, shop, till) in [
        ("any/orders/v1/7", Some("/orders/v1"), Some("shop:orders"), Some("till:all")),
        // A longer path of everybody's routes goes behind the client's own.
        ("any/orders/v1/special", Some("exact"), Some("shop:orders"), Some("till:all")),
        ("any/orders/v10", None, None, Some("till:all")),
        ("any/users/me", Some("me"), Some("shop:users"), Some("till:all")),
        ("any/app/x", Some("app"), Some("app"), Some("till:all")),
        ("api.example/deep/er/x", Some("wild"), Some("shop:host"), Some("till:all")),
        ("b.example/deep/er/x", Some("wild"), Some("wild"), Some("till:all")),
        ("gate.example/-/token", Some("token"), Some("token"), Some("token")),
        ("any/", None, None, Some("till:all")),
    ] {
        for (client, want) in [(None, nobody), (Some("other"), nobody), (Some("shop"), shop), (Some("till"), till)] {
            assert_eq!(by(&routes, client, "GET", url).as_deref(), want, "{client:?} {url}");
        }
    }
    assert_eq!(by(&routes, Some("shop"), "POST", "any/app/x").as_deref(), Some("shop:post"));
    assert_eq!(by(&routes, None, "POST", "any/app/x").as_deref(), Some("app-post"));
}

#[test]
fn every_client_may_have_a_route_at_the_same_path() {
    let mut routes = Routes::default();
    for number in 0..300 {
        declare(&mut routes, &format!("c{number}:orders"), &[], &prefix("/orders/v1"), &[]);
    }
    for number in 0..300 {
        let (client, want) = (format!("c{number}"), format!("c{number}:orders"));
        assert_eq!(by(&routes, Some(&client), "GET", "any/orders/v1/7"), Some(want));
    }
    assert_eq!(by(&routes, None, "GET", "any/orders/v1/7"), None);
}

#[test]
fn a_route_that_is_taken_out_is_gone_for_its_client_only() {
    let path = DeclaredPath::plain("/orders/v1", Meets::Below);
    let mut routes = Routes::default();
    for name in ["orders", "shop:orders", "till:orders"] {
        declare(&mut routes, name, &[], &prefix("/orders/v1"), &[]);
    }
    let before = routes.clone();
    let shop = "shop".parse::<Label>().expect("a label");
    routes.set(Some(&shop), &[], &path, "shop:orders", None);
    let name = |routes: &Routes, client| by(routes, Some(client), "GET", "any/orders/v1").expect("found");
    assert_eq!([name(&routes, "shop"), name(&routes, "till")], ["orders", "till:orders"]);
    assert_eq!([name(&before, "shop"), name(&before, "till")], ["shop:orders", "till:orders"]);
    let clients: Vec<_> = routes.declared.clients().map(|(client, _)| client.as_str()).collect();
    assert_eq!(clients, ["till"], "nothing is kept of a client without routes");
}

#[test]
fn shapes_of_one_client_take_no_room_from_others() {
    let mut routes = Routes::default();
    for mask in 1..=MAX_SHAPES {
        let segments = (0..8).map(|bit| if mask & (1 << bit) == 0 { "/a".to_owned() } else { format!("/{{p{bit}}}") });
        declare(&mut routes, &format!("shop:{mask}"), &[], &pattern(&segments.collect::<String>()), &[]);
    }
    let label = |name: &str| name.parse::<Label>().expect("a label");
    let shape = Shape { depth: 1, mask: 1, folded: false };
    assert!(!routes.has_room(None, Some(&label("shop")), &[], shape));
    assert!(routes.has_room(None, Some(&label("till")), &[], shape) && routes.has_room(None, None, &[], shape));
}

#[test]
fn each_route_of_a_client_is_told() {
    let mut routes = Routes::default();
    for name in ["orders", "shop:orders", "till:orders"] {
        declare(&mut routes, name, &[], &prefix("/orders/v1"), &[]);
    }
    declare(&mut routes, "till:bills", &[], &prefix("/bills"), &[]);
    let (headers, method) = (FieldMap::new(), Method::GET);
    let (host, path) = (Host::parse(b"any").expect("a host"), Path::parse("/orders/v1/7").expect("a path"));
    let shop: Label = "shop".parse().expect("a label");
    let wanted = RouteQuery { client: Some(&shop), ..wanted(&host, &path, &method, headers.fields(), None) };
    let told: Vec<_> = routes.weigh(&wanted, 9).routes;
    let told: Vec<_> = told.iter().map(|(name, weight)| (name.as_ref(), weight.clone())).collect();
    let other = || MatchOutcome::Client("it is for calls that claim the client 'till'".into());
    assert_eq!(
        told,
        [
            ("shop:orders", MatchOutcome::Chosen),
            ("orders", MatchOutcome::Outranked("the routes of the client that the call claims go first")),
            ("till:orders", other()),
            ("till:bills", MatchOutcome::Path("the path does not begin with '/bills'".into())),
        ]
    );
}

fn request(method: &Method, path: &str, fields: &[(&str, &str)]) -> Request {
    let mut headers = FieldMap::new();
    for (name, value) in fields {
        headers.add(name.parse::<FieldName>().expect("a name"), value.parse().expect("a value"));
    }
    Request {
        method: method.clone(),
        path: Path::parse(path).expect("a path"),
        query: None,
        host: Host::parse(b"any").expect("a host"),
        version: http::Version::HTTP_11,
        fields: headers,
        body: Body::empty(),
    }
}

/// The route that is chosen, or the code of the refusal.
fn chosen(routes: &Routes, client: Option<&str>, request: &Request) -> Result<String, &'static str> {
    let client: Option<Label> = client.map(|client| client.parse().expect("a label"));
    let chosen = choose(request, client.as_ref(), |wanted| Some(routes.find(wanted)?.into()));
    chosen.map(|chosen| chosen.pipeline.route.name.to_string()).map_err(|refusal| refusal.code())
}

#[test]
fn a_path_with_two_readings_is_refused_where_one_is_of_the_client() {
    let keep = PathOptions { parameters: portcullis_core::model::Ambiguous::Keep, ..PathOptions::default() };
    let mut routes = Routes::default();
    put_kept(&mut routes, "all", "/", keep);
    let readings = request(&Method::GET, "/orders/v1;x/7", &[]);
    assert_eq!(chosen(&routes, Some("shop"), &readings).as_deref(), Ok("all"));
    put_kept(&mut routes, "shop:orders", "/orders/v1", keep);
    assert_eq!(chosen(&routes, Some("shop"), &readings), Err("path_parameters"));
    // Without the claim, both readings are of the same route.
    assert_eq!(chosen(&routes, None, &readings).as_deref(), Ok("all"));
    assert_eq!(chosen(&routes, Some("till"), &readings).as_deref(), Ok("all"));
}

/// A route over a path with these options, which its pipeline knows too.
fn put_kept(routes: &mut Routes, name: &str, path: &str, paths: PathOptions) {
    let declared = DeclaredPath::parse(&prefix(path), paths).expect("well formed");
    let facts = RouteFacts { name: name.into(), paths, ..RouteFacts::default() };
    let pipeline = Arc::new(Pipeline::new(Arc::new(facts), Vec::new(), Arc::new(Nothing)));
    let conditions = Conditions::default();
    let candidate = Candidate { name: name.into(), meets: declared.meets, conditions, pipeline };
    routes.set(client_of(name).as_ref(), &[], &declared, name, Some(&candidate));
}

#[test]
fn without_regard_to_case_a_path_must_not_be_of_the_client_in_another_reading() {
    let folded = PathOptions { case_insensitive: true, ..PathOptions::default() };
    for (own, of_all) in [(folded, PathOptions::default()), (PathOptions::default(), folded), (folded, folded)] {
        let mut routes = Routes::default();
        put_kept(&mut routes, "orders", "/orders", of_all);
        put_kept(&mut routes, "shop:Admin", "/Orders/Admin", own);
        for (path, by_shop) in [
            ("/orders/7", Ok("orders")),
            ("/Orders/Admin/7", Ok("shop:Admin")),
            // The client's own route, or else everybody's service might read it as that path.
            ("/orders/admin/7", if own.case_insensitive { Ok("shop:Admin") } else { Err("doubtful_case") }),
        ] {
            let found = chosen(&routes, Some("shop"), &request(&Method::GET, path, &[]));
            assert_eq!(found.as_deref().map_err(|code| *code), by_shop, "{path} {own:?} {of_all:?}");
        }
        let plain = chosen(&routes, None, &request(&Method::GET, "/orders/admin/7", &[]));
        assert_eq!(plain.as_deref(), Ok("orders"));
    }
}

#[test]
fn the_doubt_of_a_clients_route_counts_where_another_is_found() {
    let mut routes = Routes::default();
    declare(&mut routes, "open", &[], &prefix("/a"), &[]);
    declare(&mut routes, "shop:closed", &[], &prefix("/a"), &[("header", "x-debug-mode")]);
    let misspelled = request(&Method::GET, "/a", &[("x_debug_mode", "1")]);
    assert_eq!(chosen(&routes, Some("shop"), &misspelled), Err("field_spelling"));
    assert_eq!(chosen(&routes, None, &misspelled).as_deref(), Ok("open"));
}

#[test]
fn a_preflight_takes_the_clients_route_where_that_answers_preflights() {
    struct Fine;
    impl portcullis_core::policy::Check for Fine {
        fn check(&self, _: &mut Call) -> Result<(), Refusal> {
            Ok(())
        }
    }
    let mut routes = Routes::default();
    declare(&mut routes, "orders", &[], &prefix("/orders"), &[]);
    let path = DeclaredPath::parse(&prefix("/orders"), PathOptions::default()).expect("well formed");
    let mut own = candidate("shop:orders", Meets::Below, Conditions::default());
    let facts = Arc::clone(&own.pipeline.route);
    let steps = vec![("cors", portcullis_core::policy::Step::Check(Arc::new(Fine)))];
    own.pipeline = Arc::new(Pipeline::new(facts, steps, Arc::new(Nothing)));
    let declared = Match {
        client: None,
        hosts: Vec::new(),
        path: prefix("/orders"),
        methods: vec!["PUT".into()],
        headers: Default::default(),
        query: Default::default(),
    };
    own.conditions = Conditions::parse(&declared).expect("well formed");
    routes.set(client_of("shop:orders").as_ref(), &[], &path, "shop:orders", Some(&own));
    let fields = [("origin", "https://app.example"), ("access-control-request-method", "PUT")];
    let preflight = request(&Method::OPTIONS, "/orders/7", &fields);
    assert_eq!(chosen(&routes, Some("shop"), &preflight).as_deref(), Ok("shop:orders"));
    assert_eq!(chosen(&routes, None, &preflight).as_deref(), Ok("orders"));
}

/// What is looked at of a table does not grow with the clients: a call asks the table of its own client, and no other.
#[test]
fn a_call_asks_the_table_of_its_own_client_alone() {
    let mut routes = Routes::default();
    for number in 0..1_000 {
        // Every client has paths of another depth and shape beside the one that all have.
        let odd = format!("/{}{{x}}", "a/".repeat(number % 9));
        declare(&mut routes, &format!("c{number}:odd"), &[], &pattern(&odd), &[]);
        declare(&mut routes, &format!("c{number}:own"), &[], &prefix("/orders"), &[]);
    }
    let shapes = |client: &str| {
        let own = routes.declared.of_client(&client.parse().expect("a label")).expect("has routes");
        own.shapes()
    };
    assert!((0..1_000).all(|number| shapes(&format!("c{number}")) == 2));
    assert_eq!(routes.declared.of_all().shapes(), 0);
}
