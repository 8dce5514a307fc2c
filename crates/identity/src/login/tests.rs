//! Logins, rotation, grace and reuse over the registry in memory.

use portcullis_core::ports::{ChangeError, Expect, Kind, Write};
use serde_json::json;

use super::*;
use crate::master::MasterKey;
use crate::testing::{CLIENT_KEY, HERE, House, actor, label};
use crate::users::{UserChange, UserError, always};

const WRONG: Option<&str> = Some("unknown user or wrong password");
const REUSED: Option<&str> = Some("a refresh token was used again; its session has been ended");
const ENDED: Option<&str> = Some("the session has ended");
const FORGED: Option<&str> = Some("not a refresh token");

async fn house() -> House {
    let house = House::new(LoginSettings::default()).await;
    house.create_user("ada", "s3cret", json!({"id": 7, "name": "Ada"})).await;
    house
}

impl House {
    async fn ada(&self) -> TokenReply {
        self.login.log_in(HERE, label(DEFAULT_CLIENT), "ada", "s3cret".into()).await.expect("logged in")
    }

    async fn refresh(&self, token: &Secret) -> Result<TokenReply, Option<String>> {
        self.login.refresh(&label(DEFAULT_CLIENT), token.expose()).await.map_err(|refusal| reason(&refusal))
    }

    fn session(&self, reply: &TokenReply) -> SessionId {
        self.parts.tokens.verify(reply.access_token.expose()).expect("verified").sid
    }

    async fn lives(&self, id: SessionId) -> bool {
        self.parts.registry.session(id).await.expect("read").is_some()
    }
}

/// What only the operator reads of a 401.
fn reason(refusal: &Refusal) -> Option<String> {
    assert_eq!(refusal.facts().status, 401, "{refusal:?}");
    refusal.private().map(str::to_owned)
}

fn refused(found: Result<TokenReply, Option<String>>) -> Option<String> {
    found.err().flatten()
}

