//! The fields `Signature-Input` and `Signature` (RFC 9421, section 4), read within bounds, and the choice of a signature.

use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

use super::base::{Base, Uncoverable};
use super::component;
use super::flaw::Flaw;
use super::keys::{Failure, VerifyingKey};
use super::message::{Fields, Message};
use super::parameters::Parameters;
use super::structured::{Flaws, KnownFields, Stop, can_join, trim};

const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";

/// How much of `Signature-Input` and `Signature` is read. What goes beyond is refused, not cut off.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of each of the two fields, all lines together.
    pub bytes: usize,
    /// Signatures of a message.
    pub signatures: usize,
    /// Components that one signature covers.
    pub components: usize,
    /// Parameters of one signature.
    pub parameters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16_384, signatures: 8, components: 32, parameters: 16 }
    }
}

/// One signature of a message.
#[derive(Clone, Debug)]
pub struct Signature {
    label: String,
    parameters: Parameters,
    flaw: Option<Flaw>,
    bytes: Option<Vec<u8>>,
}

impl Signature {
    /// The label that `Signature-Input` and `Signature` have in common. It is no part of what is signed.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it covers and says about itself. Nothing of it is proven before [`Signature::verify`].
    ///
    /// # Errors
    /// What makes this signature unusable (RFC 9421, section 2.5), while others of the message may be fine.
    pub fn parameters(&self) -> Result<&Parameters, Flaw> {
        match &self.flaw {
            Some(flaw) => Err(flaw.clone()),
            None => Ok(&self.parameters),
        }
    }

    /// The bytes of the signature.
    ///
    /// # Errors
    /// The field `Signature` has none under this label.
    pub fn bytes(&self) -> Result<&[u8], Flaw> {
        self.bytes.as_deref().ok_or_else(|| Flaw::NoSignature { label: self.label.clone() })
    }

    /// The signature base of this signature for the message.
    ///
    /// # Errors
    /// The signature has a flaw, or the message lacks what it covers.
    pub fn base<'a>(&self, message: impl Into<Message<'a>>, known: &KnownFields<'_>) -> Result<Base, Uncoverable> {
        let parameters = self.parameters()?;
        Base::build(&parameters.text, &parameters.covered, message.into(), known)
    }

    /// Verifies the bytes of the signature against the base with the key.
    ///
    /// # Errors
    /// The signature names another algorithm than the key has, or does not fit.
    pub fn verify(&self, base: &Base, key: &VerifyingKey) -> Result<(), Failure> {
        let named = self.parameters()?.alg.as_deref();
        if let Some(named) = named.filter(|named| *named != key.algorithm().name()) {
            return Err(Failure::Algorithm { named: named.to_owned(), key: key.algorithm() });
        }
        key.verify(base.as_str().as_bytes(), self.bytes()?)
    }
}

/// Which signature of a message is wanted: the one that has all of these.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Its tag.
    pub tag: Option<&'a str>,
    /// The name of its key.
    pub keyid: Option<&'a str>,
    /// Its label. Intermediaries may change labels, so a tag is the better mark.
    pub label: Option<&'a str>,
}

/// Why no signature was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotChosen {
    /// No signature of the message is the wanted one.
    #[error("no signature of the message is the wanted one")]
    None,
    /// Several are.
    #[error("several signatures of the message could be meant: {}", labels.join(", "))]
    Several {
        /// Their labels.
        labels: Vec<String>,
    },
}

/// The signatures of a message.
#[derive(Clone, Debug, Default)]
pub struct Signatures {
    all: Vec<Signature>,
}

