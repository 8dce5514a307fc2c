//! The document against its reviewed copy, and against itself.

use std::path::Path;

use serde_json::Value;

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/openapi.json");

#[test]
fn the_document_is_the_reviewed_one() {
    let now = openapi_json() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(Path::new(GOLDEN), &now).expect("written");
    }
    let reviewed = std::fs::read_to_string(Path::new(GOLDEN)).unwrap_or_default();
    assert!(
        serde_json::from_str::<Value>(&reviewed).ok() == Some(document()),
        "spec/openapi.json is not what the handlers say; look at the difference after \
         `UPDATE_GOLDEN=1 cargo nextest run -p portcullis-admin the_document_is_the_reviewed_one`"
    );
}

#[test]
fn the_document_is_openapi_3_1_and_describes_every_error() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let content = &operation["responses"]["default"]["content"]["application/problem+json"];
            let schema = &content["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/ProblemDetails", "{method} {path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    let pointer = target.strip_prefix('#').expect("a local reference");
                    assert!(document.pointer(pointer).is_some(), "{target}");
                }
                fields.values().for_each(|value| walk(value, document));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
}

#[test]
fn the_data_plane_is_told_apart() {
    let document = document();
    for path in data_plane::PATHS {
        assert_eq!(document["paths"][path]["post"]["servers"][0]["url"], DATA, "{path}");
    }
    assert_eq!(document["servers"][0]["url"], "http://127.0.0.1:6501");
}
