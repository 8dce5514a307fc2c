//! Unit tests of the table; that each rule fires, and is silent, is tested through the binary.

use super::*;

#[test]
fn codes_are_codes_and_stand_once() {
    let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')), "{ids:?}");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    for rule in RULES {
        assert!(!rule.wrong.ends_with('.') && !rule.remedy.ends_with('.'), "{}", rule.id);
        assert!(!rule.wrong.contains('|') && !rule.remedy.contains('|'), "{}: it stands in a table", rule.id);
    }
}

#[test]
fn what_is_not_known_is_passed_over() {
    let config = Config::with_data_dir("/nowhere".into());
    let declared = serde_json::json!({
        "services": {
            "a/v1": {"targets": 7, "require": [["seal"], 3], "policies": {"teleport": {"to": []}, "cors": 7, "throttle": []}},
            "b/v1": [],
            "c/v1": {"require": [["bearer"]], "policies": {"rate_limit": {}, "bearer": {"keys": [7, {"jwk": 7}]}}},
        },
        "routes": {"x": {"service": 7}, "y": 8, "z": {"service": "nobody/v1"}},
        "clients": {"d": {"services": 7}},
        "plugins": {},
    });
    let enrolments = [serde_json::json!(7)];
    let subject = Subject {
        config: &config,
        config_file: "/nowhere/portcullis.toml".into(),
        declared: Some(&declared),
        services: None,
        enrolments: Some(&enrolments[..0]),
    };
    let found: Vec<_> = audit(&subject).into_iter().map(|finding| (finding.id, finding.path)).collect();
    let expected =
        ["[0]", "[1]"].map(|at| ("foreign-key-without-audience", format!("services.c/v1.policies.bearer.keys{at}")));
    assert_eq!(found, expected);
}
