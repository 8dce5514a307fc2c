//! Input that somebody made to do harm: what is refused, the bounds, and fuzzing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fomalhaut::{
    Algorithm, Canonical, Dialect, EmptySecret, Head, MOST_BYTES, MOST_FIELDS, NotASignature, NotCanonical, NotOpened,
    Part, Signature, SigningKey,
};
use crate::fuzzing;

const HEAD: Head<'_> = Head { method: b"GET", target: b"/e/v1/", host: b"a" };

fn key() -> SigningKey {
    SigningKey::new(b"1234").expect("a secret")
}

fn fo(fields: &[(&str, &[u8])]) -> Result<String, NotCanonical> {
    let fields = fields.iter().map(|(name, value)| (*name, *value));
    Canonical::request(Dialect::Fo, HEAD, fields).map(|canonical| canonical.as_str().to_owned())
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let head = |head| Canonical::request::<str, str>(Dialect::Fo, head, []).map(|_| ());
    assert_eq!(head(HEAD), Ok(()));
    for method in ["", "get", "GEt", "GET ", "GET\n/", "G\u{e9}T"] {
        assert_eq!(head(Head { method: method.as_bytes(), ..HEAD }), Err(NotCanonical::Method), "{method}");
    }
    for target in ["", "/a b", "/a\n", "/a\r", "/\0", "/\t", "/\u{7f}"] {
        assert_eq!(head(Head { target: target.as_bytes(), ..HEAD }), Err(NotCanonical::Target), "{target:?}");
    }
    for value in ["a\nx-fo-b: c", "a\r", "\n", "a\0b"] {
        assert_eq!(head(Head { host: value.as_bytes(), ..HEAD }), Err(NotCanonical::Value), "{value:?}");
        assert_eq!(fo(&[("x-fo-a", value.as_bytes())]), Err(NotCanonical::Value), "{value:?}");
        assert!(fo(&[("accept", value.as_bytes()), ("x-fo-signature", value.as_bytes())]).is_ok());
    }
    for name in ["x-fo-a: b", "x-fo-a:", "x-fo a", "x-fo-\n", "x-fo-é", "x-fo-a "] {
        assert_eq!(fo(&[(name, b"")]), Err(NotCanonical::Name), "{name:?}");
    }
}

#[test]
fn the_head_is_iso_8859_1() {
    assert_eq!(
        fo(&[("x-fo-a", b"\xa0\x85\x1f \xfc\x1f\xa0\xe4\x0b\xa0")]).as_deref(),
        Ok("GET\n/e/v1/\nhost: a\nx-fo-a: ü\u{1f}\u{a0}ä\n")
    );
    assert_eq!(fo(&[("x-fo-a", "é".as_bytes())]).as_deref(), Ok("GET\n/e/v1/\nhost: a\nx-fo-a: Ã©\n"));
}

#[test]
fn a_message_without_signed_fields_has_an_empty_line() {
    let canonical = Canonical::response(Dialect::Api, b"GET", b"/", [("X-Fo-Nonce", "1")]).expect("canonical");
    assert_eq!(canonical.as_str(), "GET\n/\n\n");
    assert_eq!((canonical.lines().count(), canonical.method(), canonical.target()), (0, "GET", "/"));
    assert_eq!(canonical.compare(b"b", b"GET\n/\n\nb"), None);
    assert_eq!(canonical.compare(b"b", b"GET\n/\nb").map(|found| found.part), Some(Part::Field));
    let forwarded = Canonical::response(Dialect::Fo, b"GET", b"/", [("X-Forwarded-For", "1")]).expect("canonical");
    assert_eq!(forwarded.without_forwarded(), Some(canonical));
}

