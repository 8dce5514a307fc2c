//! Several workers with a lane each: nothing is lost, doubled or put out of order, and all share one bound.

use std::collections::HashMap;
use std::fs;
use std::thread::{self, JoinHandle};

use portcullis_core::ports::AccessLog;
use portcullis_telemetry::Settings;

use crate::{Log, numbers, record};

/// Numbers of records say by their hundred thousands which worker wrote them.
const WORKER: u64 = 100_000;

/// Workers that write so many records each, every one in a lane of its own, which goes when it is done.
fn workers(log: &Log, workers: u64, records: u64) -> Vec<JoinHandle<()>> {
    let write = |worker: u64| {
        let lane = log.handle.lane().expect("a lane");
        move || (0..records).for_each(|number| lane.write(&record(worker * WORKER + number)))
    };
    (0..workers).map(|worker| thread::spawn(write(worker))).collect()
}

fn join(workers: Vec<JoinHandle<()>>) {
    workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
}

/// The numbers each worker's records have, in their order.
fn by_worker(numbers: &[u64]) -> HashMap<u64, Vec<u64>> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    numbers.iter().for_each(|number| found.entry(number / WORKER).or_default().push(number % WORKER));
    found
}

#[test]
fn records_of_many_workers_are_written_once_each_and_in_the_order_of_their_worker() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = Log::start(&Settings::in_directory(directory.path()));
    join(workers(&log, 4, 10_000));
    log.handle.flushed_blocking();
    let found = by_worker(&numbers(&directory.path().join("access.log")));
    for worker in 0..4 {
        assert_eq!(found[&worker], (0..10_000).collect::<Vec<_>>());
    }
    assert_eq!((log.recent.newest(), log.counters.records_written.get()), (40_000, 40_000));
    assert_eq!(log.counters.records_dropped.get(), 0);
}

#[test]
fn what_this_thread_wrote_into_any_lane_is_there_after_waiting_for_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let log = Log::start(&Settings::in_directory(directory.path()));
    let others = workers(&log, 2, 20_000);
    let lanes = [log.handle.lane().expect("a lane"), log.handle.lane().expect("a lane")];
    for round in 1..=50 {
        lanes.iter().for_each(|lane| lane.write(&record(9 * WORKER)));
        log.handle.flushed_blocking();
        let text = fs::read_to_string(&path).expect("reads");
        assert_eq!(text.matches("\"bytes_in\":900000,").count(), round * 2);
        assert!(log.counters.records_written.get() >= 2 * round as u64 && log.recent.newest() >= 2 * round as u64);
    }
    join(others);
}

#[test]
fn stopping_loses_nothing_of_what_lanes_took() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = Log::start(&Settings::in_directory(directory.path()));
    let writing = workers(&log, 4, 5_000);
    // In the middle of it.
    while log.counters.records_written.get() < 100 {
        thread::yield_now();
    }
    log.handle.flush_and_stop();
    let written = log.counters.records_written.get();
    join(writing);
    let found = numbers(&directory.path().join("access.log"));
    assert_eq!(found.len() as u64, written, "each record taken is in the file");
    assert_eq!(log.counters.records_written.get() + log.counters.records_dropped.get(), 20_000);
    for (worker, own) in by_worker(&found) {
        // What is dropped is what came after the end, not something in between.
        assert_eq!(own, (0..own.len() as u64).collect::<Vec<_>>(), "worker {worker}");
    }
}

#[test]
fn a_log_that_nobody_holds_any_more_still_writes_what_its_lanes_took() {
    let directory = tempfile::tempdir().expect("a directory");
    let Log { handle, recent, counters } = Log::start(&Settings::in_directory(directory.path()));
    let lane = handle.lane().expect("a lane");
    (0..1_000).for_each(|number| lane.write(&record(number)));
    drop(handle);
    lane.write(&record(1_000));
    assert_eq!(counters.records_dropped.get(), 1);
    while counters.records_written.get() < 1_000 {
        thread::yield_now();
    }
    assert_eq!(recent.newest(), 1_000);
}

#[test]
fn what_lanes_took_before_the_file_is_opened_anew_goes_to_the_old_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("access.log"), directory.path().join("moved"));
    let log = Log::start(&Settings::in_directory(directory.path()));
    let lanes = [0, 1].map(|_| log.handle.lane().expect("a lane"));
    let write = |from: u64| (from..from + 500).for_each(|number| lanes[number as usize % 2].write(&record(number)));
    for round in 0..10 {
        write(0);
        fs::rename(&path, &moved).expect("moves");
        log.handle.reopen();
        write(1_000);
        log.handle.flushed_blocking();
        let sorted = |path| {
            let mut numbers = numbers(path);
            numbers.sort_unstable();
            numbers
        };
        let left: Vec<u64> = if round == 0 { Vec::new() } else { (1_000..1_500).collect() };
        assert_eq!(sorted(&moved), (0..500).chain(left).collect::<Vec<_>>());
        assert_eq!(sorted(&path), (1_000..1_500).collect::<Vec<_>>());
    }
}
