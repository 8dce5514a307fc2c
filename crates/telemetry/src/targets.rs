//! How it goes with the targets of services: their failures, by class; which of them fail, told once until they answer
//! again; and the connections to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_core::metrics::text::{Kind, Text};
use portcullis_core::metrics::{Cells, Counter, Family, Labels, Shard, Shards, Slot, Texts};
use portcullis_core::record::Record;

/// Targets that are told apart, and remembered as failing or as having failed.
const MOST_TARGETS: usize = 1_000;
/// Characters of a reason that are kept.
const REASON: usize = 256;
/// So many changes of one target are told at once, and one more after each pause.
const AT_ONCE: u32 = 5;
const PAUSE: Duration = Duration::from_secs(10);
/// How old what is shown of a target's last failure may be, while it goes on failing.
const FRESH: Duration = Duration::from_secs(1);

/// A family of gauges: its name, its help, and where its numbers are.
type Row = (&'static str, &'static str, fn(&TargetStatus) -> u64);

/// What kind of failure a refusal stands for. What a caller has caused is none.
fn class(code: &str) -> Option<&'static str> {
    Some(match code {
        "upstream_unreachable" => "unreachable",
        "upstream_tls" => "tls",
        "upstream_broken" => "broken",
        "upstream_timeout" => "timeout",
        "upstream_address_refused" => "address_refused",
        "upstream_busy" => "busy",
        _ => return None,
    })
}

/// The connections of one worker to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connections {
    /// The target's authority.
    pub target: Arc<str>,
    /// Those that stand or are being opened.
    pub open: u64,
    /// Those among them that carry no call.
    pub idle: u64,
    /// Calls that wait for one.
    pub waiting: u64,
}

/// How it goes with all targets.
#[derive(Debug)]
pub struct Targets {
    failures: Family<(Arc<str>, &'static str), Counter>,
    told: Mutex<HashMap<Arc<str>, TargetMemory>>,
    /// How many of them fail. Nearly always none: then a call that went well looks at nothing else.
    failing: AtomicUsize,
    /// Moves on when a target begins to fail, or answers again: what workers know of it is out of date then.
    round: AtomicU64,
    connections: Shards<Mutex<Vec<Connections>>>,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            failures: Family::with_bound(MOST_TARGETS),
            told: Mutex::default(),
            failing: AtomicUsize::new(0),
            round: AtomicU64::new(0),
            connections: Shards::default(),
        }
    }
}

/// What is remembered of a target that fails or has failed.
#[derive(Debug)]
struct TargetMemory {
    is_failing: bool,
    class: &'static str,
    slot: Slot,
    reason: Box<str>,
    at: SystemTime,
    /// Lines that may be written of it at once.
    left: u32,
    refilled: SystemTime,
}

impl TargetMemory {
    fn new(at: SystemTime) -> Self {
        Self { is_failing: false, class: "", slot: Slot::OTHER, reason: "".into(), at, left: AT_ONCE, refilled: at }
    }

