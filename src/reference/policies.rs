//! The page of the settings of all policies, from their table and the schemas of their settings.

use std::fmt::Write as _;

use portcullis_policies::{Build, KINDS};

use super::schema::section;

pub(super) fn page() -> String {
    let mut text = String::from(
        "# Settings of policies\n\n\
         <!-- Written by `portcullis reference policy-settings`; a test compares them. -->\n\n\
         Every kind of policy in the order in which a call meets them, with the form of its settings. What they do is in\n\
         [policies](policies.md).\n",
    );
    for kind in KINDS {
        let _ = write!(text, "\n## `{}`\n\nIts place: {}.\n", kind.name, kind.reason);
        if matches!(kind.build, Build::Require(_)) {
            text.push_str("\nA field of the service or route itself, not one of its `policies`.\n");
        }
        if kind.settings == kind.name {
            section(&mut text, kind.name, &(kind.schema)());
        } else {
            let _ = write!(text, "\nIts settings are those of [`{0}`](#{0}).\n", kind.settings);
        }
    }
    text
}
