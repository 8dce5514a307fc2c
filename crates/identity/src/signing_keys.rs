//! The keys this gateway signs tokens with: made at the first start, kept sealed in the registry, published as JWKS.
//!
//! The registry holds one key per row and, in a row of [`Kind::Meta`], the id of the one that signs. That second
//! row also lets only one of several nodes that start at the same time make the first key.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use portcullis_core::model::Owner;
use portcullis_core::ports::{Clock, Expect, Kind, RegistryError, Row, Upkeep, Write};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::keys::sha256;
use crate::master::MasterKey;

/// The key of the [`Kind::Meta`] row that names the signing key in use.
pub const ACTIVE_KEY_ROW: &str = "signing_key";

const ALG: &str = "ES256";

/// A P-256 public key as RFC 7517 and RFC 7518 section 6.2 write it. The fields stand in the order of RFC 7638.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PublicJwk {
    crv: String,
    kty: String,
    x: String,
    y: String,
}

impl PublicJwk {
    /// RFC 7638: SHA-256 over the required members in order, base64url.
    fn thumbprint(&self) -> String {
        let Self { crv, kty, x, y } = self;
        let canonical = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()))
    }
}

/// A signing key as the registry keeps it.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    alg: String,
    /// Unix milliseconds.
    created_at: u64,
    public: PublicJwk,
    /// PKCS#8, sealed by the master key, base64.
    private: String,
}

#[derive(Serialize, Deserialize)]
struct ActiveKey {
    kid: String,
}

#[derive(Serialize)]
struct PublishedKey<'a> {
    kty: &'a str,
    crv: &'a str,
    x: &'a str,
    y: &'a str,
    kid: &'a str,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
}

#[derive(Serialize)]
struct KeySet<'a> {
    keys: Vec<PublishedKey<'a>>,
}

struct SigningKey {
    kid: Arc<str>,
    created_at: u64,
    public: PublicJwk,
    pem: String,
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// Every signing key of this gateway. One signs; all of them verify.
pub struct SigningKeys {
    keys: Vec<SigningKey>,
    active: usize,
    jwks: Bytes,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids: Vec<_> = self.keys.iter().map(|key| &key.kid).collect();
        f.debug_struct("SigningKeys").field("kids", &kids).field("active", &self.active).finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Loads the keys, making the first one where there is none yet. Another master key than the one they were
    /// sealed with is [`IdentityError::Sealed`].
    pub async fn load_or_create(
        registry: &dyn Upkeep,
        master: &MasterKey,
        clock: &dyn Clock,
    ) -> Result<Self, IdentityError> {
        if let Some(keys) = Self::load(registry, master).await? {
            return Ok(keys);
        }
        match registry.keep(first_key(registry, master, clock).await?).await {
            // Another node was faster; its key is ours as well.
            Ok(()) | Err(RegistryError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let keys = Self::load(registry, master).await?;
        keys.ok_or_else(|| IdentityError::Corrupt { what: "the set of signing keys".to_owned() })
    }

    async fn load(registry: &dyn Upkeep, master: &MasterKey) -> Result<Option<Self>, IdentityError> {
        let rows = registry.all_kept(Kind::SigningKey).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut keys = rows.iter().map(|row| SigningKey::open(row, master)).collect::<Result<Vec<_>, _>>()?;
        keys.sort_by_key(|key| key.created_at);
        let row = registry.kept(Kind::Meta, ACTIVE_KEY_ROW).await?;
        let named: Option<ActiveKey> = row.and_then(|row| serde_json::from_str(&row.body).ok());
        let active = named.and_then(|named| keys.iter().position(|key| *key.kid == *named.kid));
        let active = active.unwrap_or(keys.len() - 1);
        let set = KeySet { keys: keys.iter().map(SigningKey::published).collect() };
        let jwks = serde_json::to_vec(&set).map_err(|_| IdentityError::Crypto("the key set cannot be written"))?;
        Ok(Some(Self { keys, active, jwks: jwks.into() }))
    }

    /// The JSON Web Key Set (RFC 7517 section 5) that others verify our tokens with.
    pub fn jwks(&self) -> &Bytes {
        &self.jwks
    }

    /// A public key as `SubjectPublicKeyInfo` in PEM.
    pub fn pem(&self, kid: &str) -> Option<&str> {
        self.key(kid).map(|key| key.pem.as_str())
    }

    /// Whether the id is that of one of our keys.
    pub fn has(&self, kid: &str) -> bool {
        self.key(kid).is_some()
    }

    /// The id of the key that signs.
    pub fn active_kid(&self) -> &str {
        &self.keys[self.active].kid
    }

    /// Signs claims with the active key.
    pub(crate) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, IdentityError> {
        let key = &self.keys[self.active];
        let header =
            Header { typ: Some(typ.to_owned()), kid: Some(key.kid.as_ref().into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &key.signs)
            .map_err(|_| IdentityError::Crypto("a token could not be signed"))
    }

    /// Signs bytes that are no token with the active key.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = jsonwebtoken::crypto::sign(bytes, &self.keys[self.active].signs, Algorithm::ES256).ok()?;
        URL_SAFE_NO_PAD.decode(text).ok()
    }

    /// The key that verifies what the named key has signed.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&DecodingKey> {
        self.key(kid).map(|key| &key.verifies)
    }

    fn key(&self, kid: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| *key.kid == *kid)
    }
}

impl SigningKey {
    /// Opens a stored key and checks that it is the one its row names.
    fn open(row: &Row, master: &MasterKey) -> Result<Self, IdentityError> {
        let what = || format!("signing key '{}'", row.key);
        let corrupt = || IdentityError::Corrupt { what: what() };
        let stored: StoredKey = serde_json::from_str(&row.body).map_err(|_| corrupt())?;
        if stored.alg != ALG {
            return Err(corrupt());
        }
        let sealed = STANDARD.decode(&stored.private).map_err(|_| corrupt())?;
        let private = master.open(&purpose(&row.key), &sealed).map_err(|_| IdentityError::Sealed { what: what() })?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private).map_err(|_| corrupt())?;
        // The public part is derived, not read: nobody who can write to the registry can slip in another.
        let public = public_jwk(&pair)?;
        if public.thumbprint() != row.key {
            return Err(corrupt());
        }
        Ok(Self {
            kid: row.key.as_str().into(),
            created_at: stored.created_at,
            public,
            pem: spki_pem(&pair)?,
            signs: EncodingKey::from_ec_der(&private),
            verifies: DecodingKey::from_ec_der(pair.public_key().as_ref()),
        })
    }

