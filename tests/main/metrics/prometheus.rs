//! What Prometheus itself makes of the metrics. Only `./check peers` asks it: its package brings much along.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::Scene;
use crate::support::client::call;
use crate::support::scene::until;

fn is_asked() -> bool {
    std::env::var_os("CHECK_PEERS").is_some_and(|peers| peers == "thorough")
}

/// A gateway that has served calls well and badly, so that every family has something to say.
fn busy() -> Scene {
    let scene = Scene::new();
    for path in ["/orders/v1/a", "/orders/v1/b", "/nowhere"] {
        scene.call("GET", path, &[], b"");
    }
    let nobody = serde_json::json!({"targets": [{"url": "http://127.0.0.1:1"}], "require": []});
    scene.gateway.admin_ok("PUT", "/services/nobody/v1", Some(&nobody), 201);
    assert_eq!(scene.gateway.call("GET", "/nobody/v1/a", &[], b"").code(), "upstream_unreachable");
    scene.gateway.scraped_until(|page| page.sum("portcullis_target_failures_total") > 0.0);
    scene
}

#[test]
fn promtool_of_prometheus_finds_nothing_to_say() {
    if !is_asked() {
        return;
    }
    let scene = busy();
    let page = scene.gateway.scraped_with(&scene.gateway.metrics_token());
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("promtool is installed");
    tool.stdin.take().expect("piped").write_all(&page.body).expect("read");
    let output = tool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn prometheus_scrapes_the_gateway_with_its_token() {
    if !is_asked() {
        return;
    }
    let scene = busy();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("prometheus.yml");
    let token = scene.gateway.directory().join("metrics.token");
    // The job that the papers tell to configure, at another address and with another file.
    let paper = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/how-to/metrics.md");
    let paper = fs::read_to_string(paper).expect("a page");
    let (_, rest) = paper.split_once("```yaml\nscrape_configs:\n").expect("a configuration");
    let job = rest.split_once("```").expect("its end").0;
    let [address, place] = ["127.0.0.1:6501", "/etc/portcullis/metrics.token"];
    assert!(job.contains(address) && job.contains(place), "{job}");
    let job = job.replace(address, &scene.gateway.admin.to_string()).replace(place, &token.display().to_string());
    let config = format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n{job}");
    fs::write(&file, config).expect("written");
    // It takes no port from the kernel that it could tell of: one that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let mut server = Command::new("prometheus");
    server.arg(format!("--config.file={}", file.display()));
    server.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    server.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(server.spawn().expect("prometheus is installed"));
    until("prometheus listens", || std::net::TcpStream::connect(address).is_ok());
    let asked = |query: &str| -> Value {
        let answer = call(address, "GET", &format!("/api/v1/query?query={query}"), &[("Connection", "close")], b"");
        serde_json::from_slice(&answer.body).unwrap_or_default()
    };
    let value = |query: &str| asked(query)["data"]["result"][0]["value"][1].as_str().unwrap_or_default().to_owned();
    until("it has scraped", || value("up") == "1" && value("portcullis_ready") == "1");
    until("calls are there", || {
        value("portcullis_calls_total%7Bservice=%22orders%22,method=%22GET%22,code=%222xx%22%7D") == "2"
    });
    let quantile = "histogram_quantile(0.9,sum(portcullis_call_duration_seconds_bucket)by(le))";
    assert!(value(quantile).parse::<f64>().is_ok_and(|seconds| seconds > 0.0), "{}", asked(quantile));
}
