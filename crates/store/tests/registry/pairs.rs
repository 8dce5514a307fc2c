//! The rules of the port for pairs of opaque tokens, one after the other.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_core::memory::MemoryRegistry;
use portcullis_core::model::Label;
use portcullis_core::ports::{
    Beside, Expect, ForeignPair, Kind, Registry, RegistryError, Replace, Replaced, Rotate, Rotation, Row, Session,
    SessionId, Sessions, SessionsOf, Write,
};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};

use crate::{hash, open, pair, row, session};

#[tokio::test]
async fn pairs_in_memory_keep_the_rules() {
    check(Arc::new(MemoryRegistry::default())).await;
}

#[tokio::test]
async fn pairs_over_sqlite_keep_the_rules() {
    let directory = tempfile::tempdir().expect("a directory");
    check(Arc::new(open(directory.path()).await)).await;
}

async fn check(registry: Arc<dyn Registry>) {
    pairs_come_back_as_they_went_in(&*registry).await;
    a_refresh_token_finds_its_pair_alone(&*registry).await;
    a_pair_takes_the_place_of_another_once(&*registry).await;
    a_pair_stands_on_objects(&*registry).await;
    neither_sort_is_exchanged_like_the_other(&*registry).await;
    a_login_may_be_the_only_one(&*registry).await;
    those_whom_one_client_alone_knows_are_not_too_many(&*registry).await;
    what_ends_sessions_ends_pairs(&*registry).await;
    pairs_of_another_gateway_are_taken_once(&*registry).await;
    what_was_taken_is_forgotten_with_its_time(&*registry).await;
    nobody_loses_a_session_by_an_import(&*registry).await;
}

fn id(byte: u8) -> SessionId {
    SessionId([byte; 16])
}

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

async fn opened(registry: &dyn Registry, session: Session) -> Vec<u8> {
    let ended = registry.open_session(session, Beside::at_most(99), Vec::new()).await.expect("opens");
    ended.iter().map(|id| id.0[0]).collect()
}

async fn is_there(registry: &dyn Registry, byte: u8) -> bool {
    registry.session(id(byte)).await.expect("reads").is_some()
}

async fn by_refresh(registry: &dyn Registry, byte: u8) -> Option<u8> {
    registry.pair_by_refresh(&hash(byte)).await.expect("reads").map(|found| found.id.0[0])
}

async fn ended(registry: &dyn Registry, of: SessionsOf) -> Vec<u8> {
    let mut ended: Vec<u8> = registry.end_sessions(of).await.expect("ends").iter().map(|id| id.0[0]).collect();
    ended.sort_unstable();
    ended
}

/// Shows the refresh token of one pair for another one.
fn replace(shown: u8, successor: Session, now: u64) -> Replace {
    Replace { id: id(shown), shown: hash(shown), now, successor, stands_on: Vec::new() }
}

async fn pairs_come_back_as_they_went_in(registry: &dyn Registry) {
    let of_another = Label::of_another(&label("web"), &label("id=7"));
    for wanted in [
        pair(1, "ann", "web", 5),
        Session { access_until: Some(0), ..pair(1, "ann", "web", 5) },
        Session { user: of_another.clone(), ..pair(1, "ann", "web", 5) },
    ] {
        assert!(wanted.is_pair());
        assert_eq!(opened(registry, wanted.clone()).await, [0_u8; 0]);
        assert_eq!(registry.session(wanted.id).await.expect("reads"), Some(wanted.clone()));
        assert_eq!(registry.sessions(&wanted.user).await.expect("reads"), vec![wanted.clone()]);
        assert_eq!(registry.pair_by_refresh(&wanted.refresh).await.expect("reads"), Some(wanted.clone()));
        // Nobody's here, whatever their name.
        assert_eq!(registry.sessions(&label("id=7")).await.expect("reads"), []);
        assert!(registry.end_session(wanted.id).await.expect("ends"));
        assert_eq!(registry.pair_by_refresh(&wanted.refresh).await.expect("reads"), None);
    }
}

