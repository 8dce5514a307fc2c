//! The rules of the port, one after the other.

use std::sync::Arc;

use portcullis_core::audit::{Action, Actor, AuditEntry, AuditFrom, AuditQuery, BEGINNING, Fault};
use portcullis_core::memory::MemoryRegistry;
use portcullis_core::model::Owner;
use portcullis_core::ports::{
    Beside, Commit, Expect, Kind, Registry, RegistryError, Rotate, Rotation, Row, Session, SessionId, SessionsOf, Write,
};

use crate::audit::{entry, made, told};
use crate::{hash, open, put, row, session};

#[tokio::test]
async fn the_registry_in_memory_keeps_the_rules() {
    check(Arc::new(MemoryRegistry::default())).await;
}

#[tokio::test]
async fn the_registry_over_sqlite_keeps_the_rules() {
    let directory = tempfile::tempdir().expect("a directory");
    check(Arc::new(open(directory.path()).await)).await;
}

async fn check(registry: Arc<dyn Registry>) {
    objects_come_back_as_they_went_in(&*registry).await;
    pages_follow_the_order_of_bytes(&*registry).await;
    what_is_expected_must_be_true(&*registry).await;
    a_commit_is_done_wholly_or_not_at_all(&*registry).await;
    writes_of_a_commit_see_each_other(&*registry).await;
    sessions_come_back_as_they_went_in(&*registry).await;
    the_oldest_sessions_of_a_user_end(&*registry).await;
    refresh_tokens_rotate(&*registry).await;
    sessions_end(&*registry).await;
    sessions_end_with_what_ends_them(&*registry).await;
    sessions_stand_on_objects(&*registry).await;
    expired_sessions_are_forgotten(&*registry).await;
    the_audit_trail_is_kept(&*registry).await;
}

#[tokio::test]
async fn the_trail_in_memory_answers_for_the_objects() {
    for number in 0..ASTRAY.len() {
        the_trail_answers_for_the_objects(&MemoryRegistry::default(), number).await;
    }
}

#[tokio::test]
async fn the_trail_over_sqlite_answers_for_the_objects() {
    for number in 0..ASTRAY.len() {
        let directory = tempfile::tempdir().expect("a directory");
        the_trail_answers_for_the_objects(&open(directory.path()).await, number).await;
    }
}

async fn keys(registry: &dyn Registry, kind: Kind, after: &str, limit: u32) -> Vec<String> {
    registry.page(kind, after, limit).await.expect("reads").into_iter().map(|row| row.key).collect()
}

fn conflict<T: std::fmt::Debug>(outcome: Result<T, RegistryError>) -> (&'static str, String) {
    match outcome {
        Err(RegistryError::Conflict { kind, key }) => (kind, key),
        other => panic!("expected a conflict, found {other:?}"),
    }
}

async fn objects_come_back_as_they_went_in(registry: &dyn Registry) {
    let odd = "ü 'quoted' \"double\" \u{0} %_; DROP TABLE objects; --";
    for (kind, owner) in [(Kind::Route, Owner::File), (Kind::ApiKey, Owner::Api), (Kind::User, Owner::Registration)] {
        let row = Row { kind, key: odd.to_owned(), revision: 7, owner, body: odd.to_owned() };
        assert_eq!(registry.get(kind, odd).await.expect("reads"), None);
        registry.commit(vec![Write::Put { row: row.clone(), expect: Expect::Absent }]).await.expect("writes");
        assert_eq!(registry.get(kind, odd).await.expect("reads"), Some(row.clone()));
        assert_eq!(registry.all(kind).await.expect("reads"), vec![row]);
        registry.commit(vec![Write::Delete { kind, key: odd.to_owned(), expect: Expect::Any }]).await.expect("deletes");
        assert_eq!(registry.get(kind, odd).await.expect("reads"), None);
    }
    registry.commit(Vec::new()).await.expect("nothing to do is fine");
}

