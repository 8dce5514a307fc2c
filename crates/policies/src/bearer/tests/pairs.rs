//! Opaque tokens, and tokens in the query of fomalhaut's dialects: whose they are, and that they end here.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use portcullis_core::body::Body;
use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Dialect, Response, RouteFacts};
use portcullis_core::grpc;
use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::memory::MemoryRegistry;
use portcullis_core::message::FieldValue;
use portcullis_core::model::Client;
use portcullis_core::policy::{Endpoint, Pipeline};
use portcullis_core::ports::{Beside, Session, Sessions as _};
use portcullis_identity::Sessions;
use portcullis_identity::opaque::{self, Use};
use serde_json::json;

use super::*;

/// Tokens of the shop: of a pair, of a pair whose access token is over, of a signed session.
const TOKEN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa-";
const OVER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbb-";
const SIGNED: &str = "cccccccccccccccccccccccccc-";
/// A token of the till, and one of nobody.
const TILLS: &str = "dddddddddddddddddddddddddd-";
const NOBODYS: &str = "eeeeeeeeeeeeeeeeeeeeeeeeee-";

/// Runs jobs where it is, and counts them.
#[derive(Default)]
struct Control(AtomicUsize);

impl Jobs for Control {
    fn submit(&self, class: Class, job: Job) -> Result<(), QueueFull> {
        assert_eq!(class, Class::Sessions);
        self.0.fetch_add(1, Relaxed);
        tokio::spawn(job);
        Ok(())
    }
}

/// What came to the service.
#[derive(Default)]
struct Seen(Mutex<Vec<(Option<Bytes>, Option<FieldValue>)>>);

#[async_trait]
impl Endpoint for Seen {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        let user = call.caller.user.as_ref().map(|user| user.user_json.clone());
        self.0.lock().expect("not poisoned").push((call.request.query.clone(), user));
        Ok(Response::new(Body::empty()))
    }
}

struct Scene {
    clock: Arc<ManualClock>,
    registry: Arc<MemoryRegistry>,
    parts: Arc<Parts>,
    control: Arc<Control>,
    seen: Arc<Seen>,
}

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

/// What a refusal tells.
fn told(response: &Response) -> Value {
    serde_json::from_slice(response.body().piece().expect("a body")).expect("JSON")
}

