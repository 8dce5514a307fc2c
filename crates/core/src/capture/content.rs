//! The bytes of a body as they may be kept, by what the body is called and by how it begins.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::redaction::Redaction;
use super::{CapturedBody, Copied, json};

/// How a body is read.
enum Form {
    Json,
    Pairs,
    Text,
    Binary,
    /// Not kept, and why.
    None(&'static str),
}

/// What may be kept of a body.
pub(super) fn shown(body: &Copied, redaction: &Redaction) -> CapturedBody {
    let mut shown = CapturedBody {
        bytes: body.size,
        complete: body.complete,
        truncated: (body.bytes.len() as u64) < body.size,
        text: None,
        base64: None,
        note: None,
    };
    let bytes = body.bytes.as_slice();
    match form(body) {
        Form::Json => {
            let found = json::redacted(bytes, redaction);
            shown.text = Some(lossy(&found.text));
            shown.note = found.broken_at.map(|at| format!("from byte {at} on it is no JSON, and is not kept"));
        }
        Form::Pairs => shown.text = Some(redaction.pairs(bytes)),
        Form::Text => shown.text = Some(redaction.scrub(&lossy(bytes))),
        Form::Binary => shown.base64 = Some(STANDARD.encode(bytes)),
        Form::None(reason) => shown.note = Some(reason.to_owned()),
    }
    shown
}

fn form(body: &Copied) -> Form {
    if body.bytes.is_empty() {
        return Form::Text;
    }
    if body.coded {
        return Form::None("it has a content coding, cannot be redacted, and is not kept");
    }
    let called = body.kind.as_ref().map(|kind| String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase());
    let called = called.unwrap_or_default();
    let essence = called.split(';').next().unwrap_or("").trim();
    if called.contains("charset=utf-16") || called.contains("charset=utf-32") {
        return Form::None("its character set cannot be redacted, and it is not kept");
    }
    if essence.starts_with("multipart/") {
        return Form::None("a body of several parts cannot be redacted, and is not kept");
    }
    let is_json = essence.contains("json") && essence != "application/json-seq";
    // Many send JSON and call it a form, or nothing at all.
    if is_json || begins_like_json(&body.bytes) {
        return Form::Json;
    }
    if essence == "application/x-www-form-urlencoded" {
        return Form::Pairs;
    }
    let is_text = essence.starts_with("text/") || essence.ends_with("xml") || is_utf8(&body.bytes);
    if is_text { Form::Text } else { Form::Binary }
}

fn begins_like_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    match bytes.split_first() {
        Some((b'{', _)) => true,
        Some((b'[', rest)) => matches!(rest.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')),
        _ => false,
    }
}

/// Whether this is text, though it may be cut inside its last letter.
fn is_utf8(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => !text.contains('\0'),
        Err(error) => error.error_len().is_none() && !bytes.contains(&0),
    }
}

/// Text; a letter that is cut at the end goes.
fn lossy(bytes: &[u8]) -> String {
    let bytes = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::message::FieldValue;

    fn kept(kind: &'static str, bytes: &[u8]) -> CapturedBody {
        let kind = (!kind.is_empty()).then(|| FieldValue::from_static(kind));
        let body = Copied { bytes: bytes.to_vec(), size: bytes.len() as u64, complete: true, kind, coded: false };
        shown(&body, &Redaction::default())
    }

    #[test]
    fn every_form_loses_its_secrets() {
        let json = br#"{"password":"Z"}"#;
        for kind in [
            "application/json",
            "application/problem+json; charset=utf-8",
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/octet-stream",
            "",
        ] {
            assert_eq!(kept(kind, json).text.as_deref(), Some(r#"{"password":"[redacted]"}"#), "{kind}");
        }
        let form = "application/x-www-form-urlencoded";
        assert_eq!(kept(form, b"a=1&p%61ssword=Z").text.as_deref(), Some("a=1&p%61ssword=[redacted]"));
        assert_eq!(kept("text/plain", b"token: Z").text.as_deref(), Some("token:[redacted]"));
        assert_eq!(kept("", b"token=Z&a=1").text.as_deref(), Some("token=[redacted]"));
        assert_eq!(kept("application/xml", b"<pin>Z</pin>").text.as_deref(), Some("<pin[redacted]</pin>"));
    }

    #[test]
    fn what_cannot_be_redacted_is_not_kept() {
        let multipart = kept("multipart/form-data; boundary=x", b"--x\r\nname=password\r\n\r\nZ");
        assert!(multipart.text.is_none() && multipart.base64.is_none() && multipart.note.is_some());
        let wide = kept("application/json; charset=UTF-16", b"\0Z");
        assert!(wide.text.is_none() && wide.base64.is_none() && wide.note.is_some());
        let body = Copied { bytes: b"Z".to_vec(), size: 7, coded: true, ..Copied::default() };
        let coded = shown(&body, &Redaction::default());
        assert!(coded.text.is_none() && coded.base64.is_none() && coded.note.is_some() && coded.truncated);
        let broken = kept("application/json", b"{\"a\":1} password=Z");
        assert_eq!(broken.text.as_deref(), Some("{\"a\":1} "));
        assert!(broken.note.expect("a note").contains("byte 8"));
    }

    #[test]
    fn binary_is_base64_and_text_may_end_inside_a_letter() {
        assert_eq!(kept("image/png", b"\x89PNG\xff").base64.as_deref(), Some("iVBOR/8="));
        assert_eq!(kept("text/plain", b"caf\xc3").text.as_deref(), Some("caf"));
        assert_eq!(kept("", b"caf\xc3").text.as_deref(), Some("caf"));
    }
}