async fn pages_follow_the_order_of_bytes(registry: &dyn Registry) {
    let mut wanted = vec!["a", "B", "b", "a/v1", "a/v10", "a/v2", "z", "ä", "Ä", "\u{10FFFF}", "\u{FFFD}", "1", "a-"];
    let writes = wanted.iter().map(|key| put(Kind::Service, key, 1, Expect::Absent)).collect();
    registry.commit(writes).await.expect("writes");
    registry.commit(vec![put(Kind::Client, "aa", 1, Expect::Any)]).await.expect("writes");
    wanted.sort_unstable();
    assert_eq!(keys(registry, Kind::Service, "", 100).await, wanted);
    assert_eq!(registry.all(Kind::Service).await.expect("reads").len(), wanted.len());

    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = keys(registry, Kind::Service, &after, 3).await;
        let Some(last) = page.last() else { break };
        after = last.clone();
        paged.extend(page);
    }
    assert_eq!(paged, wanted);
    assert_eq!(keys(registry, Kind::Service, "a/v0", 2).await, ["a/v1", "a/v10"]);
    assert_eq!(keys(registry, Kind::Service, "", 0).await, Vec::<String>::new());
    assert_eq!(keys(registry, Kind::Registration, "", 9).await, Vec::<String>::new());
}

async fn what_is_expected_must_be_true(registry: &dyn Registry) {
    let kind = Kind::Enrolment;
    let missing = registry.commit(vec![put(kind, "k", 2, Expect::Revision(1))]).await;
    assert_eq!(conflict(missing), ("enrolment", "k".to_owned()));
    registry.commit(vec![put(kind, "k", 1, Expect::Absent)]).await.expect("absent");
    assert_eq!(conflict(registry.commit(vec![put(kind, "k", 9, Expect::Absent)]).await).1, "k");
    assert_eq!(conflict(registry.commit(vec![put(kind, "k", 9, Expect::Revision(2))]).await).1, "k");
    assert_eq!(conflict(registry.commit(vec![put(kind, "k", 9, Expect::Revision(u64::MAX))]).await).1, "k");
    assert_eq!(registry.get(kind, "k").await.expect("reads"), Some(row(kind, "k", 1)));
    registry.commit(vec![put(kind, "k", 2, Expect::Revision(1))]).await.expect("the right revision");
    registry.commit(vec![put(kind, "k", 5, Expect::Any)]).await.expect("anything goes");
    assert_eq!(registry.get(kind, "k").await.expect("reads"), Some(row(kind, "k", 5)));
    registry
        .commit(vec![Write::Delete { kind, key: "nothing".to_owned(), expect: Expect::Any }])
        .await
        .expect("stays away");
}

async fn a_commit_is_done_wholly_or_not_at_all(registry: &dyn Registry) {
    let kind = Kind::Registration;
    registry.commit(vec![put(kind, "kept", 1, Expect::Absent)]).await.expect("writes");
    let writes = vec![
        put(kind, "new", 1, Expect::Absent),
        put(kind, "kept", 2, Expect::Revision(1)),
        Write::Delete { kind, key: "kept".to_owned(), expect: Expect::Any },
        put(kind, "other", 2, Expect::Revision(1)),
        put(kind, "later", 1, Expect::Absent),
    ];
    assert_eq!(conflict(registry.commit(writes).await), ("registration", "other".to_owned()));
    assert_eq!(registry.all(kind).await.expect("reads"), vec![row(kind, "kept", 1)]);
}

async fn writes_of_a_commit_see_each_other(registry: &dyn Registry) {
    let kind = Kind::ClientSecret;
    let writes = vec![
        put(kind, "c/1", 1, Expect::Absent),
        put(kind, "c/1", 2, Expect::Revision(1)),
        Write::Delete { kind, key: "c/1".to_owned(), expect: Expect::Any },
        put(kind, "c/1", 3, Expect::Absent),
    ];
    registry.commit(writes).await.expect("writes");
    assert_eq!(registry.all(kind).await.expect("reads"), vec![row(kind, "c/1", 3)]);
}

