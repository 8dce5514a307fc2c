//! What is copied of exchanges, and what becomes of it.

use portcullis_core::body::Body;
use portcullis_core::capture::Capture as Kept;
use portcullis_core::memory::{ManualClock, MemoryCaptures};
use portcullis_core::message::names::PROXY_AUTHORIZATION;
use serde_json::json;

use super::*;
use crate::testing::{call, walk};

fn step(settings: &Value, captures: &Arc<MemoryCaptures>) -> Step {
    let settings: Settings = serde_json::from_value(settings.clone()).expect("settings");
    let redaction = Arc::new(Redaction::new(Vec::new(), &settings.redact_fields));
    let clock = Arc::new(ManualClock::at(7));
    Step::Policy(Arc::new(Capture { settings, redaction, captures: captures.clone(), clock }))
}

fn everything() -> Value {
    json!({"request": {"headers": true, "body": true}, "response": {"headers": true, "body": true}})
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut settings = everything();
    settings[name] = value.into();
    settings
}

/// Walks a call with this body, nobody reading it, and returns what is kept.
async fn kept(settings: &Value, captures: &Arc<MemoryCaptures>, body: Body) -> Option<Kept> {
    let mut call = call("POST", "/a", &[("x-api-key", "Z"), ("content-type", "text/plain")]);
    call.request.body = body;
    let (response, _) = walk(&step(settings, captures), &mut call, &[("x-answer", "1")]).await;
    drop(call);
    drop(response);
    captures.take().0.pop()
}

#[tokio::test]
async fn an_exchange_is_handed_over_when_the_answer_has_ended() {
    let captures = Arc::new(MemoryCaptures::new(1 << 20));
    let mut call = call("POST", "/a", &[("x-api-key", "Z")]);
    call.raw.removed.push((PROXY_AUTHORIZATION, "Z".parse().expect("a value")));
    call.request.query = Some("a=1&access_token=Z".into());
    let (response, _) = walk(&step(&everything(), &captures), &mut call, &[("set-cookie", "Z")]).await;
    assert!(captures.take().0.is_empty());
    drop(response);
    let found = captures.take().0.pop().expect("handed over");
    assert_eq!((found.summary.time, found.summary.status), (7_000, Some(200)));
    assert_eq!(found.query.as_deref(), Some("a=1&access_token=[redacted]"));
    let redacted = |name: &str| (name.to_owned(), "[redacted]".to_owned());
    assert_eq!(found.request.headers, Some(vec![redacted("x-api-key"), redacted("proxy-authorization")]));
    assert_eq!(found.response.headers, Some(vec![redacted("set-cookie")]));
    assert_eq!(captures.budget().taken(), 0);
}

#[tokio::test]
async fn a_call_whose_caller_has_gone_is_kept_without_an_answer() {
    let captures = Arc::new(MemoryCaptures::new(1 << 20));
    let Step::Policy(_) = step(&everything(), &captures) else { panic!("a policy") };
    let clock = Arc::new(ManualClock::at(7));
    let settings = serde_json::from_value(everything()).expect("settings");
    let capture = Capture { settings, redaction: Arc::default(), captures: captures.clone(), clock };
    drop(capture.begin(&Effects::outside_of_calls(), &mut call("GET", "/a", &[])));
    assert_eq!(captures.take().0.pop().expect("kept").summary.status, None);
}

#[tokio::test]
async fn a_body_is_copied_up_to_the_cap_and_no_byte_more() {
    let captures = Arc::new(MemoryCaptures::new(1 << 20));
    for (length, truncated) in [(9, false), (10, false), (11, true)] {
        let found = kept(&with("body_bytes", 10), &captures, Body::full("x".repeat(length))).await.expect("kept");
        let body = found.request.body.expect("a body");
        assert_eq!(body.text.expect("text").len(), length.min(10));
        assert_eq!((body.bytes, body.truncated), (length as u64, truncated), "{length}");
    }
}

#[tokio::test]
async fn what_finds_no_room_is_given_up_and_counted() {
    let own = size_of::<Exchange>() + 2 + 16 + 26;
    for (budget, is_kept) in [(own - 1, false), (own + 20, true), (own + 10, false)] {
        let captures = Arc::new(MemoryCaptures::new(budget));
        let settings = json!({"request": {"headers": true, "body": true}});
        let mut call = call("POST", "/a", &[("x-api-key", "Z"), ("content-type", "text/plain")]);
        call.request.body = Body::full("x".repeat(20));
        let (response, seen) = walk(&step(&settings, &captures), &mut call, &[]).await;
        assert!(seen.is_some() && response.status() == 200, "the call itself is not touched");
        drop((response, call));
        let (found, lost) = captures.take();
        assert_eq!((found.len(), lost), (usize::from(is_kept), u64::from(!is_kept)), "{budget}");
        assert_eq!(captures.budget().taken(), 0);
    }
}

#[tokio::test]
async fn only_what_is_wanted_is_kept() {
    let captures = Arc::new(MemoryCaptures::new(1 << 20));
    assert!(kept(&with("only", "errors"), &captures, Body::empty()).await.is_none());
    assert!(kept(&with("only", "all"), &captures, Body::empty()).await.is_some());
    let found = kept(&json!({"response": {"headers": true}}), &captures, Body::full("x")).await.expect("kept");
    assert!(found.request.headers.is_none() && found.request.body.is_none() && found.response.body.is_none());
    assert!(found.response.headers.is_some());
}

#[test]
fn a_sample_is_about_as_large_as_was_said() {
    let ids: Vec<_> =
        (0..10_000_u64).map(|number| RequestId::from_random((u128::from(number) << 64 | 77).to_be_bytes())).collect();
    let drawn = |sample| ids.iter().filter(|id| is_drawn(id, sample)).count();
    assert_eq!(drawn(100), 10_000);
    assert!((800..1_200).contains(&drawn(10)), "{}", drawn(10));
}
