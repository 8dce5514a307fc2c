//! What holds for all paths and all bytes, tried with many that nobody would think of.

use std::io::Write;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::identity::app_id;
use super::statuses;
use crate::support::client::{answers, connect, read_to_close};
use crate::support::scene::register;
use crate::support::{Backend, Scene};

/// A runner that writes nothing beside the tests.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 40, ..Config::default() })
}

/// A step of a path, and what it means.
#[derive(Debug, Clone)]
enum Step {
    Name(String),
    Here,
    Up,
    /// Something with two readings.
    Twofold(&'static str),
}

/// How each character of a step is written: escaped or not, and with which digits.
fn write(step: &Step, how: &[u8], out: &mut String) {
    let text = match step {
        Step::Name(name) => name.as_str(),
        Step::Here => ".",
        Step::Up => "..",
        Step::Twofold(raw) => return out.push_str(raw),
    };
    for (byte, how) in text.bytes().zip(how.iter().cycle()) {
        match how {
            0 => out.push_str(&format!("%{byte:02x}")),
            1 => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
}

/// The path that steps lead to; none if one of them has two readings.
fn resolve(steps: &[Step]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut ends_open = true;
    for step in steps {
        ends_open = !matches!(step, Step::Name(_));
        match step {
            Step::Name(name) => names.push(name),
            Step::Here => {}
            Step::Up => drop(names.pop()),
            Step::Twofold(_) => return None,
        }
    }
    let path: String = names.iter().map(|name| format!("/{name}")).collect();
    Some(if ends_open || path.is_empty() { format!("{path}/") } else { path })
}

/// A path with the escapes decoded that stand for what may be there unescaped.
fn decoded(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let byte = u8::from_str_radix(&piece[..2], 16).expect("an escape");
        if b"!$&'()*+,=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{}", &piece[..2]));
        }
        out.push_str(&piece[2..]);
    }
    out
}

fn a_step() -> impl Strategy<Value = Step> {
    const TWOFOLD: [&str; 16] = [
        "%2f",
        "%2F..",
        "..%5c",
        "%00",
        "..;",
        "%2e%2e;x",
        "%",
        "%g0",
        "a%2",
        ".;a=b",
        "a;b",
        "%3b",
        "v1%3Bx",
        "%0A",
        "%c0%ae",
        "%ED%A0%80",
    ];
    prop_oneof![
        4 => prop_oneof![Just("orders"), Just("inventory"), Just("v1"), Just("x"), Just("a.b"), Just("..."), Just("~")]
            .prop_map(|name| Step::Name(name.to_owned())),
        2 => "[a-z0-9._~!$&'()*+,=:@-]{1,6}".prop_filter("a dot segment", |name| name != "." && name != "..").prop_map(Step::Name),
        2 => Just(Step::Here),
        3 => Just(Step::Up),
        1 => proptest::sample::select(&TWOFOLD[..]).prop_map(Step::Twofold),
    ]
}

#[test]
fn no_spelling_of_a_path_leads_to_what_was_not_granted() {
    let scene = Scene::new();
    let base = format!("{}/base", scene.backend.url());
    scene.declare(&serde_json::json!({"targets": [{"url": base}]}));
    let inventory = Backend::echo();
    register(&scene.gateway, "inventory", &inventory.url());
    let credentials = scene.credentials();

    // Many begin where the key is good for something, and some with the way out of it.
    let begin = prop_oneof![
        3 => Just(vec!["orders", "v1"]),
        2 => Just(vec!["orders", "v1", "..", "..", "inventory", "v1"]),
        1 => Just(vec!["orders", "v1", "x", "..", "..", "..", "inventory", "v1"]),
        1 => Just(vec![]),
    ];
    let strategy = (begin, vec(a_step(), 0..6), vec((0_u8..6, 1_usize..3), 16), vec(0_u8..8, 32));
    let outcome = runner(300).run(&strategy, |(begin, steps, slashes, how)| {
        let first = begin.into_iter().map(|name| if name == ".." { Step::Up } else { Step::Name(name.to_owned()) });
        let steps: Vec<Step> = first.chain(steps).collect();
        let mut raw = String::new();
        for (at, step) in steps.iter().enumerate() {
            let (doubled, count) = slashes[at % slashes.len()];
            raw.push_str(&"/".repeat(if doubled == 0 { count } else { 1 }));
            write(step, &how[at % how.len()..], &mut raw);
        }
        if raw.is_empty() {
            raw.push('/');
        }
        let before = scene.backend.received().len();
        let mut stream = connect(scene.gateway.data);
        write!(stream, "GET {raw} HTTP/1.1\r\nHost: a\r\n{credentials}Connection: close\r\n\r\n").expect("sent");
        let status = statuses(&answers(&read_to_close(&mut stream)));
        let received = scene.backend.received()[before..].to_vec();
        let resolved = resolve(&steps);
        let below = |path: &str, prefix: &str| path == prefix || path.starts_with(&format!("{prefix}/"));
        let (want, target) = match resolved.as_deref() {
            None => (400, None),
            Some(path) if below(path, "/orders/v1") => {
                let rest = &path["/orders/v1".len()..];
                (200, Some(format!("/base{}{rest}", if rest.is_empty() { "/" } else { "" })))
            }
            Some(path) if below(path, "/inventory/v1") => (403, None),
            Some(_) => (404, None),
        };
        prop_assert_eq!(status, [want], "{} is {:?}", raw, resolved);
        // What the service gets stands for the same, as the caller has spelled it.
        let found: Vec<_> = received.iter().map(|request| decoded(&request.target)).collect();
        prop_assert_eq!(found, target.into_iter().collect::<Vec<_>>(), "{}", raw);
        prop_assert_eq!(inventory.connections(), 0, "{}", raw);
        Ok(())
    });
    outcome.expect("no path leads elsewhere");
}

