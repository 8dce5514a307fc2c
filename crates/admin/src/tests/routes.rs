//! `/api/v1/routes`.

use serde_json::{Value, json};

use super::House;

fn one() -> Value {
    json!({"match": {"path": {"prefix": "/api/users"}}, "service": "users/v1", "strip": true})
}

async fn house() -> House {
    let house = House::new().await;
    house.send("PUT", "/services/users/v1", json!({"targets": [{"url": "http://127.0.0.1:9001"}]})).await.fine(201);
    house
}

#[tokio::test]
async fn a_route_is_made_replaced_shown_and_deleted() {
    let house = house().await;
    let answer = house.send("PUT", "/routes/users", one()).await;
    let object = json!({
        "name": "users", "match": {"path": {"prefix": "/api/users"}}, "service": "users/v1", "strip": true,
        "revision": 1, "owner": "api",
    });
    assert_eq!((answer.fine(201), answer.header("etag")), (&object, "\"1\""));
    let redirect = json!({"match": {"path": {"exact": "/old"}}, "redirect": {"to": "/new"}});
    let answer = house.send("PUT", "/routes/users", redirect).await;
    assert_eq!((&answer.fine(200)["redirect"]["status"], &answer.body["revision"]), (&json!(308), &json!(2)));
    let shown = house.get("/routes/users").await;
    assert_eq!((shown.fine(200), shown.header("etag")), (&answer.body, "\"2\""));
    assert_eq!(house.all("/routes", 1).await, [answer.body]);
    house.delete("/routes/users").await.fine(204);
    house.get("/routes/users").await.refused(404, "not_found");
    house.delete("/routes/users").await.refused(404, "not_found");
    house.get("/routes/a%20b").await.refused(404, "not_found");
}

#[tokio::test]
async fn changes_happen_on_the_revision_their_author_saw() {
    let house = house().await;
    let put = async |field: &str, value: &str| {
        let fields = [(field, value), ("content-type", "application/json")];
        house.send_with("PUT", "/api/v1/routes/users", &fields, one().to_string()).await
    };
    put("if-match", "\"1\"").await.refused(412, "precondition_failed");
    put("if-none-match", "*").await.fine(201);
    put("if-none-match", "*").await.refused(412, "precondition_failed");
    put("if-match", "\"1\"").await.fine(200);
    put("if-match", "\"1\"").await.refused(412, "precondition_failed");
    let delete =
        async |value: &str| house.send_with("DELETE", "/api/v1/routes/users", &[("if-match", value)], "").await;
    delete("\"1\"").await.refused(412, "precondition_failed");
    delete("\"2\"").await.fine(204);
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    let house = house().await;
    let body = json!({
        "match": {"path": {"prefix": "/a"}, "methods": ["get"], "hosts": 1},
        "service": "users/v1", "strip": "yes", "policies": {"teleport": {}}, "hots": "target",
    });
    let answer = house.send("PUT", "/routes/a%20b", body).await;
    let places = answer.refused(422, "invalid_declaration").places();
    assert_eq!(places, ["name", "hots", "match.hosts", "strip", "policies.teleport"]);
    let body = json!({
        "match": {"path": {"prefix": "a"}, "methods": ["get"], "hosts": ["a:1"]}, "service": "nobody/v1",
    });
    let answer = house.send("PUT", "/routes/users", body).await;
    let places = answer.refused(422, "invalid_declaration").places();
    assert!(
        ["match.hosts[0]", "match.methods[0]", "match.path.prefix"].iter().all(|at| places.contains(at)),
        "{places:?}"
    );
    let body = json!({"match": {"path": {"prefix": "/a"}}, "service": "nobody/v1"});
    assert_eq!(
        house.send("PUT", "/routes/users", body).await.refused(422, "invalid_declaration").places(),
        ["service"]
    );
    assert_eq!(house.all("/routes", 10).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_service_that_a_route_leads_to_stays() {
    let house = house().await;
    house.send("PUT", "/routes/users", one()).await.fine(201);
    let answer = house.delete("/services/users/v1").await;
    assert!(answer.refused(409, "conflict").body["detail"].as_str().expect("words").contains("'users'"));
    house.get("/services/users/v1").await.fine(200);
    house.delete("/routes/users").await.fine(204);
    house.delete("/services/users/v1").await.fine(204);
}

#[tokio::test]
async fn a_client_that_a_route_is_for_is_there_and_stays() {
    let house = house().await;
    let route = json!({"match": {"path": {"prefix": "/orders/v1"}, "client": "shop"}, "service": "users/v1"});
    let answer = house.send("PUT", "/routes/orders", route.clone()).await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["match.client"]);
    assert!(answer.body.to_string().contains("there is no client 'shop'"), "{}", answer.body);
    house.send("POST", "/clients", json!({"name": "shop"})).await.fine(201);
    let made = house.send("PUT", "/routes/orders", route).await;
    assert_eq!(made.fine(201)["match"]["client"], "shop");
    let answer = house.delete("/clients/shop").await;
    assert!(answer.refused(409, "conflict").body["detail"].as_str().expect("words").contains("'orders'"));
    // It may change, and be switched off.
    house.send("PUT", "/clients/shop", json!({"services": ["users/v1"], "enabled": false})).await.fine(200);
    house.delete("/routes/orders").await.fine(204);
    house.delete("/clients/shop").await.fine(204);
}

#[tokio::test]
async fn a_file_takes_no_client_away_from_a_route() {
    let house = house().await;
    house.yaml("PUT", "", &[], "version: 1\nclients: {shop: {services: []}, till: {services: []}}\n").await.fine(200);
    for client in ["shop", "till"] {
        let route = json!({"match": {"path": {"prefix": "/orders/v1"}, "client": client}, "service": "users/v1"});
        house.send("PUT", &format!("/routes/{client}-orders"), route).await.fine(201);
    }
    let answer = house.yaml("PUT", "", &[], "version: 1\nclients: {till: {services: []}}\n").await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["routes.shop-orders.match.client"]);
    house.get("/clients/shop").await.fine(200);
}

