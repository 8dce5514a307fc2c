//! What is counted of every call when its record is closed, in the shard of its worker.

use std::sync::Arc;

use http::Method;
use portcullis_core::metrics::text::{Kind, Text};
use portcullis_core::metrics::{Cells, Counter, Family, Histogram, Labels, Observed, Shard, Shards, Slot, Texts};
use portcullis_core::ports::AccessLog;
use portcullis_core::record::Record;

use crate::targets::{OfWorker, Targets};

/// Services whose calls are told apart, each version counted; those beyond are told as `other`.
const MOST_SERVICES: usize = 500;
/// The classes of methods. Callers choose methods freely: what is not among the first is `other`.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];
/// The classes of statuses.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// A family: its name, its help, and where its numbers are.
type Row<T> = (&'static str, &'static str, fn(&Sum) -> T);
/// The name and the version of a service.
type Service = (Arc<str>, Arc<str>);

/// What is counted of the calls of one service.
#[derive(Debug, Default)]
struct OfService {
    calls: [[Counter; CLASSES.len()]; METHODS.len()],
    duration: Histogram,
    upstream_duration: Histogram,
    bytes_in: Counter,
    bytes_out: Counter,
}

/// What is counted of all calls.
#[derive(Debug)]
pub struct Calls {
    services: Family<Service, OfService>,
    refusals: Shards<Texts>,
    /// How it goes with the targets of services.
    pub targets: Targets,
}

impl Default for Calls {
    fn default() -> Self {
        Self { services: Family::with_bound(MOST_SERVICES), refusals: Shards::default(), targets: Targets::default() }
    }
}

impl Calls {
    /// Where the calls of a service are counted. Takes a lock: whoever asks keeps the answer.
    pub fn series(&self, name: &Arc<str>, version: &Arc<str>) -> Slot {
        self.services.slot(&(Arc::clone(name), Arc::clone(version)))
    }

    /// A log that counts what it takes, in front of another.
    pub fn before(self: &Arc<Self>, log: Arc<dyn AccessLog>) -> Arc<dyn AccessLog> {
        Arc::new(Front { counting: Counting::new(self, log), calls: Arc::clone(self) })
    }

    /// Writes what was counted.
    pub(crate) fn write(&self, text: &mut Text) {
        let mut found = Vec::new();
        self.services.each(|labels, cells| {
            let (name, version): (&str, &str) = match labels {
                Labels::None => ("-", ""),
                Labels::Other => (Texts::OTHER, ""),
                Labels::Of((name, version)) => (name, version),
            };
            found.push((name.to_owned(), version.to_owned(), Sum::of(cells)));
        });
        let mut samples = text.family(
            "portcullis_calls_total",
            "Calls that have ended, by service, class of method and class of status; service \"-\": of no service.",
            Kind::Counter,
        );
        for (name, version, sum) in &found {
            for (method, by_class) in METHODS.into_iter().zip(&sum.calls) {
                for (class, count) in CLASSES.into_iter().zip(by_class).filter(|(_, count)| **count > 0) {
                    let labels =
                        [("service", name.as_str()), ("version", version), ("method", method), ("code", class)];
                    samples.sample(&labels, count);
                }
            }
        }
        let durations: [Row<Observed>; 2] = [
            ("portcullis_call_duration_seconds", "From a request's head to the last byte of its answer.", |sum| {
                sum.duration
            }),
            (
                "portcullis_upstream_duration_seconds",
                "From handing a call to a target until the head of its answer.",
                |sum| sum.upstream_duration,
            ),
        ];
        for (family, help, of) in durations {
            let mut samples = text.family(family, help, Kind::Histogram);
            for (name, version, sum) in found.iter().filter(|(_, _, sum)| of(sum).count() > 0) {
                samples.histogram(&[("service", name), ("version", version)], &of(sum));
            }
        }
        let bytes: [Row<u64>; 2] = [
            ("portcullis_received_bytes_total", "Bytes of requests' bodies that were taken from callers.", |sum| {
                sum.bytes_in
            }),
            ("portcullis_sent_bytes_total", "Bytes of answers' bodies that were given to callers.", |sum| {
                sum.bytes_out
            }),
        ];
        for (family, help, of) in bytes {
            let mut samples = text.family(family, help, Kind::Counter);
            for (name, version, sum) in &found {
                samples.sample(&[("service", name), ("version", version)], of(sum));
            }
        }
        self.write_refusals(text);
        self.targets.write(text);
    }

