//! Changes of what is in nobody's memory (users), beside each other and beside changes of declarations, in one commit.

use std::sync::{Arc, Mutex};

use portcullis_core::audit::Actor;
use portcullis_core::model::{Label, Owner};
use portcullis_core::ports::{
    Becomes, ChangeError, Changing, Decision, Expect, Kind, Objects, Outcome, RegistryError, Row, Write,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Answer, House};

/// A user as it is stored, in a revision.
fn row(name: &str, revision: u64) -> Row {
    let body = json!({"password_hash": "x", "user_info": {"id": 7}, "created_at": 1}).to_string();
    Row { kind: Kind::User, key: name.to_owned(), revision, owner: Owner::Api, body }
}

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

impl House {
    async fn with_users(names: impl IntoIterator<Item = &str>) -> (Self, impl Future<Output = ()>) {
        let (house, starting) = Self::prepared().await;
        let put = |name| Write::Put { row: row(name, 1), expect: Expect::Absent };
        house.registry.commit(names.into_iter().map(put).collect()).await.expect("written");
        (house, starting)
    }

    /// Somebody else is faster with a change of this user so often in a row.
    fn rivals(&self, name: &str, times: u64) {
        for revision in 2..times + 2 {
            self.registry.rival(vec![Write::Put { row: row(name, revision), expect: Expect::Any }]);
        }
    }

    /// Changes a user who is there, whatever its revision.
    async fn put_user(&self, name: &str, body: Value) -> Answer {
        let fields = [("if-match", "*"), ("content-type", "application/json")];
        self.send_with("PUT", &format!("/api/v1/users/{name}"), &fields, body.to_string()).await
    }

    /// What the trail says of users, in order: action, revision, before, after.
    async fn told_of_users(&self) -> Vec<(String, u64, Value, Value)> {
        let trail = self.get("/audit?kind=user&after=0&limit=1000").await;
        let items = trail.fine(200)["items"].as_array().expect("items");
        let action = |item: &Value| item["action"].as_str().expect("a text").to_owned();
        let revision = |item: &Value| item["revision"].as_u64().expect("a number");
        items.iter().map(|item| (action(item), revision(item), item["before"].clone(), item["after"].clone())).collect()
    }
}

type Seen = Arc<Mutex<Vec<Option<(u64, String)>>>>;

/// Has a user become this, or nothing, and notes what it was when that was decided.
async fn become_this(
    house: &House,
    seen: &Seen,
    name: &str,
    body: Option<&'static str>,
) -> Result<Outcome, ChangeError> {
    let seen = Arc::clone(seen);
    let decide = move |row: Option<&Row>| {
        seen.lock().expect("no panic").push(row.map(|row| (row.revision, row.body.clone())));
        let object = body.map_or(Becomes::Gone, |body| Becomes::Body(body.to_owned()));
        Ok(Decision { object, sessions: None, before: None, after: None })
    };
    house.state.changes.change(&Actor::gateway(), Kind::User, name, Box::new(decide)).await
}

#[tokio::test]
async fn a_later_change_of_one_commit_sees_what_the_earlier_ones_leave() {
    let (house, starting) = House::with_users(["ada"]).await;
    let seen = Seen::default();
    let (changed, gone, gone_again, made, beside, last, ()) = tokio::join!(
        biased;
        become_this(&house, &seen, "ada", Some("1")),
        become_this(&house, &seen, "ada", None),
        become_this(&house, &seen, "ada", None),
        become_this(&house, &seen, "ada", Some("2")),
        become_this(&house, &seen, "bob", Some("3")),
        become_this(&house, &seen, "ada", Some("4")),
        starting,
    );
    let at = |revision: u64, body: &str| Some((revision, body.to_owned()));
    // Each was decided once: nobody met what another of them had left as if it were somebody else's.
    let expected = [at(1, &row("ada", 1).body), at(2, "1"), None, None, None, at(1, "2")];
    assert_eq!(*seen.lock().expect("no panic"), expected);
    let revisions = [changed, gone, gone_again, made, beside, last]
        .map(|done| done.expect("made").object.map(|row| (row.revision, row.body)));
    assert_eq!(revisions, [at(2, "1"), None, None, at(1, "2"), at(1, "3"), at(2, "4")]);
    assert_eq!(house.registry.get(Kind::User, "ada").await.expect("read").map(|row| row.revision), Some(2));
    let told: Vec<_> =
        house.told_of_users().await.into_iter().map(|(action, revision, ..)| (action, revision)).collect();
    let entry = |action: &str, revision: u64| (action.to_owned(), revision);
    let expected =
        [entry("changed", 2), entry("deleted", 2), entry("created", 1), entry("created", 1), entry("changed", 2)];
    assert_eq!(told, expected, "to take out what is not there is no change");
}

#[tokio::test]
async fn two_who_change_one_user_at_once_are_both_heard() {
    for rivals in [0, 1, 5] {
        let (house, starting) = House::with_users(["ada"]).await;
        house.rivals("ada", rivals);
        let (one, other, ()) = tokio::join!(
            biased;
            house.put_user("ada", json!({"user_info": {"id": 8}})),
            house.put_user("ada", json!({"enabled": false})),
            starting,
        );
        let mut revisions = [one, other].map(|answer| answer.fine(200)["revision"].as_u64().expect("a number"));
        revisions.sort_unstable();
        assert_eq!(revisions, [2 + rivals, 3 + rivals]);
        let shown = house.get("/users/ada").await;
        let shown = shown.fine(200);
        assert_eq!((&shown["user_info"], &shown["enabled"]), (&json!({"id": 8}), &json!(false)), "nothing is lost");
        let sides: Vec<_> =
            house.told_of_users().await.into_iter().map(|(_, _, before, after)| (before, after)).collect();
        assert_eq!(sides.len(), 2);
        assert!(sides.contains(&(json!({"user_info": {"id": 7}}), json!({"user_info": {"id": 8}}))), "{sides:?}");
        assert!(sides.contains(&(json!({"enabled": true}), json!({"enabled": false}))), "{sides:?}");
    }
}