#[tokio::test]
async fn routes_of_many_clients_at_one_path_stand_in_nobodys_way() {
    let house = house().await;
    let token = house.enrolment(json!({"name": "e"})).await;
    let mut file = json!({"version": 1, "clients": {}, "routes": {}});
    for number in 0..20 {
        file["clients"][format!("c{number}")] = json!({"services": []});
        let matches = json!({"path": {"prefix": "/orders/v1"}, "client": format!("c{number}")});
        file["routes"][format!("orders-{number}")] = json!({"match": matches, "service": "users/v1"});
    }
    let done = house.yaml("PUT", "", &[], &file.to_string()).await;
    assert_eq!(done.fine(200)["steps"].as_array().map(Vec::len), Some(40));
    // A service may still register itself there, for the calls that claim none of these clients.
    house.register(&token, json!({"name": "orders", "base_url": "http://127.0.0.1:1"})).await.fine(201);
    let plan = house.yaml("POST", "/plan", &[], &file.to_string()).await;
    assert_eq!(*plan.fine(200), json!({"steps": [], "policies": [], "unchanged": 40}));
}

#[tokio::test]
async fn a_route_that_is_switched_off_keeps_its_place_and_says_so() {
    let house = house().await;
    house
        .send("PUT", "/routes/all", json!({"match": {"path": {"prefix": "/"}}, "answer": {"status": 200}}))
        .await
        .fine(201);
    let mut route = json!({"match": {"path": {"prefix": "/api"}}, "service": "users/v1", "require": []});
    for (enabled, code) in [(None, None), (Some(false), Some("route_disabled")), (Some(true), None)] {
        if let Some(enabled) = enabled {
            route["enabled"] = json!(enabled);
        }
        let shown = house.send("PUT", "/routes/api", route.clone()).await;
        assert_eq!(shown.body.get("enabled"), enabled.filter(|on| !on).map(|on| json!(on)).as_ref());
        let told = house.send("POST", "/explain", json!({"method": "GET", "url": "/api/7"})).await;
        let told = told.fine(200);
        assert_eq!(told["route"]["name"], "api", "{told}");
        assert_eq!(told["outcome"]["code"].as_str(), code, "{told}");
    }
    // What is wrong with it is told all the same.
    route["enabled"] = json!(false);
    route["service"] = json!("nobody/v1");
    let answer = house.send("PUT", "/routes/api", route).await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["service"]);
}