async fn sessions_come_back_as_they_went_in(registry: &dyn Registry) {
    let mut wanted = session(1, "jürgen o'neil", "default", 5);
    wanted.predecessor = Some(hash(9));
    wanted.user_info = "{\"é\":\"\\u0000\"}".into();
    assert_eq!(registry.session(wanted.id).await.expect("reads"), None);
    assert_eq!(registry.open_session(wanted.clone(), Beside::at_most(3), Vec::new()).await.expect("opens"), []);
    assert_eq!(registry.session(wanted.id).await.expect("reads"), Some(wanted.clone()));
    let replaced = Session { expires_at: 77, ..wanted.clone() };
    assert_eq!(registry.open_session(replaced.clone(), Beside::at_most(3), Vec::new()).await.expect("opens"), []);
    assert_eq!(registry.session(wanted.id).await.expect("reads"), Some(replaced));
    assert!(registry.end_session(wanted.id).await.expect("ends"));
    assert!(!registry.end_session(wanted.id).await.expect("was gone"));
    assert_eq!(registry.session(wanted.id).await.expect("reads"), None);
}

async fn the_oldest_sessions_of_a_user_end(registry: &dyn Registry) {
    let id = |byte: u8| SessionId([byte; 16]);
    registry.open_session(session(50, "bob", "web", 1), Beside::at_most(9), Vec::new()).await.expect("opens");
    for (number, created_at) in [(10, 300), (11, 100), (12, 200)] {
        assert_eq!(
            registry
                .open_session(session(number, "ann", "web", created_at), Beside::at_most(3), Vec::new())
                .await
                .expect("opens"),
            []
        );
    }
    // The oldest by the time of opening, not by the order of arrival; another user's are left alone.
    assert_eq!(
        registry.open_session(session(13, "ann", "cli", 400), Beside::at_most(3), Vec::new()).await.expect("opens"),
        [id(11)]
    );
    assert_eq!(
        registry.open_session(session(14, "ann", "cli", 500), Beside::at_most(1), Vec::new()).await.expect("opens"),
        [id(12), id(10), id(13)]
    );
    assert_eq!(
        registry.open_session(session(15, "ann", "cli", 600), Beside::at_most(0), Vec::new()).await.expect("opens"),
        [id(14)]
    );
    assert!(registry.session(id(15)).await.expect("reads").is_some());
    assert!(registry.session(id(50)).await.expect("reads").is_some());
    assert_eq!(registry.prune_sessions(u64::MAX, 9).await.expect("prunes").len(), 2);
}

async fn refresh_tokens_rotate(registry: &dyn Registry) {
    let opened = session(20, "ann", "web", 1_000);
    let (id, user_info) = (opened.id, opened.user_info.clone());
    let rotate = |shown: u8, successor: u8, now: u64| Rotate {
        id,
        shown: hash(shown),
        successor: hash(successor),
        now,
        grace: 10,
        expires_at: now + 500,
        user_info: user_info.clone(),
        stands_on: Vec::new(),
    };
    let ask = async |wish: Rotate| registry.rotate(wish).await.expect("rotates");
    assert_eq!(ask(rotate(20, 21, 1_100)).await, Rotation::Gone);

    registry.open_session(opened.clone(), Beside::at_most(9), Vec::new()).await.expect("opens");
    assert_eq!(ask(rotate(20, 21, 2_000)).await, Rotation::Gone, "expired in this very millisecond");
    let rotated = Session {
        refresh: hash(21),
        predecessor: Some(hash(20)),
        rotated_at: 1_100,
        expires_at: 1_600,
        ..opened.clone()
    };
    assert_eq!(ask(rotate(20, 21, 1_100)).await, Rotation::Rotated(rotated.clone()));
    assert_eq!(registry.session(id).await.expect("reads"), Some(rotated.clone()));
    assert_eq!(ask(rotate(20, 21, 1_109)).await, Rotation::Repeated(rotated.clone()), "still in its grace");
    assert_eq!(registry.session(id).await.expect("reads"), Some(rotated), "a repetition changes nothing");
    assert_eq!(ask(rotate(20, 21, 1_110)).await, Rotation::Reused, "the grace is over");
    assert_eq!(ask(rotate(21, 22, 1_110)).await, Rotation::Gone, "and so is the session");

    registry.open_session(opened.clone(), Beside::at_most(9), Vec::new()).await.expect("opens");
    assert!(matches!(ask(rotate(20, 21, 1_100)).await, Rotation::Rotated(_)));
    assert_eq!(ask(rotate(20, 99, 1_101)).await, Rotation::Reused, "not the same successor");

    registry.open_session(opened.clone(), Beside::at_most(9), Vec::new()).await.expect("opens");
    assert_eq!(ask(rotate(66, 67, 1_100)).await, Rotation::Reused, "never was a token of it");

    registry.open_session(opened, Beside::at_most(9), Vec::new()).await.expect("opens");
    assert!(matches!(ask(rotate(20, 21, 1_100)).await, Rotation::Rotated(_)));
    assert!(matches!(ask(rotate(21, 22, 1_101)).await, Rotation::Rotated(_)));
    assert_eq!(ask(rotate(20, 21, 1_102)).await, Rotation::Reused, "two generations old");
    assert_eq!(registry.session(id).await.expect("reads"), None);
}

