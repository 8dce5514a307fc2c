//! What is wrong with the modes of the files in the data directory. What is not there yet is not wrong.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Place, Subject};

/// The files that are the gateway's secrets.
const SECRETS: [&str; 2] = ["master.key", "admin.token"];
/// What the names of files begin with in which people and their calls stand.
const RECORDS: [&str; 2] = ["portcullis.db", "access.log"];
/// Read, write or search, for the group or for others.
const ANY: u32 = 0o077;
const WRITE: u32 = 0o022;
const READ: u32 = 0o044;
const SEARCH: u32 = 0o011;

fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

/// A place at a file with any of these bits.
fn with_bits(path: &Path, bits: u32) -> Option<Place> {
    let mode = mode(path).filter(|mode| mode & bits != 0)?;
    Some(Place::new(path.display().to_string(), format!("mode {mode:04o}")))
}

pub(super) fn open_secrets(subject: &Subject<'_>) -> Vec<Place> {
    let directory = &subject.config.data_dir;
    SECRETS.iter().filter_map(|name| with_bits(&directory.join(name), ANY)).collect()
}

pub(super) fn writable_directory(subject: &Subject<'_>) -> Vec<Place> {
    with_bits(&subject.config.data_dir, WRITE).into_iter().collect()
}

/// Files with people in them that others can read, in a directory that others can go into.
pub(super) fn readable_records(subject: &Subject<'_>) -> Vec<Place> {
    let directory = &subject.config.data_dir;
    if mode(directory).is_none_or(|mode| mode & SEARCH == 0) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_record = |name: &str| RECORDS.iter().any(|record| name.starts_with(record));
    let records = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_record));
    let mut found: Vec<_> = records.filter_map(|entry| with_bits(&entry.path(), READ)).collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

pub(super) fn writable_settings(subject: &Subject<'_>) -> Vec<Place> {
    with_bits(&subject.config_file, WRITE).into_iter().collect()
}
