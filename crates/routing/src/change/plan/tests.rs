//! Plans against a view that was made by edits.

use portcullis_core::model::{Grant, Registration};
use serde_json::json;

use super::*;

fn declarations(value: Value) -> Declarations {
    serde_json::from_value(value).expect("well formed")
}

fn view(edits: &[(Owner, Edit)]) -> View {
    let mut view = View::default();
    for (owner, edit) in edits {
        view.apply(edit, *owner).expect("applied");
    }
    view
}

fn service(id: &str, body: Value) -> Edit {
    Edit::Service(id.parse().expect("an id"), Some(serde_json::from_value(body).expect("a service")))
}

fn client(name: &str, access_key: Option<&str>) -> Edit {
    let client = Client { services: vec![Grant::All], access_key: access_key.map(str::to_owned), ..Client::default() };
    Edit::Client(name.parse().expect("a name"), Some(client))
}

fn plan_of(view: &View, declared: Value, adopt: bool) -> Plan {
    let builtin = "default".parse().expect("a name");
    let rules = Rules { owner: Owner::File, adopt, builtin_client: &builtin, access_key: &|| "fresh".to_owned() };
    plan(view, &declarations(declared), &rules)
}

fn steps(plan: &Plan) -> Vec<String> {
    let of = |step: &Step| format!("{:?} {} {} {}", step.action, step.kind, step.name, step.fields.join("+"));
    plan.steps.iter().map(|step| of(step).trim().to_owned()).collect()
}

const TARGET: &str = "http://127.0.0.1:1";

fn body() -> Value {
    json!({"targets": [{"url": TARGET}]})
}

#[test]
fn it_says_what_is_added_changed_and_removed() {
    let view = view(&[
        (Owner::File, service("a/v1", body())),
        (Owner::File, service("b/v1", body())),
        (Owner::File, service("c/v1", body())),
        (Owner::Registration, service("r/v1", body())),
        (Owner::Api, client("default", None)),
        (Owner::File, client("gone", Some("k"))),
    ]);
    let plan = plan_of(
        &view,
        json!({
            "version": 1,
            "services": {
                "a/v1": body(),
                "b/v1": {"targets": [{"url": TARGET}], "require": [], "policies": {"acl": {}}},
                "n/v1": body(),
            },
            "clients": {"new": {"services": ["*"]}},
        }),
        false,
    );
    assert_eq!(plan.problems, []);
    assert_eq!(
        steps(&plan),
        [
            "Change service b/v1 policies+require",
            "Add service n/v1",
            "Remove service c/v1",
            "Remove client gone",
            "Add client new",
        ]
    );
    assert_eq!(plan.unchanged, 1);
    assert_eq!(plan.removed_clients, ["gone".parse::<Label>().expect("a name")]);
    let of = |route: &str| &plan.policies.iter().find(|step| step.route == route).expect("a step").kinds;
    assert_eq!(of("/b/v1"), &BTreeMap::from([("acl".into(), Action::Add), ("require".into(), Action::Change)]));
    assert_eq!(of("/c/v1"), &BTreeMap::from([("require".into(), Action::Remove)]));
}

#[test]
fn routes_follow_the_policies_of_their_service() {
    let route = |policies: Value| {
        let route = json!({"match": {"path": {"prefix": "/x"}}, "service": "a/v1", "policies": policies});
        Some(Box::new(serde_json::from_value(route).expect("a route")))
    };
    let view = view(&[
        (Owner::File, service("a/v1", body())),
        (Owner::Api, Edit::Route("follows".parse().expect("a name"), route(json!({})))),
        (Owner::Api, Edit::Route("own".parse().expect("a name"), route(json!({"acl": {"own": true}})))),
    ]);
    let declared = json!({"version": 1, "services": {"a/v1": {"targets": [{"url": TARGET}], "policies": {"acl": {}}}}});
    let plan = plan_of(&view, declared, false);
    let routes: Vec<_> = plan.policies.iter().map(|step| step.route.as_str()).collect();
    assert_eq!(routes, ["/a/v1", "follows"]);
}

#[test]
fn objects_of_others_are_taken_over_only_when_asked_for() {
    let view = view(&[(Owner::Api, service("same/v1", body())), (Owner::Registration, service("other/v1", body()))]);
    let declared = json!({"version": 1, "services": {
        "same/v1": body(), "other/v1": {"targets": [{"url": TARGET}], "require": []},
    }});
    let refused = plan_of(&view, declared.clone(), false);
    let places: Vec<_> = refused.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!((places, refused.unchanged), (vec!["services.other/v1"], 1));
    let adopted = plan_of(&view, declared, true);
    assert_eq!(adopted.problems, []);
    assert_eq!(steps(&adopted), ["Change service other/v1 require+owner", "Change service same/v1 owner"]);
    let mut next = view;
    for edit in &adopted.edits {
        next.apply(edit, Owner::File).expect("applied");
    }
    let stored = next.service(&"other/v1".parse().expect("an id")).expect("there");
    assert_eq!((stored.owner, stored.revision), (Owner::File, 2));
}

#[test]
fn what_belongs_to_an_object_stays_and_goes_with_it() {
    let registration = Registration {
        key_hash: String::new(),
        enrolment: "e".parse().expect("a name"),
        created_at: 0,
        rotated_at: None,
    };
    let view = view(&[
        (Owner::File, service("a/v1", body())),
        (Owner::File, service("a/v2", body())),
        (Owner::Registration, Edit::Registration("a".parse().expect("a name"), Some(registration))),
    ]);
    let forgets = |plan: &Plan| plan.edits.iter().any(|edit| matches!(edit, Edit::Registration(_, None)));
    assert!(!forgets(&plan_of(&view, json!({"version": 1, "services": {"a/v1": body()}}), false)));
    assert!(!forgets(&plan_of(&view, json!({"version": 1, "services": {"a/v3": body()}}), false)));
    assert!(forgets(&plan_of(&view, json!({"version": 1}), false)));
}

#[test]
fn access_keys_are_kept_made_and_unique() {
    let view = view(&[
        (Owner::Api, client("default", None)),
        (Owner::Api, client("api", Some("taken"))),
        (Owner::File, client("kept", Some("mine"))),
    ]);
    let plan = plan_of(
        &view,
        json!({"version": 1, "clients": {
            "kept": {"services": ["*"]},
            "new": {},
            "one": {"access_key": "taken"},
            "two": {"access_key": "mine"},
            "default": {"services": ["*"], "access_key": "k"},
        }}),
        true,
    );
    let places: Vec<_> = plan.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(places, ["clients.default.access_key", "clients.one.access_key", "clients.two.access_key"]);
    assert_eq!(plan.unchanged, 1);
    let new = plan.edits.iter().find_map(|edit| match edit {
        Edit::Client(name, Some(client)) if name.as_str() == "new" => client.access_key.clone(),
        _ => None,
    });
    assert_eq!(new.as_deref(), Some("fresh"));
}