#[tokio::test]
async fn what_a_user_conflicts_with_fails_nobody_beside_it() {
    let names: Vec<_> = (0..30).map(|number| format!("u{number}")).collect();
    let (house, starting) = House::with_users(names.iter().map(String::as_str).chain(["ada"])).await;
    let house = Arc::new(house);
    house.rivals("ada", 300);
    let mut tasks = JoinSet::new();
    for (number, name) in names.iter().cloned().enumerate() {
        let house = Arc::clone(&house);
        tasks.spawn(async move {
            let target = json!({"targets": [{"url": "http://127.0.0.1:9001"}]});
            match number % 3 {
                0 => house.put_user(&name, json!({"enabled": false})).await.fine(200).clone(),
                1 => house.delete(&format!("/users/{name}")).await.fine(204).clone(),
                _ => house.send("PUT", &format!("/services/{name}/v1"), target).await.fine(201).clone(),
            }
        });
    }
    let (ada, ()) = tokio::join!(biased; house.put_user("ada", json!({"enabled": false})), starting);
    ada.refused(503, "contended");
    assert_eq!(ada.header("retry-after"), "1");
    tasks.join_all().await;
    assert_eq!(house.get("/users/ada").await.fine(200)["enabled"], true);
    assert_eq!(house.get("/users/u0").await.fine(200)["enabled"], false);
    house.get("/users/u1").await.refused(404, "not_found");
    house.get("/services/u2/v1").await.fine(200);
}

#[tokio::test]
async fn who_is_refused_for_what_another_is_about_to_do_is_refused_only_if_that_is_done() {
    for rivals in [0, 1] {
        let (house, starting) = House::with_users(["ada"]).await;
        house.rivals("ada", rivals);
        // To delete this user comes first, and is decided against where somebody else is faster.
        let delete = [("if-match", "\"1\"")];
        let (deleted, changed, made, ()) = tokio::join!(
            biased;
            house.send_with("DELETE", "/api/v1/users/ada", &delete, ""),
            house.put_user("ada", json!({"enabled": false})),
            house.send("PUT", "/users/ada", json!({"user_info": {"id": 8}})),
            starting,
        );
        if rivals == 0 {
            deleted.fine(204);
            changed.refused(412, "precondition_failed");
            made.refused(404, "not_found");
        } else {
            deleted.refused(412, "precondition_failed");
            changed.fine(200);
            assert_eq!(made.fine(200)["enabled"], false);
        }
    }
}

#[tokio::test]
async fn sessions_that_end_count_for_the_change_that_ends_them() {
    let (house, starting) = House::with_users(["ada", "bob"]).await;
    for (number, user) in [(1, "ada"), (2, "ada"), (3, "bob"), (4, "bob")] {
        house.open_session(number, user, "shop").await;
    }
    let users = &house.state.users;
    let (actor, ada, bob) = (Actor::gateway(), label("ada"), label("bob"));
    let id = house.open_session(5, "bob", "shop").await;
    let (first, again, one, gone, ()) = tokio::join!(
        biased;
        users.end_sessions(&actor, &ada, None),
        users.end_sessions(&actor, &ada, None),
        users.end_sessions(&actor, &bob, Some(id)),
        users.delete(&actor, &bob, |_| Ok(())),
        starting,
    );
    gone.expect("deleted");
    assert_eq!([first, again, one].map(|ended| ended.expect("ended")), [2, 0, 1]);
    for number in 1..6 {
        let id = portcullis_core::ports::SessionId([number; 16]);
        assert!(house.state.sessions.cached(id).is_none(), "{number}");
    }
}

#[tokio::test]
async fn a_declaration_does_not_change_by_its_row() {
    let house = House::new().await;
    let decide = |_: Option<&Row>| {
        Ok(Decision { object: Becomes::Body("{}".to_owned()), sessions: None, before: None, after: None })
    };
    for kind in Kind::AUDITED.into_iter().filter(|kind| *kind != Kind::User) {
        let refused = house.state.changes.change(&Actor::gateway(), kind, "a", Box::new(decide)).await;
        assert!(matches!(refused, Err(ChangeError::Registry(RegistryError::Storage(_)))), "{kind:?}: {refused:?}");
    }
    // What the gateway keeps for itself is changed by nobody, and told by no trail.
    let refused = house.state.changes.change(&Actor::gateway(), Kind::SigningKey, "a", Box::new(decide)).await;
    assert!(matches!(refused, Err(ChangeError::Registry(RegistryError::Storage(_)))), "{refused:?}");
    for kind in Kind::AUDITED.into_iter().chain([Kind::SigningKey]) {
        assert_eq!(house.registry.all(kind).await.expect("read"), [], "{kind:?}");
    }
    assert_eq!(house.get("/audit").await.fine(200)["items"], json!([]));
}