#[test]
fn fields_and_bytes_have_bounds() {
    let name = |at: usize| format!("x-fo-{at}");
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(name).collect();
        fo(&names.iter().map(|name| (name.as_str(), &b"1"[..])).collect::<Vec<_>>())
    };
    assert!(many(MOST_FIELDS).is_ok());
    assert_eq!(many(MOST_FIELDS + 1), Err(NotCanonical::TooManyFields));
    let long = |bytes: usize| fo(&[("x-fo-a", &vec![b'a'; bytes])]).map(|_| ());
    let others = "GET/e/v1/ax-fo-a".len();
    assert_eq!(long(MOST_BYTES - others), Ok(()));
    assert_eq!(long(MOST_BYTES - others + 1), Err(NotCanonical::TooLong));
    let accept = [("accept", "a"); MOST_FIELDS + 1];
    assert!(Canonical::request(Dialect::Fo, HEAD, accept).is_ok(), "only signed fields count");
}

#[test]
fn a_signature_has_one_spelling() {
    let canonical = Canonical::request::<str, str>(Dialect::Fo, HEAD, []).expect("canonical");
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_= \n";
    for algorithm in Algorithm::ALL {
        let (dialect, signature) = (algorithm.dialect(), key().sign(algorithm, &canonical, b""));
        let text = signature.to_text().into_bytes();
        let mut spellings = 0;
        for at in 0..text.len() {
            for letter in LETTERS {
                let mut other = text.clone();
                other[at] = *letter;
                spellings += usize::from(Signature::read(dialect, &other) == Ok(signature));
            }
        }
        assert_eq!(spellings, text.len(), "only the letter that was there, in each place");
        let read = |text: &[u8]| Signature::read(dialect, text);
        for more in [&b"="[..], b" ", b"A", b"AA", b"AAAA", b"\n"] {
            assert_eq!(read(&[&text, more].concat()), Err(NotASignature));
            assert_eq!(read(&[more, &text].concat()), Err(NotASignature));
        }
        for length in 0..text.len() {
            assert_eq!(read(&text[..length]), Err(NotASignature));
        }
        let other = if dialect == Dialect::Fo { Dialect::Api } else { Dialect::Fo };
        assert_eq!(Signature::read(other, &text), Err(NotASignature));
    }
}

#[test]
fn the_same_mac_of_another_algorithm_is_another_signature() {
    let canonical = Canonical::request::<str, str>(Dialect::Fo, HEAD, []).expect("canonical");
    let signature = key().sign(Algorithm::HmacSha256, &canonical, b"");
    let other = Signature::new(Algorithm::HmacSha256OfSha1, signature.mac());
    assert_ne!(signature, other);
    assert!(key().start(Algorithm::HmacSha256, &canonical).verify(&signature).is_ok());
    assert!(key().start(Algorithm::HmacSha256, &canonical).verify(&other).is_err());
}

/// Seals bytes that are padded already.
fn sealed_as_is(blocks: &[u8]) -> String {
    let sealed = key().seal_with_iv(Dialect::Fo, blocks, [7; 16]);
    let mut bytes = STANDARD.decode(sealed).expect("base64");
    bytes.truncate(16 + blocks.len());
    STANDARD.encode(bytes)
}

#[test]
fn every_padding_of_1_to_32_equal_bytes_opens() {
    for blocks in 1..5 {
        for padding in 0..=u8::MAX {
            let length = blocks * 16;
            let mut plain = vec![b'a'; length];
            plain[length.saturating_sub(usize::from(padding))..].fill(padding);
            *plain.last_mut().expect("a block") = padding;
            let rest = length.checked_sub(usize::from(padding)).filter(|_| (1..=32).contains(&padding));
            let opened = key().open(sealed_as_is(&plain).as_bytes());
            assert_eq!(opened.as_deref(), rest.map(|rest| &plain[..rest]).ok_or(&NotOpened), "{padding} of {length}");
        }
    }
}

#[test]
fn a_wrong_byte_anywhere_in_the_padding_is_refused() {
    for padding in 1..=32_u8 {
        let start = 48 - usize::from(padding);
        let mut plain = vec![200; 48];
        plain[start..].fill(padding);
        assert!(key().open(sealed_as_is(&plain).as_bytes()).is_ok());
        for at in start..47 {
            let mut wrong = plain.clone();
            wrong[at] ^= 0x40;
            assert_eq!(key().open(sealed_as_is(&wrong).as_bytes()), Err(NotOpened), "byte {at}, padding {padding}");
        }
    }
}