    fn write_refusals(&self, text: &mut Text) {
        let mut found = std::collections::BTreeMap::new();
        self.refusals.each(|texts| texts.each(|code, count| *found.entry(code).or_insert(0) += count));
        let help = "Calls that were refused or cut short, by the code of the refusal.";
        let mut samples = text.family("portcullis_refusals_total", help, Kind::Counter);
        for (code, count) in found {
            samples.sample(&[("code", code)], count);
        }
    }
}

/// The same, added up over all workers.
#[derive(Debug, Default)]
struct Sum {
    calls: [[u64; CLASSES.len()]; METHODS.len()],
    duration: Observed,
    upstream_duration: Observed,
    bytes_in: u64,
    bytes_out: u64,
}

impl Sum {
    fn of(cells: &[&OfService]) -> Self {
        let mut sum = Self::default();
        for cell in cells {
            for (sum, counter) in sum.calls.iter_mut().flatten().zip(cell.calls.iter().flatten()) {
                *sum += counter.get();
            }
            cell.duration.add_to(&mut sum.duration);
            cell.upstream_duration.add_to(&mut sum.upstream_duration);
            sum.bytes_in += cell.bytes_in.get();
            sum.bytes_out += cell.bytes_out.get();
        }
        sum
    }
}

impl OfService {
    fn count(&self, record: &Record) {
        if let Some(counter) = self.calls.get(method(&record.method)).and_then(|by| by.get(class(record.status))) {
            counter.add_one();
        }
        self.duration.observe(record.duration);
        if let Some(duration) = record.upstream_duration {
            self.upstream_duration.observe(duration);
        }
        if record.bytes_in > 0 {
            self.bytes_in.add(record.bytes_in);
        }
        if record.bytes_out > 0 {
            self.bytes_out.add(record.bytes_out);
        }
    }
}

fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

fn class(status: u16) -> usize {
    match status {
        100..600 => usize::from(status / 100 - 1),
        _ => CLASSES.len() - 1,
    }
}

/// Counts for one worker, and hands on.
struct Counting {
    calls: Arc<Calls>,
    services: Arc<Shard<Cells<OfService>>>,
    refusals: Arc<Shard<Texts>>,
    targets: OfWorker,
    log: Arc<dyn AccessLog>,
}

impl Counting {
    fn new(calls: &Arc<Calls>, log: Arc<dyn AccessLog>) -> Self {
        Self {
            services: calls.services.shard(),
            refusals: calls.refusals.open(Texts::default()),
            targets: calls.targets.of_worker(),
            calls: Arc::clone(calls),
            log,
        }
    }
}

impl AccessLog for Counting {
    fn write(&self, record: &Record) {
        self.services.0.at(record.series).count(record);
        if let Some(code) = record.refusal {
            self.refusals.0.add_one(code);
        }
        self.calls.targets.note(&self.targets, record);
        self.log.write(record);
    }
}

/// Counts for everybody who has no way into the log of its own.
struct Front {
    counting: Counting,
    calls: Arc<Calls>,
}

impl AccessLog for Front {
    fn write(&self, record: &Record) {
        self.counting.write(record);
    }

