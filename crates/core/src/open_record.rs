//! The record of a call while it is under way.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::ports::AccessLog;
use crate::record::{CLIENT_CLOSED_REQUEST, Record};

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

    /// When the call arrived, by the time of day.
    pub fn time(&self) -> SystemTime {
        self.record.time
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
