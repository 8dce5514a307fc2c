//! The access log, the captured exchanges and the counters of the gateway.
//!
//! ```text
//! worker ──write──►  its lane ──┐
//! worker ──write──►  its lane ──┼──►  one thread  ──►  access.log, access.log.1 …
//! others ──write──►  one more ──┘                 └──►  Recent, searchable
//!            (bounded by bytes; over it: dropped, counted)
//! ```
//!
//! Nothing on a call's way waits for the log: a record is packed into bytes or counted as dropped, and that is all. At most it
//! waits until the thread has laid another buffer into the lane.

mod access_log;
mod batch;
mod blocks;
mod calls;
mod captures;
mod counters;
mod file;
mod filter;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
mod lane;
mod line;
mod line_queue;
mod packed;
mod queue;
mod recent;
mod sink;
mod targets;
mod writer;

pub use access_log::{AccessLogHandle, AccessLogWriter, Settings, StartError};
pub use calls::Calls;
pub use captures::{CaptureFilter, CaptureSettings, CaptureStore};
pub use counters::{Counted, Counters, ProtocolErrors, Snapshot, Spoken, Way};
pub use filter::{Filter, FilterError, ServiceMatch, StatusMatch};
pub use line::{Lines, Reason};
pub use line_queue::{Destination, LineQueue};
pub use packed::RecordView;
pub use recent::{CursorError, DEFAULT_LIMIT, MAX_LIMIT, Page, Recent, RecentRecord};
pub use sink::Target;
pub use targets::{Connections, TargetStatus, Targets};
