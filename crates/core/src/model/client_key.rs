//! A public key of a client, with which its signatures are verified (asymmetric keys, JWK, RFC 7517).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Name, Problem};

/// Public keys of one client.
pub const MAX_CLIENT_KEYS: usize = 8;
/// Bytes of a key in PEM, and of a JWK in JSON: RSA keys of 8,192 bits have about 1,500.
const MAX_KEY_BYTES: usize = 8 << 10;
/// The members of a JWK that only a private or a shared key has (RFC 7518, section 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The algorithms a public key of a client can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8032).
    #[serde(rename = "ed25519")]
    Ed25519,
    /// ECDSA over P-256 with SHA-256.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    /// RSASSA-PSS with SHA-512.
    #[serde(rename = "rsa-pss-sha512")]
    RsaPssSha512,
}

impl KeyAlgorithm {
    /// Its name in the registry of HTTP signature algorithms (RFC 9421, section 6.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
        }
    }
}

/// A public key of a client: exactly one of `jwk` and `pem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["jwk"]}, {"required": ["pem"]}]))]
pub struct ClientKey {
    /// What signatures call the key (`keyid`), unique among the keys of the client.
    #[schemars(example = "till-2026")]
    pub id: Name,
    /// The one algorithm that it is for.
    pub algorithm: KeyAlgorithm,
    /// The key as a JWK, without private members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwk: Option<Map<String, Value>>,
    /// The key in PEM (SubjectPublicKeyInfo, `BEGIN PUBLIC KEY`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

impl ClientKey {
    /// What is wrong with the form of keys, each with its place below `keys`. Whether they are keys of their algorithms
    /// is another matter. Nothing of a key is in a message: it may be a private one.
    pub fn problems(keys: &[Self]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tell = |place: String, message: String| problems.push(Problem::new(place, message));
        if keys.len() > MAX_CLIENT_KEYS {
            tell("keys".to_owned(), format!("expected at most {MAX_CLIENT_KEYS} keys, found {}", keys.len()));
        }
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|other| other.id == key.id) {
                tell(format!("keys[{at}].id"), format!("another key of this client is called '{}' already", key.id));
            }
            let flaw = match (&key.jwk, &key.pem) {
                (Some(jwk), None) => jwk_flaw(jwk).map(|flaw| (".jwk", flaw)),
                (None, Some(pem)) => pem_flaw(pem).map(|flaw| (".pem", flaw)),
                _ => Some(("", "expected exactly one of 'jwk' and 'pem'".to_owned())),
            };
            if let Some((field, flaw)) = flaw {
                tell(format!("keys[{at}]{field}"), flaw);
            }
        }
        problems
    }
}

fn jwk_flaw(jwk: &Map<String, Value>) -> Option<String> {
    if PRIVATE_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
        return Some(PRIVATE.to_owned());
    }
    if serde_json::to_vec(jwk).map_or(usize::MAX, |json| json.len()) > MAX_KEY_BYTES {
        return Some(format!("expected at most {MAX_KEY_BYTES} bytes"));
    }
    let has_kind = jwk.get("kty").is_some_and(Value::is_string);
    (!has_kind).then(|| "expected a JWK with 'kty'".to_owned())
}

fn pem_flaw(pem: &str) -> Option<String> {
    if pem.contains("PRIVATE KEY") {
        return Some(PRIVATE.to_owned());
    }
    if pem.len() > MAX_KEY_BYTES {
        return Some(format!("expected at most {MAX_KEY_BYTES} bytes"));
    }
    let text = pem.trim();
    let is_one = text.starts_with(BEGIN) && text.ends_with(END) && text.matches("-----BEGIN").count() == 1;
    (!is_one).then(|| format!("expected one public key in PEM, from '{BEGIN}' to '{END}'"))
}

const PRIVATE: &str = "is a private key, which the gateway must not have: declare the public one. Replace this key, because it has been sent over the network";
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";

    #[track_caller]
    fn check(keys: Value, expected: &[&str]) {
        let keys: Vec<ClientKey> = serde_json::from_value(keys).expect("reads");
        let found = ClientKey::problems(&keys);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found:?}");
            assert!(!found.contains("c2VjcmV0"), "nothing of the key: {found}");
        }
    }

    #[test]
    fn a_key_is_one_public_key() {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"});
        check(
            json!([{"id": "a", "algorithm": "ed25519", "jwk": jwk}, {"id": "b", "algorithm": "ed25519", "pem": PEM}]),
            &[],
        );
        check(json!([{"id": "a", "algorithm": "rsa-pss-sha512"}]), &["keys[0]: expected exactly one of"]);
        check(json!([{"id": "a", "algorithm": "ed25519", "jwk": jwk, "pem": PEM}]), &["keys[0]: expected exactly one"]);
        check(json!([{"id": "a", "algorithm": "ed25519", "jwk": {"x": "AAAA"}}]), &["keys[0].jwk: expected a JWK"]);
        for bad in ["", "AAAA", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", &format!("{PEM}{PEM}")] {
            check(json!([{"id": "a", "algorithm": "ed25519", "pem": bad}]), &["keys[0].pem: expected one public key"]);
        }
    }

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        for member in PRIVATE_MEMBERS {
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", member: "c2VjcmV0"});
            check(json!([{"id": "a", "algorithm": "ed25519", "jwk": jwk}]), &["keys[0].jwk: is a private key"]);
        }
        for word in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let pem = format!("{PEM}-----BEGIN {word}-----\nc2VjcmV0\n-----END {word}-----\n");
            check(json!([{"id": "a", "algorithm": "ed25519", "pem": pem}]), &["keys[0].pem: is a private key"]);
        }
    }

    #[test]
    fn keys_are_few_small_and_told_apart() {
        let many: Vec<_> = (0..9).map(|id| json!({"id": id.to_string(), "algorithm": "ed25519", "pem": PEM})).collect();
        check(many.into(), &["keys: expected at most 8 keys, found 9"]);
        check(
            json!([{"id": "a", "algorithm": "ed25519", "pem": PEM}, {"id": "a", "algorithm": "ed25519", "pem": PEM}]),
            &["keys[1].id: another key of this client is called 'a'"],
        );
        let jwk = json!({"kty": "RSA", "n": "A".repeat(MAX_KEY_BYTES), "e": "AQAB"});
        let pem = format!("{PEM}{}", "A".repeat(MAX_KEY_BYTES));
        check(
            json!([{"id": "a", "algorithm": "ed25519", "jwk": jwk}, {"id": "b", "algorithm": "ed25519", "pem": pem}]),
            &["keys[0].jwk: expected at most", "keys[1].pem: expected at most"],
        );
    }
}
