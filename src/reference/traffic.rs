//! The page of traffic settings, from their table and the schemas of their settings.

use std::fmt::Write as _;

use portcullis_upstream::traffic::KINDS;
use serde_json::Value;

use super::schema::section;

pub(super) fn page() -> String {
    let mut text = String::from(
        "# Traffic settings\n\n\
         <!-- Written by `portcullis reference traffic`; a test compares them. -->\n\n\
         How calls are sent to the targets of a service: every kind of settings under `traffic` of a service, and of a route.\n\
         A route's settings go over those of its service field by field; what neither declares is as the node has it\n\
         ([settings](settings.md)).\n",
    );
    for kind in KINDS {
        let schema = (kind.schema)();
        let about = schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        let _ = write!(text, "\n## `{}`\n\n{about}\n", kind.name);
        section(&mut text, kind.name, &schema);
    }
    text
}
