//! The files in `deploy`: they speak of settings, flags and names that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::gateway::command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).expect(path)
}

/// What the binary prints, which must succeed.
fn printed(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn variables_of_containers_are_settings() {
    let directory = tempfile::tempdir().expect("a directory");
    let known = printed(directory.path(), &["settings"]) + " PORTCULLIS_DATA_DIR ";
    for file in ["Dockerfile", "deploy/compose.yaml"] {
        let text = read(file);
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        let found: BTreeSet<_> = words.filter(|word| word.starts_with("PORTCULLIS_")).collect();
        assert!(!found.is_empty(), "{file}");
        for name in found {
            assert!(known.contains(&format!("{name} ")), "{file}: {name}");
        }
    }
}

/// The values of a key in a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_service_starts_what_the_binary_understands() {
    let directory = tempfile::tempdir().expect("a directory");
    let (service, socket) = (read("deploy/systemd/portcullis.service"), read("deploy/systemd/portcullis.socket"));
    assert_eq!(values(&service, "Type"), ["notify"]);
    assert_eq!(values(&socket, "FileDescriptorName"), ["data"]);
    let start = values(&service, "ExecStart")[0].replace("${STATE_DIRECTORY}", &directory.path().display().to_string());
    let mut words = start.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/portcullis"));
    let arguments: Vec<_> = words.chain(["--help"]).collect();
    let help = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(&arguments).output().expect("it runs");
    assert!(help.status.success(), "{arguments:?}");
    let settings = printed(directory.path(), &["settings"]);
    for named in ["drain_delay", "drain_limit"] {
        assert!(
            service.contains(&format!("timeouts.{named}")) && settings.contains(&format!("# {named} = ")),
            "{named}"
        );
    }
}

#[test]
fn systemd_understands_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        // Not every machine that builds this runs systemd; the other test looks at what is ours in the units.
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let service = read("deploy/systemd/portcullis.service");
    let service = service.replace("/usr/local/bin/portcullis", env!("CARGO_BIN_EXE_portcullis"));
    std::fs::write(place("portcullis.service"), service).expect("written");
    std::fs::write(place("portcullis.socket"), read("deploy/systemd/portcullis.socket")).expect("written");
    let units: [PathBuf; 2] = ["portcullis.service", "portcullis.socket"].map(place);
    let output = Command::new("systemd-analyze").arg("verify").args(&units).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("portcullis.s")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
