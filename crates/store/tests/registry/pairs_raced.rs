//! Pairs of opaque tokens that many use at once, and a process that is killed in between: of all who show the same refresh
//! token one gets a pair, and there is one pair at any time.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use portcullis_core::directory::KeyHash;
use portcullis_core::model::Label;
use portcullis_core::ports::{Beside, ForeignPair, Replace, Replaced, Session, SessionId, Sessions, SessionsOf};
use portcullis_store::SqliteRegistry;
use tokio::task::JoinSet;

use crate::{open, pair};

const TASKS: u32 = 64;
/// How often a process is killed, and after how many exchanges at least.
const KILLS: usize = 4;
const EXCHANGES: usize = 40;
/// Says to a process where it works until it is killed.
const PLACE: &str = "PORTCULLIS_TEST_EXCHANGES_IN";

fn ann() -> Label {
    "ann".parse().expect("a label")
}

/// A pair of ann's with this number, and who came by it.
fn numbered(number: u32, by: u32) -> Session {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id[4..8].copy_from_slice(&by.to_be_bytes());
    Session { id: SessionId(id), refresh: refresh(number, by), ..pair(0, "ann", "web", 0) }
}

fn refresh(number: u32, by: u32) -> KeyHash {
    let mut hash = [7; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    hash[4..8].copy_from_slice(&by.to_be_bytes());
    KeyHash(hash)
}

/// Shows the refresh token of a pair many times at once; returns by whom the one pair came.
async fn exchange_at_once(registry: &Arc<SqliteRegistry>, old: &Session, number: u32, tasks: u32) -> u32 {
    let mut racing = JoinSet::new();
    for by in 0..tasks {
        let (registry, id, shown) = (Arc::clone(registry), old.id, old.refresh);
        racing.spawn(async move {
            let wish = Replace { id, shown, now: 5, successor: numbered(number, by), stands_on: Vec::new() };
            (by, registry.replace_session(wish).await.expect("replaces"))
        });
    }
    let outcomes = racing.join_all().await;
    let done: Vec<u32> = outcomes.iter().filter(|(_, done)| *done == Replaced::Done).map(|(by, _)| *by).collect();
    assert_eq!(done.len(), 1, "one of {tasks}");
    done[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_all_who_show_a_refresh_token_at_once_one_gets_a_pair() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    let mut current = numbered(0, 0);
    registry.open_session(current.clone(), Beside::at_most(9), Vec::new()).await.expect("opens");
    for number in 1..20 {
        let by = exchange_at_once(&registry, &current, number, TASKS).await;
        current = numbered(number, by);
        assert_eq!(registry.sessions(&ann()).await.expect("reads"), vec![current.clone()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_logins_at_once_that_are_to_be_alone_one_is_left_and_all_others_are_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    let mut racing = JoinSet::new();
    for by in 0..TASKS {
        let registry = Arc::clone(&registry);
        racing.spawn(async move {
            let beside = Beside { alone: true, ..Beside::at_most(9) };
            registry.open_session(numbered(1, by), beside, Vec::new()).await.expect("opens")
        });
    }
    let ended: Vec<SessionId> = racing.join_all().await.into_iter().flatten().collect();
    let left = registry.sessions(&ann()).await.expect("reads");
    assert_eq!(left.len(), 1);
    let told: HashSet<_> = ended.iter().map(|id| id.0).collect();
    assert_eq!((ended.len(), told.len()), (TASKS as usize - 1, TASKS as usize - 1), "each of them once");
    assert!(!told.contains(&left[0].id.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_exchange_and_the_end_of_all_sessions_at_once_leave_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    for round in 0..50 {
        let old = numbered(round, 0);
        registry.open_session(old.clone(), Beside::at_most(9), Vec::new()).await.expect("opens");
        let replacing = {
            let registry = Arc::clone(&registry);
            let wish = Replace {
                id: old.id,
                shown: old.refresh,
                now: 5,
                successor: numbered(round, 1),
                stands_on: Vec::new(),
            };
            tokio::spawn(async move { registry.replace_session(wish).await.expect("replaces") })
        };
        let ended = registry.end_sessions(SessionsOf::User(ann())).await.expect("ends");
        let replaced = replacing.await.expect("no panic");
        let left = registry.sessions(&ann()).await.expect("reads");
        // Either the old one or its successor has ended; an exchange after that finds nothing.
        assert_eq!((ended.len(), left.len()), (1, 0), "{replaced:?}");
        assert_eq!(ended[0] == old.id, replaced == Replaced::Gone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_pairs_brought_many_times_at_once_are_taken_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(open(directory.path()).await);
    let mut racing = JoinSet::new();
    for _ in 0..8 {
        let registry = Arc::clone(&registry);
        let foreign = |by| ForeignPair { session: numbered(1, by), remembered_until: 9_000 };
        racing.spawn(async move {
            let pairs = (0..100).map(foreign).collect();
            registry.import_pairs(pairs, Vec::new()).await.expect("takes")
        });
    }
    assert_eq!(racing.join_all().await.into_iter().sum::<u64>(), 100);
    assert_eq!(registry.sessions(&ann()).await.expect("reads").len(), 100);
}

/// What the test below kills: exchanges a refresh token after the other, each of them several times at once, and says of each
/// that it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the test below, which kills it"]
async fn exchange_until_killed() {
    let directory = PathBuf::from(std::env::var_os(PLACE).expect("a place to work in"));
    let registry = Arc::new(open(&directory).await);
    let mut current = registry.sessions(&ann()).await.expect("reads").pop().expect("a pair");
    let first = u32::from_be_bytes(*current.id.0.first_chunk().expect("4 of 16"));
    for number in first + 1.. {
        let by = exchange_at_once(&registry, &current, number, 4).await;
        current = numbered(number, by);
        writeln!(std::io::stdout(), "done {number} {by}").expect("somebody reads");
    }
}

#[tokio::test]
async fn a_process_killed_in_between_leaves_one_pair_and_nothing_that_was_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let registry = open(directory.path()).await;
    registry.open_session(numbered(0, 0), Beside::at_most(9), Vec::new()).await.expect("opens");
    registry.close().await.expect("closes");
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "pairs_raced::exchange_until_killed", "--ignored", "--nocapture"])
            .env(PLACE, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = |line: &str| -> Option<(u32, u32)> {
            let (_, numbers) = line.split_once("done ")?;
            let (number, by) = numbers.split_once(' ')?;
            Some((number.parse().ok()?, by.parse().ok()?))
        };
        let mut done = Vec::new();
        while done.len() < EXCHANGES {
            let line = lines.next().expect("it goes on until it is killed").expect("text");
            done.extend(said(&line));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        // What it has said until it died.
        done.extend(lines.map_while(Result::ok).filter_map(|line| said(&line)));

        let registry = open(directory.path()).await;
        let left = registry.sessions(&ann()).await.expect("reads");
        assert_eq!(left.len(), 1, "{left:?}");
        let (last, by) = *done.last().expect("many");
        let number = u32::from_be_bytes(*left[0].id.0.first_chunk().expect("4 of 16"));
        assert!(number == last || number == last + 1, "{number} after {last}: no more than one was under way");
        assert!(number > last || left[0].id == numbered(last, by).id, "what was acknowledged is there");
        for (number, by) in done.iter().filter(|(number, _)| *number != left_number(&left[0])) {
            let used = registry.pair_by_refresh(&refresh(*number, *by)).await.expect("reads");
            assert_eq!(used, None, "{number} was used");
        }
        registry.close().await.expect("closes");
    }
}

fn left_number(session: &Session) -> u32 {
    u32::from_be_bytes(*session.id.0.first_chunk().expect("4 of 16"))
}