    /// Whether a line may be written of it at this time: a target that fails now and then does not fill the log.
    fn may_tell(&mut self, at: SystemTime) -> bool {
        let passed = at.duration_since(self.refilled).unwrap_or_default();
        let pauses = u32::try_from(passed.as_secs() / PAUSE.as_secs()).unwrap_or(u32::MAX);
        if pauses > 0 {
            self.left = self.left.saturating_add(pauses).min(AT_ONCE);
            self.refilled = at;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// One target, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStatus {
    /// Its authority.
    pub name: Arc<str>,
    /// Connections to it, over all workers.
    pub open: u64,
    /// Those among them that carry no call.
    pub idle: u64,
    /// Calls that wait for one.
    pub waiting: u64,
    /// Whether it has failed and not answered since.
    pub is_failing: bool,
    /// Its last failure: when, its class, and what only the operator reads.
    pub last_failure: Option<(SystemTime, &'static str, Box<str>)>,
}

/// What one worker keeps of targets.
#[derive(Debug)]
pub(crate) struct OfWorker {
    failures: Arc<Shard<Cells<Counter>>>,
    known: Mutex<Known>,
}

/// Its own copy of which targets fail, so that workers do not ask in one place while something fails.
#[derive(Debug, Default)]
struct Known {
    round: u64,
    failing: HashMap<Arc<str>, Failing>,
}

/// A target that fails: how it did last, where that is counted, and when it was told.
#[derive(Debug, Clone, Copy)]
struct Failing {
    class: &'static str,
    slot: Slot,
    at: SystemTime,
}

impl Targets {
    pub(crate) fn of_worker(&self) -> OfWorker {
        OfWorker { failures: self.failures.shard(), known: Mutex::default() }
    }

    /// Notes how a call has ended for its target.
    #[inline]
    pub(crate) fn note(&self, worker: &OfWorker, record: &Record) {
        let Some(target) = &record.target else { return };
        match record.refusal {
            Some(code) => {
                if let Some(class) = class(code) {
                    self.failed(worker, target, class, record);
                }
            }
            None if self.failing.load(Relaxed) > 0 => self.answered(worker, target, record.time),
            None => {}
        }
    }

    /// What a worker knows, brought up to date.
    fn known<'a>(&self, worker: &'a OfWorker) -> MutexGuard<'a, Known> {
        let mut known = locked(&worker.known);
        if known.round != self.round.load(Relaxed) {
            let told = locked(&self.told);
            known.round = self.round.load(Relaxed);
            let failing = told.iter().filter(|(_, told)| told.is_failing);
            known.failing = failing
                .map(|(name, told)| (Arc::clone(name), Failing { class: told.class, slot: told.slot, at: told.at }))
                .collect();
        }
        known
    }

    #[cold]
    fn failed(&self, worker: &OfWorker, target: &Arc<str>, class: &'static str, record: &Record) {
        let mut known = self.known(worker);
        let failing = known.failing.get_mut(target).filter(|failing| failing.class == class);
        if let Some(failing) = failing {
            worker.failures.0.at(failing.slot).add_one();
            if record.time.duration_since(failing.at).is_ok_and(|since| since < FRESH) {
                return;
            }
            failing.at = record.time;
        }
        let slot = self.failures.slot(&(Arc::clone(target), class));
        let was_known = known.failing.get(target).is_some_and(|failing| failing.class == class);
        if !was_known {
            worker.failures.0.at(slot).add_one();
        }
        // That all connections are in use is no fault of the target's own.
        if class == "busy" {
            return;
        }
        if let Some(failing) = known.failing.get_mut(target) {
            *failing = Failing { class, slot, at: record.time };
        }
        drop(known);
        self.tell_failed(target, class, slot, record);
    }

    fn tell_failed(&self, target: &Arc<str>, class: &'static str, slot: Slot, record: &Record) {
        let mut told = locked(&self.told);
        if told.len() >= MOST_TARGETS && !told.contains_key(target) {
            let answering = told.iter().filter(|(_, told)| !told.is_failing).min_by_key(|(_, told)| told.at);
            // Where all of them fail, one more is not told: there is enough to be seen.
            let Some(oldest) = answering.map(|(name, _)| Arc::clone(name)) else { return };
            told.remove(&oldest);
        }
        let known = told.entry(Arc::clone(target)).or_insert_with(|| TargetMemory::new(record.time));
        (known.class, known.slot, known.at) = (class, slot, record.time);
        known.reason = record.reason.as_deref().unwrap_or_default().chars().take(REASON).collect();
        if std::mem::replace(&mut known.is_failing, true) {
            return;
        }
        self.failing.fetch_add(1, Relaxed);
        self.round.fetch_add(1, Relaxed);
        if known.may_tell(record.time) {
            let (service, reason) = (record.service.as_deref().unwrap_or("-"), &known.reason);
            tracing::warn!(%target, service, class, %reason, "a target fails; nothing more is said of it until it answers");
        }
    }

    #[cold]
    fn answered(&self, worker: &OfWorker, target: &Arc<str>, at: SystemTime) {
        if !self.known(worker).failing.contains_key(target) {
            return;
        }
        let mut told = locked(&self.told);
        let Some(known) = told.get_mut(target).filter(|known| known.is_failing) else { return };
        known.is_failing = false;
        self.failing.fetch_sub(1, Relaxed);
        self.round.fetch_add(1, Relaxed);
        if known.may_tell(at) {
            tracing::info!(%target, "a target that has failed answers again");
        }
    }

    /// A place in which one worker tells of its connections.
    pub fn connections(&self) -> Arc<Shard<Mutex<Vec<Connections>>>> {
        self.connections.open(Mutex::default())
    }

    /// Every target that there are connections to, or that has failed, by its name.
    pub fn all(&self) -> Vec<TargetStatus> {
        let mut found = BTreeMap::new();
        let new = |name: &Arc<str>| TargetStatus {
            name: Arc::clone(name),
            open: 0,
            idle: 0,
            waiting: 0,
            is_failing: false,
            last_failure: None,
        };
        self.connections.each(|of_worker| {
            for connections in &*locked(of_worker) {
                let name = &connections.target;
                let status = found.entry(Arc::clone(name)).or_insert_with(|| new(name));
                status.open += connections.open;
                status.idle += connections.idle;
                status.waiting += connections.waiting;
            }
        });
        for (name, told) in &*locked(&self.told) {
            let status = found.entry(Arc::clone(name)).or_insert_with(|| new(name));
            status.is_failing = told.is_failing;
            status.last_failure = Some((told.at, told.class, told.reason.clone()));
        }
        found.into_values().collect()
    }

    pub(crate) fn write(&self, text: &mut Text) {
        let all = self.all();
        let (told, others) = all.split_at(all.len().min(MOST_TARGETS));
        let gauges: [Row; 4] = [
            ("portcullis_target_connections_open", "Connections to a target that stand or are being opened.", |it| {
                it.open
            }),
            ("portcullis_target_connections_idle", "Those among them that carry no call.", |it| it.idle),
            ("portcullis_target_calls_waiting", "Calls that wait for a connection to a target.", |it| it.waiting),
            ("portcullis_target_failing", "1 if a target has failed and not answered since.", |it| {
                it.is_failing.into()
            }),
        ];
        for (name, help, of) in gauges {
            let mut samples = text.family(name, help, Kind::Gauge);
            for status in told {
                samples.sample(&[("target", &status.name)], of(status));
            }
            if !others.is_empty() {
                samples.sample(&[("target", Texts::OTHER)], others.iter().map(of).sum::<u64>());
            }
        }
        let help = "Calls that a target has failed, by what was wrong.";
        let mut samples = text.family("portcullis_target_failures_total", help, Kind::Counter);
        self.failures.each(|labels, cells| {
            let count: u64 = cells.iter().map(|cell| cell.get()).sum();
            let (target, class): (&str, &str) = match labels {
                Labels::Of((target, class)) => (target, class),
                Labels::None | Labels::Other => (Texts::OTHER, Texts::OTHER),
            };
            samples.sample(&[("target", target), ("reason", class)], count);
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::tests::record;

    /// A call of this target at this second that has ended so.
    fn call(target: &str, second: u64, refusal: Option<&'static str>) -> Record {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        Record { target: Some(target.into()), refusal, reason: Some("no\u{1b}way".into()), ..record(time) }
    }

    fn failing(targets: &Targets) -> Vec<String> {
        let all = targets.all().into_iter();
        all.filter(|status| status.is_failing).map(|status| status.name.to_string()).collect()
    }

    fn text(targets: &Targets) -> String {
        let mut text = Text::default();
        targets.write(&mut text);
        text.into_string()
    }

    #[test]
    fn a_target_fails_until_it_answers_whichever_worker_sees_it() {
        let targets = Targets::default();
        let workers = [targets.of_worker(), targets.of_worker()];
        let note = |worker: usize, name, refusal| targets.note(&workers[worker], &call(name, 7, refusal));
        note(0, "a:1", None);
        note(0, "a:1", Some("client_closed_request"));
        note(0, "a:1", Some("upstream_busy"));
        assert!(failing(&targets).is_empty());
        for worker in [0, 1, 1] {
            note(worker, "a:1", Some("upstream_unreachable"));
        }
        note(1, "b:2", Some("upstream_timeout"));
        assert_eq!(failing(&targets), ["a:1", "b:2"]);
        note(0, "c:3", None);
        assert_eq!(failing(&targets), ["a:1", "b:2"]);
        note(0, "b:2", None);
        assert_eq!(failing(&targets), ["a:1"], "also if another worker has seen it fail");
        note(0, "a:1", None);
        note(1, "a:1", Some("upstream_unreachable"));
        assert_eq!(failing(&targets), ["a:1"], "anew");
        note(0, "a:1", None);
        note(0, "a:1", None);
        assert_eq!((failing(&targets).len(), targets.failing.load(Relaxed)), (0, 0));
        let text = text(&targets);
        for line in [
            "portcullis_target_failures_total{target=\"a:1\",reason=\"unreachable\"} 4",
            "portcullis_target_failures_total{target=\"a:1\",reason=\"busy\"} 1",
            "portcullis_target_failures_total{target=\"b:2\",reason=\"timeout\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_is_remembered_of_targets_is_bounded() {
        let targets = Targets::default();
        let worker = targets.of_worker();
        for number in 0..2 * MOST_TARGETS {
            targets.note(&worker, &call(&format!("t{number}:1"), 7, Some("upstream_broken")));
        }
        assert_eq!((failing(&targets).len(), targets.known(&worker).failing.len()), (MOST_TARGETS, MOST_TARGETS));
        let text = text(&targets);
        let count = |family: &str| text.lines().filter(|line| line.starts_with(&format!("{family}{{"))).count();
        assert_eq!(count("portcullis_target_failures_total"), MOST_TARGETS + 1);
        assert_eq!(count("portcullis_target_failing"), MOST_TARGETS);
    }

    #[test]
    fn the_last_failure_is_shown_while_a_target_goes_on_failing() {
        let targets = Targets::default();
        let worker = targets.of_worker();
        let last = |second, refusal| {
            targets.note(&worker, &call("a:1", second, Some(refusal)));
            let (at, class, reason) = targets.all()[0].last_failure.clone().expect("it has failed");
            assert_eq!(&*reason, "no\u{1b}way");
            (at.duration_since(SystemTime::UNIX_EPOCH).expect("after").as_secs(), class)
        };
        assert_eq!(last(7, "upstream_timeout"), (7, "timeout"));
        assert_eq!(last(90, "upstream_timeout"), (90, "timeout"));
        assert_eq!(last(90, "upstream_tls"), (90, "tls"));
        assert_eq!(last(80, "upstream_tls"), (80, "tls"), "also when the clock is set back");
        assert!(text(&targets).contains("{target=\"a:1\",reason=\"tls\"} 2"), "{}", text(&targets));
    }

    #[test]
    fn a_target_that_comes_and_goes_is_told_of_seldom() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let mut told = TargetMemory::new(at(0));
        assert_eq!((0..1_000).filter(|_| told.may_tell(at(0))).count(), 5);
        assert!(!told.may_tell(at(9)) && told.may_tell(at(10)) && !told.may_tell(at(10)));
        assert_eq!((0..1_000).filter(|_| told.may_tell(at(10_000))).count(), 5);
        assert!(!told.may_tell(at(1)), "a clock that is set back grants nothing");
    }

    #[test]
    fn connections_are_added_up_over_workers() {
        let targets = Targets::default();
        for _ in 0..2 {
            let connections = Connections { target: "a:1".into(), open: 3, idle: 2, waiting: 1 };
            *locked(&targets.connections().0) = vec![connections];
        }
        let text = text(&targets);
        for (family, count) in [("connections_open", 6), ("connections_idle", 4), ("calls_waiting", 2), ("failing", 0)]
        {
            let line = format!("portcullis_target_{family}{{target=\"a:1\"}} {count}");
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
