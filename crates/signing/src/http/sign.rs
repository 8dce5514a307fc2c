//! Signing (RFC 9421, section 3.1): what is signed is laid down once, and each message then adds its times and its nonce.

use sfv::{Parser, StringRef};

use super::base::{Base, Uncoverable};
use super::component::{Component, Covered, Reading};
use super::flaw::Flaw;
use super::keys::{NotSigned, SigningKey};
use super::message::Message;
use super::parameters::Parameters;
use super::structured::{Flaws, KnownFields, write_bytes, write_number, write_string};

/// A list of component identifiers.
#[derive(Clone, Debug)]
pub struct Identifiers {
    /// The inner list, in parentheses.
    text: String,
    covered: Vec<Covered>,
}

impl Identifiers {
    /// Reads identifiers: a name with its parameters, the quotes around the name left out or not. `@method`,
    /// `content-digest;req`, `@query-param;name="page"`.
    ///
    /// # Errors
    /// One of them is no component, or stands there twice.
    pub fn new(identifiers: &[&str]) -> Result<Self, Flaw> {
        let mut parameters = Parameters { text: "(".to_owned(), ..Parameters::default() };
        let mut flaws = Flaws::default();
        for (number, identifier) in identifiers.iter().enumerate() {
            let Parameters { text, covered, .. } = &mut parameters;
            if number > 0 {
                text.push(' ');
            }
            let (name, rest) = identifier.split_at(identifier.find(';').unwrap_or(identifier.len()));
            let quoted = if name.starts_with('"') { (*identifier).to_owned() } else { format!("\"{name}\"{rest}") };
            let reading = Reading { text, covered, flaws: &mut flaws };
            if let Err(error) = Parser::new(&quoted).parse_item_with_visitor(reading) {
                let reason = format!("{identifier:?}: {error:#}");
                return Err(flaws.whole.unwrap_or(Flaw::Malformed { field: "signature-input", reason }));
            }
        }
        parameters.text.push(')');
        match flaws.own.or_else(|| parameters.covered_twice()) {
            Some(flaw) => Err(flaw),
            None => Ok(Self { text: parameters.text, covered: parameters.covered }),
        }
    }

    /// The components, in order.
    pub fn components(&self) -> impl ExactSizeIterator<Item = Component<'_>> {
        self.covered.iter().map(|covered| covered.within(&self.text))
    }
}

/// How messages are signed. Made once, used for many of them.
#[derive(Clone, Debug)]
pub struct Signer {
    label: String,
    identifiers: Identifiers,
    keyid: Option<String>,
    tag: Option<String>,
    names_algorithm: bool,
}

/// What is particular to one signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp<'a> {
    /// Seconds since the epoch, now.
    pub created: Option<i64>,
    /// Seconds since the epoch at which the signature expires.
    pub expires: Option<i64>,
    /// A value that no other signature has: visible ASCII and spaces.
    pub nonce: Option<&'a str>,
}

/// A signature that has been made: the values of two fields to add to the message.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The value of `Signature-Input`.
    pub signature_input: String,
    /// The value of `Signature`.
    pub signature: String,
    /// What was signed.
    pub base: Base,
}

/// Why a message was not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The message lacks what is to be covered.
    #[error(transparent)]
    Uncoverable(#[from] Uncoverable),
    /// A parameter does not fit into the field: a text with other characters than visible ASCII and spaces, or a number of more
    /// than 15 digits.
    #[error("the value of {0} cannot stand in a structured field")]
    Parameter(&'static str),
    /// The key could not sign.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
}

impl Signer {
    /// Signs these components, in the notation of [`Identifiers::new`], under this label.
    ///
    /// # Errors
    /// The label is no key of a dictionary, or one of the components is none.
    pub fn new(label: &str, components: &[&str]) -> Result<Self, Flaw> {
        if let Err(error) = sfv::KeyRef::from_str(label) {
            return Err(Flaw::Malformed { field: "signature-input", reason: format!("label {label:?}: {error:#}") });
        }
        Ok(Self {
            label: label.to_owned(),
            identifiers: Identifiers::new(components)?,
            keyid: None,
            tag: None,
            names_algorithm: false,
        })
    }

    /// Names the key (`keyid`).
    #[must_use]
    pub fn keyid(mut self, keyid: &str) -> Self {
        self.keyid = Some(keyid.to_owned());
        self
    }

    /// Names the application (`tag`).
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.to_owned());
        self
    }

    /// Names the algorithm of the key (`alg`).
    #[must_use]
    pub const fn naming_algorithm(mut self) -> Self {
        self.names_algorithm = true;
        self
    }

    /// The value of `@signature-params`: the components, and the parameters in this order: created, expires, keyid, nonce, alg, tag.
    fn parameters(&self, stamp: &Stamp<'_>, key: &SigningKey) -> Result<String, SignError> {
        let mut text = String::with_capacity(self.identifiers.text.len() + 192);
        text.push_str(&self.identifiers.text);
        for (name, time) in [("created", stamp.created), ("expires", stamp.expires)] {
            let Some(time) = time else { continue };
            sfv::Integer::try_from(time).map_err(|_| SignError::Parameter(name))?;
            text.push(';');
            text.push_str(name);
            text.push('=');
            write_number(&mut text, time);
        }
        let alg = self.names_algorithm.then(|| key.algorithm().name());
        let texts =
            [("keyid", self.keyid.as_deref()), ("nonce", stamp.nonce), ("alg", alg), ("tag", self.tag.as_deref())];
        for (name, value) in texts {
            let Some(value) = value else { continue };
            StringRef::from_str(value).map_err(|_| SignError::Parameter(name))?;
            text.push(';');
            text.push_str(name);
            text.push('=');
            write_string(&mut text, value);
        }
        Ok(text)
    }

    /// Signs a message.
    ///
    /// # Errors
    /// The message lacks what is to be covered, a parameter does not fit, or the key fails.
    pub fn sign<'a>(
        &self,
        message: impl Into<Message<'a>>,
        stamp: &Stamp<'_>,
        key: &SigningKey,
        known: &KnownFields<'_>,
    ) -> Result<Signed, SignError> {
        let parameters = self.parameters(stamp, key)?;
        let base = Base::build(&parameters, &self.identifiers.covered, message.into(), known)?;
        let bytes = key.sign(base.as_str().as_bytes())?;
        let mut signature = String::with_capacity(self.label.len() + bytes.len() * 4 / 3 + 8);
        signature.push_str(&self.label);
        signature.push('=');
        write_bytes(&mut signature, &bytes);
        Ok(Signed { signature_input: format!("{}={}", self.label, parameters), signature, base })
    }
}