#[test]
fn what_is_no_sealed_payload_does_not_open() {
    let good = key().seal(Dialect::Fo, b"hello");
    let spelled = good.replace('=', "");
    for text in ["", "=", "AAAA", &spelled, &format!("{good}\n"), &format!(" {good}"), &STANDARD.encode([0; 16])] {
        assert_eq!(key().open(text.as_bytes()), Err(NotOpened), "{text}");
    }
    for length in (0..80).filter(|length| length % 16 != 0) {
        assert_eq!(key().open(STANDARD.encode(vec![1; length]).as_bytes()), Err(NotOpened), "{length}");
    }
}

#[test]
fn secrets_do_not_show() {
    assert_eq!(SigningKey::new(b"").map(|_| ()), Err(EmptySecret));
    let canonical = Canonical::request(Dialect::Fo, HEAD, [("X-Fo-Access-Token", "s3cret")]).expect("canonical");
    let signature = key().sign(Algorithm::HmacSha1, &canonical, b"");
    let shown = format!("{:?} {canonical:?} {signature:?} {:?}", key(), key().start(Algorithm::HmacSha256, &canonical));
    assert_eq!(shown, "SigningKey(…) Canonical(45 bytes) Signature(HmacSha1) Signing(HmacSha256)");
    assert!(!canonical.explain().contains("s3cret"));
    let found =
        canonical.compare(b"", b"GET\n/e/v1/\nhost: a\nX-Fo-Access-Token : other1\n").expect("the case differs");
    assert_eq!(found.ours.as_deref(), Some("x-fo-access-token: [6 bytes]"));
    assert!(!found.to_string().contains("other1"));
}

/// Asserts which difference a person is told of.
fn tells(theirs: &str, expected: &str) {
    let fields = [("X-Fo-Nonce", "0.5"), ("X-Fo-App-Id", "abcd")];
    let canonical = Canonical::request(Dialect::Fo, HEAD, fields).expect("canonical");
    let found = canonical.compare(b"body", theirs.as_bytes()).map(|found| found.to_string()).unwrap_or_default();
    assert_eq!(found, expected);
}

