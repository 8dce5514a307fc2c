//! `/metrics`: what is counted, for whom, and that nobody from outside makes more of it.

mod page;
mod prometheus;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::support::authority::Authority;
use crate::support::client::{call, connect};
use crate::support::gateway::command;
use crate::support::issuer::now;
use crate::support::scene::until;
use crate::support::{Answer, Backend, Gateway, Scene};
use page::Page;

impl Gateway {
    fn scraped_with(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        call(self.admin, "GET", "/metrics", &[("Authorization", &bearer)], b"")
    }

    fn metrics_token(&self) -> String {
        let token = std::fs::read_to_string(self.directory().join("metrics.token")).expect("a token");
        token.trim().to_owned()
    }

    #[track_caller]
    fn scraped(&self) -> Page {
        Page::of(&self.scraped_with(&self.metrics_token()))
    }

    /// A page on which this holds: what is counted at the end of a call may come a moment after its last byte.
    fn scraped_until(&self, found: impl Fn(&Page) -> bool) -> Page {
        let mut page = self.scraped();
        until("what is counted", || {
            page = self.scraped();
            found(&page)
        });
        page
    }
}

#[test]
fn what_happens_is_counted() {
    let scene = Scene::new();
    for _ in 0..3 {
        assert_eq!(scene.call("GET", "/orders/v1/a", &[], b"").status, 200);
    }
    assert_eq!(scene.call("POST", "/orders/v1/a", &[], b"12345").status, 200);
    let calls = |page: &Page, service, version, method, code| {
        let labels = [("service", service), ("version", version), ("method", method), ("code", code)];
        page.value("portcullis_calls_total", &labels)
    };
    let page = scene.gateway.scraped_until(|page| calls(page, "orders", "v1", "POST", "2xx") == 1.0);
    assert_eq!(calls(&page, "orders", "v1", "GET", "2xx"), 3.0);
    let of_orders = [("service", "orders"), ("version", "v1")];
    for series in ["portcullis_call_duration_seconds_count", "portcullis_upstream_duration_seconds_count"] {
        assert_eq!(page.value(series, &of_orders), 4.0, "{series}");
    }
    assert!(page.value("portcullis_upstream_duration_seconds_sum", &of_orders) > 0.0);
    assert_eq!(page.value("portcullis_received_bytes_total", &of_orders), 5.0);
    assert!(page.value("portcullis_sent_bytes_total", &of_orders) > 0.0);

    let refused = scene.gateway.call("GET", "/orders/v1/a", &[], b"").code();
    let code = scene.gateway.call("GET", "/nowhere", &[], b"").code();
    assert_eq!((refused.as_str(), code.as_str()), ("missing_credential", "no_route"));
    let page =
        scene.gateway.scraped_until(|page| page.value("portcullis_refusals_total", &[("code", "no_route")]) == 1.0);
    assert_eq!(page.value("portcullis_refusals_total", &[("code", &refused)]), 1.0);
    assert_eq!(calls(&page, "orders", "v1", "GET", "4xx"), 1.0);
    assert_eq!(calls(&page, "-", "", "GET", "4xx"), 1.0);

    assert_eq!(page.value("portcullis_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!(page.value("portcullis_ready", &[]), 1.0);
    for series in ["nonces", "nonces_refused_total", "nonces_waited_total", "nonce_journal_errors_total"] {
        assert_eq!(page.value(&format!("portcullis_{series}"), &[]), 0.0, "{series}");
    }
    let started = page.value("portcullis_process_start_time_seconds", &[]);
    assert!(started > 1e9 && started < now() as f64 + 1.0, "{started}");
    assert_eq!(page.value("portcullis_services", &[]), 1.0);
    assert!(page.sum("portcullis_connections_accepted_total") >= 6.0);
    let target = scene.backend.url().replace("http://", "");
    let labels = [("target", target.as_str())];
    scene.gateway.scraped_until(|page| page.value("portcullis_target_connections_open", &labels) >= 1.0);
}

#[test]
fn what_limits_remember_is_told() {
    let scene = Scene::new();
    let throttle = json!({"throttle": {"limits": [{"key": ["header:X-Tenant"], "rate": 1, "per": "1h"}]}});
    let targets = json!([{"url": scene.backend.url()}]);
    scene.declare(&json!({"targets": targets, "require": [], "policies": throttle}));
    let keys = |page: &Page| page.value("portcullis_limit_keys", &[]);
    assert_eq!(keys(&scene.gateway.scraped_until(|_| true)), 0.0);
    for (tenant, status) in [("a", 200), ("a", 429), ("b", 200)] {
        assert_eq!(scene.gateway.call("GET", "/orders/v1/x", &[("X-Tenant", tenant)], b"").status, status);
    }
    assert_eq!(keys(&scene.gateway.scraped_until(|_| true)), 2.0);
}

#[test]
fn open_connections_are_told_by_listener_and_protocol() {
    let authority = Authority::new();
    let issued = authority.issue_as_usual("usual", "DNS:gate.example");
    let settings = format!("tls_listen = \"127.0.0.1:0\"\n[tls]\ncertificates = [{}]\n", issued.setting());
    let gateway = Gateway::with(&settings);
    let open = |page: &Page, listener, protocol| {
        page.value("portcullis_connections_open", &[("listener", listener), ("protocol", protocol)])
    };
    let silent = connect(gateway.tls.expect("a listener"));
    let mut plain = connect(gateway.data);
    plain.write_all(b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut http2 = connect(gateway.data);
    http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
    let page = gateway.scraped_until(|page| {
        ["none", "http1", "http2"].map(|spoken| open(page, "tls", spoken) + open(page, "clear", spoken)) == [1.0; 3]
    });
    assert_eq!(
        (open(&page, "tls", "none"), open(&page, "clear", "http1"), open(&page, "clear", "http2")),
        (1.0, 1.0, 1.0)
    );
    drop((silent, plain, http2));
    gateway.scraped_until(|page| page.sum("portcullis_connections_open") == 0.0);
    // When its certificate ends is told too.
    let labels = [("listener", "data"), ("name", "gate.example")];
    let end = page.value("portcullis_certificate_expiry_timestamp_seconds", &labels);
    assert!(end > page.value("portcullis_process_start_time_seconds", &[]), "{end}");
}

/// Sends requests over connections that are kept, and reads everything that comes back.
fn sent(gateway: &Gateway, requests: &[String]) {
    for some in requests.chunks(50) {
        let mut stream = connect(gateway.data);
        let mut bytes = some.concat();
        bytes.push_str("GET /-/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(bytes.as_bytes()).expect("sent");
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).expect("answers");
        let count = answers.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
        assert_eq!(count, some.len() + 1, "{}", String::from_utf8_lossy(&answers));
    }
}

#[test]
fn a_scan_of_odd_paths_hosts_and_keys_adds_no_series() {
    let scene = Scene::new();
    let scan = |from: usize, number: usize| {
        let odd = |at: usize| {
            let methods = ["GET", "POST", "BREW", "X-ODD"];
            let path = if at.is_multiple_of(3) { "/orders/v1/" } else { "/odd-" };
            format!(
                "{}{} {path}{at} HTTP/1.1\r\nHost: odd-{at}.example\r\nX-API-Key: pck_odd{at}\r\nUser-Agent: odd/{at}\r\n\
                 X-App-Id: odd{at}\r\nX-Request-Id: odd{at}\r\nAuthorization: Bearer odd{at}\r\nContent-Length: 0\r\n\r\n",
                methods[at % 4],
                if at % 4 == 3 { at.to_string() } else { String::new() },
            )
        };
        sent(&scene.gateway, &(from..from + number).map(odd).collect::<Vec<_>>());
    };
    let series = |refused: usize| {
        let page = scene.gateway.scraped_until(|page| page.sum("portcullis_refusals_total") >= refused as f64);
        for (series, labels) in page.samples.keys() {
            assert!(labels.iter().all(|(_, value)| !value.contains("odd")), "{series} {labels:?}");
        }
        page.samples.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(scene.call("GET", "/orders/v1/a", &[], b"").status, 200);
    scan(0, 60);
    // Until what is told of targets a second later has come.
    scene.gateway.scraped_until(|page| page.sum("portcullis_target_connections_open") > 0.0);
    let before = series(60);
    scan(1_000, 4_000);
    let after = series(4_060);
    let kept = |all: &[(String, Vec<(String, String)>)]| {
        // A connection to the target that has been idle is gone after a while.
        all.iter().filter(|(series, _)| !series.starts_with("portcullis_target_")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&before), kept(&after));
    assert!(after.len() <= before.len());
}

#[test]
fn a_token_of_its_own_opens_the_metrics_and_nothing_else() {
    let gateway = Gateway::start();
    let own = gateway.metrics_token();
    let mode = std::fs::metadata(gateway.directory().join("metrics.token")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(own, gateway.token);
    for token in [&own, &gateway.token] {
        Page::of(&gateway.scraped_with(token));
    }
    let bearer = format!("Bearer {own}");
    for path in ["/api/v1/status", "/api/v1/services", "/api/v1/logs", "/metrics/", "/"] {
        let answer = call(gateway.admin, "GET", path, &[("Authorization", &bearer)], b"");
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_credential"), "{path}");
    }
    let answer = call(gateway.admin, "GET", "/metrics", &[], b"");
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_credential"));
    assert_eq!(gateway.scraped_with("pcm_wrong").code(), "invalid_credential");
    // It is nothing of the data plane's.
    assert_eq!(gateway.call("GET", "/metrics", &[("Authorization", &bearer)], b"").code(), "no_route");
    assert!(!gateway.stderr().contains(&own));
    // It stays the same.
    let gateway = Gateway::restart(gateway.kill(), "");
    assert_eq!(gateway.metrics_token(), own);
}

#[test]
fn the_token_can_stand_elsewhere_and_the_metrics_can_be_open() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("scrape");
    std::fs::write(&file, "a-token-of-some-length\n").expect("written");
    let gateway = Gateway::with(&format!("[metrics]\ntoken_file = {:?}\n", file.display().to_string()));
    Page::of(&gateway.scraped_with("a-token-of-some-length"));
    assert!(!gateway.directory().join("metrics.token").exists());
    drop(gateway);

    let gateway = Gateway::with("[metrics]\naccess = \"open\"\n");
    for headers in [&[][..], &[("Authorization", "Bearer whatever")]] {
        Page::of(&call(gateway.admin, "GET", "/metrics", headers, b""));
    }
    let answer = call(gateway.admin, "GET", "/metrics", &[("Origin", "http://evil.example")], b"");
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden_origin"));
    assert_eq!(call(gateway.admin, "GET", "/api/v1/status", &[], b"").code(), "missing_credential");

    for (setting, words) in [
        ("[metrics]\ntoken_file = 'nowhere'\n", "metrics.token_file"),
        ("[metrics]\naccess = 'all'\n", "expected 'token' or 'open'"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("portcullis.toml"), setting).expect("written");
        let mut serve = command(directory.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let output = serve.output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
}

#[test]
fn a_target_that_fails_is_told_once_until_it_answers() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let backend = Backend::serving(move |stream, _| {
        let fine = !failing.load(Relaxed);
        fine && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let scene = Scene::open(backend, "");
    let name = scene.backend.url().replace("http://", "");
    let told = |words: &str| {
        let stderr = scene.gateway.stderr();
        stderr.lines().filter(|line| line.contains(words) && line.contains(&name)).count()
    };
    let status = || {
        let status = scene.gateway.admin_ok("GET", "/status", None, 200);
        let targets = status["targets"].as_array().expect("a list");
        targets.iter().find(|target| target["name"] == name.as_str()).cloned().unwrap_or(Value::Null)
    };
    let call = || scene.gateway.call("GET", "/orders/v1/a", &[], b"");
    for episode in 1..=2 {
        fails.store(true, Relaxed);
        for _ in 0..20 {
            assert_eq!(call().code(), "upstream_broken");
        }
        until("it is told", || told("a target fails") == episode);
        let shown = status();
        assert_eq!((&shown["failing"], &shown["last_failure"]["reason"]), (&json!(true), &json!("broken")), "{shown}");
        fails.store(false, Relaxed);
        for _ in 0..20 {
            assert_eq!(call().status, 200);
        }
        until("that is told too", || told("answers again") == episode);
        assert_eq!(told("a target fails"), episode, "{}", scene.gateway.stderr());
        let shown = status();
        assert_eq!(shown["failing"], json!(false), "what it failed by is still there: {shown}");
        assert_eq!(shown["last_failure"]["reason"], "broken");
    }
    let labels = [("target", name.as_str()), ("reason", "broken")];
    scene.gateway.scraped_until(|page| page.value("portcullis_target_failures_total", &labels) == 40.0);
    let mut shown = command(scene.gateway.directory());
    let output = shown.args(["--admin", &format!("http://{}", scene.gateway.admin), "status"]).output().expect("runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    let line = shown.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains(" ok ") && line.contains(" broken "), "{shown}");
}