async fn a_refresh_token_finds_its_pair_alone(registry: &dyn Registry) {
    opened(registry, pair(1, "ann", "web", 0)).await;
    opened(registry, session(2, "ann", "web", 0)).await;
    opened(registry, Session { refresh: hash(1), ..session(3, "ann", "web", 0) }).await;
    opened(registry, Session { predecessor: Some(hash(9)), ..pair(4, "ann", "web", 0) }).await;
    let found = [by_refresh(registry, 1).await, by_refresh(registry, 2).await, by_refresh(registry, 9).await];
    assert_eq!(found, [Some(1), None, None], "signed sessions have refresh tokens of another sort, and a pair has one");
    assert_eq!(ended(registry, SessionsOf::User(label("ann"))).await, [1, 2, 3, 4]);
}

async fn a_pair_takes_the_place_of_another_once(registry: &dyn Registry) {
    let successor = Session { user_info: "{\"new\":1}".into(), ..pair(2, "ann", "web", 7) };
    let ask = async |wish: Replace| registry.replace_session(wish).await.expect("replaces");
    assert_eq!(ask(replace(1, successor.clone(), 5)).await, Replaced::Gone, "there is none");
    opened(registry, pair(1, "ann", "web", 0)).await;
    let wrong = Replace { shown: hash(2), ..replace(1, successor.clone(), 5) };
    assert_eq!(ask(wrong).await, Replaced::Gone, "not its token");
    assert_eq!(ask(replace(1, successor.clone(), 1_000)).await, Replaced::Gone, "over in this very millisecond");
    assert!(is_there(registry, 1).await && !is_there(registry, 2).await, "nothing has changed");
    // The access token may be over by then.
    assert_eq!(ask(replace(1, successor.clone(), 999)).await, Replaced::Done);
    assert_eq!(registry.sessions(&label("ann")).await.expect("reads"), vec![successor.clone()]);
    assert_eq!((by_refresh(registry, 1).await, by_refresh(registry, 2).await), (None, Some(2)));
    assert_eq!(ask(replace(1, pair(3, "ann", "web", 7), 999)).await, Replaced::Gone, "once");
    assert!(is_there(registry, 2).await && !is_there(registry, 3).await, "who comes too late ends nothing");
    assert!(registry.end_session(id(2)).await.expect("ends"));
}

async fn a_pair_stands_on_objects(registry: &dyn Registry) {
    let user = row(Kind::User, "ann", 3);
    let other = Row { body: "{}".to_owned(), ..user.clone() };
    let write = |row: &Row| vec![Write::Put { row: row.clone(), expect: Expect::Any }];
    registry.commit(write(&other)).await.expect("writes");
    opened(registry, pair(1, "ann", "web", 0)).await;
    let wish = |shown: u8| Replace { stands_on: vec![user.clone()], ..replace(shown, pair(2, "ann", "web", 5), 5) };
    let conflict = registry.replace_session(wish(1)).await;
    assert!(matches!(conflict, Err(RegistryError::Conflict { kind: "user", .. })), "{conflict:?}");
    assert!(is_there(registry, 1).await && !is_there(registry, 2).await, "nothing is used up");
    assert_eq!(registry.replace_session(wish(9)).await.expect("replaces"), Replaced::Gone, "whatever it stands on");
    registry.commit(write(&user)).await.expect("writes");
    assert_eq!(registry.replace_session(wish(1)).await.expect("replaces"), Replaced::Done);
    let gone = Write::Delete { kind: Kind::User, key: "ann".to_owned(), expect: Expect::Any };
    registry.commit(vec![gone, Write::EndSessions(SessionsOf::User(label("ann")))]).await.expect("writes");
    assert!(!is_there(registry, 2).await);
}

