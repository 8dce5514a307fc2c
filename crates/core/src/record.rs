//! What is kept of a call when it has ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use crate::metrics::Slot;
pub use crate::open_record::OpenRecord;
use crate::request_id::RequestId;

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
    /// Where the calls of its service are counted. Not a part of what is written.
    pub series: Slot,
}

impl Record {
    /// The record of a call that has just arrived: without an answer, and nothing known yet of who calls and where it goes.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use http::Method;
    /// use portcullis_core::call::RequestId;
    /// use portcullis_core::record::Record;
    ///
    /// let id = RequestId::from_random([7; 16]);
    /// let from = "192.0.2.7".parse().expect("an address");
    /// let record = Record { status: 404, ..Record::begun(SystemTime::UNIX_EPOCH, id, from, Method::GET, "/orders/v1".into()) };
    /// assert_eq!((record.status, record.service), (404, None));
    /// ```
    #[inline]
    pub fn begun(time: SystemTime, request_id: RequestId, client_ip: IpAddr, method: Method, path: Arc<str>) -> Self {
        Self {
            time,
            request_id,
            client_ip,
            method,
            path,
            status: 0,
            service: None,
            version: None,
            client: None,
            user: None,
            duration: Duration::ZERO,
            upstream_duration: None,
            bytes_in: 0,
            bytes_out: 0,
            refusal: None,
            reason: None,
            grpc_status: None,
            target: None,
            series: Slot::NONE,
        }
    }
}

/// What stands in the reason of a call that a time limit has ended, before which limit it was and whose.
pub const TIME_LIMIT: &str = "time limit reached: ";

/// Which time limit has ended a call, and whose it is, out of a reason: `idle of the service`.
///
/// ```
/// use portcullis_core::record::time_limit;
///
/// assert_eq!(time_limit("10.0.0.1:80: no connection in time; time limit reached: connect of the route"), Some("connect of the route"));
/// assert_eq!(time_limit("time limit reached: what a service has said"), None);
/// ```
pub fn time_limit(reason: &str) -> Option<&str> {
    let (which, whose) = reason.rsplit_once(TIME_LIMIT)?.1.split_once(" of the ")?;
    let is_known =
        matches!(which, "connect" | "first_byte" | "idle" | "call") && matches!(whose, "node" | "service" | "route");
    is_known.then(|| &reason[reason.len() - which.len() - " of the ".len() - whose.len()..])
}

/// The status written for a caller that left before it had an answer.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;
