//! The files of the journal of nonces, in a directory of their own.
//!
//! A nonce stands in the file of the period in which it is over, so all of a file is over at once, and the file goes as a
//! whole. The head says how much of each file is written. It is written last, so what it names is there; what is behind
//! that was never acknowledged.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::memory::{MemoryState, Nonce};

use super::boot::Boot;
use super::format::{self, Ending, HEAD, Head, MOST_FILES, MOST_HOLES, RECORD};

/// Seconds of a period.
const PERIOD: u64 = 600;
/// Open files at most.
const OPEN: usize = 8;
const HEAD_NAME: &str = "head";
const ENDING: &str = "nonces";
/// Seconds that a stamp may be ahead of the clock of a process without being waited for.
const SKEW: u64 = 2;

/// What the journal of nonces is made of.
pub(super) struct Files {
    directory: PathBuf,
    head_file: File,
    head: Head,
    /// Periods that have a file, and their written bytes.
    lengths: BTreeMap<u64, u64>,
    open: BTreeMap<u64, Arc<File>>,
    /// Bytes that the files may have together.
    limit: u64,
    /// What has been written since the disk was last asked to keep it.
    unsynced: BTreeMap<u64, Arc<File>>,
}

/// What was found at a start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Nonces that are not over.
    pub(super) nonces: u64,
    /// Bytes behind the last whole record of a file that nobody was told to be written.
    pub(super) cut: u64,
    /// What is damaged or missing, the first of it. Then every stamp before the start is refused, and every one up to the
    /// latest that was noted.
    pub(super) damage: Option<String>,
    /// Whether the machine was started anew after a crash, which may have cost what the disk had not been asked to keep. Then
    /// every stamp before the start is refused.
    pub(super) is_rebooted: bool,
}

