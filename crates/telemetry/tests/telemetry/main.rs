//! The access log from the outside: its file, its bounds, its searches.

mod captures;
mod lanes;
mod log;
mod overload;
mod places;
mod search;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use portcullis_core::call::RequestId;
use portcullis_core::ports::AccessLog;
use portcullis_core::record::Record;
use portcullis_telemetry::{AccessLogHandle, AccessLogWriter, Counters, Recent, Settings};

/// A record that can be told from others by its number.
fn record(number: u64) -> Record {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + number);
    let id = RequestId::from_random(u128::from(number).to_be_bytes());
    let address = "192.0.2.7".parse().expect("an address");
    Record {
        status: 200,
        service: Some("orders".into()),
        version: Some("v1".into()),
        client: Some("web".into()),
        duration: Duration::from_micros(5),
        bytes_in: number,
        ..Record::begun(time, id, address, Method::GET, "/orders/v1/7".into())
    }
}

struct Log {
    handle: Arc<AccessLogHandle>,
    recent: Arc<Recent>,
    counters: Arc<Counters>,
}

impl Log {
    fn start(settings: &Settings) -> Self {
        let counters = Arc::new(Counters::default());
        let (handle, recent) = AccessLogWriter::start(settings, Arc::clone(&counters)).expect("starts");
        Self { handle, recent, counters }
    }

    fn write(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.handle.write(&record(number));
        }
    }
}

/// The numbers of the records in a file of the log, each line checked to be a whole one.
fn numbers(path: &Path) -> Vec<u64> {
    numbers_in(&std::fs::read_to_string(path).expect("reads"))
}

fn numbers_in(text: &str) -> Vec<u64> {
    assert!(text.is_empty() || text.ends_with('\n'), "ends with a whole line");
    let number = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        value["bytes_in"].as_u64().expect("a number")
    };
    text.lines().map(number).collect()
}