impl Scene {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let registry = Arc::new(MemoryRegistry::default());
        let sessions = Sessions::new(registry.clone(), clock.clone(), Duration::ZERO, 1 << 20);
        let control = Arc::<Control>::default();
        let parts = Arc::new(Parts {
            sessions: Arc::new(sessions),
            jobs: Arc::clone(&control) as _,
            token_memory: 1 << 20,
            ..Parts::for_dry_run("http://gate", clock.clone()).await.expect("keys")
        });
        let scene = Self { clock, registry, parts, control, seen: Arc::default() };
        let mut entries = scene.parts.directory.copy();
        for name in ["shop", "till"] {
            let services = vec!["*".parse().expect("all")];
            entries.set_client(&label(name), Some(Client { services, ..Client::default() }));
        }
        scene.parts.directory.publish(entries);
        let (until, over) = (Some(100), Some(0));
        for (token, client, access_for) in
            [(TOKEN, "shop", until), (OVER, "shop", over), (SIGNED, "shop", None), (TILLS, "till", until)]
        {
            scene.open(token, client, access_for).await;
        }
        scene
    }

    /// Opens a session with the id of an opaque token.
    async fn open(&self, token: &str, client: &str, access_for: Option<u64>) {
        let now = NOW * 1_000;
        let session = Session {
            id: opaque::session_shown(token).expect("an opaque token"),
            user: Label::of_another(&label(client), &label("id=7")),
            client: label(client),
            user_info: r#"{"id":7}"#.into(),
            created_at: now,
            expires_at: now + 1_000_000,
            refresh: opaque::hash(Use::Refresh, token),
            predecessor: None,
            rotated_at: now,
            access_until: access_for.map(|seconds| now + seconds * 1_000),
        };
        self.registry.open_session(session, Beside::at_most(99), Vec::new()).await.expect("opened");
    }

    /// A signed token that names the session of an opaque one.
    fn signed(&self, token: &str) -> String {
        let id = opaque::session_shown(token).expect("an opaque token");
        let claims = self.parts.tokens.claims_for(&label("ada"), &label("shop"), id, Duration::from_secs(300));
        self.parts.tokens.issue(&claims).expect("issued")
    }

    /// A call of the shop in a dialect, with tokens in the dialect's field and a query.
    fn call(&self, form: Form, tokens: &[&str], query: &str) -> Call {
        let mut call = crate::testing::call("GET", "/orders/v1/7", &[]);
        call.dialect = Dialect::Fomalhaut(form);
        call.claimed = self.parts.directory.read(|entries| entries.client(&label("shop")).cloned());
        let field = FieldName::from_static(form.token_field());
        let shown = tokens.iter().map(|token| (field.clone(), token.parse().expect("a value")));
        call.raw.removed = shown.collect();
        call.request.query = (!query.is_empty()).then(|| Bytes::copy_from_slice(query.as_bytes()));
        call
    }

    async fn run(&self, require: &Value, call: &mut Call) -> Response {
        let mut service = Service::with_target("http://127.0.0.1:1".parse().expect("a URL"), None);
        service.require = serde_json::from_value(require.clone()).expect("kinds");
        let id: ServiceId = "orders/v1".parse().expect("a service");
        let steps = crate::compile("orders", None, &BTreeMap::new(), RouteEnd::Service(&id), &service, &self.parts);
        let steps = steps.expect("good settings");
        let facts = Arc::new(RouteFacts { name: "orders".into(), service: Some(id), ..RouteFacts::default() });
        call.route = Some(Arc::clone(&facts));
        Pipeline::sharing(facts, steps, Arc::clone(&self.seen) as _).run(call).await
    }

    async fn walk(&self, require: &Value, call: &mut Call) -> StatusCode {
        self.run(require, call).await.status()
    }

    /// What has come to the service since the last time: the query, and the user.
    fn seen(&self) -> Vec<(Option<Bytes>, Option<FieldValue>)> {
        std::mem::take(&mut *self.seen.0.lock().expect("not poisoned"))
    }

    /// The result code that is told, or 200 with what of the query came to the service.
    async fn ask(&self, mut call: Call) -> (u64, String) {
        let response = self.run(&json!([["bearer"]]), &mut call).await;
        let seen = self.seen().pop();
        match seen {
            Some((query, user)) => {
                assert_eq!(user, Some(portcullis_identity::sessions::user_json_header(r#"{"id":7}"#)));
                (200, query.map(|query| String::from_utf8_lossy(&query).into_owned()).unwrap_or_default())
            }
            None => {
                let told = told(&response);
                let text = told["message"].as_str().or(told["msg"].as_str()).unwrap_or_default().to_owned();
                assert!(text.ends_with("Bad Access Token"), "one answer for all of them: {told}");
                assert!(call.caller.user.is_none() && call.caller.admitted_by.are_none());
                (told["code"].as_u64().unwrap_or_default(), String::new())
            }
        }
    }
}

#[tokio::test]
async fn an_opaque_token_is_good_in_both_dialects_for_its_client_and_its_time() {
    let scene = Scene::new().await;
    for (form, wrong) in [(Form::Fo, 401), (Form::Api, 600)] {
        for (token, good) in
            [(TOKEN, true), (OVER, false), (SIGNED, false), (TILLS, false), (NOBODYS, false), ("x", false), ("", false)]
        {
            // From the registry, and from memory.
            for _ in 0..2 {
                let found = scene.ask(scene.call(form, &[token], "a=1")).await;
                let expected = if good { (200, "a=1".to_owned()) } else { (wrong, String::new()) };
                assert_eq!(found, expected, "{form:?} {token}");
                let found = scene.ask(scene.call(form, &[], &format!("access_token={token}"))).await;
                assert_eq!(found.0, if good { 200 } else { wrong }, "{form:?} {token}");
            }
        }
        assert_eq!(scene.ask(scene.call(form, &[], "")).await.0, wrong, "none");
    }
    scene.clock.advance(Duration::from_millis(99_999));
    assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 200);
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 401, "though its session lasts");
}

#[tokio::test]
async fn what_is_over_or_of_another_sort_costs_no_job_once_it_is_known() {
    let scene = Scene::new().await;
    let jobs = || scene.control.0.load(Relaxed);
    for token in [TOKEN, OVER, SIGNED, TILLS] {
        scene.ask(scene.call(Form::Fo, &[token], "")).await;
        let before = jobs();
        scene.ask(scene.call(Form::Fo, &[token], "")).await;
        assert_eq!(jobs(), before, "{token}");
    }
}

