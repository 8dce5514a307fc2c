//! Which pipeline answers a request: the longest path wins, then the more exact host, then more conditions,
//! then the name.
//!
//! Declared paths stand in hash tables, one for each declared host and one for all others. A request is looked
//! up once for each *shape* (depth and parameters) that is declared, deepest first; so the cost of a call does
//! not grow with the number of routes.

mod conditions;
mod shape;
mod weigh;

use std::fmt::Write;
use std::sync::Arc;

use http::{HeaderMap, Method};
use portcullis_core::call::Call;
use portcullis_core::model::RESERVED_SERVICE_NAMES;
use portcullis_core::policy::Pipeline;
use portcullis_core::table::Table;

pub use conditions::Conditions;
pub use shape::{DeclaredPath, MAX_DEPTH, Shape};
pub use weigh::{Weighed, Weight};

/// Shapes with parameters that routes of one host can have together.
pub const MAX_SHAPES: usize = 64;
/// How many labels of a host name are looked at for wildcards.
const MAX_LABELS: usize = 8;

/// How a declared path must meet that of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meets {
    /// The request's path is the declared one, with or without a slash behind it.
    Whole,
    /// The request's path is the declared one or lies below it.
    Below,
}

/// One route at its place in the table.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name; decides last.
    pub name: Arc<str>,
    /// How its path must be met.
    pub meets: Meets,
    /// What else must hold.
    pub conditions: Conditions,
    /// What answers.
    pub pipeline: Arc<Pipeline>,
}

/// What of a request routing looks at.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Host, with or without a port, in lower case.
    pub host: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// The query, as sent.
    pub query: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// What routing looks at of a call.
    pub fn of(call: &'a Call) -> Self {
        let request = &call.request;
        Self {
            host: request.host.as_str(),
            path: request.path.as_str(),
            method: &request.method,
            headers: &request.headers,
            query: request.query.as_deref(),
        }
    }
}

/// The route that was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// What answers.
    pub pipeline: &'a Arc<Pipeline>,
    /// Bytes of the path that the route has matched.
    pub matched: usize,
}

/// The routing table. Cheap to copy; a copy does not see later changes.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    builtin: Layer,
    /// The hosts built-in routes answer on; all, if empty.
    builtin_hosts: Arc<[String]>,
    /// Routes for declared hosts, wildcards as `*.example.com`.
    hosts: Table<Arc<str>, Arc<Layer>>,
    has_hosts: bool,
    any: Layer,
}

/// The routes of one host.
#[derive(Debug, Clone, Default)]
struct Layer {
    entries: Table<Arc<str>, Arc<[Candidate]>>,
    /// For each depth the shapes that are declared, with how many paths have each, in the order they are asked.
    shapes: [Vec<(Shape, u32)>; MAX_DEPTH + 1],
}

impl Routes {
    /// An empty table. Built-in routes will answer on these hosts only, or on all if there are none.
    pub fn new(builtin_hosts: Vec<String>) -> Self {
        let hosts: Vec<String> = builtin_hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { builtin_hosts: hosts.into(), ..Self::default() }
    }

    /// Sets a built-in route. No declared route comes before it.
    pub fn set_builtin(&mut self, path: &DeclaredPath, candidate: Candidate) {
        self.builtin.set(path, &candidate.name.clone(), Some(candidate));
    }

    /// Sets or takes out a route by its name. `hosts` are in lower case; none means every host.
    pub fn set(&mut self, hosts: &[String], path: &DeclaredPath, name: &str, candidate: Option<&Candidate>) {
        if hosts.is_empty() {
            self.any.set(path, name, candidate.cloned());
            return;
        }
        for host in hosts {
            let mut layer = self.hosts.get(host.as_str()).map(|layer| layer.as_ref().clone()).unwrap_or_default();
            layer.set(path, name, candidate.cloned());
            if layer.entries.is_empty() {
                self.hosts.remove(host.as_str());
            } else {
                self.hosts.insert(host.as_str().into(), Arc::new(layer));
            }
        }
        self.has_hosts = !self.hosts.is_empty();
    }

    /// Whether one more shape has room beside those that are declared for these hosts.
    pub fn has_room(&self, hosts: &[String], shape: Shape) -> bool {
        let layers = hosts.iter().filter_map(|host| self.hosts.get(host.as_str()).map(AsRef::as_ref));
        let fits = |layer: &Layer| {
            let with_parameters = layer.shapes.iter().flatten().filter(|(held, _)| held.mask != 0 && *held != shape);
            shape.mask == 0 || with_parameters.count() < MAX_SHAPES
        };
        if hosts.is_empty() { fits(&self.any) } else { layers.into_iter().all(fits) }
    }

    /// The route for a request.
    pub fn find<'a>(&'a self, wanted: &Wanted<'_>) -> Option<Found<'a>> {
        let ends = Ends::of(wanted.path);
        if is_reserved(ends.segment(wanted.path, 0)) && self.is_builtin_host(wanted.host) {
            let found = (0..=ends.depth).rev().find_map(|depth| self.builtin.find(depth, &ends, wanted));
            if found.is_some() {
                return found;
            }
        }
        if !self.has_hosts {
            return (0..=ends.depth).rev().find_map(|depth| self.any.find(depth, &ends, wanted));
        }
        let layers = self.layers(name_of(wanted.host));
        (0..=ends.depth)
            .rev()
            .find_map(|depth| layers.iter().flatten().find_map(|layer| layer.find(depth, &ends, wanted)))
    }