async fn sessions_end(registry: &dyn Registry) {
    for (number, user, client) in [(30, "ann", "web"), (31, "ann", "cli"), (32, "bob", "web"), (33, "web", "ann")] {
        registry.open_session(session(number, user, client, 1), Beside::at_most(9), Vec::new()).await.expect("opens");
    }
    let end = async |of: SessionsOf| {
        let mut ended: Vec<u8> = registry.end_sessions(of).await.expect("ends").into_iter().map(|id| id.0[0]).collect();
        ended.sort_unstable();
        ended
    };
    let label = |text: &str| text.parse().expect("a label");
    assert_eq!(end(SessionsOf::User(label("nobody"))).await, [0_u8; 0]);
    assert_eq!(end(SessionsOf::User(label("ann"))).await, [30, 31]);
    assert_eq!(end(SessionsOf::Client(label("web"))).await, [32]);
    assert_eq!(end(SessionsOf::Client(label("web"))).await, [0_u8; 0]);
    assert_eq!(end(SessionsOf::Client(label("ann"))).await, [33]);
}

async fn sessions_end_with_what_ends_them(registry: &dyn Registry) {
    let kind = Kind::User;
    let label = |text: &str| text.parse().expect("a label");
    // By which write, and which.
    let ended = |done: Commit| {
        let mut ended: Vec<_> = done.ended.into_iter().map(|ended| (ended.write, ended.session.0[0])).collect();
        ended.sort_unstable();
        ended
    };
    let ids = |found: Vec<SessionId>| {
        let mut ids: Vec<u8> = found.into_iter().map(|id| id.0[0]).collect();
        ids.sort_unstable();
        ids
    };
    for (number, user, client) in [(60, "ann", "web"), (61, "ann", "cli"), (62, "bob", "web"), (63, "bob", "cli")] {
        registry
            .open_session(session(number, user, client, u64::from(number)), Beside::at_most(9), Vec::new())
            .await
            .expect("opens");
    }
    let of =
        async |user: &str| ids(registry.sessions(&label(user)).await.expect("reads").iter().map(|it| it.id).collect());
    assert_eq!((of("ann").await, of("bob").await, of("eve").await), (vec![60, 61], vec![62, 63], vec![]));
    // A write that is refused ends and changes nothing.
    let info = |user: &str| Write::UserInfo { user: label(user), user_info: "{\"new\":1}".into() };
    let end = |of: SessionsOf| Write::EndSessions(of);
    let refused = vec![end(SessionsOf::User(label("ann"))), info("bob"), put(kind, "ann", 9, Expect::Revision(8))];
    assert_eq!(conflict(registry.commit(refused).await).1, "ann");
    let all = async || {
        let mut all = registry.sessions(&label("ann")).await.expect("reads");
        all.extend(registry.sessions(&label("bob")).await.expect("reads"));
        all
    };
    assert_eq!(all().await.len(), 4);
    assert!(all().await.iter().all(|session| !session.user_info.contains("new")));
    // One that is done tells which sessions it was about.
    let written = registry.commit(vec![put(kind, "ann", 1, Expect::Absent), info("ann"), info("eve")]).await;
    assert_eq!(ended(written.expect("writes")), [(1, 60), (1, 61)]);
    let told: Vec<_> = all().await.iter().map(|session| session.user_info.contains("new")).collect();
    assert_eq!(told, [true, true, false, false]);
    let writes = vec![end(SessionsOf::One(label("bob"), SessionId([60; 16]))), end(SessionsOf::Client(label("web")))];
    assert_eq!(
        ended(registry.commit(writes).await.expect("writes")),
        [(1, 60), (1, 62)],
        "of another user there is none of this id"
    );
    let one = vec![end(SessionsOf::One(label("ann"), SessionId([61; 16])))];
    assert_eq!(ended(registry.commit(one).await.expect("writes")), [(0, 61)]);
    let gone =
        vec![Write::Delete { kind, key: "ann".to_owned(), expect: Expect::Any }, end(SessionsOf::User(label("bob")))];
    assert_eq!(ended(registry.commit(gone).await.expect("writes")), [(1, 63)]);
    assert_eq!(all().await, []);
}

