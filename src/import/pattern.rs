//! Regular expressions of Python's `re` as patterns of rules. What both have is written so that it means the same to the one as
//! to the other; what rules do not have is an error that says so.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// Where an expression may begin to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Anchor {
    /// At the beginning (`re.match`).
    Start,
    /// Anywhere (`re.search`).
    Anywhere,
}

/// No path of a rule is longer; what is longer here is not looked at.
const LONGEST: usize = 1_024;
/// What no path has as it is sent, beside control characters and what is beyond ASCII. What a path has escaped is not these.
const NEVER_THERE: [char; 7] = [' ', '"', '#', '<', '>', '?', '`'];
/// Why `%` stands for nothing alone.
const PART: &str = "it has a part of an escape ('%'), and rules see what the whole one stands for";

/// A pattern that matches the paths which the expression matches, or why there is none.
///
/// Where an expression may match anywhere, it is searched in the path with the query behind it. Only one whose every alternative
/// begins at the beginning, and which neither reaches a `?` nor asks where the text ends, says the same of the path alone.
pub(crate) fn translate(expression: &str, anchor: Anchor) -> Result<String, String> {
    if expression.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    let writer = Writer::of(expression)?;
    if anchor == Anchor::Anywhere {
        let rest = without_rest(expression);
        let looked = Writer::of(rest)?;
        if (looked.is_loose || !looked.is_anchored) && !rest.is_empty() {
            return Err(
                "it may match anywhere in path and query; rules see the path alone, so begin it with '^'".to_owned()
            );
        }
        if looked.reaches_query {
            let why = "it can reach into the query ('.', '[^…]', '\\W', '$'), and rules see the path alone";
            return Err(why.to_owned());
        }
    }
    let Writer { out, flags, alternates, .. } = writer;
    if flags.is_empty() && out.starts_with('^') && !alternates { Ok(out) } else { Ok(format!("^(?{flags}:{out})")) }
}

/// An expression without the `.*` or `.*$` at its end: whatever comes there, these match it.
fn without_rest(expression: &str) -> &str {
    let rest = expression.strip_suffix('$').unwrap_or(expression);
    match rest.strip_suffix(".*") {
        Some(kept) if !kept.ends_with('\\') => kept,
        _ => expression,
    }
}

/// What is left of an expression.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        self.rest.next()
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    /// Whether this one comes next; then it is read.
    fn takes(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    /// The digits of a base that come next, so many at most.
    fn digits(&mut self, base: u32, most: usize) -> String {
        let mut found = String::new();
        while found.len() < most
            && let Some(digit) = self.rest.next_if(|next| next.is_digit(base))
        {
            found.push(digit);
        }
        found
    }
}

/// What an expression can be part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing that can be repeated.
    Nothing,
    /// Something that can be repeated.
    Atom,
    /// A quantifier.
    Quantifier,
}

/// One thing an escape stands for.
enum Escaped {
    /// A character.
    Literal(char),
    /// A class, like `\d`.
    Class(char),
    /// A place between characters, like `\b`.
    Place(&'static str),
}

/// The pattern as far as it is written.
struct Writer {
    out: String,
    /// Of the whole expression.
    flags: String,
    depth: usize,
    last: Last,
    alternates: bool,
    /// Whether the alternative that is read has begun, and whether it did so with the beginning of the text.
    has_begun: bool,
    is_anchored: bool,
    /// Whether an earlier alternative may match elsewhere.
    is_loose: bool,
    /// Whether it can match a question mark, or asks where the text ends.
    reaches_query: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            out: String::new(),
            flags: String::new(),
            depth: 0,
            last: Last::Nothing,
            alternates: false,
            has_begun: false,
            is_anchored: false,
            is_loose: false,
            reaches_query: false,
        }
    }
}

impl Writer {
    fn of(expression: &str) -> Result<Self, String> {
        let mut writer = Self::default();
        writer.all(&mut Reader { rest: expression.chars().peekable() })?;
        Ok(writer)
    }

