//! What the configuration says about ACME, with the files it names read.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::model::Problem;
use zeroize::Zeroizing;

use super::ChallengeKind;
use crate::config::Config;

/// The largest file of roots, which is also the most that is trusted by a declaration.
const MOST_ROOTS: u64 = 64 << 10;
/// The largest file of a key.
const MOST_KEY: u64 = 4 << 10;

/// What is needed to deal with a certificate authority.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The hosts that certificates are for, in lower case.
    pub(crate) hosts: Vec<String>,
    /// The URL of the authority's directory.
    pub(crate) directory: String,
    /// `mailto:` URLs.
    pub(crate) contact: Vec<String>,
    /// How the authority is convinced, the best first.
    pub(crate) challenges: Vec<ChallengeKind>,
    /// The roots the authority's own servers are proved by, in PEM; none: the machine's.
    pub(crate) ca: Option<String>,
    /// The account at the authority's owner that the one here is bound to.
    pub(crate) binding: Option<Binding>,
}

/// An external account (RFC 8555 section 7.3.4).
#[derive(Clone)]
pub(crate) struct Binding {
    /// The id of its key.
    pub(crate) id: String,
    /// The key.
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("hosts", &self.hosts)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the files; or tells everything that is wrong with them. None where no hosts are named.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, Vec<Problem>> {
        let acme = &config.acme;
        if acme.hosts.is_empty() {
            return Ok(None);
        }
        let mut problems = Vec::new();
        let ca = acme.ca_file.as_deref().map(|path| roots(path).map_err(|problem| problems.push(problem)));
        let key = acme.eab_key_file.as_deref().map(|path| mac_key(path).map_err(|problem| problems.push(problem)));
        if !problems.is_empty() {
            return Err(problems);
        }
        // What nobody would answer is not tried.
        let is_answered = |kind: &&ChallengeKind| **kind != ChallengeKind::Http01 || config.listen.is_some();
        let challenges = acme.challenges.iter().filter(is_answered).copied().collect();
        let binding = acme.eab_kid.clone().zip(key.and_then(Result::ok)).map(|(id, key)| Binding { id, key });
        Ok(Some(Self {
            hosts: acme.hosts.clone(),
            directory: acme.directory.clone().unwrap_or_default(),
            contact: acme.contact.clone(),
            challenges,
            ca: ca.and_then(Result::ok),
            binding,
        }))
    }
}

fn roots(path: &Path) -> Result<String, Problem> {
    String::from_utf8(read(path, MOST_ROOTS)?.to_vec()).map_err(|_| problem(path, "is not PEM"))
}

/// The key as authorities hand it out: base64url.
fn mac_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let text = read(path, MOST_KEY)?;
    let text = text.trim_ascii();
    // Some hand it out with the padding that the form does not have.
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let text = &text[..end];
    let key = URL_SAFE_NO_PAD.decode(text).ok().filter(|key| !key.is_empty());
    key.map(Zeroizing::new).ok_or_else(|| problem(path, "does not hold a key in base64url"))
}

fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let unreadable = |error: std::io::Error| problem(path, format!("cannot be read: {error}"));
    if std::fs::metadata(path).map_err(unreadable)?.len() > most {
        return Err(problem(path, format!("has more than {most} bytes")));
    }
    Ok(Zeroizing::new(std::fs::read(path).map_err(unreadable)?))
}

fn problem(path: &Path, message: impl Into<String>) -> Problem {
    Problem::new(path.display().to_string(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_handed_out_and_never_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            mac_key(&path)
        };
        for text in ["zWND", "zWND\n", " zWND=\n"] {
            assert_eq!(read(text).expect("a key").as_slice(), [0xcd, 0x63, 0x43], "{text}");
        }
        for text in ["", "not base64!", "zW\nND", &"A".repeat(5_000)] {
            let problem = read(text).expect_err(text);
            assert!(!problem.to_string().contains("base64!"), "{problem}");
        }
    }
}
