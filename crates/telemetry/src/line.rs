//! A record as JSON: the fields of the log's file and of the admin API, in one fixed order.
//!
//! Written by hand because it happens once per call. Text is escaped as RFC 8259 section 7 demands, so no record
//! can break out of its line.

use std::time::SystemTime;

use portcullis_core::digits::{AddressText, put_hex};
use portcullis_core::record::time_limit;
use time::OffsetDateTime;

use crate::packed::RecordView;

/// 9999-12-31T23:59:59Z, the last second RFC 3339 can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// Writes records as JSON objects, remembering the text of the last second it wrote.
#[derive(Debug, Default)]
pub struct Lines {
    second: Option<(u64, [u8; 20])>,
}

/// Whether the object has the field `reason`, which only the operator's own file may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has it, if the record does.
    Shown,
    /// It has it not.
    Hidden,
}

impl Lines {
    /// Appends the record as one JSON object, without a line end.
    pub fn write(&mut self, out: &mut Vec<u8>, record: &RecordView<'_>, reason: Reason) {
        out.extend_from_slice(b"{\"time\":\"");
        self.push_time(out, record.time);
        out.extend_from_slice(b"\",\"request_id\":");
        push_text(out, record.request_id);
        // Neither an address nor a method has a character that needs an escape.
        out.extend_from_slice(b",\"client_ip\":\"");
        out.extend_from_slice(AddressText::of(record.client_ip).as_bytes());
        out.extend_from_slice(b"\",\"method\":\"");
        out.extend_from_slice(record.method.as_bytes());
        out.extend_from_slice(b"\",\"path\":");
        push_text(out, record.path);
        out.extend_from_slice(b",\"status\":");
        push_number(out, u64::from(record.status));
        push_optional(out, b",\"service\":", record.service);
        push_optional(out, b",\"version\":", record.version);
        push_optional(out, b",\"client\":", record.client);
        push_optional(out, b",\"user\":", record.user);
        out.extend_from_slice(b",\"duration_us\":");
        push_number(out, record.duration);
        out.extend_from_slice(b",\"upstream_duration_us\":");
        match record.upstream_duration {
            Some(duration) => push_number(out, duration),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"bytes_in\":");
        push_number(out, record.bytes_in);
        out.extend_from_slice(b",\"bytes_out\":");
        push_number(out, record.bytes_out);
        push_optional(out, b",\"refusal\":", record.refusal);
        push_optional(out, b",\"target\":", record.target);
        if let Some(status) = record.grpc_status {
            out.extend_from_slice(b",\"grpc_status\":");
            push_number(out, u64::from(status));
        }
        if !record.cut.is_none() {
            for (place, name) in record.cut.names().enumerate() {
                out.extend_from_slice(if place == 0 { b",\"cut\":[\"" } else { b"\",\"" });
                out.extend_from_slice(name.as_bytes());
            }
            out.extend_from_slice(b"\"]");
        }
        if let Some(limit) = record.reason.and_then(time_limit) {
            push_optional(out, b",\"limit\":", Some(limit));
        }
        if reason == Reason::Shown && record.reason.is_some() {
            push_optional(out, b",\"reason\":", record.reason);
        }
        out.push(b'}');
    }

    /// RFC 3339 in UTC with six fractional digits. A clock outside the years 1970 to 9999 is written as the
    /// nearest second inside.
    fn push_time(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(LAST_SECOND);
        let text = match self.second {
            Some((known, text)) if known == second => text,
            _ => {
                let text = second_text(second);
                self.second = Some((second, text));
                text
            }
        };
        out.extend_from_slice(&text);
        let mut fraction = [0; 6];
        put_digits(&mut fraction, since.subsec_micros());
        out.extend_from_slice(&fraction);
        out.push(b'Z');
    }
}

/// `2026-01-31T23:59:58.`
fn second_text(second: u64) -> [u8; 20] {
    let moment = i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut text = *b"0000-00-00T00:00:00.";
    put_digits(&mut text[0..4], moment.year().unsigned_abs());
    put_digits(&mut text[5..7], u32::from(u8::from(moment.month())));
    put_digits(&mut text[8..10], u32::from(moment.day()));
    put_digits(&mut text[11..13], u32::from(moment.hour()));
    put_digits(&mut text[14..16], u32::from(moment.minute()));
    put_digits(&mut text[17..19], u32::from(moment.second()));
    text
}

