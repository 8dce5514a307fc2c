//! Holds what the compiler does not: the arrows between crates, the walls inside them, the shape of the files.
//!
//! Each rule is a pure function over a path and a text that returns what is wrong, and has tests of its own
//! which prove that it catches a violation. The tests in this file put the whole tree before the rules.

mod arrows;
mod circles;
mod files;
mod papers;
mod spawns;
mod walk;
mod walls;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a rule objects to, one line each, ready to be read.
type Objections = Vec<String>;

/// The files that are in the repository or would be with the next commit: path from the root, bytes.
fn tree() -> Vec<(String, Vec<u8>)> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(ROOT)
        .output()
        .expect("git is installed");
    let errors = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success(), "tidy reads a git checkout, and git says: {errors}");
    let names = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let files: Vec<_> = names
        .split_terminator('\0')
        .map(|path| (path, Path::new(ROOT).join(path)))
        .filter(|(_, place)| place.is_file())
        .map(|(path, place)| (path.to_owned(), std::fs::read(place).expect("a listed file can be read")))
        .collect();
    assert!(files.iter().any(|(path, _)| path == "Cargo.toml"), "git lists no files of this project");
    files
}

/// Puts every Rust file of the tree before a rule.
fn each_rust_file(rule: impl Fn(&str, &str) -> Objections) {
    let objections: Objections = tree()
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .flat_map(|(path, bytes)| rule(path, &String::from_utf8_lossy(bytes)))
        .collect();
    none(&objections);
}

fn none(objections: &[String]) {
    assert!(objections.is_empty(), "\n{}\n", objections.join("\n"));
}

#[test]
fn crates_depend_only_downwards() {
    none(&arrows::check(&arrows::workspace(ROOT)));
}

#[test]
fn what_imports_one_another_is_one_subject() {
    let objections: Objections = circles::crates(&tree()).iter().flat_map(circles::Crate::circles).collect();
    none(&objections);
}

#[test]
fn a_newcomer_walks_straight_through_the_page() {
    let tree = tree();
    let crates = circles::crates(&tree);
    let imports = crates.iter().flat_map(circles::Crate::imports).collect();
    let texts: BTreeMap<_, _> = tree
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .filter_map(|(path, bytes)| Some((path.as_str(), std::str::from_utf8(bytes).ok()?)))
        .collect();
    let page = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).expect("the page");
    none(&walk::is_straight(&page, &imports, &texts));
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    each_rust_file(files::says_what_it_is_for);
}

#[test]
fn no_rust_file_has_two_subjects() {
    each_rust_file(files::is_short);
}

#[test]
fn rust_files_are_named_after_their_subject() {
    each_rust_file(|path, _| files::is_named_after_its_subject(path));
}

#[test]
fn policies_do_not_know_one_another() {
    let tree = tree();
    let policies = walls::policies(tree.iter().map(|(path, _)| path.as_str()));
    each_rust_file(|path, text| walls::knows_no_other_policy(path, text, &policies));
}

#[test]
fn refusals_become_answers_in_one_place() {
    each_rust_file(walls::writes_no_refusal);
}

#[test]
fn nothing_decides_on_how_a_caller_spells_a_path() {
    each_rust_file(walls::decides_on_one_form);
}

#[test]
fn header_fields_are_seen_through_one_type() {
    each_rust_file(walls::asks_for_fields_in_one_way);
}

#[test]
fn nothing_the_gateway_needs_dies_alone() {
    each_rust_file(spawns::are_vital);
}

#[test]
fn nothing_is_said_past_the_diagnostics() {
    each_rust_file(spawns::says_nothing_past_the_diagnostics);
}

#[test]
fn every_command_in_the_papers_is_run_or_says_why_not() {
    let objections: Objections = tree()
        .iter()
        .flat_map(|(path, bytes)| papers::runs_its_commands(path, &String::from_utf8_lossy(bytes)))
        .collect();
    none(&objections);
}

#[test]
fn files_travel() {
    let objections: Objections = tree().iter().flat_map(|(path, bytes)| files::travels(path, bytes)).collect();
    none(&objections);
}
