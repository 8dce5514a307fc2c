//! What a handler is asked, and what becomes of its answers.

use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use http::{Uri, Version};

use super::*;
use crate::call::{Dialect, Peer, RawRequest, Request, RouteFacts};
use crate::canonical::{Host, Path};
use crate::jobs::{Job, QueueFull};
use crate::message::FieldValue;
use crate::message::names::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use crate::model::Client;
use crate::ports::AccessLog;
use crate::record::{OpenRecord, Record};

/// Does jobs where they are submitted, but for one class that is full.
#[derive(Default)]
struct Here {
    full: Option<Class>,
    done: Mutex<Vec<Class>>,
}

impl Jobs for Here {
    fn submit(&self, class: Class, job: Job) -> Result<(), QueueFull> {
        if self.full.as_ref() == Some(&class) {
            return Err(QueueFull);
        }
        self.done.lock().expect("not poisoned").push(class);
        tokio::spawn(job);
        Ok(())
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<Record>>);

impl AccessLog for Log {
    fn write(&self, record: &Record) {
        self.0.lock().expect("not poisoned").push(record.clone());
    }
}

static READS: [FieldName; 2] = [CONTENT_TYPE, COOKIE];

/// Says what it was asked.
struct Echo {
    methods: Option<&'static str>,
    body_limit: u64,
}

#[async_trait]
impl Handler for Echo {
    type Seen = &'static str;

    fn methods(&self) -> Option<&'static str> {
        self.methods
    }

    fn reads(&self) -> &'static [FieldName] {
        &READS
    }

    fn admit(&self, asked: &Asked) -> Result<Admitted<Self::Seen>, Refusal> {
        assert!(asked.body.is_empty(), "the body is not read yet");
        match &*asked.rest {
            "/refused" => Err(Refusal::NoRoute),
            "/answered" => Ok(Admitted::Answered(http::Response::new("at once".into()).into())),
            _ => Ok(Admitted::Work { class: Class::Logins, body_limit: self.body_limit, seen: "seen" }),
        }
    }

    async fn handle(&self, asked: Asked, seen: &'static str) -> Result<Reply, Refusal> {
        let names: Vec<_> = asked.fields().iter().map(|(name, _)| name.as_str().to_owned()).collect();
        let client = asked.client.as_ref().map_or("nobody", |client| client.name.as_str());
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let said = format!("{} {} {seen} {} {client} {body}", asked.method, asked.rest, names.join("+"));
        let response = http::Response::new(said.into());
        Ok(Reply { response, user: Some("ada".parse().expect("a label")), client: None })
    }
}

fn call(log: &Arc<Log>, method: Method, rest: &str, body: Body) -> Call {
    let (id, client_ip) = (RequestId::from_random([7; 16]), [192, 0, 2, 7].into());
    let path = Path::parse(&format!("/own{rest}")).expect("a path");
    let record = Record::begun(SystemTime::UNIX_EPOCH, id.clone(), client_ip, method.clone(), path.shared());
    let peer = Peer { socket: (client_ip, 4711).into(), client_ip, shared: false, scheme: "http", certificate: None };
    let mut fields = FieldMap::new();
    for name in [CONTENT_TYPE, AUTHORIZATION, COOKIE] {
        fields.add(name, FieldValue::from_static("x"));
    }
    let (host, version) = (Host::unnamed(), Version::HTTP_11);
    let request = Request { method, path, query: None, host, version, fields, body };
    let raw = RawRequest { target: Uri::from_static("/"), removed: Vec::new() };
    let record = OpenRecord::new(record, Instant::now(), Arc::<Log>::clone(log));
    let mut call = Call::new(id, peer, request, raw, Dialect::Http, record);
    call.matched = "/own".len();
    call
}

fn endpoint(methods: Option<&'static str>, body_limit: u64, jobs: &Arc<Here>) -> OnControl<Echo> {
    OnControl::new(Echo { methods, body_limit }, Arc::<Here>::clone(jobs))
}

async fn said(endpoint: &OnControl<Echo>, call: &mut Call) -> Result<String, &'static str> {
    let mut body = endpoint.answer(call).await.map_err(|refusal| refusal.code())?.into_body();
    let mut bytes = Vec::new();
    body.read_into(&mut bytes, 1_000).await.expect("a body");
    Ok(String::from_utf8(bytes).expect("text"))
}

