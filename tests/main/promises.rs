//! Every promise of `SECURITY.md` names the tests that hold it, and they are there.
//!
//! Behind each statement of that page stands a footnote, `[^paths]`, which names tests: a part of the path of a module and
//! the test's own name, `tls::kept::a_test`. What is no promise says why: `<!-- promises nothing: it is advice -->`. A promise
//! without a test, and a test that has gone or was named otherwise, fail here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, mem};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The sections in which nothing is promised about the gateway.
const WITHOUT: [&str; 2] = ["Reporting a weakness", "What holds these promises"];

/// A statement of the page, and what stands behind it.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    line: usize,
    text: String,
    behind: Behind,
}

/// What stands behind a statement.
#[derive(Debug, PartialEq, Eq)]
enum Behind {
    Note(String),
    NoPromise,
    Nothing,
}

/// The statements of a page: paragraphs, items and rows of tables, each parted behind its notes.
fn statements(page: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let (mut open, mut begun, mut promises, mut columns_known) = (String::new(), 1, false, false);
    let mut close = |open: &mut String, begun: usize, promises: bool| {
        let block = mem::take(open);
        if promises {
            found.extend(parted(&block, begun));
        }
    };
    for (number, line) in page.lines().enumerate() {
        let is_row = line.starts_with('|');
        if line.is_empty() || is_row || line.starts_with('#') || line.starts_with("- ") {
            close(&mut open, begun, promises);
            begun = number + 1;
        }
        if let Some(title) = line.strip_prefix("## ") {
            promises = !WITHOUT.contains(&title);
        }
        // The first row of a table names its columns, and a line stands below it.
        if line.starts_with("|---") {
            columns_known = true;
        } else if is_row && columns_known || !is_row && !line.starts_with('#') {
            open.push_str(line);
            open.push('\n');
        }
        columns_known &= is_row;
    }
    close(&mut open, begun, promises);
    found
}

/// A block parted behind its notes. What none follows is held by nothing.
fn parted(block: &str, line: usize) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut rest = block;
    let mut add = |text: &str, behind: Behind| {
        let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '|').to_owned();
        if !text.is_empty() || matches!(behind, Behind::Note(_)) {
            found.push(Statement { line, text, behind });
        }
    };
    loop {
        let (note, comment) = (rest.find("[^"), rest.find("<!--"));
        match (note, comment) {
            (Some(note), comment) if comment.is_none_or(|comment| note < comment) => {
                let (name, behind) = rest[note + 2..].split_once(']').expect("a note has an end");
                add(&rest[..note], Behind::Note(name.to_owned()));
                rest = behind;
            }
            (_, Some(comment)) => {
                let (said, behind) = rest[comment + 4..].split_once("-->").expect("a comment has an end");
                let why = said.trim().strip_prefix("promises nothing:").map_or("", str::trim);
                add(&rest[..comment], if why.len() > 5 { Behind::NoPromise } else { Behind::Nothing });
                rest = behind;
            }
            _ => break,
        }
    }
    add(rest, Behind::Nothing);
    found
}

/// The notes of a page: the tests that each names.
fn notes(page: &str) -> BTreeMap<String, Vec<String>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("[^")?.split_once("]:"));
    let tests = |text: &str| text.split(',').map(|test| test.trim().trim_matches('`').to_owned()).collect();
    lines.map(|(name, text)| (name.to_owned(), tests(text))).collect()
}

/// Every test of the workspace: its file and its name.
fn tests() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut places = vec![PathBuf::from("tests"), PathBuf::from("crates"), PathBuf::from("src")];
    while let Some(place) = places.pop() {
        let whole = Path::new(ROOT).join(&place);
        if whole.is_dir() {
            places.extend(
                fs::read_dir(whole).expect("read").map(|entry| place.join(entry.expect("an entry").file_name())),
            );
        } else if place.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(whole).expect("read");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
                let name = line.trim_start_matches("async ").strip_prefix("fn ");
                if let Some(name) = name.and_then(|name| name.split_once('(')).filter(|_| is_test) {
                    found.push((place.clone(), name.0.to_owned()));
                    is_test = false;
                }
            }
        }
    }
    found
}

/// Whether a test is the one that a page names.
fn is_named(named: &str, place: &Path, name: &str) -> bool {
    let mut parts: Vec<&str> = named.split("::").collect();
    let last = parts.pop();
    let modules: Vec<&str> =
        place.iter().filter_map(|part| part.to_str()).map(|part| part.trim_end_matches(".rs")).collect();
    last == Some(name) && !parts.is_empty() && parts.iter().all(|part| modules.contains(part))
}

