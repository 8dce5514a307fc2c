//! What is counted since the start of the process: connections, protocol errors, records.

use std::sync::Arc;

use portcullis_core::metrics::text::{Kind, Text};
use portcullis_core::metrics::{Counter, Gauge};
use serde::Serialize;

use crate::calls::Calls;

/// Every counter of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted by a listener.
    pub connections_accepted: Counter,
    /// Connections open now.
    pub connections_open: Gauge,
    /// Connections closed at once because their peer's address had too many.
    pub connections_refused_peer: Counter,
    /// Connections not taken because the listener had too many.
    pub connections_refused_limit: Counter,
    /// Connections ended because what came was not HTTP.
    pub protocol_malformed: Counter,
    /// Connections ended because a request's head did not come in time.
    pub protocol_timed_out: Counter,
    /// Connections answered with 414 or 431 before there was a call.
    pub protocol_too_large: Counter,
    /// TLS handshakes that came to a good end, resumed ones too.
    pub tls_established: Counter,
    /// Those among them that went on with a session from before.
    pub tls_resumed: Counter,
    /// TLS handshakes that failed, for whatever reason.
    pub tls_failed: Counter,
    /// Those among them that failed by the client's certificate, or for want of one.
    pub tls_client_certificate_refused: Counter,
    /// Records taken by the access log and searchable since.
    pub records_written: Counter,
    /// Records dropped because the log's queue was full, or the log had stopped.
    pub records_dropped: Counter,
    /// Failed attempts to write, rotate or reopen the log's file.
    pub log_write_errors: Counter,
    /// Lines missing in the log's file because writing failed for too long.
    pub log_lines_lost: Counter,
    /// Captured exchanges that were written.
    pub captures_written: Counter,
    /// Captured exchanges dropped because too many were under way, or because they could not be written.
    pub captures_dropped: Counter,
    /// Lines for stderr that were lost, because nobody took them or because they could not be written.
    pub diagnostics_dropped: Counter,
    /// Failed attempts to write to stderr.
    pub diagnostics_write_errors: Counter,
    /// Tasks of one connection, call or question that have panicked. The process goes on.
    pub tasks_panicked: Counter,
    /// Connections open now, by [`Way`] and [`Spoken`].
    connections: [[Gauge; SPOKEN.len()]; WAYS.len()],
    /// What is counted of calls.
    pub calls: Arc<Calls>,
}

/// How a connection comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In clear.
    Clear,
    /// Over TLS.
    Tls,
    /// Over QUIC.
    Quic,
}

/// What is spoken over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Nothing is known of it yet.
    Nothing,
    /// HTTP/1.1 or before.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

/// The names of all ways, in their order.
const WAYS: [&str; 3] = ["clear", "tls", "quic"];
/// The names of all that is spoken, in their order.
const SPOKEN: [&str; 4] = ["none", "http1", "http2", "http3"];

/// A connection that is counted by how it came in and what is spoken over it, until this is dropped.
#[derive(Debug)]
pub struct Counted {
    counters: Arc<Counters>,
    way: Way,
    spoken: Spoken,
}

impl Counted {
    /// One that has just been accepted, and of which nothing more is known.
    pub fn accepted(counters: &Arc<Counters>, way: Way) -> Self {
        let counted = Self { counters: Arc::clone(counters), way, spoken: Spoken::Nothing };
        counted.gauge().up();
        counted
    }

    /// It is known by now what is spoken over it.
    pub fn speaks(&mut self, spoken: Spoken) {
        self.gauge().down();
        self.spoken = spoken;
        self.gauge().up();
    }

    fn gauge(&self) -> &Gauge {
        &self.counters.connections[self.way as usize][self.spoken as usize]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge().down();
    }
}

