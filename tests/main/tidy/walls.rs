//! Walls inside crates: policies do not know one another, and one place turns refusals into answers.

use std::collections::BTreeSet;

use super::Objections;
use super::files::without_tests;

const POLICIES: &str = "crates/policies/src/";

/// The only files that may turn a refusal into an answer: the walk, and the writing it calls.
const WRITERS: [&str; 4] = [
    "crates/core/src/policy.rs",
    "crates/core/src/call.rs",
    "crates/core/src/dialect/mod.rs",
    "crates/core/src/dialect/tests.rs",
];

/// The names of the policies: the folders of their crate.
pub(super) fn policies<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    paths.filter_map(policy_of).map(str::to_owned).collect()
}

fn policy_of(path: &str) -> Option<&str> {
    path.strip_prefix(POLICIES)?.split_once('/').map(|(folder, _)| folder)
}

/// A file in a policy's folder does not name another policy by `crate::` or `super::`.
pub(super) fn knows_no_other_policy(path: &str, text: &str, policies: &BTreeSet<String>) -> Objections {
    let Some(own) = policy_of(path) else { return Vec::new() };
    named_from_above(text)
        .into_iter()
        .filter(|name| *name != own && policies.contains(*name))
        .map(|other| {
            format!("{path}: the policy '{own}' knows the policy '{other}'; what both need belongs below them")
        })
        .collect()
}

/// Every first name that follows `crate::` or `super::`, also those in braces.
fn named_from_above(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for root in ["crate::", "super::"] {
        for (at, _) in text.match_indices(root) {
            let rest = &text[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => names.extend(group_members(group)),
                None => names.extend(first_name(rest)),
            }
        }
    }
    names
}

/// The first name of each member of a `{…}` whose brace has been taken off.
fn group_members(group: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let (mut depth, mut start) = (1_usize, 0);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 1 => {
                members.extend(first_name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            members.extend(first_name(&group[start..at]));
            break;
        }
    }
    members
}

fn first_name(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    Some(&text[..end]).filter(|name| !name.is_empty())
}

/// Outside the walk, nothing calls `refuse` on a call or `write` on a dialect. Unit tests may.
pub(super) fn writes_no_refusal(path: &str, text: &str) -> Objections {
    if WRITERS.contains(&path) || path.starts_with("tests/") {
        return Vec::new();
    }
    let code: String = without_tests(text)
        .into_iter()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .collect::<Vec<_>>()
        .join("");
    // Statement by statement, so that a `write` belongs to the dialect before it.
    code.split([';', '{', '}'])
        .filter(|statement| statement.contains(".refuse(") || writes_by_dialect(statement))
        .map(|statement| format!("{path}: only `Next::run` turns a refusal into an answer, not `{}`", statement.trim()))
        .collect()
}

/// Where a path is read as its caller has spelled it: to be declared, forwarded, shown, recorded and signed, never to decide.
const SPELLING: [&str; 11] = [
    "crates/core/src/canonical/",
    "crates/core/src/call.rs",
    "crates/policies/src/capture/",
    "crates/policies/src/acl/rules.rs",
    // A signature is over what stood on the wire.
    "crates/policies/src/signature/",
    "crates/policies/src/signed.rs",
    "crates/policies/src/testing.rs",
    "crates/proxy/src/redirect.rs",
    "crates/routing/src/compile.rs",
    "crates/routing/src/routes/shape.rs",
    "crates/upstream/src/",
];

/// What takes a path to decide on it takes the decision form, which `core::canonical` alone makes.
pub(super) fn decides_on_one_form(path: &str, text: &str) -> Objections {
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
    if !path.starts_with("crates/") || is_test || SPELLING.iter().any(|room| path.starts_with(room)) {
        return Vec::new();
    }
    without_tests(text)
        .into_iter()
        .filter(|line| [".forwarded()", ".forwarded_rest()", "raw.target"].iter().any(|reads| line.contains(reads)))
        .map(|line| format!("{path}: a path is decided on in its decision form, not `{}`", line.trim()))
        .collect()
}

/// Where the libraries' types for header fields may be named, and why.
const FIELDS: [(&str, &str); 4] = [
    ("crates/core/src/message/", "the one place where it is decided what fields stand in"),
    ("crates/admin/src/", "the control plane: handlers of axum are made of these types"),
    ("src/acme/", "asks authorities, in the types of the ACME library"),
    ("src/cli/", "the client of the admin API, and the service of the demo"),
];

/// The room of the control plane in which a call of the data plane ends.
const REGISTER: &str = "crates/admin/src/register.rs";

