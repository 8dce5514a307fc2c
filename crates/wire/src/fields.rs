//! Stripping header fields: hop-by-hop fields, and those a caller may not set (identity, forwarding, framing), end here.

use portcullis_core::dialect::fomalhaut::field_name;
use portcullis_core::fields::{CREDENTIALS, HOP_BY_HOP, Kind, Known, is_identity, known};
use portcullis_core::message::names::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING, VIA};
use portcullis_core::message::{FieldMap, FieldName, FieldValue, Fields, FieldsMut, HasFields, Name, Value};
use portcullis_core::spellings::is_same;

/// Takes away what must not come in from outside: fields of the connection and of the framing, what `Connection` names,
/// and what is not the caller's to say, in every spelling. What a proxy that is `trusted` says of the caller's address and
/// of the trace stays, where it is spelled as it is called: the proxy has written that, and knows nothing of another
/// spelling. Returns what was removed, in its order.
pub fn strip_request(mut headers: FieldsMut<'_>, trusted: bool) -> Vec<(FieldName, FieldValue)> {
    let mut removed: Vec<(FieldName, FieldValue)> = Vec::new();
    let mut names_others = false;
    let mut lines = headers.view().iter().peekable();
    while let Some((name, value)) = lines.next() {
        let Some(Known { kind, is_exact }) = known(name.as_str()) else { continue };
        let stays = match kind {
            Kind::Key => is_exact,
            Kind::Address | Kind::Trace => is_exact && trusted,
            Kind::Connection | Kind::Gateway | Kind::Believed | Kind::Method | Kind::Dialect => false,
        };
        if !stays {
            names_others |= name == CONNECTION;
            // The one value of a field is not copied: it is put here when the field is taken away.
            let is_first = removed.last().is_none_or(|(last, _)| name != *last);
            let is_last = lines.peek().is_none_or(|(next, _)| *next != name);
            let value = if is_first && is_last { FieldValue::from_static("") } else { value.to_owned() };
            removed.push((field_name(name.as_str()).unwrap_or_else(|| name.to_owned()), value));
        }
    }
    drop(lines);
    if names_others {
        for option in named_in_connection(headers.view()).collect::<Vec<_>>() {
            // One of those above is there already, and one that is named twice is gone.
            if removed.iter().all(|(name, _)| *name != option) {
                removed.extend(headers.view().all(&option).map(|value| (option.clone(), value.to_owned())));
            }
        }
    }
    for (name, value) in &mut removed {
        // Of a field with several values this is the first, and the others follow with their names.
        if let Some(first) = headers.remove(&*name) {
            *value = first;
        }
    }
    removed
}

/// Fields that mean something in a head alone, and in trailers would be said behind the back of whoever has looked at the
/// head (RFC 9110 section 6.5.1): routing, conditions and other modifiers of a request, credentials and cookies, what
/// controls an answer, and the form of the content. Those of the framing are known anyway, and [`CREDENTIALS`] stand elsewhere.
const NEVER_TRAIL: [&str; 41] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "age",
    "authentication-info",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "cookie2",
    "date",
    "expires",
    "from",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "set-cookie2",
    "trailer",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-csrf-token",
];

/// How fields begin by which browsers are told what pages may do and where else the service is: said by an answer that has
/// passed the policies, or not at all.
const OF_ANSWERS: [&str; 8] = [
    "access-control-",
    "alt-svc",
    "clear-site-data",
    "cross-origin-",
    "refresh",
    "strict-transport-security",
    "x-frame-options",
    "content-security-policy",
];

/// The same of hints. Which content a page may load is what browsers look for there.
const NEVER_HINTED: [&str; 7] = [
    "access-control-",
    "alt-svc",
    "clear-site-data",
    "refresh",
    "set-cookie",
    "strict-transport-security",
    "www-authenticate",
];

fn begins(name: &str, begin: &str) -> bool {
    name.get(..begin.len()).is_some_and(|found| is_same(found, begin))
}

fn never_trail() -> impl Iterator<Item = &'static str> {
    NEVER_TRAIL.into_iter().chain(CREDENTIALS.iter().map(FieldName::as_str))
}

/// Takes away from trailers what has no place there, in every spelling.
fn strip_late(mut trailers: FieldsMut<'_>) {
    let is_late = |name: &str| {
        never_trail().any(|never| is_same(never, name)) || OF_ANSWERS.iter().any(|begin| begins(name, begin))
    };
    let doomed: Vec<_> = trailers.view().names().filter(|name| is_late(name.as_str())).map(Name::to_owned).collect();
    for name in &doomed {
        trailers.remove(name);
    }
}

