//! What a token of another issuer is for: whether it is an access token, by its type and by claims that only other tokens
//! have. Issuers sign more than access tokens with one key: ID tokens, logout tokens, events, proofs.

use serde_json::{Map, Value};

use super::TokenTypes;

/// What is signed as a JSON Web Token and is no access token: the names of types that are registered with IANA or stand in
/// drafts, without `+jwt`, and what issuers call their refresh and ID tokens.
const OTHERS: &[&str] = &[
    "assertion",
    "authorization-grant",
    "client-authentication",
    "client_assertion",
    "cose",
    "cwt",
    "dpop",
    "eat",
    "entity-configuration",
    "entity-statement",
    "explicit-registration-response",
    "gnap-binding-jws",
    "gnap-binding-jwsd",
    "id",
    "id-token",
    "id_token",
    "idtoken",
    "initialaccesstoken",
    "jose",
    "jwe",
    "jwk",
    "jwk-set",
    "jwks",
    "jws",
    "kb",
    "key-attestation",
    "key-binding",
    "keyattestation",
    "logout",
    "logout-token",
    "logout_token",
    "oauth-authz-req",
    "oauth-authz-resp",
    "oauth-client-attestation",
    "oauth-client-attestation-pop",
    "offline",
    "openid4vci-proof",
    "passport",
    "refresh",
    "refresh-token",
    "refresh_token",
    "refreshtoken",
    "registrationaccesstoken",
    "resolve-response",
    "rt",
    "sd-jwt",
    "secevent",
    "serialized-id",
    "signed-jwk-set",
    "software-statement",
    "statuslist",
    "token-introspection",
    "token-status-list",
    "trust-mark",
    "trust-mark-delegation",
    "trust-mark-status-response",
    "txn_token",
    "txntoken",
    "userinfo",
    "vc",
    "vc-ld",
    "verifier-attestation",
    "vp",
    "vp-ld",
    "wallet-attestation",
    "wit",
    "wpt",
];

/// The claims in which issuers say what a token is, beside its header.
const KINDS: [&str; 4] = ["typ", "token_use", "token_type", "type"];

/// What the header's `typ` says.
#[derive(Debug, PartialEq, Eq)]
enum Typ {
    /// That it is an access token.
    Access,
    /// Nothing that stands against it.
    Open,
    /// That it is something else.
    Other,
}

/// Whether a token with this `typ` in its header and these claims is an access token, as far as can be told.
pub(super) fn is_access_token(types: TokenTypes, typ: Option<&str>, claims: &Map<String, Value>) -> bool {
    match (read(typ), types) {
        (Typ::Access, _) => true,
        (Typ::Open, TokenTypes::Usual) => !says_otherwise(claims),
        _ => false,
    }
}

/// Reads a media type, with or without `application/` (RFC 7515 section 4.1.9), in any case.
fn read(typ: Option<&str>) -> Typ {
    let Some(typ) = typ else { return Typ::Open };
    let essence = typ.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = essence.strip_prefix("application/").unwrap_or(&essence);
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    match name {
        _ if !is_name => Typ::Other,
        "at+jwt" => Typ::Access,
        _ if ["vnd.", "prs.", "x.", "x-"].iter().any(|tree| name.starts_with(tree)) => Typ::Open,
        _ => {
            let plain = name.strip_suffix("+jwt").unwrap_or(name);
            // Another suffix says that it is no JSON Web Token at all.
            if is_other(plain) || plain.contains('+') { Typ::Other } else { Typ::Open }
        }
    }
}

fn is_other(name: &str) -> bool {
    OTHERS.binary_search(&name).is_ok()
}