impl Files {
    /// Opens the directory, or makes it, and gives the memory what is in it. `is_new` says that there was no state before, so
    /// that nothing can be missing; `boot` names this start of the machine. Nothing is written yet.
    pub(super) fn open(
        directory: &Path,
        is_new: bool,
        boot: Boot,
        limit: u64,
        now: u64,
        memory: &mut MemoryState,
    ) -> io::Result<(Self, Found)> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        let path = directory.join(HEAD_NAME);
        let head_file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        let mut found = Found::default();
        let periods = periods(directory)?;
        let mut bytes = Vec::new();
        (&head_file).take(2 * HEAD as u64).read_to_end(&mut bytes)?;
        let known = match newest(&bytes) {
            Ok(head) => Some(head),
            Err(_) if is_new && bytes.is_empty() && periods.is_empty() => None,
            Err(reason) => {
                found.damage = Some(reason.to_owned());
                None
            }
        };
        let written: Option<BTreeMap<u64, u64>> = known.as_ref().map(|head| head.files.iter().copied().collect());
        let mut lengths = BTreeMap::new();
        for period in periods {
            if end_of(period) < now {
                memory.raise_horizon(end_of(period));
                remove(&file_path(directory, period));
                continue;
            }
            // A file without a place in the head was begun in a round that nobody was told of.
            let length = written.as_ref().map(|written| written.get(&period).copied().unwrap_or(0));
            let path = file_path(directory, period);
            let end = read(&path, period, length, memory, &mut found).unwrap_or_else(|error| {
                found.damage = Some(format!("the file {} cannot be read: {error}", path.display()));
                length.unwrap_or(0)
            });
            lengths.insert(period, end);
        }
        let horizon = known.as_ref().map_or(0, |head| head.horizon).max(now.saturating_sub(1));
        for period in written.iter().flat_map(BTreeMap::keys).filter(|period| end_of(**period) > horizon) {
            if !lengths.contains_key(period) {
                let missing = || format!("the file {} is missing", file_path(directory, *period).display());
                found.damage.get_or_insert_with(missing);
            }
        }
        let mut holes: Vec<_> = known.iter().flat_map(|head| head.holes.clone()).collect();
        let mut start = now.saturating_add(SKEW);
        let mut latest = 0;
        if let Some(head) = &known {
            memory.raise_horizon(head.horizon);
            let unwritten = MemoryState::unwritten_stamps(head.written_at);
            (start, latest) = (start.max(*unwritten.end()), head.latest);
            found.is_rebooted = head.ending == Ending::Open && !boot.is(head.boot);
            if head.ending == Ending::Open {
                holes.push(unwritten);
            }
        }
        if found.damage.is_some() {
            holes.push(0..=start.max(latest));
        } else if found.is_rebooted {
            holes.push(0..=start);
        }
        let holes = merged(holes, now);
        memory.refuse_stamps(holes.clone());
        let head = Head {
            round: known.as_ref().map_or(0, |head| head.round),
            written_at: 0,
            horizon: memory.horizon(),
            latest,
            boot,
            ending: Ending::Open,
            files: Vec::new(),
            holes,
        };
        let directory = directory.to_owned();
        let (open, unsynced) = (BTreeMap::new(), BTreeMap::new());
        Ok((Self { directory, head_file, head, lengths, open, limit, unsynced }, found))
    }

    /// Writes a round: the nonces, and then the head that names them. If it fails, it can be written once more, with more.
    pub(super) fn write(&mut self, nonces: &mut [Nonce], written_at: u64, horizon: u64, latest: u64) -> io::Result<()> {
        self.head.horizon = horizon;
        self.head.latest = self.head.latest.max(latest);
        self.remove_over()?;
        nonces.sort_unstable_by_key(|nonce| nonce.until / PERIOD);
        // What is written again after a failure goes to the same place.
        let mut lengths = self.lengths.clone();
        for of_period in nonces.chunk_by(|one, other| one.until / PERIOD == other.until / PERIOD) {
            let period = of_period[0].until / PERIOD;
            let mut bytes = Vec::with_capacity(RECORD * (of_period.len() + 1));
            let at = lengths.get(&period).copied().unwrap_or(0);
            if at == 0 {
                bytes.extend_from_slice(&format::header(period));
            }
            of_period.iter().for_each(|nonce| bytes.extend_from_slice(&format::record(nonce)));
            lengths.insert(period, at + bytes.len() as u64);
            if lengths.values().sum::<u64>() > self.limit || lengths.len() > MOST_FILES {
                return Err(io::Error::other("the journal has reached its bound; it shrinks as nonces are over"));
            }
            let file = self.file(period)?;
            file.write_all_at(&bytes, at)?;
            self.unsynced.insert(period, file);
        }
        self.write_head(written_at, Ending::Open, &lengths)?;
        self.lengths = lengths;
        Ok(())
    }

    /// Writes the head for the last time, after everything else is on the disk.
    pub(super) fn finish(&mut self, written_at: u64) -> io::Result<()> {
        for file in std::mem::take(&mut self.unsynced).into_values() {
            file.sync_data()?;
        }
        self.write_head(written_at, Ending::Clean, &self.lengths.clone())?;
        self.sync_head()
    }

    /// Brings the head and the names of the files to the disk.
    pub(super) fn sync_head(&self) -> io::Result<()> {
        self.head_file.sync_data()?;
        File::open(&self.directory)?.sync_all()
    }

    fn write_head(&mut self, written_at: u64, ending: Ending, lengths: &BTreeMap<u64, u64>) -> io::Result<()> {
        let files = lengths.iter().map(|(period, length)| (*period, *length)).collect();
        let head = Head { round: self.head.round + 1, written_at, ending, files, ..self.head.clone() };
        self.head_file.write_all_at(&head.to_bytes(), head.round % 2 * HEAD as u64)?;
        self.head = head;
        Ok(())
    }

    /// The last second of the latest period of which everything is over.
    pub(super) fn over(&self, now: u64) -> Option<u64> {
        self.lengths.keys().map(|period| end_of(*period)).take_while(|end| *end < now).last()
    }

    /// Removes the files of which everything is over. The head says first that nothing is known of that time any more.
    fn remove_over(&mut self) -> io::Result<()> {
        let horizon = self.head.horizon;
        let over: Vec<u64> = self.lengths.keys().copied().take_while(|period| end_of(*period) <= horizon).collect();
        if over.is_empty() {
            return Ok(());
        }
        self.write_head(self.head.written_at, Ending::Open, &self.lengths.clone())?;
        for period in over {
            remove(&file_path(&self.directory, period));
            self.lengths.remove(&period);
            self.open.remove(&period);
            self.unsynced.remove(&period);
        }
        Ok(())
    }

    /// What the disk has to be asked to keep.
    pub(super) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        std::mem::take(&mut self.unsynced).into_values().collect()
    }

    fn file(&mut self, period: u64) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.get(&period) {
            return Ok(Arc::clone(file));
        }
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        let path = file_path(&self.directory, period);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        let file = Arc::new(file);
        self.open.insert(period, Arc::clone(&file));
        Ok(file)
    }
}

