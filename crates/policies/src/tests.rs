//! What holds of every kind of policy. A new row in `KINDS` fails here until the kind has an example below, stands in the
//! reference, keeps trials free of traces and, if it is a credential, says what takes back what it has let in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use portcullis_core::body::Body;
use portcullis_core::call::{
    AdmittedBy, Call, ClientCertificate, Effects, Matched, Request, Response, RouteFacts, UserFacts,
};
use portcullis_core::directory::{ClientEntry, KeyOwner};
use portcullis_core::dry_run::DryRun;
use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::live_secret::LiveSecret;
use portcullis_core::memory::{ManualClock, MemoryCaptures};
use portcullis_core::message::FieldValue;
use portcullis_core::model::{Client, ClientSecret, Label, SecretUses, Service, ServiceId};
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_core::ports::routes::Routes;
use portcullis_core::ports::{Captures, Once, SessionId, SharedState, Spent, Unavailable};
use portcullis_core::refusal::Refusal;
use portcullis_identity::{LiveSession, hash_key};
use serde_json::{Value, json};

use crate::{Build, KINDS, Kind, Limiters, Parts, PolicyContext, RouteEnd, bearer, compile, testing};

const REFERENCE: &str = include_str!("../../../docs/reference/policies.md");
const SETTINGS: &str = include_str!("../../../docs/reference/policy-settings.md");

/// The key that the client `shop` shows.
const KEY: &str = "a key";
/// What the client `shop` signs and seals with.
const SECRET: &str = "1234";
/// Unix seconds.
const NOW: u64 = 1_700_000_000;
const SESSION: SessionId = SessionId([1; 16]);

/// One kind in use.
struct Example {
    /// Settings that give it something to do.
    settings: Value,
    /// What a call has to show so that it reaches the kind, or is let in by it.
    shows: Shows,
    /// Whether a real call leaves something behind in what the node remembers.
    leaves_traces: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Nothing,
    Token,
    Key,
    Certificate,
    Signature,
    Sealed,
}

fn example(kind: &str) -> Example {
    let whole = json!({"headers": true, "body": true});
    let (settings, shows, leaves_traces) = match kind {
        "capture" => (json!({"request": whole, "response": whole}), Shows::Nothing, true),
        "cors" => (json!({"origins": ["https://app.example.com"]}), Shows::Nothing, false),
        "ip_filter" => (json!({"allow": ["192.0.2.0/24"]}), Shows::Nothing, false),
        "throttle" => (json!({"rate": 1, "per": "1m"}), Shows::Nothing, true),
        "grpc_web" => (json!({}), Shows::Nothing, false),
        "request_limits" => (json!({"body_bytes": 10}), Shows::Nothing, false),
        "signature" | "sign_response" => (json!({}), Shows::Signature, true),
        "sealed" | "seal_response" => (json!({}), Shows::Sealed, true),
        "bearer" => (json!({}), Shows::Token, true),
        "api_key" => (json!({}), Shows::Key, false),
        "client_certificate" => {
            (json!({"clients": [{"san_dns": "shop.example.com", "client": "shop"}]}), Shows::Certificate, false)
        }
        // A field of the service, with no settings among its policies.
        "require" => (Value::Null, Shows::Key, false),
        "acl" => (json!({"rules": [{"effect": "allow", "path": "/"}]}), Shows::Key, false),
        "rate_limit" => (json!({"rate": 1, "per": "1m"}), Shows::Key, true),
        "headers" => (json!({"request": {"set": {"x-tenant": "a"}}}), Shows::Nothing, false),
        _ => panic!("'{kind}' is new: give it an example, so that the rules of this file hold for it too"),
    };
    Example { settings, shows, leaves_traces }
}

/// Counts what may happen once.
#[derive(Default)]
struct CountedState(AtomicUsize);

#[async_trait]
impl SharedState for CountedState {
    async fn once(&self, _: &Effects, _: Once<'_>) -> Result<Spent, Unavailable> {
        self.0.fetch_add(1, Relaxed);
        Ok(Spent::First)
    }
}

/// Knows the one route of the bench.
struct OneRoute;

impl Routes for OneRoute {
    fn find(&self, call: &Call, _: &Request) -> Result<Matched, Refusal> {
        let route = call.route.clone().ok_or(Refusal::NoRoute)?;
        Ok(Matched { route, matched: 0, matched_readings: Vec::new() })
    }

    fn has_own(&self, _: &Call, _: &Label) -> bool {
        false
    }
}

/// Counts what it is asked to do, and does nothing of it.
#[derive(Default)]
struct CountedJobs(AtomicUsize);

impl Jobs for CountedJobs {
    fn submit(&self, _: Class, _: Job) -> Result<(), QueueFull> {
        self.0.fetch_add(1, Relaxed);
        Err(QueueFull)
    }
}

struct Fine;