/// Whether claims say that the token is something else: an ID token, a refresh token, an event.
fn says_otherwise(claims: &Map<String, Value>) -> bool {
    let kinds = || KINDS.iter().filter_map(|kind| claims.get(*kind)?.as_str()).map(str::to_ascii_lowercase);
    if kinds().any(|kind| is_other(kind.strip_suffix("+jwt").unwrap_or(&kind))) {
        return true;
    }
    // OpenID Connect Core sections 2 and 3.3.2.11: of ID tokens alone. RFC 8417 section 2.2: of events, like logouts.
    if ["at_hash", "c_hash", "s_hash"].iter().any(|hash| claims.contains_key(*hash)) {
        return true;
    }
    if claims.get("events").is_some_and(Value::is_object) {
        return true;
    }
    // Some issuers repeat the nonce in access tokens, and say that these are some.
    claims.contains_key("nonce")
        && !kinds().any(|kind| ["bearer", "access", "access_token", "at+jwt"].contains(&&*kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn passes(types: TokenTypes, typ: Option<&str>, claims: &Value) -> bool {
        is_access_token(types, typ, claims.as_object().expect("an object"))
    }

    #[test]
    fn the_list_can_be_searched() {
        assert!(OTHERS.is_sorted(), "in order");
        assert!(OTHERS.iter().all(|name| !name.contains(['+', '/']) && *name == name.to_ascii_lowercase()));
    }

    /// A type in every spelling that means the same.
    fn spellings(name: &str) -> Vec<String> {
        let upper = name.to_ascii_uppercase();
        vec![
            name.to_owned(),
            upper.clone(),
            format!("application/{name}"),
            format!("Application/{upper}"),
            format!(" {name} "),
            format!("{name};charset=utf-8"),
            format!("application/{name} ; a=b"),
        ]
    }

    #[test]
    fn tokens_of_another_type_are_none() {
        for name in OTHERS {
            for typ in spellings(&format!("{name}+jwt")).into_iter().chain(spellings(name)) {
                assert!(!passes(TokenTypes::Usual, Some(&typ), &json!({})), "{typ}");
                assert!(!passes(TokenTypes::Strict, Some(&typ), &json!({})), "{typ}");
            }
        }
        for typ in
            ["", " ", "application/", "text/plain", "application/application/jwt", "dc+sd-jwt", "jose+json", "a\u{fc}"]
        {
            assert!(!passes(TokenTypes::Usual, Some(typ), &json!({})), "{typ}");
        }
    }

    #[test]
    fn access_tokens_say_so_or_nothing_against_it() {
        for typ in spellings("at+jwt") {
            for types in [TokenTypes::Usual, TokenTypes::Strict] {
                assert!(passes(types, Some(&typ), &json!({"nonce": "n", "at_hash": "h"})), "{typ}");
            }
        }
        let open =
            ["jwt", "vnd.example.access+jwt", "x-access+jwt", "prs.me+json", "acme+jwt", "bearer", "access_token"];
        for typ in open.into_iter().flat_map(spellings) {
            assert!(passes(TokenTypes::Usual, Some(&typ), &json!({})), "{typ}");
            assert!(!passes(TokenTypes::Strict, Some(&typ), &json!({})), "{typ}");
        }
        assert!(passes(TokenTypes::Usual, None, &json!({})));
        assert!(!passes(TokenTypes::Strict, None, &json!({})));
    }

    #[test]
    fn an_id_token_is_told_by_its_claims() {
        for (claims, expected) in [
            (json!({"nonce": "n"}), false),
            (json!({"nonce": "n", "typ": "Bearer"}), true),
            (json!({"nonce": "n", "token_use": "access"}), true),
            (json!({"nonce": "n", "typ": "ID"}), false),
            (json!({"at_hash": "h", "typ": "Bearer"}), false),
            (json!({"c_hash": "h"}), false),
            (json!({"s_hash": "h"}), false),
            (json!({"typ": "ID"}), false),
            (json!({"typ": "Refresh"}), false),
            (json!({"typ": "Offline"}), false),
            (json!({"typ": "Logout"}), false),
            (json!({"token_use": "id"}), false),
            (json!({"token_type": "refresh"}), false),
            (json!({"type": "refresh"}), false),
            (json!({"typ": "Bearer", "token_use": "access", "token_type": "access", "type": 7}), true),
            (json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), false),
            (json!({"events": "all", "auth_time": 1, "acr": "1"}), true),
        ] {
            assert_eq!(passes(TokenTypes::Usual, None, &claims), expected, "{claims}");
            assert_eq!(passes(TokenTypes::Usual, Some("JWT"), &claims), expected, "{claims}");
        }
    }
}
