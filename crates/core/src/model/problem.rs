//! One thing that is wrong with a declaration, and where.

use std::fmt;

use serde::Serialize;

/// A mistake in something an operator wrote. Checking collects all of them before it refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, as a dotted path: `services.orders/v1.targets[0].url`.
    pub path: String,
    /// What is wrong and what was expected, in one sentence.
    pub message: String,
    /// The line of the text it stands in, from 1, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

impl Problem {
    /// A problem at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), line: None }
    }

    /// The same problem in a line of a text.
    #[must_use]
    pub fn at(mut self, line: Option<u64>) -> Self {
        self.line = line;
        self
    }

    /// The same problem seen from one level further out.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.path = match self.path.as_str() {
            "" | "." => parent.to_owned(),
            path => format!("{parent}.{path}"),
        };
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}
