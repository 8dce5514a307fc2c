//! Which keys are accepted for which algorithm.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::http::{Algorithm, Failure, KeyRefused, SHORTEST_SECRET, SigningKey, VerifyingKey};

/// RFC 9421, appendix B.1.4.
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
const ED25519_PRIVATE: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
/// Appendix B.1.3.
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA","y":"Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"}"#;

fn pem(label: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(bytes))
}

/// Reads a public JWK.
fn jwk(json: &str, algorithm: Algorithm) -> Result<(), KeyRefused> {
    VerifyingKey::from_jwk(json, algorithm).map(|_| ())
}

/// A JWK with another member.
fn with(json: &str, member: &str) -> String {
    format!("{},{member}}}", json.strip_suffix('}').expect("an object"))
}

/// A member of a JWK.
fn base64url(json: &str, member: &str) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
    URL_SAFE_NO_PAD.decode(value[member].as_str().expect("a text")).expect("base64url")
}

#[test]
fn a_key_is_for_one_algorithm() {
    for (json, own) in [(ED25519, Algorithm::Ed25519), (P256, Algorithm::EcdsaP256Sha256)] {
        for algorithm in Algorithm::ALL {
            let expected = if algorithm == own { Ok(()) } else { Err(KeyRefused::WrongType(algorithm)) };
            assert_eq!(jwk(json, algorithm), expected, "{algorithm}");
        }
    }
}