/// What a message is made of is known by `core::message` alone: everything else asks its types. Tests may do as they like.
pub(super) fn asks_for_fields_in_one_way(path: &str, text: &str) -> Objections {
    let is_source = path.starts_with("src/") || path.starts_with("crates/") && path.contains("/src/");
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
    let is_edge = path != REGISTER && FIELDS.iter().any(|(room, _)| path.starts_with(room));
    if !is_source || is_test || is_edge {
        return Vec::new();
    }
    const NAMES: [&str; 6] = ["HeaderMap", "HeaderName", "HeaderValue", "http::header", ".headers()", ".headers_mut()"];
    without_tests(text)
        .into_iter()
        .filter(|line| NAMES.iter().any(|name| line.contains(name)))
        .map(|line| format!("{path}: header fields are seen through `core::message`, not `{}`", line.trim()))
        .collect()
}

fn writes_by_dialect(statement: &str) -> bool {
    let behind = statement.to_ascii_lowercase();
    let Some(at) = behind.find("dialect") else { return false };
    behind[at..].contains(".write(") || behind[at..].contains("::write(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn knows(text: &str, expected: usize) {
        let policies = policies(
            ["acl/mod.rs", "bearer/mod.rs", "lib.rs"].map(|it| format!("{POLICIES}{it}")).iter().map(String::as_str),
        );
        assert_eq!(policies.len(), 2);
        let objections = knows_no_other_policy("crates/policies/src/acl/rules.rs", text, &policies);
        assert_eq!(objections.len(), expected, "{text}: {objections:?}");
    }

    #[test]
    fn what_fields_stand_in_is_named_in_few_places() {
        for names in ["use http::HeaderMap;", "use http::header::VIA;", "let id = request.headers().get(ID);"] {
            for path in ["crates/proxy/src/door.rs", "src/app/mod.rs", REGISTER] {
                assert_eq!(asks_for_fields_in_one_way(path, names).len(), 1, "{path}: {names}");
            }
            for path in ["crates/core/src/message/fields.rs", "src/cli/admin.rs", "tests/main/nginx.rs"] {
                assert!(asks_for_fields_in_one_way(path, names).is_empty(), "{path}: {names}");
            }
            let tests = format!("#[cfg(test)]\nmod tests {{\n    {names}\n}}\n");
            assert!(asks_for_fields_in_one_way("crates/proxy/src/door.rs", &tests).is_empty());
        }
        let text = "let id = request.fields().get(X_REQUEST_ID);";
        assert!(asks_for_fields_in_one_way("crates/proxy/src/door.rs", text).is_empty());
    }

    #[test]
    fn the_spelling_of_a_path_is_read_in_few_places() {
        for reads in ["call.request.path.forwarded()", "call.forwarded_rest()", "&call.raw.target"] {
            let text = format!("fn check(call: &Call) {{ look({reads}); }}");
            assert_eq!(decides_on_one_form("crates/policies/src/other/mod.rs", &text).len(), 1, "{reads}");
            assert!(decides_on_one_form("crates/upstream/src/forward.rs", &text).is_empty());
        }
        let text = "fn check(call: &Call) { look(call.rest()); }";
        assert!(decides_on_one_form("crates/policies/src/other/mod.rs", text).is_empty());
    }

    #[test]
    fn a_policy_that_knows_another_is_found() {
        knows("use crate::bearer::Keys;", 1);
        knows("let keys = super::super::bearer::keys();", 1);
        knows("use crate::{kinds::{self, bearer}, bearer::Keys};", 1);
        knows("use crate::{\n    kinds,\n    bearer,\n};", 1);
    }

    #[test]
    fn a_policy_may_know_itself_and_what_is_below() {
        knows("use crate::acl::Rule; use super::Rule; use crate::bearer_words; use portcullis_identity::bearer;", 0);
        knows("use crate::{kinds::{self, bearer}, acl};", 0);
        let others = BTreeSet::from(["acl".to_owned()]);
        assert_eq!(knows_no_other_policy("crates/policies/src/lib.rs", "use crate::acl;", &others).len(), 0);
    }

    #[test]
    fn a_second_writer_of_refusals_is_found() {
        let writes = |text: &str| writes_no_refusal("crates/proxy/src/door.rs", text).len();
        assert_eq!(writes("let answer = call.refuse(&refusal);"), 1);
        assert_eq!(writes("return Dialect::of(path)\n    .write(&refusal, &id);"), 1);
        assert_eq!(writes("Dialect::write(dialect, &refusal, &id)"), 1);
        assert_eq!(writes("{ call.dialect.write(&refusal, &id) }"), 1);
        assert_eq!(writes("log.write(record); let dialect = Dialect::of(path); file.write(bytes)"), 0);
        assert_eq!(writes("// call.refuse(&refusal) happens in the walk\n"), 0);
        assert_eq!(writes("#[cfg(test)]\nmod tests {\n    call.refuse(&refusal);\n}\n"), 0);
    }

    #[test]
    fn the_walk_itself_may_write() {
        assert_eq!(writes_no_refusal(WRITERS[0], "call.refuse(&refusal)").len(), 0);
    }
}
