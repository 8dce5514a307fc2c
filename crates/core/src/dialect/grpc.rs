//! How gRPC ends a call that is refused: 200, and the status in fields of the head or in a frame of the body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::Written;
use crate::grpc;
use crate::message::HasFields;
use crate::refusal::Facts;

pub(super) fn write(facts: &Facts<'_>) -> Written {
    let fields = grpc::code::refused(facts);
    Written { fields, ..Written::new(StatusCode::OK, "application/grpc", Ok(Vec::new())) }
}

pub(super) fn write_web(facts: &Facts<'_>) -> Written {
    Written::new(StatusCode::OK, "application/grpc-web+proto", Ok(frame(facts)))
}

pub(super) fn write_web_text(facts: &Facts<'_>) -> Written {
    let text = STANDARD.encode(frame(facts)).into_bytes();
    Written::new(StatusCode::OK, "application/grpc-web-text+proto", Ok(text))
}

fn frame(facts: &Facts<'_>) -> Vec<u8> {
    grpc::web_trailers(grpc::code::refused(facts).fields()).into()
}
