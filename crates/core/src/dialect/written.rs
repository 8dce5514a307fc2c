//! A refusal as it is written, in whatever form.

use http::StatusCode;

use crate::message::FieldMap;

/// A refusal as it is written: status, fields and body.
pub(super) struct Written {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) fields: FieldMap,
    pub(super) body: Vec<u8>,
}

impl Written {
    pub(super) fn new(
        status: StatusCode,
        content_type: &'static str,
        body: Result<Vec<u8>, serde_json::Error>,
    ) -> Self {
        Self { status, content_type, fields: FieldMap::new(), body: body.unwrap_or_default() }
    }
}