#[tokio::test]
async fn a_route_may_lead_to_the_targets_own_url() {
    let house = House::new().await;
    let service = json!({"targets": [{"url": "http://127.0.0.1:9001/one/place"}]});
    house.send("PUT", "/services/users/v1", service).await.fine(201);
    let mut route = json!({"match": {"path": {"prefix": "/api"}}, "service": "users/v1", "require": []});
    for (rewrite, query, url) in [
        ("", "drop", "http://127.0.0.1:9001/one/place"),
        ("", "keep", "http://127.0.0.1:9001/one/place?a=1"),
        ("/x", "drop", "http://127.0.0.1:9001/one/place/x"),
    ] {
        (route["rewrite"], route["query"]) = (json!(rewrite), json!(query));
        house.send("PUT", "/routes/api", route.clone()).await;
        let told = house.send("POST", "/explain", json!({"method": "GET", "url": "/api/7/8?a=1"})).await;
        assert!(told.fine(200)["outcome"].to_string().contains(&format!("\"{url}\"")), "{}", told.body);
    }
    let redirect = json!({"match": {"path": {"exact": "/old"}}, "redirect": {"to": "/new"}, "query": "drop"});
    let answer = house.send("PUT", "/routes/old", redirect).await;
    assert_eq!(answer.refused(422, "invalid_declaration").places(), ["query"]);
}

fn token_with(field: &str, value: Value) -> Value {
    let mut route = json!({"match": {"path": {"exact": "/-/token"}}, "builtin": true});
    route[field] = value;
    route
}

#[tokio::test]
async fn a_route_to_an_endpoint_of_the_gateway_is_made_explained_and_deleted() {
    let house = house().await;
    let policies = json!({"cors": {"origins": ["https://app.example"]}, "throttle": {"rate": 5, "per": "1m"}});
    let answer = house.send("PUT", "/routes/token", token_with("policies", policies.clone())).await;
    let object = json!({
        "name": "token", "match": {"path": {"exact": "/-/token"}}, "builtin": true, "policies": policies,
        "revision": 1, "owner": "api",
    });
    assert_eq!(answer.fine(201), &object);
    assert_eq!(house.get("/routes/token").await.fine(200), &object);
    let told = house.send("POST", "/explain", json!({"method": "POST", "url": "/-/token"})).await;
    let told = told.fine(200);
    assert_eq!((&told["route"]["name"], &told["route"]["service"]), (&json!("token"), &Value::Null), "{told}");
    assert_eq!(told["outcome"]["kind"], "handled", "{told}");
    let own = "it matches, but a declared route goes before the one that a built-in endpoint has by itself";
    assert_eq!(told["others"][0], json!({"name": "/-/token", "why_not": own}), "{told}");
    let walked: Vec<_> = told["steps"].as_array().expect("steps").iter().map(|step| &step["policy"]).collect();
    assert_eq!(walked, ["cors", "throttle", "require"], "{told}");
    let headers = json!([["Origin", "https://app.example"], ["Access-Control-Request-Method", "POST"]]);
    let preflight = json!({"method": "OPTIONS", "url": "/-/token", "headers": headers});
    let told = house.send("POST", "/explain", preflight).await;
    assert_eq!(
        (&told.fine(200)["outcome"]["kind"], &told.body["route"]["name"]),
        (&json!("answered"), &json!("token"))
    );

    let off = token_with("enabled", json!(false));
    house.send("PUT", "/routes/token", off).await.fine(200);
    let told = house.send("POST", "/explain", json!({"method": "POST", "url": "/-/token"})).await;
    assert_eq!(told.fine(200)["outcome"]["code"], "route_disabled", "{}", told.body);
    house.delete("/routes/token").await.fine(204);
    let told = house.send("POST", "/explain", json!({"method": "POST", "url": "/-/token"})).await;
    assert_eq!(told.fine(200)["route"]["name"], "/-/token");
}