async fn neither_sort_is_exchanged_like_the_other(registry: &dyn Registry) {
    let (of_pair, signed) = (pair(1, "ann", "web", 0), session(2, "ann", "web", 0));
    opened(registry, of_pair.clone()).await;
    opened(registry, signed.clone()).await;
    let rotate = |number: u8, shown: u8| Rotate {
        id: id(number),
        shown: hash(shown),
        successor: hash(77),
        now: 5,
        grace: 10,
        expires_at: 900,
        user_info: "{}".into(),
        stands_on: Vec::new(),
    };
    // Neither with its own token nor with one that would end a session as used.
    for shown in [1, 66] {
        assert_eq!(registry.rotate(rotate(1, shown)).await.expect("rotates"), Rotation::Gone);
    }
    let wish = replace(2, pair(3, "ann", "web", 5), 5);
    assert_eq!(registry.replace_session(wish).await.expect("replaces"), Replaced::Gone);
    assert_eq!(registry.sessions(&label("ann")).await.expect("reads"), vec![of_pair, signed]);
    assert_eq!(ended(registry, SessionsOf::User(label("ann"))).await, [1, 2]);
}

async fn a_login_may_be_the_only_one(registry: &dyn Registry) {
    let alone = |limit: u32| Beside { alone: true, ..Beside::at_most(limit) };
    let open_alone = async |session: Session, limit: u32, stands_on: Vec<Row>| {
        let ended = registry.open_session(session, alone(limit), stands_on).await?;
        let mut ended: Vec<u8> = ended.iter().map(|id| id.0[0]).collect();
        ended.sort_unstable();
        Ok::<_, RegistryError>(ended)
    };
    for (number, user, client) in [(1, "ann", "web"), (2, "ann", "cli"), (3, "bob", "web")] {
        opened(registry, pair(number, user, client, u64::from(number))).await;
        opened(registry, session(number + 10, user, client, u64::from(number))).await;
    }
    let refused = open_alone(pair(4, "ann", "web", 9), 99, vec![row(Kind::User, "ann", 1)]).await;
    assert!(matches!(refused, Err(RegistryError::Conflict { .. })), "{refused:?}");
    assert!(is_there(registry, 1).await && is_there(registry, 11).await, "who is refused ends nothing");
    // Of both sorts, of the same user, through the same client.
    assert_eq!(open_alone(pair(4, "ann", "web", 9), 99, Vec::new()).await.expect("opens"), [1, 11]);
    assert_eq!(open_alone(session(5, "ann", "web", 9), 99, Vec::new()).await.expect("opens"), [4]);
    assert_eq!(open_alone(session(5, "ann", "web", 10), 99, Vec::new()).await.expect("opens"), [0_u8; 0], "itself");
    for number in [2, 12, 3, 13, 5] {
        assert!(is_there(registry, number).await, "{number}");
    }
    // The limit holds besides: what the login ends itself has gone before that is counted.
    assert_eq!(open_alone(pair(6, "ann", "web", 11), 3, Vec::new()).await.expect("opens"), [5]);
    assert_eq!(open_alone(pair(7, "ann", "web", 12), 2, Vec::new()).await.expect("opens").len(), 2);
    assert_eq!(registry.sessions(&label("ann")).await.expect("reads").len(), 2);
    assert_eq!(ended(registry, SessionsOf::User(label("bob"))).await, [3, 13]);
    ended(registry, SessionsOf::User(label("ann"))).await;
}

