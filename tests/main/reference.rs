//! What is written from the program's own tables: pages of the reference, completions for shells, the manual page.

use std::path::Path;
use std::process::{Command, Stdio};

use super::support::gateway::command;

/// What the binary prints, which must succeed.
fn printed(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let output = command(directory.path()).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_pages_are_what_the_binary_prints() {
    for page in ["cli", "policy-settings", "security-findings", "settings", "traffic"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/reference/{page}.md"));
        let text = printed(&["reference", page]);
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            std::fs::write(&path, &text).expect("written");
        }
        assert!(
            std::fs::read_to_string(&path).is_ok_and(|committed| committed == text),
            "docs/reference/{page}.md is not what the binary prints; look at the difference after \
             `UPDATE_GOLDEN=1 cargo nextest run -p portcullis --test main the_pages_are_what_the_binary_prints`"
        );
    }
}

#[test]
fn the_pages_say_everything() {
    let settings = printed(&["reference", "settings"]);
    let table = printed(&["settings"]);
    let keys: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = ")).collect();
    assert!(keys.len() > 30, "{}", keys.len());
    for (key, _) in keys {
        assert!(settings.contains(&format!("| `{key}`<br>")), "{key}");
    }
    let cli = printed(&["reference", "cli"]);
    for words in ["`portcullis client grant`", "`--fail-on SEVERITY`", "`-f, --file FILE`", "One of: `yaml`, `json`"] {
        assert!(cli.contains(words), "{words}");
    }
    let traffic = printed(&["reference", "traffic"]);
    assert!(traffic.contains("## `timeouts`") && traffic.contains("| `first_byte` | number or string |"), "{traffic}");
    let policies = printed(&["reference", "policy-settings"]);
    for words in [
        "## `throttle`",
        "## `acl`",
        "| `forward_credentials` | boolean | `false` |",
        "| `effect` | `\"allow\"` or `\"deny\"` |",
        "Its settings are those of [`signature`](#signature).",
    ] {
        assert!(policies.contains(words), "{words}");
    }
    assert_eq!(policies.matches("| `sign_answers` |").count(), 1, "the settings of one kind stand in one place");
}

/// What bash completes after these words, the last of them begun.
fn bash_completes(words: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("portcullis.bash");
    std::fs::write(&script, printed(&["completions", "bash"])).expect("written");
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    // As bash does it at a press of Tab: the words, which one it is, and the function that was registered.
    let lines = format!(
        "set -u\nsource '{}'\nCOMP_WORDS=({})\nCOMP_CWORD={}\n\
         function=$(complete -p portcullis | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         compopt() {{ :; }}\n\"$function\" portcullis \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        script.display(),
        quoted.join(" "),
        words.len() - 1
    );
    let output = Command::new("bash").args(["--norc", "-c", &lines]).output().expect("bash runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(bash_completes(&["portcullis", "enr"]), ["enrolment"]);
    assert_eq!(bash_completes(&["portcullis", "client", "gra"]), ["grant"]);
    assert_eq!(bash_completes(&["portcullis", "check", "--sec"]), ["--security"]);
    assert_eq!(bash_completes(&["portcullis", "serve", "--limits-body-b"]), ["--limits-body-bytes"]);
    assert_eq!(bash_completes(&["portcullis", "check", "--fail-on", "cr"]), ["critical"]);
    assert!(bash_completes(&["portcullis", ""]).contains(&"serve".to_owned()));
}

#[test]
fn zsh_and_fish_read_their_completions() {
    for (shell, words) in
        [("zsh", ["#compdef portcullis", "--limits-body-bytes"]), ("fish", ["complete -c portcullis", "fail-on"])]
    {
        let script = printed(&["completions", shell]);
        for word in words {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("completions");
        std::fs::write(&path, script).expect("written");
        // Not every machine that builds this has them; then their own parsers have not looked at it.
        if let Ok(output) = Command::new(shell).arg("-n").arg(&path).output() {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn the_manual_page_is_one_and_says_every_command() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH portcullis 1"), "{}", &page[..200]);
    let rendered = ["mandoc", "groff"].iter().find_map(|tool| {
        let arguments: &[&str] = if *tool == "groff" { &["-man", "-Tutf8", "-ww", "-P-cbou"] } else { &["-T", "utf8"] };
        let mut child = Command::new(tool)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut stdin = child.stdin.take().expect("piped");
        let text = page.clone();
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, text.as_bytes()));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("fine").expect("written");
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).expect("text"))
    });
    // Without a tool that renders, the source itself is looked at.
    let text = rendered.unwrap_or(page).replace("\\-", "-").replace('\u{2010}', "-");
    for words in [
        "NAME",
        "SYNOPSIS",
        "COMMANDS",
        "portcullis serve",
        "portcullis service put",
        "--limits-body-bytes",
        "--fail-on",
        "low, medium, high, critical",
    ] {
        assert!(text.contains(words), "{words}");
    }
}
