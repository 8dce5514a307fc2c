//! The journal of nonces: restarts after every kind of end, damage at every byte, failures, bounds.
//!
//! A writer that is driven by hand and dropped is a process that was killed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use portcullis_core::memory::{ManualClock, Nonce};
use tempfile::TempDir;

use super::format::{HEAD, RECORD};
use super::*;

const NOW: u64 = 1_700_000_500;
const WINDOW: u64 = 600;
const BYTES: u64 = 1 << 20;
const BOOT: Boot = Boot([1; 16]);

struct Scene {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl Scene {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), clock: Arc::new(ManualClock::at(NOW)) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("nonces")
    }

    fn settings(&self) -> JournalSettings {
        JournalSettings { directory: self.path(), bytes: BYTES, is_new: !self.path().exists() }
    }

    /// Starts, without threads.
    fn start(&self) -> Writer {
        let mut writer = prepare(&self.settings(), Arc::clone(&self.clock) as _, BOOT).expect("opens");
        writer.round(false);
        assert!(!writer.has_failed);
        writer
    }

    fn open(&self) -> Arc<Journal> {
        Journal::open_in(&self.settings(), Arc::clone(&self.clock) as _, BOOT).expect("opens")
    }

    /// The only file of a period.
    fn data(&self) -> PathBuf {
        let mut names: Vec<_> =
            fs::read_dir(self.path()).expect("lists").map(|it| it.expect("an entry").path()).collect();
        names.retain(|path| path.extension().is_some());
        assert_eq!(names.len(), 1, "{names:?}");
        names.remove(0)
    }

    /// A copy of what is on the disk now.
    fn copy(&self) -> Self {
        let copy = Self { directory: tempfile::tempdir().expect("a directory"), clock: Arc::clone(&self.clock) };
        fs::create_dir(copy.path()).expect("made");
        for entry in fs::read_dir(self.path()).expect("lists") {
            let path = entry.expect("an entry").path();
            if !path.is_file() {
                continue;
            }
            fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
        }
        copy
    }
}

fn once(number: u64, stamp: u64) -> Once<'static> {
    let mut key = [3; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Once { owner: "app", key, stamp, until: stamp + WINDOW }
}

fn note(memory: &MemoryState, number: u64, stamp: u64) -> Result<Noted, Unavailable> {
    memory.note(&Effects::outside_of_calls(), &once(number, stamp))
}

fn stop(mut writer: Writer) {
    writer.round(true);
    writer.files.finish(writer.clock.unix_millis()).expect("finishes");
}

/// Whether a request that was never seen, with this stamp, is the first.
fn takes(memory: &MemoryState, stamp: u64) -> bool {
    matches!(note(memory, 1_000_000 + stamp, stamp), Ok(Noted::First | Noted::FirstAfter(_)))
}

#[test]
fn a_clean_stop_forgets_nothing_and_refuses_nothing() {
    let scene = Scene::new();
    let writer = scene.start();
    for (number, stamp) in [(1, NOW), (2, NOW - 500), (3, NOW + 500)] {
        assert!(matches!(note(&writer.memory, number, stamp), Ok(Noted::First | Noted::FirstAfter(_))));
    }
    stop(writer);
    for boot in [BOOT, Boot([2; 16])] {
        let copy = scene.copy();
        let mut writer = prepare(&copy.settings(), Arc::clone(&copy.clock) as _, boot).expect("opens");
        writer.round(false);
        for (number, stamp) in [(1, NOW), (2, NOW - 500), (3, NOW + 500)] {
            assert_eq!(note(&writer.memory, number, stamp), Ok(Noted::Again));
        }
        assert!([NOW, NOW - 2, NOW + 2, NOW - 500].iter().all(|stamp| takes(&writer.memory, *stamp)));
    }
}

