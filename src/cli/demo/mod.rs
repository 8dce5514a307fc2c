//! `portcullis demo`: a gateway with two services behind it, a user and a client, and the commands to try them.
//!
//! Nothing is staged: the services register themselves over HTTP with an enrolment token, and the user and the
//! client are made through the admin API, as an operator would do it.

mod directory;
mod sample;
mod tour;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::Full;
use portcullis_core::secret::Secret;
use portcullis_proxy::inherit::Inherited;
use portcullis_telemetry::Counters;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::Gateway;
use crate::cli::admin::Admin;
use crate::cli::exchange::{Peer, exchange};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::{Config, ConfigError, reachable};
use directory::DemoDirectory;
use sample::{Catalogue, INVENTORY, ORDERS, Sample};
use tour::Tour;

/// The user who can log in.
const USER: &str = "ada";
/// The app that may call `orders` only.
const CLIENT: &str = "shop";
/// The enrolment token of the services.
const ENROLMENT: &str = "demo";
/// The version under which the services register.
const VERSION: &str = "v1";

/// Runs the demo until it is told to stop. `config` makes the configuration for a data directory; without one
/// of the caller's own, a fresh one is made and taken away at the end.
pub(crate) async fn run(
    given: Option<PathBuf>,
    config: impl FnOnce(PathBuf) -> Result<Config, ConfigError>,
    counters: &Arc<Counters>,
    output: &mut Output,
) -> Result<(), Failure> {
    // From here on a signal is an order to clean up.
    let mut stop = Stop::new()?;
    let directory = DemoDirectory::new(given)?;
    let mut config = config(directory.path().to_owned())?;
    // The tour speaks in clear, on this machine alone.
    let usual = Config::with_data_dir(config.data_dir.clone());
    config.listen = config.listen.or(usual.listen).map(|address| free(address, output)).transpose()?;
    (config.tls_listen, config.http_redirect, config.admin_tls) = (None, false, usual.admin_tls);
    config.admin_listen = free(config.admin_listen, output)?;
    let gateway = Gateway::start(config, Inherited::default(), Arc::clone(counters)).await?;
    let mut stage = DemoStage::new(&gateway)?;
    let shown = tokio::select! {
        shown = show(&mut stage, &gateway, directory.path(), output) => shown,
        () = stop.ordered() => Err(Failure::failed("stopped before the demo was ready")),
    };
    let outcome = match shown {
        Ok(()) => {
            stop.ordered().await;
            output.note("stopping")
        }
        Err(failure) => Err(failure),
    };
    let cleared = if directory.stays() { stage.clear().await } else { Ok(()) };
    gateway.stop().await?;
    outcome.and(cleared)
}

/// The orders to stop: Ctrl-C, SIGTERM, and the terminal being closed.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn ordered(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// What the demo has set up in the gateway so far.
struct DemoStage {
    admin: Admin,
    samples: Vec<Sample>,
    /// The paths of everything that was made, in its order.
    made: Vec<String>,
}

impl DemoStage {
    fn new(gateway: &Gateway) -> Result<Self, Failure> {
        let url = format!("http://{}", reachable(gateway.admin_addr));
        let admin = Admin::new(&url, &gateway.admin_token, None, false)?;
        Ok(Self { admin, samples: Vec::new(), made: Vec::new() })
    }

    /// Makes an object through the admin API and remembers it.
    async fn make(&mut self, list: &str, name: &str, body: &Value) -> Result<Value, Failure> {
        let reply = self.admin.post(list, body).await?.body;
        self.made.push(format!("{list}/{name}"));
        Ok(reply)
    }

    /// Starts a service and has it register itself.
    async fn open(&mut self, catalogue: Catalogue, gateway: SocketAddr, enrolment: &Secret) -> Result<(), Failure> {
        let sample = Sample::start(catalogue).await?;
        register(gateway, enrolment, &sample).await?;
        self.made.push(format!("/services/{}/{VERSION}", catalogue.name));
        self.samples.push(sample);
        Ok(())
    }

    /// Takes out what was made, the newest first, so that the next demo finds the directory as this one did.
    async fn clear(&mut self) -> Result<(), Failure> {
        while let Some(path) = self.made.pop() {
            self.admin.delete(&path).await?;
        }
        Ok(())
    }
}

