//! Reads a declared client by hand, so that every mistake in it is told at once, each with its place.

use portcullis_core::model::{Client, Grant, Problem};
use serde_json::Value;

use super::fields::{expected, text, unknown_fields};
use crate::bounds::MAX_GRANTS;

const FIELDS: [&str; 3] = ["services", "access_key", "enabled"];
const MAX_ACCESS_KEY: usize = 256;

/// Reads a declared client; what could not be read is left out.
pub(super) fn read(body: &Value, problems: &mut Vec<Problem>) -> Client {
    let mut client = Client { services: Vec::new(), access_key: None, enabled: true };
    let Some(fields) = body.as_object() else {
        problems.push(expected("", "an object with 'services'", body));
        return client;
    };
    unknown_fields(fields, &FIELDS, "", problems);
    match fields.get("services") {
        None => {}
        Some(Value::Array(items)) => {
            if items.len() > MAX_GRANTS {
                problems
                    .push(Problem::new("services", format!("expected at most {MAX_GRANTS}, found {}", items.len())));
            }
            let grants = items.iter().enumerate();
            client.services = grants
                .filter_map(|(index, item)| text::<Grant>(item, &format!("services[{index}]"), problems))
                .collect();
        }
        Some(other) => problems.push(expected("services", "a list of services like 'orders/v1'", other)),
    }
    if let Some(value) = fields.get("access_key") {
        client.access_key = text::<String>(value, "access_key", problems);
        let is_fine = |key: &str| {
            (1..=MAX_ACCESS_KEY).contains(&key.len())
                && key.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
                && key.trim() == key
        };
        if client.access_key.as_deref().is_some_and(|key| !is_fine(key)) {
            let message =
                format!("expected 1 to {MAX_ACCESS_KEY} printable ASCII characters, without a space at either end");
            problems.push(Problem::new("access_key", message));
        }
    }
    match fields.get("enabled") {
        None => {}
        Some(Value::Bool(enabled)) => client.enabled = *enabled,
        Some(other) => problems.push(expected("enabled", "true or false", other)),
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let paths = |body: Value| {
            let mut problems = Vec::new();
            read(&body, &mut problems);
            problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(json!({"services": ["*", "a/v1"], "access_key": "k", "enabled": false})), [""; 0]);
        assert_eq!(paths(json!(1)), [""]);
        assert_eq!(
            paths(json!({"secret_key": "s", "services": ["a/b/c", 1], "access_key": " k", "enabled": 1})),
            ["secret_key", "services[0]", "services[1]", "access_key", "enabled"]
        );
    }
}