async fn sessions_stand_on_objects(registry: &dyn Registry) {
    let (user, client) = (row(Kind::User, "ann", 3), row(Kind::Client, "web-app", 1));
    let write = |row: &Row| Write::Put { row: row.clone(), expect: Expect::Any };
    let gone = |row: &Row| Write::Delete { kind: row.kind, key: row.key.clone(), expect: Expect::Any };
    let stands_on = || vec![user.clone(), client.clone()];
    let same_revision = Row { body: "{}".to_owned(), ..user.clone() };
    for (number, (change, met)) in [
        (vec![], false),
        (vec![write(&user)], false),
        (vec![write(&client)], true),
        (vec![write(&same_revision)], false),
        (vec![write(&row(Kind::User, "ann", 4))], false),
        (vec![write(&user)], true),
        (vec![gone(&client)], false),
        (vec![write(&client), gone(&user)], false),
        (vec![write(&user)], true),
    ]
    .into_iter()
    .enumerate()
    {
        registry.commit(change).await.expect("writes");
        let number = 70 + u8::try_from(number).expect("few");
        let opened = session(number, "ann", "web-app", 1_000);
        let found = registry.open_session(opened.clone(), Beside::at_most(9), stands_on()).await;
        let is_there = registry.session(opened.id).await.expect("reads").is_some();
        assert_eq!((found.is_ok(), is_there), (met, met), "{number}");
        let conflicts = matches!(found, Err(RegistryError::Conflict { .. }));
        assert_eq!(conflicts, !met);
        // A token is exchanged on the same condition, and is not used up by a refusal.
        registry.open_session(opened.clone(), Beside::at_most(9), Vec::new()).await.expect("opens");
        let rotate = |shown: u8, successor: u8| Rotate {
            id: opened.id,
            shown: hash(shown),
            successor: hash(successor),
            now: 1_100,
            grace: 10,
            expires_at: 1_600,
            user_info: "{\"anew\":1}".into(),
            stands_on: stands_on(),
        };
        let found = registry.rotate(rotate(number, 200)).await;
        let now = registry.session(opened.id).await.expect("reads").expect("alive");
        if met {
            assert!(matches!(found, Ok(Rotation::Rotated(session)) if session == now));
            assert_eq!((now.refresh, now.user_info.as_ref()), (hash(200), "{\"anew\":1}"));
            assert!(matches!(registry.rotate(rotate(number, 200)).await, Ok(Rotation::Repeated(_))));
        } else {
            assert!(matches!(found, Err(RegistryError::Conflict { .. })), "{found:?}");
            assert_eq!(now, opened, "nothing is used up");
        }
        // One that was used up ends its session, whatever it stands on.
        assert!(matches!(registry.rotate(rotate(199, 200)).await, Ok(Rotation::Reused)));
        assert_eq!(registry.session(opened.id).await.expect("reads"), None);
    }
    registry.commit(vec![gone(&user), gone(&client)]).await.expect("writes");
}

