//! The demo's data directory: one of the caller's own, or a fresh one that is gone when the demo is.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::random_hex;
use crate::cli::failure::Failure;

/// A data directory for as long as the demo runs.
#[derive(Debug)]
pub(super) struct DemoDirectory {
    path: PathBuf,
    fresh: bool,
}

impl DemoDirectory {
    /// The given directory, or a fresh one that nobody else can look into.
    pub(super) fn new(given: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = given {
            return Ok(Self { path, fresh: false });
        }
        let path = std::env::temp_dir().join(format!("portcullis-demo-{}", random_hex::<8>()?));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::failed(format!("cannot make the directory {}: {error}", path.display())))?;
        Ok(Self { path, fresh: true })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there after the demo.
    pub(super) fn stays(&self) -> bool {
        !self.fresh
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        if !self.fresh {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the demo's directory is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_directory_goes_and_a_given_one_stays() {
        let fresh = DemoDirectory::new(None).expect("made");
        let path = fresh.path().to_owned();
        std::fs::write(path.join("x"), "x").expect("written");
        assert!(!fresh.stays());
        drop(fresh);
        assert!(!path.exists());

        let given = tempfile::tempdir().expect("a directory");
        let kept = DemoDirectory::new(Some(given.path().into())).expect("taken");
        assert!(kept.stays());
        drop(kept);
        assert!(given.path().exists());
    }
}
