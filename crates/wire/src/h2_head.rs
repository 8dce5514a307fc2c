//! What messages over HTTP/2 and HTTP/3 have in common: heads without a word about the connection, and bodies that end
//! with their stream.

use http::{StatusCode, response};
use http_body::Body as _;
use portcullis_core::body::Body;
use portcullis_core::fields::HOP_BY_HOP;
use portcullis_core::message::names::{CONTENT_LENGTH, DATE};
use portcullis_core::message::{FieldName, FieldValue, FieldsMut, HasFields};
use portcullis_core::ports::Clock;

use crate::date;
use crate::fields::hop_by_hop;

/// Whether an answer ends with its head.
pub fn is_whole(head: &response::Parts, body: &Body) -> bool {
    body.is_end_stream() || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The head of an answer as it is written, with its date, and its length if that is known.
pub fn finished(clock: &dyn Clock, head: response::Parts, length: Option<u64>) -> http::Response<()> {
    let mut head = http::Response::from_parts(head, ());
    let mut headers = head.fields_mut();
    strip(headers.lend());
    headers.set_if_absent(DATE, || date::now(clock));
    if let Some(length) = length {
        headers.set_if_absent(CONTENT_LENGTH, || FieldValue::from(length));
    }
    head
}

/// Nothing that speaks about one connection has a place there (RFC 9113 section 8.2.2, RFC 9114 section 4.2).
pub fn strip(mut headers: FieldsMut<'_>) {
    // Hardly ever is there one: to look at what is there costs less than to look for each.
    if headers.view().names().any(|name| hop_by_hop(name).is_some()) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// Marks a field that is different in each message. HPACK remembers what it has sent, and compares a new value with all
/// that it remembers of the same name; what never comes again is not worth that, and pushes out what does.
pub fn never_again(mut headers: FieldsMut<'_>, name: &FieldName) {
    headers.hide(name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::FieldMap;
    use portcullis_core::message::names::VIA;

    #[test]
    fn nothing_about_the_connection_is_left() {
        let mut headers = FieldMap::new();
        headers.set(VIA, FieldValue::from_static("1.1 a"));
        let others = headers.clone();
        strip(headers.fields_mut());
        assert_eq!(headers, others);
        for name in &HOP_BY_HOP {
            for value in ["x-hop", "close"] {
                headers.add(name, FieldValue::from_static(value));
            }
            strip(headers.fields_mut());
            assert_eq!(headers, others, "{name}");
        }
    }
}
