//! The access tokens this gateway issues: ES256-signed JWTs in the profile of RFC 9068.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use portcullis_core::call::hex;
use portcullis_core::directory::KeyHash;
use portcullis_core::model::Label;
use portcullis_core::ports::{Clock, SessionId};
use serde::{Deserialize, Serialize};

use crate::claims::{Audiences, MAX_TOKEN_BYTES, TokenError, check_times, unverified_header, verified_claims};
use crate::error::IdentityError;
use crate::keys::{hash_all, sha256};
use crate::random::random;
use crate::signing_keys::SigningKeys;

const TYP: &str = "at+jwt";

/// What an access token of ours says. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The issuer: the gateway's public URL.
    pub iss: String,
    /// The user name.
    pub sub: Label,
    /// Who may accept the token.
    pub aud: Audiences,
    /// When it ends.
    pub exp: u64,
    /// When it was issued.
    pub iat: u64,
    /// When it begins, if not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Its own id.
    pub jti: String,
    /// The session it belongs to, in hex.
    #[serde(with = "session_hex")]
    pub sid: SessionId,
    /// The client the session was opened through.
    pub client_id: Label,
}

mod session_hex {
    use portcullis_core::call::hex;
    use portcullis_core::ports::SessionId;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
        hex(&id.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| plain);
        number.map(|number| SessionId(number.to_be_bytes())).ok_or_else(|| D::Error::custom("32 hex digits"))
    }
}

/// Issues and verifies the access tokens of this gateway.
pub struct AccessTokens {
    keys: Arc<SigningKeys>,
    issuer: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens").field("issuer", &self.issuer).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl AccessTokens {
    /// Tokens of one issuer.
    pub fn new(keys: Arc<SigningKeys>, issuer: impl Into<Arc<str>>, clock: Arc<dyn Clock>) -> Self {
        Self { keys, issuer: issuer.into(), clock }
    }

    /// What stands in `iss`, and in `aud` of the tokens issued at login.
    pub fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// Stands for the issuer and the keys its tokens are verified with.
    pub fn fingerprint(&self) -> KeyHash {
        hash_all([&sha256(self.keys.jwks()), self.issuer.as_bytes()])
    }

    /// The claims of a token for a session, from now on and for so long; its audience is the issuer.
    pub fn claims_for(&self, user: &Label, client: &Label, session: SessionId, ttl: Duration) -> AccessClaims {
        let now = self.now();
        AccessClaims {
            iss: self.issuer.as_ref().to_owned(),
            sub: user.clone(),
            aud: Audiences(vec![self.issuer.as_ref().to_owned()]),
            exp: now.saturating_add(ttl.as_secs()),
            iat: now,
            nbf: None,
            jti: hex(&random::<16>()),
            sid: session,
            client_id: client.clone(),
        }
    }

    /// Signs claims.
    pub fn issue(&self, claims: &AccessClaims) -> Result<String, IdentityError> {
        self.keys.sign(TYP, claims)
    }

    /// The id of the key that signs.
    pub fn active_kid(&self) -> &str {
        self.keys.active_kid()
    }