async fn those_whom_one_client_alone_knows_are_not_too_many(registry: &dyn Registry) {
    let of = |client: &str, name: &str| Label::of_another(&label(client), &label(name));
    let try_to_open = async |number: u8, user: Label, beside: Beside| {
        let opened = Session { user, ..pair(number, "x", "web", u64::from(number)) };
        registry.open_session(opened, beside, Vec::new()).await
    };
    let open = async |number: u8, user: Label| {
        try_to_open(number, user, Beside { of_realm: Some(10), ..Beside::at_most(3) }).await
    };
    let is_too_many =
        |refused: Result<Vec<SessionId>, RegistryError>| matches!(refused, Err(RegistryError::TooMany(_)));
    // Names around that of the client, and users of this gateway, are others.
    for (number, user) in
        [(1, of("wea", "a")), (2, of("web0", "a")), (3, of("we", "b")), (4, label("web")), (5, label("web0"))]
    {
        assert_eq!(open(number, user).await.expect("opens"), []);
    }
    for number in 10..20 {
        assert_eq!(open(number, of("web", &format!("id={number}"))).await.expect("there is room"), [], "{number}");
    }
    for number in 20..23 {
        assert!(is_too_many(open(number, of("web", "id=20")).await), "{number}");
        assert!(!is_there(registry, number).await);
    }
    // Others go on: users of this gateway, those of other clients, whoever is exchanged, and who gives one up for it.
    assert_eq!(open(30, label("ann")).await.expect("opens"), []);
    assert_eq!(open(31, of("web0", "b")).await.expect("opens"), []);
    let successor = Session { user: of("web", "id=10"), ..pair(32, "x", "web", 10) };
    assert_eq!(registry.replace_session(replace(10, successor, 11)).await.expect("replaces"), Replaced::Done);
    let alone = Beside { of_realm: Some(10), alone: true, ..Beside::at_most(3) };
    assert_eq!(try_to_open(33, of("web", "id=11"), alone).await.expect("opens"), [id(11)]);
    let only = Beside { of_realm: Some(10), ..Beside::at_most(1) };
    assert_eq!(try_to_open(34, of("web", "id=12"), only).await.expect("opens"), [id(12)]);
    assert!(is_too_many(try_to_open(35, of("web", "id=13"), Beside { limit: 2, ..only }).await));
    assert!(is_too_many(try_to_open(35, of("web", "id=99"), alone).await), "who has none gives none up");
    // However one ends, there is room for one more, and not for two.
    assert!(registry.end_session(id(13)).await.expect("ends"));
    assert_eq!(open(40, of("web", "id=40")).await.expect("there is room again"), []);
    assert!(is_too_many(open(41, of("web", "id=41")).await));
    assert_eq!(ended(registry, SessionsOf::User(of("web", "id=14"))).await, [14]);
    assert_eq!(open(42, of("web", "id=42")).await.expect("there is room again"), []);
    assert!(is_too_many(open(43, of("web", "id=43")).await));
    let gone = registry.prune_sessions(1_015, 99).await.expect("prunes");
    assert!(gone.contains(&id(15)), "{gone:?}");
    assert_eq!(open(44, of("web", "id=44")).await.expect("there is room again"), []);
    // What ends while there is room is room too.
    let of_three = async |number: u8| {
        let user = of("far", &format!("id={number}"));
        try_to_open(number, user, Beside { of_realm: Some(3), ..Beside::at_most(3) }).await
    };
    for number in 50..52 {
        assert_eq!(of_three(number).await.expect("there is room"), []);
    }
    for number in 50..52 {
        assert_eq!(ended(registry, SessionsOf::User(of("far", &format!("id={number}")))).await, [number]);
    }
    for number in 52..55 {
        assert_eq!(of_three(number).await.expect("there is room"), [], "{number}");
    }
    for number in 55..57 {
        assert!(is_too_many(of_three(number).await), "{number}");
    }
    for user in
        [label("web"), label("web0"), label("ann"), of("wea", "a"), of("web0", "a"), of("web0", "b"), of("we", "b")]
    {
        ended(registry, SessionsOf::User(user)).await;
    }
    ended(registry, SessionsOf::Client(label("web"))).await;
}