#[async_trait]
impl Endpoint for Fine {
    async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
        Ok(Response::new(Body::full("fine")))
    }
}

/// A node with one service behind one kind of policy.
struct Bench {
    parts: Arc<Parts>,
    jobs: Arc<CountedJobs>,
    captures: Arc<MemoryCaptures>,
    state: Arc<CountedState>,
    client: Arc<ClientEntry>,
    token: String,
    shows: Shows,
    pipeline: Pipeline,
}

/// What a node remembers of calls. Whatever a new kind remembers gets a row here.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    limits: usize,
    captured: usize,
    captures_lost: u64,
    capture_bytes: usize,
    jobs: usize,
    tokens: usize,
    passed: usize,
    held_bytes: usize,
    secret_used: Option<u64>,
}

impl Bench {
    async fn of(kind: &Kind) -> Self {
        let example = example(kind.name);
        let (jobs, captures) = (Arc::new(CountedJobs::default()), Arc::new(MemoryCaptures::new(1 << 20)));
        let state = Arc::<CountedState>::default();
        let clock = Arc::new(ManualClock::at(NOW));
        let parts = Arc::new(Parts {
            jobs: Arc::clone(&jobs) as _,
            captures: Arc::clone(&captures) as _,
            state: Arc::clone(&state) as _,
            routes: Arc::new(OneRoute),
            limiters: Arc::new(Limiters::default()),
            token_memory: 1 << 20,
            client_certificates: true,
            ..Parts::for_dry_run("http://gate", clock).await.expect("keys")
        });
        let (user, shop): (Label, Label) = ("ada".parse().expect("a label"), "shop".parse().expect("a label"));
        let id: ServiceId = "orders/v1".parse().expect("a service");
        let client = Client { services: vec!["*".parse().expect("all")], ..Client::default() };
        let mut entries = parts.directory.copy();
        entries.set_client(&shop, Some(client));
        entries.set_key(hash_key(KEY), Some(KeyOwner::Client(shop.clone())));
        let kept = ClientSecret { sealed: String::new(), uses: SecretUses::all(), created_at: 1, not_after: None };
        entries.set_secret(&shop, "one", Some(LiveSecret::new("one", &kept, SECRET.into())));
        parts.directory.publish(entries);
        let client = parts.directory.read(|entries| entries.client(&shop).cloned()).expect("a client");
        let session = LiveSession {
            id: SESSION,
            user: user.shared(),
            client: shop.clone(),
            created_at: 0,
            expires_at: u64::MAX,
            access_until: None,
            user_json: FieldValue::from_static("e30="),
        };
        parts.sessions.remember(&Arc::new(session), parts.sessions.epoch(SESSION));
        let claims = parts.tokens.claims_for(&user, &shop, SESSION, Duration::from_secs(300));
        let token = parts.tokens.issue(&claims).expect("issued");

        let mut service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
        if !example.settings.is_null() {
            service.policies.insert(kind.settings.to_owned(), example.settings);
        }
        service.require = match example.shows {
            Shows::Nothing => Vec::new(),
            Shows::Token => vec![vec!["bearer".to_owned()]],
            Shows::Key => vec![vec!["api_key".to_owned()]],
            Shows::Certificate => vec![vec!["client_certificate".to_owned()]],
            Shows::Signature => vec![vec!["signature".to_owned()]],
            Shows::Sealed => vec![vec!["signature".to_owned(), "sealed".to_owned()]],
        };
        let steps =
            compile("orders", None, &BTreeMap::new(), RouteEnd::Service(&id), &service, &parts).expect("good settings");
        let facts = RouteFacts { name: "orders".into(), service: Some(id), ..RouteFacts::default() };
        let pipeline = Pipeline::sharing(Arc::new(facts), steps, Arc::new(Fine));
        Self { parts, jobs, captures, state, client, token, shows: example.shows, pipeline }
    }

    /// A call that shows what it has to.
    fn call(&self) -> Call {
        let token = format!("Bearer {}", self.token);
        let field = match self.shows {
            Shows::Token => Some(("authorization", token.as_str())),
            Shows::Key => Some(("x-api-key", KEY)),
            _ => None,
        };
        let mut call = testing::call("GET", "/orders/v1/7", field.as_slice());
        call.route = Some(Arc::clone(&self.pipeline.route));
        if matches!(self.shows, Shows::Signature | Shows::Sealed) {
            call.claimed = Some(Arc::clone(&self.client));
            testing::sign(&mut call, SECRET, NOW, self.shows == Shows::Sealed);
        }
        if self.shows == Shows::Certificate {
            let dns_names = vec!["shop.example.com".into()];
            call.peer.certificate = Some(Arc::new(ClientCertificate { dns_names, ..ClientCertificate::default() }));
        }
        call
    }

