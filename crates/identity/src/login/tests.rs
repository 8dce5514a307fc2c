//! Logins, rotation, grace and reuse over the registry in memory.

use portcullis_core::ports::{Kind, Write};
use serde_json::json;

use super::*;
use crate::testing::{HERE, House, actor, label};
use crate::users::UserChange;

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
        self.login.refresh(token.expose()).await.map_err(|refusal| reason(&refusal))
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
    house.enable(DEFAULT_CLIENT, false);
    assert!(refused(house.refresh(&reply.refresh_token).await).expect("refused").contains("disabled"));
    house.enable(DEFAULT_CLIENT, true);
    assert!(house.refresh(&reply.refresh_token).await.is_ok(), "the refusal has used nothing up");
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
    let gone = Write::Delete { kind: Kind::User, key: "ada".into() };
    house.parts.registry.commit(vec![gone]).await.expect("deleted");
    assert!(refused(house.refresh(&reply.refresh_token).await).is_some());
    assert!(!house.lives(house.session(&reply)).await);
}

#[tokio::test]
async fn a_deleted_user_has_no_sessions_left() {
    let house = house().await;
    let reply = house.ada().await;
    house.parts.users.delete(&actor(), &label("ada"), None).await.expect("deleted");
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
            house.parts.users.delete(&actor(), &label("ada"), None).await.expect("deleted");
        } else {
            let change = UserChange { password: Some("n3w".into()), user_info: None };
            house.parts.users.update(&actor(), &label("ada"), change, None).await.expect("changed");
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
    let write = Write::Put { row, expect: portcullis_core::ports::Expect::Any };
    house.parts.registry.commit(vec![write]).await.expect("written");
    let found = house.login.log_in(HERE, label(DEFAULT_CLIENT), "ada", "s3cret".into()).await;
    assert_eq!(found.expect_err("a fault").code(), "internal");
}
