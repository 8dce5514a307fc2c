//! Reads the fields of an object one by one; what is wrong with each is kept, and reading goes on.

use std::fmt::Display;
use std::str::FromStr;

use portcullis_core::model::Problem;
use serde_json::{Map, Value};

pub(super) fn texts(items: &[Value], path: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut read = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item.as_str() {
            Some(text) => read.push(text.to_owned()),
            None => problems.push(expected(&format!("{path}[{index}]"), "a text", item)),
        }
    }
    read
}

pub(super) fn text<T: FromStr<Err: Display>>(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<T> {
    let Some(text) = value.as_str() else {
        problems.push(expected(path, "a text", value));
        return None;
    };
    text.parse().map_err(|error: T::Err| problems.push(Problem::new(path, error.to_string()))).ok()
}

pub(super) fn truth(value: &Value, place: &str, problems: &mut Vec<Problem>) -> Option<bool> {
    if !value.is_boolean() {
        problems.push(expected(place, "true or false", value));
    }
    value.as_bool()
}

pub(super) fn unknown_fields(fields: &Map<String, Value>, known: &[&str], path: &str, problems: &mut Vec<Problem>) {
    for field in fields.keys().filter(|field| !known.contains(&field.as_str())) {
        let message = format!("is not known; expected one of {}", known.join(", "));
        let place = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
        problems.push(Problem::new(place, message));
    }
}

pub(super) fn expected(path: &str, wanted: &str, found: &Value) -> Problem {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Problem::new(path, format!("expected {wanted}, found {found}"))
}