    /// Status of the answer, what stands for the caller, and what was learnt if it was a dry run. The answer is gone then.
    async fn walk(&self, mut call: Call) -> (u16, AdmittedBy, Option<Box<DryRun>>) {
        let response = self.pipeline.run(&mut call).await;
        (response.status().as_u16(), call.caller.admitted_by.clone(), call.dry_run.take())
    }

    /// What was captured since the last time, and what else is remembered.
    fn traces(&self) -> Traces {
        let (captured, captures_lost) = self.captures.take();
        Traces {
            limits: self.parts.limiters.keys(),
            captured: captured.len(),
            captures_lost,
            capture_bytes: self.captures.budget().taken(),
            jobs: self.jobs.0.load(Relaxed),
            tokens: bearer::remembered_tokens(),
            passed: self.state.0.load(Relaxed),
            held_bytes: self.parts.holding.requests.taken(),
            secret_used: self.client.secrets[0].last_used(),
        }
    }
}

#[tokio::test]
async fn a_trial_of_any_kind_leaves_no_trace() {
    for kind in KINDS {
        let bench = Bench::of(kind).await;
        let before = bench.traces();
        let user = UserFacts { name: "ada".into(), user_json: FieldValue::from_static("e30=") };
        let believed = DryRun::of(Some(Arc::clone(&bench.client)), Some(user), Some(Arc::clone(&bench.client)));
        for (dry_run, shown) in [(DryRun::default(), true), (DryRun::default(), true), (believed, false)] {
            let mut call = if shown { bench.call() } else { testing::call("GET", "/orders/v1/7", &[]) };
            if !shown && bench.shows == Shows::Sealed {
                // Who is believed to call cannot be believed to have sealed something.
                continue;
            }
            call.dry_run = Some(Box::new(dry_run));
            let (status, _, dry_run) = bench.walk(call).await;
            let steps: Vec<_> = dry_run.expect("a dry_run").steps.iter().map(|step| step.name).collect();
            assert_eq!(status, 200, "{}: {steps:?}", kind.name);
            let step = if matches!(kind.build, Build::Credential(_)) { "require" } else { kind.name };
            assert!(steps.contains(&step), "{}: {steps:?}", kind.name);
            assert_eq!(bench.traces(), before, "{}", kind.name);
        }
        // And the real one may be first.
        assert_eq!(bench.walk(bench.call()).await.0, 200, "{}: nothing is used up", kind.name);
        assert_eq!(bench.traces() != before, example(kind.name).leaves_traces, "{}", kind.name);
    }
}

#[tokio::test]
async fn every_credential_says_what_takes_it_back() {
    for kind in KINDS.iter().filter(|kind| matches!(kind.build, Build::Credential(_))) {
        let bench = Bench::of(kind).await;
        let (status, admitted_by, _) = bench.walk(bench.call()).await;
        assert_eq!(status, 200, "{}", kind.name);
        assert!(
            !admitted_by.are_none(),
            "'{}' lets long calls in and says in no row of `AdmittedBy` what ends them",
            kind.name
        );
    }
}

/// The result code of an answer in the dialect `fo`.
fn result(response: &Response) -> Option<u64> {
    let body: Value = serde_json::from_slice(response.body().piece()?).ok()?;
    body["code"].as_u64()
}

#[tokio::test]
async fn who_proves_a_claim_is_not_counted_among_those_who_do_not() {
    let bench = Bench::of(KINDS.iter().find(|kind| kind.name == "signature").expect("a kind")).await;
    let mut service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    service.require = vec![vec!["signature".to_owned(), "bearer".to_owned()]];
    let id: ServiceId = "orders/v1".parse().expect("a service");
    let steps = compile("orders", None, &BTreeMap::new(), RouteEnd::Service(&id), &service, &bench.parts)
        .expect("good settings");
    let pipeline = Pipeline::sharing(Arc::clone(&bench.pipeline.route), steps, Arc::new(Fine));
    let mut walked = Vec::new();
    for number in 0..140 {
        // The first half is signed, and shows no token; the other has nothing to show.
        let mut call = bench.call();
        if number >= 70 {
            call.raw.removed.retain(|(name, _)| name.as_str() != "x-fo-signature");
        }
        walked.push(result(&pipeline.run(&mut call).await));
    }
    assert_eq!(walked[..70], [Some(401); 70]);
    assert_eq!(walked[70..130], [Some(400); 60]);
    assert_eq!(walked[130..], [Some(429); 10]);
}