#[test]
fn after_a_crash_what_may_be_missing_is_refused_and_nothing_else() {
    let scene = Scene::new();
    let mut writer = scene.start();
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::First));
    assert_eq!(note(&writer.memory, 2, NOW - 300), Ok(Noted::FirstAfter(2)));
    writer.round(false);
    assert_eq!(note(&writer.memory, 3, NOW + 1), Ok(Noted::First), "it does not wait, and is lost");
    drop(writer);
    // Another crash, in which nothing is lost, does not make the first one forgotten.
    for _ in 0..2 {
        let writer = scene.start();
        for (number, stamp) in [(1, NOW), (2, NOW - 300), (3, NOW + 1)] {
            assert_eq!(note(&writer.memory, number, stamp), Ok(Noted::Again), "{number}");
        }
        assert!((NOW - 1..=NOW + 2).all(|stamp| !takes(&writer.memory, stamp)));
        assert!([NOW - 2, NOW + 3, NOW - 500].iter().all(|stamp| takes(&writer.memory, *stamp)));
        scene.clock.advance(Duration::from_secs(30));
    }
    // So it does after a clean stop.
    stop(scene.start());
    let writer = scene.start();
    assert!(!takes(&writer.memory, NOW + 2) && takes(&writer.memory, NOW + 60));
}

#[test]
fn while_nothing_is_noted_nothing_is_written() {
    let scene = Scene::new();
    let mut writer = scene.start();
    let head = || fs::read(scene.path().join("head")).expect("reads");
    let before = head();
    scene.clock.advance(Duration::from_secs(60));
    writer.round(false);
    assert_eq!(head(), before);
    // Who comes after a pause waits for a round, and the next one does not.
    assert_eq!(note(&writer.memory, 1, NOW + 60), Ok(Noted::FirstAfter(3)));
    writer.round(false);
    assert_ne!(head(), before);
    assert_eq!(note(&writer.memory, 2, NOW + 60), Ok(Noted::First));
}

#[test]
fn after_a_crash_of_the_machine_every_stamp_before_the_start_is_refused() {
    let scene = Scene::new();
    let mut writer = scene.start();
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::First));
    writer.round(false);
    drop(writer);
    scene.clock.advance(Duration::from_secs(100));
    let mut writer = prepare(&scene.settings(), Arc::clone(&scene.clock) as _, Boot([2; 16])).expect("opens");
    writer.round(false);
    assert!([NOW - 400, NOW + 50, NOW + 102].iter().all(|stamp| !takes(&writer.memory, *stamp)));
    assert!(takes(&writer.memory, NOW + 103));
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::Again));
}

#[test]
fn where_state_is_but_no_journal_every_stamp_before_the_start_is_refused() {
    let scene = Scene::new();
    let writer = scene.start();
    assert!(takes(&writer.memory, NOW) && takes(&writer.memory, NOW - 500), "nothing was there before");
    drop(writer);
    fs::remove_dir_all(scene.path()).expect("removed");
    let settings = JournalSettings { is_new: false, ..scene.settings() };
    let mut writer = prepare(&settings, Arc::clone(&scene.clock) as _, BOOT).expect("opens");
    writer.round(false);
    assert!([NOW - 500, NOW, NOW + 2].iter().all(|stamp| !takes(&writer.memory, *stamp)));
    assert!(takes(&writer.memory, NOW + 3));
}

/// Ten nonces that were written, of which some had stamps behind and ahead of the clock, all in one file.
fn written(scene: &Scene) -> Vec<(u64, u64)> {
    let mut writer = scene.start();
    let noted: Vec<_> = (0..10).map(|number| (number, NOW + number * 11 - 40)).collect();
    for half in noted.chunks(5) {
        for (number, stamp) in half {
            assert!(matches!(note(&writer.memory, *number, *stamp), Ok(Noted::First | Noted::FirstAfter(_))));
        }
        writer.round(false);
    }
    noted
}

