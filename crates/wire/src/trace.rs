//! The trace that a call belongs to (W3C Trace Context), as a trusted proxy in front tells it.

use portcullis_core::message::names::{TRACEPARENT, TRACESTATE};
use portcullis_core::message::{FieldsMut, Value};

/// Keeps what is told of one trace. What is malformed, or stands twice, tells of none, and then what is said beside it goes
/// too (section 3.3 there).
pub fn keep_one(mut headers: FieldsMut<'_>) {
    let mut parents = headers.view().all(TRACEPARENT);
    let is_trace = parents.next().map(Value::as_bytes).is_some_and(is_trace_parent);
    if !is_trace || parents.next().is_some() {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
}

/// `00-` 32 hex digits `-` 16 hex digits `-` 2 hex digits, neither id all zeros.
#[inline]
pub fn is_trace_parent(text: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    text.len() == 55
        && text.starts_with(b"00-")
        && (text[35], text[52]) == (b'-', b'-')
        && hex(&text[3..35])
        && hex(&text[36..52])
        && hex(&text[53..])
        && text[3..35].iter().any(|digit| *digit != b'0')
        && text[36..52].iter().any(|digit| *digit != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::names::{TRACEPARENT, TRACESTATE};
    use portcullis_core::message::{FieldMap, FieldValue, HasFields};

    #[test]
    fn trace_parents_are_read_strictly() {
        assert!(is_trace_parent(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for bad in [
            &b"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..],
            b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            b"",
        ] {
            assert!(!is_trace_parent(bad));
        }
    }

    #[test]
    fn what_is_told_of_no_trace_or_of_two_is_not_kept() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (parents, is_kept) in [
            (&[parent][..], true),
            (&[], false),
            (&["nonsense"], false),
            (&[parent, parent], false),
            (&["", parent], false),
            (&[parent, "nonsense"], false),
        ] {
            let mut headers = FieldMap::new();
            for parent in parents {
                headers.add(TRACEPARENT, parent.parse().expect("a value"));
            }
            headers.add(TRACESTATE, FieldValue::from_static("a=b"));
            headers.add(TRACESTATE, FieldValue::from_static("c=d"));
            keep_one(headers.fields_mut());
            assert_eq!(headers.fields().len(), if is_kept { 3 } else { 0 }, "{parents:?}");
        }
    }

    #[test]
    fn fuzz_trace() {
        let seeds = [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ];
        crate::fuzzing::run("trace", &seeds, |input| {
            let is_one = is_trace_parent(input);
            if is_one {
                // Another reader: four fields of these lengths at least, in lower-case hex, and no id of zeros.
                let fields: Vec<_> = input.split(|byte| *byte == b'-').collect();
                assert!(
                    fields.len() >= 4
                        && [2, 32, 16, 2].iter().zip(&fields).all(|(length, field)| field.len() == *length)
                );
                assert!(
                    fields[..4].iter().all(|field| field.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
                );
                assert!(fields[1..3].iter().all(|field| field.iter().any(|byte| *byte != b'0')));
            }
            (is_one, input.len().min(60))
        });
    }
}
