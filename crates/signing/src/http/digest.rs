//! The field `Content-Digest` (RFC 9530): what the content of a message hashes to.

use std::fmt;

use aws_lc_rs::digest::{self, Context, SHA256, SHA512};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

use super::structured::trim;

/// Bytes of a `Content-Digest` that are read, all lines together.
const LONGEST: usize = 4_096;
/// Members of a `Content-Digest` that are read.
const MOST_MEMBERS: usize = 16;

/// An algorithm of the registry of HTTP digest algorithms that is not deprecated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// `sha-256`.
    Sha256,
    /// `sha-512`.
    Sha512,
}

impl DigestAlgorithm {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name in the registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    const fn implementation(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha512 => &SHA512,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The digests of a content: one for each algorithm that is known, at least one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

/// What is wrong with a `Content-Digest`, or with the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The field is not a dictionary of byte sequences, or a digest has the wrong length.
    #[error("the field content-digest is malformed: {0}")]
    Malformed(String),
    /// It is larger than what is read.
    #[error("the field content-digest is too large")]
    TooLarge,
    /// An algorithm stands there twice.
    #[error("the field content-digest has {0:?} twice")]
    Twice(String),
    /// It has no digest of a known algorithm.
    #[error("the field content-digest has neither sha-256 nor sha-512")]
    NoneKnown,
    /// The content hashes to something else.
    #[error("the content does not match the {0} digest of content-digest")]
    Mismatch(DigestAlgorithm),
}

impl ContentDigest {
    /// Reads the lines of a `Content-Digest`. Digests of other algorithms than SHA-256 and SHA-512 are passed over.
    ///
    /// # Errors
    /// The field is malformed or too large, has an algorithm twice, or none that is known.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Result<Self, DigestError> {
        let mut reading = Reading::default();
        let (mut bytes, mut count, mut has_empty) = (0_usize, 0_usize, false);
        for line in lines {
            // A line without a byte counts too.
            bytes = bytes.saturating_add(line.as_ref().len()).saturating_add(1);
            if bytes > LONGEST {
                return Err(DigestError::TooLarge);
            }
            let line = trim(line.as_ref());
            count += 1;
            has_empty |= line.is_empty();
            if has_empty && count > 1 {
                return Err(DigestError::Malformed("one of its lines is empty".to_owned()));
            }
            if let Err(error) = Parser::new(line).parse_dictionary_with_visitor(&mut reading) {
                return Err(reading.stopped.unwrap_or_else(|| DigestError::Malformed(error.to_string())));
            }
        }
        let read = Self { sha256: reading.sha256, sha512: reading.sha512 };
        if read.algorithms().next().is_none() { Err(DigestError::NoneKnown) } else { Ok(read) }
    }

    /// The digest of a content by one algorithm.
    #[must_use]
    pub fn of(content: &[u8], algorithm: DigestAlgorithm) -> Self {
        let mut digester = Digester::new(&[algorithm]);
        digester.update(content);
        digester.finish()
    }

    /// The algorithms there are digests of.
    pub fn algorithms(&self) -> impl Iterator<Item = DigestAlgorithm> {
        let sha256 = self.sha256.map(|_| DigestAlgorithm::Sha256);
        sha256.into_iter().chain(self.sha512.map(|_| DigestAlgorithm::Sha512))
    }

    /// What computes the digests that this one has, while the content passes.
    #[must_use]
    pub fn digester(&self) -> Digester {
        Digester {
            sha256: self.sha256.map(|_| Context::new(&SHA256)),
            sha512: self.sha512.map(|_| Context::new(&SHA512)),
        }
    }

    /// Compares with the digests of a content. All that stand here must be there, and the same.
    ///
    /// # Errors
    /// The first that differs.
    pub fn check(&self, actual: &Self) -> Result<(), DigestError> {
        if self.sha256.is_some() && self.sha256 != actual.sha256 {
            return Err(DigestError::Mismatch(DigestAlgorithm::Sha256));
        }
        if self.sha512.is_some() && self.sha512 != actual.sha512 {
            return Err(DigestError::Mismatch(DigestAlgorithm::Sha512));
        }
        Ok(())
    }

