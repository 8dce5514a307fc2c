//! What must not be accepted: flaws of the fields (RFC 9421, sections 2.5 and 4), bounds, and wrong signatures.

use crate::http::{
    Algorithm, Choice, ContentDigest, DigestError, Failure, Flaw, KnownFields, Limits, NotChosen, Request, SignError,
    Signatures, Signer, Stamp, VerifyingKey,
};

use super::{SECRET, secret_keys};

fn parse(lines: &[(&str, &str)]) -> Result<Signatures, Flaw> {
    Signatures::parse(&lines.to_vec(), &Limits::default())
}

/// What is wrong with a signature of these components and parameters.
#[track_caller]
fn flaw(list: &str) -> Flaw {
    let signatures = parse(&[("signature-input", &format!("s={list}, t=();tag=\"fine\""))]).expect("two signatures");
    assert!(signatures.get("t").expect("there").parameters().is_ok(), "{list}: the other one is unharmed");
    signatures.get("s").expect("there").parameters().expect_err(list)
}

#[test]
fn components_that_are_not_understood_are_flaws() {
    for list in
        ["(\"@other\")", "(\"@signature-params\")", "(\"@\")", "(\"Content-Type\")", "(\"\")", "(\"a b\")", "(\"a:\")"]
    {
        assert!(matches!(flaw(list), Flaw::UnknownComponent { .. }), "{list}");
    }
    for list in ["(\"a\";x)", "(\"@method\";x=1)", "(\"a\";sf;s=1)"] {
        assert!(matches!(flaw(list), Flaw::UnknownParameter { .. }), "{list}");
    }
    for list in ["(\"a\";tr)", "(\"a\";req;tr)"] {
        assert!(matches!(flaw(list), Flaw::Trailer { .. }), "{list}");
    }
    for list in [
        "(\"a\";bs;sf)",
        "(\"a\";bs;key=\"b\")",
        "(\"a\";sf=?0)",
        "(\"a\";sf=1)",
        "(\"a\";sf;sf)",
        "(\"a\";req=\"x\")",
        "(\"a\";key)",
        "(\"a\";key=b)",
        "(\"a\";key=\"b\";key=\"c\")",
        "(\"a\";name=\"b\")",
        "(\"@method\";sf)",
        "(\"@method\";bs)",
        "(\"@method\";key=\"a\")",
        "(\"@method\";name=\"a\")",
        "(\"@query-param\")",
        "(\"@query-param\";name)",
        "(\"@query-param\";name=a)",
        "(\"@query-param\";name=\"a\";sf)",
        "(\"@status\";req)",
        "(\"@status\";key=\"a\")",
    ] {
        assert!(matches!(flaw(list), Flaw::WrongParameter { .. }), "{list}: {}", flaw(list));
    }
}

#[test]
fn a_component_is_covered_once() {
    for list in [
        "(\"a\" \"a\")",
        "(\"a\" \"b\" \"a\")",
        "(\"a\";sf;req \"a\";req;sf)",
        "(\"a\";key=\"b\";req \"a\";req;key=\"b\")",
        "(\"@method\" \"@method\")",
        "(\"@query-param\";name=\"a\" \"@query-param\";name=\"a\")",
    ] {
        assert!(matches!(flaw(list), Flaw::CoveredTwice { .. }), "{list}");
    }
    let fine = "s=(\"a\" \"a\";sf \"a\";bs \"a\";req \"a\";key=\"b\" \"a\";key=\"c\")";
    assert!(parse(&[("signature-input", fine)]).expect("sound").get("s").expect("there").parameters().is_ok());
}