/// The lowest digits of a number, as many as there is room for.
fn put_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_optional(out: &mut Vec<u8>, name: &[u8], text: Option<&str>) {
    out.extend_from_slice(name);
    match text {
        Some(text) => push_text(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = escaped(rest) {
        let (before, behind) = rest.split_at(at);
        out.extend_from_slice(before);
        let [byte, behind @ ..] = behind else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            byte => {
                let mut escape = *b"\\u0000";
                put_hex(&mut escape[4..], &[*byte]);
                out.extend_from_slice(&escape);
            }
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Which bytes need an escape (RFC 8259 section 7).
static ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0;
    while byte < b' ' {
        escaped[byte as usize] = true;
        byte += 1;
    }
    escaped[b'"' as usize] = true;
    escaped[b'\\' as usize] = true;
    escaped
};

/// Where the first byte stands that needs an escape. Eight at a time, as long as there are so many.
fn escaped(text: &[u8]) -> Option<usize> {
    const STRIDE: usize = size_of::<u64>();
    let mut at = 0;
    while let Some(eight) = text[at..].first_chunk::<STRIDE>() {
        let found = to_escape(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += STRIDE;
    }
    text[at..].iter().position(|byte| ESCAPED[usize::from(*byte)]).map(|found| at + found)
}

/// Marks bytes that need an escape by their highest bit. The lowest mark is right; behind it there may be one too many,
/// which a borrow has made.
fn to_escape(eight: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHEST: u64 = ONES << 7;
    let below = |bytes: u64, limit: u8| bytes.wrapping_sub(ONES * u64::from(limit)) & !bytes;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    (below(eight, b' ') | is(b'"') | is(b'\\')) & HIGHEST
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use http::Method;
    use portcullis_core::call::RequestId;
    use portcullis_core::message::FieldValue;
    use portcullis_core::record::Record;
    use proptest::option;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn record(time: SystemTime) -> Record {
        let address = "192.0.2.7".parse().expect("an address");
        let id = RequestId::from_random([0xab; 16]);
        Record {
            status: 200,
            service: Some("orders".into()),
            version: Some("v1".into()),
            client: Some("web".into()),
            user: Some("ann".into()),
            duration: Duration::from_nanos(1_234_999),
            upstream_duration: Some(Duration::from_micros(1_000)),
            bytes_out: u64::MAX,
            target: Some("10.0.0.7:8080".into()),
            ..Record::begun(time, id, address, Method::GET, "/orders/v1/7".into())
        }
    }

    fn text(record: &Record, reason: Reason) -> String {
        let mut out = Vec::new();
        Lines::default().write(&mut out, &RecordView::of(record), reason);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_record_has_exactly_these_fields_in_this_order() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_769_860_800_000_042);
        assert_eq!(
            text(&record(time), Reason::Shown),
            "{\"time\":\"2026-01-31T12:00:00.000042Z\",\"request_id\":\"abababababababababababababababab\",\
             \"client_ip\":\"192.0.2.7\",\"method\":\"GET\",\"path\":\"/orders/v1/7\",\"status\":200,\
             \"service\":\"orders\",\"version\":\"v1\",\"client\":\"web\",\"user\":\"ann\",\"duration_us\":1234,\
             \"upstream_duration_us\":1000,\"bytes_in\":0,\"bytes_out\":18446744073709551615,\"refusal\":null,\
             \"target\":\"10.0.0.7:8080\"}"
        );
    }

    #[test]
    fn what_is_absent_is_null_and_the_reason_is_for_the_file_alone() {
        let bare = Record {
            client_ip: "2001:db8::1".parse().expect("an address"),
            service: None,
            version: None,
            client: None,
            user: None,
            upstream_duration: None,
            target: None,
            refusal: Some("no_route"),
            reason: Some("line\nbreak".into()),
            ..record(SystemTime::UNIX_EPOCH)
        };
        let hidden = "{\"time\":\"1970-01-01T00:00:00.000000Z\",\
             \"request_id\":\"abababababababababababababababab\",\
             \"client_ip\":\"2001:db8::1\",\"method\":\"GET\",\"path\":\"/orders/v1/7\",\"status\":200,\
             \"service\":null,\"version\":null,\"client\":null,\"user\":null,\"duration_us\":1234,\
             \"upstream_duration_us\":null,\"bytes_in\":0,\"bytes_out\":18446744073709551615,\
             \"refusal\":\"no_route\",\"target\":null}";
        assert_eq!(text(&bare, Reason::Hidden), hidden);
        let shown = format!("{},\"reason\":\"line\\u000abreak\"}}", hidden.trim_end_matches('}'));
        assert_eq!(text(&bare, Reason::Shown), shown);
    }

    #[test]
    fn what_is_cut_is_named() {
        let long = "x".repeat(5_000);
        let call =
            Record { path: long.as_str().into(), user: Some(long.as_str().into()), ..record(SystemTime::UNIX_EPOCH) };
        let written: Value = serde_json::from_str(&text(&call, Reason::Hidden)).expect("JSON");
        assert_eq!(written["cut"], json!(["path", "user"]));
        assert_eq!(written["path"], json!(long[..1_024]));
        assert!(!text(&record(SystemTime::UNIX_EPOCH), Reason::Hidden).contains("cut"));
    }

    #[test]
    fn a_grpc_call_has_its_status() {
        let call = Record { grpc_status: Some(14), ..record(SystemTime::UNIX_EPOCH) };
        let written: Value = serde_json::from_str(&text(&call, Reason::Hidden)).expect("JSON");
        assert_eq!(written["grpc_status"], 14);
        assert!(!text(&record(SystemTime::UNIX_EPOCH), Reason::Hidden).contains("grpc_status"));
    }

    #[test]
    fn times_are_written_in_utc_whatever_the_clock_says() {
        let mut lines = Lines::default();
        let mut written = |time: SystemTime| {
            let mut out = Vec::new();
            lines.push_time(&mut out, time);
            String::from_utf8(out).expect("UTF-8")
        };
        let at = |seconds: u64, nanos: u32| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        assert_eq!(written(at(951_782_399, 999_999_999)), "2000-02-28T23:59:59.999999Z");
        assert_eq!(written(at(951_782_399, 0)), "2000-02-28T23:59:59.000000Z", "the same second again");
        assert_eq!(written(at(951_782_400, 1_000)), "2000-02-29T00:00:00.000001Z");
        assert_eq!(written(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(at(LAST_SECOND + 10, 0)), "9999-12-31T23:59:59.000000Z");
    }

    fn texts() -> impl Strategy<Value = Option<String>> {
        option::of(prop_oneof![
            "\\PC{0,12}",
            any::<String>(),
            "[\"\\\\\u{0}-\u{1f}\u{7f}\u{2028}/]{0,12}",
            "([ -~\u{80}-\u{7ff}]{0,20}[\"\\\\\u{0}-\u{1f} !#]?){0,3}",
        ])
    }

    /// Text as serde_json writes it, but for the short escapes, which the log does not have.
    fn plain(text: &str) -> String {
        let mut written = serde_json::to_string(text).expect("JSON");
        for (short, byte) in [("\\b", 8), ("\\t", 9), ("\\n", 10), ("\\f", 12), ("\\r", 13)] {
            // An escaped backslash is no beginning of another escape.
            let parts: Vec<_> = written.split("\\\\").collect();
            let parts: Vec<_> = parts.iter().map(|part| part.replace(short, &format!("\\u{byte:04x}"))).collect();
            written = parts.join("\\\\");
        }
        written
    }

    proptest! {
        #[test]
        fn any_record_is_one_line_of_json_with_its_values(
            texts in [texts(), texts(), texts(), texts(), texts(), texts(), texts()],
            id in "[!-~]{1,128}",
            method in "[A-Za-z!#$%&'*+.^_`|~0-9-]{1,20}",
            address in any::<IpAddr>(),
            numbers in any::<[u64; 4]>(),
            status in any::<u16>(),
        ) {
            let [path, service, version, client, user, target, reason] = texts;
            let shared = |text: &Option<String>| text.as_deref().map(Into::into);
            let record = Record {
                request_id: RequestId::from_header(FieldValue::of(&id).expect("a value").value()).expect("an id"),
                client_ip: address,
                method: Method::from_bytes(method.as_bytes()).expect("a method"),
                path: path.clone().unwrap_or_default().into(),
                status,
                service: shared(&service),
                version: shared(&version),
                client: shared(&client),
                user: shared(&user),
                target: shared(&target),
                reason: reason.as_deref().map(Into::into),
                duration: Duration::from_micros(numbers[0]),
                upstream_duration: Some(Duration::from_micros(numbers[1])),
                bytes_in: numbers[2],
                bytes_out: numbers[3],
                ..record(SystemTime::UNIX_EPOCH)
            };
            let written = text(&record, Reason::Shown);
            prop_assert!(!written.contains(['\n', '\r', '\0']));
            let or_null = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), plain);
            let mut line = format!(
                "{{\"time\":\"1970-01-01T00:00:00.000000Z\",\"request_id\":{},\"client_ip\":\"{address}\",\
                 \"method\":\"{method}\",\"path\":{},\"status\":{status},\"service\":{},\"version\":{},\"client\":{},\
                 \"user\":{},\"duration_us\":{},\"upstream_duration_us\":{},\"bytes_in\":{},\"bytes_out\":{},\
                 \"refusal\":null,\"target\":{}",
                plain(&id), plain(path.as_deref().unwrap_or_default()), or_null(&service), or_null(&version),
                or_null(&client), or_null(&user), numbers[0], numbers[1], numbers[2], numbers[3], or_null(&target),
            );
            if let Some(reason) = &reason {
                line += &format!(",\"reason\":{}", plain(reason));
            }
            prop_assert_eq!(&written, &(line + "}"));
            let found: Value = serde_json::from_str(&written).expect("JSON");
            let mut wanted = json!({
                "time": "1970-01-01T00:00:00.000000Z", "request_id": id, "client_ip": address.to_string(),
                "method": method, "path": path.unwrap_or_default(), "status": status, "service": service,
                "version": version, "client": client, "user": user, "duration_us": numbers[0],
                "upstream_duration_us": numbers[1], "bytes_in": numbers[2], "bytes_out": numbers[3],
                "refusal": null, "target": target,
            });
            if let Some(reason) = reason {
                wanted["reason"] = reason.into();
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