async fn what_ends_sessions_ends_pairs(registry: &dyn Registry) {
    let of_another = Label::of_another(&label("web"), &label("id=ann"));
    for (number, user) in [(1, label("ann")), (2, of_another.clone()), (3, label("bob"))] {
        opened(registry, Session { user, ..pair(number, "x", "web", 0) }).await;
    }
    let info = |user: Label| Write::UserInfo { user, user_info: "{\"new\":1}".into() };
    let done = registry.commit(vec![info(label("ann"))]).await.expect("writes");
    assert_eq!(done.ended.iter().map(|ended| ended.session.0[0]).collect::<Vec<_>>(), [1], "and of nobody else");
    assert_eq!(registry.session(id(1)).await.expect("reads").expect("there").user_info.as_ref(), "{\"new\":1}");
    assert_eq!(ended(registry, SessionsOf::One(label("ann"), id(2))).await, [0_u8; 0]);
    assert_eq!(ended(registry, SessionsOf::One(of_another.clone(), id(2))).await, [2]);
    assert_eq!(ended(registry, SessionsOf::Client(label("web"))).await, [1, 3]);
    opened(registry, pair(1, "ann", "web", 0)).await;
    opened(registry, Session { user: of_another, ..pair(2, "x", "web", 0) }).await;
    assert_eq!(ended(registry, SessionsOf::User(label("ann"))).await, [1]);
    assert_eq!(registry.prune_sessions(1_000, 9).await.expect("prunes"), [id(2)], "by the end of the refresh token");
}

fn foreign(session: Session, remembered_until: u64) -> ForeignPair {
    ForeignPair { session, remembered_until }
}

async fn pairs_of_another_gateway_are_taken_once(registry: &dyn Registry) {
    let client = row(Kind::Client, "web", 1);
    registry.commit(vec![Write::Put { row: client.clone(), expect: Expect::Any }]).await.expect("writes");
    let bring = |numbers: &[u8]| -> Vec<ForeignPair> {
        numbers.iter().map(|number| foreign(pair(*number, "ann", "web", 0), 5_000)).collect()
    };
    let import =
        async |pairs: Vec<ForeignPair>| registry.import_pairs(pairs, vec![client.clone()]).await.expect("takes");
    let changed = Row { revision: 2, ..client.clone() };
    let conflict = registry.import_pairs(bring(&[1, 2]), vec![changed]).await;
    assert!(matches!(conflict, Err(RegistryError::Conflict { kind: "client", .. })), "{conflict:?}");
    assert!(!is_there(registry, 1).await);
    assert_eq!(import(bring(&[1, 2, 1])).await, 2, "none of them twice");
    assert_eq!(registry.session(id(1)).await.expect("reads"), Some(pair(1, "ann", "web", 0)));
    assert_eq!(import(bring(&[1, 2, 3])).await, 1);
    // Whatever became of it: logged out, refreshed, ended with the user.
    assert!(registry.end_session(id(1)).await.expect("ends"));
    let refreshed = registry.replace_session(replace(2, pair(22, "ann", "web", 5), 5)).await;
    assert_eq!(refreshed.expect("replaces"), Replaced::Done);
    assert_eq!(ended(registry, SessionsOf::User(label("ann"))).await, [3, 22]);
    assert_eq!(import(bring(&[1, 2, 3])).await, 0);
    // What is known here otherwise: by its access token, by its refresh token.
    opened(registry, pair(4, "ann", "web", 0)).await;
    opened(registry, session(5, "ann", "web", 0)).await;
    let same_refresh = Session { refresh: hash(4), ..pair(6, "eve", "web", 0) };
    let other = Session { user: label("eve"), ..pair(4, "ann", "web", 0) };
    let taken = import(vec![foreign(same_refresh, 9), foreign(other, 9), foreign(pair(5, "eve", "web", 0), 9)]).await;
    assert_eq!((taken, registry.sessions(&label("eve")).await.expect("reads").len()), (0, 0));
    // A refresh token of the other sort is none of these.
    assert_eq!(import(vec![foreign(Session { refresh: hash(5), ..pair(7, "eve", "web", 0) }, 5_000)]).await, 1);
    ended(registry, SessionsOf::Client(label("web"))).await;
}