#[test]
fn parameters_have_their_types_and_occur_once() {
    for list in [
        "();created=\"1\"",
        "();created=1.0",
        "();created",
        "();expires=@1",
        "();nonce=1",
        "();alg=hmac",
        "();keyid",
        "();tag=:AA==:",
    ] {
        assert!(matches!(flaw(list), Flaw::ParameterType { .. }), "{list}");
    }
    for list in ["();created=1;created=1", "();tag=\"a\";tag=\"b\"", "();alg=\"a\";x;alg=\"a\""] {
        assert!(matches!(flaw(list), Flaw::ParameterTwice { .. }), "{list}");
    }
}

#[test]
fn fields_of_another_form_are_refused() {
    for (input, signature) in [
        ("s", ""),
        ("s=1", ""),
        ("s=\"a\"", ""),
        ("s=(1)", ""),
        ("s=(a)", ""),
        ("s=(\"a\"", ""),
        ("s=(\"a\"),", ""),
        ("S=()", ""),
        ("s=(\"é\")", ""),
        ("s=()", "s=1"),
        ("s=()", "s=(:AA==:)"),
        ("s=()", "s"),
        ("s=()", "s=:*:"),
        ("s=()", "s=:AA=="),
        ("s=()", "t=\"a\""),
    ] {
        let read = parse(&[("signature-input", input), ("signature", signature)]);
        assert!(matches!(read, Err(Flaw::Malformed { .. } | Flaw::WrongType { .. })), "{input} {signature}: {read:?}");
    }
}

#[test]
fn a_label_stands_once() {
    let twice = |lines: &[(&str, &str)]| matches!(parse(lines), Err(Flaw::LabelTwice { label, .. }) if label == "s");
    assert!(twice(&[("signature-input", "s=(), s=()")]));
    assert!(twice(&[("signature-input", "s=()"), ("signature-input", "s=(\"a\")")]));
    assert!(twice(&[("signature-input", "s=()"), ("signature", "s=:AA==:, s=:AA==:")]));
    assert!(twice(&[("signature-input", "s=()"), ("signature", "s=:AA==:"), ("signature", "s=:AQ==:")]));
}

#[test]
fn labels_need_not_come_in_pairs() {
    let signatures = parse(&[("signature-input", "s=()"), ("signature", "t=:AA==:")]).expect("sound");
    assert_eq!(signatures.len(), 1);
    assert_eq!(signatures.get("s").expect("there").bytes(), Err(Flaw::NoSignature { label: "s".to_owned() }));
    assert!(parse(&[]).expect("sound").is_empty());
}

#[test]
fn there_are_bounds() {
    let limits = Limits { bytes: 200, signatures: 2, components: 3, parameters: 2 };
    let read = |name: &'static str, text: &str| Signatures::parse(&[(name, text)], &limits);
    let too_many = |read: Result<Signatures, Flaw>| matches!(read, Err(Flaw::TooMany { .. }));
    assert!(read("signature-input", "a=(), b=()").is_ok());
    assert!(too_many(read("signature-input", "a=(), b=(), c=()")));
    assert!(read("signature-input", "a=(\"a\" \"b\" \"c\")").is_ok());
    assert!(too_many(read("signature-input", "a=(\"a\" \"b\" \"c\" \"d\")")));
    assert!(read("signature-input", "a=();x;y").is_ok());
    assert!(too_many(read("signature-input", "a=();x;y;z")));
    assert!(too_many(read("signature-input", "a=(\"a\";a;b;c;d;e;f;g;h;i)")));
    assert!(read("signature", "a=:AA==:, b=:AA==:, c=:AA==:, d=:AA==:").is_ok());
    assert!(too_many(read("signature", "a=:AA==:, b=:AA==:, c=:AA==:, d=:AA==:, e=:AA==:")));
    for name in ["signature-input", "signature"] {
        assert!(read(name, &" ".repeat(199)).is_ok());
        assert!(too_many(read(name, &" ".repeat(200))));
        let lines = vec![(name, ""); 201];
        assert!(too_many(Signatures::parse(&lines, &limits)));
    }
}

