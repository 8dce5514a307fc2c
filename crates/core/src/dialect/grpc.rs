//! How gRPC ends a call that is refused: 200, and the status in fields of the head or in a frame of the body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::written::Written;
use crate::grpc::{self, Form};
use crate::message::HasFields;
use crate::refusal::Facts;

pub(super) fn write(form: Form, facts: &Facts<'_>) -> Written {
    let fields = grpc::code::refused(facts);
    let (content_type, body) = match form {
        Form::Native => {
            return Written { fields, ..Written::new(StatusCode::OK, "application/grpc", Ok(Vec::new())) };
        }
        Form::Web => ("application/grpc-web+proto", grpc::web_trailers(fields.fields()).into()),
        Form::WebText => {
            ("application/grpc-web-text+proto", STANDARD.encode(grpc::web_trailers(fields.fields())).into_bytes())
        }
    };
    Written::new(StatusCode::OK, content_type, Ok(body))
}
