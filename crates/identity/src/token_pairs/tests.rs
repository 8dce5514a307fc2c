//! Pairs over the registry in memory: whose they are, how long they are good, and what ends them.

use std::collections::HashSet;

use portcullis_core::audit::{AuditFrom, AuditQuery};
use portcullis_core::model::{Client, Grant};
use portcullis_core::ports::{Expect, Kind, Objects as _, Sessions as _, SessionsOf, Write};
use serde_json::json;

use super::*;
use crate::Sessions;
use crate::refresh_tokens::RefreshToken;
use crate::testing::{HERE, House, actor, label};
use crate::users::always;

const LIFETIMES: Lifetimes =
    Lifetimes { access: Duration::from_secs(100), refresh: Duration::from_secs(1_000), alone: false };
const ALONE: Lifetimes = Lifetimes { alone: true, ..LIFETIMES };

struct Scene {
    house: House,
    pairs: Arc<TokenPairs>,
}

impl Scene {
    /// With the users ada and 7, and the client `till` beside those of the house.
    async fn new() -> Self {
        Self::with(LoginSettings::default()).await
    }

    async fn with(settings: LoginSettings) -> Self {
        let house = House::new(settings).await;
        house.create_user("ada", "s3cret", json!({"id": 7, "name": "Ada"})).await;
        house.create_user("7", "seven", json!({})).await;
        house.enable("till", true).await;
        let pairs = Arc::new(TokenPairs::new(house.parts.clone(), settings));
        Self { house, pairs }
    }

    async fn log_in(&self, client: &str, lifetimes: Lifetimes) -> Pair {
        let found = self.pairs.log_in(HERE, &label(client), lifetimes, "ada", "s3cret".into()).await;
        found.expect("logged in")
    }

    /// Somebody whom the Auth API of a client lets in.
    async fn let_in(&self, client: &str, user_info: &Value) -> Pair {
        self.pairs.open_for(&label(client), LIFETIMES, user_info).await.expect("let in")
    }

    async fn refresh(&self, client: &str, token: &Secret) -> Option<Pair> {
        self.pairs.refresh(&label(client), LIFETIMES, token.expose()).await.expect("answered")
    }

    /// For how many seconds an access token is good, as the endpoint says, as the cache says, and as the registry does.
    async fn good(&self, client: &str, token: &Secret) -> Option<u64> {
        let remaining = self.pairs.remaining(&label(client), token.expose()).await.expect("answered");
        if client == "shop" {
            let (id, now) = (shown(token), self.house.parts.clock.unix_millis());
            let is_good = |live: &Arc<LiveSession>| live.is_shown_by(AccessToken::Opaque, now);
            let cached = self.house.parts.sessions.cached(id).filter(is_good).is_some();
            let registry = self.house.memory.session(id).await.expect("read");
            let stored = registry.map(|session| Arc::new(LiveSession::from(&session))).filter(is_good).is_some();
            assert_eq!((cached, stored), (remaining.is_some(), remaining.is_some()), "cache and registry agree");
        }
        remaining.map(|remaining| remaining.as_secs())
    }

    fn advance(&self, seconds: u64) {
        self.house.clock.advance(Duration::from_secs(seconds));
    }

    async fn change(&self, change: UserChange) {
        self.house.parts.users.update(&actor(), &label("ada"), change, always).await.expect("changed");
    }
}

fn shown(token: &Secret) -> SessionId {
    opaque::session_shown(token.expose()).expect("an opaque token")
}

fn code<T>(found: Result<T, Refusal>) -> Option<&'static str> {
    found.err().map(|refusal| refusal.code())
}

