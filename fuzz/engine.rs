//! The loop behind every fuzz target: mutates inputs, holds the property of the target against each, and brings what
//! breaks it down to a small input. `fuzz/README.md` says why it is this and no library.
//!
//! A target is a unit test named `fuzz_…` that calls [`run`]. As one of the tests it tries some thousand inputs, the same
//! ones each time; with `FUZZ_SECONDS` it goes on for so long, from a new start each time.

#![allow(clippy::print_stdout, clippy::disallowed_methods, dead_code)]

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// Inputs of one run as a test.
const SMOKE: u64 = 2_000;
/// Bytes of an input.
const LONGEST: usize = 1_024;
/// Inputs that are kept to be changed further.
const MOST_KEPT: usize = 2_048;

/// Fuzzes one target. `seeds` are good inputs, and the words they are made of are what mutations put in. `property` panics
/// where it does not hold, and says what it has seen: an input with an answer that is new is kept, and changed further.
/// That stands in for the coverage that other fuzzers go by.
pub(crate) fn run<T: Hash>(target: &str, seeds: &[&str], property: impl Fn(&[u8]) -> T) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let start = match std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => seed,
        None if seconds.is_some() => hash_of(&std::time::SystemTime::now()),
        None => hash_of(&target),
    };
    let mut random = Random(start);
    let words = words(seeds);
    let mut kept: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    kept.push(Vec::new());
    let mut seen = HashSet::new();
    for input in &kept {
        let answer = attempt(&property, input).unwrap_or_else(|| found(target, start, &property, input));
        seen.insert(answer);
    }
    let (began, mut tried) = (Instant::now(), 0);
    while seconds.map_or(tried < SMOKE, |seconds| tried % 256 != 0 || began.elapsed() < seconds) {
        tried += 1;
        let mut input = kept[random.below(kept.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut input, &kept, &words, &mut random);
        }
        input.truncate(LONGEST);
        let answer = attempt(&property, &input).unwrap_or_else(|| found(target, start, &property, &input));
        if seen.insert(answer) {
            match kept.len() < MOST_KEPT {
                true => kept.push(input),
                false => {
                    let place = random.below(kept.len());
                    kept[place] = input;
                }
            }
        }
    }
    if seconds.is_some() {
        println!("{target}: {tried} inputs, {} different answers, nothing found (FUZZ_SEED={start})", seen.len());
    }
}

/// The answer to an input, as a number; none where the property does not hold.
fn attempt<T: Hash>(property: &impl Fn(&[u8]) -> T, input: &[u8]) -> Option<u64> {
    let answer = panic::catch_unwind(AssertUnwindSafe(|| property(input))).ok()?;
    Some(hash_of(&answer))
}

/// Fails with the smallest input found that breaks the property.
fn found<T: Hash>(target: &str, start: u64, property: &impl Fn(&[u8]) -> T, input: &[u8]) -> u64 {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut small = input.to_vec();
    let mut size = small.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < small.len() {
            let mut less = small.clone();
            less.drain(at..small.len().min(at + size));
            if attempt(property, &less).is_none() {
                small = less;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    panic::set_hook(hook);
    println!("{target}: broken by b\"{}\" (FUZZ_SEED={start}); add it to the seeds", small.escape_ascii());
    property(&small);
    panic!("{target}: broken once by b\"{}\", and not again", input.escape_ascii());
}

/// What seeds are made of: runs of letters and digits, and each other character.
fn words(seeds: &[&str]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    for seed in seeds {
        let pieces = seed.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
        words.extend(pieces.map(|piece| piece.as_bytes().to_vec()));
    }
    let odd =
        ["%", "%2", "%00", "%2f", "%2F", "%25", "\\", "..", "//", ";", "\"", "\\\"", "é", "\u{212a}", "\u{0}", "\r\n"];
    words.extend(odd.map(|word| word.as_bytes().to_vec()));
    words.extend(
        ["18446744073709551615", "4294967296", "-1", "0", "1e9", "\t", "🦀"].map(|word| word.as_bytes().to_vec()),
    );
    words.sort();
    words.dedup();
    words
}

fn mutate(input: &mut Vec<u8>, kept: &[Vec<u8>], words: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = u8::try_from(random.below(256)).unwrap_or(0),
        2 => {
            let end = (at + 1 + random.below(8)).min(input.len());
            input.drain(at.min(end)..end);
        }
        3 => {
            let end = (at + 1 + random.below(16)).min(input.len());
            let piece = input[at.min(end)..end].to_vec();
            splice(input, random, &piece);
        }
        4 => {
            let other = &kept[random.below(kept.len())];
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 if at < input.len() => {
            // Case, in which many forget to compare.
            input[at] ^= if input[at].is_ascii_alphabetic() { 0x20 } else { 0 };
        }
        _ => {
            let word = random.below(words.len());
            splice(input, random, &words[word]);
        }
    }
}

fn splice(input: &mut Vec<u8>, random: &mut Random, piece: &[u8]) {
    let at = random.below(input.len() + 1);
    input.splice(at..at, piece.iter().copied());
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % (bound.max(1) as u64)).unwrap_or(0)
    }
}
