//! The replay cache: races, bounds, shares, clocks, and against a naive model.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::memory::ManualClock;

const NOW: u64 = 1_700_000_000;
const WINDOW: u64 = 600;

fn key(number: u64) -> [u8; 32] {
    let mut key = [3; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

fn once(owner: &str, number: u64, stamp: u64) -> Once<'_> {
    Once { owner, key: key(number), stamp, until: stamp + WINDOW }
}

fn state(bytes: usize) -> (MemoryState, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW));
    (MemoryState::new(bytes, Arc::clone(&clock) as _), clock)
}

fn note(state: &MemoryState, what: Once<'_>) -> Result<Noted, Unavailable> {
    state.note(&Effects::outside_of_calls(), &what)
}

fn is_first(state: &MemoryState, what: Once<'_>) -> bool {
    note(state, what) == Ok(Noted::First)
}

#[test]
fn of_two_at_the_same_moment_one_is_the_first() {
    let (state, _) = state(8 << 20);
    let firsts: Vec<_> = (0..10_000).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for (number, firsts) in (0..).zip(&firsts) {
                    match note(&state, once("app", number, NOW)) {
                        Ok(Noted::First) => drop(firsts.fetch_add(1, SeqCst)),
                        other => assert_eq!(other, Ok(Noted::Again)),
                    }
                }
            });
        }
    });
    assert!(firsts.iter().all(|firsts| firsts.load(SeqCst) == 1));
    assert_eq!(state.report().nonces, 10_000);
}

#[test]
fn what_finds_no_room_is_refused_and_nothing_is_forgotten() {
    let bytes = 256 << 10;
    let (state, clock) = state(bytes);
    let owners: Vec<String> = (0..40).map(|number| format!("app-{number}")).collect();
    let (mut kept, mut refused) = (Vec::new(), 0);
    for number in 0..20_000 {
        let owner = &owners[number as usize % owners.len()];
        match note(&state, once(owner, number, NOW)) {
            Ok(Noted::First) => kept.push(number),
            other => {
                assert!(other.is_err());
                refused += 1;
            }
        }
    }
    let report = state.report();
    assert!(kept.len() > 2_000 && refused > 10_000, "{}", kept.len());
    assert_eq!((report.nonces, report.full), (kept.len(), refused));
    assert!(report.bytes <= bytes && report.bytes > bytes * 3 / 4, "{}", report.bytes);
    // In the last second of their window all are known.
    clock.advance(Duration::from_secs(WINDOW));
    for number in &kept {
        assert_eq!(note(&state, once(&owners[*number as usize % owners.len()], *number, NOW)), Ok(Noted::Again));
    }
    // Later there is room again.
    clock.advance(Duration::from_secs(BUCKET + 1));
    state.drop_all_over();
    assert_eq!((state.report().nonces, state.report().bytes), (0, 0));
    assert!(is_first(&state, once("app", 1, NOW + WINDOW + BUCKET)));
}

#[test]
fn dropping_keeps_up_with_adding() {
    let (state, clock) = state(4 << 20);
    for number in 0..20_000 {
        assert!(is_first(&state, once("app", number, NOW)));
    }
    clock.advance(Duration::from_secs(WINDOW + 2 * BUCKET));
    for number in 0..2_000 {
        assert!(is_first(&state, once("app", 100_000 + number, NOW + WINDOW + 2 * BUCKET)));
    }
    assert_eq!(state.report().nonces, 2_000);
}

#[test]
fn no_owner_takes_all_and_the_rest_is_for_those_who_have_few() {
    let (state, clock) = state(4 << 20);
    let most = lock(&state.parts[0]).shard.report_most() * SHARDS;
    let fill = |owner: &str, from: u64, count: u64| {
        (from..from + count).filter(|number| is_first(&state, once(owner, *number, NOW))).count()
    };
    let greedy = fill("greedy", 0, 200_000);
    assert!(greedy <= most / 2 && greedy > most * 2 / 5, "{greedy} of {most}");
    let second = fill("second", 1_000_000, 200_000);
    assert!(greedy + second <= most * 7 / 8 + SHARDS, "{second}");
    let reason = |owner: &str, number: u64| note(&state, once(owner, number, NOW)).expect_err("no room").0;
    assert!((0..200).all(|number| reason("greedy", 2_000_000 + number).contains("half")));
    assert!((0..200).all(|number| reason("second", 2_000_000 + number).contains("few")));
    // Many that have few still find room.
    for number in 0..20 {
        let name = format!("small-{number}");
        assert_eq!(fill(&name, 3_000_000 + number * 1_000, 100), 100, "{name}");
    }
    // What owners are known by is forgotten with their nonces.
    let owners = || state.parts.iter().map(|part| lock(part).shard.owners()).sum::<usize>();
    assert!((SHARDS * 2 + 20..=SHARDS * 22).contains(&owners()), "{}", owners());
    clock.advance(Duration::from_secs(WINDOW + BUCKET));
    state.drop_all_over();
    assert_eq!(owners(), 0);
}

