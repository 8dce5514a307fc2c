//! Regular expression syntax that Python's `re` has and rules do not: look-around, backreferences, possessive quantifiers and
//! what goes with them. Rules that were written for other gateways bring it along, and none of it can be matched in linear time
//! or means the same here.

/// Whether a pattern does without it; if not, what is there, and what to write instead.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let mut rest = pattern;
    // How deep in classes, and whether a quantifier ends here.
    let (mut class, mut counted) = (0_usize, false);
    while let Some(first) = rest.chars().next() {
        if class == 0
            && let Some((found, remedy)) = begins(rest, counted)
        {
            return Err(format!("'{found}' is not taken in a rule: {remedy}"));
        }
        let was_counted = std::mem::take(&mut counted);
        let length = match (first, class) {
            ('\\', _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            ('[', _) => {
                class += 1;
                // A bracket that comes first in a class stands for itself.
                let inside = rest[1..].strip_prefix('^').unwrap_or(&rest[1..]);
                rest.len() - inside.strip_prefix(']').unwrap_or(inside).len()
            }
            (']', 1..) => {
                class -= 1;
                1
            }
            // What stands behind the parenthesis belongs to it.
            ('(', 0) if rest.starts_with("(?") => 2,
            ('*' | '+' | '?', 0) => {
                // A second one makes it lazy.
                counted = !was_counted;
                1
            }
            ('{', 0) => {
                let end = rest.find('}').filter(|end| is_count(&rest[1..*end]));
                counted = end.is_some();
                end.map_or(1, |end| end + 1)
            }
            _ => first.len_utf8(),
        };
        rest = &rest[length..];
    }
    Ok(())
}

/// What of another syntax a text begins with, and what to write instead. `counted`: whether a quantifier ends before it.
fn begins(text: &str, counted: bool) -> Option<(&str, &'static str)> {
    const ORDER: &str = "rules are asked in order, so put one with the other effect for those paths before this one";
    const AROUND: &str = "there is no look-around; write what has to stand there into the pattern itself";
    const SAME: &str = "there are no backreferences; name the values instead, like '(?:a/a|b/b)'";
    let groups = [
        ("(?=", AROUND),
        ("(?<=", AROUND),
        ("(?!", ORDER),
        ("(?<!", ORDER),
        ("(?P=", SAME),
        ("(?(", "there are no conditions; write both cases as alternatives, like '(?:ab|c)'"),
        ("(?>", "write '(?:'; no pattern tries a path more than once"),
        ("(?#", "leave the comment out"),
        ("\\Z", "write '$'"),
    ];
    if let Some((found, remedy)) = groups.iter().find(|(begin, _)| text.starts_with(begin)) {
        return Some((&text[..found.len()], remedy));
    }
    let mut bytes = text.bytes();
    match (bytes.next(), bytes.next()) {
        (Some(b'\\'), Some(b'1'..=b'9')) => Some((&text[..2], SAME)),
        (Some(b'+'), _) if counted => Some((
            &text[..1],
            "behind a quantifier it means 'possessive'; leave it out, no pattern tries a path more than once",
        )),
        _ => None,
    }
}

/// Whether it is what stands between the braces of a quantifier.
fn is_count(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_digit() || letter == ',')
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_only_python_has_is_named() {
        for (pattern, found) in [
            ("^/(?=a)b", "(?="),
            ("^/(?!public)", "(?!"),
            ("^/a(?<=a)b", "(?<="),
            ("^/a(?<!b)c", "(?<!"),
            (r"^/(a)\1$", r"\1"),
            ("^/(?P<v>a)/(?P=v)", "(?P="),
            ("^/(a)?(?(1)b|c)", "(?("),
            ("^/(?>a|ab)c", "(?>"),
            ("^/(?#comment)a", "(?#"),
            (r"^/a\Z", r"\Z"),
            ("^/a++b", "+"),
            ("^/a*+b", "+"),
            ("^/a?+b", "+"),
            ("^/a{2,3}+b", "+"),
            ("^/[^/]++b", "+"),
            ("^/(?:ab)++", "+"),
            ("^/[]a]++", "+"),
        ] {
            let message = check(pattern).expect_err(pattern);
            assert!(message.starts_with(&format!("'{found}' is not taken in a rule: ")), "{message}");
        }
    }

    #[test]
    fn what_both_have_is_taken() {
        for pattern in [
            "^/forbidden/?",
            r"^/a\+\++b",
            "^/[+*?(?!]+$",
            r"^/[\]+(?!x]+",
            "^/a+?b*?c??d{2}?",
            "^/(?:a|b)+(?i)c",
            "^/(?P<name>a)(?<other>b)",
            r"^/\d+\.\w*\\1",
            "^/[a-z&&[^x]]+",
            "^/[[:alpha:]]+",
            "^/[^]]+]+",
            "^/a{,}é+",
            "^/+",
            "^(?:+)",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }
}
