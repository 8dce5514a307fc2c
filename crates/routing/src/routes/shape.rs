//! The shape of a declared path: how many segments it has and which of them are parameters.
//!
//! All paths of one shape stand in one hash table under a key in which `{}` stands for each parameter, so a
//! request is looked up once for each shape that is declared, however many routes have it.

use std::borrow::Cow;

use portcullis_core::canonical::Path;
use portcullis_core::model::{PathMatch, PathOptions, Problem};

/// The deepest path a route can have, in segments.
pub const MAX_DEPTH: usize = 16;

/// How a declared path must meet that of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meets {
    /// The request's path is the declared one, with or without a slash behind it.
    Whole,
    /// The request's path is the declared one or lies below it.
    Below,
}

/// Depth and parameters: bit `n` is set where segment `n` is a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Segments.
    pub depth: usize,
    /// Which of them are parameters.
    pub mask: u16,
    /// Whether upper and lower case are the same.
    pub folded: bool,
}

impl Shape {
    /// What decides between shapes of one depth: fewer parameters first, then those further behind, then regard to case.
    pub fn order(self) -> (u32, u16, bool) {
        (self.mask.count_ones(), self.mask.reverse_bits(), self.folded)
    }
}

/// The shapes that are declared, with how many paths have each. Small, since there may be one of it for every client: the first
/// takes no list.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes {
    /// By their depth, and those of one depth in the order in which they are asked.
    first: Option<(Shape, u32)>,
    more: Vec<(Shape, u32)>,
    /// A bit for each depth that some have.
    depths: u32,
}

impl Shapes {
    /// Those of a depth.
    pub(super) fn at(&self, depth: usize) -> impl Iterator<Item = Shape> {
        let has_some = self.depths & (1 << depth) != 0;
        self.iter().take(if has_some { usize::MAX } else { 0 }).filter(move |shape| shape.depth == depth)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Shape> {
        self.first.iter().chain(&self.more).map(|(shape, _)| *shape)
    }

    /// So many paths of a shape are there that were not, and are no more that were.
    pub(super) fn count(&mut self, shape: Shape, added: usize, removed: usize) {
        let mut all: Vec<_> = self.first.take().into_iter().chain(std::mem::take(&mut self.more)).collect();
        let order = |shape: Shape| (shape.depth, shape.order());
        let place = all.binary_search_by_key(&order(shape), |(held, _)| order(*held)).unwrap_or_else(|place| {
            all.insert(place, (shape, 0));
            place
        });
        let now = (all[place].1 as usize + added).saturating_sub(removed);
        all[place].1 = u32::try_from(now).unwrap_or(u32::MAX);
        let mut all = all.into_iter().filter(|(_, paths)| *paths > 0);
        (self.first, self.more) = (all.next(), all.collect());
        self.depths = self.iter().fold(0, |depths, shape| depths | 1 << shape.depth);
    }
}

/// A declared path, ready for the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredPath {
    /// Its shape.
    pub shape: Shape,
    /// Its key: segments, with `{}` for each parameter; empty for the root.
    pub key: String,
    /// The same in lower case, where the path regards case and has capitals.
    pub lower_key: Option<String>,
    /// How it must meet a request's path.
    pub meets: Meets,
    /// The names of the parameters, with the segment each stands for.
    pub parameters: Vec<(String, usize)>,
}

impl DeclaredPath {
    /// A path without parameters, as built-in and default routes have it.
    pub fn plain(path: &str, meets: Meets) -> Self {
        let key = path.trim_end_matches('/');
        let depth = key.bytes().filter(|byte| *byte == b'/').count().min(MAX_DEPTH);
        let shape = Shape { depth, mask: 0, folded: false };
        let lower_key = Some(key.to_ascii_lowercase()).filter(|lower| lower != key);
        Self { shape, key: key.to_owned(), lower_key, meets, parameters: Vec::new() }
    }

    /// The same without regard to case, for names in ASCII.
    #[must_use]
    pub fn without_case(mut self) -> Self {
        self.shape.folded = true;
        self.key.make_ascii_lowercase();
        self.lower_key = None;
        self
    }

    /// Reads a declared path, or says what is wrong with it.
    pub fn parse(declared: &PathMatch, options: PathOptions) -> Result<Self, Problem> {
        Self::read(declared, options, true)
    }

    /// Where a path stands that was taken once, and may be one that is a problem today.
    pub fn place(declared: &PathMatch, options: PathOptions) -> Option<Self> {
        Self::read(declared, options, false).ok()
    }

