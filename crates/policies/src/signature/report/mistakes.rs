//! What clients usually sign in place of what they send. Each is tried, and the one that gives the signature is named.

use std::io;

use portcullis_core::call::Call;
use portcullis_core::escapes::decoded;
use portcullis_core::message::names::HOST;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// Bytes of a body with which mistakes are looked for.
pub(super) const MOST_BYTES: usize = 256 << 10;

/// Something else that may have been signed, and how that comes about.
pub(super) struct Mistake<T> {
    pub(super) signed: T,
    pub(super) text: String,
}

impl<T> Mistake<T> {
    fn new(signed: T, text: impl Into<String>) -> Self {
        Self { signed, text: text.into() }
    }
}

/// Other hosts than the one that was sent.
pub(super) fn hosts(call: &Call, sent: &str) -> Vec<Mistake<String>> {
    let name = |host: &str| host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    let public = call.public_url.as_deref().and_then(|url| url.split("://").nth(1)).map(str::to_owned);
    let others = [
        Some(sent.to_ascii_lowercase()),
        Some(name(sent)),
        Some(format!("{}:80", name(sent))),
        Some(format!("{}:443", name(sent))),
        Some(call.request.host.as_str().to_owned()),
        Some("localhost".to_owned()),
        Some(String::new()),
        public.map(|public| public.split('/').next().unwrap_or_default().to_owned()),
    ];
    let raw = call.raw.removed.iter().filter(|(name, _)| *name == HOST).filter_map(|(_, value)| value.text());
    let others = others.into_iter().flatten().chain(raw.map(str::to_owned)).filter(|other| other != sent);
    let text = |other: &str| {
        format!("the Host differs: the signature is over '{other}', and the gateway verifies it over '{sent}'")
    };
    others.map(|other| Mistake::new(other.clone(), text(&other))).collect()
}

/// Other targets than the one that was sent.
pub(super) fn targets(call: &Call, sent: &str) -> Vec<Mistake<String>> {
    let (path, query) = sent.split_once('?').unwrap_or((sent, ""));
    let host = call.request.host.as_str();
    let latin: String = decoded(sent.as_bytes()).map(char::from).collect();
    let utf8 = String::from_utf8(decoded(sent.as_bytes()).collect()).ok();
    let decoded = utf8.into_iter().chain([latin]).map(|decoded| {
        let text = "the target differs: the signature is over the decoded target, and what is sent is signed";
        Mistake::new(decoded, text)
    });
    let without_slash = path.strip_suffix('/').unwrap_or(path);
    let others = [
        (path.to_owned(), "without the query"),
        (without_slash.to_owned(), "without the slash at its end"),
        (format!("{path}/"), "with a slash at its end"),
        (format!("{path}?"), "with an empty query"),
        (format!("{path}?{}", sorted(query)), "with the query in another order"),
        (sent.replace("%20", "+"), "with '+' for spaces"),
        (sent.replace('+', "%20"), "with '%20' for spaces"),
        (format!("http://{host}{sent}"), "as an absolute URL"),
        (format!("https://{host}{sent}"), "as an absolute URL"),
    ];
    let others = others
        .into_iter()
        .map(|(other, how)| Mistake::new(other, format!("the target differs: the signature is over the target {how}")));
    decoded.chain(others).filter(|mistake| mistake.signed != sent && !mistake.signed.is_empty()).collect()
}

/// The parameters of a query by their names.
fn sorted(query: &str) -> String {
    let mut parameters: Vec<_> = query.split('&').collect();
    parameters.sort_unstable();
    parameters.join("&")
}

/// Other bodies than the one that was sent.
pub(super) fn bodies(sent: &[u8]) -> Vec<Mistake<Vec<u8>>> {
    if sent.is_empty() || sent.len() > MOST_BYTES {
        return Vec::new();
    }
    let trimmed = sent.trim_ascii_end().to_vec();
    let mut others = vec![(Vec::new(), "an empty body"), (trimmed, "the body without the white space at its end")];
    others.push(([sent, b"\n"].concat(), "the body with a line feed at its end"));
    if let Ok(value) = serde_json::from_slice::<Value>(sent) {
        let reencoded = "the JSON of the body in another encoding";
        others.extend(serde_json::to_vec(&value).ok().map(|other| (other, reencoded)));
        others.extend(serde_json::to_vec_pretty(&value).ok().map(|other| (other, reencoded)));
        others.extend(spaced(&value).map(|other| (other, reencoded)));
        // Members in the order in which they came.
        others.push((compact(sent, b"", b""), reencoded));
        others.push((compact(sent, b" ", b" "), reencoded));
    }
    let others = others.into_iter().filter(|(other, _)| other != sent);
    others
        .map(|(other, how)| {
            Mistake::new(other, format!("the body differs: the signature is over {how}; sign the bytes that are sent"))
        })
        .collect()
}

/// JSON with a space behind each comma and colon, as Python writes it.
fn spaced(value: &Value) -> Option<Vec<u8>> {
    struct Spaced;

    impl Formatter for Spaced {
        fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
            if first { Ok(()) } else { writer.write_all(b", ") }
        }

        fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
            if first { Ok(()) } else { writer.write_all(b", ") }
        }

        fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
            writer.write_all(b": ")
        }
    }

    let mut text = Vec::new();
    serde::Serialize::serialize(value, &mut Serializer::with_formatter(&mut text, Spaced)).ok()?;
    Some(text)
}

/// JSON without white space between its tokens, but for this behind commas and colons.
fn compact(json: &[u8], comma: &[u8], colon: &[u8]) -> Vec<u8> {
    let (mut text, mut quoted, mut escaped) = (Vec::with_capacity(json.len()), false, false);
    for byte in json {
        if quoted {
            text.push(*byte);
            (quoted, escaped) = (escaped || *byte != b'"', !escaped && *byte == b'\\');
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'"' => quoted = true,
            _ => {}
        }
        text.push(*byte);
        match byte {
            b',' => text.extend_from_slice(comma),
            b':' => text.extend_from_slice(colon),
            _ => {}
        }
    }
    text
}
