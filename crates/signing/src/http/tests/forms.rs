//! The values of components, where a message can be written in several ways.

use crate::http::{ContentDigest, FieldKind, KnownFields, Request, Response, Signatures, Signer, Stamp};

use super::{base_of, base_of_response, base_with, secret_keys, value_of};

const NONE: [(&str, &str); 0] = [];

#[track_caller]
fn authority(scheme: &str, authority: &str, expected: &str) {
    let request = Request::new("GET", scheme, authority, "/", &NONE);
    assert_eq!(value_of(&request, "\"@authority\""), expected, "{scheme}://{authority}");
    assert_eq!(value_of(&request, "\"@target-uri\""), format!("{}://{expected}/", scheme.to_ascii_lowercase()));
}

#[test]
fn the_authority_is_in_lower_case_and_without_the_default_port() {
    authority("https", "Example.COM", "example.com");
    authority("https", "example.com:443", "example.com");
    authority("HTTPS", "example.com:443", "example.com");
    authority("https", "example.com:80", "example.com:80");
    authority("http", "example.com:80", "example.com");
    authority("http", "example.com:443", "example.com:443");
    authority("https", "example.com:", "example.com");
    authority("https", "example.com:8443", "example.com:8443");
    authority("https", "[2001:DB8::1]", "[2001:db8::1]");
    authority("https", "[2001:db8::443]", "[2001:db8::443]");
    authority("https", "[2001:db8::1]:443", "[2001:db8::1]");
    authority("https", "[::1]:444", "[::1]:444");
}

#[test]
fn an_authority_with_more_than_host_and_port_is_refused() {
    for odd in ["", "user@example.com", "example.com/a", "example.com?a", "a b\n", "exämple.com"] {
        let request = Request::new("GET", "https", odd, "/", &NONE);
        assert!(base_of(&request, "\"@authority\"").is_err(), "{odd}");
        assert!(base_of(&request, "\"@target-uri\"").is_err(), "{odd}");
    }
}

#[test]
fn the_target_uri_is_put_together() {
    let uri = |method, target| {
        base_of(&Request::new(method, "https", "example.com", target, &NONE), "\"@target-uri\"")
            .map(|base| base.lines().next().expect("a line")["\"@target-uri\": ".len()..].to_owned())
    };
    assert_eq!(uri("GET", "/a?b").as_deref(), Ok("https://example.com/a?b"));
    assert_eq!(uri("GET", "/a?").as_deref(), Ok("https://example.com/a?"));
    assert_eq!(uri("GET", "https://example.com?b").as_deref(), Ok("https://example.com/?b"));
    assert_eq!(uri("GET", "/%7Ea/../B").as_deref(), Ok("https://example.com/%7Ea/../B"));
    assert_eq!(uri("OPTIONS", "*").as_deref(), Ok("https://example.com"));
    assert!(uri("CONNECT", "example.com:443").is_err());
}

#[test]
fn what_has_no_path_has_no_path_to_cover() {
    for (method, target) in [("OPTIONS", "*"), ("CONNECT", "example.com:443")] {
        let request = Request::new(method, "https", "example.com", target, &NONE);
        for component in ["\"@path\"", "\"@query\"", "\"@query-param\";name=\"a\""] {
            assert!(base_of(&request, component).is_err(), "{method} {component}");
        }
    }
}

#[test]
fn lines_of_a_field_are_trimmed_unfolded_and_joined() {
    let value = |lines: &[&[u8]]| {
        let fields: Vec<_> = lines.iter().map(|line| ("X", *line)).collect();
        let request = Request::new("GET", "https", "example.com", "/", &fields);
        base_of(&request, "\"x\"").map(|base| base.lines().next().expect("a line")["\"x\": ".len()..].to_owned())
    };
    assert_eq!(value(&[b" \t a\t b \t"]).as_deref(), Ok("a\t b"));
    assert_eq!(value(&[b"a", b"", b"b"]).as_deref(), Ok("a, , b"));
    assert_eq!(value(&[b"a \r\n \t b\r\n c"]).as_deref(), Ok("a b c"));
    assert_eq!(value(&[b"a\n b"]).as_deref(), Ok("a b"));
    for odd in [&b"a\r\nb"[..], b"a\nb", b"a\rb", b"a\0b", b"a\x7fb", b"a\x0bb", "é".as_bytes(), b"\xff"] {
        assert!(value(&[odd]).is_err(), "{}", odd.escape_ascii());
    }
}

#[test]
fn no_value_makes_a_line_of_its_own() {
    let fields = [("x", "a\n\"@method\": DELETE")];
    let request = Request::new("GET", "https", "example.com", "/a\nb", &fields);
    assert!(base_of(&request, "\"x\"").is_err());
    assert!(base_of(&request, "\"@path\"").is_err());
    assert!(base_of(&request, "\"@request-target\"").is_err());
    let request = Request::new("GET\nPOST", "https", "example.com", "/ ", &fields);
    assert!(base_of(&request, "\"@method\"").is_err());
    assert!(base_of(&request, "\"@path\"").is_err(), "a space at the end");
}

