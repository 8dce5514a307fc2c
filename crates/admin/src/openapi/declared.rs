//! What declarations look like, and the settings in them by kind, as their own types tell it.

use portcullis_core::model::{Client, Host, Route, Service};
use portcullis_core::settings;
use portcullis_policies::KINDS;
use portcullis_upstream::traffic;
use serde_json::{Map, Value};

const DEFINITIONS: &str = "#/$defs/";

/// Puts the schemas of what is declared into the document.
pub(super) fn describe(document: &mut Value) {
    let Some(components) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    let policies = KINDS.iter().filter(|kind| kind.is_declared());
    let by_kind = [
        ("policies", properties(policies.map(|kind| (kind.name, (kind.schema)())), components)),
        ("traffic", properties(traffic::KINDS.iter().map(|kind| (kind.name, (kind.schema)())), components)),
    ];
    for (name, schema) in [
        ("ServiceDeclaration", settings::schema::<Service>()),
        ("RouteDeclaration", settings::schema::<Route>()),
        ("ClientDeclaration", settings::schema::<Client>()),
        ("HostDeclaration", settings::schema::<Host>()),
    ] {
        let mut schema = apart("", schema, components);
        for (field, properties) in &by_kind {
            let settings = schema.pointer_mut(&format!("/properties/{field}")).and_then(Value::as_object_mut);
            let Some(settings) = settings else { continue };
            settings.insert("additionalProperties".to_owned(), Value::Bool(false));
            settings.insert("properties".to_owned(), Value::Object(properties.clone()));
        }
        if let Some(fields) = schema.as_object_mut() {
            // An object as it stands has more than what is declared of it.
            fields.remove("additionalProperties");
            fields.remove("title");
        }
        components.insert(name.to_owned(), schema);
    }
}

/// The schemas of all kinds by name.
fn properties(
    kinds: impl Iterator<Item = (&'static str, Value)>,
    components: &mut Map<String, Value>,
) -> Map<String, Value> {
    kinds.map(|(name, schema)| (name.to_owned(), apart(&format!("{name}."), schema, components))).collect()
}

/// A schema whose definitions are components of the document, under names that begin like this.
fn apart(prefix: &str, mut schema: Value, components: &mut Map<String, Value>) -> Value {
    settings::public(&mut schema);
    lead_to_components(prefix, &mut schema);
    if let Some(fields) = schema.as_object_mut() {
        // The document names the dialect itself.
        fields.remove("$schema");
        if let Some(Value::Object(own)) = fields.remove("$defs") {
            components.extend(own.into_iter().map(|(name, definition)| (format!("{prefix}{name}"), definition)));
        }
    }
    schema
}

/// References inside of one schema lead to where its definitions are now.
fn lead_to_components(prefix: &str, schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref")
                && let Some(name) = target.strip_prefix(DEFINITIONS)
            {
                *target = format!("#/components/schemas/{prefix}{name}");
            }
            fields.values_mut().for_each(|field| lead_to_components(prefix, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| lead_to_components(prefix, item)),
        _ => {}
    }
}
