//! What is told about declarations that cannot be read.

use super::*;

#[test]
fn a_later_look_is_left_out_where_parts_were_left_out() {
    let others = [Problem::new("targets[0].url", "")];
    assert!(shadowed(&Problem::new("targets", ""), &others));
    assert!(!shadowed(&Problem::new("require[0]", ""), &others));
    let others = [Problem::new("policies", "")];
    assert!(!shadowed(&Problem::new("policies.cors", ""), &others));
}

mod services {
    use portcullis_core::model::{Protocol, TlsVersion, default_require};

    use super::*;

    fn check(body: &Value, paths: &[&str]) {
        let reading = read_service(body);
        let found: Vec<_> = reading.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(found, paths, "{body}: {:?}", reading.problems);
    }

    #[test]
    fn a_good_service_has_no_problems() {
        let reading = read_service(&json!({
            "targets": [{"url": "http://a:1/"}, {"url": "http://b:2/x", "weight": 5, "instance": "two"}],
            "require": [["bearer"], ["api_key"]],
            "audiences": ["me"],
            "protocol": "h2",
            "default_route": false,
            "tls": {"server_name": "a", "pins": ["x"], "min_version": "1.3"},
            "policies": {"rate_limit": {"limit": 5}},
        }));
        assert_eq!(reading.problems, []);
        let service = reading.value.expect("a service");
        assert_eq!((service.targets.len(), service.targets[1].weight), (2, 5));
        assert_eq!(service.require.len(), 2);
        assert_eq!(service.protocol, Protocol::H2);
        assert_eq!(service.default_route, Some(false));
        let tls = service.tls.expect("there");
        assert_eq!((tls.server_name.as_deref(), tls.min_version), (Some("a"), Some(TlsVersion::Tls13)));
    }

    #[test]
    fn the_defaults_want_a_token_and_a_key() {
        let service = read_service(&json!({"targets": [{"url": "http://a:1/"}]})).value.expect("a service");
        assert_eq!(service.require, default_require());
    }

    #[test]
    fn what_is_no_service_at_all_is_one_problem() {
        for body in [json!(null), json!([]), json!("x"), json!(1)] {
            check(&body, &[""]);
        }
        check(&json!({}), &["targets"]);
        check(&json!({"targets": []}), &["targets"]);
        check(&json!({"targets": {}}), &["targets"]);
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let body = json!({
            "targts": [],
            "targets": [
                {"url": "ftp://a"},
                {"url": "http://b", "weight": 0, "wait": 1},
                7,
                {"weight": 1.5},
                {"url": "http://c", "instance": "a b"},
                {"url": "http://c", "instance": "x"},
                {"url": "http://d", "instance": "x"},
            ],
            "require": ["bearer", [1], []],
            "audiences": [2, ""],
            "protocol": "h3",
            "default_route": "no",
            "tls": {"verify": false, "ca": 1, "pins": "x", "min_version": 1.3},
            "policies": [],
        });
        check(
            &body,
            &[
                "targts",
                "audiences[0]",
                "audiences[1]",
                "default_route",
                "policies",
                "protocol",
                "require[0]",
                "require[1][0]",
                "require[2]",
                "targets[0].url",
                "targets[1].wait",
                "targets[1].weight",
                "targets[2]",
                "targets[3].url",
                "targets[3].weight",
                "targets[4].instance",
                "targets[6].instance",
                "tls.verify",
                "tls.ca",
                "tls.min_version",
                "tls.pins",
            ],
        );
        let target = json!([{"url": "https://a"}]);
        check(&json!({"targets": target, "tls": []}), &["tls"]);
        check(&json!({"targets": target, "tls": {"pins": [1]}}), &["tls.pins[0]"]);
        check(&json!({"targets": target, "tls": {"min_version": "1.1"}}), &["tls.min_version"]);
    }
}

mod routes {
    use super::*;

    fn check(body: &Value, paths: &[&str]) {
        let reading = read_route(body);
        let found: Vec<_> = reading.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(found, paths, "{body}: {:?}", reading.problems);
    }

    #[test]
    fn a_good_route_is_what_serde_reads() {
        for body in [
            json!({"match": {"path": {"prefix": "/api/users"}}, "service": "users/v1", "strip": true, "host": "preserve"}),
            json!({
                "match": {
                    "hosts": ["a.example", "*.b.example"], "path": {"pattern": "/u/{id}/*"}, "methods": ["GET"],
                    "headers": {"X-A": "*"}, "query": {"a": "1"}, "client": "ada@example.com",
                },
                "service": "users/v1", "rewrite": "/v2/{id}/{rest}", "require": [], "policies": {"acl": {}},
                "query": "drop", "enabled": false,
            }),
            json!({"match": {"path": {"exact": "/old"}}, "redirect": {"to": "/new", "status": 301, "keep_query": false}}),
            json!({"match": {"path": {"exact": "/x"}}, "answer": {"status": 204, "headers": {"A": "b"}, "body": ""}}),
        ] {
            let reading = read_route(&body);
            assert_eq!(reading.problems, [], "{body}");
            assert_eq!(reading.value, Some(serde_json::from_value(body).expect("a route")));
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        check(&json!([]), &[""]);
        check(&json!({}), &["match", ""]);
        check(
            &json!({
                "macht": 1,
                "match": {"path": {"suffix": "/"}, "hosts": "a", "methods": [1], "headers": {"a": 1}, "query": [], "client": "a/b"},
                "service": "users",
                "redirect": {"status": "x", "kept": 1},
                "answer": 7,
                "strip": "yes", "rewrite": 1, "host": "mine", "require": {}, "policies": [], "enabled": "no",
                "query": "maybe",
            }),
            &[
                "macht",
                "answer",
                "enabled",
                "host",
                "match.client",
                "match.headers.a",
                "match.hosts",
                "match.methods[0]",
                "match.path.suffix",
                "match.query",
                "policies",
                "query",
                "redirect.kept",
                "redirect.status",
                "redirect.to",
                "require",
                "rewrite",
                "service",
                "strip",
                "",
            ],
        );
        check(&json!({"match": {"path": "/"}, "answer": {"status": 99999}}), &["answer.status", "match.path"]);
    }
}

mod clients {
    use super::*;

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let paths =
            |body: Value| read_client(&body).problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>();
        assert_eq!(paths(json!({"services": ["*", "a/v1"], "access_key": "k", "enabled": false})), [""; 0]);
        assert_eq!(paths(json!(1)), [""]);
        assert_eq!(
            paths(json!({"secret_key": "s", "services": ["a/b/c", 1], "access_key": " k", "enabled": 1})),
            ["secret_key", "access_key", "enabled", "services[0]", "services[1]"]
        );
    }
}
