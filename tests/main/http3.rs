//! HTTP/3 from callers, with a real client: what they get over TLS on TCP, they get over QUIC.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::support::authority::{Authority, Issued};
use super::support::{Backend, Gateway, Scene, python};

/// A gateway that speaks HTTP/3, and whose root a client trusts.
struct Stage {
    authority: Authority,
    scene: Scene,
}

impl Stage {
    fn before(backend: Backend, top: &str, more: &str) -> Self {
        let authority = Authority::new();
        let certificate = authority.issue("api", "DNS:api.example.com").setting();
        let settings = format!(
            "{top}\ntls_listen = \"127.0.0.1:0\"\n[tls]\ncertificates = [{certificate}]\nhttp3 = true\n{more}\n"
        );
        Self { scene: Scene::open(backend, &settings), authority }
    }

    /// One of the programs in `client.py`, under way.
    fn start(&self, name: &str, shown: Option<&Issued>) -> Child {
        self.start_with(name, shown, &[])
    }

    fn start_with(&self, name: &str, shown: Option<&Issued>, more: &[&str]) -> Child {
        let address = self.scene.gateway.tls.expect("it listens").to_string();
        let mut command = Command::new(python());
        command.args(["-c", include_str!("http3/client.py"), name, &address]).arg(self.authority.root());
        command.args(shown.into_iter().flat_map(|shown| [&shown.certificate, &shown.key]));
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    }

    #[track_caller]
    fn run(&self, name: &str) -> String {
        end(self.start(name, None))
    }
}

/// What a program has seen.
#[track_caller]
fn end(program: Child) -> String {
    let output = program.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn calls_over_http3_are_calls_like_any_other() {
    let stage = Stage::before(Backend::echo(), "", "");
    let port = stage.scene.gateway.tls.expect("it listens").port();
    let said = format!("200 h3=\":{port}\"; ma=86400 29 True\n200 0\n404 application/problem+json");
    assert_eq!(stage.run("get"), said);
    let request = &stage.scene.backend.received()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/7?x=1"));
    assert!(request.header("via").is_some_and(|via| via.starts_with("3.0 ")), "{request:?}");
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert!(request.header("transfer-encoding").is_none() && request.body.is_empty(), "{request:?}");
    stage.scene.gateway.record("status=404", |record| record["refusal"] == "no_route");
}

#[test]
fn those_who_come_over_tls_are_told_of_http3_and_others_are_not() {
    let stage = Stage::before(Backend::echo(), "", "");
    let address = stage.scene.gateway.tls.expect("it listens");
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--noproxy", "*", version, "--cacert"])
            .arg(stage.authority.root())
            .args(["--resolve", &format!("api.example.com:{}:127.0.0.1", address.port())])
            .arg(format!("https://api.example.com:{}/-/health", address.port()))
            .output()
            .expect("curl is installed");
        let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(said.contains(&format!("alt-svc: h3=\":{}\"; ma=86400", address.port())), "{said}");
    }
    assert_eq!(stage.scene.gateway.call("GET", "/-/health", &[], b"").header("alt-svc"), None);
}

#[test]
fn bodies_pass_whole_in_both_directions() {
    let backend = Backend::answering(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        [head.as_bytes(), &request.body].concat()
    });
    let stage = Stage::before(backend, "", "");
    assert_eq!(stage.run("bodies"), "200 True\n200 True");
    stage
        .scene
        .gateway
        .record("service=orders", |record| record["bytes_in"] == 2_000_000 && record["bytes_out"] == 2_000_000);
}

#[test]
fn many_calls_share_a_connection() {
    let stage = Stage::before(Backend::echo(), "", "");
    assert_eq!(stage.run("many"), "{'200'} True");
}

#[test]
fn trailers_pass_both_ways() {
    let backend = Backend::answering(|request| {
        let sum = request.trailers.iter().map(|(name, value)| format!("{}={value}", name.to_lowercase()));
        let sum = sum.collect::<String>();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
        format!("{head}2\r\nok\r\n0\r\nX-Sum: {sum}\r\n\r\n").into_bytes()
    });
    assert_eq!(Stage::before(backend, "", "").run("trailers"), "200 ok [(b'x-sum', b'x-in=7')]");
}

#[test]
fn hints_pass_before_the_answer() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let answer = format!("{hint}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let stage = Stage::before(Backend::answering(move |_| answer.clone().into_bytes()), "", "");
    assert_eq!(stage.run("hints"), "[['103', '</a.css>']] 200");
}

#[test]
fn whoever_waits_for_a_go_ahead_gets_it_when_the_body_is_wanted() {
    let stage = Stage::before(Backend::echo(), "timeouts.body_idle = \"3s\"", "");
    assert_eq!(stage.run("go_ahead"), "['404']\n['100', '200']\n['100', '200']");
    assert!(stage.scene.backend.received().iter().all(|request| request.body == b"hello"));
}

