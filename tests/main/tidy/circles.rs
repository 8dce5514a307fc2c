//! Which file imports which, read from the text: circles inside crates, and the walk that ARCHITECTURE.md tells.
//!
//! What a file imports is where the names it uses are defined: `crate::a::b`, `super::b` and `self::b`, in `use` and inside
//! of code, through a module that was imported, and past every `pub use` that only passes a name on. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::Objections;
use super::files::without_tests;

/// The most files that may import one another in a circle: what is one subject in a few files.
const MOST: usize = 3;

/// The files of one crate by their modules, and what each of them imports.
pub(super) struct Crate {
    /// The path of the root of the modules, `crates/core/src` or `src`.
    root: String,
    modules: BTreeMap<Vec<String>, Module>,
}

/// One file.
struct Module {
    path: String,
    /// Its code without tests, comments and the insides of strings.
    code: String,
    /// What its `use` statements name: as what, which path, and whether it only passes it on.
    uses: Vec<(String, Vec<String>, bool)>,
}

/// The crates of a tree.
pub(super) fn crates(tree: &[(String, Vec<u8>)]) -> Vec<Crate> {
    let mut found = BTreeMap::<String, Crate>::new();
    for (path, bytes) in tree.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let Some((root, modules)) = place(path) else { continue };
        let of_crate = found.entry(root.clone()).or_insert_with(|| Crate { root, modules: BTreeMap::new() });
        of_crate.modules.insert(modules, Module::read(path, &String::from_utf8_lossy(bytes)));
    }
    found.into_values().collect()
}

/// The root of a file's crate, and the module it is; none where it is neither code of a crate nor of the binary.
fn place(path: &str) -> Option<(String, Vec<String>)> {
    let (root, rest) = match path.strip_prefix("crates/") {
        Some(below) => {
            let (name, rest) = below.split_once("/src/")?;
            (format!("crates/{name}/src"), rest)
        }
        None => ("src".to_owned(), path.strip_prefix("src/")?),
    };
    let mut modules: Vec<String> = rest.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if modules.iter().any(|module| module == "tests") {
        return None;
    }
    if matches!(modules.last()?.as_str(), "mod" | "lib" | "main") {
        modules.pop();
    }
    Some((root, modules))
}

impl Module {
    fn read(path: &str, text: &str) -> Self {
        let code = bare(&without_tests(text).join("\n"));
        let (uses, code) = uses(&code);
        Self { path: path.to_owned(), code, uses }
    }
}

/// A text without comments, and without what is in strings.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|character| {
                let ends = character == '"' && !escaped;
                escaped = character == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            bare.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    bare
}

/// What `use` statements name, and the code without them.
fn uses(code: &str) -> (Vec<(String, Vec<String>, bool)>, String) {
    let (mut named, mut left) = (Vec::new(), String::new());
    let mut rest = code;
    while let Some(at) = next_use(rest) {
        let line = rest[..at].rfind('\n').map_or(0, |end| end + 1);
        let is_passed_on = rest[line..at].trim_start().starts_with("pub");
        let Some(end) = rest[at..].find(';') else { break };
        left.push_str(&rest[..line]);
        leaves(&rest[at + "use ".len()..at + end], &[], &mut |name, path| named.push((name, path, is_passed_on)));
        rest = &rest[at + end + 1..];
    }
    left.push_str(rest);
    (named, left)
}

/// Where the next statement begins.
fn next_use(code: &str) -> Option<usize> {
    let begins = |at: &usize| {
        let line = code[..*at].rfind('\n').map_or(0, |end| end + 1);
        let before = code[line..*at].trim();
        before.is_empty() || before == "pub" || before.starts_with("pub(") && before.ends_with(')')
    };
    code.match_indices("use ").map(|(at, _)| at).find(begins)
}

/// Every single path of a tree of paths, with the name that it gets.
fn leaves(tree: &str, above: &[String], found: &mut impl FnMut(String, Vec<String>)) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let mut above = above.to_vec();
        above.extend(tree[..open].split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        let inside = tree[open + 1..].trim_end().strip_suffix('}').unwrap_or(&tree[open + 1..]);
        members(inside).into_iter().for_each(|member| leaves(member, &above, &mut *found));
        return;
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let mut whole = above.to_vec();
    whole.extend(path.split("::").map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned));
    if whole.last().is_some_and(|last| last == "self") && whole.len() > 1 {
        whole.pop();
    }
    if let Some(last) = whole.last().cloned() {
        found(name.map_or(last, str::to_owned), whole);
    }
}

/// What commas part, outside of braces.
fn members(inside: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0_usize, 0, Vec::new());
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                members.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(&inside[start..]);
    members.retain(|member| !member.trim().is_empty());
    members
}