#[tokio::test]
async fn a_signed_token_never_stands_for_a_pair_nor_an_opaque_one_for_anything_else() {
    let scene = Scene::new().await;
    assert_eq!(scene.ask(scene.call(Form::Fo, &[&scene.signed(SIGNED)], "")).await.0, 200);
    for token in [TOKEN, OVER] {
        for _ in 0..2 {
            assert_eq!(scene.ask(scene.call(Form::Fo, &[&scene.signed(token)], "")).await.0, 401);
            let authorization = format!("Bearer {}", scene.signed(token));
            let mut call = crate::testing::call("GET", "/orders/v1/7", &[("authorization", &authorization)]);
            assert_eq!(scene.walk(&json!([["bearer"]]), &mut call).await.as_u16(), 401);
        }
    }
    let authorization = format!("Bearer {}", scene.signed(SIGNED));
    let mut call = crate::testing::call("GET", "/orders/v1/7", &[("authorization", &authorization)]);
    assert_eq!(scene.walk(&json!([["bearer"]]), &mut call).await.as_u16(), 200);
}

#[tokio::test]
async fn outside_of_fomalhauts_dialects_an_opaque_token_is_nobodys() {
    let scene = Scene::new().await;
    let authorization = format!("Bearer {TOKEN}");
    for dialect in [Dialect::Http, Dialect::OAuth, Dialect::Grpc(grpc::Form::Native)] {
        for remembered in [false, true] {
            if remembered {
                assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 200);
            }
            let before = scene.control.0.load(Relaxed);
            let mut call = crate::testing::call("GET", "/orders/v1/7", &[("authorization", &authorization)]);
            call.claimed = scene.parts.directory.read(|entries| entries.client(&label("shop")).cloned());
            call.dialect = dialect;
            scene.walk(&json!([["bearer"]]), &mut call).await;
            assert!(call.caller.user.is_none() && scene.seen().is_empty(), "{dialect:?}");
            assert_eq!(scene.control.0.load(Relaxed), before, "and is not even looked up");
        }
    }
}

#[tokio::test]
async fn the_field_goes_before_the_query_and_the_query_says_one_thing() {
    let scene = Scene::new().await;
    let escaped: String = TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let long = "x".repeat(9_000);
    for (fields, query, expected) in [
        (&[TOKEN][..], format!("access_token={NOBODYS}&a"), Some("a")),
        (&[TOKEN], format!("access_token={NOBODYS}&access_token={TILLS}"), Some("")),
        (&[TOKEN], "a=1;access%5Ftoken=x&b=2".to_owned(), Some("b=2")),
        (&[NOBODYS], format!("access_token={TOKEN}"), None),
        (&[""], format!("access_token={TOKEN}"), None),
        (&[TOKEN, TOKEN], String::new(), None),
        (&[TOKEN, NOBODYS], String::new(), None),
        (&[], format!("access_token={TOKEN}"), Some("")),
        (&[], format!("a=%20&access_token={TOKEN}&b"), Some("a=%20&b")),
        (&[], format!("access_token={escaped}"), Some("")),
        (&[], format!("%61ccess%5Ftoken={escaped}&b"), Some("b")),
        (&[], format!("access%5ftoken={TOKEN}&access_token={escaped}&c"), Some("c")),
        (&[], format!("a=1;access_token={TOKEN}&b"), Some("b")),
        (&[], format!("access_token={TOKEN};a=1"), Some("")),
        (&[], format!("access_token={TOKEN}&access_token={NOBODYS}"), None),
        (&[], format!("access_token={NOBODYS}&access_token={TOKEN}"), None),
        (&[], format!("access_token={TOKEN};access_token={NOBODYS}"), None),
        (&[], format!("access_token={TOKEN}&access%5Ftoken="), None),
        (&[], format!("access_token={TOKEN}&access_token"), None),
        (&[], format!("access_token=%20{TOKEN}"), None),
        (&[], format!("access_token={TOKEN}%00"), None),
        (&[], "access_token=%ff%fe".to_owned(), None),
        (&[], format!("access_token={long}"), None),
        (&[], format!("Access_Token={TOKEN}"), None),
        (&[], format!("xaccess_token={TOKEN}"), None),
    ] {
        let found = scene.ask(scene.call(Form::Fo, fields, &query)).await;
        match expected {
            Some(left) => assert_eq!(found, (200, left.to_owned()), "{fields:?} {query}"),
            None => assert_eq!(found.0, 401, "{fields:?} {query}"),
        }
    }
    // A signed one may stand there too.
    let signed = scene.signed(SIGNED);
    assert_eq!(scene.ask(scene.call(Form::Fo, &[], &format!("a&access_token={signed}"))).await, (200, "a".to_owned()));
}

