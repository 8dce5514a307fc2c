//! gRPC calls at the door: known by their content type, with the time their callers have. Every other call passes by here
//! without a look at the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Version, request};
use portcullis_core::grpc::{self, Form, GrpcCall, timeout};
use portcullis_core::message::names::{CONTENT_TYPE, GRPC_TIMEOUT};
use portcullis_core::message::{Fields, HasFields, Several};
use portcullis_core::refusal::Refusal;

use crate::limits::Timeouts;

/// The form of a request, if it is gRPC. Over HTTP/1.1 there is gRPC-Web alone: nobody could send trailers to it.
fn form(method: &Method, version: Version, headers: Fields<'_>) -> Option<Form> {
    if *method != Method::POST {
        return None;
    }
    let form = grpc::form(headers.get(CONTENT_TYPE)?)?;
    (form != Form::Native || version >= Version::HTTP_2).then_some(form)
}

/// How long the caller's side of a call over HTTP/2 may be silent. A stream of gRPC may be as long as a tunnel. The content
/// type alone decides: where the call goes is not known yet. The service's side is held to what its protocol is.
pub fn silence(timeouts: &Timeouts, head: &request::Parts) -> Duration {
    match form(&head.method, head.version, head.fields()) {
        Some(Form::Native) => timeouts.tunnel_idle,
        _ => timeouts.body_idle,
    }
}

/// Reads what makes a request a gRPC call that has come at this time; what of it is malformed is refused.
pub fn enter(
    method: &Method,
    version: Version,
    headers: Fields<'_>,
    started: Instant,
) -> Option<(Form, Result<Arc<GrpcCall>, Refusal>)> {
    let form = form(method, version, headers)?;
    let deadline = match headers.only(GRPC_TIMEOUT) {
        Ok(None) => Ok(None),
        Ok(Some(value)) => timeout::parse(value).map(|timeout| started.checked_add(timeout)).ok_or(()),
        Err(Several) => Err(()),
    };
    let malformed =
        |()| Refusal::malformed("bad_grpc_timeout", "'grpc-timeout' is 1 to 8 digits and one of H M S m u n");
    Some((form, deadline.map(|deadline| Arc::new(GrpcCall::until(deadline))).map_err(malformed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::message::{FieldMap, FieldName};

    fn entered(version: Version, fields: &[(&'static str, &str)]) -> Option<(Form, Option<Duration>)> {
        let mut headers = FieldMap::new();
        for (name, value) in fields {
            headers.add(FieldName::from_static(name), value.parse().expect("a value"));
        }
        let started = Instant::now();
        let (form, call) = enter(&Method::POST, version, headers.fields(), started)?;
        Some((form, call.ok()?.deadline.map(|deadline| deadline - started)))
    }

    #[test]
    fn only_grpc_calls_have_deadlines() {
        let timeout = ("grpc-timeout", "3S");
        let second = Some(Duration::from_secs(3));
        let grpc = ("content-type", "application/grpc");
        let web = ("content-type", "application/grpc-web+proto");
        assert_eq!(entered(Version::HTTP_2, &[grpc, timeout]), Some((Form::Native, second)));
        assert_eq!(entered(Version::HTTP_2, &[grpc]), Some((Form::Native, None)));
        assert_eq!(entered(Version::HTTP_11, &[grpc, timeout]), None);
        assert_eq!(entered(Version::HTTP_11, &[web, timeout]), Some((Form::Web, second)));
        assert_eq!(entered(Version::HTTP_2, &[("content-type", "application/json"), timeout]), None);
        assert_eq!(entered(Version::HTTP_2, &[timeout]), None);
        let longest = Some(Duration::from_secs(99_999_999 * 3_600));
        assert_eq!(entered(Version::HTTP_2, &[grpc, ("grpc-timeout", "99999999H")]), Some((Form::Native, longest)));
    }

    #[test]
    fn a_malformed_timeout_is_refused() {
        for value in ["3", "3s", "123456789S", ""] {
            let mut headers = FieldMap::new();
            headers.add(FieldName::from_static("content-type"), "application/grpc".parse().expect("a value"));
            headers.add(FieldName::from_static("grpc-timeout"), value.parse().expect("a value"));
            let (_, call) = enter(&Method::POST, Version::HTTP_2, headers.fields(), Instant::now()).expect("gRPC");
            assert_eq!(call.err().map(|refusal| refusal.code()), Some("bad_grpc_timeout"), "{value}");
        }
    }
}