#[test]
fn wrapped_lines_may_hold_any_bytes() {
    let fields: [(&str, &[u8]); 2] = [("x", b" \xff\t"), ("x", b"")];
    let request = Request::new("GET", "https", "example.com", "/", &fields);
    assert_eq!(value_of(&request, "\"x\";bs"), ":/w==:, ::");
}

#[test]
fn structured_fields_are_written_anew() {
    let known = KnownFields::with(&[
        ("x-item", FieldKind::Item),
        ("x-list", FieldKind::List),
        ("x-dict", FieldKind::Dictionary),
    ]);
    let fields = [
        ("x-item", " 1.50;  a=?1 "),
        ("x-list", "a,   b;x"),
        ("x-list", "(1   2)"),
        ("x-dict", "a=1,  b"),
        ("x-dict", "a=2"),
        ("x-two", "1"),
        ("x-two", "2"),
        ("priority", "u=1,i"),
    ];
    let request = Request::new("GET", "https", "example.com", "/", &fields);
    let value = |component: &str| {
        base_with(&request, component, &known).map(|base| base.lines().next().expect("a line").to_owned())
    };
    assert_eq!(value("\"x-item\";sf").as_deref(), Ok("\"x-item\";sf: 1.5;a"));
    assert_eq!(value("\"x-list\";sf").as_deref(), Ok("\"x-list\";sf: a, b;x, (1 2)"));
    assert_eq!(value("\"x-dict\";sf").as_deref(), Ok("\"x-dict\";sf: a=2, b"));
    assert_eq!(value("\"x-dict\";sf;key=\"a\"").as_deref(), Ok("\"x-dict\";sf;key=\"a\": 2"));
    assert_eq!(value("\"priority\";key=\"i\"").as_deref(), Ok("\"priority\";key=\"i\": ?1"));
    for odd in
        ["\"x-two\";sf", "\"x-two\";key=\"a\"", "\"x-list\";key=\"a\"", "\"x-dict\";key=\"c\"", "\"x-dict\";key=\"A\""]
    {
        assert!(value(odd).is_err(), "{odd}");
    }
    let known = KnownFields::with(&[("x-two", FieldKind::Item), ("x-list", FieldKind::Dictionary)]);
    assert!(base_with(&request, "\"x-two\";sf", &known).is_err(), "two lines of an item");
    assert!(base_with(&request, "\"x-list\";sf", &known).is_err(), "a list is no dictionary");
}

#[test]
fn no_string_goes_on_in_another_line() {
    let known = KnownFields::with(&[("x", FieldKind::Dictionary)]);
    let fields = [("x", "a=\"1"), ("x", "2\"")];
    let request = Request::new("GET", "https", "example.com", "/", &fields);
    assert!(base_with(&request, "\"x\";sf", &known).is_err());
    let input = [("signature-input", "a=(\"x"), ("signature-input", "y\")")];
    assert!(Signatures::parse(&input, &crate::http::Limits::default()).is_err());
}

#[test]
fn of_several_lines_of_a_structured_field_none_is_empty() {
    let known = KnownFields::with(&[("x", FieldKind::Dictionary), ("y", FieldKind::List)]);
    let fields = [("x", "a=1"), ("x", " "), ("y", ""), ("y", "1")];
    let request = Request::new("GET", "https", "example.com", "/", &fields);
    for component in ["\"x\";sf", "\"x\";key=\"a\"", "\"y\";sf"] {
        assert!(base_with(&request, component, &known).is_err(), "{component}");
    }
    for name in ["signature-input", "signature"] {
        assert!(Signatures::parse(&[(name, ""), (name, "\t")], &crate::http::Limits::default()).is_err());
    }
    let empty = [("signature-input", "\t a=() \t"), ("signature", " \t")];
    assert_eq!(Signatures::parse(&empty, &crate::http::Limits::default()).expect("sound").len(), 1);
    let sha = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    assert!(ContentDigest::parse(["\t", sha]).is_err());
    assert!(ContentDigest::parse([sha, ""]).is_err());
    assert!(ContentDigest::parse(["md5=:AA==:", sha]).is_ok());
}

#[test]
fn the_table_of_known_fields_is_in_order() {
    for (name, kind) in [
        ("accept-ch", FieldKind::List),
        ("client-cert", FieldKind::Item),
        ("content-digest", FieldKind::Dictionary),
        ("want-repr-digest", FieldKind::Dictionary),
    ] {
        assert_eq!(KnownFields::STANDARD.kind(name), Some(kind), "{name}");
    }
    assert_eq!(KnownFields::STANDARD.kind("x"), None);
    assert_eq!(KnownFields::with(&[("priority", FieldKind::Item)]).kind("priority"), Some(FieldKind::Item));
}

#[test]
fn several_cookies_need_to_be_wrapped() {
    let fields = [("set-cookie", "a=1; Expires=Wed, 09 Jun 2027"), ("set-cookie", "b=2")];
    let response = Response { status: 200, fields: &fields, request: None };
    assert!(base_of_response(&response, "\"set-cookie\"").is_err());
    assert!(base_of_response(&response, "\"set-cookie\";bs").is_ok());
    let response = Response { status: 200, fields: &fields[..1].to_vec(), request: None };
    assert!(base_of_response(&response, "\"set-cookie\"").is_ok());
}