    fn all(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        while let Some(first) = reader.next() {
            match first {
                '\\' => self.escape(reader)?,
                '[' => self.class(reader)?,
                '(' => self.group(reader)?,
                ')' => {
                    self.depth = self.depth.checked_sub(1).ok_or("a ')' closes nothing")?;
                    self.atom(")");
                }
                '*' | '+' | '?' => self.quantifier(reader, &first.to_string())?,
                '{' => self.braces(reader)?,
                '|' => {
                    self.alternates = true;
                    if self.depth == 0 {
                        self.is_loose |= !self.is_anchored;
                        (self.has_begun, self.is_anchored) = (false, false);
                    }
                    self.out.push('|');
                    self.last = Last::Nothing;
                }
                '^' | '$' => self.place(&first.to_string()),
                '.' => {
                    self.reaches_query = true;
                    self.atom(".");
                }
                other => self.literal(reader, other)?,
            }
        }
        if self.depth > 0 { Err("a '(' is not closed".to_owned()) } else { Ok(()) }
    }

    /// What comes first in an alternative says where it may match.
    fn begin(&mut self, is_anchored: bool) {
        if self.depth == 0 && !self.has_begun {
            (self.has_begun, self.is_anchored) = (true, is_anchored);
        }
    }

    fn atom(&mut self, text: &str) {
        self.begin(false);
        self.out.push_str(text);
        self.last = Last::Atom;
    }

    fn place(&mut self, text: &str) {
        self.begin(matches!(text, "^" | "\\A"));
        self.reaches_query |= matches!(text, "$" | "\\z");
        self.out.push_str(text);
        self.last = Last::Nothing;
    }

    /// A character that stands for itself, or the escape that begins with it.
    fn literal(&mut self, reader: &mut Reader<'_>, literal: char) -> Result<(), String> {
        if literal == '%' {
            return self.percent(reader);
        }
        if literal.is_ascii_control() || NEVER_THERE.contains(&literal) {
            return Err(format!("no path as it is sent has '{}', so it has never matched", literal.escape_debug()));
        }
        let text = written(literal, "\\.+*?()|[]{}^$")?;
        self.atom(&text);
        Ok(())
    }

    /// An escape of a path. A rule sees the character in its place, which has no parts and is counted as one.
    fn percent(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        let digits = reader.digits(16, 2);
        if digits.len() < 2 {
            return Err(PART.to_owned());
        }
        if matches!(reader.peek(), Some('*' | '+' | '?' | '{')) {
            return Err(format!("it counts the last letter of '%{digits}', and rules see what the whole stands for"));
        }
        self.atom(&format!("%{digits}"));
        Ok(())
    }

    fn escape(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        match escaped(reader, false)? {
            Escaped::Literal(literal) => self.literal(reader, literal)?,
            Escaped::Class('s') => return Err("no path as it is sent has a space, so it has never matched".to_owned()),
            Escaped::Class(letter) => {
                self.reaches_query |= letter.is_ascii_uppercase();
                self.atom(&format!("\\{letter}"));
            }
            Escaped::Place(text) => self.place(text),
        }
        Ok(())
    }

    fn quantifier(&mut self, reader: &mut Reader<'_>, text: &str) -> Result<(), String> {
        match self.last {
            Last::Nothing => return Err(format!("there is nothing that '{text}' could repeat")),
            Last::Quantifier => return Err(format!("'{text}' repeats what is repeated already")),
            Last::Atom => {}
        }
        self.out.push_str(text);
        if reader.takes('?') {
            self.out.push('?');
        } else if reader.peek() == Some('+') {
            return Err("possessive quantifiers ('a++') are not matched here".to_owned());
        }
        self.last = Last::Quantifier;
        Ok(())
    }