#[test]
fn streams_of_grpc_may_be_silent_for_as_long_as_tunnels() {
    let backend = Backend::answering(|request| {
        assert_eq!(request.body, b"\0\0\0\0\x05hello");
        let message = [&[0][..], &2_000_000_u32.to_be_bytes(), &[b'x'; 2_000_000]].concat();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n";
        let size = format!("{:x}\r\n", message.len());
        [head.as_bytes(), size.as_bytes(), &message, b"\r\n0\r\nGrpc-Status: 0\r\n\r\n"].concat()
    });
    let stage = Stage::before(backend, "timeouts.body_idle = \"1s\"", "");
    assert_eq!(stage.run("silence"), "whole 2000005 0");
}

#[test]
fn what_a_service_breaks_off_does_not_pass_for_whole() {
    let backend = Backend::serving(|stream, request| {
        use std::io::Write;
        let is_broken = request.target == "/broken";
        let framing = if is_broken { "Transfer-Encoding: chunked\r\n\r\n2\r\n" } else { "Content-Length: 2\r\n\r\n" };
        write!(stream, "HTTP/1.1 200 OK\r\n{framing}ok").is_ok() && !is_broken
    });
    let stage = Stage::before(backend, "", "");
    assert_eq!(stage.run("broken"), "reset 102 ok\n200");
    stage.scene.gateway.record("path=/orders/v1/broken", |record| record["refusal"] == "upstream_broken");
}

#[test]
fn a_body_of_another_length_than_announced_is_none() {
    let stage = Stage::before(Backend::echo(), "", "");
    assert_eq!(stage.run("short"), "400\n400");
    assert!(stage.scene.backend.received().is_empty(), "{:?}", stage.scene.backend.received());
}

#[test]
fn an_answer_before_its_requests_body_ends_the_body() {
    assert_eq!(Stage::before(Backend::echo(), "", "").run("early"), "whole 404\n['100']");
}

#[test]
fn heads_that_are_too_large_are_not_kept() {
    let stage = Stage::before(Backend::echo(), "", "");
    let before = stage.scene.gateway.memory();
    assert_eq!(stage.run("large_head"), "431");
    assert_eq!(stage.run("endless_head"), "closed 107");
    let grown = stage.scene.gateway.memory().saturating_sub(before);
    assert!(grown < 24 << 20, "grown by {grown} bytes");
    assert_eq!(stage.run("many"), "{'200'} True", "nobody else notices");
}

