//! An exchange that is under way: its messages' bodies are copied as they pass, and it is handed over once.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use portcullis_core::body::{Body, Outcome};
use portcullis_core::budget::Share;
use portcullis_core::capture::{Exchange, Message};
use portcullis_core::ports::Captures;

/// Which of both messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What the caller sends.
    Request,
    /// What the caller gets.
    Response,
}

/// Hands over the exchange when it is dropped.
pub(super) struct Open(Arc<Shared>);

/// What both bodies copy into. None once it is handed over, or given up.
struct Shared {
    exchange: Mutex<Option<Box<Exchange>>>,
    captures: Arc<dyn Captures>,
}

impl Shared {
    /// Changes the exchange while it is open. A change that finds no room gives the whole exchange up.
    fn change(&self, change: impl FnOnce(&mut Exchange) -> bool) {
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = exchange.as_mut() else { return };
        if !change(open) {
            *exchange = None;
            self.captures.lost();
        }
    }

    fn copy(&self, side: Side, data: &[u8], cap: usize) {
        self.change(|exchange| {
            let Exchange { request, response, share, .. } = exchange;
            let Some(body) = side.of(request, response).body.as_mut() else { return true };
            body.size += data.len() as u64;
            let room = cap - body.bytes.len();
            let copied = &data[..data.len().min(room)];
            let fits = share.take(copied.len());
            if fits {
                body.bytes.extend_from_slice(copied);
            }
            fits
        });
    }

    fn end(&self, side: Side, outcome: &Outcome) {
        self.change(|exchange| {
            if let Some(body) = side.of(&mut exchange.request, &mut exchange.response).body.as_mut() {
                body.complete = *outcome == Outcome::Complete;
            }
            true
        });
    }
}

impl Side {
    fn of<'a>(self, request: &'a mut Message, response: &'a mut Message) -> &'a mut Message {
        match self {
            Self::Request => request,
            Self::Response => response,
        }
    }
}

impl Open {
    pub(super) fn new(exchange: Exchange, captures: Arc<dyn Captures>) -> Self {
        Self(Arc::new(Shared { exchange: Mutex::new(Some(Box::new(exchange))), captures }))
    }

    /// There is an answer; the function notes it, and says whether there was room for it.
    pub(super) fn answered(&self, status: u16, note: impl FnOnce(&mut Message, &mut Share) -> bool) {
        self.0.change(|exchange| {
            exchange.status = Some(status);
            note(&mut exchange.response, &mut exchange.share)
        });
    }

    /// The exchange is not wanted after all.
    pub(super) fn forget(self) {
        self.0.exchange.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Has a body copied as it passes, up to so many bytes.
    pub(super) fn copy(&self, body: Body, side: Side, cap: usize) -> Body {
        if body.is_empty() {
            self.0.end(side, &Outcome::Complete);
            return body;
        }
        if let Some(piece) = body.piece() {
            self.0.copy(side, piece, cap);
        }
        let (into, ended) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let copying = body.map_polls(move |_, polled| {
            if let Poll::Ready(Some(Ok(frame))) = &polled
                && let Some(data) = frame.data_ref()
            {
                into.copy(side, data, cap);
            }
            polled
        });
        copying.on_end(move |end| ended.end(side, &end.outcome))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let exchange = self.0.exchange.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exchange) = exchange {
            self.0.captures.keep(exchange);
        }
    }
}
