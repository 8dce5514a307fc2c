//! Declared keys and what they let in, with keys made on the spot.

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::*;

const NOW: u64 = 1_700_000_000;

const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDLHv6WGLI7UDRJobgBRTVp6yQl
5HGGtl9HPJvcb1RpN2KVdbvBId1lE50WMC7ztD+/3wWEjgWkXaOYme512yYANZDO
/62BSNE8ndG+6rEai8BFsHSY+p9QX37dVTyg8LG82wWQ1p7IUjOZlffCvM958tpC
T/D8CvM0AUSnrLB/rwIDAQAB
-----END PUBLIC KEY-----";

fn trust(algorithm: StaticAlgorithm) -> Trust {
    Trust {
        algorithm,
        issuer: "https://id".into(),
        audiences: Vec::new(),
        kid: None,
        leeway: 0,
        types: TokenTypes::Usual,
        client_claim: "client_id".into(),
        client_marker: None,
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

struct Issuer {
    signs: EncodingKey,
    algorithm: StaticAlgorithm,
    jwk: Value,
    pem: String,
}

fn ec() -> Issuer {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let point = pair.public_key().as_ref();
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
    Issuer {
        signs: EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("PKCS#8").as_ref()),
        algorithm: StaticAlgorithm::Es256,
        jwk: json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..])}),
        pem: pem(der.as_ref()),
    }
}

fn rsa() -> Issuer {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().expect("PKCS#8");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
    let components: RsaPublicKeyComponents<Vec<u8>> = pair.public_key().into();
    Issuer {
        signs: EncodingKey::from_rsa_pem(pem(private.as_ref()).replace("PUBLIC", "PRIVATE").as_bytes()).expect("a key"),
        algorithm: StaticAlgorithm::Rs256,
        jwk: json!({"kty": "RSA", "n": base64url(&components.n), "e": base64url(&components.e)}),
        pem: pem(der.as_ref()),
    }
}

impl Issuer {
    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm.jwt()) };
        jsonwebtoken::encode(&header, claims, &self.signs).expect("signed")
    }

    fn keys(&self, change: impl FnOnce(&mut Trust)) -> StaticKeys {
        let mut trust = trust(self.algorithm);
        change(&mut trust);
        StaticKeys::new(vec![StaticKey::from_jwk(&self.jwk, trust).expect("a key")]).expect("one key")
    }
}

fn claims() -> Value {
    json!({"iss": "https://id", "sub": "ada", "aud": "orders", "exp": NOW + 60, "client_id": "app", "x": [1]})
}

#[test]
fn tokens_of_both_algorithms_verify_by_jwk_and_by_pem() {
    for issuer in [ec(), rsa()] {
        let token = issuer.token(None, &claims());
        let by_pem = StaticKey::from_pem(&issuer.pem, trust(issuer.algorithm)).expect("a key");
        for keys in [issuer.keys(|_| {}), StaticKeys::new(vec![by_pem]).expect("one key")] {
            let found = keys.verify(&token, NOW).expect("verified");
            assert_eq!((found.iss.as_str(), found.sub.as_str(), found.exp), ("https://id", "ada", NOW + 60));
            assert_eq!((found.client_id.as_deref(), found.audience_checked), (Some("app"), false));
            assert!(found.aud.contains("orders") && found.raw["x"] == json!([1]));
            let (front, signature) = token.rsplit_once('.').expect("three parts");
            let mut changed = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
            changed[10] ^= 1;
            let changed = format!("{front}.{}", base64url(&changed));
            assert_eq!(keys.verify(&changed, NOW), Err(TokenError::Signature));
        }
    }
}