#[tokio::test]
async fn a_login_gives_a_pair_and_only_hashes_of_it_are_kept() {
    let scene = Scene::new().await;
    let pair = scene.log_in("shop", LIFETIMES).await;
    assert_eq!((pair.access_token.expose().len(), pair.refresh_token.expose().len()), (27, 27));
    assert_eq!((pair.access_ttl.as_secs(), pair.refresh_ttl.as_secs()), (100, 1_000));
    assert_eq!(pair.access_until, 1_700_000_100);
    assert_eq!((pair.user.as_str(), pair.client.as_str()), ("ada", "shop"));
    assert_eq!(pair.user_info.as_ref(), r#"{"id":7,"name":"Ada"}"#);
    let live = scene.house.parts.sessions.cached(shown(&pair.access_token)).expect("remembered");
    assert_eq!(live.user_json, crate::sessions::user_json_header(r#"{"id":7,"name":"Ada"}"#));
    let stored = scene.house.memory.session(live.id).await.expect("read").expect("there");
    assert_eq!(stored.refresh, opaque::hash(Use::Refresh, pair.refresh_token.expose()));
    let said = format!("{pair:?} {stored:?} {live:?} {:?}", scene.pairs);
    for token in [&pair.access_token, &pair.refresh_token] {
        assert!(!said.contains(token.expose()), "{said}");
    }
    // It is listed and counted like any session of the user.
    assert_eq!(scene.house.parts.users.sessions(&label("ada")).await.expect("read"), vec![stored]);
}

#[tokio::test]
async fn wrong_and_unknown_are_one_answer_and_guesses_are_counted() {
    let scene = Scene::new().await;
    let ask = async |name: &str, password: &str| {
        let found = scene.pairs.log_in(HERE, &label("shop"), LIFETIMES, name, password.into()).await;
        found.map(drop).expect_err("refused")
    };
    let wrong = Refusal::from(Unproven::Wrong("unknown user or wrong password"));
    for (name, password) in [("ada", "S3cret"), ("eve", "s3cret"), ("shop/id=7", "x"), ("", "")] {
        assert_eq!(ask(name, password).await, wrong, "{name}");
    }
    scene.change(UserChange { enabled: Some(false), ..UserChange::default() }).await;
    assert_eq!(ask("ada", "s3cret").await.code(), wrong.code());
    for _ in 0..20 {
        ask("ada", "guess").await;
    }
    assert_eq!(ask("ada", "s3cret").await.code(), "login_locked");
    for client in ["disabled", "nobody"] {
        for password in ["seven", "guess"] {
            let found = scene.pairs.log_in(HERE, &label(client), LIFETIMES, "7", password.into()).await;
            assert_eq!(found.map(drop), Err(Refusal::DisabledClient), "{client}");
        }
        let found = scene.pairs.open_for(&label(client), LIFETIMES, &json!({})).await;
        assert_eq!(found.map(drop), Err(Refusal::DisabledClient), "{client}");
    }
}

#[tokio::test]
async fn the_access_token_ends_before_the_refresh_token_and_both_with_the_session() {
    let scene = Scene::new().await;
    let pair = scene.log_in("shop", LIFETIMES).await;
    scene.advance(99);
    assert_eq!(scene.good("shop", &pair.access_token).await, Some(1));
    scene.advance(1);
    assert_eq!(scene.good("shop", &pair.access_token).await, None, "over in this very second");
    scene.advance(899);
    let next = scene.refresh("shop", &pair.refresh_token).await.expect("still good");
    assert_eq!(scene.good("shop", &next.access_token).await, Some(100));
    scene.advance(1_000);
    assert!(scene.refresh("shop", &next.refresh_token).await.is_none(), "over in this very second");

    let lasting = LoginSettings { session_ttl: Duration::from_secs(150), ..LoginSettings::default() };
    let scene = Scene::with(lasting).await;
    let pair = scene.log_in("shop", LIFETIMES).await;
    assert_eq!(pair.refresh_ttl.as_secs(), 150);
    scene.advance(100);
    let next = scene.refresh("shop", &pair.refresh_token).await.expect("still good");
    assert_eq!((next.access_ttl.as_secs(), next.refresh_ttl.as_secs()), (50, 50), "counted from the login");
    scene.advance(50);
    assert!(scene.refresh("shop", &next.refresh_token).await.is_none());
    let longer = Lifetimes { access: Duration::from_secs(120), refresh: Duration::from_secs(60), ..LIFETIMES };
    let pair = scene.log_in("shop", longer).await;
    assert_eq!((pair.access_ttl.as_secs(), pair.refresh_ttl.as_secs()), (60, 60), "never longer");

    let for_ever = LoginSettings { session_ttl: Duration::ZERO, ..LoginSettings::default() };
    let scene = Scene::with(for_ever).await;
    let endless = Lifetimes { access: Duration::MAX, refresh: Duration::MAX, ..LIFETIMES };
    let pair = scene.log_in("shop", endless).await;
    let stored = scene.house.memory.session(shown(&pair.access_token)).await.expect("read").expect("there");
    assert_eq!(stored.expires_at, u64::try_from(i64::MAX).expect("positive"), "a number that every registry can keep");
}

#[tokio::test]
async fn a_refresh_ends_both_old_tokens_and_is_good_once() {
    let scene = Scene::new().await;
    let mut pair = scene.log_in("shop", LIFETIMES).await;
    let mut seen = HashSet::new();
    for _ in 0..5 {
        assert!(
            seen.insert(pair.access_token.expose().to_owned()) && seen.insert(pair.refresh_token.expose().to_owned())
        );
        scene.advance(10);
        let next = scene.refresh("shop", &pair.refresh_token).await.expect("refreshed");
        assert_eq!(scene.good("shop", &pair.access_token).await, None);
        assert!(scene.refresh("shop", &pair.refresh_token).await.is_none());
        assert_eq!(scene.good("shop", &next.access_token).await, Some(100), "who shows a used one ends nothing");
        assert_eq!((next.user.as_str(), next.user_info.as_ref()), ("ada", pair.user_info.as_ref()));
        pair = next;
    }
    let sessions = scene.house.memory.sessions(&label("ada")).await.expect("read");
    assert_eq!(sessions.iter().map(|session| session.created_at).collect::<Vec<_>>(), [1_700_000_000_000]);
    // Neither token is the other, nor is anything else one.
    for other in [pair.access_token.expose(), "", "x", &"A".repeat(27), &"A".repeat(5_000), "pcf_", "\u{e9}"] {
        assert!(scene.refresh("shop", &other.into()).await.is_none(), "{other}");
    }
    assert_eq!(scene.good("shop", &pair.refresh_token).await, None);
}

#[tokio::test]
async fn what_was_told_of_a_user_is_told_anew() {
    let scene = Scene::new().await;
    let pair = scene.log_in("shop", LIFETIMES).await;
    scene.change(UserChange { user_info: Some(json!({"id": 8})), ..UserChange::default() }).await;
    let told = scene.house.parts.sessions.fetch(shown(&pair.access_token)).await.expect("read").expect("alive");
    assert_eq!(told.user_json, crate::sessions::user_json_header(r#"{"id":8}"#));
    // Also where the session was not told, as by a change that was cut short.
    let mut row = scene.house.memory.get(Kind::User, "ada").await.expect("read").expect("there");
    row.body = row.body.replace(r#"{"id":8}"#, r#"{"id":9}"#);
    let put = Write::Put { row, expect: Expect::Any };
    scene.house.memory.commit(vec![put]).await.expect("written");
    let next = scene.refresh("shop", &pair.refresh_token).await.expect("refreshed");
    assert_eq!(next.user_info.as_ref(), r#"{"id":9}"#);
}

#[tokio::test]
async fn tokens_of_two_clients_never_mix() {
    let scene = Scene::new().await;
    let (mine, other) = (scene.log_in("shop", LIFETIMES).await, scene.log_in("till", LIFETIMES).await);
    assert_eq!(scene.good("till", &mine.access_token).await, None);
    assert!(scene.refresh("till", &mine.refresh_token).await.is_none());
    scene.pairs.end_by_access(&label("till"), mine.access_token.expose()).await.expect("fine");
    assert_eq!(scene.good("shop", &mine.access_token).await, Some(100), "and nothing of it was ended or used up");
    assert_eq!(scene.good("till", &other.access_token).await, Some(100));
    assert_eq!(scene.refresh("shop", &mine.refresh_token).await.expect("still good").client.as_str(), "shop");
    // The other way round, with a client that goes away.
    scene.house.enable("till", false).await;
    assert!(scene.refresh("shop", &other.refresh_token).await.is_none());
}

#[tokio::test]
async fn a_logout_ends_both_tokens_and_a_second_one_is_fine() {
    let scene = Scene::new().await;
    let (first, second) = (scene.log_in("shop", LIFETIMES).await, scene.log_in("shop", LIFETIMES).await);
    // The access token may be over.
    scene.advance(100);
    for _ in 0..2 {
        scene.pairs.end_by_access(&label("shop"), first.access_token.expose()).await.expect("ended");
        assert!(scene.refresh("shop", &first.refresh_token).await.is_none());
    }
    for other in ["", "x", second.refresh_token.expose()] {
        scene.pairs.end_by_access(&label("shop"), other).await.expect("fine");
    }
    let next = scene.refresh("shop", &second.refresh_token).await.expect("nobody else's");
    scene.pairs.end(shown(&next.access_token)).await.expect("ended");
    assert_eq!(scene.good("shop", &next.access_token).await, None);
    assert!(scene.refresh("shop", &next.refresh_token).await.is_none());
}

#[tokio::test]
async fn neither_sort_of_session_is_known_by_a_token_of_the_other() {
    let scene = Scene::new().await;
    let pair = scene.log_in("shop", LIFETIMES).await;
    let of_pair = shown(&pair.access_token);
    let signed = scene.house.login.log_in(HERE, label("shop"), "ada", "s3cret".into()).await.expect("logged in");
    let of_signed = scene.house.parts.tokens.verify(signed.access_token.expose()).expect("verified").sid;
    let (sessions, now) = (&scene.house.parts.sessions, scene.house.parts.clock.unix_millis());
    for (id, token, is_good) in [
        (of_pair, AccessToken::Opaque, true),
        (of_pair, AccessToken::Signed, false),
        (of_signed, AccessToken::Signed, true),
        (of_signed, AccessToken::Opaque, false),
    ] {
        let live = sessions.fetch(id).await.expect("read").expect("alive");
        assert_eq!(live.is_shown_by(token, now), is_good, "{token:?}");
    }
    // A genuine refresh token that names a pair, which nobody has been given, does not touch it.
    let somebodys = scene.let_in("shop", &json!({"id": 7})).await;
    for pair in [&pair, &somebodys] {
        let made_up = RefreshToken::first(shown(&pair.access_token)).text(&scene.house.parts.master);
        let refused = scene.house.login.refresh(&label("shop"), made_up.expose()).await;
        assert_eq!(code(refused), Some("invalid_credential"));
        assert_eq!(scene.good("shop", &pair.access_token).await, Some(100));
    }
    assert!(scene.refresh("shop", &signed.refresh_token).await.is_none());
    // Nor does a text of the shape of an opaque token know a session with the id that is made of it.
    let text = "A".repeat(27);
    let id = opaque::session_shown(&text).expect("its shape");
    let session = Session { id, ..crate::testing::session(id, "ada", "{}") };
    let session = Session { client: label("shop"), refresh: opaque::hash(Use::Refresh, &text), ..session };
    scene.house.memory.open_session(session, Beside::at_most(99), Vec::new()).await.expect("opened");
    assert_eq!(scene.pairs.remaining(&label("shop"), &text).await.expect("answered"), None);
    assert!(scene.refresh("shop", &text.as_str().into()).await.is_none());
    scene.pairs.end_by_access(&label("shop"), &text).await.expect("fine");
    assert!(scene.house.memory.session(id).await.expect("read").is_some(), "left alone");
}

#[tokio::test]
async fn whatever_ends_sessions_ends_pairs() {
    let disable = || UserChange { enabled: Some(false), ..UserChange::default() };
    let password = || UserChange { password: Some("n3w".into()), ..UserChange::default() };
    for what in ["disabled", "password", "deleted", "client disabled", "client deleted", "ended", "one ended", "pruned"]
    {
        let scene = Scene::new().await;
        let pair = scene.log_in("shop", LIFETIMES).await;
        let other = scene.let_in("till", &json!({"id": "ada"})).await;
        assert_eq!(scene.good("shop", &pair.access_token).await, Some(100));
        let id = shown(&pair.access_token);
        let users = &scene.house.parts.users;
        match what {
            "disabled" => scene.change(disable()).await,
            "password" => scene.change(password()).await,
            "deleted" => users.delete(&actor(), &label("ada"), always).await.expect("deleted"),
            "client disabled" => scene.house.enable("shop", false).await,
            "client deleted" => scene.house.delete_client("shop").await,
            "ended" => drop(users.end_sessions(&actor(), &label("ada"), None).await.expect("ended")),
            "one ended" => drop(users.end_sessions(&actor(), &label("ada"), Some(id)).await.expect("ended")),
            _ => {
                scene.advance(1_000);
                scene.house.parts.sessions.prune().await.expect("pruned");
            }
        }
        assert_eq!(scene.good("shop", &pair.access_token).await, None, "{what}");
        assert!(scene.refresh("shop", &pair.refresh_token).await.is_none(), "{what}");
        if what != "pruned" {
            assert_eq!(scene.good("till", &other.access_token).await, Some(100), "{what}: nobody else's");
        }
    }
}

#[tokio::test]
async fn a_pair_that_outlived_its_user_ends_at_the_next_refresh() {
    let scene = Scene::new().await;
    let pair = scene.log_in("shop", LIFETIMES).await;
    let gone = Write::Delete { kind: Kind::User, key: "ada".into(), expect: Expect::Any };
    scene.house.memory.commit(vec![gone]).await.expect("deleted");
    assert!(scene.refresh("shop", &pair.refresh_token).await.is_none());
    assert_eq!(scene.good("shop", &pair.access_token).await, None);
}

#[tokio::test]
async fn who_is_let_in_by_an_auth_api_is_nobody_here() {
    let scene = Scene::new().await;
    let seven = scene.let_in("shop", &json!({"id": 7, "name": "\u{6771}"})).await;
    assert_eq!((seven.user.as_str(), seven.user_info.as_ref()), ("shop/id=7", "{\"id\":7,\"name\":\"\u{6771}\"}"));
    let live = scene.house.parts.sessions.cached(shown(&seven.access_token)).expect("remembered");
    let ascii = "{\"id\":7,\"name\":\"\\u6771\"}";
    assert_eq!(live.user_json, crate::sessions::user_json_header(ascii), "as fomalhaut tells its backends");
    let here = scene.pairs.log_in(HERE, &label("shop"), LIFETIMES, "7", "seven".into()).await.expect("logged in");
    let set = async |change: UserChange| {
        scene.house.parts.users.update(&actor(), &label("7"), change, always).await.expect("changed");
    };
    set(UserChange { user_info: Some(json!({"new": 1})), ..UserChange::default() }).await;
    let told = async |pair: &Pair| {
        let live = scene.house.parts.sessions.fetch(shown(&pair.access_token)).await.expect("read").expect("alive");
        live.user_json.clone()
    };
    assert_eq!(told(&here).await, crate::sessions::user_json_header(r#"{"new":1}"#));
    assert_eq!(told(&seven).await, live.user_json);
    set(UserChange { enabled: Some(false), ..UserChange::default() }).await;
    assert_eq!(scene.good("shop", &here.access_token).await, None);
    let next = scene.refresh("shop", &seven.refresh_token).await.expect("another one");
    assert_eq!((next.user.as_str(), next.user_info.as_ref()), ("shop/id=7", seven.user_info.as_ref()));
    // Nobody can have a password by that name.
    let changed = scene.pairs.change_password(HERE, &next.user, "seven".into(), "n3w".into()).await.expect("answered");
    assert_eq!(changed, Changed::Wrong);
    assert_eq!(scene.good("shop", &next.access_token).await, Some(100));
    let ended = scene.house.parts.registry.end_sessions(SessionsOf::User(next.user.clone())).await.expect("ended");
    assert_eq!(ended, [shown(&next.access_token)]);
    let large = json!({"a": "x".repeat(MAX_FOREIGN_USER_JSON_BYTES)});
    let refused = scene.pairs.open_for(&label("shop"), LIFETIMES, &large).await;
    assert!(matches!(refused, Err(Refusal::AuthApiAnswer { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_login_that_is_to_be_alone_ends_the_others_of_its_user_and_client_before_it_is_answered() {
    let scene = Scene::new().await;
    let first = scene.log_in("shop", ALONE).await;
    let signed = scene.house.login.log_in(HERE, label("shop"), "ada", "s3cret".into()).await.expect("logged in");
    let signed = scene.house.parts.tokens.verify(signed.access_token.expose()).expect("verified").sid;
    let elsewhere = scene.log_in("till", LIFETIMES).await;
    let somebody = scene.let_in("shop", &json!({"name": "ada"})).await;
    assert_eq!(scene.good("shop", &first.access_token).await, Some(100));
    let second = scene.log_in("shop", ALONE).await;
    assert!(
        scene.house.parts.sessions.cached(signed).is_none() && scene.good("shop", &first.access_token).await.is_none()
    );
    assert!(scene.house.memory.session(signed).await.expect("read").is_none());
    assert!(scene.refresh("shop", &first.refresh_token).await.is_none());
    for (client, pair) in [("shop", &second), ("till", &elsewhere), ("shop", &somebody)] {
        assert_eq!(scene.good(client, &pair.access_token).await, Some(100));
    }
    // A refresh is no login.
    let third = scene.log_in("shop", LIFETIMES).await;
    let refreshed = scene.pairs.refresh(&label("shop"), ALONE, second.refresh_token.expose()).await.expect("answered");
    let refreshed = refreshed.expect("good");
    assert_eq!(scene.good("shop", &third.access_token).await, Some(100));
    // A login for a signed session does the same where the client is declared so.
    scene.house.declare("shop", Client { services: vec![Grant::All], single_login: true, ..Client::default() }).await;
    scene.house.login.log_in(HERE, label("shop"), "ada", "s3cret".into()).await.expect("logged in");
    for pair in [&refreshed, &third] {
        assert_eq!(scene.good("shop", &pair.access_token).await, None);
    }
    assert_eq!(scene.good("till", &elsewhere.access_token).await, Some(100));
    assert_eq!(scene.good("shop", &somebody.access_token).await, Some(100));
}

#[tokio::test]
async fn who_reads_a_session_while_another_login_ends_it_does_not_bring_it_back() {
    let scene = Scene::new().await;
    let first = scene.log_in("shop", ALONE).await;
    let id = shown(&first.access_token);
    scene.house.parts.sessions.forget(id);
    scene.house.gate.close_reading();
    let sessions: Arc<Sessions> = Arc::clone(&scene.house.parts.sessions);
    let reading = tokio::spawn(async move { sessions.fetch(id).await.expect("read") });
    // The registry has answered, but the answer has not arrived yet.
    scene.house.gate.wait_for_reader().await;
    scene.log_in("shop", ALONE).await;
    scene.house.gate.open();
    assert!(reading.await.expect("no panic").is_none(), "read again, and gone");
    assert!(scene.house.parts.sessions.cached(id).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_get_one_pair_for_a_refresh_token_and_one_login_is_left_alone() {
    let scene = Scene::new().await;
    let mut pair = scene.log_in("shop", LIFETIMES).await;
    for _ in 0..10 {
        let mut racing = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (pairs, token) = (Arc::clone(&scene.pairs), pair.refresh_token.clone());
            racing.spawn(
                async move { pairs.refresh(&label("shop"), LIFETIMES, token.expose()).await.expect("answered") },
            );
        }
        let mut got: Vec<Pair> = racing.join_all().await.into_iter().flatten().collect();
        assert_eq!(got.len(), 1);
        pair = got.remove(0);
    }
    for _ in 0..5 {
        let mut racing = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let pairs = Arc::clone(&scene.pairs);
            racing.spawn(async move {
                let info = json!({"id": 7});
                pairs.open_for(&label("shop"), ALONE, &info).await.expect("let in")
            });
        }
        let opened = racing.join_all().await;
        let mut left = 0;
        for pair in &opened {
            left += usize::from(scene.good("shop", &pair.access_token).await.is_some());
        }
        assert_eq!(left, 1, "remembered or not");
    }
}

/// What may happen between the moment a refresh has looked at user and client and the moment the registry is asked, and whether
/// the refresh gets a pair all the same.
const MEANWHILE: [(&str, bool); 7] = [
    ("user disabled", false),
    ("password", false),
    ("user deleted", false),
    ("client disabled", false),
    ("logout", false),
    ("information", true),
    ("permissions", true),
];

#[tokio::test]
async fn a_refresh_does_not_outlive_what_changes_meanwhile() {
    for (what, goes_on) in MEANWHILE {
        let scene = Scene::new().await;
        let pair = scene.log_in("shop", LIFETIMES).await;
        scene.house.gate.close_opening();
        let (pairs, token) = (Arc::clone(&scene.pairs), pair.refresh_token.clone());
        let refreshing = tokio::spawn(async move { pairs.refresh(&label("shop"), LIFETIMES, token.expose()).await });
        scene.house.gate.wait_for_reader().await;
        match what {
            "user disabled" => scene.change(UserChange { enabled: Some(false), ..UserChange::default() }).await,
            "password" => scene.change(UserChange { password: Some("n3w".into()), ..UserChange::default() }).await,
            "user deleted" => {
                scene.house.parts.users.delete(&actor(), &label("ada"), always).await.expect("deleted");
            }
            "client disabled" => scene.house.enable("shop", false).await,
            "logout" => scene.pairs.end(shown(&pair.access_token)).await.expect("ended"),
            "information" => {
                scene.change(UserChange { user_info: Some(json!({"id": 8})), ..UserChange::default() }).await;
            }
            _ => {
                let services = vec!["orders/v1".parse().expect("a grant")];
                scene.house.declare("shop", Client { services, ..Client::default() }).await;
            }
        }
        scene.house.gate.open();
        let found = refreshing.await.expect("no panic");
        let got = matches!(&found, Ok(Some(_)));
        assert_eq!(got, goes_on, "{what}: {found:?}");
        let left = scene.house.memory.sessions(&label("ada")).await.expect("read");
        assert_eq!(left.len(), usize::from(goes_on), "{what}");
        if let Ok(Some(next)) = found {
            assert_eq!(next.user_info.as_ref() == r#"{"id":8}"#, what == "information");
            assert_eq!(scene.good("shop", &next.access_token).await, Some(100));
        }
    }
}

#[tokio::test]
async fn no_pair_is_opened_or_refreshed_for_a_client_that_is_disabled_meanwhile() {
    for refreshes in [true, false] {
        let scene = Scene::new().await;
        let pair = scene.log_in("shop", LIFETIMES).await;
        scene.house.gate.close_opening();
        let (pairs, token) = (Arc::clone(&scene.pairs), pair.refresh_token.clone());
        let asking = tokio::spawn(async move {
            match refreshes {
                true => pairs.refresh(&label("shop"), LIFETIMES, token.expose()).await.map(drop),
                false => pairs.open_for(&label("shop"), LIFETIMES, &json!({"id": 7})).await.map(drop),
            }
        });
        scene.house.gate.wait_for_reader().await;
        // Without the end of its sessions, as by a change that was cut short.
        let mut row = scene.house.memory.get(Kind::Client, "shop").await.expect("read").expect("there");
        row.body = serde_json::to_string(&Client { enabled: false, ..Client::default() }).expect("JSON");
        scene.house.memory.commit(vec![Write::Put { row, expect: Expect::Any }]).await.expect("written");
        scene.house.gate.open();
        assert_eq!(asking.await.expect("no panic"), Err(Refusal::DisabledClient));
        assert!(scene.house.memory.sessions(&Label::kept("shop/id=7").expect("kept")).await.expect("read").is_empty());
    }
}

#[tokio::test]
async fn a_registry_that_is_away_uses_nothing_up() {
    let scene = Scene::new().await;
    let pair = scene.log_in("shop", LIFETIMES).await;
    let shop = label("shop");
    scene.house.memory.set_away(true);
    assert_eq!(
        code(scene.pairs.refresh(&shop, LIFETIMES, pair.refresh_token.expose()).await),
        Some("registry_unavailable")
    );
    assert_eq!(code(scene.pairs.open_for(&shop, LIFETIMES, &json!({})).await), Some("registry_unavailable"));
    assert_eq!(code(scene.pairs.end_by_access(&shop, pair.access_token.expose()).await), Some("registry_unavailable"));
    let remaining = scene.pairs.remaining(&shop, pair.access_token.expose()).await.expect("remembered");
    assert!(remaining.is_some(), "what is remembered goes on");
    scene.house.memory.set_away(false);
    assert!(scene.refresh("shop", &pair.refresh_token).await.is_some());
}

#[tokio::test]
async fn a_user_changes_the_password_and_is_logged_out_everywhere() {
    let scene = Scene::new().await;
    let (pair, elsewhere) = (scene.log_in("shop", LIFETIMES).await, scene.log_in("till", LIFETIMES).await);
    let change = async |old: &str, new: &str| {
        scene.pairs.change_password(HERE, &label("ada"), old.into(), new.into()).await.map_err(|refusal| refusal.code())
    };
    assert_eq!(change("wrong", "n3w").await, Ok(Changed::Wrong));
    assert_eq!(change("s3cret", "").await, Ok(Changed::Unfit("a password has at least one character")));
    assert_eq!(change("s3cret", &"x".repeat(1_025)).await, Ok(Changed::Unfit("a password has at most 1024 bytes")));
    assert_eq!(scene.good("shop", &pair.access_token).await, Some(100));
    assert_eq!(change("s3cret", "n3w").await, Ok(Changed::Done));
    for (client, pair) in [("shop", &pair), ("till", &elsewhere)] {
        assert_eq!(scene.good(client, &pair.access_token).await, None);
        assert!(scene.refresh(client, &pair.refresh_token).await.is_none());
    }
    assert_eq!(change("s3cret", "n3w").await, Ok(Changed::Wrong));
    let by_new = scene.pairs.log_in(HERE, &label("shop"), LIFETIMES, "ada", "n3w".into()).await;
    assert!(by_new.is_ok());
    let query = AuditQuery { from: AuditFrom::Before(u64::MAX), limit: 1, kind: None, key: None };
    let trail = scene.house.memory.audit(query).await.expect("read");
    assert_eq!(trail[0].entry.actor, Actor::user(&label("ada"), Some(HERE)));
    assert!(!format!("{trail:?}").contains("n3w"));
    scene.change(UserChange { enabled: Some(false), ..UserChange::default() }).await;
    assert_eq!(change("n3w", "n4w").await, Ok(Changed::Wrong));
    for _ in 0..20 {
        assert_ne!(change("guess", "x").await, Ok(Changed::Done));
    }
    assert_eq!(change("n3w", "n4w").await, Err("login_locked"), "guesses are counted as at logins");
}

#[tokio::test]
async fn of_two_who_change_a_password_at_once_one_does() {
    let scene = Scene::new().await;
    let change = |new: &'static str| {
        let pairs = Arc::clone(&scene.pairs);
        tokio::spawn(async move { pairs.change_password(HERE, &label("ada"), "s3cret".into(), new.into()).await })
    };
    let (one, other) = (change("one"), change("other"));
    let outcomes = [one.await.expect("no panic").expect("answered"), other.await.expect("no panic").expect("answered")];
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Changed::Done).count(), 1, "{outcomes:?}");
    let winner = if outcomes[0] == Changed::Done { "one" } else { "other" };
    assert!(scene.pairs.log_in(HERE, &label("shop"), LIFETIMES, "ada", winner.into()).await.is_ok());
}

fn brought(access: &str, refresh: &str, user_info: Value, access_ttl: u64, refresh_ttl: u64) -> ImportedPair {
    ImportedPair {
        access: opaque::hash(Use::Access, access),
        refresh: opaque::hash(Use::Refresh, refresh),
        user_info,
        access_ttl: Duration::from_secs(access_ttl),
        refresh_ttl: Duration::from_secs(refresh_ttl),
    }
}

#[tokio::test]
async fn pairs_of_another_gateway_go_on_here_and_do_not_come_back() {
    let scene = Scene::new().await;
    let token = |letter: &str| Secret::from(letter.repeat(27));
    let bring = async |pairs: Vec<ImportedPair>| {
        scene.pairs.import(&label("shop"), pairs).await.map_err(|refusal| refusal.code())
    };
    let info = || json!({"id": 7});
    let all = || {
        vec![
            brought(token("a").expose(), token("b").expose(), info(), 50, 500),
            brought(token("c").expose(), token("d").expose(), info(), 0, 500),
            brought(token("e").expose(), token("f").expose(), info(), 0, 0),
            brought(token("g").expose(), token("h").expose(), json!("x".repeat(20_000)), 9, 9),
        ]
    };
    let done = bring(all()).await.expect("taken");
    assert_eq!(done, Imported { taken: 2, known: 0, expired: 1, too_large: 1, inexact: 0 });
    assert_eq!(scene.good("shop", &token("a")).await, Some(50));
    assert_eq!(scene.good("till", &token("a")).await, None);
    assert_eq!((scene.good("shop", &token("c")).await, scene.good("shop", &token("b")).await), (None, None));
    let again = Imported { taken: 0, known: 2, expired: 1, too_large: 1, inexact: 0 };
    assert_eq!(bring(all()).await, Ok(again));
    let first = scene.refresh("shop", &token("b")).await.expect("refreshed");
    assert_eq!(first.user.as_str(), "shop/id=7");
    scene.pairs.end_by_access(&label("shop"), token("c").expose()).await.expect("ended");
    assert_eq!(bring(all()).await, Ok(again));
    for gone in ["a", "c"] {
        assert_eq!(scene.good("shop", &token(gone)).await, None, "{gone}");
    }
    for gone in ["b", "d"] {
        assert!(scene.refresh("shop", &token(gone)).await.is_none(), "{gone}");
    }
    // Beyond its own time, whatever the clocks of two machines make of it.
    scene.advance(500);
    scene.house.parts.sessions.prune().await.expect("pruned");
    assert_eq!(bring(all()).await, Ok(again));
    scene.advance(86_400);
    scene.house.parts.sessions.prune().await.expect("pruned");
    assert_eq!(bring(all()).await.expect("taken").taken, 2, "in the end it is forgotten");
    assert_eq!(bring(vec![all().remove(0); MAX_IMPORTED_PAIRS + 1]).await, Err("too_many_pairs"));
    for client in ["disabled", "nobody"] {
        let refused = scene.pairs.import(&label(client), all()).await;
        assert_eq!(refused, Err(Refusal::DisabledClient), "{client}");
    }
}

#[tokio::test]
async fn a_session_that_lasts_shorter_here_is_remembered_for_its_time_there() {
    let lasting = LoginSettings { session_ttl: Duration::from_secs(100), ..LoginSettings::default() };
    let scene = Scene::with(lasting).await;
    let a = Secret::from("a".repeat(27));
    let bring = async || {
        let pairs = vec![brought(a.expose(), &"b".repeat(27), json!({"id": 7}), 1_000_000, 1_000_000)];
        scene.pairs.import(&label("shop"), pairs).await.expect("taken")
    };
    assert_eq!(bring().await.taken, 1);
    assert_eq!(scene.good("shop", &a).await, Some(100));
    for _ in 0..9 {
        scene.advance(100_000);
        scene.house.parts.sessions.prune().await.expect("pruned");
        assert_eq!(bring().await.known, 1);
        assert_eq!(scene.good("shop", &a).await, None);
    }
}

mod foreign;
mod model;
