//! How long something may take, as a declaration says it.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::duration;

const EXPECTED: &str = "a time from 1ms to 1d, in seconds like 10, or like '500ms', '10s', '5m', '1h' or '1d'";
const LEAST: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_secs(86_400);

/// A limit on how long something takes: from a millisecond to a day, as a number of seconds or a text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Duration);

impl Timeout {
    /// Reads it, or says what was expected.
    pub fn read(value: &Value) -> Result<Self, String> {
        let time = match value {
            Value::String(text) => duration::parse(text),
            Value::Number(number) => number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            _ => None,
        };
        match time {
            Some(time) if (LEAST..=MOST).contains(&time) => Ok(Self(time)),
            _ => Err(format!("expected {EXPECTED}, found {value}")),
        }
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Timeout {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string"], "format": "timeout", "x-expected": EXPECTED, "examples": ["30s"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_timeout_is_from_a_millisecond_to_a_day() {
        let millis = |value: Value| Timeout::read(&value).ok().map(|timeout| timeout.0.as_millis());
        for (value, expected) in [
            (json!(10), 10_000),
            (json!(0.5), 500),
            (json!("1ms"), 1),
            (json!("500 ms"), 500),
            (json!("1d"), 86_400_000),
            (json!("7"), 7_000),
        ] {
            assert_eq!(millis(value.clone()), Some(expected), "{value}");
        }
        for bad in [json!(0), json!("0s"), json!(-1), json!("2d"), json!(86_401), json!("soon"), json!(null), json!([])]
        {
            assert_eq!(millis(bad.clone()), None, "{bad}");
        }
    }
}