#[tokio::test]
async fn the_query_of_a_dialect_never_has_the_token_on_its_way_whatever_the_route_asks_for() {
    let scene = Scene::new().await;
    for require in [json!([]), json!([["bearer"]]), json!([["bearer"], ["api_key"]])] {
        let mut call = scene.call(Form::Api, &[TOKEN], "a=1&access%5Ftoken=own&b;access_token=other&c");
        assert_eq!(scene.walk(&require, &mut call).await, StatusCode::OK, "{require}");
        let seen = scene.seen();
        assert_eq!(seen[0].0.as_deref(), Some(&b"a=1&c"[..]), "{require}");
    }
    // Elsewhere the parameter of an open service is its own.
    let mut call = crate::testing::call("GET", "/orders/v1/7", &[]);
    call.request.query = Some("access_token=own".into());
    assert_eq!(scene.walk(&json!([]), &mut call).await, StatusCode::OK);
    let seen = scene.seen();
    assert_eq!(seen[0].0.as_deref(), Some(&b"access_token=own"[..]));
}

#[tokio::test]
async fn what_a_pair_lets_in_is_let_in_as_long_as_its_access_token_and_its_session_last() {
    let scene = Scene::new().await;
    let mut call = scene.call(Form::Fo, &[TOKEN], "");
    assert_eq!(scene.walk(&json!([["bearer"]]), &mut call).await, StatusCode::OK);
    let admitted_by = &call.caller.admitted_by;
    assert_eq!(admitted_by.session, opaque::session_shown(TOKEN));
    assert_eq!((admitted_by.client.as_ref().map(Label::as_str), admitted_by.until), (Some("shop"), Some(NOW + 100)));
    let mut call = scene.call(Form::Fo, &[&scene.signed(SIGNED)], "");
    assert_eq!(scene.walk(&json!([["bearer"]]), &mut call).await, StatusCode::OK);
    assert_eq!(call.caller.admitted_by.until, None, "of a signed token the session alone counts");
}

#[tokio::test]
async fn a_client_that_is_disabled_takes_its_pairs_along_and_what_has_ended_stays_ended() {
    let scene = Scene::new().await;
    assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 200);
    let call = scene.call(Form::Fo, &[TOKEN], "");
    let set = |enabled: bool| {
        let mut entries = scene.parts.directory.copy();
        let services = vec!["*".parse().expect("all")];
        entries.set_client(&label("shop"), Some(Client { services, enabled, ..Client::default() }));
        scene.parts.directory.publish(entries);
    };
    set(false);
    assert_eq!(scene.ask(call).await.0, 401);
    set(true);
    assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 200);
    let id = opaque::session_shown(TOKEN).expect("an opaque token");
    scene.registry.end_session(id).await.expect("ended");
    scene.parts.sessions.forget(id);
    assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 401);
}

#[tokio::test]
async fn who_guesses_tokens_is_counted_and_who_claims_nothing_shows_none() {
    let scene = Scene::new().await;
    assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 200);
    let before = scene.control.0.load(Relaxed);
    let mut codes = Vec::new();
    for number in 0..70_u32 {
        let mut call = scene.call(Form::Fo, &[&format!("{number:027}")], "");
        let response = scene.run(&json!([["bearer"]]), &mut call).await;
        codes.push(told(&response)["code"].as_u64().expect("a code"));
    }
    assert_eq!((&codes[..60], &codes[60..]), (&[401; 60][..], &[429; 10][..]));
    // Beyond that a guess costs no look at the registry; a session that is known needs none.
    assert_eq!(scene.control.0.load(Relaxed) - before, 60);
    assert_eq!(scene.ask(scene.call(Form::Fo, &[TOKEN], "")).await.0, 200);
    // A token of the shop, in a call that claims to be of nobody known.
    let mut call = scene.call(Form::Fo, &[TOKEN], "");
    call.claimed = None;
    scene.walk(&json!([["bearer"]]), &mut call).await;
    assert!(call.caller.user.is_none());
}
