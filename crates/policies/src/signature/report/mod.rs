//! What was verified of a signature: in a report where a call is only tried, and in the refusal where the route says so.

mod fomalhaut;
mod http;
mod mistakes;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::call::Call;
use portcullis_core::digits::hex;
use portcullis_core::directory::ClientEntry;
use portcullis_core::fields::CREDENTIALS;
use portcullis_core::record::OpenRecord;
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_core::signature_report::{PartDifference, SignatureReport, SignedBody, SignedPart};

use crate::signature::verifying::Verify;

/// Bytes of a string that a refused caller is told: 8 KiB as base64.
const MOST_TOLD: usize = 6 << 10;
/// Bytes of a part that are shown of a difference.
const MOST_SHOWN: usize = 256;

/// The string by which a call was refused, for the answer.
pub(super) struct StringToSign {
    text: String,
    refusal: Refusal,
}

impl StringToSign {
    /// The string as base64, if the call was refused for its signature; one that is too long is cut, and marked with `;cut`.
    pub(super) fn for_refusal(&self, record: &mut OpenRecord) -> Option<String> {
        let mut is_it = false;
        record.note(|record| {
            is_it = record.refusal == Some(self.refusal.code()) && record.reason.as_deref() == self.refusal.private();
        });
        let told = |text: &[u8]| STANDARD.encode(text);
        let text = self.text.as_bytes();
        is_it.then(|| match text.get(..MOST_TOLD) {
            Some(start) if text.len() > MOST_TOLD => told(start) + ";cut",
            _ => told(text),
        })
    }
}

/// What stands in the way of verifying: the client, its keys, or the body.
fn obstacles(client: &ClientEntry, has_keys: bool, body: Option<&[u8]>) -> Vec<String> {
    let mut hints = Vec::new();
    if !client.client.enabled {
        hints.push("the client is disabled".to_owned());
    } else if !has_keys {
        hints.push("the client has no live secret with the use 'sign'".to_owned());
    }
    if body.is_none() {
        hints.push("the body was announced and is not here: send it along".to_owned());
    }
    hints
}

/// Notes what was verified, once that is done.
/// `is_here`: whether the body is, and was not only announced.
pub(super) fn note(policy: &Verify, call: &mut Call, is_here: bool, verified: &Result<(), Refusal>) {
    let form = call.dialect.fomalhaut();
    if call.dry_run.is_some() {
        // An alternative before this one has found out that the body never comes.
        let is_here = is_here && call.found.get::<SignatureReport>().is_none_or(|former| former.body.is_some());
        let body = is_here.then(|| call.request.body.piece().cloned().unwrap_or_default());
        let report = match form {
            Some(form) => fomalhaut::report(policy, form, call, body.as_deref()),
            None => http::report(policy, call, body.as_deref()),
        };
        if let Some(report) = report {
            call.found.set(report);
        }
        return;
    }
    let Err(
        refusal @ (Refusal::InvalidCredential { credential: Credential::Signature, .. }
        | Refusal::SignatureExpired { .. }),
    ) = verified
    else {
        return;
    };
    if policy.settings.debug_signatures {
        let text = match form {
            Some(form) => fomalhaut::string_to_sign(form, call),
            None => http::string_to_sign(policy, call),
        };
        if let Some(text) = text {
            call.found.set(StringToSign { text, refusal: refusal.clone() });
        }
    }
}

fn signed_body(body: &[u8]) -> SignedBody {
    SignedBody { bytes: body.len() as u64, sha256: hex(digest(&SHA256, body).as_ref()) }
}

/// The value of a field; of one with a credential, its length.
fn masked<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    let is_credential = CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential.as_str()));
    if is_credential { format!("[{} bytes]", value.len()).into() } else { value.into() }
}

/// A text within bounds, on one line.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(MOST_SHOWN).map_or(text.len(), |(end, _)| end);
    let cut = if end < text.len() { "…" } else { "" };
    format!("{}{cut}", text[..end].escape_debug())
}

/// How a part of the name differs.
fn difference(part: &str, gateway: Option<&str>, client: Option<&str>) -> PartDifference {
    PartDifference { part: part.to_owned(), gateway: gateway.map(shown), client: client.map(shown), offset: None }
}

fn part(name: &str, value: &str) -> SignedPart {
    SignedPart { name: name.to_owned(), value: value.to_owned() }
}

/// What to say where nothing else can be.
fn no_idea(body: &[u8], has_own: bool) -> String {
    let next =
        if has_own { "check the secret" } else { "compare the client's own string to sign, and check the secret" };
    if body.len() > mistakes::MOST_BYTES {
        return format!("the body is too long to look for usual mistakes: {next}");
    }
    format!("none of the usual mistakes gives this signature: {next}")
}
