//! Reads a whole file of declarations, as YAML or JSON: everything that is wrong with it, with the lines.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::str::FromStr;

use portcullis_core::model::{DECLARATIONS_VERSION, Declarations, Problem};
use portcullis_core::settings;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::syntax::{self, Syntax};
use super::{Object, is_by_kind, read_client, read_host, read_route, read_service};

/// Bytes of a file of declarations.
pub const LARGEST: usize = 16 << 20;

/// Declarations as far as they could be read, and everything that is wrong with their form.
#[derive(Debug)]
pub struct Reading {
    /// What could be read; what could not is left out or has its default.
    pub declarations: Declarations,
    /// What is wrong, without lines.
    pub problems: Vec<Problem>,
}

/// Reads a file. A text that is neither YAML nor JSON is a single problem.
pub fn read(text: &[u8], syntax: Syntax) -> Result<Reading, Problem> {
    if text.len() > LARGEST {
        return Err(Problem::new("", format!("a file of declarations has at most {LARGEST} bytes")));
    }
    Ok(read_value(&syntax::parse(text, syntax)?))
}

/// Writes declarations as YAML, in the order of their names.
pub fn to_yaml(declarations: &Declarations) -> Result<String, String> {
    serde_saphyr::to_string(declarations).map_err(|error| error.to_string())
}

/// Gives problems the lines of the text they stand in.
pub fn with_lines(problems: Vec<Problem>, text: &[u8]) -> Vec<Problem> {
    let lines = syntax::lines(text);
    problems
        .into_iter()
        .map(|problem| {
            let line = nearest(&problem.path, &lines);
            problem.at(line)
        })
        .collect()
}

