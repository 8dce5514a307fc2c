//! The request inside of a sealed one.

use std::borrow::Cow;

use bytes::Bytes;
use http::Uri;
use portcullis_core::body::{Body, Whole};
use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Call, Request};
use portcullis_core::canonical::Path;
use portcullis_core::fields::known;
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::message::names::{ACCEPT_ENCODING, AUTHORIZATION, SIGNATURE, SIGNATURE_INPUT};
use portcullis_core::message::{FieldName, FieldValue};
use portcullis_core::spellings::is_same;
use portcullis_signing::fomalhaut::Dialect;

use crate::signed::{Said, said, sealing_key};

/// Fields that a sealed request may have, and bytes of all of them.
const MOST_FIELDS: usize = 128;
const MOST_BYTES: usize = 64 << 10;
/// Bytes of the URI.
const LONGEST_URI: usize = 16 << 10;

/// A request that was opened, and the user's token that was in it.
pub(super) struct Inner {
    pub(super) request: Request,
    pub(super) token: Option<(FieldName, FieldValue)>,
}

/// A part of a sealed request: not sent, opened, or not to be opened.
type Part = Result<Option<Vec<u8>>, ()>;

/// The parts of a sealed request.
pub(super) struct Opened {
    uri: Part,
    headers: Part,
    body: Part,
}

/// Decrypts every part that was sent.
pub(super) fn decrypt(dialect: Dialect, secret: &LiveSecret, call: &Call, body: &Bytes) -> Opened {
    let key = sealing_key(secret);
    let open = |text: &[u8]| key.ok_or(())?.open(text).map(Some).map_err(|_| ());
    let field = |name: &str| match said(call, name) {
        Said::Never => Ok(None),
        Said::Once(text) => open(text.as_bytes()),
        Said::Often => Err(()),
    };
    let (uri, headers) = (field(dialect.encrypted_uri()), field(dialect.encrypted_headers()));
    Opened { uri, headers, body: if body.is_empty() { Ok(None) } else { open(body) } }
}

/// Makes the request of what was opened: the inner fields over the outer ones, without what a caller may not say there.
pub(super) fn request(form: Form, call: &Call, opened: Opened, whole: Whole) -> Result<Inner, &'static str> {
    let Opened { uri, headers, body } = opened;
    let (Ok(uri), Ok(headers), Ok(body)) = (uri, headers, body) else { return Err("a part that cannot be decrypted") };
    let outer = &call.request;
    let (path, query) = match uri {
        Some(uri) => read_uri(&uri)?,
        None => (outer.path.clone(), outer.query.clone()),
    };
    let mut fields = outer.fields.clone();
    let mut token = None;
    for (name, value) in headers.as_deref().map(read_headers).transpose()?.into_iter().flatten() {
        if name.as_str() == form.token_field() {
            token = Some((name, value));
        } else if !is_withheld(&name) {
            fields.set(&name, value);
        }
    }
    let body = match body {
        Some(body) => whole.holding(body).into_body(),
        None => Body::empty(),
    };
    let (method, host) = (outer.method.clone(), outer.host.clone());
    let request = Request { method, path, query, host, version: outer.version, fields, body };
    Ok(Inner { request, token })
}

/// What a sealed request says in vain: what the gateway says itself, who calls, the host, the framing, credentials for the
/// gateway, and fields of the dialects.
fn is_withheld(name: &FieldName) -> bool {
    // How the answer may be encoded is decided where it is sealed.
    let ours = [AUTHORIZATION, SIGNATURE, SIGNATURE_INPUT, ACCEPT_ENCODING];
    known(name.as_str()).is_some() || ours.iter().any(|ours| is_same(ours.as_str(), name.as_str()))
}

fn read_uri(uri: &[u8]) -> Result<(Path, Option<Bytes>), &'static str> {
    let wrong = "an inner URI that is none";
    if uri.len() > LONGEST_URI {
        return Err(wrong);
    }
    let text = std::str::from_utf8(uri).map_err(|_| wrong)?;
    let uri = text.parse::<Uri>().map_err(|_| wrong)?;
    // What the parser leaves out, like a fragment, or takes for something else would be read differently behind.
    if !text.starts_with('/')
        || uri.authority().is_some()
        || uri.path_and_query().is_none_or(|whole| whole.as_str() != text)
    {
        return Err(wrong);
    }
    if uri.path().bytes().filter(|byte| *byte == b'/').count() < 3 {
        return Err("an inner URI without endpoint and version");
    }
    let path = Path::parse(uri.path()).map_err(|_| wrong)?;
    Ok((path, uri.query().map(|query| Bytes::copy_from_slice(query.as_bytes()))))
}

fn read_headers(json: &[u8]) -> Result<Vec<(FieldName, FieldValue)>, &'static str> {
    let wrong = "inner fields that are none";
    if json.len() > MOST_BYTES {
        return Err(wrong);
    }
    let fields: Fields<'_> = serde_json::from_slice(json).map_err(|_| wrong)?;
    if fields.0.len() > MOST_FIELDS {
        return Err(wrong);
    }
    let mut read: Vec<(FieldName, FieldValue)> = Vec::with_capacity(fields.0.len());
    for (at, (spelling, value)) in fields.0.iter().enumerate() {
        let name = FieldName::from_bytes(spelling.0.as_bytes()).map_err(|_| wrong)?;
        let value = FieldValue::from_bytes(value.0.trim().as_bytes()).map_err(|_| wrong)?;
        if fields.0[..at].iter().any(|(before, _)| before.0 == spelling.0) {
            return Err(wrong);
        }
        // Clients put their own `Accept` beside the `accept` of whoever uses them: the last one counts, as in fomalhaut.
        read.retain(|(other, _)| *other != name);
        read.push((name, value));
    }
    Ok(read)
}

/// An object of texts, as it is written.
struct Fields<'a>(Vec<(Text<'a>, Text<'a>)>);

/// A text, which is copied only where something in it is escaped.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}
