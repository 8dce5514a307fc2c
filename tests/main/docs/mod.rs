//! What the papers tell readers to type: every block of shell commands in `README.md` and `docs` is run, in order, by a
//! real shell with the real binary, or says in a comment why not.
//!
//! In front of a block, a comment of Markdown can say more about it; readers do not see it:
//!
//! - `<!-- not run: REASON -->`: it is not run here
//! - `<!-- run first: COMMANDS -->`: what the reader has done already
//! - `<!-- exit: CODE -->`: what its last command ends with, if not 0
//! - `<!-- shows: TEXT -->`: what stands in its output
//! - `<!-- file: NAME -->`: a block that is no commands is saved under this name
//! - `<!-- from: PATH -->`: a block of Rust is quoted from this file of the project
//!
//! Each page has an address of its own out of 127.0.0.0/8 in place of 127.0.0.1, so that the ports it names are free.

mod page;
mod shell;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) use page::{Block, blocks};

use crate::support::gateway::command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The pages by their path from the root.
fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    let mut left = vec![PathBuf::from("docs")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(Path::new(ROOT).join(&directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = directory.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(page)).expect(page);
    blocks(&text).unwrap_or_else(|error| panic!("{page}: {error}"))
}

#[test]
fn what_the_papers_say_to_type_works() {
    let pages: Vec<_> = pages().into_iter().map(|page| (read(&page), page)).collect();
    let with_commands: Vec<_> =
        pages.into_iter().filter(|(blocks, _)| blocks.iter().any(|block| block.is_run())).collect();
    let running: Vec<_> = with_commands
        .into_iter()
        .enumerate()
        .map(|(number, (blocks, page))| {
            std::thread::spawn(move || {
                let count = blocks.iter().filter(|block| block.is_run()).count();
                shell::run(&page, &blocks, number).map(|()| (page, count))
            })
        })
        .collect();
    let ended: Vec<_> = running.into_iter().map(|page| page.join().expect("no panic")).collect();
    let wrong: Vec<_> = ended.iter().filter_map(|page| page.as_ref().err()).map(String::as_str).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n\n"));
    let run: Vec<_> = ended.into_iter().flatten().collect();
    for page in ["README.md", "docs/tutorial.md", "docs/how-to/declare-everything-in-a-file.md"] {
        assert!(run.iter().any(|(name, count)| name == page && *count >= 4), "{page}: {run:?}");
    }
}

#[test]
fn code_the_papers_quote_stands_in_its_file() {
    let mut quoted = 0;
    for page in pages() {
        for block in read(&page).iter().filter(|block| block.language == "rust") {
            let from = block.from.as_ref().unwrap_or_else(|| panic!("{page}:{}: from which file?", block.line));
            let code = std::fs::read_to_string(Path::new(ROOT).join(from)).expect(from);
            assert!(code.contains(&block.text), "{page}:{}: {from} does not say this any more", block.line);
            quoted += 1;
        }
    }
    assert!(quoted > 3, "{quoted}");
}

#[test]
fn files_the_papers_show_are_good() {
    let (mut settings, mut declarations) = (0, 0);
    for page in pages() {
        for block in read(&page) {
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("portcullis.toml");
            let mut binary = command(directory.path());
            match block.language.as_str() {
                "toml" => {
                    settings += 1;
                    std::fs::write(&file, &block.text).expect("written");
                    std::fs::write(directory.path().join("admin.token"), "there").expect("written");
                    binary.arg("token");
                }
                "yaml" if block.text.starts_with("version:") => {
                    declarations += 1;
                    std::fs::write(&file, "").expect("written");
                    let declared = directory.path().join("gate.yaml");
                    std::fs::write(&declared, &block.text).expect("written");
                    binary.args(["check", "-f"]).arg(&declared);
                }
                _ => continue,
            }
            let output = binary.output().expect("it runs");
            assert!(output.status.success(), "{page}:{}: {}", block.line, String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(settings >= 2 && declarations >= 2, "{settings}, {declarations}");
}

#[test]
fn examples_of_signatures_are_vectors() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/reference/signatures.md")).expect("a page");
    let vectors = |file: &str| -> Value {
        let text = std::fs::read_to_string(Path::new(ROOT).join("spec/vectors").join(file)).expect(file);
        serde_json::from_str(&text).expect("JSON")
    };
    let (fomalhaut, http) = (vectors("fomalhaut.json"), vectors("http-signatures.json"));
    let find = |list: &Value, is_it: &dyn Fn(&Value) -> bool| {
        list.as_array().and_then(|all| all.iter().find(|vector| is_it(vector))).expect("a vector").clone()
    };
    let named = |name: &'static str, dialect: &'static str| {
        move |vector: &Value| vector["name"] == name && vector["dialect"] == dialect
    };
    let get = find(&fomalhaut["requests"], &named("get", "fo"));
    let post = find(&fomalhaut["requests"], &named("post_json", "api"));
    let answer = find(&fomalhaut["responses"], &named("raw_json", "fo"));
    let hello = find(&fomalhaut["aes"], &|vector| vector["plaintext_b64"] == "aGVsbG8=");
    let full = find(&http["signatures"], &|vector| vector["name"] == "full");
    let base: Vec<_> = full["base"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();

    let shown = |text: &str| format!("```text\n{}\n```", text.trim_end());
    let told = |vector: &Value, name: &str| vector[name].as_str().expect(name).to_owned();
    for expected in [
        shown(&told(&get, "string_to_sign_preview")),
        told(&get, "signature"),
        shown(&told(&post, "string_to_sign_preview")),
        told(&post, "sha1_hex_of_string"),
        told(&post, "signature"),
        shown(&told(&answer, "string_to_sign_preview")),
        told(&answer, "signature"),
        told(&hello, "iv_hex"),
        told(&hello, "ciphertext_b64"),
        shown(&base.join("\n")),
    ] {
        assert!(page.contains(&expected), "docs/reference/signatures.md does not have: {expected}");
    }
}

#[test]
fn links_in_the_papers_lead_somewhere() {
    let mut count = 0;
    for page in pages() {
        let path = Path::new(ROOT).join(&page);
        let text = std::fs::read_to_string(&path).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let place = link.split('#').next().expect("a place");
            if place.is_empty() || place.contains("://") || place.contains(' ') {
                continue;
            }
            count += 1;
            assert!(path.parent().expect("a directory").join(place).exists(), "{page}: {link}");
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn a_block_that_does_not_work_is_told() {
    let wrong = |text: &str, number: usize| {
        let blocks = blocks(text).expect("a page");
        shell::run("a page", &blocks, number).expect_err(text)
    };
    assert!(wrong("```sh\ntrue\n\nfalse | cat\ntrue\n```\n", 200).contains("line 1: 'cat' ended with 1"));
    assert!(wrong("```sh\nportcullis settngs\n```\n", 201).contains("ended with 2"));
    assert!(wrong("<!-- exit: 3 -->\n```sh\ntrue\n```\n", 202).contains("ended with 0, expected 3"));
    assert!(wrong("<!-- shows: sixpence -->\n```sh\necho a song\n```\n", 203).contains("'sixpence'"));
    assert!(wrong("```sh\ntrue\n```\n\n```sh\nif\n```\n", 204).contains("syntax error"));
    let fine = "<!-- file: a -->\n```text\nof\n```\n<!-- run first: x=1 -->\n```sh\ntrue\n```\n<!-- exit: 4 -->\n\
                <!-- shows: of 1 -->\n```sh\necho $(cat a) $x; (exit 4)\n```\n";
    shell::run("a page", &blocks(fine).expect("a page"), 205).expect("fine");
}
