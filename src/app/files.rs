//! The data directory: one process at a time, and the two secrets that are made at the first start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use portcullis_core::call::hex;
use portcullis_core::secret::Secret;
use portcullis_identity::MasterKey;
use rustix::fs::{FlockOperation, flock};

/// The master key, in hex.
pub(crate) const MASTER_KEY: &str = "master.key";
/// The admin token, alone.
const ADMIN_TOKEN: &str = "admin.token";
/// The token that opens the metrics alone.
pub(crate) const METRICS_TOKEN: &str = "metrics.token";
/// Characters of a token at least.
const SHORTEST: usize = 16;
const LOCK: &str = "lock";
/// The file of the registry.
pub(super) const DATABASE: &str = "portcullis.db";

/// A data directory that is ours as long as this value lives.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, and takes it for this process. One with a registry whose master key is
    /// missing is left as it is.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        check_key_of_registry(path)?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("the data directory {} cannot be made", path.display()))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.with_context(|| format!("{} cannot be opened", lock_path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("the data directory {} is in use by another portcullis process", path.display());
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The master key; made at the first start, and never again.
    pub(crate) fn master_key(&self) -> anyhow::Result<MasterKey> {
        check_key_of_registry(&self.path)?;
        let text = self.read_or_make(MASTER_KEY, || hex(MasterKey::generate().1.as_slice()))?;
        let path = self.file(MASTER_KEY);
        let mut key = zeroize::Zeroizing::new([0; 32]);
        let digits = text.expose().as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            bail!("{} does not hold a key of 64 hex digits", path.display());
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair)?, 16)?;
        }
        Ok(MasterKey::from_bytes(&key))
    }

    /// The admin token; made at the first start.
    pub(crate) fn admin_token(&self) -> anyhow::Result<Secret> {
        let token = self.read_or_make(ADMIN_TOKEN, || format!("pca_{}", hex(MasterKey::generate().1.as_slice())))?;
        long_enough(token, &self.file(ADMIN_TOKEN))
    }

    /// The token that opens the metrics alone: in the file that is named, which must be there; else in one of the data
    /// directory, made at the first start.
    pub(crate) fn metrics_token(&self, named: Option<&Path>) -> anyhow::Result<Secret> {
        let Some(path) = named else {
            let token =
                self.read_or_make(METRICS_TOKEN, || format!("pcm_{}", hex(MasterKey::generate().1.as_slice())))?;
            return long_enough(token, &self.file(METRICS_TOKEN));
        };
        let path = self.path.join(path);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(4_096).read_to_string(&mut text));
        read.with_context(|| format!("metrics.token_file: reading {}", path.display()))?;
        long_enough(Secret::from(text.trim()), &path)
    }

    fn read_or_make(&self, name: &str, make: impl FnOnce() -> String) -> anyhow::Result<Secret> {
        let path = self.file(name);
        match File::open(&path) {
            Ok(file) => {
                let mut text = String::new();
                file.take(4_096).read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
                Ok(Secret::from(text.trim()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let secret = Secret::from(make());
                self.write_secret(name, &secret).with_context(|| format!("writing {}", path.display()))?;
                Ok(secret)
            }
            Err(error) => Err(error).with_context(|| format!("opening {}", path.display())),
        }
    }

    /// Writes a secret beside its place, brings it to the disk, and only then moves it there: a start that is
    /// cut short leaves either the whole secret or none.
    fn write_secret(&self, name: &str, secret: &Secret) -> anyhow::Result<()> {
        let beside = self.file(&format!("{name}.new"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(secret.expose().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&beside, self.file(name))?;
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

fn long_enough(token: Secret, path: &Path) -> anyhow::Result<Secret> {
    if token.expose().len() < SHORTEST {
        bail!("{} holds a token of less than {SHORTEST} characters", path.display());
    }
    Ok(token)
}

/// A registry without its master key can be opened by no key that is made now: what is sealed in it would be lost, and who
/// restores the key later would find another in its place.
fn check_key_of_registry(directory: &Path) -> anyhow::Result<()> {
    let registry = directory.join(DATABASE);
    let is_there = |path: &Path| path.try_exists().with_context(|| format!("looking for {}", path.display()));
    if is_there(&directory.join(MASTER_KEY))? || !is_there(&registry)? {
        return Ok(());
    }
    bail!(
        "{} is missing, and {} was written with it: restore the key from your backup; nothing was changed. (Only a gateway \
         that may lose its users, clients, keys and sessions begins anew: move the registry away too)",
        directory.join(MASTER_KEY).display(),
        registry.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_are_made_once_and_for_their_owner_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("data");
        let data = DataDir::take(&path).expect("taken");
        let (token, id) = (data.admin_token().expect("made"), data.master_key().expect("made").id());
        assert_eq!(data.admin_token().expect("read"), token);
        assert_eq!(data.master_key().expect("read").id(), id);
        let metrics = data.metrics_token(None).expect("made");
        assert_eq!(data.metrics_token(None).expect("read"), metrics);
        assert_ne!(metrics, token);
        for name in [MASTER_KEY, ADMIN_TOKEN, METRICS_TOKEN] {
            let mode = std::fs::metadata(data.file(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_metrics_token_that_is_named_must_be_there_and_long_enough() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::take(directory.path()).expect("taken");
        let elsewhere = directory.path().join("scrape");
        let named = || data.metrics_token(Some(&elsewhere));
        let error = named().expect_err("is not there").to_string();
        assert!(error.contains("metrics.token_file") && error.contains("scrape"), "{error}");
        std::fs::write(&elsewhere, "short").expect("written");
        assert!(named().expect_err("short").to_string().contains("less than 16 characters"));
        std::fs::write(&elsewhere, "  a-token-of-some-length\n").expect("written");
        assert_eq!(named().expect("read").expose(), "a-token-of-some-length");
        assert!(!data.file(METRICS_TOKEN).exists(), "another one is not made");
        // In the data directory unless it is absolute.
        assert_eq!(data.metrics_token(Some(Path::new("scrape"))).expect("read"), named().expect("read"));
    }

    #[test]
    fn a_directory_has_one_process() {
        let directory = tempfile::tempdir().expect("a directory");
        let held = DataDir::take(directory.path()).expect("taken");
        let error = DataDir::take(directory.path()).err().expect("in use");
        assert!(error.to_string().contains("in use"), "{error}");
        drop(held);
        DataDir::take(directory.path()).expect("free again");
    }

    #[test]
    fn a_registry_without_its_key_is_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        std::fs::write(path.join(DATABASE), "a registry").expect("written");
        let names = || std::fs::read_dir(path).expect("listed").count();
        let error = DataDir::take(path).err().expect("refused").to_string();
        assert!(error.contains("master.key is missing") && error.contains("restore"), "{error}");
        assert_eq!(names(), 1, "nothing was written");
        // A link that leads to a volume which is not there is no key either.
        std::os::unix::fs::symlink(path.join("elsewhere"), path.join(MASTER_KEY)).expect("links");
        assert!(DataDir::take(path).is_err());
        assert_eq!(names(), 2);
        // It can go while the directory is taken.
        std::fs::remove_file(path.join(MASTER_KEY)).expect("removed");
        std::fs::rename(path.join(DATABASE), path.join("away")).expect("moved");
        let data = DataDir::take(path).expect("taken");
        std::fs::rename(path.join("away"), path.join(DATABASE)).expect("moved");
        assert!(data.master_key().is_err() && !path.join(MASTER_KEY).exists());
    }

    #[test]
    fn a_damaged_key_is_told_and_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = DataDir::take(directory.path()).expect("taken");
        std::fs::write(data.file(MASTER_KEY), "not a key").expect("written");
        assert!(data.master_key().is_err());
        assert_eq!(std::fs::read_to_string(data.file(MASTER_KEY)).expect("there"), "not a key");
    }
}
