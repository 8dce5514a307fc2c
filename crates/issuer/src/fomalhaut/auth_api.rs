//! Asking the Auth API of a client (delegated authentication): whether a user may log in, and changing a password.
//!
//! It is asked what the caller has said, to the letter, in the gateway's own name: over [`Outbound`], which looks where it
//! goes, follows no redirect, and takes no more than [`Bounds`] admit. Of what it says, nothing reaches a caller but the
//! user's information and a short message.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use portcullis_core::message::names::{CONTENT_TYPE, X_APP_ID, X_USER_JSON};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::model::AuthUrl;
use portcullis_core::ports::{Bounds, Outbound};
use portcullis_core::refusal::Refusal;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// `code` of an answer that lets a user in.
const YES: u64 = 200;
/// Bytes of a message for the caller; the rest is left out.
const MAX_MESSAGE: usize = 1_024;

/// Asks Auth APIs.
#[derive(Clone)]
pub struct AuthApi(Arc<dyn Outbound>);

/// For whom a password is changed.
pub(super) struct User {
    /// `X-User-Json`.
    pub(super) user_json: FieldValue,
    /// `X-App-Id`.
    pub(super) app_id: FieldValue,
}

/// What an Auth API says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Yes, and what it tells of the user: `{}`, if nothing.
    Yes(Value),
    /// No, perhaps with words for the caller.
    No(Option<String>),
}

impl AuthApi {
    /// Asks in the gateway's own name.
    pub fn over(outbound: Arc<dyn Outbound>) -> Self {
        Self(outbound)
    }

    /// Sends what a caller has said, and reads what is said to it.
    pub(super) async fn ask(
        &self,
        url: &AuthUrl,
        body: Zeroizing<Vec<u8>>,
        user: Option<User>,
    ) -> Result<Said, Refusal> {
        let mut request = Request::new(Bytes::from_owner(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse().map_err(|_| failed("its URL cannot be read"))?;
        let mut fields = request.fields_mut();
        fields.set(CONTENT_TYPE, FieldValue::from_static("application/json; charset=utf-8"));
        if let Some(User { user_json, app_id }) = user {
            fields.set(X_USER_JSON, user_json);
            fields.set(X_APP_ID, app_id);
        }
        let answer = self.0.send(request, Bounds::default()).await.map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("the Auth API has answered {}", answer.status().as_u16())));
        }
        read(answer.body())
    }
}

fn failed(private: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::AuthApiFailed { private: private.into() }
}

fn bad(private: &'static str) -> Refusal {
    Refusal::AuthApiAnswer { private }
}

/// Reads an answer in either of its forms: `code`, `value` and `message`, or `code`, `data` and `msg`.
fn read(body: &[u8]) -> Result<Said, Refusal> {
    let mut said: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| bad("the Auth API has answered no JSON object"))?;
    let mut first = |names: [&str; 2]| names.into_iter().find_map(|name| said.remove(name).filter(|it| !it.is_null()));
    if !first(["code", "code"]).is_some_and(|code| is_yes(&code)) {
        return Ok(Said::No(first(["message", "msg"]).and_then(message)));
    }
    Ok(Said::Yes(first(["value", "data"]).unwrap_or_else(|| Value::Object(Map::new()))))
}

fn is_yes(code: &Value) -> bool {
    code.as_u64() == Some(YES) || code.as_f64() == Some(200.0)
}