/// The last second of a period.
fn end_of(period: u64) -> u64 {
    period.saturating_mul(PERIOD).saturating_add(PERIOD - 1)
}

fn file_path(directory: &Path, period: u64) -> PathBuf {
    directory.join(format!("{period:016x}.{ENDING}"))
}

/// The periods that have a file.
fn periods(directory: &Path) -> io::Result<Vec<u64>> {
    let mut periods = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = PathBuf::from(entry?.file_name());
        let stem = name.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 16);
        if name.extension().is_some_and(|ending| ending == ENDING) {
            periods.extend(stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()));
        }
    }
    periods.sort_unstable();
    Ok(periods)
}

/// The newer of the two copies. Both must be whole and follow one another: a process writes both when it starts.
fn newest(bytes: &[u8]) -> Result<Head, &'static str> {
    if bytes.is_empty() {
        return Err("there is no journal");
    }
    let copies = bytes.split_at_checked(HEAD).map(|(one, other)| (Head::read(one), Head::read(other)));
    match copies {
        Some((Some(one), Some(other))) if one.round.abs_diff(other.round) == 1 => {
            Ok(if one.round > other.round { one } else { other })
        }
        _ => Err("the head of the journal is damaged or of another version"),
    }
}

/// Reads a file, of which so many bytes were written, where that is known. Tells where the next record goes.
fn read(path: &Path, period: u64, written: Option<u64>, memory: &MemoryState, found: &mut Found) -> io::Result<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let written = written.unwrap_or(length);
    let mut damage = None;
    let mut lose = |what: &str| damage = Some(format!("the file {} {what}", path.display()));
    if length < written {
        lose("is too short");
    }
    let mut bytes = [0; RECORD];
    let mut reader = BufReader::with_capacity(RECORD << 10, file);
    // What is damaged further in front stays where it is: nothing is written over what was acknowledged.
    let (mut at, mut end) = (0, whole_records(written.min(length)));
    while at + RECORD as u64 <= length {
        reader.read_exact(&mut bytes)?;
        let nonce = format::nonce(&bytes);
        let is_whole = if at == 0 { bytes == format::header(period) } else { nonce.is_some() };
        at += RECORD as u64;
        if is_whole {
            end = end.max(at);
        } else if at <= written {
            lose("is damaged");
        } else {
            break;
        }
        if let Some(nonce) = nonce.filter(|_| at > RECORD as u64) {
            found.nonces += 1;
            if !memory.restore(&nonce) {
                lose("holds more than limits.nonce_bytes has room for");
            }
        }
    }
    found.damage = found.damage.take().or(damage);
    if end < length {
        found.cut += length - end;
        OpenOptions::new().write(true).open(path)?.set_len(end)?;
    }
    Ok(end)
}

fn whole_records(bytes: u64) -> u64 {
    bytes - bytes % RECORD as u64
}

/// The spans in order, without those that nothing can fall into any more, and no more than there is room for.
fn merged(mut holes: Vec<RangeInclusive<u64>>, now: u64) -> Vec<RangeInclusive<u64>> {
    holes.retain(|hole| MemoryState::farthest_until(*hole.end()) >= now);
    holes.sort_unstable_by_key(|hole| *hole.start());
    let mut merged: Vec<RangeInclusive<u64>> = Vec::new();
    for hole in holes {
        match merged.last_mut() {
            Some(last) if *hole.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(hole.end());
            }
            _ => merged.push(hole),
        }
    }
    while merged.len() > MOST_HOLES {
        let first = merged.remove(0);
        merged[0] = *first.start()..=*merged[0].end();
    }
    merged
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a file of the journal of nonces could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_joined_and_bounded() {
        let now = 1_700_000_000;
        assert_eq!(merged(vec![now..=now + 4, now - 10..=now - 1, now + 2..=now + 3], now), [now - 10..=now + 4]);
        assert_eq!(merged(vec![0..=now - 86_401, 5..=now - 86_400], now), [5..=now - 86_400]);
        let many: Vec<_> = (0..100).map(|at| now + at * 10..=now + at * 10 + 1).collect();
        let few = merged(many.clone(), now);
        assert_eq!(few.len(), MOST_HOLES);
        assert!(
            many.iter().all(|hole| few.iter().any(|held| held.contains(hole.start()) && held.contains(hole.end())))
        );
        assert_eq!(few[1..], many[100 - MOST_HOLES + 1..]);
    }
}
