//! The parameters of a signature (RFC 9421, section 2.3): the components it covers, and what it says about itself.

use sfv::BareItemFromInput;

use super::component::{Component, Covered};
use super::flaw::Flaw;
use super::structured::write_bare;

/// The covered components and the metadata of one signature, as received or as written by the signer.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// The canonical inner list with its parameters: the value of `@signature-params`.
    pub(super) text: String,
    pub(super) covered: Vec<Covered>,
    /// Seconds since the epoch at which the signature was made (`created`).
    pub created: Option<i64>,
    /// Seconds since the epoch from which on it does not hold any more (`expires`).
    pub expires: Option<i64>,
    /// A value for this one signature (`nonce`).
    pub nonce: Option<String>,
    /// The algorithm that the signer names (`alg`). It decides nothing: the key does.
    pub alg: Option<String>,
    /// The name of the key (`keyid`).
    pub keyid: Option<String>,
    /// The application that the signature is for (`tag`).
    pub tag: Option<String>,
}

impl Parameters {
    /// The value of `@signature-params`: the inner list of the components and the parameters, in the order received.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The covered components, in order.
    pub fn components(&self) -> impl ExactSizeIterator<Item = Component<'_>> {
        self.covered.iter().map(|covered| covered.within(&self.text))
    }

    /// Whether a component of this name is covered, in whatever form, of the message itself.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.components().any(|component| component.name() == name && !component.is_of_request())
    }

    /// Takes one parameter, and appends it to the text.
    pub(super) fn take(&mut self, name: &str, value: &BareItemFromInput<'_>) -> Result<(), Flaw> {
        self.text.push(';');
        self.text.push_str(name);
        write_bare(&mut self.text, value);
        let again = match name {
            "created" => self.created.replace(integer(name, value)?).is_some(),
            "expires" => self.expires.replace(integer(name, value)?).is_some(),
            "nonce" => self.nonce.replace(string(name, value)?).is_some(),
            "alg" => self.alg.replace(string(name, value)?).is_some(),
            "keyid" => self.keyid.replace(string(name, value)?).is_some(),
            "tag" => self.tag.replace(string(name, value)?).is_some(),
            // Covered by the signature like the others, and without a meaning here.
            _ => false,
        };
        if again { Err(Flaw::ParameterTwice { name: name.to_owned() }) } else { Ok(()) }
    }

    /// The first component that is covered a second time.
    pub(super) fn covered_twice(&self) -> Option<Flaw> {
        let mut rest = self.components();
        while let Some(component) = rest.next() {
            let mut later = self.components().skip(self.covered.len() - rest.len());
            if let Some(again) = later.find(|other| component.is_same(other)) {
                return Some(Flaw::CoveredTwice { identifier: again.identifier().to_owned() });
            }
        }
        None
    }
}

fn integer(name: &str, value: &BareItemFromInput<'_>) -> Result<i64, Flaw> {
    let integer = value.as_integer().map(i64::from);
    integer.ok_or_else(|| Flaw::ParameterType { name: name.to_owned() })
}

fn string(name: &str, value: &BareItemFromInput<'_>) -> Result<String, Flaw> {
    let string = value.as_string().map(|string| string.as_str().to_owned());
    string.ok_or_else(|| Flaw::ParameterType { name: name.to_owned() })
}