#[tokio::test]
async fn a_login_gives_tokens_that_verify() {
    let house = house().await;
    let reply = house.ada().await;
    let claims = house.parts.tokens.verify(reply.access_token.expose()).expect("verified");
    assert_eq!((claims.sub.as_str(), claims.client_id.as_str()), ("ada", "default"));
    assert_eq!(claims.exp - claims.iat, 300);
    let live = house.parts.sessions.cached(claims.sid).expect("remembered");
    assert_eq!(live.user_json, crate::sessions::user_json_header(r#"{"id":7,"name":"Ada"}"#));
    let body = serde_json::to_value(&reply).expect("JSON");
    assert_eq!(
        body,
        json!({
            "access_token": reply.access_token.expose(), "refresh_token": reply.refresh_token.expose(),
            "token_type": "Bearer", "expires_in": 300, "refresh_expires_in": 86_400,
        })
    );
    let shown = format!("{reply:?} {:?}", house.login);
    assert!(!shown.contains(reply.access_token.expose()) && !shown.contains("pcf_"), "{shown}");
    let stored = house.parts.registry.session(claims.sid).await.expect("read").expect("alive");
    assert_eq!(stored.refresh, crate::keys::hash_key(reply.refresh_token.expose()), "only a hash is stored");
}

#[tokio::test]
async fn wrong_and_unknown_are_one_answer() {
    let house = house().await;
    for (name, password) in [("ada", "S3cret"), ("ada", ""), ("eve", "s3cret"), ("no/label", "x"), ("", "")] {
        let found = house.login.log_in(HERE, label(DEFAULT_CLIENT), name, password.into()).await;
        assert_eq!(found.map(drop).map_err(|refusal| reason(&refusal)), Err(WRONG.map(str::to_owned)), "{name}");
    }
    let long = house.login.log_in(HERE, label(DEFAULT_CLIENT), "ada", "x".repeat(1025).into()).await;
    assert_eq!(long.expect_err("too long").facts().status, 400);
}

#[tokio::test]
async fn a_login_needs_an_enabled_client() {
    let house = house().await;
    for client in ["nobody", "disabled"] {
        let found = house.login.log_in(HERE, label(client), "ada", "s3cret".into()).await;
        let expected = format!("the client '{client}' is not known or is disabled");
        assert_eq!(found.map(drop).map_err(|refusal| reason(&refusal)), Err(Some(expected)));
    }
    let reply = house.ada().await;
    house.enable(DEFAULT_CLIENT, false).await;
    assert_eq!(refused(house.refresh(&reply.refresh_token).await).as_deref(), ENDED);
    house.enable(DEFAULT_CLIENT, true).await;
    assert_eq!(refused(house.refresh(&reply.refresh_token).await).as_deref(), ENDED, "and does not come back");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_successor_after_it() {
    let house = house().await;
    let mut reply = house.ada().await;
    let session = house.session(&reply);
    for _ in 0..5 {
        house.clock.advance(Duration::from_secs(60));
        let next = house.refresh(&reply.refresh_token).await.expect("refreshed");
        assert!(next.refresh_token != reply.refresh_token && next.access_token != reply.access_token);
        assert_eq!((house.session(&next), next.refresh_expires_in), (session, 86_400));
        assert_eq!((next.user.as_str(), next.client.as_str()), ("ada", "default"));
        reply = next;
    }
    house.clock.advance(Duration::from_secs(86_400));
    assert_eq!(refused(house.refresh(&reply.refresh_token).await).as_deref(), ENDED);
}

#[tokio::test]
async fn within_the_grace_the_predecessor_gets_the_same_successor() {
    let house = house().await;
    let first = house.ada().await;
    let second = house.refresh(&first.refresh_token).await.expect("refreshed");
    house.clock.advance(Duration::from_millis(9_999));
    let again = house.refresh(&first.refresh_token).await.expect("repeated");
    assert!(again.refresh_token == second.refresh_token);
    assert_eq!(again.refresh_expires_in, 86_391, "its life is not made longer");
    house.parts.tokens.verify(again.access_token.expose()).expect("a good access token");
    // A repeated answer does not prolong the grace.
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(refused(house.refresh(&first.refresh_token).await).as_deref(), REUSED);
    assert_eq!(refused(house.refresh(&second.refresh_token).await).as_deref(), ENDED);
}

#[tokio::test]
async fn an_older_token_ends_the_session_even_within_the_grace() {
    let house = house().await;
    let first = house.ada().await;
    let session = house.session(&first);
    let second = house.refresh(&first.refresh_token).await.expect("refreshed");
    let third = house.refresh(&second.refresh_token).await.expect("refreshed");
    assert!(house.parts.sessions.cached(session).is_some());
    assert_eq!(refused(house.refresh(&first.refresh_token).await).as_deref(), REUSED);
    assert!(!house.lives(session).await && house.parts.sessions.cached(session).is_none());
    assert_eq!(refused(house.refresh(&third.refresh_token).await).as_deref(), ENDED);
}

#[tokio::test]
async fn without_grace_every_second_use_ends_the_session() {
    let house = House::new(LoginSettings { refresh_grace: Duration::ZERO, ..LoginSettings::default() }).await;
    house.create_user("ada", "s3cret", json!({})).await;
    let first = house.ada().await;
    house.refresh(&first.refresh_token).await.expect("refreshed");
    assert_eq!(refused(house.refresh(&first.refresh_token).await).as_deref(), REUSED);
}

#[tokio::test]
async fn a_forged_token_changes_nothing() {
    let house = house().await;
    let reply = house.ada().await;
    let session = house.session(&reply);
    // The session id is no secret: it stands in the access token. Another master key cannot make its tokens.
    let stranger = MasterKey::generate().0;
    for generation in [0, 1, 2, u32::MAX] {
        let forged = RefreshToken { session, generation }.text(&stranger);
        assert_eq!(refused(house.refresh(&forged).await).as_deref(), FORGED);
        house.login.revoke(forged.expose()).await.expect("fine");
    }
    for other in ["", "pcf_", reply.access_token.expose()] {
        assert_eq!(refused(house.refresh(&other.into()).await).as_deref(), FORGED);
        house.login.revoke(other).await.expect("fine");
    }
    assert!(house.lives(session).await && house.parts.sessions.cached(session).is_some());
    house.refresh(&reply.refresh_token).await.expect("still good");
    // The last generation has no successor.
    let last = RefreshToken { session, generation: u32::MAX }.text(&house.parts.master);
    assert!(refused(house.refresh(&last).await).expect("refused").contains("run out"));
}

#[tokio::test]
async fn revoking_ends_the_session_with_a_token_of_any_generation() {
    let house = house().await;
    let (first, other) = (house.ada().await, house.ada().await);
    let session = house.session(&first);
    let second = house.refresh(&first.refresh_token).await.expect("refreshed");
    for token in [&first.refresh_token, &second.refresh_token] {
        house.login.revoke(token.expose()).await.expect("ended, or ended already");
        assert!(!house.lives(session).await && house.parts.sessions.cached(session).is_none());
    }
    assert_eq!(refused(house.refresh(&second.refresh_token).await).as_deref(), ENDED);
    assert!(house.lives(house.session(&other)).await, "nobody else's");
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_the_oldest_ends() {
    let house = House::new(LoginSettings { sessions_per_user: 2, ..LoginSettings::default() }).await;
    house.create_user("ada", "s3cret", json!({})).await;
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(house.session(&house.ada().await));
        house.clock.advance(Duration::from_secs(1));
    }
    // Whether the others are remembered is up to the cache; that the oldest is not, must hold at once.
    assert!(house.parts.sessions.cached(opened[0]).is_none());
    assert!(!house.lives(opened[0]).await && house.lives(opened[1]).await && house.lives(opened[2]).await);
}

#[tokio::test]
async fn a_session_that_outlived_its_user_ends_at_the_next_refresh() {
    let house = house().await;
    let reply = house.ada().await;
    let gone = Write::Delete { kind: Kind::User, key: "ada".into(), expect: Expect::Any };
    house.parts.registry.commit(vec![gone]).await.expect("deleted");
    assert!(refused(house.refresh(&reply.refresh_token).await).is_some());
    assert!(!house.lives(house.session(&reply)).await);
}

#[tokio::test]
async fn a_deleted_user_has_no_sessions_left() {
    let house = house().await;
    let reply = house.ada().await;
    house.parts.users.delete(&actor(), &label("ada"), always).await.expect("deleted");
    assert_eq!(refused(house.refresh(&reply.refresh_token).await).as_deref(), ENDED);
    let found = house.login.log_in(HERE, label(DEFAULT_CLIENT), "ada", "s3cret".into()).await;
    assert_eq!(found.map(drop).map_err(|refusal| reason(&refusal)), Err(WRONG.map(str::to_owned)));
}

#[tokio::test]
async fn a_session_opened_while_its_user_changes_does_not_outlive_the_change() {
    for delete in [true, false] {
        let house = house().await;
        // The login has verified the password and opens its session only after the change has gone through.
        house.gate.close_opening();
        let login = Arc::clone(&house.login);
        let opening =
            tokio::spawn(async move { login.log_in(HERE, label(DEFAULT_CLIENT), "ada", "s3cret".into()).await });
        house.gate.wait_for_reader().await;
        if delete {
            house.parts.users.delete(&actor(), &label("ada"), always).await.expect("deleted");
        } else {
            let change = UserChange { password: Some("n3w".into()), ..UserChange::default() };
            house.parts.users.update(&actor(), &label("ada"), change, always).await.expect("changed");
        }
        house.gate.open();
        let found = opening.await.expect("no panic").map(drop).map_err(|refusal| reason(&refusal));
        assert_eq!(found, Err(Some("the user was changed during the login".to_owned())));
        let left = portcullis_core::ports::SessionsOf::User(label("ada"));
        assert_eq!(house.parts.registry.end_sessions(left).await.expect("read").len(), 0);
    }
}

#[tokio::test]
async fn a_user_that_cannot_be_read_is_a_fault_and_no_wrong_password() {
    let house = house().await;
    let mut row = house.parts.registry.get(Kind::User, "ada").await.expect("read").expect("there");
    row.body = "{}".to_owned();
    let write = Write::Put { row, expect: Expect::Any };
    house.parts.registry.commit(vec![write]).await.expect("written");
    let found = house.login.log_in(HERE, label(DEFAULT_CLIENT), "ada", "s3cret".into()).await;
    assert_eq!(found.expect_err("a fault").code(), "internal");
}

/// What may happen to a user, a client or a key between the moment a login has verified its password, or a refresh has
/// looked at its user, and the moment the registry is asked.
const CHANGES: [(&str, bool); 8] = [
    ("the client is deleted", false),
    ("the client is disabled", false),
    ("the client is deleted and made anew", false),
    ("the user is deleted", false),
    ("the user is disabled", false),
    ("the password is changed", false),
    ("the information is changed", true),
    ("the client's permissions are changed", true),
];

async fn change(house: &House, what: &str) {
    let update = async |change: UserChange| {
        house.parts.users.update(&actor(), &label("ada"), change, always).await.expect("changed");
    };
    match what {
        "the client is deleted" => house.delete_client("shop").await,
        "the client is disabled" => house.enable("shop", false).await,
        "the client is deleted and made anew" => {
            house.delete_client("shop").await;
            let gone = Write::Delete {
                kind: Kind::ApiKey,
                key: crate::keys::hash_key(CLIENT_KEY).to_hex(),
                expect: Expect::Any,
            };
            house.write(vec![gone]).await;
            house.enable("shop", true).await;
        }
        "the user is deleted" => {
            house.parts.users.delete(&actor(), &label("ada"), always).await.expect("deleted");
        }
        "the user is disabled" => update(UserChange { enabled: Some(false), ..UserChange::default() }).await,
        "the password is changed" => update(UserChange { password: Some("n3w".into()), ..UserChange::default() }).await,
        "the information is changed" => {
            update(UserChange { user_info: Some(json!({"id": 8})), ..UserChange::default() }).await;
        }
        _ => {
            let row = house.parts.registry.get(Kind::Client, "shop").await.expect("read").expect("there");
            let row = Row { revision: 2, ..row };
            house.write(vec![Write::Put { row, expect: Expect::Any }]).await;
        }
    }
}

#[tokio::test]
async fn a_login_does_not_survive_what_happens_while_it_opens_its_session() {
    for (what, survives) in CHANGES {
        let house = house().await;
        house.gate.close_opening();
        let login = Arc::clone(&house.login);
        let through = Through { client: label("shop"), key: Some(crate::keys::hash_key(CLIENT_KEY)) };
        let opening = tokio::spawn(async move { login.log_in(HERE, through, "ada", "s3cret".into()).await });
        house.gate.wait_for_reader().await;
        change(&house, what).await;
        house.gate.open();
        let found = opening.await.expect("no panic");
        let left = house.parts.registry.sessions(&label("ada")).await.expect("read");
        assert_eq!((found.is_ok(), left.len()), (survives, usize::from(survives)), "{what}");
        match found {
            Ok(reply) => {
                let live = house.parts.sessions.fetch(house.session(&reply)).await.expect("read").expect("alive");
                let stored = house.parts.users.get(&label("ada")).await.expect("read").expect("there");
                assert_eq!(live.user_json, crate::sessions::user_json_header(&stored.user_info.to_string()), "{what}");
            }
            Err(refusal) => assert!(reason(&refusal).is_some(), "{what}"),
        }
    }
}

#[tokio::test]
async fn a_refresh_does_not_survive_what_happens_while_it_is_done() {
    for (what, survives) in CHANGES {
        let house = house().await;
        let reply = house.login.log_in(HERE, label("shop"), "ada", "s3cret".into()).await.expect("logged in");
        house.gate.close_opening();
        let (login, token) = (Arc::clone(&house.login), reply.refresh_token.clone());
        let refreshing = tokio::spawn(async move { login.refresh(&label("shop"), token.expose()).await });
        house.gate.wait_for_reader().await;
        change(&house, what).await;
        house.gate.open();
        let found = refreshing.await.expect("no panic");
        assert_eq!(found.is_ok(), survives, "{what}");
        assert_eq!(
            house.parts.registry.sessions(&label("ada")).await.expect("read").len(),
            usize::from(survives),
            "{what}"
        );
        if let Ok(next) = found {
            let session = house.parts.registry.session(house.session(&next)).await.expect("read").expect("alive");
            let stored = house.parts.users.get(&label("ada")).await.expect("read").expect("there");
            assert_eq!(session.user_info.as_ref(), stored.user_info.to_string(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_refresh_reads_the_user_anew() {
    let house = house().await;
    let reply = house.ada().await;
    let id = house.session(&reply);
    // Written past everything that would tell the sessions.
    let mut row = house.parts.registry.get(Kind::User, "ada").await.expect("read").expect("there");
    row.body = row.body.replace("Ada", "Eve");
    let write = Write::Put { row, expect: Expect::Any };
    house.parts.registry.commit(vec![write]).await.expect("written");
    house.refresh(&reply.refresh_token).await.expect("refreshed");
    let live = house.parts.sessions.fetch(id).await.expect("read").expect("alive");
    assert_eq!(live.user_json, crate::sessions::user_json_header(r#"{"id":7,"name":"Eve"}"#));
}

#[tokio::test]
async fn a_refresh_is_for_the_client_the_session_was_opened_through() {
    let house = house().await;
    let (of_shop, of_default) =
        (house.login.log_in(HERE, label("shop"), "ada", "s3cret".into()).await.expect("in"), house.ada().await);
    for (token, owner) in [(&of_shop.refresh_token, "shop"), (&of_default.refresh_token, DEFAULT_CLIENT)] {
        for other in ["shop", DEFAULT_CLIENT, "disabled", "nobody"].into_iter().filter(|other| *other != owner) {
            let found = house.login.refresh(&label(other), token.expose()).await.map_err(|refusal| reason(&refusal));
            assert!(refused(found).expect("refused").contains("opened through"), "{owner} {other}");
        }
        house.login.refresh(&label(owner), token.expose()).await.expect("nothing was used up");
    }
}

#[tokio::test]
async fn a_session_ends_however_often_it_is_refreshed() {
    let settings = LoginSettings { session_ttl: Duration::from_secs(1_000), ..LoginSettings::default() };
    let house = House::new(settings).await;
    house.create_user("ada", "s3cret", json!({})).await;
    let mut reply = house.ada().await;
    let id = house.session(&reply);
    assert_eq!(reply.refresh_expires_in, 1_000, "no refresh token outlives the session");
    for (left, access) in [(800, 300), (600, 300), (400, 300), (200, 200)] {
        house.clock.advance(Duration::from_secs(200));
        reply = house.refresh(&reply.refresh_token).await.expect("refreshed");
        assert_eq!((reply.refresh_expires_in, reply.expires_in), (left, access), "nor an access token");
    }
    let last = reply.access_token.expose().to_owned();
    house.clock.advance(Duration::from_secs(199));
    assert!(house.parts.tokens.verify(&last).is_ok());
    house.clock.advance(Duration::from_secs(1));
    assert!(house.parts.tokens.verify(&last).is_err());
    assert!(refused(house.refresh(&reply.refresh_token).await).is_some());
    assert!(!house.lives(id).await);
    // Without one it goes on for ever.
    let house = House::new(LoginSettings { session_ttl: Duration::ZERO, ..LoginSettings::default() }).await;
    house.create_user("ada", "s3cret", json!({})).await;
    let mut reply = house.ada().await;
    for _ in 0..100 {
        house.clock.advance(Duration::from_secs(80_000));
        reply = house.refresh(&reply.refresh_token).await.expect("refreshed");
    }
    assert_eq!((reply.refresh_expires_in, reply.expires_in), (86_400, 300));
}

#[tokio::test]
async fn a_disabled_user_is_answered_like_a_wrong_password() {
    let house = house().await;
    let reply = house.ada().await;
    let set = |enabled: bool| UserChange { enabled: Some(enabled), ..UserChange::default() };
    house.parts.users.update(&actor(), &label("ada"), set(false), always).await.expect("changed");
    let log_in = async |password: &str| house.login.log_in(HERE, label(DEFAULT_CLIENT), "ada", password.into()).await;
    let shown = |refusal: Refusal| format!("{:?}", refusal.facts());
    let (right, wrong) = (log_in("s3cret").await.expect_err("refused"), log_in("x").await.expect_err("refused"));
    assert_eq!(reason(&right).as_deref(), Some("the user is disabled"), "for the operator alone");
    assert_eq!(shown(right), shown(wrong));
    assert_eq!(refused(house.refresh(&reply.refresh_token).await).as_deref(), ENDED);
    house.parts.users.update(&actor(), &label("ada"), set(true), always).await.expect("changed");
    house.ada().await;
    assert_eq!(refused(house.refresh(&reply.refresh_token).await).as_deref(), ENDED);
}

/// Ends the sessions of Ada, or those through `shop`, in one of the ways there are.
async fn end(house: &House, way: &str, id: SessionId, used: &Secret) {
    let (users, ada) = (&house.parts.users, label("ada"));
    let change = async |change: UserChange| {
        users.update(&actor(), &label("ada"), change, always).await.expect("changed");
    };
    match way {
        "the user is deleted" => users.delete(&actor(), &ada, always).await.expect("deleted"),
        "the user is disabled" => change(UserChange { enabled: Some(false), ..UserChange::default() }).await,
        "a new password" => change(UserChange { password: Some("n3w".into()), ..UserChange::default() }).await,
        "all are ended" => drop(users.end_sessions(&actor(), &ada, None).await.expect("ended")),
        "this one is ended" => drop(users.end_sessions(&actor(), &ada, Some(id)).await.expect("ended")),
        "the client is deleted" => house.delete_client("shop").await,
        "the client is disabled" => house.enable("shop", false).await,
        "a token is used again" => {
            assert!(house.login.refresh(&label("shop"), used.expose()).await.is_err());
        }
        "it is revoked" => house.login.revoke(used.expose()).await.expect("revoked"),
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn every_way_ends_what_is_remembered_whatever_the_registry_has_left() {
    let settings = LoginSettings {
        access_ttl: Duration::from_secs(3_600),
        refresh_ttl: Duration::from_secs(60),
        session_ttl: Duration::ZERO,
        ..LoginSettings::default()
    };
    let ways = [
        "the user is deleted",
        "the user is disabled",
        "a new password",
        "all are ended",
        "this one is ended",
        "the client is deleted",
        "the client is disabled",
        "a token is used again",
        "it is revoked",
    ];
    for way in ways {
        for state in ["alive", "run out", "run out and pruned", "out of the registry unnoticed"] {
            let house = House::new(settings).await;
            house.create_user("ada", "s3cret", json!({})).await;
            let first = house.login.log_in(HERE, label("shop"), "ada", "s3cret".into()).await.expect("in");
            let id = house.session(&first);
            house.clock.advance(Duration::from_secs(30));
            house.login.refresh(&label("shop"), first.refresh_token.expose()).await.expect("refreshed");
            // The first refresh token is over; the session goes on.
            house.clock.advance(Duration::from_secs(40));
            let clock = Arc::clone(&house.clock);
            let (directory, sessions) = (Arc::clone(&house.parts.directory), Arc::clone(&house.parts.sessions));
            let standing = crate::Revocations::new(directory, sessions, Arc::new(crate::testing::Control), clock);
            let admitted_by = portcullis_core::call::AdmittedBy { session: Some(id), ..Default::default() };
            let sessions = &house.parts.sessions;
            let stands = async || portcullis_core::ports::Welcome::stands(&standing, &admitted_by).await;
            assert!(sessions.cached(id).is_some() && stands().await, "{way}, {state}: its end has moved");
            match state {
                "run out" => house.clock.advance(Duration::from_secs(20)),
                "run out and pruned" => {
                    house.clock.advance(Duration::from_secs(20));
                    assert_eq!(sessions.prune().await.expect("pruned"), 1);
                }
                "out of the registry unnoticed" => {
                    house.parts.registry.prune_sessions(u64::MAX, 9).await.expect("pruned");
                    assert!(sessions.cached(id).is_some());
                }
                _ => {}
            }
            if state.starts_with("run out") {
                let found = sessions.fetch(id).await.expect("read");
                assert!(sessions.cached(id).is_none() && found.is_none() && !stands().await, "{way}, {state}");
            }
            end(&house, way, id, &first.refresh_token).await;
            let found = sessions.fetch(id).await.expect("read");
            assert!(sessions.cached(id).is_none() && found.is_none() && !stands().await, "{way}, {state}");
        }
    }
}

#[tokio::test]
async fn no_access_token_outlives_its_session_as_it_is_when_it_is_issued() {
    let settings = LoginSettings { refresh_ttl: Duration::from_secs(60), ..LoginSettings::default() };
    let house = House::new(settings).await;
    house.create_user("ada", "s3cret", json!({})).await;
    let first = house.ada().await;
    assert_eq!((first.expires_in, first.refresh_expires_in), (60, 60));
    house.clock.advance(Duration::from_secs(50));
    let second = house.refresh(&first.refresh_token).await.expect("refreshed");
    house.clock.advance(Duration::from_secs(5));
    let again = house.refresh(&first.refresh_token).await.expect("repeated");
    assert_eq!((second.expires_in, again.expires_in, again.refresh_expires_in), (60, 55, 55));
    house.clock.advance(Duration::from_secs(54));
    let verify = |reply: &TokenReply| house.parts.tokens.verify(reply.access_token.expose()).is_ok();
    assert_eq!([&first, &second, &again].map(verify), [false, true, true]);
    house.clock.advance(Duration::from_secs(1));
    assert_eq!([&first, &second, &again].map(verify), [false, false, false]);
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_as_that_and_counts_for_nobody_as_a_guess() {
    let house = House::new(LoginSettings::default()).await;
    house.create_user("ada", "s3cret", json!({})).await;
    let first = house.ada().await;
    let id = house.session(&first);
    house.memory.set_away(true);
    let is_away = |refusal: &Refusal| {
        let facts = refusal.facts();
        let told = (facts.status.as_u16(), facts.code, facts.retry_after);
        assert_eq!(told, (503, "registry_unavailable", Some(1)), "{refusal:?}");
    };
    for _ in 0..40 {
        is_away(&house.login.log_in(HERE, label(DEFAULT_CLIENT), "ada", "s3cret".into()).await.expect_err("away"));
    }
    is_away(&house.login.refresh(&label(DEFAULT_CLIENT), first.refresh_token.expose()).await.expect_err("away"));
    is_away(&house.login.revoke(first.refresh_token.expose()).await.expect_err("away"));
    let users = &house.parts.users;
    for refused in [
        users.create(&actor(), label("eve"), "p".into(), json!({})).await.map(drop),
        users.update(&actor(), &label("ada"), UserChange::default(), always).await.map(drop),
        users.delete(&actor(), &label("ada"), always).await,
        users.get(&label("ada")).await.map(drop),
        users.page("", 9).await.map(drop),
        users.sessions(&label("ada")).await.map(drop),
        users.end_sessions(&actor(), &label("ada"), None).await.map(drop),
    ] {
        let Err(UserError::Change(ChangeError::Registry(error))) = refused else { panic!("not away: {refused:?}") };
        is_away(&error.into());
    }
    assert!(house.parts.sessions.cached(id).is_some(), "what is remembered goes on");
    house.parts.sessions.forget_all();
    assert!(house.parts.sessions.fetch(id).await.is_err());
    assert!(house.parts.sessions.prune().await.is_err());
    house.memory.set_away(false);
    assert!(house.refresh(&first.refresh_token).await.is_ok(), "nothing was used up");
    house.ada().await;
}
