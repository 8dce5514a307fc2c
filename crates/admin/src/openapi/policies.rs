//! What the settings of policies look like, as the policies themselves tell it.

use portcullis_policies::{Build, KINDS};
use serde_json::{Map, Value};

const DEFINITIONS: &str = "#/$defs/";

/// Puts the schema of every policy's settings into the declarations of services and routes.
pub(super) fn describe(document: &mut Value) {
    let mut definitions = Map::new();
    let mut properties = Map::new();
    for kind in KINDS.iter().filter(|kind| !matches!(kind.build, Build::Require(_))) {
        let mut schema = (kind.schema)();
        if let Some(fields) = schema.as_object_mut() {
            // The document names the dialect itself.
            fields.remove("$schema");
            if let Some(Value::Object(own)) = fields.remove("$defs") {
                definitions.extend(own.into_iter().map(|(name, definition)| (component(kind.name, &name), definition)));
            }
        }
        properties.insert(kind.name.to_owned(), schema);
        let schemas = properties.values_mut().chain(definitions.values_mut());
        schemas.for_each(|schema| lead_to_components(kind.name, schema));
    }
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    schemas.extend(definitions);
    for declaration in ["ServiceDeclaration", "RouteDeclaration"] {
        let declared = schemas.get_mut(declaration).and_then(|schema| schema.pointer_mut("/properties/policies"));
        let Some(policies) = declared.and_then(Value::as_object_mut) else { continue };
        policies.remove("propertyNames");
        policies.insert("additionalProperties".to_owned(), Value::Bool(false));
        policies.insert("properties".to_owned(), Value::Object(properties.clone()));
    }
}

/// The name of a policy's definition among all of the document.
fn component(kind: &str, name: &str) -> String {
    format!("{kind}.{name}")
}

/// References inside of one policy's schema lead to where its definitions are now. Those of policies before it
/// have been led there already.
fn lead_to_components(kind: &str, schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref")
                && let Some(name) = target.strip_prefix(DEFINITIONS)
            {
                *target = format!("#/components/schemas/{}", component(kind, name));
            }
            fields.values_mut().for_each(|field| lead_to_components(kind, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| lead_to_components(kind, item)),
        _ => {}
    }
}
