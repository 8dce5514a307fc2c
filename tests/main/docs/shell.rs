//! A reader at a shell: types the blocks of a page one after the other, and looks at what comes of them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Block, ROOT};
use crate::support::python_of_client;

/// A page takes a few seconds; one that does not end is stuck.
const LONGEST: Duration = Duration::from_secs(120);

/// Runs the blocks in a directory of their own. An error says in which line of the page what went wrong.
pub(super) fn run(page: &str, blocks: &[Block], number: usize) -> Result<(), String> {
    let directory = tempfile::tempdir().expect("a directory");
    let (work, aside) = (directory.path().join("work"), directory.path().join("aside"));
    prepare(&work, &aside);
    let script = script(blocks, &work, &aside, &address(number));
    fs::write(aside.join("script"), &script).expect("written");
    let said = fs::File::create(aside.join("said")).expect("a file");
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PORTCULLIS_")) {
        shell.env_remove(name);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = shell
        .args(["--norc", "--noprofile"])
        .arg(aside.join("script"))
        .env("PATH", format!("{}:{path}", aside.join("bin").display()))
        .env("HOME", &work)
        .env("no_proxy", "*")
        // For the page about the client in Python, which a reader has installed.
        .env("CLIENT_PYTHON", python_of_client())
        .env("CLIENT_SOURCE", Path::new(ROOT).join("clients/python/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PORTCULLIS_LISTEN", format!("{}:6500", address(number)))
        .env("PORTCULLIS_ADMIN_LISTEN", format!("{}:6501", address(number)))
        .current_dir(&work)
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("a file"))
        .stderr(said)
        .process_group(0)
        .spawn()
        .expect("bash runs");
    let began = Instant::now();
    let status = loop {
        if let Some(status) = shell.try_wait().expect("its state") {
            break Some(status);
        }
        if began.elapsed() > LONGEST {
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // What it left in the background goes with it.
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", shell.id())]).stderr(Stdio::null()).status();
    let _ = shell.wait();
    let output = |line: usize| read(&aside.join(format!("out-{line}")));
    if status.is_none_or(|status| !status.success()) {
        let told = read(&aside.join("failed")) + &read(&aside.join("said"));
        let all: Vec<_> = blocks.iter().map(|block| output(block.line)).collect();
        let last = all.iter().rev().find(|text| !text.is_empty()).map_or("", |text| text.as_str());
        let told = if status.is_none() { format!("it does not end; {told}") } else { told };
        return Err(format!("{page}: {told}\nit said: {last}"));
    }
    let runs = blocks.iter().filter(|block| block.is_run());
    let mut shown = runs.flat_map(|block| block.shows.iter().map(move |text| (block.line, text)));
    match shown.find(|(line, text)| !output(*line).contains(text.as_str())) {
        Some((line, text)) => Err(format!("{page}: line {line}: shows no '{text}' but: {}", output(line))),
        None => Ok(()),
    }
}

/// An address of this machine that no other test listens on.
fn address(number: usize) -> String {
    let process = std::process::id();
    format!("127.{}.{}.{}", 100 + process / 256 % 100, process % 256, 1 + number)
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A place to work in, as the root of this project looks, and the commands a reader has.
fn prepare(work: &Path, aside: &Path) {
    let bin = aside.join("bin");
    fs::create_dir(work).expect("made");
    fs::create_dir_all(&bin).expect("made");
    symlink(env!("CARGO_BIN_EXE_portcullis"), bin.join("portcullis")).expect("linked");
    // Whoever runs this need not be root, nor change anything outside.
    fs::write(bin.join("sudo"), "#!/bin/sh\nexec \"$@\"\n").expect("written");
    fs::set_permissions(bin.join("sudo"), fs::Permissions::from_mode(0o755)).expect("changed");
    for name in ["docs", "deploy"] {
        symlink(Path::new(ROOT).join(name), work.join(name)).expect("linked");
    }
}

/// The page as one script, which stops where something does not work.
fn script(blocks: &[Block], work: &Path, aside: &Path, address: &str) -> String {
    let state = work.join("state").display().to_string();
    let mine = |text: &str| text.replace("127.0.0.1", address).replace("/var/lib/portcullis", &state);
    let failed = aside.join("failed").display().to_string();
    let mut script = format!(
        "failed() {{ echo \"line $block: '$2' ended with $1\" > '{failed}'; exit 1; }}\n\
         trap 'trap - ERR; kill $(jobs -p) 2>/dev/null || true' EXIT\nset -Ee -o pipefail\ntrap 'failed $? \"$BASH_COMMAND\"' ERR\n"
    );
    for block in blocks {
        let (line, text) = (block.line, mine(&block.text));
        if let Some(name) = &block.file {
            let saved = aside.join(format!("file-{line}"));
            fs::write(&saved, &text).expect("written");
            let _ = writeln!(script, "block={line}\ncp '{}' '{name}'", saved.display());
        }
        if !block.is_commands() {
            continue;
        }
        let _ = writeln!(script, "block={line}\nexec > '{}' 2>&1", aside.join(format!("out-{line}")).display());
        if let Some(first) = &block.first {
            let _ = writeln!(script, "{}", mine(first));
        }
        if !block.is_run() {
            continue;
        }
        match block.exit {
            0 => script.push_str(&text),
            code => {
                let _ = writeln!(
                    script,
                    "set +e; trap - ERR\n{text}code=$?\ntrap 'failed $? \"$BASH_COMMAND\"' ERR; set -e\n\
                     [ $code = {code} ] || failed \"$code, expected {code}\" 'the block'"
                );
            }
        }
    }
    script
}
