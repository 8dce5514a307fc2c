//! Somebody else at the database: what another program changes there counts, and nobody's change fails beside it; and while
//! it keeps the database to itself, or the file is gone, that is said as what it is.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::scene::{PASSWORD, announce, enrol};
use crate::support::{Answer, Backend, Gateway, Scene, python};

/// Does each line as SQL, and says so when it is done.
const WRITER: &str = r#"
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for line in sys.stdin:
    database.execute(line)
    print("done", flush=True)
"#;

/// Another program with the database open.
struct Writer {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Writer {
    fn at(gateway: &Gateway) -> Self {
        let mut command = Command::new(python());
        command.args(["-c", WRITER]).arg(gateway.directory().join("portcullis.db"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, answers }
    }

    fn run(&mut self, statement: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{statement}").expect("written");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("read");
        assert_eq!(line, "done\n", "{statement}");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const BUMP: &str = "UPDATE objects SET revision = revision + 1 WHERE kind = 'service' AND key = 'a/v1'";

fn put(gateway: &Gateway, service: &str, port: u16) -> Answer {
    let body = json!({"targets": [{"url": format!("http://127.0.0.1:{port}")}], "require": []});
    gateway.admin("PUT", &format!("/services/{service}"), Some(&body))
}

#[test]
fn what_another_program_has_changed_is_taken_up_and_changed_on() {
    let (gateway, backend) = (Gateway::start(), Backend::echo());
    let mut writer = Writer::at(&gateway);
    let body = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/a/v1", Some(&body), 201);
    for revision in [3, 5, 7] {
        writer.run(BUMP);
        let changed = gateway.admin_ok("PUT", "/services/a/v1", Some(&body), 200);
        assert_eq!(changed["revision"], revision);
        assert_eq!(gateway.admin_ok("GET", "/services/a/v1", None, 200)["revision"], revision);
    }
    assert_eq!(gateway.call("GET", "/a/v1/x", &[], b"").status, 200);
    // What it has taken out is out, also for calls, as soon as anything is changed here.
    writer.run("DELETE FROM objects WHERE kind = 'service' AND key = 'a/v1'");
    gateway.admin_ok("DELETE", "/services/a/v1", None, 404);
    assert_eq!(gateway.call("GET", "/a/v1/x", &[], b"").status, 404);
    gateway.admin_ok("GET", "/services/a/v1", None, 404);
    // And what it has made is there.
    gateway.admin_ok("PUT", "/services/b/v1", Some(&body), 201);
    writer.run("INSERT INTO objects SELECT kind, 'made/v1', 1, owner, body FROM objects WHERE kind = 'service'");
    gateway.admin_ok("PUT", "/services/made/v1", Some(&body), 200);
    writer.run("INSERT INTO objects SELECT kind, 'found/v1', 1, owner, body FROM objects WHERE key = 'b/v1'");
    gateway.admin_ok("PUT", "/services/b/v1", Some(&body), 200);
    assert_eq!(gateway.call("GET", "/found/v1/x", &[], b"").status, 200);
}

#[test]
fn changes_beside_those_of_another_program_are_made_whatever_it_changes() {
    let gateway = Gateway::start();
    let mut writer = Writer::at(&gateway);
    assert_eq!(put(&gateway, "a/v1", 9001).status, 201);
    assert_eq!(put(&gateway, "b/v1", 9001).status, 201);
    let (gateway, over) = (&gateway, &AtomicBool::new(false));
    thread::scope(|scope| {
        let bumping = scope.spawn(move || {
            let mut times = 0_u32;
            while !over.load(Ordering::SeqCst) {
                writer.run(BUMP);
                times += 1;
            }
            times
        });
        let putting = |service: &'static str| {
            scope.spawn(move || (0..12).map(|number| put(gateway, service, 9100 + number)).collect::<Vec<_>>())
        };
        let of_a: Vec<_> = (0..4).map(|_| putting("a/v1")).collect();
        let of_b: Vec<_> = (0..8).map(|_| putting("b/v1")).collect();
        let answers = |all: Vec<thread::ScopedJoinHandle<'_, Vec<Answer>>>| -> Vec<Answer> {
            all.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        };
        let (of_a, of_b) = (answers(of_a), answers(of_b));
        over.store(true, Ordering::SeqCst);
        assert!(bumping.join().expect("no panic") > 1);
        of_b.iter().for_each(|answer| assert_eq!(answer.status, 200, "{}", answer.text()));
        // One that the other program was faster than each time is told so, and that it may try again.
        for answer in of_a.iter().filter(|answer| answer.status != 200) {
            assert_eq!((answer.status, answer.code().as_str()), (503, "contended"), "{}", answer.text());
        }
    });
    assert_eq!(put(gateway, "a/v1", 9002).status, 200, "and alone it is made");
}

/// Everything that asks the registry for something it has to write, each with what it is answered in good times.
fn all(scene: &Scene, enrolment: &str) -> Vec<(&'static str, u16, Answer)> {
    let gateway = &scene.gateway;
    let targets = json!({"targets": [{"url": scene.backend.url()}]});
    let born = json!({"name": "born", "base_url": scene.backend.url()});
    let (login, refresh) =
        (json!({"username": "ada", "password": PASSWORD}), json!({"refresh_token": scene.refresh_token}));
    let admin = |method: &'static str, path: &'static str, body: Value| {
        move || gateway.admin(method, path, (!body.is_null()).then_some(&body))
    };
    let new_user = json!({"username": "new", "password": PASSWORD});
    type Ask<'a> = Box<dyn Fn() -> Answer + Send + Sync + 'a>;
    let asked: Vec<(&'static str, u16, Ask<'_>)> = vec![
        ("a service", 201, Box::new(admin("PUT", "/services/new/v1", targets))),
        ("a client", 201, Box::new(admin("POST", "/clients", json!({"name": "new"})))),
        ("the end of a client", 204, Box::new(admin("DELETE", "/clients/gone", Value::Null))),
        ("a user", 201, Box::new(admin("POST", "/users", new_user))),
        ("a change of a user", 200, Box::new(admin("PUT", "/users/ada", json!({"user_info": {"id": 9}})))),
        ("a registration", 201, Box::new(|| announce(gateway, enrolment, &born))),
        ("a login", 200, Box::new(|| gateway.post("/-/token", &[], &login))),
        ("a new token", 200, Box::new(|| gateway.post("/-/token/refresh", &[], &refresh))),
    ];
    // All at once, for each waits until the database is given up as locked.
    thread::scope(|scope| {
        let asking = asked.iter().map(|(what, status, ask)| (*what, *status, scope.spawn(ask)));
        let asking: Vec<_> = asking.collect();
        asking.into_iter().map(|(what, status, asking)| (what, status, asking.join().expect("no panic"))).collect()
    })
}

fn refused(scene: &Scene, enrolment: &str) {
    for (what, _, answer) in all(scene, enrolment) {
        assert_eq!((answer.status, answer.code().as_str()), (503, "registry_unavailable"), "{what}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"), "{what}");
    }
}

#[test]
fn a_database_that_another_program_has_locked_is_away_and_comes_back() {
    let scene = Scene::before(Backend::echo(), "");
    let gateway = &scene.gateway;
    let enrolment = enrol(gateway, &json!({"name": "for-born"}));
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": "gone"})), 201);
    let mut writer = Writer::at(gateway);
    writer.run("BEGIN EXCLUSIVE");
    refused(&scene, &enrolment);
    // Calls and questions go on.
    assert_eq!(scene.call("GET", "/orders/v1/x", &[], b"").status, 200);
    gateway.admin_ok("GET", "/users/ada", None, 200);
    writer.run("ROLLBACK");
    for (what, status, answer) in all(&scene, &enrolment) {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
}

#[test]
fn a_database_that_is_gone_from_its_place_takes_nothing_that_would_be_lost() {
    let scene = Scene::before(Backend::echo(), "");
    let gateway = &scene.gateway;
    let enrolment = enrol(gateway, &json!({"name": "for-born"}));
    gateway.admin_ok("POST", "/clients", Some(&json!({"name": "gone"})), 201);
    let (place, aside) = (gateway.directory().join("portcullis.db"), gateway.directory().join("aside.db"));
    std::fs::rename(&place, &aside).expect("moved");
    refused(&scene, &enrolment);
    // Another file in its place is not the registry either.
    std::fs::write(&place, "").expect("written");
    refused(&scene, &enrolment);
    std::fs::remove_file(&place).expect("removed");
    std::fs::rename(&aside, &place).expect("moved back");
    for (what, status, answer) in all(&scene, &enrolment) {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
}
