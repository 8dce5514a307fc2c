//! The walk that ARCHITECTURE.md tells: the files a call meets, in their order.

use std::collections::{BTreeMap, BTreeSet};

use super::Objections;

/// Where the walk stands in the page: from this heading to the first line that is neither of a step nor empty.
const HEADING: &str = "## The way of a call";

/// Every file that the page names is there. In the walk each stands once, and is imported by one before it: by itself, or
/// as a file of its crate.
pub(super) fn is_straight(
    page: &str,
    imports: &BTreeMap<&str, BTreeSet<&str>>,
    texts: &BTreeMap<&str, &str>,
) -> Objections {
    let mut objections: Objections = files(page)
        .filter(|file| !texts.contains_key(file))
        .map(|file| format!("ARCHITECTURE.md names {file}, which is not there"))
        .collect();
    let mut before: Vec<&str> = Vec::new();
    for file in files(walk(page)) {
        if before.contains(&file) {
            objections.push(format!("the walk in ARCHITECTURE.md comes to {file} a second time"));
            continue;
        }
        let name = crate_of(file).map(|name| format!("portcullis_{name}"));
        let leads_to = |from: &&str| {
            let names_crate =
                || name.as_ref().is_some_and(|name| texts.get(from).is_some_and(|text| text.contains(name)));
            imports.get(from).is_some_and(|imported| imported.contains(file)) || names_crate()
        };
        if !before.is_empty() && !before.iter().any(leads_to) {
            objections.push(format!("the walk in ARCHITECTURE.md comes to {file}, which none before it imports"));
        }
        before.push(file);
    }
    if before.is_empty() {
        objections.push(format!("ARCHITECTURE.md tells of no walk under '{HEADING}'"));
    }
    objections
}

/// The numbered steps of the walk.
fn walk(page: &str) -> &str {
    let Some((_, below)) = page.split_once(HEADING) else { return "" };
    let Some(start) = below.find("\n1. ") else { return "" };
    let steps = &below[start..];
    let is_of_step =
        |line: &str| line.is_empty() || line.starts_with(' ') || line.starts_with(|digit: char| digit.is_ascii_digit());
    let end: usize =
        steps.split_inclusive('\n').take_while(|line| is_of_step(line.trim_end_matches('\n'))).map(str::len).sum();
    &steps[..end]
}

/// The Rust files that a text names, in their order.
fn files(text: &str) -> impl Iterator<Item = &str> {
    let is_file = |word: &&str| word.ends_with(".rs") && (word.starts_with("crates/") || word.starts_with("src/"));
    text.split('`').skip(1).step_by(2).filter(is_file)
}

/// The crate a file belongs to.
fn crate_of(file: &str) -> Option<&str> {
    file.strip_prefix("crates/")?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_turns_back_or_jumps_is_found() {
        let texts = BTreeMap::from([
            ("crates/a/src/one.rs", "use crate::two::Two;"),
            ("crates/a/src/two.rs", "use portcullis_b::three::Three;"),
            ("crates/a/src/apart.rs", ""),
            ("crates/b/src/three.rs", ""),
        ]);
        let imports = BTreeMap::from([("crates/a/src/one.rs", BTreeSet::from(["crates/a/src/two.rs"]))]);
        let found = |steps: &str| {
            is_straight(
                &format!("{HEADING}\n\nText.\n{steps}\nOn the way back `crates/a/src/one.rs`.\n"),
                &imports,
                &texts,
            )
        };
        let straight = "\n1. `crates/a/src/one.rs` and\n   `crates/a/src/two.rs`\n2. `crates/b/src/three.rs`\n";
        assert_eq!(found(straight), Objections::new());
        for (bad, expected) in [
            (straight.replace("two.rs`\n2", "two.rs`, `crates/a/src/one.rs`\n2"), "a second time"),
            (straight.replace("b/src/three", "a/src/apart"), "none before it imports"),
            (straight.replace("three", "four"), "which is not there"),
            (String::new(), "no walk"),
        ] {
            let found = found(&bad);
            assert!(found.len() == 1 && found[0].contains(expected), "{bad}: {found:?}");
        }
    }
}
