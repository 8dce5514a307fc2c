//! Signs what comes back: in fomalhaut's dialects where the caller asks for it, by RFC 9421 where the route says so.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{Call, Response};
use portcullis_core::message::{FieldValue, FieldsMut, HasFields, Name, Value};
use portcullis_core::policy::{Next, Policy};
use portcullis_core::refusal::Refusal;
use portcullis_signing::fomalhaut::{Canonical, Dialect};

use super::http::{self, SignedByStandard};
use super::report::StringToSign;
use super::settings::Settings;
use super::verifying::{nonce, text};
use super::withheld::Matched;
use crate::Parts;
use crate::signed::{Signed, field, is_endless, said, set_body, signing_key, target};

/// Where a refused caller is told the string that was verified.
const STRING_TO_SIGN: &str = "x-portcullis-string-to-sign";

/// The step.
pub(super) struct SignAnswers {
    settings: Settings,
    parts: Arc<Parts>,
}

impl SignAnswers {
    pub(super) fn new(settings: Settings, parts: Arc<Parts>) -> Self {
        Self { settings, parts }
    }
}

#[async_trait]
impl Policy for SignAnswers {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let mut response = next.run(call).await;
        // A service that says yes before it has all of a body may have believed what was not signed.
        let is_too_early = call.found.get::<Matched>().is_some_and(|matched| !matched.by_now());
        if is_too_early && (response.status().is_success() || response.status().is_redirection()) {
            let private = "answered before the body of the request had been verified".into();
            return Err(Refusal::UpstreamBroken { private });
        }
        if let Some(shown) = call.found.get::<StringToSign>().and_then(|string| string.for_refusal(&mut call.record)) {
            response.fields_mut().set(field(STRING_TO_SIGN), text(shown));
        }
        // An answer to a call that was not verified is not signed: there is nobody to sign it for.
        if let Some(signed) = call.notes.get::<Arc<Signed>>().cloned() {
            return self.fomalhaut(call, &signed, response).await;
        }
        if let Some(signed) = call.notes.get::<Arc<SignedByStandard>>().cloned()
            && self.settings.sign_answers
            && !is_endless(&response)
        {
            return http::sign_answer(&self.parts, call, &signed, response).await;
        }
        Ok(response)
    }
}

impl SignAnswers {
    async fn fomalhaut(&self, call: &mut Call, signed: &Signed, mut response: Response) -> Result<Response, Refusal> {
        let names = Names::of(signed.dialect());
        let seconds = self.parts.clock.unix_millis() / 1_000;
        let asks = said(call, signed.dialect().sign_response()).map(FieldValue::as_bytes);
        let asks = signed.dialect().asks_for_signature(asks) && !is_endless(&response);
        let mut fields = response.fields_mut();
        // Only the gateway says these.
        fields.remove(field(names.signature));
        fields.remove(field(names.nonce));
        fields.remove(field(names.request_nonce));
        fields.remove(field(names.status));
        if asks || signed.dialect() == Dialect::Fo {
            fields.set(field(names.timestamp), FieldValue::from(seconds));
        }
        if !asks {
            return Ok(response);
        }
        let whole = self.parts.holding.answer(call, &mut response).await?;
        let nonce = text(nonce());
        let status = response.status().as_u16();
        let mut fields = response.fields_mut();
        only_last(&mut fields, signed.dialect().prefix());
        fields.set(field(names.nonce), nonce);
        // Beside what fomalhaut has: which request is answered, and with which status. Its clients verify these with the rest.
        fields.set(field(names.status), FieldValue::from(u64::from(status)));
        if let Some(nonce) = said(call, signed.dialect().nonce()) {
            fields.set(field(names.request_nonce), nonce.clone());
        }
        let target = target(call);
        let lines = response.fields().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let canonical =
            Canonical::response(signed.dialect(), signed.method.as_str().as_bytes(), target.as_bytes(), lines);
        let canonical = canonical.map_err(|_| Refusal::internal("an answer whose fields cannot be signed"))?;
        let key = signing_key(&signed.secret).ok_or_else(|| Refusal::internal("a secret that cannot sign"))?;
        let signature = key.sign(signed.algorithm, &canonical, whole.bytes()).to_text();
        response.fields_mut().set(field(names.signature), text(signature));
        if !whole.bytes().is_empty() {
            set_body(&mut response, whole.into_body());
        }
        Ok(response)
    }
}

/// The names of the fields that the gateway writes into answers.
struct Names {
    timestamp: &'static str,
    nonce: &'static str,
    signature: &'static str,
    request_nonce: &'static str,
    status: &'static str,
}

impl Names {
    fn of(dialect: Dialect) -> Self {
        let (request_nonce, status) = match dialect {
            Dialect::Fo => ("x-fo-request-nonce", "x-fo-status"),
            Dialect::Api => ("x-api-request-nonce", "x-api-status"),
        };
        let (timestamp, nonce, signature) = (dialect.timestamp(), dialect.nonce(), dialect.signature());
        Self { timestamp, nonce, signature, request_nonce, status }
    }
}

/// Keeps the last value of each field of a dialect that a service has sent several times: clients sign over one.
fn only_last(fields: &mut FieldsMut<'_>, prefix: &str) {
    let names: Vec<_> =
        fields.view().names().filter(|name| name.as_str().starts_with(prefix)).map(Name::to_owned).collect();
    for name in names {
        let last = fields.view().all(&name).next_back().map(Value::to_owned);
        if let Some(last) = last {
            fields.set(&name, last);
        }
    }
}
