//! The control plane in one piece, over a registry in memory, as requests meet it.

mod audit;
mod captures;
mod changers;
mod client_secrets;
mod clients;
mod declarations;
mod door;
mod enrolments;
mod hosts;
mod import;
mod logs;
mod register;
mod routes;
mod server;
mod services;
mod users;
mod writers;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use portcullis_core::body::Body as CallBody;
use portcullis_core::budget::Budget;
use portcullis_core::call::{
    Call, Dialect, Peer, RawRequest, Request as CallRequest, RequestId, Response as CallResponse, RouteFacts,
};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::directory::{Directory, KeyHash};
use portcullis_core::handler::OnControl;
use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::memory::{ManualClock, MemoryRegistry, MemoryState};
use portcullis_core::message::names::AUTHORIZATION;
use portcullis_core::message::{FieldMap, FieldValue};
use portcullis_core::model::ServiceId;
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_core::ports::{AccessLog, Beside, Clock, Session, SessionId, Sessions as _};
use portcullis_core::record::{OpenRecord, Record};
use portcullis_core::refusal::Refusal;
use portcullis_identity::login::LoginParts;
use portcullis_identity::{
    AccessTokens, Cost, LiveSession, Lockout, LockoutSettings, LoginSettings, MasterKey, PasswordLimits, Passwords,
    Revocations, Sessions, SigningKeys, TokenPairs, Users, hash_key,
};
use portcullis_policies::Parts;
use portcullis_proxy::explain::Explainer;
use portcullis_proxy::node::Node;
use portcullis_proxy::stage::Stage;
use portcullis_routing::builtins::{Builtin, Builtins};
use portcullis_routing::change::{ChangeContext, Changes, DryRun};
use portcullis_routing::routes::Meets;
use portcullis_routing::snapshot::{Publisher, Snapshot};
use portcullis_telemetry::{AccessLogWriter, CaptureSettings, CaptureStore, Counters};
use portcullis_upstream::guard::{Allow, Guard};
use portcullis_upstream::{self as upstream, Upstreams};
use serde_json::Value;
use tokio::sync::watch;

use crate::{AdminState, MetricsAccess, Registering, Registrar, RegistrationBounds, router};

/// How many connections the API keeps in these tests.
const CONNECTIONS: usize = 256;

const TOKEN: &str = "the-admin-token";
const METRICS_TOKEN: &str = "the-metrics-token";
const NOW: u64 = 1_700_000_000;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A control runtime that is the test's own.
struct Control;

impl Jobs for Control {
    fn submit(&self, _: Class, job: Job) -> Result<(), QueueFull> {
        tokio::spawn(job);
        Ok(())
    }
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Holds an error against its status and code; every error has the same form.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status.as_u16(), &self.body["code"]), (status, &Value::from(code)), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:portcullis:problem:{code}"));
        assert_eq!(self.body["request_id"], self.header("x-request-id"));
        assert!(self.body["title"].is_string() && self.body["detail"].is_string());
        self
    }

    #[track_caller]
    fn fine(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        &self.body
    }

    /// The places that a refusal complains about.
    fn places(&self) -> Vec<&str> {
        let problems = self.body["problems"].as_array().map_or(&[][..], Vec::as_slice);
        problems.iter().map(|problem| problem["path"].as_str().expect("a path")).collect()
    }
}

/// An endpoint at one path, and one with everything below it that clients must be granted.
fn builtins() -> Builtins {
    struct Nobody;

    #[async_trait]
    impl Endpoint for Nobody {
        async fn answer(&self, _: &mut Call) -> Result<CallResponse, Refusal> {
            Err(Refusal::NotServed)
        }
    }
    let at = |path, meets, grant: Option<&str>, require| Builtin {
        path,
        meets,
        grant: grant.map(|version| ServiceId {
            name: "auth".parse().expect("a name"),
            version: version.parse().expect("a name"),
        }),
        require,
        policies: BTreeMap::new(),
        endpoint: Arc::new(Nobody),
    };
    Builtins::new(vec![
        at("/-/token", Meets::Whole, None, Vec::new()),
        at("/auth/v1", Meets::Below, Some("v1"), vec![vec!["signature".to_owned()]]),
    ])
}

