//! The directory of captured exchanges: a file for each, with its summary in the first line, and an index in memory.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use portcullis_core::capture::{Capture, Summary};

use super::CaptureSettings;

/// What a file counts for at least, so that small ones are not without number.
const LEAST: u64 = 4 << 10;
/// How the names of files end that are whole, and of those being written.
const WHOLE: &str = "capture";
const BEGUN: &str = "new";
/// Bytes of a path that the index and the list have.
const SHOWN_PATH: usize = 1_024;
/// A first line that is longer is none of ours.
const LONGEST_SUMMARY: u64 = 64 << 10;

struct StoredCapture {
    charge: u64,
    summary: Summary,
}

/// What there is.
pub(super) struct CaptureDir {
    directory: PathBuf,
    max_bytes: u64,
    max_age: u64,
    next: u64,
    bytes: u64,
    /// By place; a later exchange has a higher one.
    entries: BTreeMap<u64, StoredCapture>,
}

impl CaptureDir {
    /// Makes the directory, for its owner alone, or takes over what is whole in it. What is not is removed.
    pub(super) fn open(settings: &CaptureSettings) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&settings.directory)?;
        fs::set_permissions(&settings.directory, Permissions::from_mode(0o700))?;
        let max_age = u64::try_from(settings.max_age.as_millis()).unwrap_or(u64::MAX);
        let directory = settings.directory.clone();
        let mut shelf =
            Self { directory, max_bytes: settings.max_bytes, max_age, next: 1, bytes: 0, entries: BTreeMap::new() };
        for entry in fs::read_dir(&settings.directory)? {
            let entry = entry?;
            // What is no file was put there by somebody else: a pipe would be waited for, and a link leads elsewhere.
            if !entry.file_type()?.is_file() {
                continue;
            }
            let path = entry.path();
            match place_of(&path, WHOLE).map(|place| (place, summary_of(&path))) {
                Some((place, Ok((bytes, summary)))) => shelf.add(place, bytes, summary),
                Some(_) => remove(&path),
                None if place_of(&path, BEGUN).is_some() => remove(&path),
                None => {}
            }
        }
        shelf.next = shelf.entries.last_key_value().map_or(1, |(place, _)| place + 1);
        Ok(shelf)
    }

    /// The next free place, and the directory.
    pub(super) fn next(&mut self) -> (u64, PathBuf) {
        let place = self.next;
        self.next += 1;
        (place, self.directory.clone())
    }

    pub(super) fn add(&mut self, place: u64, bytes: u64, mut summary: Summary) {
        summary.path = summary.path.chars().take(SHOWN_PATH).collect();
        let charge = bytes.max(LEAST);
        self.bytes += charge;
        self.entries.insert(place, StoredCapture { charge, summary });
    }

    /// Where the file of a place is.
    pub(super) fn path(&self, place: u64) -> PathBuf {
        path(&self.directory, place)
    }

    /// What is not too old, the newest first.
    pub(super) fn newest_first(&self, now: u64) -> impl Iterator<Item = (u64, &Summary)> {
        let fresh = move |entry: &StoredCapture| now.saturating_sub(entry.summary.time) < self.max_age;
        let entries = self.entries.iter().rev().filter(move |(_, entry)| fresh(entry));
        entries.map(|(place, entry)| (*place, &entry.summary))
    }

    /// Removes what is too old, and the oldest until the rest is not too large.
    pub(super) fn prune(&mut self, now: u64) {
        while let Some((place, oldest)) = self.entries.first_key_value() {
            let is_old = now.saturating_sub(oldest.summary.time) >= self.max_age;
            if !is_old && self.bytes <= self.max_bytes {
                break;
            }
            let place = *place;
            self.take_out(place);
        }
    }

    /// Removes everything; returns how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let places: Vec<u64> = self.entries.keys().copied().collect();
        places.iter().for_each(|place| self.take_out(*place));
        places.len() as u64
    }

    fn take_out(&mut self, place: u64) {
        remove(&self.path(place));
        if let Some(entry) = self.entries.remove(&place) {
            self.bytes -= entry.charge;
        }
    }
}

fn path(directory: &Path, place: u64) -> PathBuf {
    directory.join(format!("{place:016x}.{WHOLE}"))
}

fn place_of(path: &Path, end: &str) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let is_ours = path.extension()? == end && stem.len() == 16;
    if is_ours { u64::from_str_radix(stem, 16).ok() } else { None }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a captured exchange could not be removed");
    }
}

/// Writes a file beside its place and then moves it there, so that there is the whole of it or nothing. Returns its
/// size. It need not outlive a fall of the whole machine, so nobody waits for the disk.
pub(super) fn write(directory: &Path, place: u64, capture: &Capture) -> io::Result<u64> {
    let mut bytes = serde_json::to_vec(&capture.summary)?;
    bytes.push(b'\n');
    serde_json::to_writer(&mut bytes, capture)?;
    bytes.push(b'\n');
    let begun = directory.join(format!("{place:016x}.{BEGUN}"));
    let written = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&begun)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| fs::rename(&begun, path(directory, place)));
    if written.is_err() {
        remove(&begun);
    }
    written.map(|()| bytes.len() as u64)
}

/// Reads a file; none if it has gone meanwhile or is not whole.
pub(super) fn read(path: &Path) -> io::Result<Option<Capture>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let line = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
    Ok(serde_json::from_slice(&text[line..]).ok())
}

/// The size of a file and its summary, if it is whole: it has two lines.
fn summary_of(path: &Path) -> io::Result<(u64, Summary)> {
    let mut file = BufReader::new(File::open(path)?);
    let bytes = file.get_ref().metadata()?.len();
    let mut line = Vec::new();
    file.by_ref().take(LONGEST_SUMMARY).read_until(b'\n', &mut line)?;
    let summary = serde_json::from_slice(&line)?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != [b'\n'] || bytes == line.len() as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((bytes, summary))
}