fn forgets_none(scene: &Scene, noted: &[(u64, u64)], (what, at): (&str, u64)) {
    let mut writer = prepare(&scene.settings(), Arc::clone(&scene.clock) as _, BOOT).expect("opens");
    writer.round(false);
    for (number, stamp) in noted {
        assert_eq!(note(&writer.memory, *number, *stamp), Ok(Noted::Again), "{what} {at}: {number}");
    }
    if !at.is_multiple_of(8) {
        return;
    }
    // It goes on, and what is noted from now on is known after the next crash too.
    assert!(takes(&writer.memory, NOW + 100), "{what} {at}");
    writer.round(false);
    drop(writer);
    let mut writer = prepare(&scene.settings(), Arc::clone(&scene.clock) as _, BOOT).expect("opens");
    writer.round(false);
    assert!(!takes(&writer.memory, NOW + 100), "{what} {at}");
}

#[test]
fn a_file_that_was_cut_at_any_byte_forgets_nothing_that_was_written() {
    let scene = Scene::new();
    let noted = written(&scene);
    let data = scene.data();
    for length in 0..11 * RECORD as u64 {
        let copy = scene.copy();
        let file = OpenOptions::new().write(true).open(copy.path().join(data.file_name().expect("a name")));
        file.and_then(|file| file.set_len(length)).expect("cut");
        forgets_none(&copy, &noted, ("data of", length));
    }
    for length in (0..2 * HEAD as u64).step_by(97).chain([1, 4_095, 4_096, 4_097, 8_191]) {
        let copy = scene.copy();
        let file = OpenOptions::new().write(true).open(copy.path().join("head"));
        file.and_then(|file| file.set_len(length)).expect("cut");
        forgets_none(&copy, &noted, ("head of", length));
    }
    for name in ["head".as_ref(), data.file_name().expect("a name")] {
        let copy = scene.copy();
        fs::remove_file(copy.path().join(name)).expect("removed");
        forgets_none(&copy, &noted, ("removed", 0));
    }
}

#[test]
fn a_byte_that_is_another_one_forgets_nothing_that_was_written() {
    let scene = Scene::new();
    let noted = written(&scene);
    let name = scene.data().file_name().expect("a name").to_owned();
    let places = (0..11 * RECORD as u64).map(|at| (name.clone(), at));
    for (name, at) in places.chain((0..2 * HEAD as u64).step_by(61).map(|at| ("head".into(), at))) {
        let copy = scene.copy();
        let file = OpenOptions::new().read(true).write(true).open(copy.path().join(&name)).expect("opens");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("reads");
        file.write_all_at(&[byte[0] ^ 0x41], at).expect("writes");
        forgets_none(&copy, &noted, ("damaged at", at));
    }
}

#[test]
fn what_nobody_was_told_of_is_cut_without_refusing_more() {
    let scene = Scene::new();
    let noted = written(&scene);
    let data = scene.data();
    let length = fs::metadata(&data).expect("there").len();
    let file = OpenOptions::new().write(true).open(&data).expect("opens");
    file.write_all_at(&[7; RECORD + 20], length).expect("writes");
    scene.clock.advance(Duration::from_secs(200));
    let writer = scene.start();
    assert_eq!(fs::metadata(&data).expect("there").len(), length);
    assert!(noted.iter().all(|(number, stamp)| note(&writer.memory, *number, *stamp) == Ok(Noted::Again)));
    assert!(takes(&writer.memory, NOW + 200), "what was cut had not been acknowledged");
}

