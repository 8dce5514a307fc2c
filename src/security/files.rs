//! What is wrong with the modes of the files in the data directory. What is not there yet is not wrong.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis_telemetry::Target;

use super::finding::{Location, Subject};
use crate::config::Config;

/// The files that are the gateway's secrets.
const SECRETS: [&str; 3] = ["master.key", "admin.token", "metrics.token"];
/// What the names of the registry's files begin with, in which people stand.
const REGISTRY: &str = "portcullis.db";
/// Read, write or search, for the group or for others.
const ANY: u32 = 0o077;
const GROUP_READ: u32 = 0o040;
const WRITE: u32 = 0o022;
const READ: u32 = 0o044;
const SEARCH: u32 = 0o011;

fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

/// A place at a file with any of these bits.
fn with_bits(path: &Path, bits: u32) -> Option<Location> {
    let mode = mode(path).filter(|mode| mode & bits != 0)?;
    Some(Location::new(path.display().to_string(), format!("mode {mode:04o}")))
}

pub(super) fn open_secrets(subject: &Subject<'_>) -> Vec<Location> {
    let directory = &subject.config.data_dir;
    let mut found: Vec<_> = SECRETS.iter().filter_map(|name| with_bits(&directory.join(name), ANY)).collect();
    // Elsewhere it may be there for the group of whoever scrapes.
    let metrics = subject.config.metrics.token_file.iter();
    found.extend(metrics.filter_map(|path| with_bits(&directory.join(path), ANY & !GROUP_READ)));
    found
}

/// The private keys of certificates that others than the gateway's user and a group can read, or that any others can write.
pub(super) fn open_private_keys(subject: &Subject<'_>) -> Vec<Location> {
    private_keys(subject.config).filter_map(|key| with_bits(key, ANY & !GROUP_READ)).collect()
}

/// Those that a group can read.
pub(super) fn group_private_keys(subject: &Subject<'_>) -> Vec<Location> {
    let closed_to_others = |key: &&PathBuf| mode(key).is_some_and(|mode| mode & ANY & !GROUP_READ == 0);
    private_keys(subject.config).filter(closed_to_others).filter_map(|key| with_bits(key, GROUP_READ)).collect()
}

/// The files of private keys that the settings name.
fn private_keys(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let of_calls = config.tls.certificates.iter().map(|files| &files.key);
    of_calls.chain(&config.admin_tls.key).chain(&config.acme.eab_key_file)
}

pub(super) fn writable_directory(subject: &Subject<'_>) -> Vec<Location> {
    with_bits(&subject.config.data_dir, WRITE).into_iter().collect()
}

/// Files with people and their calls in them that others can read.
pub(super) fn readable_records(subject: &Subject<'_>) -> Vec<Location> {
    let directory = &subject.config.data_dir;
    let mut found = readable(directory, REGISTRY);
    if let Target::Path(path) = &subject.config.log.access_log {
        let path = directory.join(path);
        // The rotated ones have a number behind the name.
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) {
            found.extend(readable(directory, name));
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Files whose names begin like this and that others can read, in a directory that others can go into.
fn readable(directory: &Path, name: &str) -> Vec<Location> {
    if mode(directory).is_none_or(|mode| mode & SEARCH == 0) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let of_name = entries.filter(|entry| entry.file_name().to_str().is_some_and(|found| found.starts_with(name)));
    // A pipe or a device keeps nothing.
    let files = of_name.map(|entry| entry.path()).filter(|path| path.is_file());
    files.filter_map(|path| with_bits(&path, READ)).collect()
}

pub(super) fn writable_settings(subject: &Subject<'_>) -> Vec<Location> {
    with_bits(&subject.config_file, WRITE).into_iter().collect()
}