/// What is wrong with a page.
fn objections(page: &str, tests: &[(PathBuf, String)]) -> Vec<String> {
    let notes = notes(page);
    let mut objections = Vec::new();
    let mut used = BTreeSet::new();
    for Statement { line, text, behind } in statements(page) {
        match behind {
            Behind::Note(name) if notes.contains_key(&name) => _ = used.insert(name),
            Behind::Note(name) => objections.push(format!("line {line}: there is no note '{name}'")),
            Behind::Nothing => objections.push(format!("line {line}: nothing holds '{text}'")),
            Behind::NoPromise => {}
        }
    }
    for (note, named) in &notes {
        if !used.contains(note) {
            objections.push(format!("note '{note}': no promise has it"));
        }
        for named in named {
            match tests.iter().filter(|(place, name)| is_named(named, place, name)).count() {
                1 => {}
                0 => objections.push(format!("note '{note}': there is no test '{named}'")),
                number => objections.push(format!("note '{note}': '{named}' could be any of {number} tests")),
            }
        }
    }
    objections
}

#[test]
fn every_promise_is_held_by_a_test_that_is_there() {
    let page = fs::read_to_string(Path::new(ROOT).join("SECURITY.md")).expect("read");
    let tests = tests();
    assert!(statements(&page).len() > 40 && tests.len() > 500, "{} tests", tests.len());
    let objections = objections(&page, &tests);
    assert!(objections.is_empty(), "\nSECURITY.md\n{}\n", objections.join("\n"));
}

#[test]
fn a_promise_that_nothing_holds_is_found() {
    let tests = [(PathBuf::from("crates/identity/src/keys.rs"), "a_test".to_owned())];
    let wrong = |page: &str| {
        objections(&format!("## Promises\n\n{page}\n\n## What holds these promises\n\n[^a]: `keys::a_test`\n"), &tests)
    };
    let columns = "| what | how |\n|---|---|\n";
    for page in [
        "One\ntwo.[^a]",
        "One.[^a] Two.[^a]",
        "- One[^a]\n- Two,\n  more[^a]",
        "One.[^a] Two. <!-- promises nothing: it is advice -->",
        &format!("{columns}| a | b[^a] |"),
        &format!("{columns}| a | b[^a] |\n\n{columns}| c | d[^a] |"),
        "## Reporting a weakness\n\nWrite.\n\n## More\n\nOne.[^a]",
    ] {
        assert_eq!(wrong(page), Vec::<String>::new(), "{page}");
    }
    for (page, said) in [
        ("One.[^a] Two.", "nothing holds 'Two.'"),
        ("One.[^a]\n\nTwo.", "nothing holds 'Two.'"),
        ("- One\n- Two[^a]", "nothing holds '- One'"),
        ("One.[^a] Two. <!-- promises nothing: -->", "nothing holds 'Two.'"),
        (&format!("{columns}| a | b[^a] |\n| c | d |"), "nothing holds 'c | d'"),
        (&format!("One.[^a]\n\n{columns}| c | d |"), "nothing holds 'c | d'"),
        ("One.[^b] Two.[^a]", "there is no note 'b'"),
        ("One. <!-- promises nothing: it is advice -->", "note 'a': no promise has it"),
        ("One.[^a]\n\n## What holds these promises\n\n[^b]: `keys::another`", "there is no test 'keys::another'"),
    ] {
        assert!(wrong(page).iter().any(|objection| objection.contains(said)), "{page}: {:?}", wrong(page));
    }
    let (place, name) = (&tests[0].0, &tests[0].1);
    assert!(is_named("identity::keys::a_test", place, name) && is_named("keys::a_test", place, name));
    assert!(!is_named("a_test", place, name) && !is_named("login::a_test", place, name));
}

#[test]
fn one_crypto_library_and_no_unsafe() {
    let read = |name: &str| fs::read_to_string(Path::new(ROOT).join(name)).expect("read");
    let (manifest, deny, check) = (read("Cargo.toml"), read("deny.toml"), read("check"));
    assert!(manifest.lines().any(|line| line == "unsafe_code = \"forbid\""));
    for member in fs::read_dir(Path::new(ROOT).join("crates")).expect("read") {
        let path = member.expect("an entry").path().join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("read");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", path.display());
    }
    for name in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(deny.contains(&format!("{{ crate = \"{name}\", reason")), "{name}");
    }
    assert!(check.contains("cargo-deny"), "it holds the graph against deny.toml");
}

#[test]
fn secrets_are_compared_in_constant_time() {
    for place in [
        "crates/core/src/secret.rs",
        "crates/identity/src/keys.rs",
        "crates/identity/src/refresh_tokens.rs",
        "crates/store/src/sqlite/sessions.rs",
        "crates/admin/src/auth.rs",
        "crates/admin/src/operations/registering.rs",
    ] {
        let text = fs::read_to_string(Path::new(ROOT).join(place)).expect("read");
        assert!(text.contains(".ct_eq("), "{place} compares a secret");
    }
    let secret = fs::read_to_string(Path::new(ROOT).join("crates/core/src/secret.rs")).expect("read");
    let derives = secret.lines().filter(|line| line.starts_with("#[derive("));
    assert!(derives.into_iter().all(|line| !line.contains("PartialEq") && !line.contains("Debug")), "of Secret");
}
