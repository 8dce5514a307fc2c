//! Versions, names, sessions, and those who do not get through.

use std::io::{Read, Write};

use serde_json::json;

use super::super::support::authority::Authority;
use super::super::support::client::{connect, exchange, read_to_close};
use super::super::support::scene::until;
use super::super::support::{Backend, Scene};
use super::{HOST, LAST_REQUEST, answered, counted, curl, failed, s_client, scene, settings, tls};

#[test]
fn calls_come_over_both_versions_and_backends_are_told() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "");
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"], &["--http2"], &["--data", "a body"]] {
        let answer = answered(&curl(tls(&scene.gateway), &authority.root(), HOST, "/orders/v1/a?b=c", version));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = scene.backend.received().pop().expect("a request");
        assert_eq!((seen.target.as_str(), seen.header("x-forwarded-proto")), ("/a?b=c", Some("https")), "{version:?}");
        assert_eq!(answer.header("strict-transport-security"), None);
    }
    // In clear nothing has changed.
    assert_eq!(scene.gateway.call("GET", "/orders/v1/x", &[], b"").status, 200);
    assert_eq!(scene.backend.received().pop().expect("a request").header("x-forwarded-proto"), Some("http"));
    assert_eq!((counted(&scene.gateway, "established"), counted(&scene.gateway, "failed")), (4, 0));
}

#[test]
fn the_handshake_agrees_on_http2_with_those_who_speak_it() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "");
    for (option, version) in [("--http2", "2.0"), ("--http1.1", "1.1")] {
        let output = curl(tls(&scene.gateway), &authority.root(), HOST, "/orders/v1/", &[option]);
        let first = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
        let spoken = if version == "2.0" { "HTTP/2 200" } else { "HTTP/1.1 200" };
        assert!(first.starts_with(spoken), "{option}: {first}");
        let seen = scene.backend.received().pop().expect("a request");
        assert!(seen.header("via").is_some_and(|via| via.starts_with(version)), "{option}: {seen:?}");
    }
    let offers = |protocol: &str| s_client(tls(&scene.gateway), &["-alpn", protocol], LAST_REQUEST);
    assert!(offers("h2,http/1.1").contains("ALPN protocol: h2"));
    assert!(offers("http/1.1").contains("ALPN protocol: http/1.1"));
}

#[test]
fn tokens_name_the_gateway_by_https() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "");
    let payload = scene.token.split('.').nth(1).expect("a payload");
    let output = std::process::Command::new("python3")
        .args(["-c", "import base64,sys; print(base64.urlsafe_b64decode(sys.argv[1] + '==').decode())", payload])
        .output()
        .expect("python3 is installed");
    let claims: serde_json::Value = serde_json::from_slice(&output.stdout).expect("claims");
    assert_eq!(claims["iss"], format!("https://{}", tls(&scene.gateway)));
}

#[test]
fn a_modern_listener_refuses_what_is_older_than_1_3() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "profile = \"modern\"");
    let address = tls(&scene.gateway);
    assert_eq!(answered(&curl(address, &authority.root(), HOST, "/-/health", &[])).status, 200);
    let reason = failed(&curl(address, &authority.root(), HOST, "/-/health", &["--tls-max", "1.2"]));
    assert!(reason.contains("protocol version"), "{reason}");
    assert_eq!(counted(&scene.gateway, "failed"), 1);
}

