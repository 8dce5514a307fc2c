//! Reading what operators declare: a value is held against the JSON schema of its settings type, and everything that is
//! wrong with it is told at once, each with its path. Then serde reads what is right.
//!
//! The schema is derived (`schemars`) beside `Deserialize`, so a field is declared in one place: its type. What a schema
//! cannot say is a named form of a text or number ([`forms`]). Four keywords of our own say the rest:
//!
//! | keyword | meaning |
//! |---|---|
//! | `x-expected` | what is expected here, in words |
//! | `x-empty` | what is told about a list that has nothing in it, but must |
//! | `x-unique` | the field by which no two objects of a list are the same |
//! | `oneOf` of `required` alone | exactly one of these fields is there |

mod forms;
mod walk;
mod words;

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::Problem;

/// A value as far as it could be read, and everything that is wrong with its form.
#[derive(Debug)]
pub struct Reading<T> {
    /// What could be read: what could not is left out or has its default. None if too little is left.
    pub value: Option<T>,
    /// What is wrong, each with its path in the value.
    pub problems: Vec<Problem>,
}

/// The JSON schema of a settings type.
pub fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// Takes what only the reader understands out of a schema: what is left is JSON Schema of anybody.
pub fn public(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.starts_with("x-"));
            fields.values_mut().for_each(public);
        }
        Value::Array(items) => items.iter_mut().for_each(public),
        _ => {}
    }
}

/// The schema of a type, made once. There are as many as types.
fn known<T: JsonSchema + 'static>() -> &'static Value {
    static KNOWN: LazyLock<Mutex<HashMap<TypeId, &'static Value>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(TypeId::of::<T>()).or_insert_with(|| Box::leak(Box::new(schema::<T>())))
}

/// Reads an object. `fill` puts something in place of what it cannot be without and could not be read, so that the rest
/// can be looked at further.
pub fn read<T: DeserializeOwned + JsonSchema + 'static>(
    value: &Value,
    fill: impl FnOnce(&mut Map<String, Value>, &[Problem]),
) -> Reading<T> {
    let (mut fields, mut problems) = walk::object(known::<T>(), value);
    let is_fine = problems.is_empty();
    fill(&mut fields, &problems);
    match deserialize(&Value::Object(fields)) {
        Ok(value) => Reading { value: Some(value), problems },
        Err(problem) => {
            // Where parts were left out, what is missing is told already.
            problems.extend(Some(problem).filter(|_| is_fine));
            Reading { value: None, problems }
        }
    }
}

/// Reads a value, or tells everything that is wrong with it.
pub fn parse<T: DeserializeOwned + JsonSchema + 'static>(value: &Value) -> Result<T, Vec<Problem>> {
    match walk::problems(known::<T>(), value) {
        problems if problems.is_empty() => deserialize(value).map_err(|problem| vec![problem]),
        problems => Err(problems),
    }
}

/// Reads a value that serde takes; of one that it does not take, everything that is wrong is told. What else must hold of
/// it, like bounds, whoever asks looks at.
pub fn accept<T: DeserializeOwned + JsonSchema + 'static>(value: &Value) -> Result<T, Vec<Problem>> {
    deserialize(value).map_err(|problem| match walk::problems(known::<T>(), value) {
        problems if problems.is_empty() => vec![problem],
        problems => problems,
    })
}

fn deserialize<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        Problem::new(if path == "." { String::new() } else { path }, error.inner().to_string())
    })
}

#[cfg(test)]
mod tests;
