//! Commands in the papers: none escapes being run.

use super::Objections;
use crate::docs::{Block, blocks};

/// What a block may be called. Commands are `sh`, and nothing else.
const LANGUAGES: [&str; 11] =
    ["http", "ini", "javascript", "json", "nginx", "python", "rust", "sh", "text", "toml", "yaml"];

/// Programs: they are saved as files, so that commands run them.
const PROGRAMS: [&str; 2] = ["javascript", "python"];

/// A page whose commands all go through the shell of the tests, or say why not.
pub(super) fn runs_its_commands(path: &str, text: &str) -> Objections {
    if !(path == "README.md" || path.starts_with("docs/") && path.ends_with(".md")) {
        return Objections::new();
    }
    let blocks = match blocks(text) {
        Ok(blocks) => blocks,
        Err(error) => return vec![format!("{path}: {error}")],
    };
    let objection = |line: usize, words: &str| format!("{path}:{line}: {words}");
    let mut objections = Objections::new();
    for block in &blocks {
        if !LANGUAGES.contains(&block.language.as_str()) {
            let words = format!("a block of '{}'; commands are 'sh', other text is 'text'", block.language);
            objections.push(objection(block.line, &words));
        }
        let has_command = block.text.lines().any(|line| {
            let line = line.trim_start().trim_start_matches("$ ");
            ["portcullis ", "sudo ", "curl ", "cargo "].iter().any(|command| line.starts_with(command))
        });
        if block.language == "text" && has_command {
            objections.push(objection(block.line, "commands in a block of 'text' are run by nobody; make it 'sh'"));
        }
        let is_program = |block: &Block| PROGRAMS.contains(&block.language.as_str());
        let is_named = |name: &str| {
            let mut others = blocks.iter().filter(|other| other.line != block.line);
            others.any(|other| (other.is_run() || is_program(other)) && other.text.contains(name))
        };
        if is_program(block) && !block.file.as_deref().is_some_and(is_named) {
            let words = "a program that nothing runs; save it with 'file:', and run it in a block of 'sh'";
            objections.push(objection(block.line, words));
        }
        let speaks_of_running = block.not_run.is_some() || block.exit != 0 || !block.shows.is_empty();
        if !block.is_commands() && (speaks_of_running || block.first.is_some()) {
            objections.push(objection(block.line, "a comment about running stands before what is not run"));
        }
        if block.not_run.is_some() && (block.exit != 0 || !block.shows.is_empty()) {
            objections.push(objection(block.line, "what is not run has no exit code and shows nothing"));
        }
    }
    objections
}

#[test]
fn commands_that_escape_are_found() {
    let found = |text: &str| runs_its_commands("docs/a.md", text).len();
    assert_eq!(
        found("```sh\nportcullis x\n```\n<!-- not run: it needs a moon -->\n```sh\ny\n```\n```json\n{}\n```\n"),
        0
    );
    let program = "<!-- file: a.mjs -->\n```javascript\nx\n```\n";
    let importing = "<!-- file: b.mjs -->\n```javascript\nimport \"./a.mjs\"\n```\n";
    assert_eq!(found(&format!("{program}{importing}```sh\nnode b.mjs\n```\n")), 0);
    for bad in [
        program,
        "<!-- file: a.py -->\n```python\n# a.py\n```\n",
        "```python\nx\n```\n```sh\npython3\n```\n",
        "<!-- file: a.py -->\n```python\nx\n```\n<!-- not run: it needs a moon -->\n```sh\npython3 a.py\n```\n",
        "```bash\nportcullis x\n```\n",
        "```\nportcullis x\n```\n",
        "```text\n$ portcullis x\n```\n",
        "<!-- not run: no -->\n```sh\nx\n```\n",
        "<!-- not run: it needs a moon -->\n```json\n{}\n```\n",
        "<!-- not run: it needs a moon -->\n<!-- shows: x -->\n```sh\nx\n```\n",
        "<!-- not run: it needs a moon -->\n\ntext\n\n```sh\nx\n```\n",
    ] {
        assert_eq!(found(bad), 1, "{bad}");
        assert_eq!(runs_its_commands("bench/a.md", bad).len(), 0);
    }
}