/// The kinds in the first column of the table that gives their order.
fn in_the_table() -> Vec<&'static str> {
    let rows = REFERENCE.lines().skip_while(|line| !line.starts_with("| in order |")).skip(2);
    let first = rows.map_while(|row| row.strip_prefix("| ")?.split(" |").next());
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_kind_stands_in_the_reference_in_its_place() {
    let steps = KINDS.iter().filter(|kind| !matches!(kind.build, Build::Require(_)));
    let names: Vec<_> = steps.map(|kind| kind.name).collect();
    assert_eq!(in_the_table(), names, "the table at the top of docs/reference/policies.md");
    for kind in KINDS.iter().filter(|kind| kind.settings == kind.name) {
        let name = format!("`{}`", kind.name);
        let heads = |page: &str| page.lines().any(|line| line.starts_with("## ") && line.contains(&name));
        assert!(heads(SETTINGS), "{name} has no section in docs/reference/policy-settings.md");
        let is_field = matches!(kind.build, Build::Require(_));
        assert!(is_field || heads(REFERENCE), "{name} has no section in docs/reference/policies.md");
    }
}

#[tokio::test]
async fn fuzz_settings_of_policies() {
    let parts = Arc::new(Parts::for_dry_run("http://gate", Arc::new(ManualClock::at(1))).await.expect("keys"));
    let id: ServiceId = "orders/v1".parse().expect("a service");
    let service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
    let own = BTreeMap::new();
    let site = PolicyContext {
        route: "orders",
        is_of_client: false,
        own: &own,
        end: RouteEnd::Service(&id),
        service: &service,
        parts: &parts,
    };
    let examples: Vec<_> = KINDS.iter().map(|kind| example(kind.name).settings.to_string()).collect();
    let more = [
        r#"{"rules":[{"effect":"deny","path":"^/users/[0-9]+$","methods":["GET"],"clients":["shop"]}],"default":"deny"}"#,
        r#"{"limits":[{"name":"a","rate":2,"per":"1m","burst":3,"cost":1,"key":["address","header:x-a"]}]}"#,
        r#"{"keys":[{"issuer":"https://a","algorithm":"ES256","jwk":{"kty":"EC"}}],"subject":"any","query":true}"#,
        r#"{"response":{"remove":["x-a"],"set":{"x-b":"c"},"add":{"x-d":"e"}},"method_override":"allow"}"#,
        "null",
        "[]",
        "[[[[0]]]]",
    ];
    let seeds: Vec<_> = examples.iter().map(String::as_str).chain(more).collect();
    crate::fuzzing::run("settings_of_policies", &seeds, |input| {
        let value: Value = serde_json::from_slice(input).ok()?;
        let answers = KINDS.iter().map(|kind| {
            let problems = match kind.build {
                Build::Step(build) => build(&site, Some(&value)).err(),
                Build::Credential(build) => build(&site, Some(&value)).err(),
                Build::Require(_) => None,
            };
            // What is wrong is told, each mistake with its place among the settings of the kind.
            for problem in problems.iter().flatten() {
                let place = format!("policies.{}", kind.settings);
                assert!(problem.path.starts_with(&place) && !problem.message.is_empty(), "{problem:?}");
            }
            assert!(problems.as_ref().is_none_or(|problems| !problems.is_empty()), "{}", kind.name);
            problems.map(|problems| problems.len().min(4))
        });
        Some(answers.collect::<Vec<_>>())
    });
}

#[tokio::test]
async fn an_endpoint_of_the_gateway_has_no_step_that_it_does_not_need() {
    let clock = Arc::new(ManualClock::at(0));
    let parts = Arc::new(Parts::for_dry_run("http://gate", clock).await.expect("keys"));
    let grant: ServiceId = "orders/v1".parse().expect("an id");
    let names = |require: Value, policies: Value, grant: Option<&ServiceId>, client: Option<&Label>| {
        let service: Service = serde_json::from_value(json!({"targets": [], "require": require, "policies": policies}))
            .expect("a declaration");
        let end = RouteEnd::Builtin { path: "/-/token", grant };
        let steps = compile("token", client, &service.policies, end, &service, &parts).expect("good settings");
        steps.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let limits = json!({"request_limits": {"body_bytes": 9}});
    // An open one keeps from the endpoint what nobody has opened.
    assert_eq!(names(json!([]), limits, None, None), ["request_limits", "require"]);
    assert_eq!(names(json!([]), json!({"acl": {"default": "deny"}}), None, None), ["require", "acl"]);
    assert_eq!(names(json!([["api_key"]]), json!({}), None, None), ["require"]);
    // Whoever must be granted it, or is the one client of its route, is asked for that.
    assert_eq!(names(json!([]), json!({}), Some(&grant), None), ["require", "acl"]);
    assert_eq!(
        names(json!([["bearer"]]), json!({}), None, Some(&"shop".parse().expect("a label"))),
        ["require", "acl"]
    );
    assert_eq!(
        names(
            json!([["signature"]]),
            json!({"cors": {"origins": ["https://a.example"]}, "throttle": {"rate": 1, "per": "1m"}}),
            Some(&grant),
            None
        ),
        ["cors", "throttle", "sign_response", "seal_response", "require", "acl"]
    );
}