#[test]
fn a_clock_that_is_set_back_opens_nothing_again() {
    let (state, clock) = state(1 << 20);
    assert!(is_first(&state, once("app", 1, NOW)));
    let late = Once { until: NOW + 7_200, ..once("app", 2, NOW) };
    assert!(is_first(&state, late));
    // Ahead by an hour, and back: the first has been dropped meanwhile.
    clock.set(NOW + 3_600);
    state.drop_all_over();
    assert_eq!(state.report().nonces, 1);
    clock.set(NOW + 1);
    for number in [1, 3] {
        assert_eq!(note(&state, once("app", number, NOW)), Ok(Noted::Again), "{number}");
    }
    assert_eq!(note(&state, late), Ok(Noted::Again));
    // What outlasts everything that was dropped is known.
    let horizon = state.horizon();
    assert!((NOW + WINDOW..NOW + WINDOW + BUCKET).contains(&horizon));
    assert!(is_first(&state, Once { until: horizon + 1, ..once("app", 4, NOW) }));
    // Set back without anything having been dropped, nothing is refused.
    clock.set(NOW - 300);
    assert!(is_first(&state, Once { until: horizon + 1, ..once("app", 5, NOW) }));
}

#[test]
fn nothing_is_kept_for_more_than_a_day() {
    let (state, _) = state(1 << 20);
    let until = |until| Once { until, ..once("app", until, NOW) };
    assert!(is_first(&state, until(NOW + FARTHEST)));
    for far in [NOW + FARTHEST + 1, u64::MAX] {
        assert!(note(&state, until(far)).is_err(), "{far}");
    }
}

#[test]
fn what_a_crash_may_have_forgotten_has_a_stamp_that_is_refused() {
    let clock = Arc::new(ManualClock::at(NOW));
    let state = MemoryState::with_journal(1 << 20, Arc::clone(&clock) as _);
    assert!(note(&state, once("app", 1, NOW)).is_err(), "the journal has not begun");
    let (mut taken, mut number) = (Vec::new(), 1);
    let mut noted = |state: &MemoryState, stamp| {
        number += 1;
        note(state, once("app", number, stamp))
    };
    let (at, latest) = state.take(1, false, &mut taken);
    state.written(at);
    assert_eq!((at, latest, taken.len()), (NOW * 1_000, 0, 0));
    for stamp in [NOW - 1, NOW, NOW + 1] {
        assert_eq!(noted(&state, stamp), Ok(Noted::First));
    }
    for stamp in [NOW - 2, NOW + 2, NOW - 500] {
        assert_eq!(noted(&state, stamp), Ok(Noted::FirstAfter(2)));
    }
    // A second without a round: nobody goes on unwritten.
    clock.advance(Duration::from_millis(1_000));
    assert_eq!(noted(&state, NOW + 2), Ok(Noted::First));
    clock.advance(Duration::from_millis(1));
    assert_eq!(noted(&state, NOW + 1), Ok(Noted::FirstAfter(2)));
    let hole = MemoryState::unwritten_stamps(at);
    assert_eq!(hole, NOW - 1..=NOW + 2);
    // A round that is taken, but not written; and a clock that is set back behind it.
    assert_eq!(state.take(2, false, &mut taken), (NOW * 1_000 + 1_001, NOW + 2));
    assert_eq!(taken.len(), 8);
    assert_eq!(noted(&state, NOW + 1), Ok(Noted::FirstAfter(3)));
    state.written(NOW * 1_000 + 1_001);
    assert_eq!(noted(&state, NOW + 1), Ok(Noted::First));
    clock.set(NOW);
    assert_eq!(noted(&state, NOW), Ok(Noted::FirstAfter(3)));
    // The journal fails, and recovers.
    state.not_written();
    assert!(noted(&state, NOW).is_err());
    assert_eq!(note(&state, once("app", 2, NOW - 1)), Ok(Noted::Again), "what is known is told all the same");
    let (at, _) = state.take(3, false, &mut taken);
    state.written(at);
    assert_eq!(noted(&state, NOW), Ok(Noted::First));
    taken.clear();
    state.take(4, true, &mut taken);
    assert_eq!(taken.len(), 1);
    assert!(noted(&state, NOW).is_err(), "it is closed");
    assert_eq!((state.report().waited, state.report().write_errors), (6, 1));
}