impl Signatures {
    /// Reads the signatures from the fields of a message.
    ///
    /// A value under a label that only `Signature` has is ignored. One that only `Signature-Input` has is a flaw of that
    /// signature.
    ///
    /// # Errors
    /// One of the fields is malformed, has a label twice, or is larger than the limits allow.
    pub fn parse(fields: &(impl Fields + ?Sized), limits: &Limits) -> Result<Self, Flaw> {
        let mut reading = Reading { all: Vec::new(), limits, flaws: Flaws::default(), values: 0 };
        for line in lines(fields, INPUT, limits)? {
            let read = Parser::new(line).parse_dictionary_with_visitor(Labels(&mut reading));
            reading.check(INPUT, read)?;
        }
        for line in lines(fields, SIGNATURE, limits)? {
            let read = Parser::new(line).parse_dictionary_with_visitor(Values(&mut reading));
            reading.check(SIGNATURE, read)?;
        }
        let Reading { all, .. } = reading;
        Ok(Self { all })
    }

    /// All of them, in the order of `Signature-Input`.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Signature> {
        self.all.iter()
    }

    /// Whether the message has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The signature with this label.
    #[must_use]
    pub fn get(&self, label: &str) -> Option<&Signature> {
        self.all.iter().find(|signature| signature.label == label)
    }

    /// The one signature that has everything wanted.
    ///
    /// # Errors
    /// None has, or several have.
    pub fn choose(&self, choice: &Choice<'_>) -> Result<&Signature, NotChosen> {
        let fits = |wanted: Option<&str>, own: Option<&str>| wanted.is_none() || wanted == own;
        let mut fitting = self.all.iter().filter(|signature| {
            fits(choice.tag, signature.parameters.tag.as_deref())
                && fits(choice.keyid, signature.parameters.keyid.as_deref())
                && fits(choice.label, Some(&signature.label))
        });
        let first = fitting.next().ok_or(NotChosen::None)?;
        let mut others = fitting.map(|other| other.label.clone()).peekable();
        if others.peek().is_none() {
            return Ok(first);
        }
        Err(NotChosen::Several { labels: std::iter::once(first.label.clone()).chain(others).collect() })
    }
}

fn lines<'a>(fields: &'a (impl Fields + ?Sized), name: &'static str, limits: &Limits) -> Result<Vec<&'a [u8]>, Flaw> {
    let mut lines = Vec::new();
    let mut bytes = 0_usize;
    fields.each(name, &mut |line| {
        // A line without a byte counts too.
        bytes = bytes.saturating_add(line.len()).saturating_add(1);
        if bytes <= limits.bytes {
            lines.push(trim(line));
        }
    });
    if bytes > limits.bytes {
        let what = if name == INPUT { "bytes of signature-input" } else { "bytes of signature" };
        return Err(Flaw::TooMany { what, most: limits.bytes });
    }
    if !can_join(&lines) {
        return Err(Flaw::Malformed { field: name, reason: "one of its lines is empty".to_owned() });
    }
    Ok(lines)
}

/// What has been read so far.
struct Reading<'a> {
    all: Vec<Signature>,
    limits: &'a Limits,
    flaws: Flaws,
    /// Members of `Signature`.
    values: usize,
}

impl Reading<'_> {
    fn check(&mut self, field: &'static str, read: Result<(), sfv::Error>) -> Result<(), Flaw> {
        match read {
            Ok(()) => Ok(()),
            Err(error) => {
                Err(self.flaws.whole.take().unwrap_or_else(|| Flaw::Malformed { field, reason: error.to_string() }))
            }
        }
    }
}

/// Reads `Signature-Input`: a list of components under each label.
struct Labels<'r, 'a>(&'r mut Reading<'a>);

impl<'de> DictionaryVisitor<'de> for Labels<'_, '_> {
    type Out = ();
    type Error = Stop;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Stop> {
        let Reading { all, limits, flaws, .. } = &mut *self.0;
        if all.iter().any(|other| other.label == key.as_str()) {
            return Err(flaws.stop(Flaw::LabelTwice { label: key.as_str().to_owned(), field: INPUT }));
        }
        if all.len() >= limits.signatures {
            return Err(flaws.stop(Flaw::TooMany { what: "signatures", most: limits.signatures }));
        }
        all.push(Signature {
            label: key.as_str().to_owned(),
            parameters: Parameters::default(),
            flaw: None,
            bytes: None,
        });
        let at = all.len() - 1;
        Ok(Input { signature: &mut all[at], limits, flaws })
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}

/// Reads the components and the parameters of one signature.
struct Input<'a> {
    signature: &'a mut Signature,
    limits: &'a Limits,
    flaws: &'a mut Flaws,
}