    fn lane(&self) -> Option<Arc<dyn AccessLog>> {
        let log = self.counting.log.lane().unwrap_or_else(|| Arc::clone(&self.counting.log));
        Some(Arc::new(Counting::new(&self.calls, log)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::{Duration, SystemTime};

    use portcullis_core::metrics::text::Text;

    use super::*;
    use crate::line::tests::record;

    #[derive(Default)]
    struct Kept(Mutex<Vec<u16>>);

    impl AccessLog for Kept {
        fn write(&self, record: &Record) {
            self.0.lock().expect("no panic").push(record.status);
        }
    }

    fn text(calls: &Calls) -> String {
        let mut text = Text::default();
        calls.write(&mut text);
        text.into_string()
    }

    #[test]
    fn every_worker_counts_for_itself_and_hands_the_record_on() {
        let (calls, kept) = (Arc::new(Calls::default()), Arc::new(Kept::default()));
        let front = calls.before(kept.clone());
        let lanes = [front.lane().expect("a lane"), front.lane().expect("a lane"), Arc::clone(&front)];
        assert!(lanes[0].lane().is_none(), "a lane has none itself");
        let series = calls.series(&"orders".into(), &"v1".into());
        for lane in &lanes {
            lane.write(&Record { series, bytes_in: 3, bytes_out: 5, ..record(SystemTime::UNIX_EPOCH) });
            let refused =
                Record { series, status: 401, refusal: Some("missing_credential"), ..record(SystemTime::UNIX_EPOCH) };
            lane.write(&Record { bytes_out: 0, target: None, upstream_duration: None, ..refused });
        }
        let odd = Method::from_bytes(b"BREW").expect("a method");
        lanes[0].write(&Record { method: odd, status: 999, ..record(SystemTime::UNIX_EPOCH) });
        assert_eq!(kept.0.lock().expect("no panic").len(), 7);
        let text = text(&calls);
        for line in [
            "portcullis_calls_total{service=\"orders\",version=\"v1\",method=\"GET\",code=\"2xx\"} 3",
            "portcullis_calls_total{service=\"orders\",version=\"v1\",method=\"GET\",code=\"4xx\"} 3",
            "portcullis_calls_total{service=\"-\",version=\"\",method=\"other\",code=\"other\"} 1",
            "portcullis_call_duration_seconds_count{service=\"orders\",version=\"v1\"} 6",
            "portcullis_upstream_duration_seconds_count{service=\"orders\",version=\"v1\"} 3",
            "portcullis_upstream_duration_seconds_sum{service=\"orders\",version=\"v1\"} 0.003",
            "portcullis_received_bytes_total{service=\"orders\",version=\"v1\"} 9",
            "portcullis_sent_bytes_total{service=\"orders\",version=\"v1\"} 15",
            "portcullis_refusals_total{code=\"missing_credential\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_callers_choose_adds_no_series() {
        let calls = Arc::new(Calls::default());
        let lane = calls.before(Arc::new(Kept::default())).lane().expect("a lane");
        let scan = |from: u32| {
            for number in from..from + 5_000 {
                let method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a method");
                let client = Some(format!("client-{number}").into());
                let path = format!("/odd/{number}").into();
                let scanned = Record { method, client, path, service: None, ..record(SystemTime::UNIX_EPOCH) };
                lane.write(&Record {
                    target: None,
                    status: (number % 1_000) as u16,
                    duration: Duration::from_micros(number.into()),
                    ..scanned
                });
            }
            text(&calls).lines().filter(|line| !line.starts_with('#')).count()
        };
        assert_eq!(scan(0), scan(100_000));
    }

    #[test]
    fn services_beyond_the_bound_share_one_series() {
        let calls = Arc::new(Calls::default());
        let log = calls.before(Arc::new(Kept::default()));
        for number in 0..MOST_SERVICES + 20 {
            let series = calls.series(&format!("s{number}").into(), &"v1".into());
            log.write(&Record { series, ..record(SystemTime::UNIX_EPOCH) });
        }
        let text = text(&calls);
        let of_calls: Vec<_> = text.lines().filter(|line| line.starts_with("portcullis_calls_total{")).collect();
        assert_eq!(of_calls.len(), MOST_SERVICES + 1);
        assert!(of_calls.iter().any(|line| line.contains("service=\"other\",version=\"\"") && line.ends_with(" 20")));
    }
}
