//! A request passes once: over one connection or two, and also when the gateway was killed in between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{DIALECTS, Gateway, Scene, refused};

#[test]
fn the_same_bytes_pass_once() {
    let scene = Scene::new();
    for dialect in DIALECTS {
        for more in [
            json!({}),
            json!({"method": "POST", "body": "e30="}),
            json!({"sealed_call": true, "method": "POST", "body": "e30="}),
            json!({"algorithm": "sha256"}),
            // The dialects do not ask for a nonce, so the signature stands for the call.
            json!({"change": [[if dialect == "fo" { "X-Fo-Nonce" } else { "X-Api-Nonce" }, null]]}),
            json!({"nonce": "", "skew": -300}),
            json!({"skew": 300}),
        ] {
            let bytes = scene.written(dialect, &more);
            let before = scene.backend.received().len();
            let told = scene.send(&bytes);
            assert_eq!(told.status(), 200, "{}", String::from_utf8_lossy(&told.body()));
            for _ in 0..3 {
                let told = scene.send(&bytes);
                assert_eq!(told.status(), if dialect == "fo" { 949 } else { 600 }, "{told:?}");
                assert!(String::from_utf8_lossy(&told.body()).contains("Invalid Signature"));
            }
            assert_eq!(scene.backend.received().len(), before + 1, "{more}");
        }
    }
}

#[test]
fn another_spelling_of_the_same_call_is_the_same() {
    let scene = Scene::new();
    let bytes = STANDARD.decode(scene.written("fo", &json!({"fields": [["X-Other", "1"]]}))).expect("Base64");
    let text = String::from_utf8(bytes).expect("text");
    assert_eq!(scene.send(&STANDARD.encode(&text)).status(), 200);
    for (from, to) in [
        ("X-Fo-Nonce", "x-fo-nonce"),
        ("X-Other: 1", "X-Other: 2"),
        ("X-Other: 1", "X-Forwarded-For: 192.0.2.1"),
        ("X-Fo-Signature: ", "X-Fo-Signature:  "),
        ("Connection: close\r\n", "Connection: close\r\nX-More: 1\r\n"),
    ] {
        assert!(text.contains(from), "{from}");
        let told = scene.send(&STANDARD.encode(text.replacen(from, to, 1)));
        assert_eq!(told.status(), 949, "{to}");
    }
    assert_eq!(scene.backend.received().len(), 1);
}

#[test]
fn of_two_at_the_same_instant_one_passes() {
    let scene = Scene::with("workers = 2\n", &json!({}));
    for round in 0..200 {
        let dialect = DIALECTS[round % 2];
        let bytes = scene.written(dialect, &json!({"method": "POST", "body": "YWI="}));
        let said = scene.driver.ask("race", &json!({"address": scene.gateway.data.to_string(), "data": bytes}));
        let mut statuses: Vec<_> =
            said["answers"].as_array().expect("a list").iter().map(|answer| answer[0].as_u64()).collect();
        statuses.sort_unstable();
        let refused = if dialect == "fo" { 949 } else { 600 };
        assert_eq!(statuses, [Some(200), Some(refused)], "round {round}: {said}");
        assert_eq!(scene.backend.received().len(), round + 1);
    }
}

/// Kills the gateway without warning and starts it again on the same data.
fn killed_and_restarted(mut scene: Scene) -> Scene {
    let Scene { gateway, .. } = scene;
    scene.gateway = Gateway::restart(gateway.kill(), "");
    scene
}

#[test]
fn nothing_is_forgotten_when_the_gateway_is_killed() {
    let mut scene = Scene::new();
    for round in 0..6 {
        let mut passed = Vec::new();
        for dialect in DIALECTS {
            for skew in [0, 1, -5, 300, -300_i32] {
                let host = json!({"host": "gate.example", "skew": skew});
                let bytes = scene.written(dialect, &host);
                // After a crash, what was signed around its moment is refused unseen: it may have passed.
                let must_pass = round == 0 || skew.abs() == 300;
                let status = scene.send(&bytes).status();
                assert!(status == 200 || !must_pass, "round {round}, {dialect}, {skew}: {status}");
                if status == 200 {
                    passed.push((dialect, bytes));
                }
            }
        }
        let before = scene.backend.received().len();
        scene = killed_and_restarted(scene);
        if round % 2 == 1 {
            // A second later it is no other.
            std::thread::sleep(std::time::Duration::from_millis(1_200));
        }
        for (dialect, bytes) in &passed {
            let told = scene.send(bytes);
            assert_eq!(told.status(), if *dialect == "fo" { 949 } else { 600 }, "round {round}: {told:?}");
        }
        assert_eq!(scene.backend.received().len(), before, "round {round}");
        // Whoever signs anew gets through, at the latest a moment later.
        super::until("calls pass again", || scene.call("fo", &json!({})).status() == 200);
    }
}

#[test]
fn what_has_passed_long_ago_is_out_of_the_window() {
    let scene = Scene::new();
    let bytes = scene.written("fo", &json!({"skew": -595}));
    assert_eq!(scene.send(&bytes).status(), 200);
    super::until("it is either known or too old", || {
        let told = scene.send(&bytes);
        assert_eq!(told.status(), 949);
        let body = String::from_utf8_lossy(&told.body()).into_owned();
        assert!(body.contains("431") || body.contains("430"), "{body}");
        body.contains("430")
    });
    refused("fo", &scene.call("fo", &json!({"skew": -601})), 430, "Expired Signature");
}
