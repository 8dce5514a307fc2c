//! gRPC calls on their way: given to the service within the time their callers have, and ended as gRPC ends calls.

mod answer;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use portcullis_core::body::Outcome;
use portcullis_core::call::{Call, Response};
use portcullis_core::grpc::{GrpcCall, timeout};
use portcullis_core::message::HasFields;
use portcullis_core::message::names::GRPC_TIMEOUT;
use portcullis_core::refusal::Refusal;
use portcullis_wire::revocation::{Revocation, Side};

use answer::follow;

/// Forwards a gRPC call by `forward`, for as long as its caller waits, and follows the answer to its end.
pub async fn forward(
    grpc: Arc<GrpcCall>,
    call: &mut Call,
    forward: impl AsyncFnOnce(&mut Call) -> Result<Response, Refusal>,
) -> Result<Response, Refusal> {
    let left = grpc.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if let Some(left) = left {
        if left.is_zero() {
            return Err(Refusal::DeadlineExceeded);
        }
        call.request.fields_mut().set(GRPC_TIMEOUT, timeout::write(left));
    }
    let failed = Arc::clone(&grpc);
    call.request.body = call.take_body().on_end(move |end| {
        if let Outcome::Error(error) = &end.outcome {
            // There is one body, with one end.
            let _ = failed.failure.set(error.clone());
        }
    });
    let tie = Revocation::of(call);
    let answer = while_welcome(tie.as_deref(), forward(call));
    let answered = match grpc.deadline {
        None => answer.await,
        Some(deadline) => {
            tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or(Err(Refusal::DeadlineExceeded))
        }
    };
    answered.map(|response| follow(grpc, tie, response))
}

/// Waits for the head of an answer, which may come after the last of many messages, for as long as the caller may call.
async fn while_welcome(
    tie: Option<&Revocation>,
    answer: impl Future<Output = Result<Response, Refusal>>,
) -> Result<Response, Refusal> {
    let mut answer = pin!(answer);
    poll_fn(|context| match tie {
        Some(tie) if tie.is_revoked_for(Side::Answer, context) => Poll::Ready(Err(Refusal::Revoked)),
        _ => answer.as_mut().poll(context),
    })
    .await
}