    fn read(declared: &PathMatch, options: PathOptions, strict: bool) -> Result<Self, Problem> {
        let (kind, text, meets) = match declared {
            PathMatch::Exact(text) => ("exact", text.as_str(), Meets::Whole),
            PathMatch::Prefix(text) => ("prefix", text.as_str(), Meets::Below),
            PathMatch::Pattern(text) => match text.strip_suffix("/*") {
                Some(text) => ("pattern", if text.is_empty() { "/" } else { text }, Meets::Below),
                None => ("pattern", text.as_str(), Meets::Whole),
            },
        };
        let problem = |message: String| Problem::new(format!("match.path.{kind}"), message);
        let is_pattern = matches!(declared, PathMatch::Pattern(_));
        // Braces are no path characters: they are swapped for a segment that is one while the rest is checked.
        let plain: Cow<'_, str> = if is_pattern { text.replace(['{', '}'], "~").into() } else { text.into() };
        let canonical = Path::parse(&plain).map_err(|refusal| problem(refusal.facts().detail.into_owned()))?;
        if canonical.forwarded() != plain {
            return Err(problem(format!("a path is declared in its canonical form, here '{}'", canonical.forwarded())));
        }
        if strict && text.split('/').any(|segment| segment == "*") {
            let hint = if kind == "exact" {
                "'pattern' takes '/*' at its end"
            } else {
                "a prefix covers everything below by itself"
            };
            return Err(problem(format!("'*' is no wildcard here: {hint}, and '%2A' is the character")));
        }
        if strict && canonical.has_parameters() {
            return Err(problem("a declared path has no ';': no reading without parameters could meet it".to_owned()));
        }
        if strict && canonical.has_encoded_slash() && options.encoded_slash.is_refuse() {
            return Err(problem("calls with '%2F' are refused here, unless 'encoded_slash' is 'keep'".to_owned()));
        }
        if strict && !canonical.is_text() {
            return Err(problem("a declared path is UTF-8, and so are its escapes".to_owned()));
        }
        let folded = canonical.decision().folded();
        let decision = if options.case_insensitive { folded.decision() } else { canonical.decision() };
        let shape = Shape { depth: 0, mask: 0, folded: options.case_insensitive };
        let mut path = Self { shape, key: String::new(), lower_key: None, meets, parameters: Vec::new() };
        let mut lower_key = String::new();
        // Names of parameters keep their case; everything else is compared in the decision form.
        let compared = segments(decision.as_str()).zip(segments(folded.decision().as_str()));
        for (segment, (compared, lower)) in segments(text).zip(compared) {
            let position = path.shape.depth;
            if position == MAX_DEPTH {
                return Err(problem(format!("a path has at most {MAX_DEPTH} segments")));
            }
            match parameter(segment, is_pattern) {
                Ok(None) => {
                    path.key.extend(["/", compared]);
                    lower_key.extend(["/", lower]);
                }
                Ok(Some(name)) if path.parameters.iter().any(|(held, _)| held == name) => {
                    return Err(problem(format!("the parameter '{name}' stands twice")));
                }
                Ok(Some(name)) => {
                    path.key.push_str("/{}");
                    lower_key.push_str("/{}");
                    path.shape.mask |= 1 << position;
                    path.parameters.push((name.to_owned(), position));
                }
                Err(message) => return Err(problem(message)),
            }
            path.shape.depth += 1;
        }
        path.lower_key = Some(lower_key).filter(|lower| *lower != path.key);
        Ok(path)
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_end_matches('/').split('/').skip(1)
}

/// The name of a segment that is a parameter.
fn parameter(segment: &str, is_pattern: bool) -> Result<Option<&str>, String> {
    if !is_pattern || !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or("");
    let named =
        !name.is_empty() && name != "rest" && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if named {
        Ok(Some(name))
    } else {
        Err(format!("expected a whole segment like '{{id}}' as a parameter, found '{segment}'"))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::model::Ambiguous;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "what is parsed is written where it is parsed")]
    fn parse(declared: PathMatch) -> Result<DeclaredPath, Problem> {
        DeclaredPath::parse(&declared, PathOptions::default())
    }

    #[test]
    fn patterns_become_keys() {
        let path = parse(PathMatch::Pattern("/users/{id}/orders/{order}/*".into())).expect("well formed");
        assert_eq!(
            (path.key.as_str(), path.shape, path.meets),
            ("/users/{}/orders/{}", Shape { depth: 4, mask: 0b1010, folded: false }, Meets::Below)
        );
        assert_eq!(path.parameters, [("id".to_owned(), 1), ("order".to_owned(), 3)]);
        let root = parse(PathMatch::Prefix("/".into())).expect("well formed");
        assert_eq!((root.key.as_str(), root.shape.depth), ("", 0));
    }

