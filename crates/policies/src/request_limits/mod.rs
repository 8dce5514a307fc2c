//! `request_limits`: how large a request body may be.

use std::sync::Arc;
use std::task::Poll;

use http_body::Body as HttpBody;
use portcullis_core::body::BodyError;
use portcullis_core::call::Call;
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Site, settings};

/// The settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Bytes a request body may have; 0: no limit. The node's own limit, if absent.
    body_bytes: Option<u64>,
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none where there is no limit.
pub fn build(site: &Site<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let settings: Settings = settings::read("request_limits", value)?;
    Ok(step(settings.body_bytes.unwrap_or(site.parts.body_limit)))
}

/// The step for a limit in bytes; none for 0.
pub fn step(limit: u64) -> Option<Step> {
    (limit > 0).then(|| Step::Check(Arc::new(RequestLimits { limit })))
}

struct RequestLimits {
    limit: u64,
}

impl Check for RequestLimits {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        if call.request.body.is_empty() {
            return Ok(());
        }
        match call.request.body.size_hint().exact() {
            Some(length) if length > self.limit => Err(Refusal::BodyTooLarge { limit: self.limit }),
            Some(_) => Ok(()),
            None => {
                let (limit, mut left) = (self.limit, self.limit);
                call.request.body = call.take_body().map_polls(move |_, polled| {
                    let passing = match &polled {
                        Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
                        _ => return polled,
                    };
                    match left.checked_sub(passing) {
                        Some(less) => left = less,
                        None => return Poll::Ready(Some(Err(BodyError::TooLarge { limit }))),
                    }
                    polled
                });
                Ok(())
            }
        }
    }
}
