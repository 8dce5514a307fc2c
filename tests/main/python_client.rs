//! The client in Python (`clients/python`): its wheel is built and installed, and its own tests run against a real gateway.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::scene::{PASSWORD, text};
use super::support::{Backend, Gateway, python_of_client};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python");

/// As many failures from one address as the tests like. Without a grace, a pair that is renewed twice is a session that ends.
const SETTINGS: &str = "limits.failed_signatures_at_once = 0\ntokens.refresh_grace = \"0s\"\n";

/// Text of some length, packed by gzip.
const PACKED: &str = "H4sIAAAAAAACAyvNK0hMzk5NUSgdOgwAyOmoFrQAAAA=";

/// Runs a program in the folder of the package. What it said is in the panic if it fails.
fn run(command: &mut Command) -> String {
    let command = command.current_dir(PACKAGE).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}

/// A tool of those in `clients/python/requirements.txt`.
fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(python_of_client());
    command.arg("-m").args(arguments);
    command
}

/// A new virtual environment with the wheel of the package in it, and the tools beside.
struct Installed {
    python: PathBuf,
    wheel: PathBuf,
    directory: TempDir,
}

impl Installed {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        let (wheels, venv) = (place("wheels"), place("venv"));
        let offline = ["--no-index", "--no-deps", "--disable-pip-version-check", "--quiet"];
        let build = ["pip", "wheel", "--no-build-isolation", "--wheel-dir"];
        run(tool(&build).arg(&wheels).args(offline).arg(PACKAGE));
        let mut built = std::fs::read_dir(&wheels).expect("a directory").map(|entry| entry.expect("an entry").path());
        let wheel = built.next().expect("a wheel");
        assert_eq!(built.next(), None);
        run(tool(&["venv", "--without-pip"]).arg(&venv));
        let python = venv.join("bin/python");
        let site = |python: &Path| {
            let script = "import sysconfig; print(sysconfig.get_path('purelib'))";
            PathBuf::from(run(Command::new(python).args(["-c", script])).trim())
        };
        // The wheel alone is installed here; what it needs, and pytest, are found where the tools are.
        let tools = site(&python_of_client());
        std::fs::write(site(&python).join("tools.pth"), tools.to_str().expect("UTF-8")).expect("written");
        run(tool(&["pip", "--python"]).arg(&python).arg("install").args(offline).arg(&wheel));
        Self { python, wheel, directory }
    }

    /// Runs the tests of the package, and returns the line that counts them.
    fn pytest(&self, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let mut command = Command::new(&self.python);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PORTCULLIS_")) {
            command.env_remove(name);
        }
        command.args(["-m", "pytest", "-q", "--no-header"]).args(arguments);
        command.envs(variables.iter().copied());
        command.env("PORTCULLIS_TEST_WHEEL", &self.wheel).env("PORTCULLIS_TEST_TOOLS", python_of_client());
        command.env("HYPOTHESIS_STORAGE_DIRECTORY", self.directory.path().join("hypothesis"));
        command.env("no_proxy", "*");
        let said = run(&mut command);
        said.trim_end().lines().last().expect("a line").to_owned()
    }
}

/// A service that answers as its path says, else with what it got.
fn service() -> Backend {
    Backend::answering(|request| {
        let whole = |head: &str, body: &[u8]| {
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        match request.target.split('?').next().unwrap_or_default() {
            "/nothing" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/unchanged" => b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_vec(),
            "/empty" => whole("200 OK", b""),
            "/failed" => whole("500 Internal Server Error\r\nContent-Type: text/plain", b"sorry"),
            "/busy" => whole("503 Service Unavailable\r\nRetry-After: 0", b"busy"),
            "/moved" => whole("302 Found\r\nLocation: /orders/v1/elsewhere", b"moved"),
            "/packed" => whole(
                "200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip",
                &STANDARD.decode(PACKED).expect("Base64"),
            ),
            "/large" => whole("200 OK", &vec![b'x'; 300_000]),
            "/same" => whole("200 OK\r\nContent-Type: application/octet-stream", &request.body),
            "/events" => whole("200 OK\r\nContent-Type: text/event-stream", b"data: 1\n\n"),
            "/pieces" => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n".to_vec()
            }
            _ => {
                let fields: serde_json::Map<String, Value> =
                    request.headers.iter().map(|(name, value)| (name.to_lowercase(), json!(value))).collect();
                let body = json!({
                    "method": request.method, "target": request.target, "headers": fields,
                    "body": String::from_utf8_lossy(&request.body),
                });
                whole("200 OK\r\nContent-Type: application/json", body.to_string().as_bytes())
            }
        }
    })
}