impl<'de> EntryVisitor<'de> for Input<'_> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'de>, Stop> {
        Err::<Ignored, _>(self.flaws.stop(Flaw::WrongType { what: "a member of signature-input is not an inner list" }))
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Stop> {
        let text = &mut self.signature.parameters.text;
        text.reserve(256);
        text.push('(');
        Ok(Components { input: self, count: 0 })
    }
}

struct Components<'a> {
    input: Input<'a>,
    count: usize,
}

impl<'de> InnerListVisitor<'de> for Components<'_> {
    type Error = Stop;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Stop> {
        let Input { signature, limits, flaws } = &mut self.input;
        self.count += 1;
        if self.count > limits.components {
            return Err(flaws.stop(Flaw::TooMany { what: "covered components", most: limits.components }));
        }
        let Parameters { text, covered, .. } = &mut signature.parameters;
        if self.count > 1 {
            text.push(' ');
        }
        Ok(component::Reading { text, covered, flaws })
    }

    fn finish(mut self) -> Result<impl ParameterVisitor<'de>, Stop> {
        let Input { signature, flaws, .. } = &mut self.input;
        signature.parameters.text.push(')');
        if let Some(flaw) = signature.parameters.covered_twice() {
            flaws.note(flaw);
        }
        Ok(Metadata { input: self.input, count: 0 })
    }
}

struct Metadata<'a> {
    input: Input<'a>,
    count: usize,
}

impl<'de> ParameterVisitor<'de> for Metadata<'_> {
    type Out = ();
    type Error = Stop;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Stop> {
        let Input { signature, limits, flaws } = &mut self.input;
        self.count += 1;
        if self.count > limits.parameters {
            return Err(flaws.stop(Flaw::TooMany { what: "signature parameters", most: limits.parameters }));
        }
        if let Err(flaw) = signature.parameters.take(key.as_str(), &value) {
            flaws.note(flaw);
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Stop> {
        self.input.signature.flaw = self.input.flaws.own.take();
        Ok(())
    }
}

/// Reads `Signature`: bytes under each label.
struct Values<'r, 'a>(&'r mut Reading<'a>);

impl<'de> DictionaryVisitor<'de> for Values<'_, '_> {
    type Out = ();
    type Error = Stop;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Stop> {
        let Reading { all, limits, flaws, values } = &mut *self.0;
        *values += 1;
        // Another one may have put down values for labels that are not here.
        if *values > limits.signatures.saturating_mul(2) {
            return Err(flaws.stop(Flaw::TooMany { what: "members of signature", most: limits.signatures * 2 }));
        }
        let signature = all.iter_mut().find(|signature| signature.label == key.as_str());
        if signature.as_ref().is_some_and(|signature| signature.bytes.is_some()) {
            return Err(flaws.stop(Flaw::LabelTwice { label: key.as_str().to_owned(), field: SIGNATURE }));
        }
        Ok(Value { signature, flaws })
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}

struct Value<'a> {
    signature: Option<&'a mut Signature>,
    flaws: &'a mut Flaws,
}

impl Value<'_> {
    fn wrong_type(self) -> Stop {
        self.flaws.stop(Flaw::WrongType { what: "a member of signature is not a byte sequence" })
    }
}

impl<'de> EntryVisitor<'de> for Value<'_> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'de>, Stop> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Stop> {
        Err::<Ignored, _>(self.wrong_type())
    }
}

impl<'de> ItemVisitor<'de> for Value<'_> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Stop> {
        let BareItemFromInput::ByteSequence(bytes) = item else { return Err(self.wrong_type()) };
        if let Some(signature) = self.signature {
            signature.bytes = Some(bytes);
        }
        Ok(Ignored)
    }
}