/// Sets everything up and prints the tour.
async fn show(stage: &mut DemoStage, gateway: &Gateway, data_dir: &Path, output: &mut Output) -> Result<(), Failure> {
    let data = gateway.data_addr.ok_or_else(|| Failure::failed("nobody listens for calls"))?;
    let (data, admin) = (reachable(data), reachable(gateway.admin_addr));
    let enrolment = json!({"name": ENROLMENT, "pattern": "*"});
    let enrolment = secret(&stage.make("/enrolment-tokens", ENROLMENT, &enrolment).await?, "token")?;
    stage.open(ORDERS, data, &enrolment).await?;
    stage.open(INVENTORY, data, &enrolment).await?;
    let password = Secret::from(random_hex::<12>()?);
    let user_info = json!({"name": "Ada Lovelace", "role": "buyer"});
    let user = json!({"username": USER, "password": password.expose(), "user_info": user_info});
    stage.make("/users", USER, &user).await?;
    let client = json!({"name": CLIENT, "services": [format!("{}/{VERSION}", ORDERS.name)]});
    stage.make("/clients", CLIENT, &client).await?;
    let api_key = stage.admin.post(&format!("/clients/{CLIENT}/api-keys"), &json!({})).await?.body;
    let api_key = secret(&api_key, "api_key")?;

    let program = std::env::args().next().unwrap_or_else(|| "portcullis".to_owned());
    let data_dir = &std::path::absolute(data_dir)?;
    let tour = Tour { data, admin, data_dir, program: &program, user: USER, password: &password, api_key: &api_key };
    output.line(&format!("# The gateway answers on http://{data}, its admin API on http://{admin}."))?;
    for Sample { catalogue: Catalogue { name, path, .. }, address, .. } in &stage.samples {
        output.line(&format!("# Service {name}, on http://{address}, is called as /{name}/{VERSION}{path}."))?;
    }
    output.line(&format!("# Everything it keeps is in {}.", data_dir.display()))?;
    output.line("# Paste this into another terminal; Ctrl-C here ends the demo.")?;
    output.line("")?;
    for line in tour.lines() {
        output.line(&line)?;
    }
    Ok(())
}

/// A service registers itself, as any service would.
async fn register(gateway: SocketAddr, enrolment: &Secret, sample: &Sample) -> Result<(), Failure> {
    let (name, address) = (sample.catalogue.name, sample.address);
    let body = json!({"name": name, "version": VERSION, "base_url": format!("http://{address}")});
    let request = Request::builder()
        .method(Method::POST)
        .uri("/-/register")
        .header(HOST, gateway.to_string())
        .header(AUTHORIZATION, format!("Bearer {}", enrolment.expose()))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(Failure::failed)?;
    let answer = exchange(&Peer::in_clear(gateway.to_string()), request).await?;
    if answer.status().is_success() {
        return Ok(());
    }
    let document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let detail = document.get("detail").and_then(Value::as_str).unwrap_or("no reason was given");
    Err(Failure::Refused {
        detail: format!("service {name} could not register: {detail} ({})", answer.status().as_u16()),
        problems: Vec::new(),
    })
}

/// The address, if it is free; else the same one with a port of the system's choice, and a note.
fn free(preferred: SocketAddr, output: &mut Output) -> Result<SocketAddr, Failure> {
    match TcpListener::bind(preferred) {
        Ok(_) => Ok(preferred),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            output.note(&format!("{preferred} is taken; another port is used instead"))?;
            Ok(SocketAddr::new(preferred.ip(), 0))
        }
        Err(error) => Err(Failure::failed(format!("cannot listen on {preferred}: {error}"))),
    }
}

fn secret(reply: &Value, field: &str) -> Result<Secret, Failure> {
    let text = reply.get(field).and_then(Value::as_str);
    text.map(Secret::from).ok_or_else(|| Failure::failed(format!("the gateway's answer has no '{field}'")))
}

/// Random bytes in hexadecimal digits.
fn random_hex<const N: usize>() -> Result<String, Failure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::failed("the system has no random numbers to give"))?;
    Ok(portcullis_core::call::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::cli::output::tests::output;

    #[test]
    fn a_port_that_is_taken_is_named_and_replaced() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let taken = holder.local_addr().expect("bound");
        let (mut out, _, err) = output(false);
        let found = free(taken, &mut out).expect("replaced");
        assert_eq!(found, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        assert_eq!(err.text(), format!("{taken} is taken; another port is used instead\n"));
        drop(holder);
        assert_eq!(free(taken, &mut out).expect("free again"), taken);
    }
}
