//! Component identifiers (RFC 9421, section 2): what of a message a signature covers, and in which form.

use std::ops::Range;

use sfv::BareItemFromInput;
use sfv::visitor::{ItemVisitor, ParameterVisitor};

use super::flaw::Flaw;
use super::structured::{Flaws, Stop, write_bare, write_string};

/// Parameters of one component that are read.
const MOST_PARAMETERS: usize = 8;

/// A derived component (RFC 9421, section 2.2), or a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `@method`: the method, in the case it was sent in.
    Method,
    /// `@target-uri`: the whole address, from the scheme to the query. Scheme, host and port are normalised.
    TargetUri,
    /// `@authority`: host and port, in lower case and without the default port.
    Authority,
    /// `@scheme`: `http` or `https`.
    Scheme,
    /// `@request-target`: what the request line has between method and version.
    RequestTarget,
    /// `@path`: the path, not decoded.
    Path,
    /// `@query`: the query with its `?`, not decoded.
    Query,
    /// `@query-param`: one parameter of the query, decoded and encoded again.
    QueryParam,
    /// `@status`: the status code of a response.
    Status,
    /// A header field.
    Field,
}

impl Kind {
    /// The kind of a component of this name; none if it is neither a known derived component nor the name of a field.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "@method" => Self::Method,
            "@target-uri" => Self::TargetUri,
            "@authority" => Self::Authority,
            "@scheme" => Self::Scheme,
            "@request-target" => Self::RequestTarget,
            "@path" => Self::Path,
            "@query" => Self::Query,
            "@query-param" => Self::QueryParam,
            "@status" => Self::Status,
            _ if is_field_name(name) => Self::Field,
            _ => return None,
        })
    }
}

/// A covered component. It points into the text of the parameters it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Covered {
    /// Where the identifier stands, quotes and parameters included.
    pub(super) identifier: Range<usize>,
    /// Length of the name, which follows the first quote.
    pub(super) name: usize,
    pub(super) kind: Kind,
    pub(super) sf: bool,
    pub(super) bs: bool,
    pub(super) req: bool,
    /// The value of `;key` or `;name`.
    pub(super) selected: Option<Box<str>>,
}

impl Covered {
    /// This component, with the text it points into.
    pub(super) fn within<'a>(&'a self, text: &'a str) -> Component<'a> {
        let identifier = &text[self.identifier.clone()];
        Component { identifier, name: &identifier[1..=self.name], covered: self }
    }
}

/// A component that a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Component<'a> {
    identifier: &'a str,
    name: &'a str,
    pub(super) covered: &'a Covered,
}

impl<'a> Component<'a> {
    /// The identifier as it stands in the signature base: the name in quotes, and its parameters.
    #[must_use]
    pub const fn identifier(&self) -> &'a str {
        self.identifier
    }

    /// The name alone: `@method`, `content-type`.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Which derived component it is, or that it is a field.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.covered.kind
    }

    /// Whether it is taken from the request that is answered (`;req`).
    #[must_use]
    pub const fn is_of_request(&self) -> bool {
        self.covered.req
    }

    /// Whether the field is serialised anew as its structured type (`;sf`).
    #[must_use]
    pub const fn is_structured(&self) -> bool {
        self.covered.sf
    }

    /// Whether each line of the field is wrapped as a byte sequence (`;bs`).
    #[must_use]
    pub const fn is_wrapped(&self) -> bool {
        self.covered.bs
    }

    /// The member of the dictionary that is covered (`;key`).
    #[must_use]
    pub fn key(&self) -> Option<&'a str> {
        self.covered.selected.as_deref().filter(|_| self.covered.kind == Kind::Field)
    }

    /// The encoded name of the parameter of the query that is covered (`;name`).
    #[must_use]
    pub fn parameter(&self) -> Option<&'a str> {
        self.covered.selected.as_deref().filter(|_| self.covered.kind == Kind::QueryParam)
    }

    /// Whether both identify the same component. The order of parameters makes no difference (RFC 9421, section 2).
    #[must_use]
    pub fn is_same(&self, other: &Component<'_>) -> bool {
        let (own, its) = (self.covered, other.covered);
        self.name == other.name && (own.sf, own.bs, own.req, &own.selected) == (its.sf, its.bs, its.req, &its.selected)
    }
}

