//! How users log in through a client with fomalhaut's endpoints: the Auth API that is asked, and how long token pairs last.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Client, Problem, TargetUrl, TargetUrlError};
use crate::duration;

/// Bytes of an Auth API's URL.
const MAX_AUTH_URL: usize = 2_048;
const DAY: u64 = 86_400;
/// How long an access token lasts where the client does not say.
const ACCESS_TOKEN_TTL: TokenTtl = TokenTtl(7 * DAY);
/// How long a refresh token lasts where the client does not say.
const REFRESH_TOKEN_TTL: TokenTtl = TokenTtl(20 * DAY);
const TTL_EXPECTED: &str = "whole seconds from 1s to 3650d, as a number, or like '600s', '15m', '12h' or '7d'";
const URL_EXPECTED: &str = "expected an http or https URL like 'https://users.example.com/login', without user information \
                            and fragment";

/// The URL of an operation of an Auth API: `http` or `https`, with a path and perhaps a query.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuthUrl {
    text: Arc<str>,
    target: TargetUrl,
}

impl AuthUrl {
    /// The URL as it was declared.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it leads: scheme, host and port.
    pub fn target(&self) -> &TargetUrl {
        &self.target
    }
}

impl FromStr for AuthUrl {
    type Err = String;

    /// Reads it, or says what was expected. Nothing of the text is repeated: there may be a password in it.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_AUTH_URL {
            return Err(format!("expected at most {MAX_AUTH_URL} bytes, found {}", text.len()));
        }
        let base = text.split_once('?').map_or(text, |(base, _)| base);
        let target: TargetUrl = base.parse().map_err(|error| match error {
            TargetUrlError::Port => error.to_string(),
            _ => URL_EXPECTED.to_owned(),
        })?;
        let is_written_out = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !is_written_out || text.parse::<Uri>().is_err() {
            return Err(URL_EXPECTED.to_owned());
        }
        Ok(Self { text: text.into(), target })
    }
}

impl TryFrom<String> for AuthUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AuthUrl> for String {
    fn from(url: AuthUrl) -> Self {
        url.text.as_ref().to_owned()
    }
}

impl fmt::Debug for AuthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

text_schema!(AuthUrl, "auth_url", "https://users.example.com/login");

/// How long a token lasts, in whole seconds. It is written in the largest unit that leaves no rest: `7d`, `36h`, `90s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenTtl(u64);

impl TokenTtl {
    /// The longest that a token can be declared to last, in seconds.
    pub const MOST: u64 = 3_650 * DAY;

    /// Reads a number of seconds or a text with a unit, or says what was expected.
    pub fn read(value: &Value) -> Result<Self, String> {
        let seconds = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => {
                duration::parse(text).filter(|time| time.subsec_nanos() == 0).map(|time| time.as_secs())
            }
            _ => None,
        };
        match seconds {
            Some(seconds @ 1..=Self::MOST) => Ok(Self(seconds)),
            _ => Err(format!("expected {TTL_EXPECTED}, found {value}")),
        }
    }

    /// The time.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for TokenTtl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY, "d"), (3_600, "h"), (60, "m")];
        let (size, unit) = units.into_iter().find(|(size, _)| self.0.is_multiple_of(*size)).unwrap_or((1, "s"));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl Serialize for TokenTtl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenTtl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for TokenTtl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TokenTtl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string"], "format": "token_ttl", "x-expected": TTL_EXPECTED, "examples": ["7d"]})
    }
}

impl Client {
    /// How long the access token of a pair lasts.
    pub fn access_ttl(&self) -> Duration {
        self.access_token_ttl.unwrap_or(ACCESS_TOKEN_TTL).duration()
    }

    /// How long the refresh token of a pair lasts.
    pub fn refresh_ttl(&self) -> Duration {
        self.refresh_token_ttl.unwrap_or(REFRESH_TOKEN_TTL).duration()
    }

