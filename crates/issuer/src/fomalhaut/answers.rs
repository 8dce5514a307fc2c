//! What fomalhaut's endpoints answer: JSON with `code`, `data` and `msg`, in this order, with the status 200 whatever the
//! code says. `fo` writes ASCII, `api` UTF-8.

use bytes::Bytes;
use http::{Response, StatusCode};
use portcullis_core::ascii_json::escaped;
use portcullis_core::dialect::fomalhaut::Form;
use portcullis_core::handler::Reply;
use portcullis_core::message::names::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::refusal::Refusal;
use portcullis_identity::Pair;
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

const JSON: FieldValue = FieldValue::from_static("application/json; charset=utf-8");

/// What `code` says where it went well.
const SUCCESS: u16 = 200;
/// Where the caller has to do something else.
const FAILURE: u16 = 400;

/// Why something is not done, in words for the caller.
pub(super) const INVALID_DATA: &str = "Invalid Request Data";
pub(super) const INVALID_REFRESH_TOKEN: &str = "Invalid or Expired Refresh Token";
pub(super) const LOGIN_FAILED: &str = "Login Failed";
pub(super) const CHANGE_FAILED: &str = "Change Password Failed";
/// What was done.
pub(super) const LOGGED_OUT: &str = "Logout Success";
pub(super) const CHANGED: &str = "Change Password Success";

/// `expires_in` of a token that is nobody's, as Redis says it.
const NOBODYS: i64 = -2;

#[derive(Serialize)]
struct Answer<'a, D> {
    code: u16,
    data: Option<D>,
    msg: &'a str,
}

/// A login's `data`.
#[derive(Serialize)]
struct LoggedIn<'a> {
    access_token: &'a str,
    refresh_token: &'a str,
    /// In `fo` the seconds from now, in `api` the Unix time in seconds.
    expires_in: u64,
    user_info: &'a RawValue,
}

/// A refresh's `data` in `fo`.
#[derive(Serialize)]
struct Refreshed<'a> {
    access_token: &'a str,
    refresh_token: &'a str,
    /// Seconds.
    expires_in: u64,
}

/// A refresh's `data` in `api`: the pair as the original stores it.
#[derive(Serialize)]
struct Stored<'a> {
    access_key: &'a str,
    user_info: &'a RawValue,
    access_token: &'a str,
    refresh_token: &'a str,
}

#[derive(Serialize)]
struct Remaining {
    /// Seconds, or [`NOBODYS`].
    expires_in: i64,
}

/// A user has logged in.
pub(super) fn logged_in(form: Form, pair: &Pair) -> Result<Reply, Refusal> {
    let data = LoggedIn {
        access_token: pair.access_token.expose(),
        refresh_token: pair.refresh_token.expose(),
        expires_in: match form {
            Form::Fo => pair.access_ttl.as_secs(),
            Form::Api => pair.access_until,
        },
        user_info: user_info(pair)?,
    };
    about(pair, written(form, &Answer { code: SUCCESS, data: Some(data), msg: "" })?)
}

/// A pair has taken the place of another one. `access_key`: of the client.
pub(super) fn refreshed(form: Form, access_key: &str, pair: &Pair) -> Result<Reply, Refusal> {
    let (access_token, refresh_token) = (pair.access_token.expose(), pair.refresh_token.expose());
    let response = match form {
        Form::Fo => {
            let data = Refreshed { access_token, refresh_token, expires_in: pair.access_ttl.as_secs() };
            written(form, &Answer { code: SUCCESS, data: Some(data), msg: "" })
        }
        Form::Api => {
            let data = Stored { access_key, user_info: user_info(pair)?, access_token, refresh_token };
            written(form, &Answer { code: SUCCESS, data: Some(data), msg: "" })
        }
    };
    about(pair, response?)
}

/// How long an access token is still good, or that it is nobody's.
pub(super) fn remaining(form: Form, millis: Option<u128>) -> Result<Reply, Refusal> {
    // To the nearest second, as Redis does it.
    let seconds = millis.map(|millis| i64::try_from((millis + 500) / 1_000).unwrap_or(i64::MAX));
    let data = Remaining { expires_in: seconds.unwrap_or(NOBODYS) };
    written(form, &Answer { code: SUCCESS, data: Some(data), msg: "" }).map(Reply::from)
}

/// It is done, and there is nothing more to say than these words.
pub(super) fn done(form: Form, msg: &str) -> Result<Reply, Refusal> {
    written(form, &Answer::<()> { code: SUCCESS, data: None, msg }).map(Reply::from)
}

/// It is not done, for what the caller has sent.
pub(super) fn failed(form: Form, msg: &str) -> Result<Reply, Refusal> {
    written(form, &Answer::<()> { code: FAILURE, data: None, msg }).map(Reply::from)
}

