//! What cannot be taken over: it is told, nothing is changed, and if it is accepted, nothing weaker takes its place.

use serde_json::{Value, json};

use super::behaviour::Scene;
use super::redis_server::RedisServer;
use super::{Export, OLD_SECRET, SECRET, declarations, endpoint, import, panel, publish};
use crate::fomalhaut::answering;

/// A panel with endpoints that cannot be taken over.
fn lossy(backend: &str) -> Value {
    let mut panel = panel(backend);
    let rules = json!([{"re_uri": "^/(?!open)", "is_permit": false}]);
    let bad = [
        endpoint(10, "ahead", backend, &json!({"enable_acl": true, "acl_rules": rules})),
        endpoint(11, "files", "ftp://127.0.0.1/", &json!({})),
        endpoint(12, "cloud", "http://169.254.169.254", &json!({})),
        endpoint(13, "login", "http://ada:sesame@127.0.0.1/", &json!({})),
    ];
    for endpoint in bad {
        let link = json!({"client_id": 1, "endpoint_id": endpoint["id"], "enable": true});
        panel["client_endpoints"].as_array_mut().expect("a list").push(link);
        panel["endpoints"].as_array_mut().expect("a list").push(endpoint);
    }
    panel
}

#[test]
fn what_is_lost_is_told_and_nothing_is_changed_unless_it_is_accepted() {
    let scene = Scene::before(answering());
    let file = Export::of(&lossy(&scene.backend.url()));
    let before = declarations(&scene.gateway);
    let told = import(&scene.gateway, &[file.path(), "--json"], &[]).json(1);
    let of: Vec<_> =
        told["losses"].as_array().expect("a list").iter().map(|loss| loss["of"].as_str().expect("a text")).collect();
    assert_eq!(
        of,
        ["endpoint 'ahead/v1'", "endpoint 'files/v1'", "endpoint 'login/v1'", "service 'cloud/v1'"],
        "{told}"
    );
    assert_eq!(told["applied"], false);
    let told = import(&scene.gateway, &[file.path()], &[]);
    assert_eq!(told.code, Some(1));
    for words in
        ["loss: endpoint 'ahead/v1': rule 1 ('^/(?!open)'): look-around", "a cloud tells machines their secrets there"]
    {
        assert!(told.out.contains(words), "{words}: {told:?}");
    }
    assert!(told.err.contains("--accept-losses"), "{told:?}");
    assert_eq!(declarations(&scene.gateway), before);

    let done = import(&scene.gateway, &[file.path(), "--accept-losses"], &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(scene.call("/test_api/v1/a", &json!({})).0, 200);
    for endpoint in ["ahead", "files", "cloud", "login"] {
        scene.refused(&format!("/{endpoint}/v1/open"), &json!({}), 432);
    }
    assert_eq!(scene.backend.received().len(), 1);
    let again = import(&scene.gateway, &[file.path(), "--accept-losses", "--json"], &[]).json(0);
    assert_eq!(again["plan"]["steps"], json!([]));
}

#[test]
fn what_others_have_made_is_not_taken_from_them_unless_it_is_adopted() {
    let scene = Scene::before(answering());
    let file = Export::of(&panel(&scene.backend.url()));
    let service = json!({"targets": [{"url": "http://127.0.0.1:9"}], "require": []});
    scene.gateway.admin_ok("PUT", "/services/test_api/v1", Some(&service), 201);
    let client = json!({"name": "mine", "access_key": "abcd", "secret_key": "a secret of my own"});
    scene.gateway.admin_ok("POST", "/clients", Some(&client), 201);
    let before = declarations(&scene.gateway);
    let told = import(&scene.gateway, &[file.path(), "--json"], &[]).json(1);
    let why: Vec<_> =
        told["losses"].as_array().expect("a list").iter().map(|loss| loss["why"].as_str().expect("a text")).collect();
    assert!(why.iter().all(|why| why.contains("is owned by 'api'")) && why.len() == 2, "{told}");
    assert_eq!(declarations(&scene.gateway), before);

    let done = import(&scene.gateway, &[file.path(), "--adopt", "--json"], &[]).json(0);
    // The client of this access key is the same client, and keeps its name and its secrets.
    assert_eq!(done["secrets"]["other"], json!(["mine"]));
    assert!(done["findings"].to_string().contains("client 'mine'"), "{done}");
    assert_eq!(scene.call("/test_api/v1/a", &json!({"secret": "a secret of my own"})).0, 200);
    assert_eq!(declarations(&scene.gateway).1["clients"]["mine"]["access_key"], "abcd");
}

#[test]
fn a_key_of_redis_is_of_the_client_that_it_names_and_of_no_other() {
    let (scene, redis) = (Scene::before(answering()), RedisServer::start(None));
    publish(&panel(&scene.backend.url()), &redis);
    let open = endpoint(2, "test_api", &scene.backend.url(), &json!({"enable_hmac": false}));
    let value =
        json!({"app_id": "z", "name": "z", "secret_key": "sesame of another", "endpoints": {"test_api:v1": open}});
    redis.ask(&["SET", "config:config:abcd", &value.to_string()]);
    let done = import(&scene.gateway, &[&redis.url(), "--accept-losses", "--json"], &[]).json(0);
    assert_eq!(done["declarations"]["clients"]["test_client"]["access_key"], "abcd", "{done}");
    assert_eq!(scene.call("/test_api/v1/a", &json!({})), (200, "get".to_owned()));
    scene.refused("/test_api/v1/a", &json!({"signed": false, "asks": false}), 400);
}

#[test]
fn rules_that_looked_at_the_query_close_the_endpoint_of_the_client_they_were_for() {
    let scene = Scene::before(answering());
    let mut panel = panel(&scene.backend.url());
    panel["endpoints"][0]["acl_rules"] = json!([{"re_uri": "action=delete", "is_permit": false}]);
    let file = Export::of(&panel);
    let told = import(&scene.gateway, &[file.path()], &[]);
    assert!(told.code == Some(1) && told.out.contains("it may match anywhere in path and query"), "{told:?}");
    assert_eq!(import(&scene.gateway, &[file.path(), "--accept-losses"], &[]).code, Some(0));
    let api = json!({"dialect": "api", "client": "old", "secret": OLD_SECRET});
    for target in ["/test_api/v1/x?action=delete", "/test_api/v1/x"] {
        assert_eq!(scene.call(target, &api).0, 600, "{target}");
        // To those of `fo` rules never saw a query.
        assert_eq!(scene.call(target, &json!({})).0, 200, "{target}");
    }
}

#[test]
fn a_secret_that_changes_there_is_good_here_beside_the_former_until_that_is_retired() {
    let scene = Scene::before(answering());
    let mut panel = panel(&scene.backend.url());
    assert_eq!(import(&scene.gateway, &[Export::of(&panel).path()], &[]).code, Some(0));
    let with = |secret: &str| scene.call("/test_api/v1/a", &json!({"secret": secret})).0;
    panel["clients"][0]["secret_key"] = "another sesame of 30 bytes".into();
    let changed = Export::of(&panel);
    let done = import(&scene.gateway, &[changed.path()], &[]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), "taken over\n"), "{done:?}");
    assert!(done.out.contains("1 secrets to add, 2 known"), "{done:?}");
    let line = done.out.lines().find(|line| line.contains("has changed there")).expect("it is told");
    assert_eq!((with("another sesame of 30 bytes"), with(SECRET)), (200, 200));
    // The line says what to do.
    let command = line.split_once("retire it: portcullis ").expect("a command").1.split(' ');
    let mut retire = crate::support::gateway::command(scene.gateway.directory());
    retire.args(["--admin", &format!("http://{}", scene.gateway.admin)]).args(command);
    assert!(retire.output().expect("it runs").status.success(), "{line}");
    assert_eq!(with("another sesame of 30 bytes"), 200);
    scene.refused("/test_api/v1/a", &json!({"secret": SECRET}), 431);
    // Where there is no room for it, that is a loss.
    let own = json!({"secret": "a secret of my own"});
    scene.gateway.admin_ok("POST", "/clients/test_client/secrets", Some(&own), 201);
    panel["clients"][0]["secret_key"] = "a third sesame of 30 bytes".into();
    let full = import(&scene.gateway, &[Export::of(&panel).path(), "--json"], &[]).json(1);
    assert_eq!(full["losses"][0]["of"], "client 'test_client'", "{full}");
    assert_eq!(import(&scene.gateway, &[Export::of(&panel).path(), "--accept-losses"], &[]).code, Some(0));
    scene.refused("/test_api/v1/a", &json!({"secret": "a third sesame of 30 bytes"}), 431);
}

#[test]
fn an_auth_api_that_the_gateway_does_not_connect_to_is_a_loss() {
    let scene = Scene::before(answering());
    let mut panel = panel(&scene.backend.url());
    panel["clients"][0]["login_auth_url"] = "http://169.254.169.254/latest?of=sesame".into();
    panel["clients"][0]["change_password_url"] = "http://127.0.0.1:9/change".into();
    let file = Export::of(&panel);
    let told = import(&scene.gateway, &[file.path(), "--json"], &[]).json(1);
    let losses = told["losses"].as_array().expect("a list");
    assert!(losses.len() == 1 && losses[0]["why"].to_string().contains("login_auth_url: "), "{told}");
    assert!(losses[0]["why"].to_string().contains("a cloud tells machines their secrets there"), "{told}");
    let client = &told["declarations"]["clients"]["test_client"];
    assert_eq!((&client["services"], &client["login_auth_url"]), (&json!(["account/v1"]), &Value::Null));
    assert_eq!(client["change_password_url"], "http://127.0.0.1:9/change");
}