#[test]
fn the_declaration_decides_about_the_algorithm() {
    let (ec, rsa) = (ec(), rsa());
    let hmac = |secret: &[u8]| {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(secret))
            .expect("signed")
    };
    for issuer in [&ec, &rsa] {
        let keys = issuer.keys(|_| {});
        assert_eq!(keys.verify(&hmac(issuer.pem.as_bytes()), NOW), Err(TokenError::Algorithm));
        let none = format!("{}.{}.", base64url(br#"{"alg":"none"}"#), base64url(claims().to_string().as_bytes()));
        assert_eq!(keys.verify(&none, NOW), Err(TokenError::Malformed));
    }
    let header = Header::new(Algorithm::RS384);
    let other_hash = jsonwebtoken::encode(&header, &claims(), &rsa.signs).expect("signed");
    assert_eq!(rsa.keys(|_| {}).verify(&other_hash, NOW), Err(TokenError::Algorithm));
    assert_eq!(ec.keys(|_| {}).verify(&rsa.token(None, &claims()), NOW), Err(TokenError::Algorithm));
    assert_eq!(ec.keys(|_| {}).verify(&self::ec().token(None, &claims()), NOW), Err(TokenError::Signature));
}

#[test]
fn claims_are_checked() {
    let issuer = ec();
    let verify = |change: &dyn Fn(&mut Value), declare: fn(&mut Trust), now: u64| {
        let mut changed = claims();
        change(&mut changed);
        issuer.keys(declare).verify(&issuer.token(None, &changed), now).map(drop)
    };
    let without =
        |name: &'static str| move |claims: &mut Value| drop(claims.as_object_mut().and_then(|c| c.remove(name)));
    let with = |name: &'static str, value: Value| move |claims: &mut Value| claims[name] = value.clone();
    let plain: fn(&mut Trust) = |_| {};
    let audience: fn(&mut Trust) = |trust| trust.audiences = vec!["billing".into(), "orders".into()];
    let leeway: fn(&mut Trust) = |trust| trust.leeway = 30;
    assert_eq!(verify(&|_| {}, plain, NOW + 59), Ok(()));
    assert_eq!(verify(&|_| {}, plain, NOW + 60), Err(TokenError::Expired));
    assert_eq!(verify(&|_| {}, leeway, NOW + 89), Ok(()));
    assert_eq!(verify(&|_| {}, leeway, NOW + 90), Err(TokenError::Expired));
    assert_eq!(verify(&with("exp", json!(NOW as f64 + 0.5)), plain, NOW), Err(TokenError::Expired));
    assert_eq!(verify(&with("exp", json!(-1)), plain, NOW), Err(TokenError::Claim("exp")));
    assert_eq!(verify(&with("exp", json!("soon")), plain, NOW), Err(TokenError::Claim("exp")));
    assert_eq!(verify(&without("exp"), plain, NOW), Err(TokenError::Claim("exp")));
    assert_eq!(verify(&with("nbf", json!(NOW + 1)), plain, NOW), Err(TokenError::NotYet));
    assert_eq!(verify(&with("iss", json!("https://evil")), plain, NOW), Err(TokenError::Issuer));
    assert_eq!(verify(&without("iss"), plain, NOW), Err(TokenError::Claim("iss")));
    assert_eq!(verify(&without("sub"), plain, NOW), Err(TokenError::Claim("sub")));
    assert_eq!(verify(&|_| {}, audience, NOW), Ok(()));
    assert_eq!(verify(&with("aud", json!(["x", "orders"])), audience, NOW), Ok(()));
    assert_eq!(verify(&with("aud", json!(["x"])), audience, NOW), Err(TokenError::Audience));
    assert_eq!(verify(&without("aud"), audience, NOW), Err(TokenError::Audience));
    assert_eq!(verify(&with("aud", json!(7)), plain, NOW), Err(TokenError::Claim("aud")));
}

#[test]
fn a_key_id_selects_where_both_have_one() {
    let (one, other) = (ec(), ec());
    let named = |issuer: &Issuer, kid: Option<&str>| {
        let trust = Trust { kid: kid.map(str::to_owned), ..trust(issuer.algorithm) };
        StaticKey::from_jwk(&issuer.jwk, trust).expect("a key")
    };
    let keys = StaticKeys::new(vec![named(&one, Some("1")), named(&other, Some("2"))]).expect("two keys");
    assert!(keys.verify(&one.token(Some("1"), &claims()), NOW).is_ok());
    assert!(keys.verify(&other.token(None, &claims()), NOW).is_ok(), "without an id every key is tried");
    assert_eq!(keys.verify(&one.token(Some("2"), &claims()), NOW), Err(TokenError::Signature));
    assert_eq!(keys.verify(&one.token(Some("3"), &claims()), NOW), Err(TokenError::UnknownKey));
    let unnamed = StaticKeys::new(vec![named(&one, None)]).expect("one key");
    assert!(unnamed.verify(&one.token(Some("3"), &claims()), NOW).is_ok());
    let mut jwk = one.jwk.clone();
    jwk["kid"] = json!("own");
    let own = StaticKeys::new(vec![StaticKey::from_jwk(&jwk, trust(one.algorithm)).expect("a key")]).expect("one key");
    assert_eq!(own.verify(&one.token(Some("3"), &claims()), NOW), Err(TokenError::UnknownKey));
}

#[test]
fn one_key_for_two_issuers_accepts_both_and_no_third() {
    let issuer = ec();
    let trusted = |name: &str| {
        let trust = Trust { issuer: name.into(), ..trust(issuer.algorithm) };
        StaticKey::from_jwk(&issuer.jwk, trust).expect("a key")
    };
    let keys = StaticKeys::new(vec![trusted("https://a"), trusted("https://b")]).expect("two keys");
    for (name, expected) in [("https://a", Ok(())), ("https://b", Ok(())), ("https://c", Err(TokenError::Issuer))] {
        let mut claims = claims();
        claims["iss"] = json!(name);
        assert_eq!(keys.verify(&issuer.token(None, &claims), NOW).map(drop), expected, "{name}");
    }
}

#[test]
fn what_is_no_fit_key_is_refused_with_its_reason() {
    let (ec, rsa) = (ec(), rsa());
    let refuse = |jwk: &Value, algorithm, reason: &str| {
        let found = StaticKey::from_jwk(jwk, trust(algorithm)).expect_err(reason);
        assert!(found.contains(reason), "{found}");
    };
    let changed = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    use StaticAlgorithm::{Es256, Rs256};
    refuse(&json!("text"), Es256, "JSON object");
    refuse(&ec.jwk, Rs256, "'kty' does not fit");
    refuse(&rsa.jwk, Es256, "'kty' does not fit");
    refuse(&json!({"kty": "oct", "k": "AAAA"}), Es256, "symmetric");
    refuse(&changed(&ec.jwk, "d", json!("AA")), Es256, "private");
    refuse(&changed(&ec.jwk, "alg", json!("ES384")), Es256, "'alg'");
    refuse(&changed(&ec.jwk, "use", json!("enc")), Es256, "'use'");
    refuse(&changed(&ec.jwk, "key_ops", json!(["sign"])), Es256, "'key_ops'");
    refuse(&changed(&ec.jwk, "crv", json!("P-384")), Es256, "'crv'");
    refuse(&changed(&ec.jwk, "x", json!("AAAA")), Es256, "32 bytes");
    refuse(&changed(&ec.jwk, "x", json!("not base64!")), Es256, "base64url");
    refuse(&changed(&ec.jwk, "x", ec.jwk["y"].clone()), Es256, "not a public key");
    refuse(&json!({"kty": "RSA", "n": rsa.jwk["n"]}), Rs256, "no 'e'");
    refuse(&changed(&rsa.jwk, "e", json!("AQ")), Rs256, "RSA");
    refuse(&changed(&rsa.jwk, "n", json!(base64url(&[0xff; 128]))), Rs256, "2048");
    assert!(
        StaticKey::from_pem(RSA_1024, trust(Rs256)).expect_err("too small").contains("2048 to 8192 bits (TooSmall)")
    );
    assert!(StaticKey::from_jwk(&changed(&ec.jwk, "alg", json!("ES256")), trust(Es256)).is_ok());
    let nobody = Trust { issuer: String::new(), ..trust(Es256) };
    assert!(StaticKey::from_jwk(&ec.jwk, nobody).expect_err("no issuer").contains("issuer"));
    // A leading zero in front of the modulus is forgiven.
    let n = URL_SAFE_NO_PAD.decode(rsa.jwk["n"].as_str().expect("a text")).expect("base64url");
    let padded = changed(&rsa.jwk, "n", json!(base64url(&[&[0], n.as_slice()].concat())));
    assert!(StaticKey::from_jwk(&padded, trust(Rs256)).is_ok());
}

#[test]
fn a_pem_is_one_public_key_of_the_declared_kind() {
    let (ec, rsa) = (ec(), rsa());
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
    let p384: PublicKeyX509Der<'_> = p384.public_key().as_der().expect("DER");
    for (text, algorithm) in [
        (String::new(), StaticAlgorithm::Es256),
        (ec.pem.clone(), StaticAlgorithm::Rs256),
        (rsa.pem, StaticAlgorithm::Es256),
        (pem(p384.as_ref()), StaticAlgorithm::Es256),
        (ec.pem.replace("PUBLIC", "PRIVATE"), StaticAlgorithm::Es256),
        (format!("{0}{0}", ec.pem), StaticAlgorithm::Es256),
        (pem(b"junk"), StaticAlgorithm::Es256),
        (pem(b"junk"), StaticAlgorithm::Rs256),
    ] {
        assert!(StaticKey::from_pem(&text, trust(algorithm)).is_err(), "{text}");
    }
    assert!(StaticKey::from_pem(&ec.pem.replace('\n', "\r\n"), trust(StaticAlgorithm::Es256)).is_ok());
}

#[test]
fn the_number_of_keys_is_bounded() {
    let issuer = ec();
    let keys = |count: usize| {
        let key = |_| StaticKey::from_jwk(&issuer.jwk, trust(issuer.algorithm)).expect("a key");
        StaticKeys::new((0..count).map(key).collect())
    };
    assert!(keys(MAX_STATIC_KEYS).is_ok() && keys(MAX_STATIC_KEYS + 1).is_err());
    assert!(StaticKeys::new(Vec::new()).expect("none").is_empty());
}

#[test]
fn fuzz_foreign_token() {
    // EC alone: each of thousands of inputs may be verified.
    let issuer = ec();
    let (keys, strict) = (issuer.keys(|_| {}), issuer.keys(|trust| trust.types = TokenTypes::Strict));
    let good = issuer.token(Some("k"), &claims());
    let machine = issuer
        .token(None, &json!({"iss": "https://id", "sub": "app", "aud": ["orders"], "exp": NOW + 60, "nonce": "n"}));
    let none = format!("{}.{}.", base64url(br#"{"alg":"none"}"#), base64url(claims().to_string().as_bytes()));
    let told = keys.verify(&good, NOW).expect("good");
    crate::fuzzing::run("foreign_token", &[&good, &machine, &none, "eyJhbGciOiJIUzI1NiJ9.e30.", "a.b.c"], |input| {
        let Ok(token) = std::str::from_utf8(input) else { return None };
        // Whatever is done to a token: it says what its issuer signed, or nothing; and the strict take no more than others.
        match (keys.verify(token, NOW), strict.verify(token, NOW)) {
            (Ok(found), _) => {
                assert_eq!(found, told, "{token}");
                Some("good".to_owned())
            }
            (Err(error), strict) => {
                assert!(strict.is_err(), "{token}");
                Some(error.to_string())
            }
        }
    });
}