/// Nothing is at this path.
pub(super) fn not_found() -> Reply {
    let text = FieldValue::from_static("text/html; charset=UTF-8");
    answer(StatusCode::NOT_FOUND, text, Bytes::from_static(b"404 Not Found")).into()
}

/// Only POST is taken here.
pub(super) fn method_not_allowed() -> Reply {
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, JSON, Bytes::from_static(b"405 Method Not Allowed"));
    response.fields_mut().set(ALLOW, FieldValue::from_static("POST"));
    response.into()
}

fn user_info(pair: &Pair) -> Result<&RawValue, Refusal> {
    serde_json::from_str(&pair.user_info).map_err(|_| Refusal::internal("the information of a user is no JSON"))
}

fn about(pair: &Pair, response: Response<Bytes>) -> Result<Reply, Refusal> {
    Ok(Reply { response, user: Some(pair.user.clone()), client: Some(pair.client.clone()) })
}

fn written<D: Serialize>(form: Form, it: &Answer<'_, D>) -> Result<Response<Bytes>, Refusal> {
    let fault = |_| Refusal::internal("an answer cannot be written as JSON");
    let mut json = Zeroizing::new(serde_json::to_string(it).map_err(fault)?);
    if form == Form::Fo {
        json = Zeroizing::new(escaped(&json));
    }
    Ok(answer(StatusCode::OK, JSON, Bytes::from_owner(Wiped(json))))
}

/// A text that is wiped when the last of its holders lets it go.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn answer(status: StatusCode, kind: FieldValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let mut fields = response.fields_mut();
    fields.set(CONTENT_TYPE, kind);
    fields.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pair(user_info: &str) -> Pair {
        Pair {
            access_token: "a".into(),
            refresh_token: "r".into(),
            access_ttl: Duration::from_secs(600),
            refresh_ttl: Duration::from_secs(1_200),
            access_until: 1_500_000_600,
            user: "ada".parse().expect("a label"),
            client: "shop".parse().expect("a label"),
            user_info: user_info.into(),
        }
    }

    #[track_caller]
    fn check(reply: Result<Reply, Refusal>, expected: &str) {
        let response = reply.expect("an answer").response;
        assert_eq!((response.status(), std::str::from_utf8(response.body())), (StatusCode::OK, Ok(expected)));
        assert_eq!(response.fields().text(CONTENT_TYPE), Some("application/json; charset=utf-8"));
        assert_eq!(response.fields().text(CACHE_CONTROL), Some("no-store"));
    }

    #[test]
    fn each_dialect_has_its_shapes() {
        let pair = pair("{\"id\":7,\"name\":\"\u{4e2d}\"}");
        check(
            logged_in(Form::Fo, &pair),
            r#"{"code":200,"data":{"access_token":"a","refresh_token":"r","expires_in":600,"user_info":{"id":7,"name":"\u4e2d"}},"msg":""}"#,
        );
        check(
            logged_in(Form::Api, &pair),
            "{\"code\":200,\"data\":{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":1500000600,\"user_info\":{\"id\":7,\"name\":\"\u{4e2d}\"}},\"msg\":\"\"}",
        );
        check(
            refreshed(Form::Fo, "abcd", &pair),
            r#"{"code":200,"data":{"access_token":"a","refresh_token":"r","expires_in":600},"msg":""}"#,
        );
        check(
            refreshed(Form::Api, "abcd", &pair),
            "{\"code\":200,\"data\":{\"access_key\":\"abcd\",\"user_info\":{\"id\":7,\"name\":\"\u{4e2d}\"},\"access_token\":\"a\",\"refresh_token\":\"r\"},\"msg\":\"\"}",
        );
        for (millis, expected) in [(Some(599_499), 599), (Some(599_500), 600), (Some(0), 0), (None, -2)] {
            let text = format!(r#"{{"code":200,"data":{{"expires_in":{expected}}},"msg":""}}"#);
            check(remaining(Form::Fo, millis), &text);
        }
        check(done(Form::Api, LOGGED_OUT), r#"{"code":200,"data":null,"msg":"Logout Success"}"#);
        check(failed(Form::Fo, "n\u{e9}\"<"), r#"{"code":400,"data":null,"msg":"n\u00e9\"<"}"#);
    }

    #[test]
    fn the_record_names_whose_pair_it_is() {
        let reply = logged_in(Form::Fo, &pair("{}")).expect("an answer");
        let names = [reply.user, reply.client].map(|name| name.map(|name| name.to_string()));
        assert_eq!(names, [Some("ada".to_owned()), Some("shop".to_owned())]);
    }
}