#[test]
fn files_go_when_all_in_them_is_over_and_a_clock_set_back_opens_nothing() {
    let scene = Scene::new();
    let mut writer = scene.start();
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::First));
    writer.round(false);
    let data = scene.data();
    scene.clock.advance(Duration::from_secs(WINDOW));
    writer.round(false);
    assert!(data.exists(), "the nonce is in the last second of its window");
    scene.clock.advance(Duration::from_secs(WINDOW));
    assert!(takes(&writer.memory, NOW + 2 * WINDOW));
    writer.round(false);
    assert!(!data.exists());
    assert_ne!(scene.data(), data);
    drop(writer);
    // The clock is set back while the gateway is down, and the file has gone.
    scene.clock.set(NOW + 10);
    let writer = scene.start();
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::Again));
    // The same if the file goes at the start.
    let scene = Scene::new();
    let mut writer = scene.start();
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::First));
    writer.round(false);
    stop(writer);
    scene.clock.set(NOW + 3 * WINDOW);
    let writer = scene.start();
    assert_eq!(fs::read_dir(scene.path()).expect("lists").count(), 1);
    scene.clock.set(NOW + 10);
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::Again));
}

#[test]
fn what_cannot_be_written_is_not_accepted_until_it_can() {
    let scene = Scene::new();
    let mut writer = scene.start();
    // A directory stands where the file would be.
    let blocked = scene.path().join(format!("{:016x}.nonces", (NOW + WINDOW) / 600));
    fs::create_dir(&blocked).expect("made");
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::First));
    assert_eq!(note(&writer.memory, 2, NOW - 5), Ok(Noted::FirstAfter(2)));
    for round in 2..4 {
        writer.round(false);
        assert_eq!(writer.progress.borrow().failed, round);
        assert!(note(&writer.memory, 3, NOW).is_err());
    }
    assert_eq!(note(&writer.memory, 1, NOW), Ok(Noted::Again));
    {
        // A start does not fail by it, and refuses all that may be missing.
        let copy = scene.copy();
        fs::create_dir(copy.path().join(blocked.file_name().expect("a name"))).expect("made");
        let mut writer = copy.start();
        assert!(!takes(&writer.memory, NOW) && takes(&writer.memory, NOW + 5));
        writer.round(false);
        assert!(writer.has_failed);
    }
    fs::remove_dir(&blocked).expect("removed");
    writer.round(false);
    assert_eq!(note(&writer.memory, 3, NOW), Ok(Noted::First));
    assert_eq!(writer.memory.report().write_errors, 2);
    writer.round(false);
    drop(writer);
    let writer = scene.start();
    assert!(
        (1..4).all(|number| note(&writer.memory, number, NOW) == Ok(Noted::Again)),
        "those of before are written too"
    );
}

#[test]
fn the_files_have_a_bound() {
    let scene = Scene::new();
    let settings = JournalSettings { bytes: 256 << 10, ..scene.settings() };
    let mut writer = prepare(&settings, Arc::clone(&scene.clock) as _, BOOT).expect("opens");
    writer.round(false);
    let (mut number, mut at) = (0, (NOW / 600 + 1) * 600);
    // Nonces that are over soon, so that the memory is not full while the file of their period grows.
    let mut step = |writer: &mut Writer, at: u64, count: u64| {
        scene.clock.set(at);
        writer.memory.drop_all_over();
        for _ in 0..count {
            number += 1;
            let owner = ["a", "b", "c", "d"][number as usize % 4];
            let what = Once { owner, until: at + 20, ..once(number, at) };
            let noted = writer.memory.note(&Effects::outside_of_calls(), &what);
            assert!(matches!(noted, Ok(Noted::First | Noted::FirstAfter(_))), "{noted:?}");
        }
        writer.round(false);
        let files = fs::read_dir(scene.path()).expect("lists").map(|entry| entry.expect("an entry").metadata());
        let bytes: u64 = files.map(|facts| facts.expect("there").len()).sum();
        assert!(bytes <= DISK * (256 << 10) + 2 * HEAD as u64, "{bytes}");
    };
    for _ in 0..60 {
        step(&mut writer, at, 200);
        at += 40;
    }
    assert!(!writer.has_failed, "files go in time");
    for _ in 0..15 {
        if !writer.has_failed {
            step(&mut writer, at, 2_000);
            at += 40;
        }
    }
    assert!(writer.has_failed, "the bound is reached");
    assert!(note(&writer.memory, 1, at).is_err());
    at += 1_300;
    scene.clock.set(at);
    writer.round(false);
    assert!(!writer.has_failed && takes(&writer.memory, at), "it recovers by itself");
}