#[test]
fn an_intermediate_listener_has_nothing_weak() {
    let authority = Authority::new();
    let certificate = authority.issue_rsa("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "");
    let address = tls(&scene.gateway);
    let told = s_client(address, &["-tls1_2", "-servername", HOST], LAST_REQUEST);
    assert!(told.contains("Cipher is ECDHE-RSA-") && told.contains("HTTP/1.1 200"), "{told}");
    let weak: [&[&str]; 4] = [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"],
        &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
    ];
    for options in weak {
        let told = s_client(address, options, LAST_REQUEST);
        assert!(told.contains("alert") && !told.contains("HTTP/1.1"), "{options:?}: {told}");
    }
}

#[test]
fn the_certificate_is_that_of_the_name_asked_for() {
    let authority = Authority::new();
    let (one, wild) =
        (authority.issue("one", "DNS:one.example,IP:127.0.0.1"), authority.issue("wild", "DNS:*.example"));
    let (exact, rsa) = (authority.issue("exact", "DNS:two.example"), authority.issue_rsa("rsa", "DNS:one.example"));
    let all = [&one, &wild, &exact, &rsa];
    let lenient = scene(&all, "");
    let shown = |scene: &Scene, options: &[&str]| {
        let told = s_client(tls(&scene.gateway), options, LAST_REQUEST);
        let subject = told.lines().find_map(|line| line.strip_prefix("subject=CN = ").map(str::to_owned));
        subject.ok_or(told)
    };
    for (name, subject) in [
        ("one.example", "one"),
        ("ONE.Example", "one"),
        ("two.example", "exact"),
        ("other.example", "wild"),
        ("a.b.example", "one"),
        ("example", "one"),
        ("unknown.test", "one"),
    ] {
        assert_eq!(shown(&lenient, &["-servername", name]).as_deref(), Ok(subject), "{name}");
    }
    assert_eq!(shown(&lenient, &["-noservername"]).as_deref(), Ok("one"));
    // Whoever can use the second key only is shown that.
    let rsa_only = ["-servername", "one.example", "-tls1_2", "-sigalgs", "RSA-PSS+SHA256"];
    assert_eq!(shown(&lenient, &rsa_only).as_deref(), Ok("rsa"));
    // A client that checks does not take the first certificate for another name's.
    let address = tls(&lenient.gateway);
    let reason = failed(&curl(address, &authority.root(), "unknown.test", "/-/health", &[]));
    assert!(reason.contains("subject"), "{reason}");
    assert_eq!(answered(&curl(address, &authority.root(), "127.0.0.1", "/-/health", &[])).status, 200);

    let strict = scene(&all, "unknown_names = \"refuse\"");
    assert_eq!(shown(&strict, &["-servername", "two.example"]).as_deref(), Ok("exact"));
    for options in [&["-servername", "unknown.test"][..], &["-noservername"]] {
        let told = shown(&strict, options).expect_err("refused");
        assert!(told.contains("alert"), "{told}");
    }
    assert_eq!(counted(&strict.gateway, "failed"), 2);
}

#[test]
fn sessions_go_on_whichever_worker_a_connection_meets() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = Scene::open(Backend::echo(), &settings("workers = 2", &[&certificate], ""));
    let address = tls(&scene.gateway);
    let directory = tempfile::tempdir().expect("a directory");
    for version in ["-tls1_3", "-tls1_2"] {
        let file = directory.path().join(version);
        let file = file.to_str().expect("UTF-8");
        let first = s_client(address, &[version, "-servername", HOST, "-sess_out", file], LAST_REQUEST);
        assert!(first.contains("\nNew, TLSv"), "{first}");
        // The kernel spreads connections: in twenty both workers have had some.
        for _ in 0..20 {
            let again = s_client(address, &[version, "-servername", HOST, "-sess_in", file], LAST_REQUEST);
            assert!(again.contains("\nReused, TLSv") && again.contains("HTTP/1.1 200"), "{again}");
        }
    }
    assert_eq!((counted(&scene.gateway, "established"), counted(&scene.gateway, "resumed")), (42, 40));
}

#[test]
fn browsers_are_told_to_stay_with_tls_over_tls_alone() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "hsts_max_age = \"365d\"\nhsts_include_subdomains = true");
    for (path, status) in [("/orders/v1/x", 200), ("/-/health", 200), ("/nowhere", 404), ("/%zz", 400)] {
        let answer = answered(&curl(tls(&scene.gateway), &authority.root(), HOST, path, &[]));
        assert_eq!(answer.status, status, "{path}");
        let policy = Some("max-age=31536000; includeSubDomains");
        assert_eq!(answer.header("strict-transport-security"), policy, "{path}");
        let clear = scene.gateway.call("GET", path, &[("Host", HOST)], b"");
        assert_eq!((clear.status, clear.header("strict-transport-security")), (status, None), "{path}");
    }
}

#[test]
fn http_in_clear_on_the_port_of_tls_is_told_so() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "");
    let answered = exchange(tls(&scene.gateway), b"GET /orders/v1/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    let answered = String::from_utf8_lossy(&answered);
    assert!(answered.starts_with("HTTP/1.1 400 ") && answered.ends_with("use https:// instead"), "{answered}");
    // What is neither gets an alert: content type 21, fatal.
    let answered = exchange(tls(&scene.gateway), &[0xff; 64]);
    assert_eq!((answered.first(), answered.get(5)), (Some(&21), Some(&2)), "{answered:?}");
    assert_eq!(counted(&scene.gateway, "failed"), 2);
    assert!(scene.backend.received().is_empty());
}

