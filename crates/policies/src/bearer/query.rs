//! Tokens in the query (RFC 6750 section 2.3): `access_token`, which never goes on to a service however it is spelled.

use std::borrow::Cow;

use bytes::Bytes;
use portcullis_core::call::Call;
use portcullis_core::escapes;

/// The parameter.
const PARAMETER: &[u8] = b"access_token";

/// The first token in the query, written plainly.
pub(super) fn token(call: &Call) -> Option<String> {
    let query = call.request.query.as_deref().unwrap_or_default();
    let mut values =
        query.split(|byte| *byte == b'&').filter_map(|pair| pair.strip_prefix(PARAMETER)?.strip_prefix(b"="));
    values.find_map(|token| std::str::from_utf8(token).ok()).map(str::to_owned)
}

/// Every value in the query that a service may read as the token, however it is spelled and parted: in the order of the
/// query, without its escapes.
pub(super) fn all(call: &Call) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let query = call.request.query.as_deref().unwrap_or_default();
    // In no spelling is the parameter shorter than its name.
    let query = if query.len() < PARAMETER.len() { &[][..] } else { query };
    query.split(|byte| matches!(byte, b'&' | b';')).filter_map(named)
}

/// Cuts every `access_token` out of the query if one of them is doomed.
pub(super) fn cut(call: &mut Call, doomed: impl Fn(&[u8]) -> bool) {
    let Some(query) = call.request.query.as_deref() else { return };
    // In no spelling is the parameter shorter than its name.
    if query.len() < PARAMETER.len() {
        return;
    }
    let mut pairs = query.split(|byte| *byte == b'&');
    if !pairs.any(|pair| value(pair).is_some_and(|token| doomed(&token))) {
        return;
    }
    let left = query.split(|byte| *byte == b'&').filter(|pair| value(pair).is_none()).collect::<Vec<_>>().join(&b'&');
    call.request.query = (!left.is_empty()).then(|| Bytes::from(left));
}

/// The value of a pair that a service may read as the parameter: also where it is escaped, and where `;` parts it from
/// another one.
fn value(pair: &[u8]) -> Option<Cow<'_, [u8]>> {
    pair.split(|byte| *byte == b';').find_map(named)
}

/// The value of a part, if its name is that of the parameter.
fn named(part: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut halves = part.splitn(2, |byte| *byte == b'=');
    let name = decoded(halves.next().unwrap_or_default());
    (name.as_ref() == PARAMETER).then(|| decoded(halves.next().unwrap_or_default()))
}

/// The text without its escapes.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'%') { Cow::Owned(escapes::decoded(text).collect()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(query: &str) -> String {
        let mut call = crate::testing::call("GET", "/", &[]);
        call.request.query = Some(Bytes::copy_from_slice(query.as_bytes()));
        cut(&mut call, |_| true);
        call.request.query.map(|left| String::from_utf8_lossy(&left).into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_token_is_cut_out_however_it_is_spelled() {
        for (query, expected) in [
            ("access_token=x", ""),
            ("a&access_token=x&b=%20", "a&b=%20"),
            ("access%5Ftoken=x&a", "a"),
            ("%61ccess_toke%6e=x&a", "a"),
            ("access%5ftoken", ""),
            ("a=1;access_token=x&b", "b"),
            ("access_token=x;a=1", ""),
            ("xaccess_token=x", "xaccess_token=x"),
            ("Access_Token=x", "Access_Token=x"),
            ("a=access_token", "a=access_token"),
            ("access%5Gtoken=x&%&%5", "access%5Gtoken=x&%&%5"),
        ] {
            assert_eq!(left(query), expected, "{query}");
        }
    }

    #[test]
    fn fuzz_query() {
        let seeds = [
            "a=1&access_token=x&b",
            "access%5Ftoken=x",
            "a=1;access_token=x",
            "%61ccess_token=%41",
            "access_token",
            "&&;=&%",
            "a%=%zz",
        ];
        crate::fuzzing::run("query", &seeds, |input| {
            let mut call = crate::testing::call("GET", "/", &[]);
            call.request.query = Some(Bytes::copy_from_slice(input));
            let shown = token(&call).is_some();
            assert!(!shown || all(&call).next().is_some(), "what is read plainly is among all of them");
            cut(&mut call, |_| true);
            let left = call.request.query.clone().unwrap_or_default();
            // Whatever a service takes for the separator, and however often it decodes: no token is left.
            for pair in left.split(|byte| matches!(byte, b'&' | b';')) {
                let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
                assert_ne!(decoded(name).as_ref(), PARAMETER);
            }
            assert_eq!((token(&call), all(&call).next()), (None, None));
            // And what has no token stays as it came, in its order.
            if left.len() == input.len() {
                assert_eq!(left.as_ref(), input);
            }
            (shown, left.is_empty(), left.len() == input.len())
        });
    }
}