/// Takes away from a request's trailers what must not come in from outside, what is the gateway's to say or to know, and
/// what belongs to a head: a backend may put trailers beside the fields of the head.
pub fn strip_trailers(mut trailers: FieldsMut<'_>) {
    strip_request(trailers.lend(), false);
    strip_late(trailers);
}

/// The same for the trailers of an answer. What else a service says there passes, as the metadata of gRPC does.
pub fn strip_answer_trailers(mut trailers: FieldsMut<'_>) {
    strip_response(trailers.lend());
    let is_ours = |name: &str| matches!(known(name), Some(Known { kind: Kind::Gateway | Kind::Connection, .. }));
    let doomed: Vec<_> = trailers.view().names().filter(|name| is_ours(name.as_str())).map(Name::to_owned).collect();
    for name in &doomed {
        trailers.remove(name);
    }
    strip_late(trailers);
}

/// Whether a message has a transfer coding that is not `chunked`, or has `chunked` twice.
pub fn has_other_coding(headers: Fields<'_>) -> bool {
    let mut codings = headers.all(TRANSFER_ENCODING);
    codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) || codings.next().is_some()
}

/// Takes away what speaks about the upstream connection alone.
pub fn strip_response(mut headers: FieldsMut<'_>) {
    let mut found = HOP_BY_HOP.each_ref().map(|_| false);
    for name in headers.view().names() {
        if let Some(position) = hop_by_hop(name) {
            found[position] = true;
        }
    }
    let found = || HOP_BY_HOP.iter().zip(found).filter_map(|(name, found)| found.then_some(name));
    if found().any(|name| *name == CONNECTION) {
        for name in named_in_connection(headers.view()).collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
    if found().any(|name| *name == TRANSFER_ENCODING) {
        // Framed by the coding alone (RFC 9112 section 6.3); a length beside it is a lie for somebody.
        headers.remove(CONTENT_LENGTH);
    }
    for name in found() {
        headers.remove(name);
    }
}

/// What of an early hint goes on to the caller: nothing about the upstream connection or an answer that is not there
/// yet, nothing that only the gateway says, and no cookies and nothing of what pages of other origins may do, which belong
/// to an answer that has passed the policies.
pub fn of_hint(fields: Fields<'_>) -> FieldMap {
    let mut kept = fields.to_owned();
    let mut fields = kept.fields_mut();
    strip_response(fields.lend());
    let is_of_answers = |name: &str| is_identity(name) || NEVER_HINTED.iter().any(|begin| begins(name, begin));
    let doomed: Vec<_> =
        fields.view().names().filter(|name| is_of_answers(name.as_str())).map(Name::to_owned).collect();
    for name in doomed.iter().chain(&[CONTENT_LENGTH, TRAILER, DATE, VIA]) {
        fields.remove(name);
    }
    kept
}

/// Whether a list of tokens has this one, in any case.
pub fn lists_token(list: Value<'_>, token: &str) -> bool {
    list.as_bytes().split(|byte| *byte == b',').any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Which of those it is that speak about one connection. Most fields are none by their length alone.
#[inline]
pub fn hop_by_hop(name: Name<'_>) -> Option<usize> {
    match name.as_str().len() {
        2 | 7 | 10 | 16..=19 => HOP_BY_HOP.iter().position(|known| *known == name),
        _ => None,
    }
}

fn named_in_connection(headers: Fields<'_>) -> impl Iterator<Item = FieldName> {
    let values = headers.all(CONNECTION);
    let options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    // What most say names a field that is taken away without being named.
    let others = options.filter(|option| !option.eq_ignore_ascii_case(b"keep-alive"));
    others.filter_map(|option| FieldName::from_bytes(option).ok())
}

#[cfg(test)]
mod tests {
    use portcullis_core::fields::is_never_seen;
    use portcullis_core::message::HasFields;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> FieldMap {
        let mut map = FieldMap::new();
        for (name, value) in lines {
            map.add(FieldName::from_bytes(name.as_bytes()).expect("a name"), value.parse().expect("a value"));
        }
        map
    }

    fn left(lines: &[(&str, &str)]) -> Vec<String> {
        let mut map = headers(lines);
        strip_request(map.fields_mut(), false);
        map.fields().names().map(|name| name.to_string()).collect()
    }

    #[test]
    fn what_is_taken_away_is_told_with_all_its_values_in_their_order() {
        let lines = [
            ("host", "a"),
            ("x-fo-nonce", "1"),
            ("accept", "*/*"),
            ("x-fo-nonce", "2"),
            ("connection", "x-own, close"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-own", "3"),
            ("x-own", "4"),
            ("x-fo-other", "5"),
        ];
        let mut map = headers(&lines);
        let removed = strip_request(map.fields_mut(), false);
        let told: Vec<_> = removed.iter().map(|(name, value)| (name.as_str(), value.text().expect("text"))).collect();
        let expected = [
            ("host", "a"),
            ("x-fo-nonce", "1"),
            ("x-fo-nonce", "2"),
            ("connection", "x-own, close"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-fo-other", "5"),
            ("x-own", "3"),
            ("x-own", "4"),
        ];
        assert_eq!(told, expected);
        assert_eq!(map, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn identity_fields_are_taken_away_in_every_spelling() {
        let none: [String; 0] = [];
        for name in [
            "X-User-Json",
            "x_user_json",
            "X_User-Json",
            "X-App-Id",
            "x_app_id",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Forwarded-Anything",
            "X-Real-IP",
            "x_real_ip",
            "Forwarded",
            "X-Request-Id",
            "X_Request_ID",
        ] {
            assert_eq!(left(&[(name, "1"), (name, "2")]), none, "{name}");
        }
        assert_eq!(left(&[("X-User-Jsons", "1"), ("X-App", "2"), ("F", "3")]), ["x-user-jsons", "x-app", "f"]);
    }

    /// Names that are the gateway's, others believe, or belong to the framing; to be spelled in every way.
    const NOT_THE_CALLERS: [&str; 16] = [
        "x-user-json",
        "x-app-id",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "x-real-ip",
        "remote-user",
        "x-auth-request-user",
        "x-ssl-client-cert",
        "client-cert",
        "x-original-url",
        "x-http-method-override",
        "true-client-ip",
        "content-length",
        "transfer-encoding",
        "keep-alive",
    ];

    fn spellings(name: &str) -> impl Iterator<Item = String> {
        b"!#$%&'*+-.^_`|~".iter().map(move |other| name.replace('-', &char::from(*other).to_string()))
    }

    #[test]
    fn what_is_not_the_callers_is_taken_away_in_every_spelling() {
        for name in NOT_THE_CALLERS {
            for spelling in spellings(name).chain([name.to_ascii_uppercase()]) {
                let mut trailers = headers(&[(&spelling, "1"), ("x-kept", "2")]);
                assert_eq!(left(&[(&spelling, "1"), ("x-kept", "2"), (&spelling, "3")]), ["x-kept"], "{spelling}");
                strip_trailers(trailers.fields_mut());
                assert_eq!(trailers.fields().len(), 1, "{spelling} in trailers");
            }
        }
    }

    #[test]
    fn a_trusted_proxy_says_where_a_call_comes_from_and_nothing_else() {
        let stays = |name: &str| {
            let mut map = headers(&[(name, "1")]);
            strip_request(map.fields_mut(), true);
            !map.fields().is_empty()
        };
        for name in
            ["client-ip", "true-client-ip", "cf-connecting-ip", "x-cluster-client-ip", "traceparent", "tracestate"]
        {
            assert!(stays(name), "{name}");
            assert!(spellings(name).all(|spelling| stays(&spelling) == (spelling == *name)), "{name}");
        }
        for name in NOT_THE_CALLERS.into_iter().filter(|name| *name != "true-client-ip") {
            assert!(spellings(name).all(|spelling| !stays(&spelling)), "{name}");
        }
    }

    /// What declarations may ask for is what may be there.
    #[test]
    fn a_field_that_is_never_seen_is_one_that_is_taken_away_from_every_call() {
        let more = ["host", "expect", "te", "forwarded", "x-forwarded-proto", "x-method-override", "proxy"];
        let kept = ["x-api-key", "true-client-ip", "traceparent", "authorization", "cookie", "x-tenant", "hosts"];
        for name in NOT_THE_CALLERS.into_iter().chain(more).chain(kept) {
            for spelling in spellings(name).chain([name.to_ascii_uppercase()]) {
                let mut map = headers(&[(&spelling, "1")]);
                strip_request(map.fields_mut(), true);
                assert_eq!(map.fields().is_empty(), is_never_seen(&spelling), "{spelling}");
            }
        }
    }

    #[test]
    fn a_key_passes_the_door_in_its_own_spelling_and_in_no_trailer() {
        assert_eq!(left(&[("X-API-Key", "1"), ("X_API_Key", "2"), ("X.Api.Key", "3")]), ["x-api-key"]);
        let mut trailers = headers(&[
            ("X-API-Key", "1"),
            ("Authorization", "1"),
            ("Via", "1"),
            ("Traceparent", "1"),
            ("Tracestate", "1"),
        ]);
        strip_trailers(trailers.fields_mut());
        assert!(trailers.fields().is_empty(), "{trailers:?}");
    }

    #[test]
    fn what_belongs_to_a_head_is_in_no_trailer_and_metadata_passes() {
        for name in never_trail().chain(OF_ANSWERS.map(|begin| begin.trim_end_matches('-'))) {
            let name = if name == "access-control" { "access-control-allow-origin" } else { name };
            let name = if name == "cross-origin" { "cross-origin-opener-policy" } else { name };
            for spelling in spellings(name).chain([name.to_ascii_uppercase()]) {
                let kept = [("grpc-status", "0"), ("x-kept", "2"), ("server-timing", "3"), ("x_bin", "4")];
                for strip in [strip_trailers, strip_answer_trailers] {
                    let mut trailers = headers(&kept);
                    trailers.add(
                        FieldName::from_bytes(spelling.as_bytes()).expect("a name"),
                        "1".parse().expect("a value"),
                    );
                    strip(trailers.fields_mut());
                    assert_eq!(trailers, headers(&kept), "{spelling}");
                }
            }
        }
        for name in
            ["grpc-message", "grpc-status-details-bin", "etag", "digest", "x-metadata-bin", "x_metadata", "data"]
        {
            for strip in [strip_trailers, strip_answer_trailers] {
                let mut trailers = headers(&[(name, "1")]);
                strip(trailers.fields_mut());
                assert_eq!(trailers.fields().len(), 1, "{name}");
            }
        }
    }

    #[test]
    fn an_answer_says_nothing_of_the_gateways_in_trailers() {
        for name in ["x-request-id", "x-user-json", "x-forwarded-for", "content-length", "transfer-encoding", "host"] {
            for spelling in spellings(name) {
                let mut trailers = headers(&[(&spelling, "1"), ("x-kept", "2")]);
                strip_answer_trailers(trailers.fields_mut());
                assert_eq!(trailers.fields().len(), 1, "{spelling}");
            }
        }
    }

    #[test]
    fn hints_say_nothing_that_an_answer_is_held_to() {
        for begin in NEVER_HINTED {
            for spelling in spellings(&format!("{}{}", begin, if begin.ends_with('-') { "allow-origin" } else { "" })) {
                let hint =
                    of_hint(headers(&[(&spelling, "1"), ("link", "2"), ("content-security-policy", "3")]).fields());
                assert_eq!(hint.fields().len(), 2, "{spelling}");
            }
        }
    }

    #[test]
    fn what_connection_names_ends_here() {
        let found = left(&[
            ("Connection", "close, X-Secret"),
            ("Connection", "x-other"),
            ("X-Secret", "1"),
            ("X-Other", "2"),
            ("Accept", "3"),
        ]);
        assert_eq!(found, ["accept"]);
    }

    #[test]
    fn what_connection_says_of_itself_names_fields_too() {
        let all = [("Connection", "close, Keep-Alive"), ("Close", "1"), ("Keep-Alive", "timeout=5"), ("X-A", "1")];
        assert_eq!(left(&all), ["x-a"]);
        let mut answer = headers(&all);
        strip_response(answer.fields_mut());
        assert_eq!(answer.fields().names().map(|name| name.to_string()).collect::<Vec<_>>(), ["x-a"]);
    }

    #[test]
    fn every_field_about_a_connection_is_known_by_its_length() {
        for (position, name) in HOP_BY_HOP.iter().enumerate() {
            assert_eq!(hop_by_hop(name.name()), Some(position), "{name}");
        }
    }

    #[test]
    fn a_length_beside_a_coding_does_not_pass() {
        let mut map = headers(&[("Content-Length", "3"), ("Transfer-Encoding", "chunked"), ("X-A", "1")]);
        strip_response(map.fields_mut());
        assert_eq!(map.fields().names().map(|name| name.to_string()).collect::<Vec<_>>(), ["x-a"]);
    }
}
