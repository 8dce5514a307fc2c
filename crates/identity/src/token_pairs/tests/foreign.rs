//! Those whom an Auth API lets in: who is told apart from whom, and how many there may be.

use super::*;

#[tokio::test]
async fn whatever_an_auth_api_says_of_its_users_their_sessions_are_bounded() {
    let scene = Scene::with(LoginSettings { auth_api_sessions: 5, ..LoginSettings::default() }).await;
    let let_in = async |client: &str, lifetimes: Lifetimes, user_info: Value| {
        scene.pairs.open_for(&label(client), lifetimes, &user_info).await
    };
    let mut opened = Vec::new();
    for id in 0..5 {
        opened.push(let_in("shop", LIFETIMES, json!({"id": id})).await.expect("there is room"));
    }
    for user_info in [json!({"id": 5}), json!({"nonce": 5}), json!({}), json!({"id": 0})] {
        let refused = let_in("shop", LIFETIMES, user_info.clone()).await;
        let Err(Refusal::Overloaded { private, retry_after }) = refused else { panic!("{user_info}: {refused:?}") };
        assert!(private.contains("Auth API") && retry_after >= Duration::from_secs(1), "{private}");
    }
    for pair in &opened {
        assert_eq!(scene.good("shop", &pair.access_token).await, Some(100), "nobody has lost anything");
    }
    // Others are not concerned, and whoever is there goes on: by a refresh, and by a login that ends the one before it.
    let_in("till", LIFETIMES, json!({"id": 5})).await.expect("another client");
    scene.log_in("shop", LIFETIMES).await;
    let next = scene.refresh("shop", &opened[1].refresh_token).await.expect("refreshed");
    let_in("shop", ALONE, json!({"id": 0})).await.expect("in the place of the one before");
    assert_eq!(scene.good("shop", &opened[0].access_token).await, None);
    // Whoever leaves makes room for one.
    scene.pairs.end(shown(&next.access_token)).await.expect("ended");
    let_in("shop", LIFETIMES, json!({"nonce": 6})).await.expect("there is room");
    assert_eq!(code(let_in("shop", LIFETIMES, json!({"nonce": 7})).await), Some("overloaded"));
}

#[tokio::test]
async fn those_who_are_not_told_apart_are_one_user_whatever_else_is_said_of_them() {
    let scene = Scene::new().await;
    let mut users = HashSet::new();
    for user_info in [json!({}), json!({"last_login": 1}), json!({"last_login": 2}), json!({"ticket": "x"}), json!([1])]
    {
        users.insert(scene.let_in("shop", &user_info).await.user);
    }
    assert_eq!(users, HashSet::from([Label::kept("shop/#unnamed").expect("kept")]));
}

#[tokio::test]
async fn nobody_is_logged_out_by_somebody_else_whom_nothing_tells_from_them() {
    let scene = Scene::new().await;
    let let_in =
        async |user_info: &Value| scene.pairs.open_for(&label("shop"), ALONE, user_info).await.expect("let in");
    for (one, other, stays) in [
        (json!({}), json!({}), true),
        (json!({"role": "member"}), json!({"role": "member"}), true),
        (json!({"name": "Bob", "email": "a@x"}), json!({"name": "Bob", "email": "b@x"}), true),
        (json!({"name": "Bob", "username": "b1"}), json!({"name": "Bob", "username": "b2"}), true),
        (json!({"name": "Bob"}), json!({"name": "Bob"}), false),
        (json!({"id": 7, "name": "Ada"}), json!({"id": 7, "name": "Eve"}), false),
    ] {
        let first = let_in(&one).await;
        let second = let_in(&other).await;
        assert_eq!(scene.good("shop", &second.access_token).await, Some(100), "{other}");
        assert_eq!(scene.good("shop", &first.access_token).await.is_some(), stays, "{one}, then {other}");
    }
}

#[tokio::test]
async fn no_number_of_a_user_becomes_another_one_on_any_way_in() {
    let scene = Scene::new().await;
    let info = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let (bad, fine) = (r#"{"id":12345678901234567890123}"#, r#"{"id":18446744073709551615}"#);
    assert_eq!(code(scene.pairs.open_for(&label("shop"), LIFETIMES, &info(bad)).await), Some("auth_api_answer"));
    assert_eq!(scene.let_in("shop", &info(fine)).await.user_info.as_ref(), fine);
    let (a, b, c) = ("a".repeat(27), "b".repeat(27), "c".repeat(27));
    let pairs = vec![
        brought(&a, &"d".repeat(27), info(bad), 50, 500),
        brought(&b, &"e".repeat(27), info(r#"{"id":18446744073709551616}"#), 50, 500),
        brought(&c, &"f".repeat(27), info(fine), 50, 500),
    ];
    let done = scene.pairs.import(&label("shop"), pairs).await.expect("taken");
    assert_eq!((done.taken, done.inexact, done.too_large), (1, 2, 0));
    for (token, left) in [(a, None), (b, None), (c, Some(50))] {
        assert_eq!(scene.good("shop", &token.into()).await, left);
    }
}