#[test]
fn a_handshake_that_stands_still_is_ended() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let top = "timeouts.first_byte = \"1s\"\ntimeouts.head = \"1s\"";
    let scene = Scene::open(Backend::echo(), &settings(top, &[&certificate], ""));
    let address = tls(&scene.gateway);
    // A record of a handshake, of which most never comes; half a header of a record; nothing at all.
    for begun in [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &[0x16, 3], &[]] {
        let mut stream = connect(address);
        stream.write_all(begun).expect("sent");
        assert_eq!(read_to_close(&mut stream), b"", "{begun:?}");
    }
    // One that comes drop by drop is not given more time by each.
    let mut stream = connect(address);
    let mut sent = 0;
    while stream.write_all(&[[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc], [0; 9]].concat()[sent % 18..=sent % 18]).is_ok() {
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(sent < 200, "it is still listened to");
    }
    let timed_out = || {
        let status = scene.gateway.admin_ok("GET", "/status", None, 200);
        status["counters"]["protocol_errors"]["timed_out"].as_u64().expect("a count")
    };
    until("all four are counted", || timed_out() == 4);
}

#[test]
fn a_connection_that_is_ended_for_its_silence_is_ended_in_order() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let top = "timeouts.keep_alive = \"1s\"\ntimeouts.head = \"1s\"\ntimeouts.first_byte = \"1s\"";
    let scene = Scene::open(Backend::echo(), &settings(top, &[&certificate], ""));
    // Idle after a call; before the first one; in the middle of a head.
    for (input, words) in [
        (&b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n"[..], "HTTP/1.1 200"),
        (b"", "verify"),
        (b"GET / HTTP/1.1\r\nHost:", "408 Request Timeout"),
    ] {
        let told = s_client(tls(&scene.gateway), &["-servername", HOST, "-quiet"], input);
        assert!(told.contains(words) && !told.contains("unexpected eof"), "{told}");
    }
}

#[test]
fn smuggling_shows_in_what_was_under_tls() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let scene = scene(&[&certificate], "");
    // The length behind the coding is hidden by the parser; the connection must end after the answer.
    let input = b"POST /orders/v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
        0\r\n\r\nGET /orders/v1/b HTTP/1.1\r\nHost: a\r\n\r\n";
    let told = s_client(tls(&scene.gateway), &["-servername", HOST, "-quiet"], input);
    assert!(told.contains("HTTP/1.1 200") && told.contains("Connection: close"), "{told}");
    let targets: Vec<String> = scene.backend.received().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/a"]);
}

#[test]
fn the_proxy_header_comes_before_the_handshake() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let top = "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = \"required\"";
    // Without it the scene's own calls in clear would not get in.
    let gateway = super::Gateway::with(&settings(top, &[&certificate], ""));
    let backend = Backend::echo();
    let service = json!({"targets": [{"url": backend.url()}], "require": []});
    gateway.admin_ok("PUT", "/services/orders/v1", Some(&service), 201);
    let address = tls(&gateway);

    // A proxy in front, which writes version 2 before what it passes on.
    let front = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let front_address = front.local_addr().expect("an address");
    std::thread::spawn(move || {
        for caller in front.incoming().map_while(Result::ok) {
            let mut gateway = connect(address);
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
            header.extend_from_slice(&[203, 0, 113, 7, 127, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb]);
            gateway.write_all(&header).expect("sent");
            pass(caller.try_clone().expect("a handle"), gateway.try_clone().expect("a handle"));
            pass(gateway, caller);
        }
    });
    let answer = answered(&curl(front_address, &authority.root(), HOST, "/orders/v1/x", &[]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = backend.received().pop().expect("a request");
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.7"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    // A handshake without a header is not one.
    failed(&curl(address, &authority.root(), HOST, "/orders/v1/x", &[]));
}

/// Passes on what comes from one to the other, until it ends.
fn pass(mut from: std::net::TcpStream, mut to: std::net::TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16_384];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

#[test]
fn a_gateway_can_listen_with_tls_alone() {
    let authority = Authority::new();
    let certificate = authority.issue("api", "DNS:api.example.com");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("portcullis.toml"), settings("listen = \"off\"", &[&certificate], ""))
        .expect("written");
    let mut command = super::super::support::gateway::command(directory.path());
    command.args(["serve", "--admin-listen", "127.0.0.1:0"]).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut lines, &mut line).expect("a line");
    let address = line.strip_prefix("ready: calls https://127.0.0.1:").and_then(|rest| rest.split_once(','));
    let address = address.unwrap_or_else(|| panic!("{line}")).0;
    let address = format!("127.0.0.1:{address}").parse().expect("an address");
    let answer = answered(&curl(address, &authority.root(), HOST, "/-/health", &[]));
    child.kill().expect("killed");
    child.wait().expect("it ends");
    assert_eq!(answer.status, 200);
}