async fn what_was_taken_is_forgotten_with_its_time(registry: &dyn Registry) {
    let import = async |number: u8, until: u64| {
        let pairs = vec![foreign(pair(number, "ann", "web", 0), until)];
        registry.import_pairs(pairs, Vec::new()).await.expect("takes")
    };
    let prune = async |now: u64, limit: u32| registry.prune_sessions(now, limit).await.expect("prunes").len();
    // Those of before are remembered until 5,000.
    assert_eq!(prune(4_999, 99).await, 0);
    assert_eq!(import(1, 6_000).await, 0);
    assert_eq!(prune(5_000, 99).await, 0, "they have ended long ago");
    assert_eq!((import(1, 6_000).await, import(2, 7_000).await), (1, 1));
    assert_eq!(prune(6_000, 0).await, 0);
    assert_eq!(import(1, 6_000).await, 0);
    assert_eq!(prune(6_000, 99).await, 2, "the pairs themselves");
    assert_eq!((import(1, 6_500).await, import(2, 7_000).await), (1, 0), "each for its own time");
    // Not more at once than were asked for.
    assert_eq!(prune(u64::MAX, 1).await, 1);
    assert_eq!(import(1, 9_000).await + import(2, 9_000).await, 1);
    assert_eq!(prune(u64::MAX, u32::MAX).await, 1);
    assert_eq!(import(1, 9_000).await + import(2, 9_000).await, 2);
    assert_eq!(prune(u64::MAX, u32::MAX).await, 2);
}

async fn nobody_loses_a_session_by_an_import(registry: &dyn Registry) {
    let pairs = (100..120).map(|number| foreign(pair(number, "ann", "web", 0), 5_000)).collect();
    opened(registry, pair(1, "ann", "web", 0)).await;
    assert_eq!(registry.import_pairs(pairs, Vec::new()).await.expect("takes"), 20);
    assert_eq!(registry.sessions(&label("ann")).await.expect("reads").len(), 21);
    let ended = registry.open_session(pair(2, "ann", "web", 9), Beside::at_most(5), Vec::new()).await.expect("opens");
    assert_eq!(ended.len(), 17, "the next login ends what is too much");
    assert_eq!(registry.prune_sessions(u64::MAX, u32::MAX).await.expect("prunes").len(), 5);
}

#[tokio::test]
async fn a_registry_from_before_there_were_pairs_keeps_its_sessions() {
    static MIGRATIONS: Migrator = sqlx::migrate!();

    let directory = tempfile::tempdir().expect("a directory");
    let options = SqliteConnectOptions::new().filename(directory.path().join("registry.db")).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("connects");
    let before: Vec<_> = MIGRATIONS.iter().filter(|migration| migration.version < 4).cloned().collect();
    assert_eq!(before.len(), 3);
    let before = Migrator { migrations: Cow::Owned(before), ..Migrator::DEFAULT };
    before.run(&mut connection).await.expect("migrates");
    connection
        .execute(
            "INSERT INTO sessions VALUES (x'01010101010101010101010101010101', 'ann', 'web', '{\"name\":\"ann\"}', 7, 1007, \
             x'0101010101010101010101010101010101010101010101010101010101010101', NULL, 7)",
        )
        .await
        .expect("inserts");
    connection.close().await.expect("closes");

    let registry = open(directory.path()).await;
    let kept = session(1, "ann", "web", 7);
    assert_eq!(registry.sessions(&label("ann")).await.expect("reads"), vec![kept.clone()]);
    assert_eq!(registry.pair_by_refresh(&kept.refresh).await.expect("reads"), None);
    opened(&registry, pair(2, "ann", "web", 8)).await;
    assert_eq!(by_refresh(&registry, 2).await, Some(2));
    assert_eq!(registry.sessions(&label("ann")).await.expect("reads").len(), 2);
}