/// The public keys of RFC 9421, as a client declares them.
fn keys() -> Value {
    let path = Path::new(ROOT).join("spec/vectors/http-signatures.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).expect("vectors")).expect("JSON");
    let named = vectors["keys"].as_object().expect("keys");
    let public = named.values().filter(|key| !key["public_pem"].is_null());
    let declared =
        public.map(|key| json!({"id": key["algorithm"], "algorithm": key["algorithm"], "pem": key["public_pem"]}));
    declared.collect()
}

/// A gateway, its services and the client `shop`, and the variables that name them to the tests in Python.
struct House {
    gateway: Gateway,
    _service: Backend,
    variables: Vec<(&'static str, String)>,
}

impl House {
    fn new() -> Self {
        let (gateway, service) = (Gateway::with(SETTINGS), service());
        let targets = json!([{"url": service.url()}]);
        let declare = |name: &str, targets: &Value, require: Value| {
            let policies = json!({"signature": {"sign_answers": true}});
            let declared = json!({"targets": targets, "require": require, "policies": policies});
            gateway.admin_ok("PUT", &format!("/services/{name}"), Some(&declared), 201);
        };
        declare("orders/v1", &targets, json!([["signature"]]));
        declare("sealed/v1", &targets, json!([["signature", "sealed"]]));
        declare("mine/v1", &targets, json!([["signature", "bearer"]]));
        declare("users/v1", &targets, json!([["bearer", "api_key"]]));
        // Nobody listens on the port of TCP 1.
        declare("down/v1", &json!([{"url": "http://127.0.0.1:1"}]), json!([["signature"]]));
        let user = json!({"username": "ada", "password": PASSWORD, "user_info": {"id": 7}});
        gateway.admin_ok("POST", "/users", Some(&user), 201);
        let client = json!({"name": "shop", "services": ["*"], "access_key": "shop-7Qm2"});
        let secret = text(&gateway.admin_ok("POST", "/clients", Some(&client), 201), "secret_key");
        gateway.admin_ok("PUT", "/clients/shop", Some(&json!({"services": ["*"], "keys": keys()})), 200);
        let key = text(&gateway.admin_ok("POST", "/clients/shop/api-keys", None, 201), "api_key");
        let variables = vec![
            ("PORTCULLIS_TEST_GATEWAY", format!("http://{}", gateway.data)),
            ("PORTCULLIS_TEST_ACCESS_KEY", "shop-7Qm2".to_owned()),
            ("PORTCULLIS_TEST_SECRET_KEY", secret),
            ("PORTCULLIS_TEST_API_KEY", key),
            ("PORTCULLIS_TEST_USERNAME", "ada".to_owned()),
            ("PORTCULLIS_TEST_PASSWORD", PASSWORD.to_owned()),
        ];
        Self { gateway, _service: service, variables }
    }
}

#[test]
fn the_package_is_what_ruff_and_mypy_ask_for() {
    run(&mut tool(&["ruff", "format", "--check", "--no-cache"]));
    run(&mut tool(&["ruff", "check", "--no-cache"]));
    let cache = python_of_client().ancestors().nth(2).expect("the tools").join("mypy");
    run(tool(&["mypy", "--cache-dir"]).arg(cache));
}

#[test]
fn the_wheel_works_with_a_real_gateway() {
    let (installed, house) = (Installed::new(), House::new());
    let variables: Vec<_> = house.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let counted = installed.pytest(&variables, &[]);
    assert!(counted.contains(" passed") && !counted.contains("skipped"), "{counted}");
    // They have been there.
    for service in ["orders", "sealed", "mine", "users", "down"] {
        assert!(!house.gateway.logs(&format!("service={service}&limit=1")).is_empty(), "{service}");
    }
}

#[test]
fn without_a_gateway_its_tests_say_what_to_set() {
    let mut command = Command::new(python_of_client());
    let arguments = ["-m", "pytest", "-q", "-rs", "-m", "gateway", "tests/test_gateway.py"];
    command.args(arguments.map(OsStr::new)).env("PYTHONPATH", "src").env_remove("PORTCULLIS_TEST_GATEWAY");
    let said = run(&mut command);
    assert!(said.contains("PORTCULLIS_TEST_GATEWAY: URL of a gateway") && !said.contains(" passed"), "{said}");
}