/// Reads one component identifier, and writes its canonical form behind `text`.
///
/// What makes this one component unusable is put down as a flaw; it does not stop the reading.
pub(super) struct Reading<'a> {
    pub(super) text: &'a mut String,
    pub(super) covered: &'a mut Vec<Covered>,
    pub(super) flaws: &'a mut Flaws,
}

impl<'de> ItemVisitor<'de> for Reading<'_> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Stop> {
        let BareItemFromInput::String(name) = &item else {
            return Err(self.flaws.stop(Flaw::WrongType { what: "a covered component is not a string" }));
        };
        let name = name.as_str();
        let start = self.text.len();
        write_string(self.text, name);
        let kind = Kind::named(name);
        let flaw = kind.is_none().then(|| Flaw::UnknownComponent { name: name.to_owned() });
        let covered = Covered {
            identifier: start..start,
            name: name.len(),
            kind: kind.unwrap_or(Kind::Field),
            sf: false,
            bs: false,
            req: false,
            selected: None,
        };
        Ok(ReadingParameters { reading: self, component: covered, own: flaw, count: 0 })
    }
}

/// Reads the parameters of one component identifier.
struct ReadingParameters<'a> {
    reading: Reading<'a>,
    component: Covered,
    own: Option<Flaw>,
    count: usize,
}

impl<'de> ParameterVisitor<'de> for ReadingParameters<'_> {
    type Out = ();
    type Error = Stop;

    fn parameter(&mut self, key: &'de sfv::KeyRef, value: BareItemFromInput<'de>) -> Result<(), Stop> {
        self.count += 1;
        if self.count > MOST_PARAMETERS {
            let flaw = Flaw::TooMany { what: "parameters of a component", most: MOST_PARAMETERS };
            return Err(self.reading.flaws.stop(flaw));
        }
        let text = &mut *self.reading.text;
        text.push(';');
        text.push_str(key.as_str());
        write_bare(text, &value);
        if let Err(flaw) = self.component.take(key.as_str(), value) {
            let identifier = &text[self.component.identifier.start..];
            self.own.get_or_insert_with(|| flaw(identifier));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Stop> {
        let end = self.reading.text.len();
        self.component.identifier.end = end;
        let identifier = &self.reading.text[self.component.identifier.clone()];
        let own = self.own.or_else(|| self.component.objection(identifier));
        // A signature with a flaw is never used, so what else it covers does not matter.
        match own {
            Some(flaw) => self.reading.flaws.note(flaw),
            None => self.reading.covered.push(self.component),
        }
        Ok(())
    }
}

/// Makes a flaw of the identifier it is in.
type FlawIn = fn(&str) -> Flaw;

fn wrong_parameter(identifier: &str) -> Flaw {
    Flaw::WrongParameter { identifier: identifier.to_owned() }
}

impl Covered {
    /// Takes one parameter.
    fn take(&mut self, key: &str, value: BareItemFromInput<'_>) -> Result<(), FlawIn> {
        let flag = match key {
            "sf" => &mut self.sf,
            "bs" => &mut self.bs,
            "req" => &mut self.req,
            "tr" => return Err(|identifier| Flaw::Trailer { identifier: identifier.to_owned() }),
            "key" | "name" => {
                let fits = (key == "name") == (self.kind == Kind::QueryParam);
                let BareItemFromInput::String(value) = value else { return Err(wrong_parameter) };
                if !fits || self.selected.is_some() {
                    return Err(wrong_parameter);
                }
                self.selected = Some(value.as_str().into());
                return Ok(());
            }
            _ => return Err(|identifier| Flaw::UnknownParameter { identifier: identifier.to_owned() }),
        };
        if *flag || !matches!(value, BareItemFromInput::Boolean(true)) {
            return Err(wrong_parameter);
        }
        *flag = true;
        Ok(())
    }

    /// What is wrong with the parameters together.
    fn objection(&self, identifier: &str) -> Option<Flaw> {
        let fits = match self.kind {
            Kind::Field => !self.bs || !self.sf && self.selected.is_none(),
            Kind::QueryParam => self.selected.is_some() && !self.sf && !self.bs,
            Kind::Status => !self.req && !self.sf && !self.bs && self.selected.is_none(),
            _ => !self.sf && !self.bs && self.selected.is_none(),
        };
        (!fits).then(|| wrong_parameter(identifier))
    }
}

/// Whether this can be the name of a field in lower case: a token (RFC 9110, section 5.6.2) without capital letters. No
/// derived component can, because `@` is none of the characters of a token.
fn is_field_name(name: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| is_of_token(byte) && !byte.is_ascii_uppercase())
}