struct House {
    state: Arc<AdminState>,
    registry: Arc<MemoryRegistry>,
    directory: Arc<Directory>,
    publisher: Publisher,
    clock: Arc<ManualClock>,
    service: TowerToHyperService<axum::Router>,
    register: Pipeline,
    _log_directory: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let (house, starting) = Self::prepared().await;
        starting.await;
        house
    }

    /// A house in which changes wait until the future is done: those that wait by then share one commit.
    async fn prepared() -> (Self, impl Future<Output = ()>) {
        let clock = Arc::new(ManualClock::at(NOW));
        let registry = Arc::new(MemoryRegistry::default());
        let master = Arc::new(MasterKey::from_bytes(&[7; 32]));
        let sessions = Arc::new(Sessions::new(registry.clone(), clock.clone(), Duration::ZERO, 1 << 20));
        let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
        let limits = PasswordLimits { cost, at_a_time: 2, queue: 64, per_address: 64 };
        let passwords = Arc::new(Passwords::new(limits).expect("fine limits"));
        let (changes, pending) = Changes::prepare();
        let changing = Arc::new(changes.clone());
        let users =
            Arc::new(Users::new(registry.clone(), changing, passwords.clone(), sessions.clone(), clock.clone()));
        let directory = Arc::new(Directory::default());
        let parts = Arc::new(Parts {
            directory: directory.clone(),
            sessions: sessions.clone(),
            jobs: Arc::new(Control),
            ..Parts::for_dry_run("http://gate", clock.clone()).await.expect("keys")
        });
        let lockout = Arc::new(Lockout::new(&LockoutSettings::default(), clock.clone()));
        let keys =
            SigningKeys::load_or_create(&MemoryRegistry::default(), &master, clock.as_ref()).await.expect("keys");
        let of_logins = LoginParts {
            registry: registry.clone(),
            users: users.clone(),
            passwords,
            lockout: lockout.clone(),
            tokens: Arc::new(AccessTokens::new(Arc::new(keys), "http://gate", clock.clone())),
            sessions: sessions.clone(),
            master: master.clone(),
            directory: directory.clone(),
            clock: clock.clone(),
        };
        let settings = LoginSettings { session_ttl: Duration::from_secs(2_592_000), ..LoginSettings::default() };
        let token_pairs = Arc::new(TokenPairs::new(of_logins, settings));
        let (upstreams, builtins) = (upstreams(&clock), builtins());
        let standing = Revocations::new(directory.clone(), sessions.clone(), Arc::new(Control), clock.clone());
        let (publisher, _) = Publisher::new(0);
        let explainer = Explainer::new(&node(&clock, standing), publisher.clone());
        let workshop = ChangeContext {
            registry: registry.clone(),
            directory: directory.clone(),
            unseal: master.clone(),
            parts: parts.clone(),
            upstreams: upstreams.clone(),
            publisher: publisher.clone(),
            builtin: Snapshot::of_builtin(Vec::new(), &builtins, &parts).expect("compiled"),
            builtins: builtins.clone(),
            default_routes: Arc::default(),
        };
        let starting = async { pending.start(workshop).await.expect("started") };
        let counters = Arc::new(Counters::default());
        let log_directory = tempfile::tempdir().expect("a directory");
        let settings = portcullis_telemetry::Settings::in_directory(log_directory.path());
        let (log, recent) = AccessLogWriter::start(&settings, counters.clone()).expect("a log");
        let settings = CaptureSettings {
            directory: log_directory.path().join("captures"),
            max_bytes: 1 << 20,
            max_age: Duration::from_secs(60),
            queue_bytes: 1 << 20,
        };
        let captures = CaptureStore::start(&settings, clock.clone(), counters.clone()).expect("captures");
        let registrar = Arc::new(Registrar::new(RegistrationBounds::default(), clock.clone()));
        let state = Arc::new(AdminState {
            changes: changes.clone(),
            registrar: registrar.clone(),
            dry_run: DryRun::new(parts, upstreams, builtins),
            explainer,
            users,
            token_pairs,
            registry: registry.clone(),
            sessions,
            lockout,
            limiters: Arc::default(),
            directory: directory.clone(),
            nonces: Arc::new(MemoryState::new(1 << 20, clock.clone())),
            master,
            clock: clock.clone(),
            token: hash_key(TOKEN),
            metrics: MetricsAccess::Token(hash_key(METRICS_TOKEN)),
            tls: None,
            data_tls: None,
            renewals: None,
            hosts: vec!["gate.example".to_owned()],
            connections: CONNECTIONS,
            log,
            recent,
            captures,
            counters,
            started: Instant::now(),
            started_at: SystemTime::UNIX_EPOCH,
            stage: watch::channel(Stage::Serving).1,
        });
        let service = TowerToHyperService::new(router(state.clone()));
        let endpoint = Arc::new(OnControl::new(Registering::new(registrar, changes, clock.clone()), Arc::new(Control)));
        let facts = RouteFacts { name: "/-/register".into(), ..RouteFacts::default() };
        let register = Pipeline::new(Arc::new(facts), Vec::new(), endpoint);
        let house =
            Self { state, registry, directory, publisher, clock, service, register, _log_directory: log_directory };
        (house, starting)
    }

    /// A user logs in through a client, and this node remembers it.
    async fn open_session(&self, number: u8, user: &str, client: &str) -> SessionId {
        let session = Session {
            id: SessionId([number; 16]),
            user: user.parse().expect("a label"),
            client: client.parse().expect("a label"),
            user_info: "{}".into(),
            created_at: millis(self),
            expires_at: u64::MAX,
            refresh: KeyHash([number; 32]),
            predecessor: None,
            rotated_at: 0,
            access_until: None,
        };
        let (id, live) = (session.id, Arc::new(LiveSession::from(&session)));
        self.registry.open_session(session, Beside::at_most(100), Vec::new()).await.expect("opened");
        assert!(self.state.sessions.remember(&live, self.state.sessions.epoch(id)));
        id
    }

    /// Sends a request as it is.
    async fn raw(&self, request: Request<Body>) -> Answer {
        let response = self.service.call(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let is_text = parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let body = match bytes.as_ref() {
            [] => Value::Null,
            text if is_text => String::from_utf8(text.to_vec()).expect("UTF-8").into(),
            json => serde_json::from_slice(json).expect("JSON"),
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request with the admin token, and with header fields of its own.
    async fn send_with(&self, method: &str, path: &str, fields: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:6501");
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.raw(request.body(body.into()).expect("a request")).await
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        let fields = [("content-type", "application/json")];
        self.send_with(method, &format!("/api/v1{path}"), &fields, body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send_with("GET", &format!("/api/v1{path}"), &[], Body::empty()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send_with("DELETE", &format!("/api/v1{path}"), &[], Body::empty()).await
    }

    /// Every page of a list, joined.
    async fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}?limit={limit}{cursor}")).await;
            let page = page.fine(200);
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            assert!(page["items"].as_array().expect("items").len() <= limit);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    async fn enrolment(&self, body: Value) -> String {
        let answer = self.send("POST", "/enrolment-tokens", body).await;
        answer.fine(201)["token"].as_str().expect("a token").to_owned()
    }

    /// A microservice registers itself.
    async fn register(&self, token: &str, body: Value) -> Answer {
        let mut call = call(Method::POST, CallBody::full(body.to_string()));
        let value = FieldValue::of(&format!("Bearer {token}")).expect("a value");
        call.request.fields.set(AUTHORIZATION, value);
        self.answer(&mut call).await
    }

    async fn answer(&self, call: &mut Call) -> Answer {
        let response = self.register.run(call).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let mut headers = parts.headers;
        headers.insert("x-request-id", call.id.header().into());
        Answer { status: parts.status, headers, body: serde_json::from_slice(&bytes).expect("JSON") }
    }
}

fn upstreams(clock: &Arc<ManualClock>) -> Upstreams {
    let second = Duration::from_secs(1);
    Upstreams::new(
        upstream::Settings {
            guard: Guard::new(vec![Allow::Loopback], Vec::new()),
            per_target: 1,
            tunnels: 1,
            gathered: Budget::new(1 << 20),
            sockets: upstream::sockets::Sockets::new(8),
            names: upstream::names::Names::new(upstream::names::ResolveBy::System, 1, Duration::ZERO),
            queue_wait: second,
            connect_timeout: second,
            first_byte: second,
            body_idle: second,
            stream_idle: second,
            keep_alive: second,
            answer_head: 1 << 16,
            via: upstream::forwarding_fields::Via::new(&FieldValue::from_static("gate")),
            timeouts: Default::default(),
            files: "/nowhere".into(),
        },
        clock.clone(),
    )
}

fn node(clock: &Arc<ManualClock>, standing: Revocations) -> Node {
    Node::plain(Arc::new(NoLog), Arc::new(standing), clock.clone())
}

struct NoLog;

impl AccessLog for NoLog {
    fn write(&self, _record: &Record) {}
}

fn record(path: &str, status: u16) -> Record {
    let (time, id) = (SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), RequestId::from_random([1; 16]));
    Record { status, ..Record::begun(time, id, HERE, Method::POST, path.into()) }
}

/// A call to `/-/register`.
fn call(method: Method, body: CallBody) -> Call {
    let path = Path::parse("/-/register").expect("a path");
    let peer = Peer {
        socket: SocketAddr::from(([127, 0, 0, 1], 1)),
        client_ip: HERE,
        shared: false,
        scheme: "http",
        certificate: None,
    };
    Call::new(
        RequestId::from_random([1; 16]),
        peer,
        CallRequest {
            method,
            path,
            query: None,
            host: Host::parse(b"gate").expect("a host"),
            version: Version::HTTP_11,
            fields: FieldMap::new(),
            body,
        },
        RawRequest { target: "/-/register".parse().expect("a target"), removed: Vec::new() },
        Dialect::Http,
        OpenRecord::new(record("/-/register", 0), Instant::now(), Arc::new(NoLog)),
    )
}

fn millis(house: &House) -> u64 {
    house.clock.unix_millis()
}