#[test]
fn what_a_jwk_says_of_itself_holds() {
    let refused = Err(KeyRefused::Declared(Algorithm::Ed25519));
    for (member, expected) in [
        (r#""alg":"EdDSA""#, Ok(())),
        (r#""alg":"Ed25519""#, Ok(())),
        (r#""alg":"ed25519""#, Ok(())),
        (r#""alg":"ES256""#, refused),
        (r#""use":"sig""#, Ok(())),
        (r#""use":"enc""#, refused),
        (r#""key_ops":["verify"]"#, Ok(())),
        (r#""key_ops":["sign"]"#, refused),
        (r#""key_ops":[]"#, refused),
        (r#""kid":"a\"b","x5c":[{}]"#, Ok(())),
    ] {
        assert_eq!(jwk(&with(ED25519, member), Algorithm::Ed25519), expected, "{member}");
    }
}

#[test]
fn a_private_key_is_not_taken_for_a_public_one() {
    assert_eq!(jwk(ED25519_PRIVATE, Algorithm::Ed25519), Err(KeyRefused::Private));
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        let key = VerifyingKey::from_pem(&pem(label, b"a"), Algorithm::Ed25519);
        assert_eq!(key.map(|_| ()), Err(KeyRefused::Private));
    }
    assert!(SigningKey::from_jwk(ED25519_PRIVATE, Algorithm::Ed25519).is_ok());
    assert!(SigningKey::from_jwk(ED25519, Algorithm::Ed25519).is_err());
}

#[test]
fn malformed_keys_are_refused() {
    for json in [
        "",
        "{}",
        "[]",
        r#"{"kty":"OKP"}"#,
        r#"{"kty":"OKP","crv":"Ed25519"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="}"#,
        r#"{"kty":"OKP","kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#,
    ] {
        assert!(jwk(json, Algorithm::Ed25519).is_err(), "{json}");
    }
    let long = with(ED25519, &format!("\"a\":\"{}\"", "a".repeat(40_000)));
    assert!(jwk(&long, Algorithm::Ed25519).is_err());
    // A point beside the curve, and coordinates that are too short.
    let beside = P256.replace("Mc4n", "Mc4m");
    assert!(jwk(&beside, Algorithm::EcdsaP256Sha256).is_err());
    let short = r#"{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}"#;
    assert!(jwk(short, Algorithm::EcdsaP256Sha256).is_err());
    // As long as both together should be, and parted in another place.
    let point: Vec<u8> = [base64url(P256, "x"), base64url(P256, "y")].concat();
    let parted = |at: usize| {
        let [x, y] = [&point[..at], &point[at..]].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#)
    };
    assert_eq!(jwk(&parted(32), Algorithm::EcdsaP256Sha256), Ok(()));
    assert!(jwk(&parted(31), Algorithm::EcdsaP256Sha256).is_err());
    // The two halves do not belong together.
    let mixed = ED25519_PRIVATE.replace("JrQLj5P", "JrQLj5Q");
    assert!(SigningKey::from_jwk(&mixed, Algorithm::Ed25519).is_err());
}

#[test]
fn only_a_block_of_pem_is_read() {
    const SPKI: &str = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";
    let read = |text: &str| VerifyingKey::from_pem(text, Algorithm::Ed25519).is_ok();
    let good = format!("-----BEGIN PUBLIC KEY-----\n{SPKI}\n-----END PUBLIC KEY-----");
    assert!(read(&good));
    assert!(read(&format!("\r\n{}\r\n", good.replace('\n', "\r\n"))));
    assert!(!read(&format!("{good}{}", "\n".repeat(40_000))), "too long");
    for odd in [
        SPKI.to_owned(),
        format!("{good}\n{good}"),
        format!("# a key\n{good}"),
        good.replace("END PUBLIC", "END PRIVATE"),
        good.replace("PUBLIC KEY", "CERTIFICATE"),
        good.replace("PUBLIC KEY", "RSA PUBLIC KEY"),
        good.replace("MCow", "MCo"),
        "-----BEGIN PUBLIC KEY-----".to_owned(),
        "-----BEGIN ----------END -----".to_owned(),
    ] {
        assert!(!read(&odd), "{odd}");
    }
}

#[test]
fn secrets_have_a_length() {
    assert!(VerifyingKey::hmac(&[1; SHORTEST_SECRET]).is_ok());
    assert_eq!(VerifyingKey::hmac(&[1; SHORTEST_SECRET - 1]).map(|_| ()), Err(KeyRefused::ShortSecret));
    assert_eq!(SigningKey::hmac(b"").map(|_| ()), Err(KeyRefused::ShortSecret));
    let json = |bytes: &[u8]| format!(r#"{{"kty":"oct","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(bytes));
    let (signing, verifying) = (json(&[7; 16]), json(&[7; 16]));
    let signing = SigningKey::from_jwk(&signing, Algorithm::HmacSha256).expect("a key");
    let verifying = VerifyingKey::from_jwk(&verifying, Algorithm::HmacSha256).expect("a key");
    assert_eq!(verifying.verify(b"text", &signing.sign(b"text").expect("signed")), Ok(()));
    assert_eq!(jwk(&json(&[7; 15]), Algorithm::HmacSha256), Err(KeyRefused::ShortSecret));
    let text = format!("{signing:?}{verifying:?}");
    assert_eq!(text, "SigningKey { algorithm: HmacSha256, .. }VerifyingKey { algorithm: HmacSha256, .. }");
}

#[test]
fn rsa_keys_have_a_size() {
    // 1024 bits, made for this test.
    const SMALL: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC8m3vMbBn/3VwmjWBLmlx+wmhH
BNZTPMQ/JtEDlnAlVKXV+3zJFo5+cJvcePcbkH/jnmk7QLeCzbHbjdPl2xG0cN55
umuNGrSfOIhyvLtMwrS2Sh0nop2kiAtO+9Jcq7X3QlEf446bGGhw6D++SuYTlp78
rAfUqmkgs7/PmQyqEwIDAQAB
-----END PUBLIC KEY-----";
    let unusable = Err(KeyRefused::Unusable(Algorithm::RsaPssSha512));
    assert_eq!(VerifyingKey::from_pem(SMALL, Algorithm::RsaPssSha512).map(|_| ()), unusable);
    let small = format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, URL_SAFE_NO_PAD.encode([0xc1; 128]));
    assert_eq!(jwk(&small, Algorithm::RsaPssSha512), unusable);

    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private: Pkcs8V1Der<'_> = pair.as_der().expect("DER");
    let signing = SigningKey::from_pem(&pem("PRIVATE KEY", private.as_ref()), Algorithm::RsaPssSha512).expect("a key");
    let public = pem("RSA PUBLIC KEY", pair.public_key().as_ref());
    let verifying = VerifyingKey::from_pem(&public, Algorithm::RsaPssSha512).expect("a key");
    let signature = signing.sign(b"text").expect("signed");
    assert_eq!(verifying.verify(b"text", &signature), Ok(()));
    assert_eq!(verifying.verify(b"test", &signature), Err(Failure::Mismatch));
    assert!(VerifyingKey::from_pem(&public, Algorithm::EcdsaP256Sha256).is_err());
}

#[test]
fn a_key_for_pss_alone_ends_where_it_says() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../spec/vectors/http-signatures.json")).expect("JSON");
    let text = vectors["keys"]["test-key-rsa-pss"]["private_pem"].as_str().expect("PEM");
    let lines: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(lines).expect("base64");
    let read = |der: &[u8]| SigningKey::from_pem(&pem("PRIVATE KEY", der), Algorithm::RsaPssSha512).map(|_| ());
    assert_eq!(read(&der), Ok(()));
    let unusable = Err(KeyRefused::Unusable(Algorithm::RsaPssSha512));
    assert_eq!(read(&[&der[..], &[0]].concat()), unusable);
    for length in 0..der.len() {
        assert_eq!(read(&der[..length]), unusable, "{length} bytes");
    }
}

#[test]
fn ecdsa_signatures_have_a_fixed_length() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
    let private = pem("PRIVATE KEY", pair.to_pkcs8v1().expect("DER").as_ref());
    let signing = SigningKey::from_pem(&private, Algorithm::EcdsaP384Sha384).expect("a key");
    let point = pair.public_key().as_ref();
    let coordinate = |at: usize| URL_SAFE_NO_PAD.encode(&point[at..at + 48]);
    let public = format!(r#"{{"kty":"EC","crv":"P-384","x":"{}","y":"{}"}}"#, coordinate(1), coordinate(49));
    let verifying = VerifyingKey::from_jwk(&public, Algorithm::EcdsaP384Sha384).expect("a key");
    for _ in 0..8 {
        let signature = signing.sign(b"text").expect("signed");
        assert_eq!(signature.len(), 96);
        assert_eq!(verifying.verify(b"text", &signature), Ok(()));
        assert_eq!(verifying.verify(b"text", &signature[..95]), Err(Failure::Mismatch));
    }
    // The key of one curve is none of the other.
    assert!(SigningKey::from_pem(&private, Algorithm::EcdsaP256Sha256).is_err());
    let spki = pair.public_key().as_der().expect("DER");
    let spki = pem("PUBLIC KEY", spki.as_ref());
    assert!(VerifyingKey::from_pem(&spki, Algorithm::EcdsaP384Sha384).is_ok());
    assert!(VerifyingKey::from_pem(&spki, Algorithm::EcdsaP256Sha256).is_err());
    assert!(VerifyingKey::from_pem(&spki, Algorithm::Ed25519).is_err());
}