    /// Compares with a content that is at hand.
    ///
    /// # Errors
    /// The first digest that differs.
    pub fn check_content(&self, content: &[u8]) -> Result<(), DigestError> {
        let mut digester = self.digester();
        digester.update(content);
        self.check(&digester.finish())
    }
}

impl fmt::Display for ContentDigest {
    /// The value of the field.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sha256) = &self.sha256 {
            write!(out, "sha-256=:{}:", STANDARD.encode(sha256))?;
        }
        if let Some(sha512) = &self.sha512 {
            let separator = if self.sha256.is_some() { ", " } else { "" };
            write!(out, "{separator}sha-512=:{}:", STANDARD.encode(sha512))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ContentDigest({self})")
    }
}

/// Computes digests while the content passes.
#[derive(Clone)]
pub struct Digester {
    sha256: Option<Context>,
    sha512: Option<Context>,
}

impl Digester {
    /// Computes the digests of these algorithms; SHA-256 if there are none.
    #[must_use]
    pub fn new(algorithms: &[DigestAlgorithm]) -> Self {
        let begin = |algorithm: DigestAlgorithm| Context::new(algorithm.implementation());
        let wanted = |algorithm| algorithms.contains(&algorithm).then(|| begin(algorithm));
        let (sha256, sha512) = (wanted(DigestAlgorithm::Sha256), wanted(DigestAlgorithm::Sha512));
        let sha256 = sha256.or_else(|| sha512.is_none().then(|| begin(DigestAlgorithm::Sha256)));
        Self { sha256, sha512 }
    }

    /// Takes the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        for context in [&mut self.sha256, &mut self.sha512].into_iter().flatten() {
            context.update(piece);
        }
    }

    /// The digests.
    #[must_use]
    pub fn finish(self) -> ContentDigest {
        ContentDigest { sha256: self.sha256.and_then(finished), sha512: self.sha512.and_then(finished) }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Digester").finish_non_exhaustive()
    }
}

fn finished<const LENGTH: usize>(context: Context) -> Option<[u8; LENGTH]> {
    context.finish().as_ref().try_into().ok()
}

/// What has been read of a `Content-Digest`.
#[derive(Default)]
struct Reading {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
    names: Vec<String>,
    stopped: Option<DigestError>,
}

/// Reading was stopped. Why, stands in [`Reading::stopped`].
#[derive(Debug, thiserror::Error)]
#[error("reading was stopped")]
struct Stop;

impl Reading {
    fn stop(&mut self, error: DigestError) -> Stop {
        self.stopped = Some(error);
        Stop
    }
}

impl<'de> DictionaryVisitor<'de> for &mut Reading {
    type Out = ();
    type Error = Stop;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Stop> {
        if self.names.len() >= MOST_MEMBERS {
            return Err(self.stop(DigestError::TooLarge));
        }
        let name = key.as_str();
        if self.names.iter().any(|other| other == name) {
            return Err(self.stop(DigestError::Twice(name.to_owned())));
        }
        self.names.push(name.to_owned());
        Ok(Member { reading: self, name })
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}

struct Member<'r, 'de> {
    reading: &'r mut Reading,
    name: &'de str,
}

impl Member<'_, '_> {
    fn malformed(self, what: &str) -> Stop {
        let reason = format!("{} {what}", self.name);
        self.reading.stop(DigestError::Malformed(reason))
    }
}

impl<'de> EntryVisitor<'de> for Member<'_, '_> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'de>, Stop> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Stop> {
        Err::<Ignored, _>(self.malformed("is not a byte sequence"))
    }
}

impl<'de> ItemVisitor<'de> for Member<'_, '_> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Stop> {
        let BareItemFromInput::ByteSequence(bytes) = item else {
            return Err(self.malformed("is not a byte sequence"));
        };
        let fits = match self.name {
            "sha-256" => bytes.as_slice().try_into().map(|bytes| self.reading.sha256 = Some(bytes)).is_ok(),
            "sha-512" => bytes.as_slice().try_into().map(|bytes| self.reading.sha512 = Some(bytes)).is_ok(),
            _ => true,
        };
        if fits { Ok(Ignored) } else { Err(self.malformed("has the wrong length")) }
    }
}
