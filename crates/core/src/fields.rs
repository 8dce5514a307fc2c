//! Which header fields are the gateway's own business: those that say who calls, and those that speak about one
//! connection. The data plane takes them away from what comes in; settings may not write them.

use http::HeaderName;
use http::header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE};

/// What the limits of a call admit (draft-ietf-httpapi-ratelimit-headers).
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of the limits of a call.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Fields that speak about one connection (RFC 9110 section 7.6.1), or that the framing writes anew.
pub static HOP_BY_HOP: [HeaderName; 8] =
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION];

/// Fields that only the gateway writes, in every spelling: case does not matter, and `_` is read as `-`. `X_API_Key` is
/// among them, which is not the field of the key and would be taken for it behind the gateway.
pub fn is_identity(name: &str) -> bool {
    let name = name.as_bytes();
    if name.len() < 2 || !(name[0] | 0x20 == b'x' || name[0] | 0x20 == b'f') {
        return false;
    }
    const NAMES: [&str; 4] = ["x-user-json", "x-app-id", "x-request-id", "forwarded"];
    let same = |wanted: &str| {
        name.len() == wanted.len() && name.iter().zip(wanted.bytes()).all(|(byte, wanted)| dashed(*byte) == wanted)
    };
    // A key that is not written as the gateway reads it is nobody's, and some servers would read it as one.
    let is_other_key = || same("x-api-key") && name.contains(&b'_');
    NAMES.into_iter().any(same) || is_other_key() || starts_with(name, "x-forwarded-") || starts_with(name, "x-real-ip")
}

fn starts_with(name: &[u8], prefix: &str) -> bool {
    name.len() >= prefix.len() && name.iter().zip(prefix.bytes()).all(|(byte, wanted)| dashed(*byte) == wanted)
}

fn dashed(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}