#[test]
fn one_signature_is_chosen() {
    let input = "a=();tag=\"x\";keyid=\"1\", b=();tag=\"x\";keyid=\"2\", c=();keyid=\"2\", d=(\"@none\");tag=\"z\"";
    let signatures = parse(&[("signature-input", input)]).expect("sound");
    let chosen = |tag, keyid, label| signatures.choose(&Choice { tag, keyid, label }).map(|it| it.label());
    assert_eq!(chosen(Some("x"), Some("1"), None), Ok("a"));
    assert_eq!(chosen(None, None, Some("c")), Ok("c"));
    assert_eq!(chosen(Some("y"), None, None), Err(NotChosen::None));
    assert_eq!(chosen(Some("x"), Some("1"), Some("b")), Err(NotChosen::None));
    let several =
        |labels: &[&str]| Err(NotChosen::Several { labels: labels.iter().map(ToString::to_string).collect() });
    assert_eq!(chosen(Some("x"), None, None), several(&["a", "b"]));
    assert_eq!(chosen(None, Some("2"), None), several(&["b", "c"]));
    // One with a flaw can be chosen, so that its flaw is what is told.
    assert_eq!(chosen(Some("z"), None, None), Ok("d"));
    let flawed = signatures.get("d").expect("there");
    let request = Request::new("GET", "https", "example.com", "/", &[("a", "b")]);
    assert!(flawed.base(&request, &KnownFields::STANDARD).is_err());
}

#[test]
fn the_key_decides_the_algorithm() {
    let (signing, verifying) = secret_keys();
    let request = Request::new("GET", "https", "example.com", "/", &[("a", "b")]);
    let signer = Signer::new("s", &["@method"]).expect("sound").naming_algorithm();
    let signed = signer.sign(&request, &Stamp::default(), &signing, &KnownFields::STANDARD).expect("signed");
    let check = |input: &str| {
        let signatures = parse(&[("signature-input", input), ("signature", &signed.signature)]).expect("sound");
        let signature = signatures.get("s").expect("there");
        let base = signature.base(&request, &KnownFields::STANDARD).expect("a base");
        signature.verify(&base, &verifying)
    };
    assert_eq!(signed.signature_input, "s=(\"@method\");alg=\"hmac-sha256\"");
    assert_eq!(check(&signed.signature_input), Ok(()));
    let disagrees = check("s=(\"@method\");alg=\"ed25519\"");
    assert_eq!(disagrees, Err(Failure::Algorithm { named: "ed25519".to_owned(), key: Algorithm::HmacSha256 }));
    assert!(matches!(check("s=(\"@method\");alg=\"none\""), Err(Failure::Algorithm { .. })));
    assert_eq!(check("s=(\"@method\")"), Err(Failure::Mismatch), "the parameters are signed");
}

#[test]
fn another_message_another_key_and_other_bytes_do_not_verify() {
    let (signing, verifying) = secret_keys();
    let request = Request::new("GET", "https", "example.com", "/a", &[("a", "b")]);
    let signer = Signer::new("s", &["@method", "@path", "a"]).expect("sound");
    let stamp = Stamp { created: Some(1), ..Stamp::default() };
    let signed = signer.sign(&request, &stamp, &signing, &KnownFields::STANDARD).expect("signed");
    let fields = [("signature-input", signed.signature_input), ("signature", signed.signature)];
    let signatures = Signatures::parse(&fields, &Limits::default()).expect("sound");
    let signature = signatures.get("s").expect("there");
    assert_eq!(signature.verify(&signed.base, &verifying), Ok(()));
    let other = VerifyingKey::hmac(b"another secret of the same sort!").expect("a key");
    assert_eq!(signature.verify(&signed.base, &other), Err(Failure::Mismatch));
    for changed in [
        Request { method: "get", ..request },
        Request { path: Some("/A"), ..request },
        Request { fields: &[("a", "b"), ("a", "b")], ..request },
    ] {
        let base = signature.base(&changed, &KnownFields::STANDARD).expect("a base");
        assert_eq!(signature.verify(&base, &verifying), Err(Failure::Mismatch));
    }
    for bytes in [&b""[..], SECRET, &[0; 32], &[0; 33]] {
        assert_eq!(verifying.verify(signed.base.as_str().as_bytes(), bytes), Err(Failure::Mismatch));
    }
}