async fn expired_sessions_are_forgotten(registry: &dyn Registry) {
    for (number, created_at) in [(40, 0), (41, 1), (42, 2), (43, 0)] {
        registry
            .open_session(session(number, "ann", "web", created_at), Beside::at_most(9), Vec::new())
            .await
            .expect("opens");
    }
    let prune = async |now: u64, limit: u32| {
        let gone = registry.prune_sessions(now, limit).await.expect("prunes");
        let mut numbers: Vec<u8> = gone.into_iter().map(|id| id.0[0]).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(prune(999, 9).await, [0_u8; 0]);
    assert_eq!(prune(1_001, 0).await, [0_u8; 0]);
    assert_eq!(prune(1_001, 2).await.len(), 2, "not more than were asked for");
    assert_eq!(prune(1_001, 2).await.len(), 1, "and those that are left then");
    for (number, is_there) in [(40, false), (41, false), (42, true), (43, false)] {
        let found = registry.session(SessionId([number; 16])).await.expect("reads");
        assert_eq!(found.is_some(), is_there, "{number}");
    }
    assert_eq!(prune(u64::MAX, u32::MAX).await, [42], "they are named");
}

async fn the_audit_trail_is_kept(registry: &dyn Registry) {
    assert_eq!(registry.verify_audit().await.expect("verifies").entries, 0);
    let odd = AuditEntry {
        time: 0,
        actor: Actor { name: "ü 'quoted' \u{0}".into(), address: None },
        action: Action::Deleted,
        kind: "user".into(),
        key: "o'neil/%_".into(),
        revision: 9,
        before: Some("{\"é\":\"\\u0000\"}".into()),
        after: None,
    };
    let v6 = AuditEntry { actor: Actor::gateway(), key: "orders/v1".into(), ..entry("") };
    let v6 = AuditEntry { actor: Actor { address: Some("::1".parse().expect("an address")), ..v6.actor }, ..v6 };
    let writes = vec![told("a"), Write::Audit(Box::new(odd.clone())), put(Kind::Service, "audited", 1, Expect::Any)];
    registry.commit(writes).await.expect("writes");
    registry.commit(vec![told("b"), Write::Audit(Box::new(v6.clone()))]).await.expect("writes");
    let refused = registry.commit(vec![told("c"), put(Kind::Service, "audited", 1, Expect::Absent)]).await;
    assert_eq!(conflict(refused).1, "audited");

    let ask = async |from: AuditFrom, limit: u32, kind: Option<&str>, key: Option<&str>| {
        let query = AuditQuery { from, limit, kind: kind.map(str::to_owned), key: key.map(str::to_owned) };
        registry.audit(query).await.expect("reads")
    };
    let found = ask(AuditFrom::After(0), 9, None, None).await;
    let entries: Vec<_> = found.iter().map(|found| found.entry.clone()).collect();
    assert_eq!(entries, [entry("a"), odd, entry("b"), v6], "what did not happen is not told");
    assert_eq!(found.iter().map(|found| found.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(found[0].previous, BEGINNING);
    for pair in found.windows(2) {
        assert_eq!(pair[1].previous, pair[0].hash);
        assert_ne!(pair[1].hash, pair[0].hash);
    }
    let seqs = async |from, limit, kind, key| -> Vec<u64> {
        ask(from, limit, kind, key).await.into_iter().map(|found| found.seq).collect()
    };
    assert_eq!(seqs(AuditFrom::Before(u64::MAX), 2, None, None).await, [4, 3]);
    assert_eq!(seqs(AuditFrom::Before(3), 9, None, None).await, [2, 1]);
    assert_eq!(seqs(AuditFrom::After(2), 1, None, None).await, [3]);
    assert_eq!(seqs(AuditFrom::After(u64::MAX), 9, None, None).await, [0_u64; 0]);
    assert_eq!(seqs(AuditFrom::After(0), 0, None, None).await, [0_u64; 0]);
    assert_eq!(seqs(AuditFrom::After(0), 9, Some("user"), None).await, [2]);
    assert_eq!(seqs(AuditFrom::Before(u64::MAX), 9, Some("client"), Some("b")).await, [3]);
    for (key, wanted) in [
        ("orders", vec![4]),
        ("orders/v1", vec![4]),
        ("orders/v", vec![]),
        ("o'neil", vec![2]),
        ("", vec![]),
        ("%", vec![]),
    ] {
        assert_eq!(seqs(AuditFrom::After(0), 9, None, Some(key)).await, wanted, "{key}");
    }
    let verdict = registry.verify_audit().await.expect("verifies");
    assert_eq!((verdict.entries, verdict.head), (4, found[3].head()));
}

type Astray = (fn() -> Vec<Write>, fn(&Fault) -> bool);

/// Writes that do not do what they tell, or do not tell what they do.
const ASTRAY: [Astray; 6] = [
    (|| vec![put(Kind::Client, "b", 1, Expect::Absent)], |it| matches!(it, Fault::Untold("client", key) if key == "b")),
    (
        || vec![put(Kind::Client, "a", 1, Expect::Any), told("b")],
        |it| matches!(it, Fault::Gone("client", key) if key == "b"),
    ),
    (|| vec![put(Kind::Client, "a", 2, Expect::Any)], |it| matches!(it, Fault::Revision { found: 2, told: 1, .. })),
    (
        || vec![Write::Put { row: Row { body: "{}".into(), ..row(Kind::Client, "a", 1) }, expect: Expect::Any }],
        |it| *it == Fault::Seal,
    ),
    (
        || vec![Write::Put { row: Row { owner: Owner::File, ..row(Kind::Client, "a", 1) }, expect: Expect::Any }],
        |it| *it == Fault::Seal,
    ),
    (
        || vec![Write::Delete { kind: Kind::Client, key: "a".into(), expect: Expect::Any }],
        |it| matches!(it, Fault::Gone("client", key) if key == "a"),
    ),
];

async fn the_trail_answers_for_the_objects(registry: &dyn Registry, number: usize) {
    let verify = async || registry.verify_audit().await.expect("verifies");
    assert_eq!(verify().await.first_broken, None, "nothing is there and nothing is told");
    registry.keep(vec![put(Kind::Meta, "fact", 1, Expect::Any)]).await.expect("writes");
    registry.commit(made("a").into()).await.expect("writes");
    let changed = |revision| {
        let entry = AuditEntry { action: Action::Changed, revision, ..entry("c") };
        [put(Kind::Client, "c", revision, Expect::Revision(revision - 1)), Write::Audit(Box::new(entry))]
    };
    let deleted = || {
        let entry = AuditEntry { action: Action::Deleted, revision: 3, ..entry("c") };
        [Write::Delete { kind: Kind::Client, key: "c".into(), expect: Expect::Any }, Write::Audit(Box::new(entry))]
    };
    let writes: [Vec<Write>; 5] =
        [made("c").into(), changed(2).into(), changed(3).into(), deleted().into(), made("c").into()];
    for writes in writes.clone() {
        registry.commit(writes).await.expect("writes");
        assert_eq!(verify().await.first_broken, None);
    }
    // The same at once, after what trails do not tell of.
    let once: Vec<_> = deleted().into_iter().chain(writes.into_iter().flatten()).collect();
    let others = [Kind::SigningKey, Kind::Certificate, Kind::Lease].map(|kind| put(kind, "own", 1, Expect::Any));
    registry.keep(others.into()).await.expect("keeps");
    registry.commit(once).await.expect("writes");
    let before = verify().await;
    assert_eq!((before.first_broken, &before.fault), (None, &None));
    let (writes, wanted) = ASTRAY[number];
    registry.commit(writes()).await.expect("writes");
    let verdict = verify().await;
    assert!(verdict.fault.as_ref().is_some_and(wanted), "{number}: {verdict:?}");
    assert_eq!(verdict.first_broken, Some(verdict.head.seq + 1));
    // Going on does not heal it, not even with the same object.
    for later in ["a", "b"] {
        let later = AuditEntry { action: Action::Changed, revision: 3, ..entry(later) };
        let row = row(Kind::Client, &later.key, 3);
        let writes = vec![Write::Put { row, expect: Expect::Any }, Write::Audit(Box::new(later))];
        registry.commit(writes).await.expect("writes");
        assert!(verify().await.first_broken.is_some(), "{number}");
    }
}