    fn published(&self) -> PublishedKey<'_> {
        let PublicJwk { crv, kty, x, y } = &self.public;
        PublishedKey { kty, crv, x, y, kid: &self.kid, purpose: "sig", alg: ALG }
    }
}

async fn first_key(registry: &dyn Upkeep, master: &MasterKey, clock: &dyn Clock) -> Result<Vec<Write>, IdentityError> {
    let fault = |_| IdentityError::Crypto("a signing key could not be made");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(fault)?;
    let private = Zeroizing::new(pair.to_pkcs8v1().map_err(fault)?.as_ref().to_vec());
    let public = public_jwk(&pair)?;
    let kid = public.thumbprint();
    let sealed = master
        .seal(&purpose(&kid), &private)
        .map_err(|_| IdentityError::Crypto("a signing key could not be sealed"))?;
    let stored =
        StoredKey { alg: ALG.to_owned(), created_at: clock.unix_millis(), public, private: STANDARD.encode(sealed) };
    let former = registry.kept(Kind::Meta, ACTIVE_KEY_ROW).await?.map(|row| row.revision);
    let active = row(Kind::Meta, ACTIVE_KEY_ROW, former.unwrap_or(0) + 1, &ActiveKey { kid: kid.clone() })?;
    Ok(vec![
        Write::Put { row: active, expect: former.map_or(Expect::Absent, Expect::Revision) },
        Write::Put { row: row(Kind::SigningKey, &kid, 1, &stored)?, expect: Expect::Absent },
    ])
}

fn row(kind: Kind, key: &str, revision: u64, body: &impl Serialize) -> Result<Row, IdentityError> {
    let body = serde_json::to_string(body).map_err(|_| IdentityError::Crypto("a signing key could not be written"))?;
    Ok(Row { kind, key: key.to_owned(), revision, owner: Owner::Api, body })
}

/// Binds the sealed key to its row.
fn purpose(kid: &str) -> String {
    format!("signing_key/{kid}")
}

fn public_jwk(pair: &EcdsaKeyPair) -> Result<PublicJwk, IdentityError> {
    // An uncompressed point (SEC 1 section 2.3.3): 0x04, then 32 bytes each for x and y.
    let point = pair.public_key().as_ref();
    let (Some(x), Some(y), 65) = (point.get(1..33), point.get(33..65), point.len()) else {
        return Err(IdentityError::Crypto("a public key is not an uncompressed P-256 point"));
    };
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    Ok(PublicJwk { crv: "P-256".to_owned(), kty: "EC".to_owned(), x, y })
}

