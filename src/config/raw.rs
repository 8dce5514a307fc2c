//! What a setting says before it is read, and what reads it.

use std::fmt;

/// A value as it was written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'a> {
    /// In a flag or in the environment.
    Text(&'a str),
    /// In the file.
    Toml(&'a toml::Value),
}

impl<'a> Raw<'a> {
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text.trim()),
            Self::Toml(value) => value.as_str(),
        }
    }

    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Toml(value) => value.as_integer().and_then(|number| number.try_into().ok()),
        }
    }

    /// The items of a TOML array, or of a text with commas between them.
    pub(super) fn items(self) -> Option<Vec<&'a str>> {
        match self {
            Self::Text(text) => Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
            Self::Toml(value) => value.as_array()?.iter().map(toml::Value::as_str).collect(),
        }
    }
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Text(text) => format!("'{text}'"),
            Self::Toml(value) => value.to_string(),
        };
        let shown: String = text.chars().filter(|c| !c.is_control()).take(120).collect();
        f.write_str(&shown)
    }
}

/// How a value of one kind is read.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    /// A word for the value in a usage line.
    pub(crate) form: &'static str,
    /// Whether it is a list.
    pub(crate) list: bool,
    pub(super) expected: &'static str,
    pub(super) read: fn(Raw<'_>) -> Option<T>,
}

impl<T> Reader<T> {
    /// The value, or what was expected in its place.
    pub(crate) fn read(&self, raw: &Raw<'_>) -> Result<T, String> {
        (self.read)(*raw).ok_or_else(|| format!("expected {}, found {raw}", self.expected))
    }

    /// The value of a default in the table of settings.
    pub(super) fn default(&self, text: &'static str) -> T {
        (self.read)(Raw::Text(text)).expect("the table of settings holds readable defaults only")
    }
}
