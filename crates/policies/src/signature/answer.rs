//! Signs what comes back: in fomalhaut's dialects where the caller asks for it, by RFC 9421 where the route says so.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{Call, Response};
use portcullis_core::message::{FieldValue, FieldsMut, HasFields, Name, Value};
use portcullis_core::policy::{Next, Policy};
use portcullis_core::refusal::Refusal;
use portcullis_signing::fomalhaut::{Canonical, Dialect, Signing};

use super::http::{self, SignedByStandard};
use super::report::StringToSign;
use super::settings::Settings;
use super::verifying::{nonce, text};
use super::withheld::Matched;
use crate::Parts;
use crate::signed::{Names, Said, Signed, field, is_endless, said, set_body, target};

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
        if let Some(signed) = call.notes.shared::<Signed>() {
            return self.fomalhaut(call, &signed, response).await;
        }
        if let Some(signed) = call.notes.shared::<SignedByStandard>()
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
        let (dialect, names) = (signed.dialect(), Names::of(signed.dialect()));
        let seconds = self.parts.clock.unix_millis() / 1_000;
        let asks = said(call, dialect.sign_response()).once().map(FieldValue::as_bytes);
        let asks = dialect.asks_for_signature(asks) && !is_endless(&response);
        let mut fields = response.fields_mut();
        if fields.view().names().any(|name| name.as_str().starts_with(dialect.prefix())) {
            // Only the gateway says these.
            for name in [&names.signature, &names.nonce, &names.request_nonce, &names.status] {
                fields.remove(name);
            }
        }
        if asks || dialect == Dialect::Fo {
            fields.set(&names.timestamp, FieldValue::from(seconds));
        }
        if !asks {
            return Ok(response);
        }
        let whole = self.parts.holding.answer(call, &mut response).await?;
        let nonce = text(nonce());
        let status = response.status().as_u16();
        let mut fields = response.fields_mut();
        only_last(&mut fields, dialect.prefix());
        fields.set(&names.nonce, nonce);
        // Beside what fomalhaut has: which request is answered, and with which status. Its clients verify these with the rest.
        fields.set(&names.status, FieldValue::from(status));
        if let Said::Once(nonce) = said(call, dialect.nonce()) {
            fields.set(&names.request_nonce, nonce.clone());
        }
        let target = target(call);
        let lines = response.fields().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let canonical = Canonical::response(dialect, signed.method.as_str().as_bytes(), target.as_bytes(), lines);
        let canonical = canonical.map_err(|_| Refusal::internal("an answer whose fields cannot be signed"))?;
        let signing = Signing::start(signed.secret.text.expose().as_bytes(), signed.algorithm, &canonical);
        let mut signing = signing.map_err(|_| Refusal::internal("a secret that cannot sign"))?;
        signing.update(whole.bytes());
        response.fields_mut().set(&names.signature, text(signing.finish().to_text()));
        if !whole.bytes().is_empty() {
            set_body(&mut response, whole.into_body());
        }
        Ok(response)
    }
}

/// Keeps the last value of each field of a dialect that a service has sent several times: clients sign over one.
fn only_last(fields: &mut FieldsMut<'_>, prefix: &str) {
    let is_doubled = |name: &Name<'_>| name.as_str().starts_with(prefix) && fields.view().all(*name).nth(1).is_some();
    let names: Vec<_> = fields.view().names().filter(is_doubled).map(Name::to_owned).collect();
    for name in names {
        let last = fields.view().all(&name).next_back().map(Value::to_owned);
        if let Some(last) = last {
            fields.set(&name, last);
        }
    }
}