    #[test]
    fn spellings_of_one_path_are_one_key() {
        for (declared, key) in [
            ("/users/%40me", "/users/@me"),
            ("/users/@me", "/users/@me"),
            ("/items%3Apurge", "/items:purge"),
            ("/caf%C3%A9", "/caf%C3%A9"),
        ] {
            assert_eq!(parse(PathMatch::Exact(declared.into())).expect("well formed").key, key);
        }
        let options = PathOptions { case_insensitive: true, ..PathOptions::default() };
        let path = DeclaredPath::parse(&PathMatch::Pattern("/Users/{Id}/%C3%9Cber".into()), options);
        let path = path.expect("well formed");
        assert_eq!((path.key.as_str(), path.shape.folded), ("/users/{}/%C3%BCber", true));
        assert_eq!(path.parameters, [("Id".to_owned(), 1)]);
        let options = PathOptions { encoded_slash: Ambiguous::Keep, ..PathOptions::default() };
        let path = DeclaredPath::parse(&PathMatch::Exact("/a%2Fb".into()), options).expect("well formed");
        assert_eq!((path.key.as_str(), path.shape.depth), ("/a%2Fb", 1));
    }

    #[test]
    fn paths_that_no_request_could_meet_are_problems() {
        for declared in [
            PathMatch::Exact("a".into()),
            PathMatch::Prefix("/a//b".into()),
            PathMatch::Prefix("/a/../b".into()),
            PathMatch::Prefix("/%61".into()),
            PathMatch::Prefix("/a b".into()),
            PathMatch::Prefix("/a;b".into()),
            PathMatch::Prefix("/a%3Bb".into()),
            PathMatch::Prefix("/a%2Fb".into()),
            PathMatch::Prefix("/caf%E9".into()),
            PathMatch::Prefix("/a%0Ab".into()),
            PathMatch::Pattern("/a/{id".into()),
            PathMatch::Pattern("/a/x{id}".into()),
            PathMatch::Pattern("/a/{}".into()),
            PathMatch::Pattern("/{a}/{a}".into()),
            PathMatch::Pattern("/{rest}".into()),
            PathMatch::Exact("/a".repeat(17)),
        ] {
            assert!(parse(declared.clone()).is_err(), "{declared:?}");
        }
    }

    #[test]
    fn fuzz_templates_and_declared_paths() {
        use portcullis_upstream::template::Template;

        let seeds = ["/users/{id}/orders", "/a/{x}/{y}/*", "/%2A/é", "/v2/{id}/{rest}", "{{}}", "/{id}{id}", "/}{"];
        crate::fuzzing::run("templates_and_declared_paths", &seeds, |input| {
            let Ok(text) = std::str::from_utf8(input) else { return None };
            let read = |declared: PathMatch| DeclaredPath::parse(&declared, PathOptions::default());
            let pattern = read(PathMatch::Pattern(text.to_owned()));
            for (declared, plain) in [
                (PathMatch::Exact(text.to_owned()), true),
                (PathMatch::Prefix(text.to_owned()), true),
                (PathMatch::Pattern(text.to_owned()), false),
            ] {
                match DeclaredPath::parse(&declared, PathOptions::default()) {
                    // What is taken today has its place, and stays where it is.
                    Ok(path) => {
                        assert_eq!(DeclaredPath::place(&declared, PathOptions::default()).as_ref(), Some(&path));
                        assert!(path.key.is_ascii() && (!plain || path.parameters.is_empty()));
                    }
                    Err(problem) => assert!(problem.path.starts_with("match.path") && !problem.message.is_empty()),
                }
            }
            let path = read(PathMatch::Pattern("/a/{id}/{x}".to_owned())).expect("good");
            let template = Template::parse(text, &path.parameters, "rewrite");
            // Braces come in pairs around what is known, or the template is a problem.
            let is_fine = template.is_ok();
            let known = ["{id}", "{x}", "{rest}"].iter().fold(text.to_owned(), |text, name| text.replace(name, "-"));
            assert_eq!(is_fine, !known.contains(['{', '}']), "{text}");
            Some((pattern.is_ok(), pattern.map(|path| path.parameters.len()).unwrap_or(0), is_fine))
        });
    }
}
