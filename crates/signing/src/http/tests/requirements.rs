//! Coverage and times.

use crate::http::{Coverage, Limits, NotCovered, Request, Response, Signatures, Untimely, Window};

fn signatures(list: &str) -> Signatures {
    Signatures::parse(&[("signature-input", format!("s={list}"))], &Limits::default()).expect("sound")
}

/// What of a request to `target` is missing.
#[track_caller]
fn missing(coverage: &Coverage, list: &str, target: &str, has_content: bool) -> Vec<String> {
    let signatures = signatures(list);
    let parameters = signatures.get("s").expect("there").parameters().expect("sound");
    let request = Request::new("POST", "https", "example.com", target, &[("a", "b")]);
    match coverage.check(parameters, &request, has_content) {
        Ok(()) => Vec::new(),
        Err(NotCovered { missing }) => missing,
    }
}

#[test]
fn a_request_is_covered_by_what_identifies_it() {
    let check = |list: &str, target: &str, has_content: bool, expected: &[&str]| {
        let missing = missing(&Coverage::request(), list, target, has_content);
        let starts: Vec<_> = missing.iter().map(|it| it.split([' ', ',']).next().expect("a word")).collect();
        assert_eq!(starts, expected, "{list} {target}");
    };
    check("(\"@method\" \"@target-uri\" \"content-digest\")", "/a?b", true, &[]);
    check("(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\")", "/a?b", true, &[]);
    check("(\"@method\" \"@authority\" \"@request-target\")", "/a?b", false, &[]);
    check("(\"@method\" \"@authority\" \"@path\")", "/a", false, &[]);
    check("(\"@method\" \"@authority\" \"@path\")", "/a?b", false, &["@query"]);
    check("(\"@method\" \"@authority\" \"@path\")", "/a?", false, &["@query"]);
    check("(\"@method\" \"@authority\" \"@path\" \"@query-param\";name=\"b\")", "/a?b", false, &["@query"]);
    check("(\"@method\" \"@request-target\")", "/a", false, &["@authority"]);
    check("()", "/a", true, &["@method", "@authority", "@path", "content-digest"]);
    check("(\"@method\" \"@target-uri\")", "/a", true, &["content-digest"]);
    for fine in ["\"content-digest\";sf", "\"content-digest\";bs", "\"content-digest\";key=\"sha-256\""] {
        check(&format!("(\"@method\" \"@target-uri\" {fine})"), "/a", true, &[]);
    }
    check("(\"@method\" \"@target-uri\" \"content-digest\";key=\"md5\")", "/a", true, &["content-digest"]);
    check("(\"@method\" \"@target-uri\" \"content-digest\";req)", "/a", true, &["content-digest"]);
    check("(\"@method\";req \"@target-uri\";req)", "/a", false, &["@method", "@authority", "@path"]);
}

#[test]
fn single_components_are_demanded_in_their_form() {
    let coverage =
        Coverage::nothing().and_components(&["authorization", "priority;key=\"u\"", "@query-param;name=\"a\""]);
    let coverage = coverage.expect("components");
    assert!(Coverage::nothing().and_components(&["@other"]).is_err());
    let all = "(\"authorization\" \"priority\";key=\"u\" \"@query-param\";name=\"a\")";
    assert!(missing(&coverage, all, "/", false).is_empty());
    let other = "(\"authorization\";bs \"priority\" \"@query-param\";name=\"b\")";
    let expected = ["\"authorization\"", "\"priority\";key=\"u\"", "\"@query-param\";name=\"a\""];
    assert_eq!(missing(&coverage, other, "/", false), expected);
    let error = NotCovered { missing: vec!["@method".to_owned(), "@path".to_owned()] };
    assert_eq!(error.to_string(), "the signature does not cover @method, @path");
}

#[test]
fn a_response_is_covered_with_its_request() {
    let coverage = Coverage::response().and_components(&["@method;req", "signature;req;key=\"sig1\""]).expect("sound");
    let response = Response { status: 200, fields: &[("a", "b")], request: None };
    let check = |list: &str| {
        let signatures = signatures(list);
        coverage.check(signatures.get("s").expect("there").parameters().expect("sound"), &response, false)
    };
    assert!(check("(\"@status\" \"@method\";req \"signature\";key=\"sig1\";req)").is_ok());
    assert!(check("(\"@status\" \"@method\";req)").is_err());
    assert!(check("(\"@method\";req \"signature\";req;key=\"sig1\")").is_err());
}

#[track_caller]
fn time(window: &Window, parameters: &str, now: i64, expected: Result<(), Untimely>) {
    let signatures = signatures(&format!("(){parameters}"));
    let parameters = signatures.get("s").expect("there").parameters().expect("sound");
    assert_eq!(window.check(parameters, now), expected, "{} at {now}", parameters.text());
}

#[test]
fn a_signature_has_its_time() {
    let window = Window { max_age: Some(300), skew: 60, needs_created: true, needs_expires: false };
    time(&window, ";created=1000", 1000, Ok(()));
    time(&window, ";created=1000", 940, Ok(()));
    time(&window, ";created=1000", 939, Err(Untimely::Early(61)));
    time(&window, ";created=1000", 1360, Ok(()));
    time(&window, ";created=1000", 1361, Err(Untimely::Old(361)));
    time(&window, "", 1000, Err(Untimely::NoCreated));
    time(&window, ";expires=2000", 1000, Err(Untimely::NoCreated));
    time(&window, ";created=1000;expires=1100", 1160, Ok(()));
    time(&window, ";created=1000;expires=1100", 1161, Err(Untimely::Expired(61)));
    time(&window, ";created=1000;expires=999", 1000, Err(Untimely::Reversed));
    time(&window, ";created=1000;expires=1000", 1000, Ok(()));
    time(&window, ";created=999999999999999", i64::MIN, Err(Untimely::Early(i64::MAX)));
    time(&window, ";created=-999999999999999", i64::MAX, Err(Untimely::Old(i64::MAX)));
    let expiring = Window { needs_expires: true, ..window };
    time(&expiring, ";created=1000", 1000, Err(Untimely::NoExpires));
    let unbound = Window { max_age: None, skew: 0, needs_created: false, needs_expires: false };
    time(&unbound, "", 1000, Ok(()));
    time(&unbound, ";created=0", 1_000_000_000, Ok(()));
    time(&unbound, ";created=1001", 1000, Err(Untimely::Early(1)));
    time(&unbound, ";expires=1000", 1001, Err(Untimely::Expired(1)));
    // An age cannot be bounded without a beginning.
    time(&Window { max_age: Some(1), ..unbound }, "", 1000, Err(Untimely::NoCreated));
}
