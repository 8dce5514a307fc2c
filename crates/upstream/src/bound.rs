//! Connection-based authentication: NTLM, and Negotiate where it leads to NTLM, authenticate the connection and not each
//! request. Whatever comes over such a connection afterwards is taken for whoever has logged in, so it serves nobody else.

use http::StatusCode;
use portcullis_core::message::names::{AUTHORIZATION, PROXY_AUTHENTICATE, WWW_AUTHENTICATE};
use portcullis_core::message::{Fields, Value};

/// Schemes that log in a connection, or may.
const SCHEMES: [&[u8]; 4] = [b"ntlm", b"negotiate", b"kerberos", b"nego2"];

/// Whether a request logs in the connection that it goes over, or begins to.
pub fn by_request(headers: Fields<'_>) -> bool {
    // What follows a scheme here is one long token that is not worth a look.
    let begins = |value: Value<'_>| is_scheme(words(value.as_bytes()).next().unwrap_or_default());
    headers.all(AUTHORIZATION).any(begins)
}

/// Whether an answer says that its connection can be logged in. Another answer to a request without a login logs in
/// nothing.
pub fn by_answer(status: StatusCode, headers: Fields<'_>) -> bool {
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
        return false;
    }
    // Where a challenge ends and the next begins takes some reading (RFC 9110 section 11.6.1). Whoever only looks for the
    // word loses a connection at most, where it stands in a realm.
    let offers = |value: Value<'_>| words(value.as_bytes()).any(is_scheme);
    [WWW_AUTHENTICATE, PROXY_AUTHENTICATE].iter().any(|name| headers.all(name).any(offers))
}

/// What stands between spaces, commas, quotes and the like.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| !byte.is_ascii_alphanumeric() && !b"-_./+~".contains(byte)).filter(|word| !word.is_empty())
}

fn is_scheme(word: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {

    use super::*;
    use portcullis_core::message::{FieldMap, FieldName, HasFields};

    fn fields(name: &FieldName, values: &[&str]) -> FieldMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn schemes_that_log_in_a_connection_are_found_in_every_form() {
        for scheme in ["NTLM", "ntlm", "Ntlm", "Negotiate", "NEGOTIATE", "Kerberos", "Nego2"] {
            let alone = scheme.to_owned();
            let with_token = format!("{scheme} TlRMTVNTUAABAAAAB4IIogAAAAA=");
            let spaced = format!("  {scheme}\t TlRMTVNTUAABAAAA");
            for value in [&alone, &with_token, &spaced] {
                assert!(by_request(fields(&AUTHORIZATION, &[value]).fields()), "{value}");
                assert!(by_request(fields(&AUTHORIZATION, &["Basic eDp5", value]).fields()), "{value}");
                for name in [WWW_AUTHENTICATE, PROXY_AUTHENTICATE] {
                    assert!(by_answer(StatusCode::UNAUTHORIZED, fields(&name, &[value]).fields()), "{value}");
                    assert!(
                        by_answer(StatusCode::UNAUTHORIZED, fields(&name, &["Basic realm=\"a\"", value]).fields()),
                        "{value}"
                    );
                }
            }
            for value in [
                format!("Basic realm=\"a\", {scheme}"),
                format!("Basic realm=\"a, b\",{scheme} abc="),
                format!("{scheme},Basic realm=\"a\""),
                format!("Digest qop=\"auth\", nonce=\"x\" , {scheme} , Bearer"),
                format!(",,{scheme}"),
            ] {
                assert!(by_answer(StatusCode::UNAUTHORIZED, fields(&WWW_AUTHENTICATE, &[&value]).fields()), "{value}");
            }
        }
    }

    #[test]
    fn other_schemes_let_in_a_call_alone() {
        for value in
            ["Basic bnRsbTpudGxt", "Bearer ntlm", "Digest username=\"Negotiate\"", "NTLMv3 x", "", "X-NTLM abc", "Hawk"]
        {
            assert!(!by_request(fields(&AUTHORIZATION, &[value]).fields()), "{value}");
        }
        for value in ["Basic realm=\"x\"", "Bearer error=\"invalid_token\"", "Digest realm=\"negotiated\"", "xNTLM", ""]
        {
            assert!(!by_answer(StatusCode::UNAUTHORIZED, fields(&WWW_AUTHENTICATE, &[value]).fields()), "{value}");
        }
        assert!(!by_answer(StatusCode::OK, fields(&WWW_AUTHENTICATE, &["NTLM"]).fields()));
        assert!(
            !by_request(FieldMap::new().fields()) && !by_answer(StatusCode::UNAUTHORIZED, FieldMap::new().fields())
        );
    }
}