/// A message that is not longer than it may be.
fn message(value: Value) -> Option<String> {
    let Value::String(mut text) = value else { return None };
    let end = (0..=text.len().min(MAX_MESSAGE)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    Some(text)
}

#[cfg(test)]
mod tests {
    use http::Response;
    use portcullis_core::memory::MemoryOutbound;
    use portcullis_core::ports::OutboundError;
    use serde_json::json;
    use std::sync::Mutex;

    use super::*;

    fn yes(user_info: Value) -> Result<Said, Refusal> {
        Ok(Said::Yes(user_info))
    }

    fn no(message: Option<&str>) -> Result<Said, Refusal> {
        Ok(Said::No(message.map(str::to_owned)))
    }

    #[test]
    fn an_answer_has_two_forms() {
        for (body, expected) in [
            (json!({"code": 200, "value": {"id": 7}}), yes(json!({"id": 7}))),
            (json!({"code": 200, "data": {"id": 7}}), yes(json!({"id": 7}))),
            (json!({"code": 200, "value": {"id": 7}, "data": {"id": 8}}), yes(json!({"id": 7}))),
            (json!({"code": 200, "value": null, "data": {"id": 8}}), yes(json!({"id": 8}))),
            (json!({"code": 200, "value": [1, "a"]}), yes(json!([1, "a"]))),
            (json!({"code": 200}), yes(json!({}))),
            (json!({"code": 200, "value": null}), yes(json!({}))),
            (json!({"code": 200.0, "value": 1}), yes(json!(1))),
            (json!({"code": 400, "value": {"id": 7}, "message": "No", "msg": "Nein"}), no(Some("No"))),
            (json!({"code": 400, "msg": "Nein"}), no(Some("Nein"))),
            (json!({"code": 400, "message": {"id": 7}}), no(None)),
            (json!({"code": "200", "value": {"id": 7}}), no(None)),
            (json!({"code": true, "value": {"id": 7}}), no(None)),
            (json!({"code": 2000, "value": {"id": 7}}), no(None)),
            (json!({"code": [200], "value": {"id": 7}}), no(None)),
            (json!({"value": {"id": 7}}), no(None)),
            (json!({}), no(None)),
        ] {
            assert_eq!(read(body.to_string().as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_bad_answer() {
        let deep = format!(r#"{{"code":200,"value":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for body in [
            "",
            "<html>",
            "[]",
            "200",
            "null",
            r#"{"code":200"#,
            r#"{"code":200}{"code":200}"#,
            r#"{"code":200,"value":NaN}"#,
            "{\"code\":200,\"value\":\"\u{1}\"}",
            &deep,
        ] {
            let refused = read(body.as_bytes()).expect_err(body);
            assert_eq!(refused.code(), "auth_api_answer", "{body}");
        }
        assert!(read(&[b'"', 0xff, b'"']).is_err());
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let long = "\u{4e2d}".repeat(MAX_MESSAGE);
        let Ok(Said::No(Some(text))) = read(json!({"code": 1, "msg": long}).to_string().as_bytes()) else {
            panic!("no message")
        };
        assert_eq!(text, "\u{4e2d}".repeat(MAX_MESSAGE / 3));
    }

    async fn asked(
        answer: impl Fn() -> Result<Response<Bytes>, OutboundError> + Send + Sync + 'static,
        user: Option<User>,
    ) -> (Result<Said, Refusal>, Request<Bytes>) {
        let seen = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&seen);
        let outbound = MemoryOutbound::answering(move |request| {
            *kept.lock().expect("not poisoned") = Some(request);
            answer()
        });
        let url = "http://users.example.com/login?app=1".parse().expect("a URL");
        let body = Zeroizing::new(b"{\"password\": 1".to_vec());
        let said = AuthApi::over(Arc::new(outbound)).ask(&url, body, user).await;
        let request = seen.lock().expect("not poisoned").take().expect("it was asked");
        (said, request)
    }

    fn answer(status: u16, body: &'static str) -> Result<Response<Bytes>, OutboundError> {
        Ok(Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).expect("an answer"))
    }

    #[tokio::test]
    async fn it_is_asked_what_the_caller_has_said() {
        let (said, request) = asked(|| answer(201, r#"{"code":200}"#), None).await;
        assert_eq!(said, yes(json!({})));
        assert_eq!(
            (request.method(), request.uri().to_string().as_str()),
            (&Method::POST, "http://users.example.com/login?app=1")
        );
        assert_eq!(request.body().as_ref(), b"{\"password\": 1");
        let fields: Vec<_> = request.fields().names().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(fields, ["content-type"]);
        assert_eq!(request.fields().text(CONTENT_TYPE), Some("application/json; charset=utf-8"));
        let user = User { user_json: FieldValue::from_static("e30="), app_id: FieldValue::from_static("abcd") };
        let (_, request) = asked(|| answer(200, r#"{"code":200}"#), Some(user)).await;
        let fields = request.fields();
        assert_eq!((fields.text(X_USER_JSON), fields.text(X_APP_ID)), (Some("e30="), Some("abcd")));
    }

    #[tokio::test]
    async fn what_is_no_success_is_no_answer() {
        for status in [302, 304, 400, 401, 500, 503] {
            let (said, _) = asked(move || answer(status, r#"{"code":200,"value":{"id":"sesame"}}"#), None).await;
            let refused = said.expect_err("refused");
            assert_eq!(refused.code(), "auth_api_failed", "{status}");
            assert!(!refused.private().unwrap_or_default().contains("sesame"));
        }
        for error in [OutboundError::TooLarge { limit: 1 }, OutboundError::Forbidden("169.254.169.254".to_owned())] {
            let (said, _) = asked(move || Err(error.clone()), None).await;
            assert_eq!(said.expect_err("refused").code(), "auth_api_failed");
        }
        let (said, _) = asked(|| answer(200, "sesame"), None).await;
        let refused = said.expect_err("refused");
        assert_eq!(refused.code(), "auth_api_answer");
        assert!(!format!("{refused:?}").contains("sesame"), "{refused:?}");
    }
}
