//! Mutated input for each parser: it never panics, stays within bounds, and what it accepts is canonical.

use crate::fuzzing;
use crate::http::{
    Algorithm, ContentDigest, FieldKind, KnownFields, Limits, Request, Signatures, SigningKey, VerifyingKey,
};

const FIELDS: [(&str, &[u8]); 4] =
    [("a", b"1"), ("dict", b"a=1, b=(c d);e"), ("content-digest", b"sha-256=:AA==:"), ("list", b"a, b")];
const KNOWN: KnownFields<'static> =
    KnownFields::with(&[("dict", FieldKind::Dictionary), ("list", FieldKind::List), ("item", FieldKind::Item)]);

#[test]
fn fuzz_signature_input() {
    let seeds = [
        "sig1=(\"@method\" \"@target-uri\" \"content-digest\";req);created=1618884473;keyid=\"test\"",
        "a=(\"dict\";key=\"b\" \"list\";sf \"a\";bs);expires=1;nonce=\"\\\"\";tag=\"t\", b=();alg=\"ed25519\"",
        "s=(\"@query-param\";name=\"x\" \"@status\" \"@path\" \"@query\" \"@authority\" \"@scheme\" \"@request-target\")",
    ];
    let limits = Limits { components: 6, ..Limits::default() };
    let request = Request::new("GET", "https", "example.com", "/a?x=1", &FIELDS);
    fuzzing::run("signature_input", &seeds, |input| {
        let signatures =
            Signatures::parse(&[("signature-input", input)], &limits).map_err(|flaw| format!("{flaw:?}").len())?;
        assert!(signatures.len() <= limits.signatures);
        let mut seen = Vec::new();
        for signature in signatures.iter() {
            let Ok(parameters) = signature.parameters() else { continue };
            assert!(parameters.components().len() <= limits.components);
            let again = [("signature-input", format!("{}={}", signature.label(), parameters.text()))];
            let again = Signatures::parse(&again, &limits).expect("what is written is read");
            let same = again.get(signature.label()).expect("there").parameters().expect("sound");
            assert_eq!(same.text(), parameters.text(), "what is written is canonical");
            let base = signature.base(&request, &KNOWN);
            if let Ok(base) = &base {
                assert!(base.as_str().is_ascii());
                assert_eq!(base.lines().count(), parameters.components().len() + 1);
                for (line, component) in base.lines().zip(parameters.components()) {
                    assert_eq!(line.identifier, component.identifier());
                }
                assert_eq!(base.compare(base.as_str()), None);
            }
            seen.push((parameters.components().len(), parameters.created.is_some(), base.is_ok()));
        }
        Ok::<_, usize>(seen)
    });
}

#[test]
fn fuzz_signature_field() {
    let seeds = ["a=:AAAA:, b=:AQ==:", "a=:AAAA:;x=1", "c=:/+8=:"];
    fuzzing::run("signature_field", &seeds, |input| {
        let fields: [(&str, &[u8]); 2] = [("signature-input", b"a=(), b=()"), ("signature", input)];
        let signatures = Signatures::parse(&fields, &Limits::default()).map_err(|flaw| format!("{flaw:?}").len())?;
        assert_eq!(signatures.len(), 2);
        Ok::<_, usize>(signatures.iter().map(|it| it.bytes().map_or(0, <[u8]>::len)).collect::<Vec<_>>())
    });
}

#[test]
fn fuzz_field_value() {
    let seeds = ["a=1, b=(c   d);e", "  folded\r\n  line \t", "\"a\", ?1, :AA==:"];
    let input_field = [(
        "signature-input",
        "p=(\"x\"), w=(\"x\";bs), l=(\"list\";sf), d=(\"dict\";sf), i=(\"item\";sf), k=(\"dict\";key=\"a\")",
    )];
    let signatures = Signatures::parse(&input_field, &Limits::default()).expect("sound");
    fuzzing::run("field_value", &seeds, |input| {
        let fields = [("x", input), ("list", input), ("dict", input), ("item", input)];
        let request = Request::new("GET", "https", "example.com", "/", &fields);
        let mut answers = Vec::new();
        for signature in signatures.iter() {
            let base = signature.base(&request, &KNOWN);
            if let Ok(base) = &base {
                assert!(base.as_str().bytes().all(|byte| matches!(byte, b'\t' | b'\n' | b' '..=b'~')));
                assert_eq!(base.lines().count(), 2);
                let value = base.lines().next().expect("a line").value;
                let again = [("list", value), ("dict", value), ("item", value)];
                if matches!(signature.label(), "l" | "d" | "i") && !value.is_empty() {
                    let request = Request::new("GET", "https", "example.com", "/", &again);
                    assert_eq!(signature.base(&request, &KNOWN).as_ref(), Ok(base), "what is written is canonical");
                }
            }
            answers.push(base.is_ok());
        }
        answers
    });
}

#[test]
fn fuzz_content_digest() {
    let good = ContentDigest::of(b"a", crate::http::DigestAlgorithm::Sha256).to_string();
    let seeds =
        [good.as_str(), "md5=:Sd/dVLAcvNLSq16eXua5uQ==:, sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"];
    fuzzing::run("content_digest", &seeds, |input| {
        let digest = ContentDigest::parse([input]).map_err(|error| format!("{error:?}").len())?;
        assert_eq!(ContentDigest::parse([digest.to_string()]), Ok(digest), "what is written is read");
        Ok::<_, usize>(digest.algorithms().count())
    });
}

#[test]
fn fuzz_key_text() {
    let seeds = [
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----",
        r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#,
        r#"{"kty":"EC","crv":"P-256","d":"UpuF81l-kOxbjf7T4mNSv0r5tN67Gim7rnf6EFpcYDs","x":"qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA","y":"Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"}"#,
        r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAA","key_ops":["sign","verify"]}"#,
    ];
    fuzzing::run("key_text", &seeds, |input| {
        let text = String::from_utf8_lossy(input);
        let read = |algorithm| {
            let told = |error: crate::http::KeyRefused| format!("{error:?}");
            [
                VerifyingKey::from_pem(&text, algorithm).map_or_else(told, |_| String::new()),
                VerifyingKey::from_jwk(&text, algorithm).map_or_else(told, |_| String::new()),
                SigningKey::from_pem(&text, algorithm).map_or_else(told, |_| String::new()),
                SigningKey::from_jwk(&text, algorithm).map_or_else(told, |_| String::new()),
            ]
        };
        Algorithm::ALL.map(read)
    });
}