#[test]
fn what_waits_for_the_journal_is_bounded() {
    let clock = Arc::new(ManualClock::at(NOW));
    let state = MemoryState::with_journal(64 << 20, Arc::clone(&clock) as _);
    state.written(NOW * 1_000);
    let noted = (0..200_000).filter(|number| is_first(&state, once("app", *number, NOW))).count();
    assert_eq!(noted, SHARDS * WAITING);
    assert_eq!(state.report().full, 200_000 - noted as u64);
    let mut taken = Vec::new();
    state.take(1, false, &mut taken);
    assert_eq!(taken.len(), noted);
    assert!(is_first(&state, once("app", 300_000, NOW)));
}

#[test]
fn stamps_of_a_hole_are_refused_and_what_was_kept_is_known() {
    let (small, _) = state(0);
    let (mut state, clock) = state(1 << 20);
    state.refuse_stamps(vec![0..=NOW - 100, NOW - 10..=NOW - 8]);
    for (stamp, first) in [(NOW - 100, false), (NOW - 99, true), (NOW - 9, false), (NOW - 7, true), (NOW - 11, true)] {
        assert_eq!(is_first(&state, once("app", stamp, stamp)), first, "{stamp}");
    }
    let kept = |number, until| Nonce { key: key(number), owner: owner_of("app"), until };
    assert!(state.restore(&kept(1, NOW + 50)) && state.restore(&kept(1, NOW + 50)));
    assert_eq!(note(&state, Once { until: NOW + 50, ..once("app", 1, NOW) }), Ok(Noted::Again));
    // What is over is not kept, and what was to be taken until then is not the first any more.
    assert!(state.restore(&kept(2, NOW - 50)));
    clock.set(NOW - 100);
    assert_eq!(note(&state, Once { until: NOW - 50, ..once("app", 3, NOW) }), Ok(Noted::Again));
    let restored = (0..100_000).filter(|number| small.restore(&kept(*number, NOW + 50))).count();
    assert!(restored < SHARDS * 17, "{restored}");
}

#[test]
fn owners_have_the_same_number_everywhere() {
    assert_eq!(owner_of(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(owner_of("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(owner_of("foobar"), 0x8594_4171_f739_67e8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The naive model keeps everything for ever. The cache is as strict: it never lets through what the model has seen
    /// and what may still be taken. It is not much stricter: what the model has not seen is refused for want of room, or
    /// behind the horizon.
    #[test]
    fn as_a_model_that_forgets_nothing(
        steps in proptest::collection::vec((0_u64..200, 0_u64..3, 0_u64..1_300, -900_i64..1_200), 1..400),
    ) {
        let (state, clock) = state(96 << 10);
        let (mut seen, mut now) = (HashSet::new(), NOW);
        let mut untils = HashMap::new();
        for (number, owner, ahead, step) in steps {
            // Mostly on, now and then back.
            now = if number % 17 == 0 { now.saturating_add_signed(step) } else { now + step.unsigned_abs() / 20 };
            clock.set(now);
            // A request says itself until when it is taken.
            let until = *untils.entry(number).or_insert(now + ahead);
            let what = Once { owner: ["a", "b", "c"][owner as usize], key: key(number), stamp: now, until };
            let may_be_taken = now <= until;
            match note(&state, what) {
                Ok(Noted::First) => prop_assert!(!may_be_taken || seen.insert(number), "taken twice"),
                Ok(Noted::Again) => {
                    prop_assert!(seen.contains(&number) || until <= state.horizon(), "refused for nothing");
                }
                Ok(Noted::FirstAfter(_)) => prop_assert!(false, "there is no journal"),
                Err(_) => {}
            }
        }
    }
}
