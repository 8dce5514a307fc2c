//! The blocks of a page in Markdown, and what comments in front of them say.

/// A fenced block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its fence, from 1.
    pub(crate) line: usize,
    /// The word behind the fence.
    pub(crate) language: String,
    /// What is in it, without the indentation of its fence.
    pub(crate) text: String,
    /// Why it is not run.
    pub(crate) not_run: Option<String>,
    /// What is run before it.
    pub(crate) first: Option<String>,
    /// What its last command ends with.
    pub(crate) exit: i32,
    /// What is in its output.
    pub(crate) shows: Vec<String>,
    /// What it is saved as.
    pub(crate) file: Option<String>,
    /// The file of the project it is quoted from.
    pub(crate) from: Option<String>,
}

impl Block {
    /// Whether it is commands for a shell.
    pub(crate) fn is_commands(&self) -> bool {
        self.language == "sh"
    }

    /// Whether its commands are run.
    pub(crate) fn is_run(&self) -> bool {
        self.is_commands() && self.not_run.is_none()
    }
}

/// The blocks of a page, or what cannot be understood in it.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut next = Block::default();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let bare = line.trim_start();
        if let Some(begun) = bare.strip_prefix("<!--") {
            let mut comment = begun.to_owned();
            while !comment.contains("-->") {
                let (_, more) = lines.next().ok_or_else(|| format!("line {}: a comment without an end", at + 1))?;
                comment = format!("{comment}\n{more}");
            }
            let comment = comment.split("-->").next().unwrap_or_default().trim();
            note(&mut next, comment).map_err(|error| format!("line {}: {error}", at + 1))?;
        } else if let Some(language) = bare.strip_prefix("```") {
            let indent = line.len() - bare.len();
            language.trim().clone_into(&mut next.language);
            next.line = at + 1;
            loop {
                let (_, inner) = lines.next().ok_or_else(|| format!("line {}: a block without an end", at + 1))?;
                if inner.trim() == "```" {
                    break;
                }
                let spaces = inner.len() - inner.trim_start().len();
                next.text.push_str(&inner[spaces.min(indent)..]);
                next.text.push('\n');
            }
            blocks.push(std::mem::take(&mut next));
        } else if !bare.is_empty() && next != Block::default() {
            return Err(format!("line {}: a comment that speaks of no block", at + 1));
        }
    }
    if next != Block::default() {
        return Err("a comment at the end that speaks of no block".to_owned());
    }
    Ok(blocks)
}

/// Puts what a comment says on the block behind it. A comment of another kind says nothing.
fn note(block: &mut Block, comment: &str) -> Result<(), String> {
    let Some((word, said)) = comment.split_once(':') else { return Ok(()) };
    let said = said.trim().to_owned();
    match word {
        "not run" if said.split_whitespace().count() < 3 => Err("'not run' wants a reason".to_owned()),
        "not run" => {
            block.not_run = Some(said);
            Ok(())
        }
        "run first" => {
            block.first = Some(said);
            Ok(())
        }
        "exit" => {
            block.exit = said.parse().map_err(|_| format!("'{said}' is no exit code"))?;
            Ok(())
        }
        "shows" => {
            block.shows.push(said);
            Ok(())
        }
        "file" => {
            block.file = Some(said);
            Ok(())
        }
        "from" => {
            block.from = Some(said);
            Ok(())
        }
        _ => Ok(()),
    }
}

#[test]
fn blocks_have_what_is_said_of_them() {
    let page = "text\n\n<!-- Written by hand. -->\n1. a\n\n   <!-- run first: a\n   b -->\n   ```sh\n   one\n     two\n   ```\n\
                <!-- not run: it needs a moon -->\n```sh\nx\n```\n<!-- exit: 2 -->\n<!-- shows: a: b -->\n```sh\ny\n```\n\
                <!-- file: gate.yaml -->\n\n```yaml\nz: 1\n```\n";
    let found = blocks(page).expect("a page");
    let texts: Vec<_> = found.iter().map(|block| (block.line, block.text.as_str(), block.is_run())).collect();
    assert_eq!(texts, [(8, "one\n  two\n", true), (13, "x\n", false), (18, "y\n", true), (23, "z: 1\n", false)]);
    assert_eq!(found[0].first.as_deref(), Some("a\n   b"));
    assert_eq!(found[1].not_run.as_deref(), Some("it needs a moon"));
    assert_eq!((found[2].exit, found[2].shows.as_slice()), (2, &["a: b".to_owned()][..]));
    assert_eq!(found[3].file.as_deref(), Some("gate.yaml"));
    for bad in ["```sh\n", "<!-- a", "<!-- not run: no -->\n```sh\n```", "<!-- exit: 1 -->\ntext", "<!-- exit: x -->"] {
        assert!(blocks(bad).is_err(), "{bad}");
    }
}
