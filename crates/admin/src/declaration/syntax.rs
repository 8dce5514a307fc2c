//! YAML and JSON as one tree of values, in which no key stands twice, and the lines its parts stand in.

use std::collections::HashMap;
use std::fmt;

use portcullis_core::model::Problem;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{Options, Spanned};

/// Nodes of a file of declarations.
const MOST_NODES: usize = 4_000_000;

/// How declarations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML 1.2.
    Yaml,
}

/// Reads a text, or says in which line it cannot be read.
pub(super) fn parse(text: &[u8], syntax: Syntax) -> Result<Value, Problem> {
    match syntax {
        Syntax::Json => {
            let Tree(value) = serde_json::from_slice(text).map_err(|error| {
                let line = u64::try_from(error.line()).ok().filter(|line| *line > 0);
                let text = error.to_string();
                let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
                Problem::new("", format!("the text is not JSON: {message}")).at(line)
            })?;
            Ok(value)
        }
        Syntax::Yaml => {
            let broken = |message: &str, line| Problem::new("", format!("the text is not YAML: {message}")).at(line);
            let text = std::str::from_utf8(text).map_err(|_| broken("it is not UTF-8", None))?;
            let tree = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
                let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
                broken(first_line(&error.without_snippet().to_string()), line)
            })?;
            let Tree(value) = tree;
            Ok(value)
        }
    }
}

/// The line of every part of a text that is YAML, as most JSON is, by its path; none if it cannot be read.
pub(super) fn lines(text: &[u8]) -> HashMap<String, u64> {
    let mut lines = HashMap::new();
    let text = std::str::from_utf8(text).unwrap_or_default();
    if let Ok(Located(root)) = serde_saphyr::from_str_with_options(text, options()) {
        root.note(String::new(), &mut lines);
    }
    lines
}

fn options() -> Options {
    let mut options = Options::default();
    let mut budget = serde_saphyr::Budget::default();
    budget.max_events = MOST_NODES * 2;
    budget.max_nodes = MOST_NODES;
    budget.max_documents = 1;
    options.budget = Some(budget);
    options.strict_booleans = true;
    options.merge_keys = MergeKeyPolicy::Error;
    options.with_snippet = false;
    options
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("it cannot be read")
}

/// Refuses JSON in which a key stands twice.
pub(crate) fn no_key_stands_twice(json: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<Tree>(json).map(drop)
}

/// A value in which no key stands twice.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Self)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Tree(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key '{key}' stands twice")));
            }
            let Tree(value) = fields.next_value()?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// A tree of places.
struct Located(Node);

struct Node {
    line: u64,
    parts: Vec<(Step, Node)>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    fn note(self, path: String, lines: &mut HashMap<String, u64>) {
        for (step, node) in self.parts {
            let below = match step {
                Step::Key(key) if path.is_empty() => key,
                Step::Key(key) => format!("{path}.{key}"),
                Step::Index(index) => format!("{path}[{index}]"),
            };
            node.note(below, lines);
        }
        lines.insert(path, self.line);
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Parts(parts), referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self(Node { line: referenced.line(), parts }))
    }
}

struct Parts(Vec<(Step, Node)>);

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartsVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Parts, E> {
        Ok(Parts(Vec::new()))
    }

    fn visit_none<E>(self) -> Result<Parts, E> {
        Ok(Parts(Vec::new()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Parts, E> {
        Ok(Parts(Vec::new()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Parts, E> {
        Ok(Parts(Vec::new()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Parts, E> {
        Ok(Parts(Vec::new()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Parts, E> {
        Ok(Parts(Vec::new()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Parts, E> {
        Ok(Parts(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parts, A::Error> {
        let mut parts = Vec::new();
        while let Some(Located(node)) = items.next_element()? {
            parts.push((Step::Index(parts.len()), node));
        }
        Ok(Parts(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Parts, A::Error> {
        let mut parts = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            let Located(mut node) = fields.next_value()?;
            // A field begins where its name stands.
            if key.referenced.line() > 0 {
                node.line = key.referenced.line();
            }
            parts.push((Step::Key(key.value), node));
        }
        Ok(Parts(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (text, syntax, line) in [
            ("{\n\"a\": }", Syntax::Json, 2),
            ("{\"a\": 1,\n\"a\": 2}", Syntax::Json, 2),
            ("a: 1\na: 2\n", Syntax::Yaml, 2),
            ("a: 1\nb: [1\n", Syntax::Yaml, 2),
            ("a: &x [1]\nb: {<<: *x}\n", Syntax::Yaml, 2),
            ("a: 1\n---\nb: 1\n", Syntax::Yaml, 2),
        ] {
            let problem = parse(text.as_bytes(), syntax).expect_err(text);
            assert_eq!(problem.line, Some(line), "{text:?}: {problem}");
        }
        assert!(parse(&[0xff], Syntax::Yaml).is_err() && parse(&[0xff], Syntax::Json).is_err());
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert!(parse(text.as_bytes(), Syntax::Yaml).is_err());
        assert!(parse("[".repeat(100_000).as_bytes(), Syntax::Yaml).is_err());
        assert!(parse("[".repeat(100_000).as_bytes(), Syntax::Json).is_err());
    }

    #[test]
    fn both_say_the_same() {
        let yaml = parse(b"a: [1, -2, 1.5, true, null, no, \"7\", ~]\n'b c':\n  d: |\n    text\n", Syntax::Yaml);
        let yaml = yaml.expect("YAML");
        let json = parse(br#"{"a": [1, -2, 1.5, true, null, "no", "7", null], "b c": {"d": "text\n"}}"#, Syntax::Json);
        assert_eq!(yaml, json.expect("JSON"));
    }

    #[test]
    fn json_has_lines_too() {
        let lines = lines(b"{\n\t\"a\": {\n\t\t\"b\": [1,\n\t\t2]}}");
        assert_eq!((lines.get("a.b"), lines.get("a.b[1]")), (Some(&3), Some(&4)));
    }
}