impl Counters {
    /// All values, each read once; they are not from the same instant.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            connections_accepted: self.connections_accepted.get(),
            connections_open: self.connections_open.get(),
            connections_refused_peer: self.connections_refused_peer.get(),
            connections_refused_limit: self.connections_refused_limit.get(),
            protocol_errors: ProtocolErrors {
                malformed: self.protocol_malformed.get(),
                timed_out: self.protocol_timed_out.get(),
                too_large: self.protocol_too_large.get(),
            },
            tls: TlsHandshakes {
                established: self.tls_established.get(),
                resumed: self.tls_resumed.get(),
                failed: self.tls_failed.get(),
                client_certificate_refused: self.tls_client_certificate_refused.get(),
            },
            records_written: self.records_written.get(),
            records_dropped: self.records_dropped.get(),
            log_write_errors: self.log_write_errors.get(),
            log_lines_lost: self.log_lines_lost.get(),
            captures_written: self.captures_written.get(),
            captures_dropped: self.captures_dropped.get(),
            diagnostics_dropped: self.diagnostics_dropped.get(),
            diagnostics_write_errors: self.diagnostics_write_errors.get(),
            tasks_panicked: self.tasks_panicked.get(),
        }
    }

    /// Writes all of them for Prometheus.
    pub fn write(&self, text: &mut Text) {
        self.calls.write(text);
        let mut open = text.family(
            "portcullis_connections_open",
            "Connections of callers that are open, by listener and by what is spoken over them.",
            Kind::Gauge,
        );
        for (listener, by_protocol) in WAYS.into_iter().zip(&self.connections) {
            for (protocol, gauge) in SPOKEN.into_iter().zip(by_protocol) {
                // What cannot be is not told.
                if protocol == "none" || (listener == "quic") == (protocol == "http3") {
                    open.sample(&[("listener", listener), ("protocol", protocol)], gauge.get());
                }
            }
        }
        text.counter(
            "portcullis_connections_accepted_total",
            "Connections of callers that were accepted.",
            self.connections_accepted.get(),
        );
        let refused = [("peer", &self.connections_refused_peer), ("limit", &self.connections_refused_limit)];
        let ended = [
            ("malformed", &self.protocol_malformed),
            ("timed_out", &self.protocol_timed_out),
            ("too_large", &self.protocol_too_large),
        ];
        let families: [(_, _, &[(&str, &Counter)]); 2] = [
            (
                "portcullis_connections_refused_total",
                "Connections that were closed at once: their peer, or everybody, had too many.",
                &refused,
            ),
            (
                "portcullis_protocol_errors_total",
                "Connections that ended before there was a call, by what was wrong.",
                &ended,
            ),
        ];
        for (name, help, counters) in families {
            let mut samples = text.family(name, help, Kind::Counter);
            for (reason, counter) in counters {
                samples.sample(&[("reason", reason)], counter.get());
            }
        }
        let plain = [
            ("portcullis_tls_handshakes_total", "TLS handshakes that came to a good end.", &self.tls_established),
            (
                "portcullis_tls_handshakes_resumed_total",
                "Those among them that went on with a session from before.",
                &self.tls_resumed,
            ),
            ("portcullis_tls_handshakes_failed_total", "TLS handshakes that failed.", &self.tls_failed),
            (
                "portcullis_tls_client_certificates_refused_total",
                "Those among them that failed by the client's certificate.",
                &self.tls_client_certificate_refused,
            ),
            ("portcullis_log_records_total", "Records taken by the access log.", &self.records_written),
            (
                "portcullis_log_records_dropped_total",
                "Records dropped because the queue of the access log was full.",
                &self.records_dropped,
            ),
            ("portcullis_log_write_errors_total", "Failed attempts to write the access log.", &self.log_write_errors),
            (
                "portcullis_log_lines_lost_total",
                "Lines missing in the access log because nobody took them.",
                &self.log_lines_lost,
            ),
            ("portcullis_captures_total", "Captured exchanges that were written.", &self.captures_written),
            ("portcullis_captures_dropped_total", "Captured exchanges that were dropped.", &self.captures_dropped),
            ("portcullis_diagnostics_dropped_total", "Lines for stderr that were lost.", &self.diagnostics_dropped),
            (
                "portcullis_diagnostics_write_errors_total",
                "Failed attempts to write to stderr.",
                &self.diagnostics_write_errors,
            ),
            (
                "portcullis_tasks_panicked_total",
                "Tasks of one connection or call that have panicked.",
                &self.tasks_panicked,
            ),
        ];
        for (name, help, counter) in plain {
            text.counter(name, help, counter.get());
        }
    }
}

/// The values of [`Counters`], under the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of `Counters`")]
pub struct Snapshot {
    pub connections_accepted: u64,
    pub connections_open: u64,
    pub connections_refused_peer: u64,
    pub connections_refused_limit: u64,
    pub protocol_errors: ProtocolErrors,
    pub tls: TlsHandshakes,
    pub records_written: u64,
    pub records_dropped: u64,
    pub log_write_errors: u64,
    pub log_lines_lost: u64,
    pub captures_written: u64,
    pub captures_dropped: u64,
    pub diagnostics_dropped: u64,
    pub diagnostics_write_errors: u64,
    pub tasks_panicked: u64,
}

/// Connections that ended before there was a call, by what was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProtocolErrors {
    /// What came was not HTTP.
    pub malformed: u64,
    /// The head of a request did not come in time.
    pub timed_out: u64,
    /// The head of a request was too large.
    pub too_large: u64,
}

/// Handshakes on the data plane's TLS listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TlsHandshakes {
    /// They came to a good end.
    pub established: u64,
    /// They went on with a session from before; these are among the established ones.
    pub resumed: u64,
    /// They failed.
    pub failed: u64,
    /// They failed by the client's certificate, or for want of one; these are among the failed ones.
    pub client_certificate_refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_every_value_under_its_name() {
        let counters = Counters::default();
        let all = [
            &counters.connections_accepted,
            &counters.connections_refused_peer,
            &counters.connections_refused_limit,
            &counters.protocol_malformed,
            &counters.protocol_timed_out,
            &counters.protocol_too_large,
            &counters.tls_established,
            &counters.tls_resumed,
            &counters.tls_failed,
            &counters.tls_client_certificate_refused,
            &counters.records_written,
            &counters.records_dropped,
            &counters.log_write_errors,
            &counters.log_lines_lost,
            &counters.captures_written,
            &counters.captures_dropped,
            &counters.diagnostics_dropped,
            &counters.diagnostics_write_errors,
            &counters.tasks_panicked,
        ];
        for (counter, number) in all.into_iter().zip(1..) {
            counter.add(number);
            counter.add_one();
        }
        counters.connections_open.up();
        counters.connections_open.up();
        counters.connections_open.down();
        let json = serde_json::to_string(&counters.snapshot()).expect("serialises");
        assert_eq!(
            json,
            "{\"connections_accepted\":2,\"connections_open\":1,\"connections_refused_peer\":3,\
             \"connections_refused_limit\":4,\
             \"protocol_errors\":{\"malformed\":5,\"timed_out\":6,\"too_large\":7},\
             \"tls\":{\"established\":8,\"resumed\":9,\"failed\":10,\"client_certificate_refused\":11},\
             \"records_written\":12,\"records_dropped\":13,\"log_write_errors\":14,\"log_lines_lost\":15,\
             \"captures_written\":16,\"captures_dropped\":17,\
             \"diagnostics_dropped\":18,\"diagnostics_write_errors\":19,\"tasks_panicked\":20}"
        );
    }
}
