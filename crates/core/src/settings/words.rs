//! What a schema expects and what was found, in words.

use serde_json::{Map, Value};

use super::walk::{alternatives, is_null, properties, resolve};

/// What is expected, as in "expected …".
pub(super) fn expected(schema: &Value, definitions: &Map<String, Value>) -> String {
    if let Some(words) = schema.get("x-expected").and_then(Value::as_str) {
        return words.to_owned();
    }
    let schema = resolve(schema, definitions);
    if let Some(words) = schema.get("x-expected").and_then(Value::as_str) {
        return words.to_owned();
    }
    if let Some(values) = choices(schema) {
        return one_of(&values, "or");
    }
    let several: Vec<_> =
        alternatives(schema).into_iter().flatten().filter(|one| !is_null(resolve(one, definitions))).collect();
    if let Some(kinds) = tagged(&several) {
        return format!("an object with one of {}", one_of(&kinds, "and"));
    }
    if !several.is_empty() {
        return several.iter().map(|one| expected(one, definitions)).collect::<Vec<_>>().join(" or ");
    }
    match kind(schema) {
        Some("array") => format!("a list of {}", plural(schema.get("items"), definitions)),
        Some("object") => format!("an object{}", with(schema)),
        Some("integer") => format!("a whole number{}", bounds(schema)),
        Some("number") => format!("a number{}", bounds(schema)),
        Some("boolean") => "true or false".to_owned(),
        Some("string") => "a text".to_owned(),
        _ => "another value".to_owned(),
    }
}

/// What was found, as in "found …".
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The texts a value must be one of, if the schema lists them.
pub(super) fn choices(schema: &Value) -> Option<Vec<&str>> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().filter(|value| !value.is_null()).map(Value::as_str).collect();
    }
    if let Some(value) = schema.get("const") {
        return value.as_str().map(|text| vec![text]);
    }
    let several: Option<Vec<Vec<&str>>> = alternatives(schema)?.iter().map(choices).collect();
    several.map(|several| several.concat()).filter(|all| !all.is_empty())
}

/// The kinds of an object that has one field, whose name says of what kind it is.
pub(super) fn tagged<'a>(several: &[&'a Value]) -> Option<Vec<&'a str>> {
    let one = |schema: &&'a Value| {
        let fields = properties(schema).filter(|fields| fields.len() == 1)?;
        fields.keys().next().map(String::as_str)
    };
    several.iter().map(one).collect::<Option<Vec<_>>>().filter(|kinds| !kinds.is_empty())
}

/// Names in quotes, the last one joined by a word.
pub(super) fn one_of(names: &[&str], word: &str) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let before = match index {
            0 => String::new(),
            _ if index + 1 == names.len() => format!(" {word} "),
            _ => ", ".to_owned(),
        };
        text += &format!("{before}'{name}'");
    }
    text
}

/// The type of a value, apart from null.
pub(super) fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

fn plural(items: Option<&Value>, definitions: &Map<String, Value>) -> String {
    let items = items.map(|items| resolve(items, definitions));
    match items.and_then(kind) {
        Some("object") => format!("objects{}", items.map(with).unwrap_or_default()),
        Some("string") => "texts".to_owned(),
        Some("integer" | "number") => "numbers".to_owned(),
        Some("array") => "lists".to_owned(),
        _ => "values".to_owned(),
    }
}

fn with(schema: &Value) -> String {
    let needed: Vec<_> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    match schema.get("additionalProperties").and_then(kind) {
        Some("string") => " of texts by name".to_owned(),
        _ if needed.is_empty() => String::new(),
        _ => format!(" with {}", one_of(&needed, "and")),
    }
}

fn bounds(schema: &Value) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        _ => String::new(),
    }
}