fn spki_pem(pair: &EcdsaKeyPair) -> Result<String, IdentityError> {
    let der: PublicKeyX509Der<'_> =
        pair.public_key().as_der().map_err(|_| IdentityError::Crypto("a public key cannot be written as DER"))?;
    let text = STANDARD.encode(der.as_ref());
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::memory::{ManualClock, MemoryRegistry};
    use serde_json::Value;

    async fn keys(registry: &MemoryRegistry, master: &MasterKey) -> Result<SigningKeys, IdentityError> {
        SigningKeys::load_or_create(registry, master, &ManualClock::at(1_000)).await
    }

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_every_later_one_finds_it() {
        let (registry, master) = (MemoryRegistry::default(), MasterKey::generate().0);
        let first = keys(&registry, &master).await.expect("made");
        let again = keys(&registry, &master).await.expect("found");
        assert_eq!(first.jwks(), again.jwks());
        assert_eq!(registry.all_kept(Kind::SigningKey).await.expect("rows").len(), 1);
        let row = registry.all_kept(Kind::SigningKey).await.expect("rows").remove(0);
        assert_eq!(row.key, first.active_kid());
        let stored: Value = serde_json::from_str(&row.body).expect("JSON");
        assert_eq!((&stored["alg"], &stored["created_at"]), (&Value::from("ES256"), &Value::from(1_000_000)));
        assert!(!format!("{first:?}").contains("private"));
    }

    #[tokio::test]
    async fn the_key_set_is_one_others_can_use() {
        let keys = keys(&MemoryRegistry::default(), &MasterKey::generate().0).await.expect("made");
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(keys.jwks()).expect("a key set");
        let jwk = set.find(keys.active_kid()).expect("our key");
        assert_eq!(jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).expect("a thumbprint"), keys.active_kid());
        let token = keys.sign("at+jwt", &serde_json::json!({"a": 1})).expect("signed");
        let by_jwk = DecodingKey::from_jwk(jwk).expect("a key");
        let by_pem = DecodingKey::from_ec_pem(keys.pem(keys.active_kid()).expect("a PEM").as_bytes()).expect("a key");
        for key in [by_jwk, by_pem] {
            crate::claims::verified_claims::<Value>(&token, &key, Algorithm::ES256).expect("verified");
        }
        let text: Value = serde_json::from_slice(keys.jwks()).expect("JSON");
        assert_eq!((&text["keys"][0]["use"], &text["keys"][0]["alg"]), (&Value::from("sig"), &Value::from("ES256")));
        assert!(text["keys"][0].get("d").is_none());
        assert!(keys.pem("other").is_none() && !keys.has("other"));
    }

    #[tokio::test]
    async fn a_thumbprint_is_that_of_the_rfc() {
        // The members are sorted and nothing stands between them (RFC 7638 section 3.3).
        let jwk = PublicJwk { crv: "P-256".into(), kty: "EC".into(), x: "AA".into(), y: "BB".into() };
        let plain = serde_json::to_string(&jwk).expect("JSON");
        assert_eq!(plain, r#"{"crv":"P-256","kty":"EC","x":"AA","y":"BB"}"#);
        assert_eq!(jwk.thumbprint(), URL_SAFE_NO_PAD.encode(sha256(plain.as_bytes())));
    }

    #[tokio::test]
    async fn another_master_key_or_a_changed_row_is_told_apart() {
        let (registry, master) = (MemoryRegistry::default(), MasterKey::generate().0);
        keys(&registry, &master).await.expect("made");
        let other = keys(&registry, &MasterKey::generate().0).await;
        assert!(matches!(other, Err(IdentityError::Sealed { .. })));
        // The same sealed key under another id.
        let mut row = registry.all_kept(Kind::SigningKey).await.expect("rows").remove(0);
        row.key = "renamed".to_owned();
        registry.keep(vec![Write::Put { row: row.clone(), expect: Expect::Absent }]).await.expect("written");
        assert!(matches!(keys(&registry, &master).await, Err(IdentityError::Sealed { .. })));
        row.body = "{}".to_owned();
        registry.keep(vec![Write::Put { row, expect: Expect::Any }]).await.expect("written");
        assert!(matches!(keys(&registry, &master).await, Err(IdentityError::Corrupt { .. })));
    }

    #[tokio::test]
    async fn a_key_stands_under_its_own_thumbprint_only() {
        let (registry, master) = (MemoryRegistry::default(), MasterKey::generate().0);
        keys(&registry, &master).await.expect("made");
        let mut row = registry.all_kept(Kind::SigningKey).await.expect("rows").remove(0);
        let mut stored: StoredKey = serde_json::from_str(&row.body).expect("a key");
        let sealed = STANDARD.decode(&stored.private).expect("base64");
        let private = master.open(&purpose(&row.key), &sealed).expect("opens");
        // Even sealed by the right master key for the other row.
        row.key = "another".to_owned();
        stored.private = STANDARD.encode(master.seal(&purpose("another"), &private).expect("seals"));
        row.body = serde_json::to_string(&stored).expect("JSON");
        registry.keep(vec![Write::Put { row, expect: Expect::Absent }]).await.expect("written");
        assert!(matches!(keys(&registry, &master).await, Err(IdentityError::Corrupt { .. })));
    }

    #[tokio::test]
    async fn of_two_nodes_that_start_together_one_makes_the_key() {
        let (registry, master) = (MemoryRegistry::default(), MasterKey::generate().0);
        let clock = ManualClock::at(1);
        // Both have looked and found nothing.
        let one = first_key(&registry, &master, &clock).await.expect("made");
        let other = first_key(&registry, &master, &clock).await.expect("made");
        registry.keep(one).await.expect("written");
        assert!(matches!(registry.keep(other).await, Err(RegistryError::Conflict { .. })));
        let (one, other) = (keys(&registry, &master).await, keys(&registry, &master).await);
        assert_eq!(one.expect("loaded").active_kid(), other.expect("loaded").active_kid());
    }
}
