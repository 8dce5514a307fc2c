//! Lanes and the thread that empties them: who wakes it, and what becomes of a lane.

use std::time::{Duration, SystemTime};

use super::*;
use crate::filter::Filter;
use crate::line::tests::record;

struct Log {
    handle: Arc<AccessLogHandle>,
    recent: Arc<Recent>,
    counters: Arc<Counters>,
    _directory: tempfile::TempDir,
}

fn start() -> Log {
    let directory = tempfile::tempdir().expect("a directory");
    let (settings, counters) = (Settings::in_directory(directory.path()), Arc::new(Counters::default()));
    let (handle, recent) = AccessLogWriter::start(&settings, Arc::clone(&counters)).expect("starts");
    Log { handle, recent, counters, _directory: directory }
}

impl Log {
    fn lane(&self) -> Arc<dyn AccessLog> {
        self.handle.lane().expect("a lane")
    }

    fn wait_until_it_sleeps(&self) {
        wait_until(|| self.handle.inbox.is_asleep());
    }

    fn wait_until_written(&self, number: u64) {
        wait_until(|| self.counters.records_written.get() >= number);
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

#[test]
fn a_record_in_any_lane_wakes_the_sleeping_thread() {
    let log = start();
    let lanes = [log.handle.clone(), log.lane(), log.lane()];
    let mut number = 0;
    for _ in 0..3 {
        for lane in &lanes {
            log.wait_until_it_sleeps();
            lane.write(&record(SystemTime::UNIX_EPOCH));
            // Nothing but the record itself has told the thread.
            number += 1;
            log.wait_until_written(number);
        }
    }
    // One that is added while it sleeps is no different.
    log.wait_until_it_sleeps();
    log.lane().write(&record(SystemTime::UNIX_EPOCH));
    log.wait_until_written(number + 1);
    assert_eq!(log.recent.newest(), number + 1);
}

#[test]
fn no_record_is_missed_whenever_it_is_written() {
    let log = Arc::new(start());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let mut lane = log.lane();
                for number in 0..200_u32 {
                    if number % 5 == 0 {
                        lane = log.lane();
                    }
                    // Now and then just when the thread is about to sleep.
                    if (number + writer) % 7 == 0 {
                        log.wait_until_it_sleeps();
                    }
                    lane.write(&record(SystemTime::UNIX_EPOCH));
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    // Nobody tells the thread anything from here on.
    log.wait_until_written(800);
    log.wait_until_it_sleeps();
    assert_eq!((log.counters.records_written.get(), log.counters.records_dropped.get()), (800, 0));
}

#[test]
fn a_lane_whose_worker_has_gone_is_emptied_and_forgotten() {
    let log = start();
    let (staying, leaving) = (log.lane(), log.lane());
    assert_eq!(log.handle.inbox.lanes(), 3);
    log.wait_until_it_sleeps();
    // The thread stands still over the first one, so the lane is without its worker when it looks again.
    let blocks = log.recent.hold();
    staying.write(&record(SystemTime::UNIX_EPOCH));
    wait_until(|| log.handle.inbox.is_quiet());
    for _ in 0..10 {
        leaving.write(&record(SystemTime::UNIX_EPOCH));
    }
    drop(leaving);
    drop(blocks);
    log.handle.flushed_blocking();
    assert_eq!((log.recent.newest(), log.handle.inbox.lanes()), (11, 2));
    staying.write(&record(SystemTime::UNIX_EPOCH));
    log.handle.flushed_blocking();
    assert_eq!((log.recent.newest(), log.handle.inbox.lanes()), (12, 2));
}

#[test]
fn records_of_several_lanes_come_in_the_order_in_which_their_calls_ended() {
    let log = start();
    let lanes = [log.lane(), log.lane(), log.lane()];
    log.wait_until_it_sleeps();
    // The thread stands still over the first one until all are there.
    let blocks = log.recent.hold();
    for number in 0..900_u64 {
        let lane = [2, 0, 1, 0][number as usize % 4];
        lanes[lane]
            .write(&Record { bytes_in: number, ..record(SystemTime::UNIX_EPOCH + Duration::from_millis(number)) });
        if number == 0 {
            wait_until(|| log.handle.inbox.is_quiet());
        }
    }
    drop(blocks);
    log.handle.flushed_blocking();
    let page = log.recent.search(&Filter::default(), 1_000, None).expect("searches");
    let numbers = page.items.iter().rev().map(|entry| {
        let json: serde_json::Value = serde_json::from_str(entry.json()).expect("JSON");
        json["bytes_in"].as_u64().expect("a number")
    });
    assert!(numbers.eq(0..900));
}

#[test]
fn the_whole_budget_is_there_again_when_everything_is_dealt_with() {
    let log = start();
    let whole = log.handle.inbox.free();
    let lanes = [log.handle.clone(), log.lane(), log.lane()];
    for round in 0..20 {
        lanes.iter().for_each(|lane| (0..50).for_each(|_| lane.write(&record(SystemTime::UNIX_EPOCH))));
        if round % 3 == 0 {
            log.handle.reopen();
        }
    }
    log.handle.flushed_blocking();
    assert_eq!((log.handle.inbox.free(), log.recent.newest()), (whole, 3_000));
}

#[test]
fn a_lane_of_a_log_that_has_stopped_takes_nothing_and_nobody_waits_for_it() {
    let log = start();
    let before = log.lane();
    log.handle.flush_and_stop();
    let after = log.lane();
    before.write(&record(SystemTime::UNIX_EPOCH));
    after.write(&record(SystemTime::UNIX_EPOCH));
    log.handle.write(&record(SystemTime::UNIX_EPOCH));
    log.handle.reopen();
    log.handle.flushed_blocking();
    assert_eq!((log.counters.records_dropped.get(), log.recent.newest()), (3, 0));
}