    /// A quantifier in braces; braces that are none stand for themselves.
    fn braces(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        let mut ahead = Reader { rest: reader.rest.clone() };
        let least = ahead.digits(10, usize::MAX);
        let has_comma = ahead.takes(',');
        let most = if has_comma { ahead.digits(10, usize::MAX) } else { least.clone() };
        let is_count = ahead.takes('}') && (has_comma || !least.is_empty());
        if !is_count {
            return self.literal(reader, '{');
        }
        reader.rest = ahead.rest;
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| format!("{digits} is too large a count"));
        let low = if least.is_empty() { 0 } else { number(&least)? };
        let text = match most.as_str() {
            "" => format!("{{{low},}}"),
            _ if !has_comma => format!("{{{low}}}"),
            most if number(most)? >= low => format!("{{{low},{}}}", number(most)?),
            most => return Err(format!("'{{{low},{most}}}' asks for more than it takes")),
        };
        self.quantifier(reader, &text)
    }

    fn group(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        self.last = Last::Nothing;
        if !reader.takes('?') {
            return self.opened("(");
        }
        match reader.next() {
            Some(':') => self.opened("(?:"),
            Some('P') if reader.takes('<') => {
                // Nothing refers to what it is called.
                reader.rest.by_ref().find(|next| *next == '>').ok_or("a group's name does not end")?;
                self.opened("(?:")
            }
            Some('#') => {
                reader.rest.by_ref().find(|next| *next == ')').map(drop).ok_or("a comment does not end".into())
            }
            Some('P') => Err("backreferences are not matched here".to_owned()),
            Some('=' | '!' | '<') => Err("look-around ('(?=', '(?!', '(?<=', '(?<!') is not matched here".to_owned()),
            Some('>') => Err("atomic groups ('(?>') are not matched here".to_owned()),
            Some('(') => Err("conditions ('(?(') are not matched here".to_owned()),
            Some(first @ ('a'..='z' | 'L' | '-')) => self.flags(reader, first),
            _ => Err("a group begins in a way that has no meaning".to_owned()),
        }
    }

    fn opened(&mut self, text: &str) -> Result<(), String> {
        self.begin(false);
        self.depth += 1;
        self.out.push_str(text);
        Ok(())
    }

    /// Flags of the whole expression, or of one group. Paths are ASCII, so what the flags `a`, `u` and `L` are about is not there.
    fn flags(&mut self, reader: &mut Reader<'_>, first: char) -> Result<(), String> {
        let (mut on, mut off, mut is_off) = (String::new(), String::new(), false);
        let mut next = Some(first);
        loop {
            match next {
                Some('-') if !is_off => is_off = true,
                Some('a' | 'u' | 'L') if !is_off => {}
                Some(flag @ ('i' | 'm' | 's')) => if is_off { &mut off } else { &mut on }.push(flag),
                Some('x') if is_off => {}
                Some('x') => return Err("verbose expressions ('(?x)') are not matched here".to_owned()),
                Some(')') if !is_off => {
                    // Wherever they stand, they are of the whole.
                    let new: Vec<_> = on.chars().filter(|flag| !self.flags.contains(*flag)).collect();
                    self.flags.extend(new);
                    return Ok(());
                }
                Some(':') => {
                    let off = if off.is_empty() { off } else { format!("-{off}") };
                    return self.opened(&format!("(?{on}{off}:"));
                }
                _ => return Err("a group has flags that have no meaning".to_owned()),
            }
            next = reader.next();
        }
    }

    /// A class. Members that only the other syntax knows (`&&`, `--`, `[:alpha:]`) stand for their characters.
    fn class(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        let is_negated = reader.takes('^');
        let mut text = String::from(if is_negated { "[^" } else { "[" });
        let (mut is_first, mut has_question) = (true, false);
        loop {
            let member = match reader.next().ok_or("a '[' is not closed")? {
                ']' if !is_first => break,
                '\\' => escaped(reader, true)?,
                other => Escaped::Literal(other),
            };
            is_first = false;
            has_question |= matches!(member, Escaped::Literal('?') | Escaped::Class('D' | 'S' | 'W'));
            let mut ahead = Reader { rest: reader.rest.clone() };
            let is_range = ahead.takes('-') && ahead.peek().is_some_and(|next| next != ']');
            match member {
                Escaped::Class(_) if is_range => return Err("a class cannot begin a range".to_owned()),
                Escaped::Class(letter) => _ = write!(text, "\\{letter}"),
                Escaped::Place(_) => return Err("a place between characters is no member of a class".to_owned()),
                Escaped::Literal(literal) if !is_range => text.push_str(&in_class(literal)?),
                Escaped::Literal(low) => {
                    reader.rest = ahead.rest;
                    let high = match reader.next() {
                        Some('\\') => match escaped(reader, true)? {
                            Escaped::Literal(high) => high,
                            _ => return Err("a class cannot end a range".to_owned()),
                        },
                        Some(high) => high,
                        None => return Err("a '[' is not closed".to_owned()),
                    };
                    if high < low {
                        return Err(format!("the range '{low}-{high}' is empty"));
                    }
                    if (low..=high).contains(&'%') {
                        return Err(PART.to_owned());
                    }
                    has_question |= (low..=high).contains(&'?');
                    _ = write!(text, "{}-{}", in_class(low)?, in_class(high)?);
                }
            }
        }
        self.reaches_query |= has_question != is_negated;
        text.push(']');
        self.atom(&text);
        Ok(())
    }
}

