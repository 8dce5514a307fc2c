//! Progress of a request body: counts its bytes as they come in, and breaks it off when its caller's access is revoked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use portcullis_core::body::{Body, BodyError, Outcome};
use portcullis_core::call::{Call, Lasting};
use portcullis_core::message::HasFields;
use portcullis_wire::fields::strip_trailers;
use portcullis_wire::revocation::{Revocation, Side};

/// How much has come in of a request body, where there is one, and whether all of it has.
pub struct Received(Option<Arc<Progress>>);

#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    is_done: AtomicBool,
    /// What the caller was let in by, from when that is known.
    revocation: OnceLock<Arc<Revocation>>,
}

impl Received {
    /// Of what comes with a request.
    pub fn new(body: &Body) -> Self {
        Self((!body.is_empty()).then(Default::default))
    }

    /// What comes through a tunnel is counted, and is no part of the request.
    pub fn through_tunnel() -> Self {
        Self(Some(Arc::new(Progress { is_done: AtomicBool::new(true), ..Progress::default() })))
    }

    /// Looks at a body from now on: its bytes are counted as they pass, its trailers carry nothing of the gateway's, and it
    /// breaks off when its caller is not to call any more.
    pub fn count(&self, body: Body) -> Body {
        let Some(progress) = self.0.clone() else { return body };
        let at_end = Arc::clone(&progress);
        let counted = body.map_polls(move |context, mut polled| {
            if let Some(revocation) = progress.revocation.get() {
                // What has come whole is not broken off.
                let is_over = matches!(polled, Poll::Ready(None));
                let is_revoked = if polled.is_pending() {
                    revocation.is_revoked_for(Side::Request, context)
                } else {
                    revocation.is_revoked()
                };
                if is_revoked && !is_over {
                    return Poll::Ready(Some(Err(BodyError::Revoked)));
                }
            }
            if let Poll::Ready(Some(Ok(frame))) = &mut polled {
                if let Some(data) = frame.data_ref() {
                    progress.bytes.fetch_add(data.len() as u64, Relaxed);
                } else if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers.fields_mut());
                }
            }
            polled
        });
        counted.on_end(move |end| at_end.is_done.store(end.outcome == Outcome::Complete, Relaxed))
    }

    /// What is to be told when the call has been let in.
    pub fn lasting(&self) -> Option<Arc<dyn Lasting>> {
        self.0.clone().map(|progress| progress as Arc<dyn Lasting>)
    }

    /// What the body is tied to, where there is one and its caller has shown something that can be taken back.
    pub fn revocation(&self) -> Option<Arc<Revocation>> {
        self.0.as_ref()?.revocation.get().cloned()
    }

    /// Whether there is more to come, or never will be. What stands there is no request.
    pub fn is_under_way(&self) -> bool {
        self.0.as_ref().is_some_and(|progress| !progress.is_done.load(Relaxed))
    }

    /// How many bytes have come.
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |progress| progress.bytes.load(Relaxed))
    }
}

impl Lasting for Progress {
    fn let_in(&self, call: &Call) {
        if let Some(revocation) = Revocation::of(call) {
            // A call is let in once.
            let _ = self.revocation.set(revocation);
        }
    }
}