#[tokio::test]
async fn a_handler_is_given_what_it_reads_and_no_more() {
    let (log, jobs) = (Arc::default(), Arc::<Here>::default());
    let endpoint = endpoint(Some("POST, PUT"), 9, &jobs);
    let mut asked = call(&log, Method::POST, "/a", Body::full("body"));
    assert_eq!(said(&endpoint, &mut asked).await.as_deref(), Ok("POST /a seen content-type+cookie nobody body"));
    drop(asked);
    let record = log.0.lock().expect("not poisoned").pop().expect("recorded");
    assert_eq!((record.user.as_deref(), record.client.as_deref()), (Some("ada"), None));
    assert_eq!(*jobs.done.lock().expect("not poisoned"), [Class::Logins]);
}

#[tokio::test]
async fn what_is_known_at_once_is_no_job_and_leaves_the_body() {
    let (log, jobs) = (Arc::default(), Arc::<Here>::default());
    let one = endpoint(Some("POST"), 9, &jobs);
    for (method, rest, want) in [
        (Method::GET, "/a", Err("method_not_allowed")),
        (Method::POST, "/refused", Err("no_route")),
        (Method::POST, "/answered", Ok("at once")),
    ] {
        let mut asked = call(&log, method, rest, Body::full("body"));
        assert_eq!(said(&one, &mut asked).await.as_deref().map_err(|code| *code), want, "{rest}");
        assert!(!asked.request.body.is_empty(), "{rest}");
    }
    assert_eq!(*jobs.done.lock().expect("not poisoned"), []);
    let mut asked = call(&log, Method::POST, "/a", Body::full("0123456789"));
    assert_eq!(said(&one, &mut asked).await, Err("body_too_large"));
    // One that takes every method says for itself what becomes of them, and one may leave bodies alone.
    let (every, none) = (endpoint(None, 9, &jobs), endpoint(Some("POST"), 0, &jobs));
    let mut asked = call(&log, Method::DELETE, "", Body::empty());
    assert_eq!(said(&every, &mut asked).await.as_deref(), Ok("DELETE  seen content-type+cookie nobody "));
    let mut asked = call(&log, Method::POST, "/a", Body::full("body"));
    assert_eq!(said(&none, &mut asked).await.as_deref(), Ok("POST /a seen content-type+cookie nobody "));
    assert!(!asked.request.body.is_empty());
}

#[tokio::test]
async fn a_full_class_is_told_with_a_time_to_come_back() {
    let (log, jobs) = (Arc::default(), Arc::new(Here { full: Some(Class::Logins), ..Here::default() }));
    let mut asked = call(&log, Method::POST, "/a", Body::empty());
    let refusal = endpoint(Some("POST"), 9, &jobs).answer(&mut asked).await.expect_err("full");
    assert_eq!((refusal.code(), refusal.facts().retry_after), ("overloaded", Some(1)));
    let jobs: Arc<dyn Jobs> = jobs;
    assert_eq!(jobs::run(&jobs, Class::Sessions, async { 7 }).await, Ok(7), "another class has room");
}

#[test]
fn the_client_is_the_one_that_credentials_show_or_the_routes_own() {
    let log = Arc::default();
    let entry = |name: &str| Arc::new(ClientEntry::new(name.parse().expect("a label"), Client::default()));
    let client = |call: &Call| Asked::of(call, &[]).client.map(|client| client.name.to_string());
    let mut asked = call(&log, Method::POST, "/a", Body::empty());
    asked.claimed = Some(entry("shop"));
    assert_eq!(client(&asked), None, "a claim is no credential");
    let of = |name: &str| RouteFacts { client: Some(name.parse().expect("a label")), ..RouteFacts::default() };
    asked.route = Some(Arc::new(of("shop")));
    assert_eq!(client(&asked).as_deref(), Some("shop"));
    asked.route = Some(Arc::new(of("till")));
    assert_eq!(client(&asked), None);
    asked.caller.token_client = Some(entry("till"));
    assert_eq!(client(&asked).as_deref(), Some("till"));
}
