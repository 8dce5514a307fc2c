//! What an application demands of a signature beyond its being right (RFC 9421, section 3.2.1): what it covers, and when it
//! was made.

use std::fmt;

use super::component::{Component, Kind};
use super::flaw::Flaw;
use super::message::Message;
use super::parameters::Parameters;
use super::sign::Identifiers;

/// One thing that a signature has to cover.
#[derive(Clone, Debug)]
pub enum Need {
    /// The method: `@method`.
    Method,
    /// Path and query: `@target-uri`, `@request-target`, or `@path` with `@query`. A message without a query needs no
    /// `@query`.
    Target,
    /// The host: `@authority` or `@target-uri`.
    Authority,
    /// The status of a response: `@status`.
    Status,
    /// The content, by `content-digest`, if there is any. The digest itself is compared by [`super::ContentDigest`].
    Content,
    /// Exactly these components.
    Components(Identifiers),
}

/// What a signature has to cover.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    needs: Vec<Need>,
}

/// What a signature does not cover.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not cover {}", missing.join(", "))]
pub struct NotCovered {
    /// What is missing, as a person reads it.
    pub missing: Vec<String>,
}

impl Coverage {
    /// Nothing in particular.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { needs: Vec::new() }
    }

    /// What makes a request: its method, its host, its target and its content.
    #[must_use]
    pub fn request() -> Self {
        Self { needs: vec![Need::Method, Need::Authority, Need::Target, Need::Content] }
    }

    /// What makes a response: its status and its content. What binds it to the request is added by [`Self::and`].
    #[must_use]
    pub fn response() -> Self {
        Self { needs: vec![Need::Status, Need::Content] }
    }

    /// The same, and this.
    #[must_use]
    pub fn and(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// The same, and these components, in the notation of [`Identifiers::new`].
    ///
    /// # Errors
    /// One of them is none.
    pub fn and_components(self, components: &[&str]) -> Result<Self, Flaw> {
        Ok(self.and(Need::Components(Identifiers::new(components)?)))
    }

    /// Compares with what a signature covers. `has_content` says whether the message has a body that is not empty.
    ///
    /// # Errors
    /// It covers too little.
    pub fn check<'a>(
        &self,
        parameters: &Parameters,
        message: impl Into<Message<'a>>,
        has_content: bool,
    ) -> Result<(), NotCovered> {
        let message = message.into();
        let mut missing = Vec::new();
        for need in &self.needs {
            need.check(parameters, message, has_content, &mut missing);
        }
        if missing.is_empty() { Ok(()) } else { Err(NotCovered { missing }) }
    }
}

impl Need {
    fn check(&self, parameters: &Parameters, message: Message<'_>, has_content: bool, missing: &mut Vec<String>) {
        let covers = |kind: Kind| {
            parameters.components().any(|component| component.kind() == kind && !component.is_of_request())
        };
        let mut demand = |is_covered: bool, what: &dyn fmt::Display| {
            if !is_covered {
                missing.push(what.to_string());
            }
        };
        match self {
            Self::Method => demand(covers(Kind::Method), &"@method"),
            Self::Authority => {
                demand(covers(Kind::Authority) || covers(Kind::TargetUri), &"@authority (or @target-uri)");
            }
            Self::Status => demand(covers(Kind::Status), &"@status"),
            Self::Target if covers(Kind::TargetUri) || covers(Kind::RequestTarget) => {}
            Self::Target => {
                let has_query = matches!(message, Message::Request(request) if request.query.is_some());
                demand(covers(Kind::Path), &"@path (or @target-uri)");
                demand(!has_query || covers(Kind::Query), &"@query (or @target-uri)");
            }
            Self::Content => {
                let is_covered = parameters.components().any(|component| covers_digest(&component));
                demand(!has_content || is_covered, &"content-digest, which a message with content needs");
            }
            Self::Components(identifiers) => {
                for wanted in identifiers.components() {
                    let is_covered = parameters.components().any(|component| component.is_same(&wanted));
                    demand(is_covered, &wanted.identifier());
                }
            }
        }
    }
}

/// Whether the component covers the digest of the message: as a whole, or a member whose algorithm is compared.
fn covers_digest(component: &Component<'_>) -> bool {
    component.name() == "content-digest"
        && !component.is_of_request()
        && component.key().is_none_or(|key| matches!(key, "sha-256" | "sha-512"))
}

/// When a signature may have been made. All in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How old it may be. A signature without `created` is refused then. None: any age.
    pub max_age: Option<u32>,
    /// By how much the clocks of signer and verifier may differ.
    pub skew: u32,
    /// Whether `created` must be there.
    pub needs_created: bool,
    /// Whether `expires` must be there.
    pub needs_expires: bool,
}

impl Default for Window {
    /// At most five minutes old, with a minute for the clocks.
    fn default() -> Self {
        Self { max_age: Some(300), skew: 60, needs_created: true, needs_expires: false }
    }
}

/// Why the time of a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untimely {
    /// It has no `created`.
    #[error("the signature has no created parameter")]
    NoCreated,
    /// It has no `expires`.
    #[error("the signature has no expires parameter")]
    NoExpires,
    /// It was made in the future.
    #[error("the signature was created {0} seconds in the future")]
    Early(i64),
    /// It is too old.
    #[error("the signature was created {0} seconds ago")]
    Old(i64),
    /// It has expired.
    #[error("the signature expired {0} seconds ago")]
    Expired(i64),
    /// It expires before it was made.
    #[error("the signature expires before it was created")]
    Reversed,
}

impl Window {
    /// Compares the times of a signature with `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// It is too early, too late, or lacks a time.
    pub fn check(&self, parameters: &Parameters, now: i64) -> Result<(), Untimely> {
        let skew = i64::from(self.skew);
        match parameters.created {
            None if self.needs_created || self.max_age.is_some() => return Err(Untimely::NoCreated),
            None => {}
            Some(created) => {
                let age = now.saturating_sub(created);
                if age < -skew {
                    return Err(Untimely::Early(age.saturating_neg()));
                }
                if self.max_age.is_some_and(|most| age > i64::from(most).saturating_add(skew)) {
                    return Err(Untimely::Old(age));
                }
            }
        }
        match parameters.expires {
            None if self.needs_expires => Err(Untimely::NoExpires),
            None => Ok(()),
            Some(expires) if parameters.created.is_some_and(|created| expires < created) => Err(Untimely::Reversed),
            Some(expires) => {
                let over = now.saturating_sub(expires);
                if over > skew { Err(Untimely::Expired(over)) } else { Ok(()) }
            }
        }
    }
}
