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

/// A text as one word of a command that can be copied into a shell.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./@".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_command_has_one_word_for_a_name() {
        for (text, want) in
            [("shop-1", "shop-1"), ("", "''"), ("a b", "'a b'"), ("$(x)", "'$(x)'"), ("a'b", r"'a'\''b'")]
        {
            assert_eq!(word(text), want);
        }
    }
}
