//! Users who are logged in there need not log in again here, and those who have logged out here stay out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::behaviour::Scene;
use super::redis_server::RedisServer;
use super::{import, panel, publish};
use crate::fomalhaut::answering;

/// A token that looks like those of fomalhaut.
fn token(kind: char, number: usize) -> String {
    format!("{kind}-sesame_{number:018}")
}

/// Puts a pair into Redis as a login does; an access token that is over is not there any more.
fn log_in(redis: &RedisServer, client: &str, number: usize, access_ttl: u64) {
    let (access, refresh) = (token('a', number), token('r', number));
    let id = if client == "old" { "access_key" } else { "app_id" };
    let info = json!({"id": number, "name": "Ada"});
    let value = json!({id: client, "user_info": info, "access_token": access, "refresh_token": refresh}).to_string();
    if access_ttl > 0 {
        redis.ask(&["SETEX", &format!("t:{access}"), &access_ttl.to_string(), &value]);
    }
    redis.ask(&["SETEX", &format!("r:{refresh}"), "1728000", &value]);
}

#[test]
fn nobody_has_to_log_in_again() {
    let (scene, redis) = (Scene::before(answering()), RedisServer::start(None));
    publish(&panel(&scene.backend.url()), &redis);
    log_in(&redis, "abcd", 1, 600);
    log_in(&redis, "abcd", 2, 0);
    log_in(&redis, "old", 3, 600);
    log_in(&redis, "nobody", 4, 600);
    // One whose refresh token is gone, one that never ends, and what is no pair.
    log_in(&redis, "abcd", 5, 600);
    redis.ask(&["DEL", &format!("r:{}", token('r', 5))]);
    log_in(&redis, "abcd", 6, 600);
    redis.ask(&["PERSIST", &format!("r:{}", token('r', 6))]);
    redis.ask(&["SETEX", "r:no-pair", "600", "no JSON"]);
    // One whose number cannot be kept as it is: backends would be told of somebody else.
    let (access, refresh) = (token('a', 9), token('r', 9));
    let value = json!({"app_id": "abcd", "user_info": {"id": 9}, "access_token": access, "refresh_token": refresh});
    let value = value.to_string().replace(r#""id":9"#, r#""id":12345678901234567890123"#);
    redis.ask(&["SETEX", &format!("r:{refresh}"), "1728000", &value]);

    let asked = import(&scene.gateway, &[&redis.url(), "--tokens", "--dry-run"], &[]);
    assert!(asked.code == Some(0) && asked.err.contains("7 pairs of tokens are there"), "{asked:?}");
    let done = import(&scene.gateway, &[&redis.url(), "--tokens", "--json"], &[]).json(0);
    let told = json!({
        "taken": 4, "known": 0, "expired": 0, "too_large": 0, "inexact": 1, "of_unknown_clients": 2, "unreadable": 1,
        "without_an_end": 1,
    });
    assert_eq!(done["tokens"], told);

    let with = |number: usize| json!({"token": token('a', number)});
    assert_eq!(scene.call("/test_login/v1/a", &with(1)), (200, "get".to_owned()));
    let seen = scene.backend.received().pop().expect("one");
    let user = STANDARD.decode(seen.header("x-user-json").expect("a user")).expect("Base64");
    assert_eq!(serde_json::from_slice::<Value>(&user).expect("JSON"), json!({"id": 1, "name": "Ada"}));
    assert_eq!(scene.call("/test_login/v1/a", &with(5)).0, 200);
    // One that is over there, one of another client, one that was never there.
    for number in [2, 3, 7] {
        scene.refused("/test_login/v1/a", &with(number), 401);
    }

    // What has ended here does not come back; what is new there does come.
    let out = json!({"method": "POST", "token": token('a', 1)});
    let (status, body) = scene.call("/account/v1/logout", &out);
    assert!(status == 200 && body.starts_with(r#"{"code":200,"#), "{status} {body}");
    scene.refused("/test_login/v1/a", &with(1), 401);
    log_in(&redis, "abcd", 8, 600);
    let again = import(&scene.gateway, &[&redis.url(), "--tokens"], &[]);
    let line = "tokens: 0 expired, 1 inexact, 4 known, 2 of unknown clients, 1 taken, 0 too large, 1 unreadable, 1 without an end\n";
    assert!(again.code == Some(0) && again.out.contains(line), "{again:?}");
    scene.refused("/test_login/v1/a", &with(1), 401);
    assert_eq!(scene.call("/test_login/v1/a", &with(8)).0, 200);

    let files =
        ["stderr.txt", "access.log", "portcullis.db"].map(|file| std::fs::read(scene.gateway.directory().join(file)));
    for file in files.into_iter().flatten() {
        assert!(!file.windows(8).any(|text| text == b"-sesame_"), "a token was written down");
    }
}