#[test]
fn an_answer_nobody_takes_is_reset_and_the_others_go_on() {
    let backend = Backend::answering(|_| {
        [&b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"[..], &[b'x'; 2_000_000]].concat()
    });
    let stage = Stage::before(backend, "timeouts.body_idle = \"1s\"", "");
    assert_eq!(stage.run("stalled"), "reset\n200 2000000");
    stage.scene.gateway.record("status=200", |record| record["refusal"] == "answer_not_taken");
}

#[test]
fn heads_hints_and_trailers_nobody_takes_are_given_up_too() {
    use std::io::{Read, Write};
    let ok = "HTTP/1.1 200 OK\r\n";
    let trailers =
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Long: {}\r\n\r\n", "x".repeat(9_000));
    let cases = [
        ("0", format!("{ok}Content-Length: 2\r\n\r\nok"), 200),
        ("0", format!("{ok}Content-Length: 0\r\n\r\n"), 200),
        ("3000", trailers, 200),
        // Nothing follows the hint.
        ("0", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".to_owned(), 499),
    ];
    for (window, said, status) in cases {
        let answer = said.clone();
        let backend = Backend::serving(move |stream, _| {
            stream.write_all(answer.as_bytes()).expect("sent");
            // Until nobody waits any more.
            !answer.contains("103") || stream.read(&mut [0]).is_ok_and(|length| length > 0)
        });
        let stage = Stage::before(backend, "timeouts.body_idle = \"1s\"", "");
        assert_eq!(end(stage.start_with("takes_little", None, &[window])), "reset 10c", "{said}");
        stage
            .scene
            .gateway
            .record(&format!("status={status}"), |record| status == 499 || record["refusal"] == "answer_not_taken");
    }
}

#[test]
fn with_many_handshakes_under_way_callers_show_that_they_are_where_they_say() {
    assert_eq!(Stage::before(Backend::echo(), "workers = 1", "").run("unproven"), "True 200");
}

#[test]
fn a_stop_finishes_what_is_under_way() {
    let backend = Backend::answering(|_| {
        std::thread::sleep(std::time::Duration::from_millis(3));
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let mut stage = Stage::before(backend, "timeouts.drain_delay = \"500ms\"", "");
    let load = stage.start("until_goaway", None);
    stage.scene.backend.wait_for(200);
    stage.scene.gateway.signal("TERM");
    assert!(stage.scene.gateway.wait().success());
    assert_eq!(end(load), "all answered");
}

#[test]
fn clients_show_their_certificates_over_quic_too() {
    let clients = Authority::new();
    let shop = clients.issue("shop", "URI:spiffe://example.com/shop");
    let asks = format!("client_certificates = \"required\"\nclient_ca = {:?}", clients.root());
    let stage = Stage::before(Backend::echo(), "", &asks);
    stage.scene.declare(&json!({
        "targets": [{"url": stage.scene.backend.url()}],
        "require": [["client_certificate"]],
        "policies": {"client_certificate": {"clients": [{"client": "shop", "san_uri": "spiffe://example.com/shop"}]}},
    }));
    assert_eq!(end(stage.start("certified", Some(&shop))), "200 application/json");
    let output = stage.start("certified", None).wait_with_output().expect("it ends");
    assert!(!output.status.success(), "without a certificate nobody gets in");
}

#[test]
fn a_certificate_whose_time_is_up_and_a_connection_of_age_take_no_further_calls() {
    let clients = Authority::new();
    let asks = format!("client_certificates = \"required\"\nclient_ca = {:?}", clients.root());
    let stage = Stage::before(Backend::echo(), "", &asks);
    let brief = clients.issue_for("brief", "DNS:shop.example", std::time::Duration::from_secs(6));
    let said = end(stage.start("kept", Some(&brief)));
    assert!(["goaway", "401", "ended"].contains(&&*said), "{said}");
    let stage = Stage::before(Backend::echo(), "timeouts.connection_age = \"1s\"", "");
    assert_eq!(stage.run("kept"), "goaway");
    assert!(stage.scene.gateway.logs("path=/orders/v1/x&limit=500").iter().all(|record| record["status"] == 200));
}

#[test]
fn what_streams_ends_when_what_it_was_let_in_by_is_taken_back() {
    let backend = Backend::serving(|stream, request| {
        let (pieces, pause) = if request.target == "/down" { (1_000, 50) } else { (1 << 20, 0) };
        let mut open = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").is_ok();
        while open {
            open = stream.write_all(&vec![b'x'; pieces]).is_ok();
            std::thread::sleep(std::time::Duration::from_millis(pause));
        }
        false
    });
    let stage = Stage::before(backend, "", "");
    let scene = &stage.scene;
    scene.declare(&json!({"targets": [{"url": scene.backend.url()}], "require": [["api_key"]]}));
    let mut program = stage.start_with("taken_back", None, &[&scene.api_key]);
    let mut lines = BufReader::new(program.stdout.take().expect("piped")).lines().map(|line| line.expect("a line"));
    assert_eq!(lines.next().as_deref(), Some("open"));
    // The upload has come as far.
    scene.backend.wait_for_wire(|wire| wire.iter().any(|wire| wire.bytes.starts_with(b"POST /up")));
    scene.gateway.admin_ok("DELETE", "/clients/shop", None, 204);
    let told: Vec<_> = lines.collect();
    assert_eq!(told, ["down reset 102", "flood reset 10c", "up whole 401 True"]);
    for way in ["down", "flood", "up"] {
        scene.gateway.record(&format!("path=/orders/v1/{way}"), |record| record["refusal"] == "revoked");
    }
    let wire = scene.backend.wait_for_wire(|wire| wire.iter().all(|wire| wire.ended));
    assert!(
        !wire.iter().any(|wire| wire.bytes.ends_with(b"0\r\n\r\n")),
        "the upload was not ended as if it were whole"
    );
    assert!(program.wait().expect("it ends").success());
}

#[test]
fn a_few_bytes_do_not_become_many() {
    let stage = Stage::before(Backend::echo(), "", "");
    let said = stage.run("expanding");
    let reached: usize = stage.scene.backend.wire().iter().map(|wire| wire.bytes.len()).sum();
    let calls = stage.scene.backend.received().len();
    if let Ok(sent) = said.parse::<usize>() {
        assert!(reached <= (64 << 10) + 8 * sent + 700 * calls, "{sent} bytes became {reached}");
    } else {
        assert_eq!(said, "open");
    }
}

#[test]
fn it_is_not_spoken_unless_it_was_asked_for_and_not_without_tls() {
    let error = |settings: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("portcullis.toml"), settings).expect("written");
        let output = super::support::gateway::command(directory.path()).arg("serve").output().expect("runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(error("[tls]\nhttp3 = true").contains("needs 'tls_listen'"));
    assert_eq!(Gateway::start().call("GET", "/-/health", &[], b"").header("alt-svc"), None);
}
