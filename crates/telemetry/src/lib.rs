//! The access log, the captured exchanges and the counters of the gateway.
//!
//! ```text
//! workers ──write──►  queue, bounded by bytes  ──►  one thread  ──►  access.log, access.log.1 …
//!                     (over it: dropped, counted)              └──►  Recent, searchable
//! ```
//!
//! Nothing on a call's way waits for the log: a record is pushed or counted as dropped, and that is all.

mod access_log;
mod captures;
mod counters;
mod file;
mod filter;
mod line;
mod recent;
mod writer;

pub use access_log::{AccessLogHandle, AccessLogWriter, Settings, StartError};
pub use captures::{CaptureFilter, CaptureSettings, CaptureStore};
pub use counters::{Counter, Counters, Gauge, ProtocolErrors, Snapshot};
pub use filter::{Filter, FilterError, ServiceMatch, StatusMatch};
pub use line::{Lines, Reason};
pub use recent::{CursorError, DEFAULT_LIMIT, Entry, MAX_LIMIT, Page, Recent};