#[test]
fn a_million_nonces_are_read_within_bounds() {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").expect("reads");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("there").to_owned();
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") << 10
    };
    let scene = Scene::new();
    fs::create_dir(scene.path()).expect("made");
    let period = (NOW + WINDOW) / 600;
    let file = File::create(scene.path().join(format!("{period:016x}.nonces"))).expect("made");
    file.write_all_at(&format::header(period), 0).expect("written");
    for part in 0..100_u64 {
        let mut bytes = Vec::new();
        for number in part * 10_000..(part + 1) * 10_000 {
            let Once { key, until, .. } = once(number, NOW + number % 100);
            let nonce = Nonce { key, owner: number % 7, until };
            bytes.extend_from_slice(&format::record(&nonce));
        }
        file.write_all_at(&bytes, RECORD as u64 * (part * 10_000 + 1)).expect("written");
    }
    let before = resident();
    let settings = JournalSettings { bytes: 64 << 20, ..scene.settings() };
    let mut writer = prepare(&settings, Arc::clone(&scene.clock) as _, BOOT).expect("opens");
    let report = writer.memory.report();
    assert!(report.nonces == 1_000_000 && report.bytes <= 64 << 20, "{report:?}");
    let grown = resident() - before;
    assert!(grown < 72 << 20, "{grown}");
    writer.round(false);
    for number in [0, 99, 500_000, 999_999] {
        assert_eq!(note(&writer.memory, number, NOW + number % 100), Ok(Noted::Again));
    }
    assert!(takes(&writer.memory, NOW + 99));
    // With less memory, what finds no room is refused by its stamp.
    let settings = JournalSettings { bytes: 1 << 20, ..settings };
    let mut writer = prepare(&settings, Arc::clone(&scene.clock) as _, BOOT).expect("opens");
    writer.round(false);
    assert!(writer.memory.report().bytes <= 1 << 20);
    assert!((0..100).all(|number| note(&writer.memory, number * 100, NOW) == Ok(Noted::Again)));
}

#[tokio::test]
async fn a_stamp_that_is_off_waits_for_its_round_and_a_stop_writes_all() {
    let scene = Scene::new();
    let journal = scene.open();
    let effects = Effects::outside_of_calls();
    for number in 0..50 {
        let stamp = NOW - number % 10;
        assert_eq!(journal.once(&effects, once(number, stamp)).await, Ok(Spent::First));
        assert_eq!(journal.once(&effects, once(number, stamp)).await, Ok(Spent::Again));
    }
    assert!(journal.memory().report().waited >= 35);
    journal.flush_and_stop();
    journal.flush_and_stop();
    assert!(journal.once(&effects, once(100, NOW)).await.is_err(), "it is closed");
    drop(journal);
    let journal = scene.open();
    assert_eq!(journal.once(&effects, once(100, NOW)).await, Ok(Spent::First));
    for number in 0..50 {
        assert_eq!(journal.once(&effects, once(number, NOW - number % 10)).await, Ok(Spent::Again));
    }
}

#[tokio::test]
async fn who_waits_for_a_round_that_fails_is_refused() {
    let scene = Scene::new();
    let journal = scene.open();
    let effects = Effects::outside_of_calls();
    fs::create_dir(scene.path().join(format!("{:016x}.nonces", (NOW - 5 + WINDOW) / 600))).expect("made");
    assert!(journal.once(&effects, once(1, NOW - 5)).await.is_err());
    assert!(journal.once(&effects, once(2, NOW)).await.is_err());
    journal.flush_and_stop();
}
