//! The walk through a value along its schema: everything that is wrong is told, and what is right is kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::forms::{self, Flaw};
use super::words::{choices, expected, found, kind, one_of, tagged};
use crate::model::Problem;

/// The fields of an object that are right, and everything that is wrong with it.
pub(super) fn object(schema: &Value, value: &Value) -> (Map<String, Value>, Vec<Problem>) {
    let mut walk = Walk::along(schema);
    let (fields, _) = walk.object(schema, value, &Path::Root).unwrap_or_default();
    (fields, walk.problems)
}

/// Everything that is wrong with a value.
pub(super) fn problems(schema: &Value, value: &Value) -> Vec<Problem> {
    let mut walk = Walk::along(schema);
    walk.value(schema, value, &Path::Root);
    walk.problems
}

/// What a schema leads to.
pub(super) fn resolve<'s>(mut schema: &'s Value, definitions: &'s Map<String, Value>) -> &'s Value {
    while let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or(target);
        match definitions.get(name) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

/// The schemas of which a value must fit one.
pub(super) fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    let of = |word| schema.get(word).and_then(Value::as_array);
    of("anyOf").or_else(|| of("oneOf").filter(|several| !several.iter().all(|one| needed(one).is_some())))
}

/// The fields that a schema lists.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Whether a schema is for null alone.
pub(super) fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// The one field that must be there, of a schema that says nothing else.
fn needed(schema: &Value) -> Option<&str> {
    let fields = schema.as_object().filter(|fields| fields.len() == 1)?;
    match fields.get("required")?.as_array()?.as_slice() {
        [one] => one.as_str(),
        _ => None,
    }
}

/// A place in a value; a text is made of it only for a problem.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Whether a text is repeated in a message. A longer one is no slip of one of a few words; it may be a secret in a wrong
/// place.
fn is_short(text: &str) -> bool {
    text.len() <= 64 && !text.chars().any(char::is_control)
}

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

struct Walk<'s> {
    definitions: &'s Map<String, Value>,
    problems: Vec<Problem>,
}

impl<'s> Walk<'s> {
    fn along(schema: &'s Value) -> Self {
        let definitions = schema.get("$defs").and_then(Value::as_object).unwrap_or(&NOTHING);
        Self { definitions, problems: Vec::new() }
    }

    fn tell(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.problems.push(Problem::new(path.to_string(), message));
    }

    fn expected(&mut self, schema: &Value, value: &Value, path: &Path<'_>) {
        let wanted = expected(schema, self.definitions);
        self.tell(path, format!("expected {wanted}, found {}", found(value)));
    }

    /// What of a value is right. None if it cannot be used.
    fn value(&mut self, declared: &'s Value, value: &Value, path: &Path<'_>) -> Option<Value> {
        let schema = resolve(declared, self.definitions);
        if value.is_null() && self.admits_null(schema) {
            return Some(Value::Null);
        }
        let form = [declared, schema].iter().find_map(|schema| schema.get("format")?.as_str());
        if let Some(check) = form.and_then(forms::find) {
            return match check(value) {
                Ok(()) => Some(value.clone()),
                Err(flaw) => {
                    match flaw {
                        Flaw::Type => self.expected(declared, value, path),
                        Flaw::Content(message) => self.tell(path, message),
                    }
                    None
                }
            };
        }
        if let Some(texts) = choices(schema) {
            return self.choice(&texts, value, path);
        }
        if let Some(several) = alternatives(schema) {
            let definitions = self.definitions;
            let several: Vec<_> = several.iter().filter(|one| !is_null(resolve(one, definitions))).collect();
            return self.one_of(declared, &several, value, path);
        }
        match kind(schema) {
            Some("object") => match self.object(declared, value, path) {
                Some((fields, true)) => Some(Value::Object(fields)),
                _ => None,
            },
            Some("array") => self.list(declared, schema, value, path),
            Some("string") => self.text(declared, schema, value, path),
            Some("integer" | "number") => self.number(declared, schema, value, path),
            Some("boolean") if !value.is_boolean() => {
                self.expected(declared, value, path);
                None
            }
            _ => Some(value.clone()),
        }
    }

