//! A record becomes a line of the access log.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use http::Method;
use portcullis_core::call::RequestId;
use portcullis_core::record::Record;
use portcullis_telemetry::{Lines, Reason, RecordView};

use crate::Part;

/// The record of a call with a user's token and a client's key.
pub(crate) fn record(path: &str) -> Record {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_769_860_800_123_456);
    let id = RequestId::from_random([0xab; 16]);
    Record {
        status: 200,
        service: Some("orders".into()),
        version: Some("v1".into()),
        client: Some("shop".into()),
        user: Some("ada".into()),
        duration: Duration::from_micros(1_234),
        upstream_duration: Some(Duration::from_micros(987)),
        bytes_out: 10_240,
        target: Some("10.0.0.7:8080".into()),
        ..Record::begun(time, id, [192, 0, 2, 47].into(), Method::GET, path.into())
    }
}

/// Nothing in it needs an escape.
pub(crate) fn line() -> Part {
    written(record("/orders/v1/items/7"))
}

/// Somebody has put quotes and line ends into the path, many times.
pub(crate) fn escaped() -> Part {
    written(record(&"/a\"b\\c\n".repeat(32)))
}

fn written(record: Record) -> Part {
    let (mut lines, mut out) = (Lines::default(), Vec::with_capacity(4_096));
    Box::new(move || {
        out.clear();
        lines.write(&mut out, &RecordView::of(black_box(&record)), Reason::Shown);
        black_box(&out);
    })
}