fn in_class(literal: char) -> Result<String, String> {
    if literal == '%' {
        return Err(PART.to_owned());
    }
    written(literal, "\\[]^-&~")
}

/// A character that stands for itself, where these have another meaning.
fn written(literal: char, special: &str) -> Result<String, String> {
    match literal {
        _ if !literal.is_ascii() => {
            Err("it has characters beyond ASCII, which no path as it is sent has, so it has never matched".to_owned())
        }
        _ if literal.is_ascii_control() => Ok(format!("\\x{:02x}", u32::from(literal))),
        _ if special.contains(literal) => Ok(format!("\\{literal}")),
        _ => Ok(literal.to_string()),
    }
}

/// What stands behind a backslash.
fn escaped(reader: &mut Reader<'_>, is_in_class: bool) -> Result<Escaped, String> {
    let code = |digits: &str, base, length| {
        let number = if digits.len() == length { u32::from_str_radix(digits, base).ok() } else { None };
        number.and_then(char::from_u32).map(Escaped::Literal).ok_or("an escape names no character".to_owned())
    };
    let first = reader.next().ok_or("it ends with a backslash")?;
    Ok(match first {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => Escaped::Class(first),
        'b' if is_in_class => Escaped::Literal('\u{8}'),
        'b' => Escaped::Place("\\b"),
        'B' if !is_in_class => Escaped::Place("\\B"),
        'A' if !is_in_class => Escaped::Place("\\A"),
        'Z' if !is_in_class => Escaped::Place("\\z"),
        'a' => Escaped::Literal('\u{7}'),
        'f' => Escaped::Literal('\u{c}'),
        'n' => Escaped::Literal('\n'),
        'r' => Escaped::Literal('\r'),
        't' => Escaped::Literal('\t'),
        'v' => Escaped::Literal('\u{b}'),
        'x' => code(&reader.digits(16, 2), 16, 2)?,
        'u' => code(&reader.digits(16, 4), 16, 4)?,
        'U' => code(&reader.digits(16, 8), 16, 8)?,
        '0'..='9' => {
            let mut ahead = Reader { rest: reader.rest.clone() };
            let more = ahead.digits(8, 2);
            let is_octal = first == '0' || is_in_class || (first < '4' && more.len() == 2);
            if !is_octal {
                return Err("backreferences are not matched here".to_owned());
            }
            reader.rest = ahead.rest;
            let digits = format!("{first}{more}");
            code(&digits, 8, digits.len())?
        }
        'A'..='Z' | 'a'..='z' => return Err(format!("'\\{first}' has no meaning")),
        other => Escaped::Literal(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_is_taken_and_means_the_same() {
        for (expression, pattern) in [
            ("^/forbidden/?", "^/forbidden/?"),
            ("/forbidden", "^(?:/forbidden)"),
            ("^/a|^/b", "^(?:^/a|^/b)"),
            ("", "^(?:)"),
            (r"^/(?P<id>\d+)\.json$", r"^/(?:\d+)\.json$"),
            (r"^/a\Z", r"^/a\z"),
            (r"^/\-\_\/", r"^/-_/"),
            ("^/[a[b&&c~~-]+", r"^/[a\[b\&\&c\~\~\-]+"),
            ("^/[]x]", r"^/[\]x]"),
            ("^/[^]-]", r"^/[^\]\-]"),
            (r"^/[+--\w]", r"^/[+-\-\w]"),
            ("^/[[:alpha:]]", r"^/[\[:alpha:]\]"),
            ("^/a{,3}b{2,}c{4}?d{e}{", r"^/a{0,3}b{2,}c{4}?d\{e\}\{"),
            ("^/a{,}", "^/a{0,}"),
            ("^/a(?i)b(?u)", "^(?i:^/ab)"),
            ("^/(?i-s:a)(?u:b)", "^/(?i-s:a)(?:b)"),
            ("^/a(?#of b)c", "^/ac"),
            (r"^/\x41\u0042\103", "^/ABC"),
            (r"^/a%20b\%7E\x25c3%a9(?:%2F)*", "^/a%20b%7E%c3%a9(?:%2F)*"),
            (r"^/[\b\d]", r"^/[\x08\d]"),
        ] {
            assert_eq!(translate(expression, Anchor::Start).as_deref(), Ok(pattern), "{expression}");
        }
    }

    #[test]
    fn what_was_searched_with_the_query_is_taken_where_the_query_makes_no_difference() {
        for expression in [
            "^/b",
            r"\A/b\b",
            "^/a|^/b",
            "^(?i)/(?:a|b)+/[a-z]{2,}",
            r"(?i)^/\d[^/?]*/[^\W]",
            "^/a/.*",
            "^/a/.*$",
            "",
            ".*",
            "^/a|^/b.*$",
        ] {
            let found = translate(expression, Anchor::Anywhere);
            assert_eq!(found, translate(expression, Anchor::Start), "{expression}");
            assert!(found.is_ok(), "{expression}: {found:?}");
        }
        for expression in [
            "/b",
            "action=delete",
            "id=1$",
            "^/ok$",
            r"^/ok\Z",
            "^/a|b",
            "b|^/a",
            "^/a|",
            "(^/a|^/b)",
            "^/a.",
            "^/.*x",
            "^/.+",
            r"^/\W",
            r"^/a\D",
            r"^/\S+",
            "^/[^/]+",
            r"^/[\W]",
            "^/[a?]",
            "^/[!-~]",
            "^/[:-@]",
            r"^/a\.*$",
            r"\b^/a",
            r"\?x=1",
            "^/a.*|b.*",
            "^/a$.*",
        ] {
            assert!(translate(expression, Anchor::Anywhere).is_err(), "{expression}");
        }
    }

    #[test]
    fn what_rules_do_not_have_is_told() {
        for expression in [
            "^/(?!a)",
            "^/(?=a)",
            "^/(?<=a)",
            "^/(?<!a)",
            r"^/(a)\1",
            "^/(?P<a>b)(?P=a)",
            "^/(a)?(?(1)b)",
            "^/(?>a)",
            "^/a++",
            "^/a**",
            "*",
            "^*",
            "(?x) a",
            "^/\u{e9}",
            r"^/\é",
            "(",
            ")",
            "[a",
            "[",
            "[]",
            "a\\",
            r"\x4",
            r"\q",
            "[b-a]",
            r"[\w-a]",
            "(?P<a",
            "(?#",
            "(?i",
            "(?-i)",
            "(?",
            "a{3,2}",
            "a{99999999999}",
            "^/docs%20?$",
            "^/files%2F*x",
            "^/%7E*admin",
            "^/a%41+$",
            r"^/\x2541{2}",
            "^/%",
            "^/%[0-9A-F]",
            "^/%7[eE]",
            "^/%(7E)",
            r"^/%4\d",
            r"^/%4\x31",
            "^/%4(?#c)1",
            "^/[%]",
            "^/[!-~]",
            r"^/[^\x25]",
            r"^/a\sb",
            "^/a b",
            r"^/a\ b",
            r"^/a\x20",
            r"^/a\0",
            "^/a\"",
            "^/<a>",
            "^/a`",
            "^/a#b",
            r"^/a\?b",
            &"a".repeat(1_025),
        ] {
            assert!(translate(expression, Anchor::Start).is_err(), "{expression}");
        }
    }

    #[test]
    fn fuzz_python_patterns() {
        let seeds = [
            r"^/(?P<id>\d+)[^a-z\]&&x]{2,}?$",
            "^/a|b(?i)c",
            r"\Z\A\b[\b]\x41\0",
            "^/(?:a{,3})*(?#c)",
            "[]a]--~~[[:x:]]",
            "(?<!a)(?P=b)(?(1)a|b)++",
            "é{",
        ];
        crate::fuzzing::run("python_patterns", &seeds, |input| {
            let text = String::from_utf8_lossy(input);
            [Anchor::Start, Anchor::Anywhere].map(|anchor| match translate(&text, anchor) {
                Ok(pattern) => {
                    assert!(pattern.starts_with('^') && pattern.is_ascii(), "{pattern}");
                    pattern.len().min(40)
                }
                Err(reason) => {
                    assert!(!reason.is_empty());
                    reason.len() + 40
                }
            })
        });
    }
}
