//! What is wrong with the settings of policies.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_core::fields::CREDENTIALS;
use serde_json::{Map, Value};

use super::finding::{Location, Subject};
use super::sites::sites;

/// Bits an RSA key should have that is to be trusted for years.
const RSA_BITS: usize = 3_072;
/// What surrounds the modulus of an RSA key of that size in its DER form.
const DER_FRAME: usize = 38;
/// Seconds a clock may be off.
const MOST_LEEWAY: u64 = 300;
/// A body that takes up a disk or a memory: 1 GiB.
const LARGE_BODY: u64 = 1 << 30;

/// Every place a policy is declared at.
fn each(subject: &Subject<'_>, kind: &str, look: impl Fn(&str, &Value, &mut Vec<Location>)) -> Vec<Location> {
    let mut found = Vec::new();
    for site in sites(subject) {
        if let Some((path, policy)) = site.policy(kind) {
            look(&path, policy, &mut found);
        }
    }
    found
}

/// The texts of a list.
fn texts<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let items = object.get(field).and_then(Value::as_array).into_iter().flatten().enumerate();
    items.filter_map(|(at, item)| Some((at, item.as_str()?)))
}

fn is_true(object: &Value, field: &str) -> bool {
    object.get(field) == Some(&Value::Bool(true))
}

pub(super) fn cors_any_origin(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "cors", |path, cors, found| {
        for (at, _) in texts(cors, "origins").filter(|(_, origin)| *origin == "*") {
            found.push(Location::new(format!("{path}.origins[{at}]"), "'*'"));
        }
    })
}

pub(super) fn cors_subdomains_with_credentials(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "cors", |path, cors, found| {
        let is_wild = |origin: &str| origin != "*" && origin.contains('*');
        for (at, origin) in texts(cors, "origins").filter(|(_, o)| is_wild(o) && is_true(cors, "credentials")) {
            found.push(Location::new(format!("{path}.origins[{at}]"), format!("'{origin}' with credentials")));
        }
    })
}

pub(super) fn cors_plain_origin(subject: &Subject<'_>) -> Vec<Location> {
    let is_local = |host: &str| {
        let host = host.split(':').next().unwrap_or(host);
        host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host.starts_with('[')
    };
    each(subject, "cors", |path, cors, found| {
        for (at, origin) in texts(cors, "origins") {
            if origin.strip_prefix("http://").is_some_and(|host| !is_local(host)) {
                found.push(Location::new(format!("{path}.origins[{at}]"), format!("'{origin}'")));
            }
        }
    })
}

pub(super) fn filter_of_everything(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "ip_filter", |path, filter, found| {
        for (at, network) in texts(filter, "allow").filter(|(_, network)| network.ends_with("/0")) {
            found.push(Location::new(format!("{path}.allow[{at}]"), network));
        }
    })
}

pub(super) fn unlimited_body(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "request_limits", |path, limits, found| match limits.get("body_bytes").and_then(Value::as_u64) {
        Some(0) => found.push(Location::new(format!("{path}.body_bytes"), "0 is no limit")),
        Some(bytes) if bytes > LARGE_BODY => {
            found.push(Location::new(format!("{path}.body_bytes"), format!("{bytes} bytes")));
        }
        _ => {}
    })
}

pub(super) fn token_in_query(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "bearer", |path, bearer, found| {
        if is_true(bearer, "query") {
            found.push(Location::new(format!("{path}.query"), "true"));
        }
    })
}

pub(super) fn forwarded_credentials(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "bearer", |path, bearer, found| {
        if is_true(bearer, "forward_credentials") {
            found.push(Location::new(format!("{path}.forward_credentials"), "true"));
        }
    })
}

pub(super) fn told_signatures(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "signature", |path, signature, found| {
        if is_true(signature, "debug_signatures") {
            found.push(Location::new(format!("{path}.debug_signatures"), "true"));
        }
    })
}