/// The line of a place, or of the nearest thing around it that is there.
fn nearest(path: &str, lines: &HashMap<String, u64>) -> Option<u64> {
    let mut path = path;
    loop {
        if let Some(line) = lines.get(path) {
            return Some(*line);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}

/// A file with its declarations as they stand there.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sections {
    /// The version of the form.
    version: u64,
    /// Services, by `name/version`.
    services: Option<Map<String, Value>>,
    /// Routes, by name.
    routes: Option<Map<String, Value>>,
    /// Clients, by name.
    clients: Option<Map<String, Value>>,
    /// Hosts, by name.
    hosts: Option<Map<String, Value>>,
}

fn read_value(body: &Value) -> Reading {
    let Object { value, mut problems } = settings::read::<Sections>(body, |fields, _| {
        fields.entry("version").or_insert_with(|| DECLARATIONS_VERSION.into());
    });
    let mut declarations = Declarations::default();
    let Some(Sections { version, services, routes, clients, hosts }) = value else {
        return Reading { declarations, problems };
    };
    if version != DECLARATIONS_VERSION {
        let message = format!("expected the number {DECLARATIONS_VERSION}, found the number {version}");
        problems.push(Problem::new("version", message));
    }
    declarations.services = section("services", services, read_service, &mut problems);
    declarations.routes = section("routes", routes, read_route, &mut problems);
    declarations.clients = section("clients", clients, read_client, &mut problems);
    declarations.hosts = section("hosts", hosts, read_host, &mut problems);
    Reading { declarations, problems }
}

/// The objects of one kind by name.
fn section<N: FromStr<Err: Display> + Ord, T>(
    name: &str,
    objects: Option<Map<String, Value>>,
    read: fn(&Value) -> Object<T>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<N, T> {
    let mut section = BTreeMap::new();
    for (object, body) in objects.into_iter().flatten() {
        let place = format!("{name}.{object}");
        let read = read(&body);
        problems.extend(read.problems.into_iter().map(|problem| problem.under(&place)));
        match (object.parse::<N>(), read.value) {
            (Ok(name), Some(value)) => _ = section.insert(name, value),
            (Ok(_), None) => {}
            (Err(error), _) => problems.push(Problem::new(place, error.to_string())),
        }
    }
    section
}

/// What compiling found, without what is about parts that could not be read in full and are told already.
pub(crate) fn unshadowed(found: Vec<Problem>, told: &[Problem]) -> Vec<Problem> {
    let told: HashSet<_> = told.iter().filter_map(|problem| parts(&problem.path)).collect();
    let is_new =
        |problem: &Problem| parts(&problem.path).is_none_or(|place| is_by_kind(place.1) || !told.contains(&place));
    found.into_iter().filter(is_new).collect()
}

/// Of a client, what is looked at when it is compiled.
const COMPILED_OF_CLIENTS: [&str; 2] = [".keys", ".refresh_token_ttl"];

/// The object a path leads to and the field in it. Names of clients may have dots themselves, so they end where the field
/// begins that is compiled.
fn parts(path: &str) -> Option<(&str, &str)> {
    let (section, rest) = path.split_once('.')?;
    let of_client = COMPILED_OF_CLIENTS.iter().filter_map(|field| rest.rfind(field)).max();
    let of_client = of_client.filter(|_| section == "clients");
    let end = of_client.or_else(|| rest.find('.')).map_or(path.len(), |at| section.len() + 1 + at);
    let field = path.get(end + 1..).unwrap_or("");
    Some((&path[..end], field.split(['.', '[']).next().unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r"# a file
version: 2
servces: {}
services:
  orders/v1:
    targets:
      - url: ftp://a
      - url: http://b
        weight: 0
    polices: {}
  oauth/v1:
    targets: [{url: http://c}]
routes:
  users:
    match: {path: {prefix: /api}}
    service: users
    strip: often
clients:
  ada@example.com:
    services: [a/b/c]
hosts:
  API.example.com: {}
  api.example.com: {dialect: gopher, public_url: api.example.com}
";

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let reading = read(FILE.as_bytes(), Syntax::Yaml).expect("YAML");
        let found = with_lines(reading.problems, FILE.as_bytes());
        let places: Vec<_> =
            found.iter().map(|problem| (problem.path.as_str(), problem.line.expect("a line"))).collect();
        assert_eq!(
            places,
            [
                ("servces", 3),
                ("version", 2),
                ("services.oauth/v1", 11),
                ("services.orders/v1.polices", 10),
                ("services.orders/v1.targets[0].url", 7),
                ("services.orders/v1.targets[1].weight", 9),
                ("routes.users.service", 16),
                ("routes.users.strip", 17),
                ("clients.ada@example.com.services[0]", 20),
                ("hosts.API.example.com", 22),
                ("hosts.api.example.com.dialect", 23),
                ("hosts.api.example.com.public_url", 23),
            ]
        );
    }

    #[test]
    fn what_is_read_is_what_was_declared() {
        let text = r"
version: 1
services:
  orders/v1: {targets: [{url: 'http://127.0.0.1:1'}], require: []}
clients:
  shop: {services: ['*']}
hosts:
  api.example.com: {dialect: api, builtin: false}
";
        let reading = read(text.as_bytes(), Syntax::Yaml).expect("YAML");
        assert_eq!(reading.problems, []);
        let json = serde_json::to_string(&reading.declarations).expect("JSON");
        let again = read(json.as_bytes(), Syntax::Json).expect("JSON");
        assert_eq!((again.problems, again.declarations), (Vec::new(), reading.declarations));
    }

    #[test]
    fn an_empty_section_is_none() {
        let reading = read(b"version: 1\nservices:\nroutes: {}\n", Syntax::Yaml).expect("YAML");
        assert_eq!((reading.problems, reading.declarations), (Vec::new(), Declarations::default()));
        assert_eq!(read(b"[1]", Syntax::Json).expect("JSON").problems.len(), 1);
    }

    #[test]
    fn problems_of_parts_that_were_not_read_are_not_repeated() {
        let told = [Problem::new("services.a/v1.targets[0].url", ""), Problem::new("routes.x", "")];
        let shadowed = |path: &str| unshadowed(vec![Problem::new(path, "")], &told).is_empty();
        assert!(shadowed("services.a/v1.targets") && shadowed("routes.x"));
        assert!(!shadowed("services.a/v1.require[0]") && !shadowed("services.b/v1.targets"));
        let told =
            [Problem::new("clients.ada@example.com.keys[0].id", ""), Problem::new("clients.a.b.services[0]", "")];
        let shadowed = |path: &str| unshadowed(vec![Problem::new(path, "")], &told).is_empty();
        assert!(shadowed("clients.ada@example.com.keys[1].jwk") && !shadowed("clients.eve@example.com.keys[0]"));
        assert!(!shadowed("clients.a.b.keys[0].pem"));
    }

    #[test]
    fn fuzz_declarations() {
        let good = "version: 1\nservices:\n  orders/v1:\n    targets: [{url: http://a, weight: 2}]\n    require: [[bearer]]\n    policies: {cors: {origins: ['*']}}\n\
                    routes:\n  users:\n    match: {hosts: ['*.b'], path: {prefix: /api}, methods: [GET], headers: {x-a: '*'}}\n    service: orders/v1\n    strip: true\n\
                    clients:\n  shop: {services: ['*'], enabled: true}\nhosts: {api.example.com: {dialect: fo, public_url: 'https://a', builtin: true}}\n";
        let json = "{\"version\": 1, \"services\": {\"a/v1\": {\"targets\": [{\"url\": \"http://a\"}], \"tls\": {\"ca\": \"x\"}}}, \"routes\": {}}";
        crate::fuzzing::run(
            "declarations",
            &[good, FILE, json, "version: 1", "&a [*a]", "? [x]\n: !!int 1"],
            |input| {
                let answer = |syntax| {
                    let reading = match read(input, syntax) {
                        Ok(reading) => reading,
                        Err(problem) => {
                            assert!(!problem.message.is_empty());
                            return (false, 0, 0);
                        }
                    };
                    let (count, declared) = (reading.problems.len(), &reading.declarations);
                    // What was read without a problem is written, and read again as the same.
                    if reading.problems.is_empty() {
                        let written = to_yaml(declared).expect("written");
                        let again = read(written.as_bytes(), Syntax::Yaml).expect("YAML");
                        assert_eq!((&again.declarations, again.problems), (declared, Vec::new()), "{written}");
                    }
                    assert_eq!(with_lines(reading.problems, input).len(), count);
                    (
                        true,
                        count.min(20),
                        declared.services.len()
                            + 4 * declared.routes.len()
                            + 16 * declared.clients.len()
                            + 64 * declared.hosts.len(),
                    )
                };
                (answer(Syntax::Yaml), answer(Syntax::Json))
            },
        );
    }
}