/// The paths with two names or more in code.
fn paths(code: &str) -> BTreeSet<Vec<&str>> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = code.as_bytes();
    let (mut found, mut at) = (BTreeSet::new(), 0);
    while at < bytes.len() {
        let start = at;
        while at < bytes.len() && (is_of_name(bytes[at]) || bytes[at..].starts_with(b"::")) {
            at += if bytes[at] == b':' { 2 } else { 1 };
        }
        if at > start {
            let names: Vec<_> = code[start..at].split("::").filter(|name| !name.is_empty()).collect();
            if names.len() > 1 && is_of_name(bytes[start]) {
                found.insert(names);
            }
        } else {
            at += 1;
        }
    }
    found
}

/// Whether a word stands in code.
fn has_word(code: &str, word: &str) -> bool {
    let is_of_name = |character: Option<char>| character.is_some_and(|it| it.is_alphanumeric() || it == '_');
    code.match_indices(word).any(|(at, _)| {
        !is_of_name(code[..at].chars().next_back()) && !is_of_name(code[at + word.len()..].chars().next())
    })
}

impl Crate {
    /// For each file those of this crate that it imports.
    pub(super) fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        self.modules.iter().map(|(at, module)| (module.path.as_str(), self.imported_by(at, module))).collect()
    }

    fn imported_by(&self, at: &[String], module: &Module) -> BTreeSet<&str> {
        let mut imported = BTreeSet::new();
        for (name, path, is_passed_on) in &module.uses {
            // What is only passed on is imported by whoever takes it from here.
            if !is_passed_on || has_word(&module.code, name) {
                imported.extend(self.definition(at, path));
            }
        }
        for path in paths(&module.code) {
            let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
            imported.extend(self.definition(at, &path));
        }
        imported.remove(module.path.as_str());
        imported
    }

    /// The file in which that is defined which a module calls by this path; none where it is of another crate, or a module
    /// as a whole.
    fn definition(&self, at: &[String], path: &[String]) -> Option<&str> {
        let (module, names) = self.resolve(at, path, 0)?;
        (!names.is_empty()).then(|| self.modules[&module].path.as_str())
    }

    /// The module that a path leads into, and what of the path is left there.
    fn resolve(&self, at: &[String], path: &[String], depth: usize) -> Option<(Vec<String>, Vec<String>)> {
        let (first, mut rest) = path.split_first()?;
        let mut module = at.to_vec();
        match first.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => {
                module.pop()?;
                while let Some((_, behind)) = rest.split_first().filter(|(name, _)| *name == "super") {
                    module.pop()?;
                    rest = behind;
                }
            }
            name => {
                module.push(name.to_owned());
                if !self.modules.contains_key(&module) {
                    // Under a name it was imported by.
                    let known = self.modules.get(at)?.uses.iter().find(|(known, _, _)| known == name)?;
                    let behind = if known.1.len() > 1 && depth < 8 { [&known.1, rest].concat() } else { return None };
                    return self.resolve(at, &behind, depth + 1);
                }
            }
        }
        while let Some((name, behind)) = rest.split_first() {
            module.push(name.clone());
            if self.modules.contains_key(&module) {
                rest = behind;
                continue;
            }
            module.pop();
            let passed_on = self.modules.get(&module)?.uses.iter().find(|(known, _, on)| *on && known == name);
            if let Some((_, path, _)) = passed_on.filter(|_| depth < 8) {
                let elsewhere = [path, behind].concat();
                return self.resolve(&module, &elsewhere, depth + 1).or(Some((module, rest.to_vec())));
            }
            break;
        }
        self.modules.contains_key(&module).then(|| (module, rest.to_vec()))
    }

    /// Circles of more files than are one subject, and those between folders.
    pub(super) fn circles(&self) -> Objections {
        let imports = self.imports();
        let mut objections: Objections = circles(&imports)
            .into_iter()
            .filter(|circle| circle.len() > MOST)
            .map(|circle| format!("{} files import one another in a circle: {}", circle.len(), circle.join(", ")))
            .collect();
        for (folder, members) in self.folders(&imports) {
            for circle in circles(&members) {
                let circle: Vec<_> = circle.into_iter().filter(|name| name.ends_with('/')).collect();
                if circle.len() > 1 {
                    objections.push(format!("folders of {folder} import one another: {}", circle.join(", ")));
                }
            }
        }
        objections
    }

    /// For each folder what is in it: folders, each with the file that is named like it, and other files; and which of them
    /// imports which.
    fn folders<'a>(
        &'a self,
        imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    ) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
        let mut folders = BTreeMap::<String, BTreeSet<String>>::new();
        for path in imports.keys() {
            let mut at = path.rfind('/');
            while let Some(end) = at.filter(|end| *end >= self.root.len()) {
                let above = path[..end].rfind('/').unwrap_or(0);
                if end > self.root.len() {
                    folders.entry(path[..above].to_owned()).or_default().insert(path[..=end].to_owned());
                }
                at = path[..end].rfind('/');
            }
        }
        let unit = |folder: &str, path: &str| -> Option<String> {
            let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
            let name = rest.split_once('/').map_or_else(|| rest.strip_suffix(".rs"), |(name, _)| Some(name))?;
            let as_folder = format!("{folder}/{name}/");
            let is_folder = folders.get(folder).is_some_and(|known| known.contains(&as_folder));
            Some(if is_folder { as_folder } else { format!("{folder}/{name}.rs") })
        };
        let mut units = BTreeMap::<String, BTreeMap<String, BTreeSet<String>>>::new();
        for folder in folders.keys() {
            let members = units.entry(folder.clone()).or_default();
            for (path, imported) in imports {
                let Some(own) = unit(folder, path) else { continue };
                let others = imported.iter().filter_map(|other| unit(folder, other)).filter(|other| *other != own);
                members.entry(own.clone()).or_default().extend(others);
            }
        }
        units
    }
}

