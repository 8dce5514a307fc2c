//! Looking into the admin API's answers for people: what is not there shows as nothing, so that a gateway of
//! another version can still be read.

use serde_json::Value;

/// A field as text: a number in digits, a list joined by commas; empty if it is not there.
pub(super) fn text(object: &Value, field: &str) -> String {
    object.get(field).map(plain).unwrap_or_default()
}

/// A value as text.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// What a service wants of a call: `bearer+api_key`, alternatives joined by `or`.
pub(super) fn require(service: &Value) -> String {
    let Some(alternatives) = service.get("require").and_then(Value::as_array) else {
        return String::new();
    };
    if alternatives.is_empty() {
        return "open".to_owned();
    }
    let kinds = |alternative: &Value| {
        let kinds = alternative.as_array().map(|kinds| kinds.iter().map(plain).collect::<Vec<_>>());
        kinds.unwrap_or_default().join("+")
    };
    alternatives.iter().map(kinds).collect::<Vec<_>>().join(" or ")
}

/// The URLs of a service's targets.
pub(super) fn targets(service: &Value) -> String {
    let urls = service.get("targets").and_then(Value::as_array);
    urls.map(|all| all.iter().map(|target| text(target, "url")).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_service_wants_is_said_in_words() {
        assert_eq!(require(&json!({"require": []})), "open");
        assert_eq!(require(&json!({"require": [["bearer", "api_key"], ["signature"]]})), "bearer+api_key or signature");
        assert_eq!(require(&json!({})), "");
    }

    #[test]
    fn fields_show_as_text_whatever_they_are() {
        let object = json!({"a": 1, "b": ["x", "y"], "c": null, "d": true});
        let texts: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|field| text(&object, field)).collect();
        assert_eq!(texts, ["1", "x, y", "", "yes", ""]);
    }
}
