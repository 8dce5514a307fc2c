//! Any sequence of operations has the same outcome in memory and in a file.

use portcullis_core::memory::MemoryRegistry;
use portcullis_core::model::Owner;
use portcullis_core::ports::{
    Beside, Expect, ForeignPair, Kind, Registry, Replace, Rotate, Row, Session, SessionId, SessionsOf, Version, Write,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{hash, open, session};

const KINDS: [Kind; 3] = [Kind::Meta, Kind::Service, Kind::User];
const OWN: &[Kind] = &[Kind::Meta];
const AUDITED: &[Kind] = &[Kind::Service, Kind::User];
const NAMES: [&str; 3] = ["ann", "bob", "Ann"];

#[derive(Debug, Clone)]
enum Operation {
    Commit(Vec<Write>),
    Keep(Vec<Write>),
    Page(Kind, String, u32),
    Open(Session, Beside),
    Rotate(Rotate),
    Replace(Replace),
    ByRefresh(u8),
    Import(Vec<ForeignPair>),
    End(SessionId),
    EndAll(SessionsOf),
    Changes(Version),
    Prune(u64),
}

fn kind(kinds: &'static [Kind]) -> impl Strategy<Value = Kind> {
    proptest::sample::select(kinds)
}

fn key() -> impl Strategy<Value = String> {
    "[a-bB/ü]{1,2}"
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![3 => Just(Expect::Any), 2 => Just(Expect::Absent), 3 => (0_u64..4).prop_map(Expect::Revision)]
}

fn write(kinds: &'static [Kind]) -> impl Strategy<Value = Write> {
    let owner = proptest::sample::select(&[Owner::File, Owner::Api, Owner::Registration][..]);
    let put = (kind(kinds), key(), 1_u64..4, owner, "\\PC{0,6}", expect()).prop_map(
        |(kind, key, revision, owner, body, expect)| Write::Put {
            row: Row { kind, key, revision, owner, body },
            expect,
        },
    );
    let label = || name().prop_map(|name| name.parse().expect("a label"));
    prop_oneof![
        8 => put,
        2 => (kind(kinds), key(), expect()).prop_map(|(kind, key, expect)| Write::Delete { kind, key, expect }),
        1 => label().prop_map(|user| Write::EndSessions(SessionsOf::User(user))),
        1 => label().prop_map(|client| Write::EndSessions(SessionsOf::Client(client))),
        1 => (label(), 0_u8..6).prop_map(|(user, id)| Write::EndSessions(SessionsOf::One(user, SessionId([id; 16])))),
        1 => (label(), "[a-z]{1,3}").prop_map(|(user, text)| Write::UserInfo { user, user_info: text.into() }),
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&NAMES[..])
}

fn rotate() -> impl Strategy<Value = Rotate> {
    (0_u8..6, 0_u8..8, 0_u8..8, 0_u64..120, 0_u64..30, 0_u64..120).prop_map(
        |(id, shown, successor, now, grace, expires_at)| Rotate {
            user_info: format!("{{\"at\":{now}}}").into(),
            stands_on: Vec::new(),
            id: SessionId([id; 16]),
            shown: hash(shown),
            successor: hash(successor),
            now,
            grace,
            expires_at,
        },
    )
}

/// Of either sort.
fn any_session() -> impl Strategy<Value = Session> {
    let access_until = proptest::option::of(0_u64..100);
    (0_u8..6, name(), name(), 0_u64..100, 0_u64..100, access_until).prop_map(
        |(id, user, client, created_at, expires_at, access_until)| Session {
            expires_at,
            access_until,
            ..session(id, user, client, created_at)
        },
    )
}

fn replace() -> impl Strategy<Value = Replace> {
    (0_u8..6, 0_u8..8, 0_u64..120, any_session()).prop_map(|(id, shown, now, successor)| Replace {
        id: SessionId([id; 16]),
        // Mostly its own.
        shown: hash(if shown < 6 { id } else { shown }),
        now,
        successor: Session { access_until: Some(1), ..successor },
        stands_on: Vec::new(),
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => vec(write(AUDITED), 0..4).prop_map(Operation::Commit),
        1 => vec(write(&KINDS), 0..4).prop_map(Operation::Commit),
        2 => vec(write(OWN), 0..2).prop_map(Operation::Keep),
        1 => (kind(&KINDS), "[a-bB/ü]{0,2}", 0_u32..5).prop_map(|(kind, after, limit)| Operation::Page(kind, after, limit)),
        4 => (any_session(), 0_u32..4, proptest::bool::weighted(0.3)).prop_map(
            |(session, limit, alone)| Operation::Open(session, Beside { alone, ..Beside::at_most(limit) })
        ),
        4 => rotate().prop_map(Operation::Rotate),
        4 => replace().prop_map(Operation::Replace),
        1 => (0_u8..6).prop_map(Operation::ByRefresh),
        2 => vec((any_session(), 0_u64..120), 0..4).prop_map(|pairs| {
            let foreign = |(session, remembered_until)| {
                ForeignPair { session: Session { access_until: Some(1), ..session }, remembered_until }
            };
            Operation::Import(pairs.into_iter().map(foreign).collect())
        }),
        1 => (0_u8..6).prop_map(|id| Operation::End(SessionId([id; 16]))),
        1 => name().prop_map(|name| Operation::EndAll(SessionsOf::User(name.parse().expect("a label")))),
        1 => name().prop_map(|name| Operation::EndAll(SessionsOf::Client(name.parse().expect("a label")))),
        1 => (0_u64..12).prop_map(|version| Operation::Changes(Version(version))),
        1 => (0_u64..100).prop_map(Operation::Prune),
    ]
}

/// Does the operation and writes its outcome down.
async fn outcome(registry: &dyn Registry, operation: Operation) -> String {
    match operation {
        Operation::Commit(writes) => {
            let done = registry.commit(writes).await.map(|mut done| {
                done.ended.sort_by_key(|ended| (ended.write, ended.session.0));
                done
            });
            format!("{done:?}")
        }
        Operation::Keep(writes) => format!("{:?}", registry.keep(writes).await),
        Operation::Page(kind, after, limit) => format!("{:?}", registry.page(kind, &after, limit).await),
        Operation::Open(session, beside) => {
            let mut ended = registry.open_session(session, beside, Vec::new()).await.expect("opens");
            if beside.alone {
                // The port promises no order here.
                ended.sort_by_key(|id| id.0);
            }
            format!("{ended:?}")
        }
        Operation::Rotate(rotate) => format!("{:?}", registry.rotate(rotate).await),
        Operation::Replace(replace) => format!("{:?}", registry.replace_session(replace).await),
        Operation::ByRefresh(number) => format!("{:?}", registry.pair_by_refresh(&hash(number)).await),
        Operation::Import(pairs) => format!("{:?}", registry.import_pairs(pairs, Vec::new()).await),
        Operation::End(id) => format!("{:?}", registry.end_session(id).await),
        Operation::EndAll(of) => {
            // The port promises no order here.
            let mut ended = registry.end_sessions(of).await.expect("ends");
            ended.sort_by_key(|id| id.0);
            format!("{ended:?}")
        }
        Operation::Changes(after) => format!("{:?} {:?}", registry.version().await, registry.changes(after).await),
        Operation::Prune(now) => {
            let mut gone = registry.prune_sessions(now, u32::MAX).await.expect("prunes");
            gone.sort_by_key(|id| id.0);
            format!("{gone:?}")
        }
    }
}

/// Everything a registry knows, by value.
async fn everything(registry: &dyn Registry) -> (Vec<Row>, Vec<Option<Session>>) {
    let mut rows = Vec::new();
    for kind in KINDS {
        rows.extend(registry.all(kind).await.expect("reads"));
    }
    let mut sessions = Vec::new();
    for id in 0..6 {
        sessions.push(registry.session(SessionId([id; 16])).await.expect("reads"));
    }
    (rows, sessions)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_file_agree(operations in vec(operation(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let directory = tempfile::tempdir().expect("a directory");
            let file = open(directory.path()).await;
            let memory = MemoryRegistry::default();
            for (step, mut operation) in operations.into_iter().enumerate() {
                if let Operation::Open(session, _) = &mut operation {
                    // Which of two sessions of the same age ends first is left open by the port.
                    session.created_at = session.created_at * 1_000 + step as u64;
                }
                let shown = format!("{operation:?}");
                let wanted = outcome(&memory, operation.clone()).await;
                prop_assert_eq!(outcome(&file, operation).await, wanted, "{}", shown);
                prop_assert_eq!(everything(&file).await, everything(&memory).await, "{}", shown);
            }
            file.close().await.expect("closes");
            let reopened = open(directory.path()).await;
            prop_assert_eq!(everything(&reopened).await, everything(&memory).await);
            Ok(())
        })?;
    }
}