#[test]
fn the_first_difference_is_told() {
    tells("GET\n/e/v1/\nhost: a\nx-fo-app-id: abcd\nx-fo-nonce: 0.5\nbody", "");
    tells("get\n/e/v1/\nhost: a\nx-fo-app-id: abcd\nx-fo-nonce: 0.5\nbody", r#"method: "GET" here, "get" there"#);
    tells("GET\r\n/e/v1/", r#"method: "GET" here, "GET\r" there"#);
    tells("GET", r#"target: "/e/v1/" is missing there, or is not in its place"#);
    tells("GET\n/e/v1/\nHost: a\n", r#"field: "host: a" here, "Host: a" there"#);
    tells("GET\n/e/v1/\nhost:a\n", r#"field: "host: a" here, "host:a" there"#);
    tells("GET\n/e/v1/\nx-fo-app-id: abcd\n", r#"field: "host: a" is missing there, or is not in its place"#);
    tells("GET\n/e/v1/\naccept: b\nhost: a\n", r#"field: "accept: b" does not belong there, or is not in its place"#);
    tells(
        "GET\n/e/v1/\nhost: a\nx-fo-app-id: abcd\nx-fo-nonce: 0.5\nx-fo-signature: b\nbody",
        r#"field: "x-fo-signature: b" does not belong there, or is not in its place"#,
    );
    tells(
        "GET\n/e/v1/\nhost: a\nx-fo-app-id: abcd\nx-fo-nonce: 0.5",
        r#"body: "\n" is missing there, or is not in its place"#,
    );
    tells(
        "GET\n/e/v1/\nhost: a\nx-fo-app-id: abcd\nx-fo-nonce: 0.5\nboDy",
        r#"body: differs from byte 2 on: "dy" here, "Dy" there"#,
    );
}

#[test]
fn asking_for_a_signature() {
    for (value, fo, api) in
        [(None, false, false), (Some("1"), true, true), (Some("true"), false, true), (Some(""), false, true)]
    {
        let value = value.map(str::as_bytes);
        assert_eq!(Dialect::Fo.asks_for_signature(value), fo);
        assert_eq!(Dialect::Api.asks_for_signature(value), api);
    }
}

#[test]
fn fuzz_canonical_string() {
    let seeds = [
        "GET /e/v1/ a\nX-Fo-Nonce: 0.5\nx-fo-app-id:abcd\nX-Forwarded-For: 192.0.2.1\nx-fo-nonce: 1\n",
        "POST /?q=1 b\nX-Api-Nonce: 0.5\nx-api-access-key: k\nX-Api-Signature: s\nAccept: */*\n",
    ];
    fuzzing::run("canonical_string", &seeds, |input| {
        let mut lines = input.split(|byte| *byte == b'\n');
        let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
        let mut word = || words.next().unwrap_or_default();
        let head = Head { method: word(), target: word(), host: word() };
        let fields: Vec<_> = lines
            .map(|line| line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(line.len())))
            .map(|(name, value)| (name, value.strip_prefix(b":").unwrap_or_default()))
            .collect();
        Dialect::ALL.map(|dialect| {
            let canonical = match Canonical::request(dialect, head, fields.iter().copied()) {
                Ok(canonical) => canonical,
                Err(error) => return Err(error.to_string()),
            };
            let parts: Vec<_> = [canonical.method(), canonical.target()].into_iter().chain(canonical.lines()).collect();
            assert_eq!(parts.join("\n") + "\n", canonical.as_str(), "the parts are the whole");
            assert!(parts[2..].is_sorted(), "lines are sorted");
            // The lines, read as ISO-8859-1 again, are fields that have the same canonical form.
            let again: Option<Vec<_>> = canonical.lines().skip(1).map(|line| line.split_once(": ")).collect();
            let again: Vec<_> =
                again.expect("lines are fields").into_iter().map(|(name, value)| (name, latin1(value))).collect();
            let again = again.iter().map(|(name, value)| (*name, value.as_slice()));
            assert_eq!(Canonical::request(dialect, head, again).as_ref(), Ok(&canonical), "the form is canonical");
            assert_eq!(canonical.compare(input, &[canonical.as_str().as_bytes(), input].concat()), None);
            let _ = canonical.compare(b"", input);
            Ok((parts.len(), canonical.without_forwarded().is_some(), canonical.explain().lines().count()))
        })
    });
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("ISO-8859-1")).collect()
}

#[test]
fn fuzz_signature_text() {
    let seeds = [
        "HlcraEVgsy8dBjk_MHf-gu0r9ZY",
        "HlcraEVgsy8dBjk_MHf-gu0r9ZZ",
        "WOMRQkYtRtfa1e_A0U0hz3y-WMX3VGo-WZ2nQ1zvVjE",
        "JOCHUIWaRtT7Wl5DdTzn5cqCBrOaGQzPyFLH3jDF00M=",
    ];
    fuzzing::run("signature_text", &seeds, |input| {
        Dialect::ALL.map(|dialect| {
            let signature = Signature::read(dialect, input).ok()?;
            assert_eq!(signature.to_text().as_bytes(), input, "there is one spelling");
            Some(signature.algorithm())
        })
    });
}

#[test]
fn fuzz_sealed_payload() {
    let key = key();
    let seeds = [
        key.seal_with_iv(Dialect::Fo, b"hello", [1; 16]),
        key.seal_with_iv(Dialect::Api, b"0123456789abcdef0123456789abcdef", [2; 16]),
        sealed_as_is(&[32; 32]),
        sealed_as_is(&[0; 16]),
    ];
    fuzzing::run("sealed_payload", &seeds.each_ref().map(String::as_str), |input| {
        let plain = key.open(input).ok()?;
        let bytes = STANDARD.decode(input).expect("what opens is base64");
        assert!((1..=32).contains(&(bytes.len() - 16 - plain.len())), "the padding has 1 to 32 bytes");
        assert_eq!(STANDARD.encode(&bytes).as_bytes(), input, "there is one spelling");
        Some((plain.len(), bytes.len()))
    });
}