    /// The tables a host name is looked up in: its own, those of its wildcards, the nearest first, and that of all.
    fn layers(&self, name: &str) -> [Option<&Layer>; MAX_LABELS + 2] {
        let mut layers = [None; MAX_LABELS + 2];
        layers[0] = self.hosts.get(name).map(AsRef::as_ref);
        let mut wildcard = String::with_capacity(name.len() + 2);
        for (place, (at, _)) in name.match_indices('.').take(MAX_LABELS).enumerate() {
            wildcard.clear();
            wildcard.push('*');
            wildcard.push_str(&name[at..]);
            layers[place + 1] = self.hosts.get(wildcard.as_str()).map(AsRef::as_ref);
        }
        layers[MAX_LABELS + 1] = Some(&self.any);
        layers
    }

    fn is_builtin_host(&self, host: &str) -> bool {
        let name = name_of(host);
        self.builtin_hosts.is_empty() || self.builtin_hosts.iter().any(|allowed| allowed == host || allowed == name)
    }
}

impl Layer {
    fn set(&mut self, path: &DeclaredPath, name: &str, candidate: Option<Candidate>) {
        let mut all: Vec<Candidate> = self.entries.get(path.key.as_str()).map(|held| held.to_vec()).unwrap_or_default();
        let before = all.len();
        all.retain(|held| held.name.as_ref() != name);
        let removed = before - all.len();
        let added = usize::from(candidate.is_some());
        all.extend(candidate);
        all.sort_by(|one, other| {
            let rank = |candidate: &Candidate| (candidate.meets, std::cmp::Reverse(candidate.conditions.count()));
            rank(one).cmp(&rank(other)).then_with(|| one.name.cmp(&other.name))
        });
        if all.is_empty() {
            self.entries.remove(path.key.as_str());
        } else {
            self.entries.insert(path.key.as_str().into(), all.into());
        }
        self.count(path.shape, added, removed);
    }

    fn count(&mut self, shape: Shape, added: usize, removed: usize) {
        let shapes = &mut self.shapes[shape.depth];
        let place = shapes.iter().position(|(held, _)| *held == shape).unwrap_or_else(|| {
            shapes.push((shape, 0));
            shapes.len() - 1
        });
        let now = (shapes[place].1 as usize + added).saturating_sub(removed);
        shapes[place].1 = u32::try_from(now).unwrap_or(u32::MAX);
        shapes.retain(|(_, paths)| *paths > 0);
        shapes.sort_by_key(|(held, _)| held.order());
    }

    fn find<'a>(&'a self, depth: usize, ends: &Ends, wanted: &Wanted<'_>) -> Option<Found<'a>> {
        if self.shapes[depth].is_empty() {
            return None;
        }
        let matched = ends.ends[depth];
        let (prefix, rest) = wanted.path.split_at(matched);
        let is_whole = rest.is_empty() || rest == "/";
        self.shapes[depth].iter().find_map(|(shape, _)| {
            let candidates = if shape.mask == 0 {
                self.entries.get(prefix)?
            } else {
                self.entries.get(key(*shape, ends, wanted.path)?.as_str())?
            };
            let fits = |candidate: &&Candidate| {
                (is_whole || candidate.meets == Meets::Below)
                    && candidate.conditions.hold(wanted.method, wanted.headers, wanted.query)
            };
            candidates.iter().find(fits).map(|candidate| Found { pipeline: &candidate.pipeline, matched })
        })
    }
}

/// The key of a path in a shape; none where a parameter would be empty.
fn key(shape: Shape, ends: &Ends, path: &str) -> Option<String> {
    let mut key = String::with_capacity(path.len());
    for position in 0..shape.depth {
        let segment = ends.segment(path, position);
        if shape.mask & (1 << position) == 0 {
            // Writing to a string does not fail.
            let _ = write!(key, "/{segment}");
        } else if segment.is_empty() {
            return None;
        } else {
            key.push_str("/{}");
        }
    }
    Some(key)
}

/// Where each segment of a path ends.
struct Ends {
    ends: [usize; MAX_DEPTH + 1],
    depth: usize,
}

impl Ends {
    fn of(path: &str) -> Self {
        let (mut ends, mut depth) = ([0; MAX_DEPTH + 1], 0);
        // Segments are short: whoever looks for many bytes at once begins anew for each of them.
        for (at, byte) in path.bytes().enumerate().skip(1) {
            if byte == b'/' {
                depth += 1;
                ends[depth] = at;
                if depth == MAX_DEPTH {
                    return Self { ends, depth };
                }
            }
        }
        depth += 1;
        ends[depth] = path.len();
        Self { ends, depth }
    }

    /// The segment at a position, without its slash; empty if there is none.
    fn segment<'a>(&self, path: &'a str, position: usize) -> &'a str {
        if position >= self.depth {
            return "";
        }
        path.get(self.ends[position] + 1..self.ends[position + 1]).unwrap_or("")
    }
}

fn is_reserved(segment: &str) -> bool {
    RESERVED_SERVICE_NAMES.contains(&segment)
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.bytes().rposition(|byte| byte == b':') {
        Some(at) if !host.ends_with(']') => &host[..at],
        _ => host,
    }
}

#[cfg(test)]
mod tests;
