//! What is kept of a call when it has ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::Method;

use crate::call::RequestId;
use crate::ports::AccessLog;

/// One ended call. Sizes are payload bytes.
#[derive(Debug, Clone)]
pub struct Record {
    /// When the call arrived.
    pub time: SystemTime,
    /// The id the caller and the backend see in `X-Request-Id`.
    pub request_id: RequestId,
    /// The address the call came from.
    pub client_ip: IpAddr,
    /// The method.
    pub method: Method,
    /// The canonical path, without its query.
    pub path: Arc<str>,
    /// The status of the answer; 499 when the caller left before there was one. Of a gRPC call that was refused, the one
    /// it would have had in plain HTTP.
    pub status: u16,
    /// The service of the route that matched.
    pub service: Option<Arc<str>>,
    /// Its version.
    pub version: Option<Arc<str>>,
    /// The client that called, by name.
    pub client: Option<Arc<str>>,
    /// The user that called, by user name.
    pub user: Option<Arc<str>>,
    /// From the request's head to the answer's last byte.
    pub duration: Duration,
    /// From handing the call to the target until the head of its answer.
    pub upstream_duration: Option<Duration>,
    /// Request body bytes taken.
    pub bytes_in: u64,
    /// Answer body bytes given.
    pub bytes_out: u64,
    /// The code of the refusal, or of what cut the answer short.
    pub refusal: Option<&'static str>,
    /// What only the operator reads about the refusal.
    pub reason: Option<Box<str>>,
    /// How a gRPC call ended: its `grpc-status`.
    pub grpc_status: Option<u8>,
    /// The authority of the target that was chosen.
    pub target: Option<Arc<str>>,
}

/// The status written for a caller that left before it had an answer.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A record being written. It goes to the access log exactly once: when it is closed, or when it is dropped.
pub struct OpenRecord {
    record: Record,
    is_open: bool,
    started: Instant,
    log: Arc<dyn AccessLog>,
}

impl OpenRecord {
    /// Opens the record of a call that has just arrived.
    pub fn new(record: Record, started: Instant, log: Arc<dyn AccessLog>) -> Self {
        Self { record, is_open: true, started, log }
    }

    /// Changes the record; nothing after it is closed.
    pub fn note(&mut self, change: impl FnOnce(&mut Record)) {
        if self.is_open {
            change(&mut self.record);
        }
    }

    /// When the call arrived, on the monotonic clock.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Hands the record to the access log.
    pub fn close(&mut self, change: impl FnOnce(&mut Record)) {
        self.note(change);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        // Before anything else, so that it is handed over once whatever happens.
        if std::mem::take(&mut self.is_open) {
            self.record.duration = self.started.elapsed();
            self.log.write(&self.record);
        }
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        self.note(|record| {
            if record.status == 0 {
                record.status = CLIENT_CLOSED_REQUEST;
                record.refusal = Some("client_closed_request");
            }
        });
        self.hand_over();
    }
}