    fn admits_null(&self, schema: &Value) -> bool {
        let by_type = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "null"),
            Some(kind) => kind == "null",
            None => false,
        };
        by_type || alternatives(schema).into_iter().flatten().any(|one| is_null(resolve(one, self.definitions)))
    }

    fn choice(&mut self, texts: &[&str], value: &Value, path: &Path<'_>) -> Option<Value> {
        if value.as_str().is_some_and(|text| texts.contains(&text)) {
            return Some(value.clone());
        }
        let wanted = one_of(texts, "or");
        // Unquoted, YAML reads some texts as numbers.
        let message = match value {
            Value::Number(number) => format!("expected {wanted}, in quotes, found the number {number}"),
            Value::String(text) if is_short(text) => format!("expected {wanted}, found '{text}'"),
            other => format!("expected {wanted}, found {}", found(other)),
        };
        self.tell(path, message);
        None
    }

    fn one_of(&mut self, declared: &'s Value, several: &[&'s Value], value: &Value, path: &Path<'_>) -> Option<Value> {
        if let [one] = several {
            return self.value(one, value, path);
        }
        if let Some(kinds) = tagged(several) {
            return self.tagged(declared, &kinds, several, value, path);
        }
        // The one of its type is the one that is meant.
        let fits = |one: &&&Value| fits(resolve(one, self.definitions), value);
        let candidates: Vec<_> = several.iter().filter(fits).copied().collect();
        let mut told = Vec::new();
        let before = self.problems.len();
        for one in &candidates {
            let read = self.value(one, value, path);
            let found = self.problems.split_off(before);
            if found.is_empty() {
                return read;
            }
            if told.is_empty() || found.len() < told.len() {
                told = found;
            }
        }
        match told.is_empty() {
            true => self.expected(declared, value, path),
            false => self.problems.extend(told),
        }
        None
    }

    /// An object of one field, whose name says of what kind it is.
    fn tagged(
        &mut self,
        declared: &Value,
        kinds: &[&str],
        several: &[&'s Value],
        value: &Value,
        path: &Path<'_>,
    ) -> Option<Value> {
        let one = value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
        let Some((kind, _)) = one else {
            self.expected(declared, value, path);
            return None;
        };
        match kinds.iter().position(|known| known == kind) {
            Some(position) => self.value(several[position], value, path),
            None => {
                self.tell(&Path::Field(path, kind), format!("is not known; expected one of {}", kinds.join(", ")));
                None
            }
        }
    }

    /// The fields of an object that are right, and whether all are there that it needs.
    fn object(&mut self, declared: &'s Value, value: &Value, path: &Path<'_>) -> Option<(Map<String, Value>, bool)> {
        let schema = resolve(declared, self.definitions);
        let Some(fields) = value.as_object() else {
            self.expected(declared, value, path);
            return None;
        };
        let known = properties(schema).unwrap_or(&NOTHING);
        let mut kept = Map::new();
        let more = schema.get("additionalProperties");
        for (name, value) in fields.iter().filter(|(name, _)| !known.contains_key(*name)) {
            let path = Path::Field(path, name);
            match more {
                Some(Value::Bool(false)) => {
                    let known: Vec<_> = known.keys().map(String::as_str).collect();
                    self.tell(&path, format!("is not known; expected one of {}", known.join(", ")));
                }
                Some(schema @ Value::Object(_)) => {
                    kept.extend(self.value(schema, value, &path).map(|value| (name.clone(), value)));
                }
                _ => _ = kept.insert(name.clone(), value.clone()),
            }
        }
        let needed = schema.get("required").and_then(Value::as_array);
        let is_needed = |name: &str| needed.into_iter().flatten().any(|needed| needed == name);
        let mut is_whole = true;
        for (name, schema) in known {
            let path = Path::Field(path, name);
            let read = match fields.get(name) {
                Some(value) => self.value(schema, value, &path),
                None if is_needed(name) => {
                    let wanted = expected(schema, self.definitions);
                    self.tell(&path, format!("is missing: expected {wanted}"));
                    None
                }
                None => continue,
            };
            is_whole &= read.is_some() || !is_needed(name);
            kept.extend(read.filter(|value| !value.is_null()).map(|value| (name.clone(), value)));
        }
        self.exactly_one(schema, fields, path);
        Some((kept, is_whole))
    }

    fn exactly_one(&mut self, schema: &Value, fields: &Map<String, Value>, path: &Path<'_>) {
        let several = schema.get("oneOf").and_then(Value::as_array);
        let Some(names) = several.and_then(|several| several.iter().map(needed).collect::<Option<Vec<_>>>()) else {
            return;
        };
        let there = names.iter().filter(|name| fields.get(**name).is_some_and(|value| !value.is_null()));
        if there.count() != 1 {
            self.tell(path, format!("expected exactly one of {}", one_of(&names, "and")));
        }
    }

    fn list(&mut self, declared: &Value, schema: &'s Value, value: &Value, path: &Path<'_>) -> Option<Value> {
        let Some(items) = value.as_array() else {
            self.expected(declared, value, path);
            return None;
        };
        let word = |word: &str| [declared, schema].into_iter().find_map(|schema| schema.get(word));
        let bound = |name: &str| word(name).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        if bound("minItems").is_some_and(|least| items.len() < least) {
            let told = word("x-empty").and_then(Value::as_str).filter(|_| items.is_empty()).map(str::to_owned);
            let least = bound("minItems").unwrap_or_default();
            self.tell(path, told.unwrap_or_else(|| format!("expected at least {least}, found {}", items.len())));
        }
        let most = bound("maxItems").unwrap_or(usize::MAX);
        if items.len() > most {
            self.tell(path, format!("expected at most {most}, found {}", items.len()));
        }
        // What is behind is not looked at.
        let items = &items[..items.len().min(most)];
        let mut kept = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = Path::Item(path, index);
            match schema.get("items") {
                Some(schema) => kept.extend(self.value(schema, item, &path)),
                None => kept.push(item.clone()),
            }
        }
        if let Some(field) = word("x-unique").and_then(Value::as_str) {
            self.unique(field, items, path);
        }
        Some(Value::Array(kept))
    }

    fn unique(&mut self, field: &str, items: &[Value], path: &Path<'_>) {
        let mut seen = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let Some(text) = item.get(field).and_then(Value::as_str) else { continue };
            let first = *seen.entry(text).or_insert(index);
            if first != index {
                let item = Path::Item(path, index);
                let message = format!("is the {field} of {} too", Path::Item(path, first));
                self.tell(&Path::Field(&item, field), message);
            }
        }
    }

    fn text(&mut self, declared: &Value, schema: &Value, value: &Value, path: &Path<'_>) -> Option<Value> {
        let Some(text) = value.as_str() else {
            self.expected(declared, value, path);
            return None;
        };
        let bound = |name: &str| {
            let bound = [declared, schema].into_iter().find_map(|schema| schema.get(name));
            bound.and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok())
        };
        let (least, most) = (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(usize::MAX));
        if (least..=most).contains(&text.len()) {
            return Some(value.clone());
        }
        self.tell(
            path,
            match most {
                usize::MAX => format!("expected at least {least} bytes, found {}", text.len()),
                _ => format!("expected {least} to {most} bytes, found {}", text.len()),
            },
        );
        None
    }

    fn number(&mut self, declared: &Value, schema: &Value, value: &Value, path: &Path<'_>) -> Option<Value> {
        let is_whole = value.is_u64() || value.is_i64();
        let is_one = if kind(schema) == Some("integer") { is_whole } else { value.is_number() };
        let bound = |name: &str| [declared, schema].into_iter().find_map(|schema| schema.get(name)?.as_f64());
        let number = value.as_f64().filter(|_| is_one);
        let number = number.filter(|number| bound("minimum").is_none_or(|least| *number >= least));
        if number.is_some_and(|number| bound("maximum").is_none_or(|most| number <= most)) {
            return Some(value.clone());
        }
        self.expected(declared, value, path);
        None
    }
}

/// Whether a value is of the type a schema is for.
fn fits(schema: &Value, value: &Value) -> bool {
    let word = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => return matches!(kind(schema), Some("integer" | "number") | None),
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    kind(schema).is_none_or(|kind| kind == word)
}