#[tokio::test]
async fn a_route_to_an_endpoint_has_nothing_of_a_route_to_a_service() {
    let house = house().await;
    for (field, value) in [
        ("strip", json!(true)),
        ("rewrite", json!("/x")),
        ("query", json!("drop")),
        ("host", json!("preserve")),
        ("traffic", json!({"timeouts": {"call": "1s"}})),
        ("path_parameters", json!("keep")),
        ("encoded_slash", json!("keep")),
        ("case_insensitive", json!(true)),
    ] {
        let answer = house.send("PUT", "/routes/token", token_with(field, value)).await;
        assert_eq!(answer.refused(422, "invalid_declaration").places(), [field]);
    }
    for (body, place) in [
        (token_with("service", json!("users/v1")), ""),
        (token_with("answer", json!({"status": 204})), ""),
        (token_with("builtin", json!(false)), ""),
        (token_with("policies", json!({"cors": {"origins": []}})), "policies.cors.origins"),
        (token_with("policies", json!({"other": {}})), "policies.other"),
        (token_with("require", json!([["password"]])), "require[0][0]"),
        (token_with("match", json!({"path": {"prefix": "/-/token"}})), "match.path"),
        (token_with("match", json!({"path": {"exact": "/-/token/x"}})), "match.path"),
        (token_with("match", json!({"path": {"exact": "/-"}})), "match.path"),
        (token_with("match", json!({"path": {"prefix": "/"}})), "match.path"),
        (token_with("match", json!({"path": {"exact": "/-/Token"}})), "match.path"),
        (token_with("match", json!({"path": {"pattern": "/{a}/token"}})), "match.path"),
        (token_with("match", json!({"path": {"prefix": "/auth/v10"}})), "match.path"),
        (token_with("match", json!({"path": {"exact": "/-/token"}, "client": "nobody"})), "match.client"),
    ] {
        let answer = house.send("PUT", "/routes/token", body.clone()).await;
        let answer = answer.refused(422, "invalid_declaration");
        assert_eq!(answer.places(), [place], "{body}");
        if place == "match.path" && body["match"]["path"].get("prefix") != Some(&json!("/-/token")) {
            let told = answer.body["problems"][0]["message"].as_str().expect("words");
            assert!(told.contains("'/-/token'") && told.contains("'/auth/v1' and below"), "{told}");
        }
    }
    for path in
        [json!({"exact": "/auth/v1/login"}), json!({"prefix": "/auth/v1"}), json!({"pattern": "/auth/v1/{what}/*"})]
    {
        house.send("PUT", "/routes/auth", token_with("match", json!({"path": path}))).await;
    }
    assert_eq!(house.get("/routes/auth").await.fine(200)["revision"], 3);
}

#[tokio::test]
async fn a_client_has_an_endpoint_by_a_grant_or_by_a_route_and_stays_as_long_as_that() {
    let house = house().await;
    let grants = json!({"name": "shop", "services": ["auth/v1", "account/*", "users/v1"]});
    house.send("POST", "/clients", grants).await.fine(201);
    assert_eq!(house.get("/clients/shop").await.fine(200)["services"], json!(["auth/v1", "account", "users/v1"]));
    // No service has such a name.
    let service = json!({"targets": [{"url": "http://127.0.0.1:9001"}]});
    assert_eq!(house.send("PUT", "/services/auth/v1", service).await.status.as_u16() / 100, 4);
    let own = json!({"match": {"path": {"prefix": "/auth/v1"}, "client": "shop"}, "builtin": true, "require": []});
    house.send("PUT", "/routes/shop-auth", own).await.fine(201);
    house.delete("/clients/shop").await.refused(409, "conflict");
    house.delete("/routes/shop-auth").await.fine(204);
    house.delete("/clients/shop").await.fine(204);
}