#[test]
fn what_cannot_be_written_is_not_signed() {
    let (signing, _) = secret_keys();
    let request = Request::new("GET", "https", "example.com", "/", &[("a", "b")]);
    for label in ["", "S", "a b", "é", "1"] {
        assert!(Signer::new(label, &[]).is_err(), "{label}");
    }
    for component in ["", "@other", "A", "a;x", "a;sf;bs", "a b", "a\"", "\"a", "a;tr", "@query-param", "1;2", "a;key="]
    {
        assert!(Signer::new("s", &[component]).is_err(), "{component}");
    }
    assert!(Signer::new("s", &["@method", "\"@method\""]).is_err(), "twice");
    let signer = Signer::new("s", &["@method"]).expect("sound");
    let fails = |signer: Signer, stamp: Stamp<'_>, what| {
        let error = signer.sign(&request, &stamp, &signing, &KnownFields::STANDARD).expect_err(what);
        assert_eq!(error, SignError::Parameter(what));
    };
    fails(signer.clone().keyid("a\nb"), Stamp::default(), "keyid");
    fails(signer.clone().tag("é"), Stamp::default(), "tag");
    fails(signer.clone(), Stamp { nonce: Some("\0"), ..Stamp::default() }, "nonce");
    fails(signer.clone(), Stamp { created: Some(i64::MAX), ..Stamp::default() }, "created");
    fails(signer, Stamp { expires: Some(-1_000_000_000_000_000), ..Stamp::default() }, "expires");
    let lacking = Signer::new("s", &["b"]).expect("sound");
    let error = lacking.sign(&request, &Stamp::default(), &signing, &KnownFields::STANDARD).expect_err("absent");
    assert_eq!(error.to_string(), "the message has no \"b\"");
}

#[test]
fn a_digest_field_is_bounded_and_unambiguous() {
    const SHA: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    let twice = Err(DigestError::Twice("sha-256".to_owned()));
    assert_eq!(ContentDigest::parse([format!("{SHA}, {SHA}")]), twice);
    assert_eq!(ContentDigest::parse([SHA, SHA]), twice);
    assert_eq!(ContentDigest::parse([format!("a=:AA==:, {SHA}, a=:AA==:")]), Err(DigestError::Twice("a".to_owned())));
    let members = |count: usize| (1..count).map(|number| format!(", a{number}=::")).collect::<String>();
    assert!(ContentDigest::parse([format!("{SHA}{}", members(16))]).is_ok());
    assert_eq!(ContentDigest::parse([format!("{SHA}{}", members(17))]), Err(DigestError::TooLarge));
    let spaces = |count: usize| format!("{SHA}{}", " ".repeat(count - SHA.len()));
    assert!(ContentDigest::parse([spaces(4_095)]).is_ok());
    assert_eq!(ContentDigest::parse([spaces(4_096)]), Err(DigestError::TooLarge));
    for odd in [
        "sha-256",
        "sha-256=1",
        "sha-256=(:AA==:)",
        "sha-256=:AA==:",
        "sha-512=:AA==:",
        "md5=x",
        "sha-256=:*:",
        "SHA-256=:AA==:",
    ] {
        assert!(matches!(ContentDigest::parse([odd]), Err(DigestError::Malformed(_))), "{odd}");
    }
    let none: [&str; 0] = [];
    assert_eq!(ContentDigest::parse(none), Err(DigestError::NoneKnown));
    assert_eq!(ContentDigest::parse([""]), Err(DigestError::NoneKnown));
}
