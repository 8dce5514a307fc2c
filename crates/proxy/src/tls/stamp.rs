//! How one notices that files have changed: by what the file system says of them, behind all symbolic links.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the file system says of some files at one moment. What is not there counts too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<[i64; 5]>>);

impl Stamp {
    /// Looks at files now.
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let look = |path: &Path| {
            let facts = std::fs::metadata(path).ok()?;
            // The time of a change cannot be set back, and another file has another number.
            let number = |value: u64| i64::from_ne_bytes(value.to_ne_bytes());
            Some([number(facts.dev()), number(facts.ino()), number(facts.size()), facts.ctime(), facts.ctime_nsec()])
        };
        Self(files.map(look).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_written_replaced_linked_or_gone_have_another_stamp() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        std::fs::write(place("one"), "1").expect("written");
        std::os::unix::fs::symlink("one", place("link")).expect("linked");
        let link = place("link");
        let stamp = || Stamp::of(std::iter::once(link.as_path()));
        let mut last = stamp();
        assert_eq!(stamp(), last);
        let mut differs = |what: &str| {
            let now = stamp();
            assert_ne!(now, last, "{what}");
            last = now;
        };
        std::fs::write(place("one"), "22").expect("written");
        differs("written");
        std::fs::write(place("two"), "22").expect("written");
        std::fs::rename(place("two"), place("one")).expect("moved");
        differs("replaced");
        std::fs::write(place("three"), "22").expect("written");
        std::os::unix::fs::symlink("three", place("other")).expect("linked");
        std::fs::rename(place("other"), place("link")).expect("moved");
        differs("linked elsewhere");
        std::fs::remove_file(place("three")).expect("removed");
        differs("gone");
    }
}