/// Pieces that requests are made of, good and bad.
const PIECES: [&str; 34] = [
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    "\u{b}",
    ":",
    ";",
    ",",
    "0\r\n\r\n",
    "0\r\n",
    "5\r\nhello\r\n",
    "fffffffffffffffff\r\n",
    "-1\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 50\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "transfer-encoding:chunked\r\n",
    "Host: b\r\n",
    "Host: \r\n",
    "Connection: keep-alive\r\n",
    "Connection: close\r\n",
    "Connection: X-User-Json, Authorization\r\n",
    "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "X-User-Json: evil\r\n",
    "GET /orders/v1/spliced HTTP/1.1\r\n",
    "GET /orders/v1/spliced HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /orders/v1/spliced HTTP/1.0\r\n",
    " HTTP/1.1",
];

/// One change to a stream of bytes: where (of 65536), what is put in, and how much is taken out there.
type Splice = (u16, usize, usize);

fn splice(stream: &str, splices: &[Splice]) -> Vec<u8> {
    let mut bytes = stream.as_bytes().to_vec();
    for (at, piece, gone) in splices {
        let at = usize::from(*at) * bytes.len() / 65_536;
        let end = (at + gone).min(bytes.len());
        let piece = PIECES.get(*piece).copied().unwrap_or_default();
        bytes.splice(at..end, piece.bytes());
    }
    bytes
}

#[test]
fn no_bytes_make_requests_that_were_not_answered() {
    let settings =
        "[timeouts]\nfirst_byte = \"300ms\"\nhead = \"300ms\"\nbody_idle = \"300ms\"\nkeep_alive = \"300ms\"\n";
    let scene = Scene::before(Backend::echo(), settings);
    let credentials = scene.credentials();
    let get = format!("GET /orders/v1/get HTTP/1.1\r\nHost: a\r\n{credentials}\r\n");
    let post = format!("POST /orders/v1/post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n{credentials}\r\nhello");
    let chunked = format!(
        "POST /orders/v1/chunked HTTP/1.1\r\n{credentials}Host: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let streams = [
        [&*get, &post, &get].concat(),
        [&*post, &get].concat(),
        [&*chunked, &get].concat(),
        [&*get, &chunked, &post].concat(),
    ];
    assert_eq!(statuses(&over(&scene, &streams.concat().into_bytes())), [200; 10]);
    let memory = scene.gateway.memory();
    let app_id = app_id(&scene);

    let strategy = vec((0..streams.len(), vec((any::<u16>(), 0..PIECES.len() + 4, 0_usize..4), 1..4)), 32);
    let outcome = runner(16).run(&strategy, |batch| {
        let before = scene.backend.received().len();
        let sent: Vec<_> = batch.iter().map(|(stream, splices)| splice(&streams[*stream], splices)).collect();
        let found: Vec<Vec<u16>> = thread::scope(|scope| {
            let all: Vec<_> = sent.iter().map(|bytes| scope.spawn(|| statuses(&over(&scene, bytes)))).collect();
            all.into_iter().map(|thread| thread.join().expect("joined")).collect()
        });
        let shown = || -> Vec<_> { sent.iter().map(|bytes| String::from_utf8_lossy(bytes)).zip(&found).collect() };
        for status in found.iter().flatten() {
            prop_assert!(matches!(status, 200 | 400..=499 | 501), "{}: {:#?}", status, shown());
        }
        let fine = found.iter().flatten().filter(|status| **status == 200).count();
        let received = scene.backend.received().split_off(before);
        prop_assert_eq!(received.len(), fine, "{:#?}\n{:#?}", shown(), received);
        for request in &received {
            prop_assert_eq!(request.header("x-user-json"), Some("eyJpZCI6NywibmFtZSI6IkFkYSJ9"), "{:#?}", shown());
            prop_assert_eq!(request.header("x-app-id"), Some(app_id.as_str()), "{:#?}", shown());
        }
        Ok(())
    });
    outcome.expect("every request is answered");
    assert_eq!(scene.call("GET", "/orders/v1/healthy", &[], b"").status, 200);
    let grown = scene.gateway.memory().saturating_sub(memory);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
}

/// Sends bytes and reads all answers until the gateway closes, for whatever reason.
fn over(scene: &Scene, bytes: &[u8]) -> Vec<crate::support::Answer> {
    let mut stream = connect(scene.gateway.data);
    // It may close before it has read everything.
    let _ = stream.write_all(bytes);
    answers(&read_to_close(&mut stream))
}