#[test]
fn a_response_covers_itself_and_its_request() {
    let fields = [("content-type", "text/plain")];
    let asked = [("content-type", "application/json"), ("signature", "sig1=:AAAA:")];
    let request = Request::new("PUT", "https", "example.com", "/a", &asked);
    let response = Response { status: 7, fields: &fields, request: Some(&request) };
    let components = "\"@status\" \"content-type\" \"content-type\";req \"@method\";req \"signature\";req;key=\"sig1\"";
    let expected = "\"@status\": 007\n\"content-type\": text/plain\n\"content-type\";req: application/json\n\
                    \"@method\";req: PUT\n\"signature\";req;key=\"sig1\": :AAAA:\n\
                    \"@signature-params\": (\"@status\" \"content-type\" \"content-type\";req \"@method\";req \
                    \"signature\";req;key=\"sig1\")";
    assert_eq!(base_of_response(&response, components).as_deref(), Ok(expected));
    for odd in ["\"@method\"", "\"@path\"", "\"@status\";req", "\"@authority\"", "\"accept\";req"] {
        assert!(base_of_response(&response, odd).is_err(), "{odd}");
    }
    let alone = Response { status: 200, fields: &fields, request: None };
    assert!(base_of_response(&alone, "\"@method\";req").is_err());
    for odd in ["\"@method\";req", "\"content-type\";req", "\"@status\""] {
        assert!(base_of(&request, odd).is_err(), "{odd}");
    }
}

#[test]
fn the_parameters_are_kept_in_their_order() {
    let input = "s=(  \"b\"   \"a\";req;key=\"x\\\"\" );x=1.50;tag=\"t\";y=tok/en;  z=:AAA=:;created=1;w=?0;v;u=@1;t=%\"%c3%bc\"";
    let expected =
        "(\"b\" \"a\";req;key=\"x\\\"\");x=1.5;tag=\"t\";y=tok/en;z=:AAA=:;created=1;w=?0;v;u=@1;t=%\"%c3%bc\"";
    let signatures = Signatures::parse(&[("signature-input", input)], &crate::http::Limits::default()).expect("sound");
    let parameters = signatures.get("s").expect("there").parameters().expect("sound");
    assert_eq!(parameters.text(), expected);
    assert_eq!((parameters.created, parameters.tag.as_deref()), (Some(1), Some("t")));
    let components: Vec<_> = parameters.components().map(|it| (it.identifier(), it.name(), it.key())).collect();
    assert_eq!(components, [("\"b\"", "b", None), ("\"a\";req;key=\"x\\\"\"", "a", Some("x\""))]);
    assert!(parameters.covers("b") && !parameters.covers("a"), "that one is of the request");
}

#[test]
fn bases_are_compared_line_by_line() {
    let fields = [("x", "1"), ("y: \"", "2")];
    let request = Request::new("GET", "https", "example.com", "/a", &fields);
    let (signing, _) = secret_keys();
    let signer = Signer::new("s", &["@method", "@path", "x"]).expect("sound");
    let base = signer.sign(&request, &Stamp::default(), &signing, &KnownFields::STANDARD).expect("signed").base;
    let same = base.as_str().to_owned();
    assert_eq!(base.compare(&same), None);
    let difference = base.compare(&same.replace("/a", "/b")).expect("one");
    assert_eq!(difference.to_string(), r#"line 2, character 11: "\"@path\": /a" here, "\"@path\": /b" there"#);
    let difference = base.compare(&format!("{same}\n")).expect("one");
    assert_eq!((difference.line, difference.ours, difference.theirs.as_deref()), (5, None, Some("")));
    let difference = base.compare("\"@method\": GET").expect("one");
    assert_eq!((difference.line, difference.theirs), (2, None));
    let crlf = base.compare(&same.replace('\n', "\r\n")).expect("one");
    assert_eq!((crlf.line, crlf.column), (1, 15));
    let identifiers: Vec<_> = base.lines().map(|line| line.identifier.to_owned()).collect();
    assert_eq!(identifiers, ["\"@method\"", "\"@path\"", "\"x\"", "\"@signature-params\""]);
    assert!(!format!("{base:?}").contains("GET"), "a base may hold secrets");
}

#[test]
fn a_line_is_parted_behind_its_identifier() {
    let known = KnownFields::with(&[("x", FieldKind::Dictionary)]);
    let fields = [("signature-input", "s=(\"@query-param\";name=\"a%3A%20\" \"@method\")")];
    let request = Request::new("GET", "https", "example.com", "/?a:+=b:%20c", &fields);
    let signatures = Signatures::parse(&fields, &crate::http::Limits::default()).expect("sound");
    let base = signatures.get("s").expect("there").base(&request, &known).expect("a base");
    let lines: Vec<_> = base.lines().collect();
    assert_eq!((lines[0].identifier, lines[0].value), ("\"@query-param\";name=\"a%3A%20\"", "b%3A%20c"));
    assert_eq!(lines[1].value, "GET");
    assert!(lines[2].value.starts_with("(\"@query-param\""));
}