    /// What does not go together in how users log in through it, with its place in the declaration.
    pub fn login_problem(&self) -> Option<Problem> {
        let access = self.access_token_ttl.unwrap_or(ACCESS_TOKEN_TTL);
        let refresh = self.refresh_token_ttl.unwrap_or(REFRESH_TOKEN_TTL);
        (refresh <= access).then(|| {
            let message = format!("expected more than 'access_token_ttl', which is {access}, found {refresh}");
            Problem::new("refresh_token_ttl", message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_url_of_an_auth_api_is_kept_as_it_was_written() {
        for text in [
            "https://users.example.com/login",
            "http://Users.example.com:8080/a/b/?app=1&x=%20",
            "http://[::1]:1/",
            "http://10.0.0.7",
        ] {
            let url: AuthUrl = text.parse().expect(text);
            assert_eq!((url.as_str(), serde_json::to_value(&url).expect("writes")), (text, json!(text)));
        }
        let url: AuthUrl = "https://Users.example.com/login?a=b".parse().expect("well formed");
        assert_eq!((url.target().host(), url.target().port()), ("users.example.com", 443));
    }

    #[test]
    fn what_is_no_url_of_an_auth_api_is_refused_and_not_repeated() {
        for bad in [
            "",
            "users.example.com/login",
            "/login",
            "ftp://sesame/",
            "http://ada:sesame@users.example.com/",
            "http://users.example.com/#sesame",
            "http://users.example.com/?a#sesame",
            "http://users.example.com:0/sesame",
            "http://users.example.com:99999/sesame",
            "http://users.example.com/?sesame here",
            "http:///sesame",
            "http://users.example.com/\u{fc}sesame",
        ] {
            let error = bad.parse::<AuthUrl>().expect_err(bad);
            assert!(error.starts_with("expected ") && !error.contains("sesame"), "{bad}: {error}");
        }
        let long = format!("http://a/{}", "b".repeat(MAX_AUTH_URL));
        assert!(long[..MAX_AUTH_URL].parse::<AuthUrl>().is_ok() && long.parse::<AuthUrl>().is_err());
    }

    #[test]
    fn a_token_lasts_whole_seconds_and_is_written_in_one_way() {
        for (value, expected) in [
            (json!(604_800), "7d"),
            (json!("7d"), "7d"),
            (json!("36h"), "36h"),
            (json!("90"), "90s"),
            (json!("3000ms"), "3s"),
            (json!("120m"), "2h"),
            (json!(1), "1s"),
            (json!("3650d"), "3650d"),
        ] {
            let ttl = TokenTtl::read(&value).expect("a time");
            assert_eq!(serde_json::to_value(ttl).expect("writes"), json!(expected), "{value}");
            assert_eq!(TokenTtl::read(&json!(expected)), Ok(ttl), "{value}");
        }
        for bad in [json!(0), json!(-1), json!(1.5), json!("500ms"), json!("3651d"), json!("soon"), json!(true)] {
            assert!(TokenTtl::read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refresh_token_outlasts_its_access_token() {
        let client = |access: Option<u64>, refresh: Option<u64>| Client {
            access_token_ttl: access.map(TokenTtl),
            refresh_token_ttl: refresh.map(TokenTtl),
            ..Client::default()
        };
        for (access, refresh, is_fine) in [
            (None, None, true),
            (Some(60), Some(61), true),
            (Some(60), Some(60), false),
            (Some(61), Some(60), false),
            (Some(20 * DAY), None, false),
            (None, Some(7 * DAY), false),
            (None, Some(8 * DAY), true),
        ] {
            let problem = client(access, refresh).login_problem();
            assert_eq!(problem.is_none(), is_fine, "{access:?} {refresh:?}");
            assert!(problem.is_none_or(|problem| problem.path == "refresh_token_ttl"));
        }
        let defaults = Client::default();
        assert_eq!((defaults.access_ttl().as_secs(), defaults.refresh_ttl().as_secs()), (604_800, 1_728_000));
    }
}
