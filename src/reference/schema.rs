//! A JSON schema of settings as Markdown.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::table::cell;

/// Writes what the settings of a kind look like.
pub(super) fn section(text: &mut String, kind: &str, schema: &Value) {
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    describe(text, schema, &definitions);
    for (name, definition) in definitions.iter().filter(|(_, definition)| is_described(definition)) {
        let _ = write!(text, "\n### {name} of `{kind}`\n");
        describe(text, definition, &definitions);
    }
}

/// Whether a definition has more to say than its type.
fn is_described(schema: &Value) -> bool {
    schema.get("properties").is_some() || alternatives(schema).is_some_and(|all| all.iter().any(is_described))
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word).and_then(Value::as_array))
}

fn describe(text: &mut String, schema: &Value, definitions: &Map<String, Value>) {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        fields_of(text, schema, fields, definitions);
    } else if let Some(several) = alternatives(schema) {
        let shapes: Vec<_> = several.iter().map(|one| kind_of(one, definitions)).collect();
        let _ = write!(text, "\nEither {}.\n", shapes.join(" or "));
        several.iter().filter(|one| one.get("properties").is_some()).for_each(|one| describe(text, one, definitions));
    } else if schema.get("type").is_some_and(|kind| kind != "object") {
        let _ = write!(text, "\nIts form: {}.\n", kind_of(schema, definitions));
    } else {
        text.push_str("\nIt has no settings.\n");
    }
}

fn fields_of(text: &mut String, schema: &Value, fields: &Map<String, Value>, definitions: &Map<String, Value>) {
    let required: Vec<_> = schema.get("required").and_then(Value::as_array).into_iter().flatten().collect();
    text.push_str("\n| setting | form | default | meaning |\n|---|---|---|---|\n");
    for (name, field) in fields {
        let default = match field.get("default") {
            _ if required.iter().any(|one| one.as_str() == Some(name)) => "must be there".to_owned(),
            None | Some(Value::Null) => "absent".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let meaning = field.get("description").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {} |",
            cell(&kind_of(field, definitions)),
            cell(&default),
            cell(meaning)
        );
    }
}

/// The form of a value in words.
fn kind_of(schema: &Value, definitions: &Map<String, Value>) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return match definitions.get(name).filter(|definition| !is_described(definition)) {
            Some(small) => kind_of(small, definitions),
            None => name.to_owned(),
        };
    }
    if let Some(one) = schema.get("const") {
        return format!("`{one}`");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(several) = alternatives(schema) {
        let shapes = several.iter().map(|one| kind_of(one, definitions)).filter(|shape| shape != "null");
        return shapes.collect::<Vec<_>>().join(" or ");
    }
    let kinds: Vec<_> = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => return "any value".to_owned(),
    };
    let bounds = match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        _ => String::new(),
    };
    match (kinds.as_slice(), schema.get("items")) {
        (["array"], Some(items)) => format!("list of {}", kind_of(items, definitions)),
        (["object"], _) => match schema.get("additionalProperties").filter(|more| more.is_object()) {
            Some(values) => format!("object of {}", kind_of(values, definitions)),
            None => "object".to_owned(),
        },
        _ => format!("{}{bounds}", kinds.join(" or ")),
    }
}
