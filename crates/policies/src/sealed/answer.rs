//! Seals what comes back to a request that was sealed.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::call::{Call, Response};
use portcullis_core::message::names::CONTENT_LENGTH;
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::policy::{Next, Policy};
use portcullis_core::refusal::Refusal;

use super::is_sealed;
use crate::Parts;
use crate::signed::{Names, Opened, Signed, is_endless, sealing_key, set_body};

/// The step.
pub(super) struct SealAnswers {
    parts: Arc<Parts>,
}

impl SealAnswers {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }
}

#[async_trait]
impl Policy for SealAnswers {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let mut response = next.run(call).await;
        let Some(signed) = call.notes.get::<Signed>() else { return Ok(response) };
        let (dialect, encrypt_type) = (signed.dialect(), &Names::of(signed.dialect()).encrypt_type);
        let Some(secret) = call.notes.get::<Opened>().map(|opened| Arc::clone(&opened.secret)) else {
            // Only the gateway says this.
            match is_sealed(call) {
                true => drop(response.fields_mut().remove(encrypt_type)),
                false => drop(response.fields_mut().set(encrypt_type, FieldValue::from_static("raw"))),
            }
            return Ok(response);
        };
        if is_endless(&response) {
            // It cannot be sealed before it ends, and is not sent in clear to somebody who expects it sealed.
            return Err(Refusal::AnswerTooLarge { limit: self.parts.holding.answer });
        }
        let whole = self.parts.holding.answer(call, &mut response).await?;
        if whole.bytes().is_empty() {
            // The length of what would have been sealed is nobody's business.
            response.fields_mut().remove(CONTENT_LENGTH);
            response.fields_mut().set(encrypt_type, FieldValue::from_static("raw"));
            return Ok(response);
        }
        let key = sealing_key(&secret).ok_or_else(|| Refusal::internal("a secret that cannot seal"))?;
        // Beside the answer there are a padded copy and its text.
        let mut room = self.parts.holding.room(call);
        if !room.take(whole.bytes().len().saturating_mul(3)) {
            return Err(Refusal::no_room());
        }
        let text = key.seal(dialect, whole.bytes());
        response.fields_mut().set(encrypt_type, FieldValue::from_static("aes"));
        let body = whole.holding(text.into_bytes()).into_body();
        set_body(&mut response, body.on_end(move |_| drop(room)));
        Ok(response)
    }
}