fn each_key(subject: &Subject<'_>, look: impl Fn(&str, &Value) -> Option<Location>) -> Vec<Location> {
    each(subject, "bearer", |path, bearer, found| {
        let keys = bearer.get("keys").and_then(Value::as_array).into_iter().flatten().enumerate();
        found.extend(keys.filter_map(|(at, key)| look(&format!("{path}.keys[{at}]"), key)));
    })
}

pub(super) fn key_without_audience(subject: &Subject<'_>) -> Vec<Location> {
    each_key(subject, |path, key| {
        let is_named = match key.get("audience") {
            Some(Value::String(one)) => !one.is_empty(),
            Some(Value::Array(several)) => !several.is_empty(),
            _ => false,
        };
        (!is_named).then(|| Location::new(path, "no audience"))
    })
}

pub(super) fn key_with_leeway(subject: &Subject<'_>) -> Vec<Location> {
    each_key(subject, |path, key| {
        let leeway = key.get("leeway").and_then(Value::as_u64).filter(|leeway| *leeway > MOST_LEEWAY)?;
        Some(Location::new(format!("{path}.leeway"), format!("{leeway} s")))
    })
}

pub(super) fn short_rsa_key(subject: &Subject<'_>) -> Vec<Location> {
    each_key(subject, |path, key| {
        let bits = rsa_bits(key).filter(|bits| *bits < RSA_BITS)?;
        Some(Location::new(path, format!("{bits} bits")))
    })
}

/// The size of a key's modulus, if it is RSA's and can be read.
fn rsa_bits(key: &Value) -> Option<usize> {
    if !key.get("algorithm")?.as_str()?.starts_with(['R', 'P']) {
        return None;
    }
    if let Some(modulus) = key.get("jwk").and_then(|jwk| jwk.get("n")?.as_str()) {
        return Some(URL_SAFE_NO_PAD.decode(modulus.trim_end_matches('=')).ok()?.len() * 8);
    }
    let pem = key.get("pem")?.as_str()?;
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).ok()?;
    // What is around the modulus is as long in every key of this order of size.
    Some(der.len().checked_sub(DER_FRAME)? * 8)
}

/// Credentials in a file of declarations, which is read by more people than secrets are.
pub(super) fn credential_in_headers(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "headers", |path, headers, found| {
        for change in ["set", "add"] {
            let fields = headers.get("request").and_then(|request| request.get(change)?.as_object());
            let fields = fields.into_iter().flat_map(Map::keys);
            for name in fields.filter(|name| CREDENTIALS.iter().any(|field| name.eq_ignore_ascii_case(field.as_str())))
            {
                found.push(Location::new(format!("{path}.request.{change}.{name}"), name.as_str()));
            }
        }
    })
}

pub(super) fn method_override(subject: &Subject<'_>) -> Vec<Location> {
    each(subject, "headers", |path, headers, found| {
        if headers.get("method_override").and_then(Value::as_str) == Some("allow") {
            found.push(Location::new(format!("{path}.method_override"), "'allow'"));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As `openssl genrsa` makes them: the SPKI form of a key of so many bits.
    fn pem(bits: usize) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(vec![0; bits / 8 + 38]))
    }

    #[test]
    fn keys_have_a_size_in_both_forms() {
        for bits in [2_048, 3_072, 4_096] {
            assert_eq!(rsa_bits(&json!({"algorithm": "RS256", "pem": pem(bits)})), Some(bits));
            let n = URL_SAFE_NO_PAD.encode(vec![255; bits / 8]);
            assert_eq!(rsa_bits(&json!({"algorithm": "RS256", "jwk": {"n": n}})), Some(bits));
        }
        assert_eq!(rsa_bits(&json!({"algorithm": "ES256", "pem": pem(2_048)})), None);
        assert_eq!(rsa_bits(&json!({"algorithm": "RS256", "pem": "nonsense"})), None);
        assert_eq!(rsa_bits(&json!({"algorithm": 7})), None);
    }
}