    /// Signs bytes that are no token, with the key that signs: ECDSA over P-256 with SHA-256, as `r` and `s` of 32 bytes each.
    /// None if there is no randomness.
    pub fn sign_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.keys.sign_bytes(bytes)
    }

    /// Verifies a token of ours: key, algorithm, signature, type, issuer and times. Whether it is for the service
    /// that is called (`aud`) and whether its session still lives is for the caller to see.
    pub fn verify(&self, token: &str) -> Result<AccessClaims, TokenError> {
        let header = unverified_header(token)?;
        let key = header.kid.as_deref().and_then(|kid| self.keys.verifier(kid)).ok_or(TokenError::UnknownKey)?;
        if header.alg != Algorithm::ES256 {
            return Err(TokenError::Algorithm);
        }
        // RFC 9068 section 4: so that no other token signed by the same key is taken for an access token.
        let typ = header.typ.as_deref().unwrap_or("");
        if !typ.eq_ignore_ascii_case(TYP) && !typ.eq_ignore_ascii_case("application/at+jwt") {
            return Err(TokenError::Type);
        }
        let claims: AccessClaims = verified_claims(token, key, Algorithm::ES256)?;
        if claims.iss != *self.issuer {
            return Err(TokenError::Issuer);
        }
        check_times(self.now(), claims.exp, claims.nbf, 0)?;
        Ok(claims)
    }

    /// Whether the token names one of our keys. Verifies nothing: it only tells which keys to try.
    pub fn is_ours(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Kid<'a> {
            #[serde(borrow)]
            kid: Cow<'a, str>,
        }
        if token.len() > MAX_TOKEN_BYTES {
            return false;
        }
        let header = token.split_once('.').and_then(|(header, _)| URL_SAFE_NO_PAD.decode(header).ok());
        let Some(header) = header else { return false };
        serde_json::from_slice::<Kid<'_>>(&header).is_ok_and(|header| self.keys.has(&header.kid))
    }

    fn now(&self) -> u64 {
        self.clock.unix_millis() / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::MasterKey;
    use jsonwebtoken::{EncodingKey, Header};
    use portcullis_core::memory::{ManualClock, MemoryRegistry};
    use serde_json::{Value, json};

    const SECONDS: u64 = 1_700_000_000;

    struct Fixture {
        clock: Arc<ManualClock>,
        tokens: AccessTokens,
    }

    async fn fixture() -> Fixture {
        let clock = Arc::new(ManualClock::at(SECONDS));
        let (registry, master) = (MemoryRegistry::default(), MasterKey::generate().0);
        let keys = SigningKeys::load_or_create(&registry, &master, clock.as_ref()).await.expect("keys");
        let tokens = AccessTokens::new(Arc::new(keys), "http://gate", Arc::<ManualClock>::clone(&clock));
        Fixture { clock, tokens }
    }

    impl Fixture {
        fn claims(&self) -> AccessClaims {
            let (user, client) = ("ada".parse().expect("a label"), "default".parse().expect("a label"));
            self.tokens.claims_for(&user, &client, SessionId([0xab; 16]), Duration::from_secs(300))
        }

        fn signed(&self, change: impl FnOnce(&mut Value)) -> String {
            let mut claims = serde_json::to_value(self.claims()).expect("JSON");
            change(&mut claims);
            self.tokens.keys.sign(TYP, &claims).expect("signed")
        }

        fn forged(&self, header: &Header, key: &EncodingKey) -> Result<AccessClaims, TokenError> {
            self.tokens.verify(&jsonwebtoken::encode(header, &self.claims(), key).expect("signed"))
        }
    }

    fn parts(token: &str) -> Vec<Vec<u8>> {
        token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url")).collect()
    }

    fn joined(parts: &[Vec<u8>]) -> String {
        parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".")
    }

    #[tokio::test]
    async fn a_token_comes_back_as_it_was_issued() {
        let fixture = fixture().await;
        let claims = fixture.claims();
        let token = fixture.tokens.issue(&claims).expect("issued");
        assert_eq!(fixture.tokens.verify(&token), Ok(claims));
        assert!(fixture.tokens.is_ours(&token));
        let [header, payload] = [0, 1].map(|part| serde_json::from_slice::<Value>(&parts(&token)[part]).expect("JSON"));
        assert_eq!(header, json!({"typ": "at+jwt", "alg": "ES256", "kid": fixture.tokens.keys.active_kid()}));
        assert_eq!(payload["sid"], json!("ab".repeat(16)));
        assert_eq!((&payload["aud"], &payload["client_id"]), (&json!("http://gate"), &json!("default")));
        assert_ne!(fixture.claims().jti, fixture.claims().jti);
    }

    #[tokio::test]
    async fn time_is_that_of_the_clock_and_has_no_leeway() {
        let fixture = fixture().await;
        let token = fixture.tokens.issue(&fixture.claims()).expect("issued");
        fixture.clock.advance(Duration::from_secs(299));
        assert!(fixture.tokens.verify(&token).is_ok());
        fixture.clock.advance(Duration::from_secs(1));
        assert_eq!(fixture.tokens.verify(&token), Err(TokenError::Expired));
    }

    #[tokio::test]
    async fn claims_that_are_not_fine_are_refused_though_signed() {
        let fixture = fixture().await;
        type Change = fn(&mut Value);
        let cases: [(&str, Change, Result<(), TokenError>); 9] = [
            ("as issued", |_| {}, Ok(())),
            ("a list", |claims| claims["aud"] = json!(["x", "http://gate"]), Ok(())),
            ("nbf now", |claims| claims["nbf"] = json!(SECONDS), Ok(())),
            ("nbf later", |claims| claims["nbf"] = json!(SECONDS + 1), Err(TokenError::NotYet)),
            ("iss", |claims| claims["iss"] = json!("http://gate/"), Err(TokenError::Issuer)),
            ("sid short", |claims| claims["sid"] = json!("abab"), Err(TokenError::Malformed)),
            ("sid sign", |claims| claims["sid"] = json!(format!("+{}", "a".repeat(31))), Err(TokenError::Malformed)),
            ("no exp", |claims| drop(claims.as_object_mut().and_then(|c| c.remove("exp"))), Err(TokenError::Malformed)),
            ("sub", |claims| claims["sub"] = json!("a/b"), Err(TokenError::Malformed)),
        ];
        for (name, change, expected) in cases {
            assert_eq!(fixture.tokens.verify(&fixture.signed(change)).map(drop), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn every_changed_byte_is_noticed() {
        let fixture = fixture().await;
        let token = fixture.tokens.issue(&fixture.claims()).expect("issued");
        let genuine = parts(&token);
        for part in 0..3 {
            for position in 0..genuine[part].len() {
                let mut changed = genuine.clone();
                changed[part][position] ^= 1;
                assert!(fixture.tokens.verify(&joined(&changed)).is_err(), "part {part}, byte {position}");
            }
        }
        for other in ["", ".", "..", "a.b.c", &format!("{token}."), &token[..token.len() - 2]] {
            assert!(fixture.tokens.verify(other).is_err(), "{other}");
        }
    }

    #[tokio::test]
    async fn the_key_decides_about_the_algorithm() {
        let fixture = fixture().await;
        let kid = fixture.tokens.keys.active_kid().to_owned();
        let pem = fixture.tokens.keys.pem(&kid).expect("a PEM").to_owned();
        let header = |alg| Header { typ: Some(TYP.to_owned()), kid: Some(kid.clone()), ..Header::new(alg) };
        // The public key as the secret of an HMAC.
        for secret in [pem.as_bytes(), fixture.tokens.keys.jwks()] {
            let forged = fixture.forged(&header(Algorithm::HS256), &EncodingKey::from_secret(secret));
            assert_eq!(forged, Err(TokenError::Algorithm));
        }
        // No signature at all.
        for alg in ["none", "None", "NONE", ""] {
            let mut genuine = parts(&fixture.tokens.issue(&fixture.claims()).expect("issued"));
            genuine[0] = serde_json::to_vec(&json!({"typ": TYP, "alg": alg, "kid": kid})).expect("JSON");
            for signature in [genuine[2].clone(), Vec::new()] {
                genuine[2] = signature;
                assert_eq!(fixture.tokens.verify(&joined(&genuine)), Err(TokenError::Malformed), "{alg}");
            }
        }
        // A key of the same kind that is not ours, under our id and under its own.
        let other = self::fixture().await;
        let stranger = other.tokens.issue(&other.claims()).expect("issued");
        assert_eq!(fixture.tokens.verify(&stranger), Err(TokenError::UnknownKey));
        assert!(!fixture.tokens.is_ours(&stranger));
        let mut renamed = parts(&stranger);
        renamed[0] = serde_json::to_vec(&header(Algorithm::ES256)).expect("JSON");
        assert_eq!(fixture.tokens.verify(&joined(&renamed)), Err(TokenError::Signature));
    }

    #[tokio::test]
    async fn only_access_tokens_without_extensions_pass() {
        let fixture = fixture().await;
        let keys = &fixture.tokens.keys;
        for (typ, expected) in [
            ("AT+JWT", Ok(())),
            ("application/at+jwt", Ok(())),
            ("JWT", Err(TokenError::Type)),
            ("", Err(TokenError::Type)),
        ] {
            let token = keys.sign(typ, &fixture.claims()).expect("signed");
            assert_eq!(fixture.tokens.verify(&token).map(drop), expected, "{typ}");
        }
        let mut genuine = parts(&fixture.tokens.issue(&fixture.claims()).expect("issued"));
        let header = json!({"typ": TYP, "alg": "ES256", "kid": keys.active_kid(), "crit": ["b64"], "b64": false});
        genuine[0] = serde_json::to_vec(&header).expect("JSON");
        assert_eq!(fixture.tokens.verify(&joined(&genuine)), Err(TokenError::Malformed));
    }

    #[tokio::test]
    async fn a_token_has_a_longest_length() {
        let fixture = fixture().await;
        let long = fixture.signed(|claims| claims["jti"] = json!("x".repeat(MAX_TOKEN_BYTES)));
        assert_eq!(fixture.tokens.verify(&long), Err(TokenError::TooLong));
        assert!(!fixture.tokens.is_ours(&long));
    }

    #[tokio::test]
    async fn fuzz_token() {
        let it = fixture().await;
        let good = it.tokens.issue(&it.claims()).expect("signed");
        let claims = it.tokens.verify(&good).expect("good");
        let header = good.split('.').next().expect("a header").to_owned();
        let none = format!("{}..", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#));
        crate::fuzzing::run("token", &[&good, &header, &none, "a.b.c", "..", "eyJ9.e30."], |input| {
            let Ok(token) = std::str::from_utf8(input) else { return None };
            let read = unverified_header(token).is_ok();
            // Whatever is done to a token: it says what it said when it was signed, or nothing.
            match it.tokens.verify(token) {
                Ok(found) => {
                    assert_eq!(serde_json::to_value(&found).ok(), serde_json::to_value(&claims).ok(), "{token}");
                    assert!(it.tokens.is_ours(token), "{token}");
                    Some((read, true, String::new()))
                }
                Err(error) => Some((read, it.tokens.is_ours(token), error.to_string())),
            }
        });
    }
}
