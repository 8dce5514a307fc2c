//! What an import has to say: what is taken over, what is worth knowing, and what is lost.

use serde::Serialize;

/// Something to know about what was taken over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    /// Of which object it speaks.
    pub(crate) of: String,
    /// What is to be known.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(of: &str, what: &str) -> Self {
        Self { of: of.to_owned(), what: what.to_owned() }
    }
}

/// Something that cannot be here as it is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Loss {
    /// What is lost.
    pub(crate) of: String,
    /// Why.
    pub(crate) why: String,
    /// What is otherwise then.
    pub(crate) instead: String,
}

impl Loss {
    pub(crate) fn new(of: &str, why: &str, instead: &str) -> Self {
        Self { of: of.to_owned(), why: why.to_owned(), instead: instead.to_owned() }
    }
}