/// The circles of a graph: those that reach one another.
fn circles<N: AsRef<str> + Ord>(graph: &BTreeMap<N, BTreeSet<N>>) -> Vec<Vec<String>> {
    let reach = |start: &str| {
        let (mut met, mut open) = (BTreeSet::new(), vec![start.to_owned()]);
        while let Some(at) = open.pop() {
            let next = graph.iter().find(|(name, _)| name.as_ref() == at).map(|(_, next)| next);
            for next in next.into_iter().flatten() {
                if met.insert(next.as_ref().to_owned()) {
                    open.push(next.as_ref().to_owned());
                }
            }
        }
        met
    };
    let reached: BTreeMap<String, BTreeSet<String>> =
        graph.keys().map(|name| (name.as_ref().to_owned(), reach(name.as_ref()))).collect();
    let mut found = BTreeSet::new();
    for (name, others) in &reached {
        if others.contains(name) {
            let back = |other: &&String| reached.get(*other).is_some_and(|theirs| theirs.contains(name));
            found.insert(others.iter().filter(back).cloned().collect::<Vec<_>>());
        }
    }
    found.into_iter().filter(|circle| circle.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said about the files of a crate.
    fn found(files: &[(&str, &str)]) -> Objections {
        let tree: Vec<_> =
            files.iter().map(|(path, text)| (format!("crates/a/src/{path}.rs"), text.as_bytes().to_vec())).collect();
        crates(&tree).iter().flat_map(Crate::circles).collect()
    }

    const LIB: (&str, &str) = ("lib", "mod b;\nmod c;\nmod d;\nmod e;\npub use e::E;\n");

    #[track_caller]
    fn is_circle(last: &str, expected: bool) {
        let files = [
            LIB,
            ("b", "use crate::c::C;\n"),
            ("c", "use super::{d::{self, D}};\n"),
            ("d", "use crate::E;\n"),
            ("e", last),
        ];
        assert_eq!(found(&files).len(), usize::from(expected), "{last}: {:?}", found(&files));
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        for last in [
            "use crate::b::B;\n",
            "use crate::b;\nfn f() { b::f() }\n",
            "use super::b::{self as other};\nfn f() -> other::B { todo }\n",
            "fn f() -> crate::b::B {}\n",
            "pub(crate) use super::b::B;\nfn f(b: B) {}\n",
            "type T = super::b::B;\n",
        ] {
            is_circle(last, true);
        }
    }

    #[test]
    fn what_imports_nothing_is_in_no_circle() {
        for last in [
            "",
            "// crate::b::B\n",
            "const B: &str = \"crate::b::B\";\n",
            "use crate::b;\n",
            "pub use crate::b::B;\n",
            "#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}\n",
            "use other::b::B;\n",
        ] {
            is_circle(last, false);
        }
    }

    #[test]
    fn three_files_may_be_one_subject_and_two_folders_are_not() {
        let three = [("b", "use crate::c::C;\n"), ("c", "use crate::d::D;\n"), ("d", "use crate::b::B;\n")];
        assert_eq!(found(&three), Objections::new());
        let folders = [
            ("b/mod", "mod x;\n"),
            ("b/x", "use crate::c::y::Y;\n"),
            ("c/mod", "mod y;\n"),
            ("c/y", "use crate::b::x::X;\n"),
        ];
        let found = found(&folders);
        assert!(found.len() == 1 && found[0].contains("crates/a/src/b/, crates/a/src/c/"), "{found:?}");
    }
}
