//! The answer to a gRPC call until its end, which is told in trailers: those of the service, or the gateway's own where
//! the service breaks off, the time is up, or the caller is not welcome any more. An answer that is not gRPC's, and
//! could not be told so, is broken off instead.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{Body, BodyError, Polled};
use portcullis_core::call::Response;
use portcullis_core::grpc::code::trailers;
use portcullis_core::grpc::{self, Code, GrpcCall};
use portcullis_core::message::names::{CONTENT_TYPE, GRPC_STATUS};
use portcullis_core::message::{FieldMap, HasFields};
use portcullis_wire::revocation::{Revocation, Side};
use tokio::time::Sleep;

const REVOKED: &str = "revoked";
const WHY_REVOKED: &str = "what the caller was let in by was taken back";

/// Follows a service's answer, whose caller's tie is watched.
pub(super) fn follow(grpc: Arc<GrpcCall>, tie: Option<Arc<Revocation>>, mut response: Response) -> Response {
    grpc.note(response.fields());
    let has_trailers = response.fields().get(CONTENT_TYPE).and_then(grpc::form) == Some(grpc::Form::Native);
    // Another status of HTTP tells clients how the call has ended.
    let owes_status = has_trailers && response.status() == StatusCode::OK && !response.fields().has(GRPC_STATUS);
    // What has ended in its head has no more to say.
    if response.body().is_empty() {
        if owes_status {
            response.fields_mut().set_all(untold(&grpc));
        }
        return response;
    }
    let alarm = grpc.deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
    response.map(|body| Body::stream(Answer { body, grpc, tie, alarm, has_trailers, owes_status, ended: false }))
}

/// How a call ends whose service has not said how.
fn untold(grpc: &GrpcCall) -> FieldMap {
    const WHY: &str = "upstream_broken";
    grpc.cut(Code::Internal, WHY);
    trailers(Code::Internal, WHY, "the service has not said how the call ended")
}

/// The body of an answer.
struct Answer {
    body: Body,
    grpc: Arc<GrpcCall>,
    tie: Option<Arc<Revocation>>,
    /// When the caller's time is up.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether its end can be told in trailers.
    has_trailers: bool,
    /// Whether it still has to be told how the call ended.
    owes_status: bool,
    ended: bool,
}

impl Answer {
    /// Ends the answer here. What the service still has to say is not waited for: its stream is broken off.
    fn end(&mut self, code: Code, why: &'static str, message: &str) -> Polled {
        self.body = Body::empty();
        self.ended = true;
        self.grpc.cut(code, why);
        Poll::Ready(Some(if self.has_trailers {
            Ok(Frame::trailers(trailers(code, why, message).into()))
        } else {
            Err(BodyError::Broken(why.into()))
        }))
    }

    /// The service's side has broken; it may be that what the caller has sent was the reason.
    fn broken(&mut self) -> Polled {
        match self.grpc.failure.get() {
            Some(BodyError::TooLarge { .. }) => {
                self.end(Code::ResourceExhausted, "body_too_large", "a message is longer than it may be")
            }
            Some(BodyError::Idle | BodyError::Slow | BodyError::Silent(_) | BodyError::TimedOut(_)) => {
                self.end(Code::DeadlineExceeded, "request_timeout", "the caller has been silent for too long")
            }
            Some(BodyError::Broken(_)) => {
                self.end(Code::InvalidArgument, "broken_body", "the request's body broke off")
            }
            Some(BodyError::NoRoom) => {
                self.end(Code::Unavailable, "overloaded", "the gateway has no room for the body")
            }
            Some(BodyError::Revoked) => self.end(Code::Unauthenticated, REVOKED, WHY_REVOKED),
            None => self.end(Code::Unavailable, "upstream_broken", "the service broke off"),
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let answer = &mut *self;
        if answer.ended {
            return Poll::Ready(None);
        }
        if answer.tie.as_ref().is_some_and(|tie| tie.is_revoked_for(Side::Answer, context)) {
            return answer.end(Code::Unauthenticated, REVOKED, WHY_REVOKED);
        }
        if answer.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready()) {
            return answer.end(
                Code::DeadlineExceeded,
                "deadline_exceeded",
                "the time the caller has given it has passed",
            );
        }
        let mut polled = Pin::new(&mut answer.body).poll_frame(context);
        match &mut polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    answer.grpc.note(trailers.fields());
                    if answer.owes_status && !trailers.fields().has(GRPC_STATUS) {
                        trailers.fields_mut().set_all(untold(&answer.grpc));
                    }
                    answer.ended = true;
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let (BodyError::Silent(limit) | BodyError::TimedOut(limit)) = error else { return answer.broken() };
                let _ = answer.grpc.limit.set(limit);
                return match error {
                    BodyError::TimedOut(_) => {
                        answer.end(Code::DeadlineExceeded, "upstream_timeout", "the call has taken too long")
                    }
                    _ => answer.broken(),
                };
            }
            Poll::Ready(None) => {
                answer.ended = true;
                if answer.owes_status {
                    polled = Poll::Ready(Some(Ok(Frame::trailers(untold(&answer.grpc).into()))));
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (!self.owes_status && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // Where its end is in trailers, it does not matter what the service says about its length.
        if self.has_trailers { SizeHint::default() } else { self.body.size_hint() }
    }
}
