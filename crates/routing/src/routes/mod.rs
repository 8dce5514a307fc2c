//! The routing table: finds the route of a request, and with it the pipeline that answers. The longest path wins, then the
//! more exact host, then more conditions, then the name.
//!
//! What operators have declared goes before every default route of a service that has registered itself, whatever
//! its path: whoever may register takes no call away that an operator has given a place. Only the route for every path
//! of every host is a fallback behind them. Routes for one client stand in a table of that client, which is asked before
//! all of these, and for calls alone that claim the client.
//!
//! Endpoints of the gateway itself go before everything. What is declared for one of them stands in a table of its own: it can
//! take the place of the route that leads there, and of no other; which endpoint answers is found before.
//!
//! Declared paths stand in hash tables, one for each declared host and one for all others. A request is looked
//! up once for each *shape* (depth, parameters, regard to case) that is declared, deepest first; so the cost of a call does
//! not grow with the number of routes, nor with that of clients. What is looked at of a path is its decision form.

mod conditions;
mod declared;
mod host_routes;
mod match_report;
mod route_query;
mod shape;

use std::cell::{Cell, OnceCell};
use std::fmt::Write;
use std::sync::Arc;

use portcullis_core::canonical::{DecisionPath, FoldedPath, Host};
use portcullis_core::model::{Label, RESERVED_SERVICE_NAMES};
use portcullis_core::policy::Pipeline;
use portcullis_core::spellings;
use portcullis_core::table::Table;

use declared::DeclaredRoutes;
use host_routes::HostRoutes;

pub use conditions::{Conditions, Doubt};
pub use match_report::{MatchOutcome, MatchReport};
pub use route_query::{Found, Leads, RouteQuery};
use shape::Shapes;
pub use shape::{DeclaredPath, MAX_DEPTH, Meets, Shape};

/// Shapes with parameters that routes of one host can have together.
pub const MAX_SHAPES: usize = 64;

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

/// The routing table. Cheap to copy; a copy does not see later changes.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    builtin: Layer,
    /// What operators have declared in place of the routes to built-in endpoints, by the paths of these.
    at_builtin: Table<Arc<str>, Arc<DeclaredRoutes>>,
    /// The hosts built-in routes answer on; all, if empty.
    builtin_hosts: Arc<[String]>,
    /// Declared hosts that say for themselves whether built-in routes answer on them.
    builtin_by_host: Table<Arc<str>, bool>,
    has_builtin_by_host: bool,
    /// Whether a route has ever been there that does not tell upper from lower case.
    has_folded: bool,
    /// What operators have declared elsewhere.
    declared: DeclaredRoutes,
    /// Whether any route is one of a client.
    has_routes_of_clients: bool,
    /// The default routes of services that have registered themselves.
    registered: Layer,
}

/// Routes under the keys of their paths.
type Entries = Table<Arc<str>, Arc<[Candidate]>>;

/// The routes of one host.
#[derive(Debug, Clone, Default)]
struct Layer {
    /// Those that tell upper from lower case, and those that do not, under their path in lower case.
    entries: [Entries; 2],
    /// Those of the former once more whose paths have capitals, under their paths in lower case.
    capitals: Entries,
    /// The shapes of all these paths.
    shapes: Shapes,
}

impl Routes {
    /// An empty table. Built-in routes will answer on these hosts only, or on all if there are none.
    pub fn new(builtin_hosts: Vec<String>) -> Self {
        let hosts = builtin_hosts.into_iter().map(|host| {
            let canonical = Host::parse(host.as_bytes()).ok();
            canonical.map_or_else(|| host.to_ascii_lowercase(), |host| host.as_str().to_owned())
        });
        Self { builtin_hosts: hosts.collect(), ..Self::default() }
    }

    /// Has built-in routes answer on a declared host, or not; with nothing, it is like every other.
    pub fn set_builtin_host(&mut self, host: &str, answers: Option<bool>) {
        match answers {
            Some(answers) => drop(self.builtin_by_host.insert(host.into(), answers)),
            None => drop(self.builtin_by_host.remove(host)),
        }
        self.has_builtin_by_host = !self.builtin_by_host.is_empty();
    }

    /// Sets a built-in route. No declared route comes before it.
    pub fn set_builtin(&mut self, path: &DeclaredPath, candidate: Candidate) {
        self.builtin.set(path, &candidate.name.clone(), Some(candidate));
    }

    /// Sets or takes out a route by its name. `client`: whose calls alone it takes. `hosts` are in canonical form, perhaps
    /// behind `*.`; none means every host.
    pub fn set(
        &mut self,
        client: Option<&Label>,
        hosts: &[String],
        path: &DeclaredPath,
        name: &str,
        candidate: Option<&Candidate>,
    ) {
        self.has_folded |= client.is_none() && path.shape.folded && candidate.is_some();
        self.declared.set(client, hosts, path, name, candidate);
        self.count_clients();
    }

    /// Sets or takes out a route by its name that takes the place of the one to a built-in endpoint. `endpoint`: its path, as
    /// its own route is called; the rest is as in [`Routes::set`].
    pub fn set_at_builtin(
        &mut self,
        endpoint: &str,
        client: Option<&Label>,
        hosts: &[String],
        path: &DeclaredPath,
        name: &str,
        candidate: Option<&Candidate>,
    ) {
        let mut held = self.at_builtin.remove(endpoint).unwrap_or_default();
        Arc::make_mut(&mut held).set(client, hosts, path, name, candidate);
        if !held.is_empty() {
            self.at_builtin.insert(endpoint.into(), held);
        }
        self.count_clients();
    }

    fn count_clients(&mut self) {
        self.has_routes_of_clients = self.declared.has_routes_of_clients()
            || self.at_builtin.iter().any(|(_, declared)| declared.has_routes_of_clients());
    }

    /// Sets or takes out the default route of a service that has registered itself, by its name. It is for every host.
    pub fn set_registered(&mut self, path: &DeclaredPath, name: &str, candidate: Option<&Candidate>) {
        self.has_folded |= path.shape.folded && candidate.is_some();
        self.registered.set(path, name, candidate.cloned());
    }

    /// Whether one more shape has room beside those that are declared for these hosts, or for these hosts of a client;
    /// `endpoint`: in place of the route to this built-in endpoint.
    pub fn has_room(&self, endpoint: Option<&str>, client: Option<&Label>, hosts: &[String], shape: Shape) -> bool {
        let declared = endpoint.map_or(Some(&self.declared), |endpoint| self.at_builtin(endpoint));
        declared.is_none_or(|declared| declared.has_room(client, hosts, shape))
    }

    /// Whether any route is one of a client.
    pub fn has_routes_of_clients(&self) -> bool {
        self.has_routes_of_clients
    }

    /// Whether a client has any route of its own.
    pub fn has_routes_of(&self, client: &Label) -> bool {
        let mut at_builtin = self.at_builtin.iter().map(|(_, declared)| declared.as_ref());
        self.has_routes_of_clients
            && (self.declared.of_client(client).is_some()
                || at_builtin.any(|declared| declared.of_client(client).is_some()))
    }

    /// What is declared in place of the route to a built-in endpoint.
    fn at_builtin(&self, endpoint: &str) -> Option<&DeclaredRoutes> {
        self.at_builtin.get(endpoint).map(AsRef::as_ref)
    }

    /// The route for a request.
    pub fn find<'a>(&'a self, wanted: &RouteQuery<'_>) -> Option<Found<'a>> {
        let own = wanted.client.and_then(|client| self.declared.of_client(client));
        let has_folded = self.has_folded || own.is_some_and(HostRoutes::has_folded);
        let folded = has_folded.then(|| wanted.path.folded());
        let asked = Asked::of(wanted, folded.as_ref());
        if is_reserved(asked.plain.segment(0)) && self.is_builtin_host(wanted.host) {
            let found = self.builtin.deepest(&asked).or_else(|| self.builtin.find(0, &asked));
            if let Some(found) = found {
                return Some(self.as_declared(&found, &asked));
            }
        }
        let all = self.declared.of_all();
        let found = own
            .and_then(|own| own.find(&asked).or_else(|| own.fallback(&asked)))
            .or_else(|| all.find(&asked))
            .or_else(|| self.registered.deepest(&asked))
            .or_else(|| all.fallback(&asked));
        // Also a route that was passed by counts: in another reading, the request might have gone there.
        found.map(|found| Found { doubt: asked.doubt.get(), ..found })
    }

    /// The route to the built-in endpoint that was found: the declared one where there is one that fits, else its own. What is
    /// matched of the path is the endpoint's either way.
    fn as_declared<'a>(&'a self, own: &Found<'a>, asked: &Asked<'_>) -> Found<'a> {
        let declared = self.at_builtin(&own.pipeline.route.name).and_then(|declared| declared.find(asked));
        let pipeline = declared.map_or(own.pipeline, |declared| declared.pipeline);
        Found { pipeline, matched: own.matched, doubt: asked.doubt.get() }
    }

    fn is_builtin_host(&self, host: &Host) -> bool {
        let declared = self.has_builtin_by_host.then(|| self.builtin_by_host.get(host.name())).flatten();
        if let Some(answers) = declared {
            return *answers;
        }
        let is_one = |allowed: &String| allowed == host.as_str() || allowed == host.name();
        self.builtin_hosts.is_empty() || self.builtin_hosts.iter().any(is_one)
    }
}

/// Sets or takes out the route of this name under a key. How many it was before.
fn put(entries: &mut Entries, key: &str, name: &str, candidate: Option<Candidate>) -> usize {
    let mut all: Vec<Candidate> = entries.get(key).map(|held| held.to_vec()).unwrap_or_default();
    let before = all.len();
    all.retain(|held| held.name.as_ref() != name);
    let removed = before - all.len();
    all.extend(candidate);
    let order = |candidate: &Candidate| (candidate.rank(), candidate.is_own_path());
    all.sort_by(|one, other| order(one).cmp(&order(other)).then_with(|| one.name.cmp(&other.name)));
    if all.is_empty() {
        entries.remove(key);
    } else {
        entries.insert(key.into(), all.into());
    }
    removed
}

impl Layer {
    fn is_empty(&self) -> bool {
        self.entries.iter().all(Table::is_empty)
    }

    /// Whether one more shape has room beside those that are there.
    fn has_room(&self, shape: Shape) -> bool {
        let with_parameters = self.shapes.iter().filter(|held| held.mask != 0 && *held != shape);
        shape.mask == 0 || with_parameters.count() < MAX_SHAPES
    }

    fn set(&mut self, path: &DeclaredPath, name: &str, candidate: Option<Candidate>) {
        if let Some(lower) = &path.lower_key {
            put(&mut self.capitals, lower, name, candidate.clone());
        }
        let added = usize::from(candidate.is_some());
        let removed = put(&mut self.entries[usize::from(path.shape.folded)], &path.key, name, candidate);
        self.shapes.count(path.shape, added, removed);
    }

    /// The route with the longest path, but for that of the root.
    fn deepest<'a>(&'a self, asked: &Asked<'_>) -> Option<Found<'a>> {
        (1..=asked.plain.depth).rev().find_map(|depth| self.find(depth, asked))
    }

    fn find<'a>(&'a self, depth: usize, asked: &Asked<'_>) -> Option<Found<'a>> {
        let mut shapes = self.shapes.at(depth).peekable();
        shapes.peek()?;
        // Both forms of the path have the same segments.
        let is_whole = asked.plain.is_whole(depth);
        let mut own_path = None;
        for shape in shapes {
            if own_path.is_some() && shape.mask != 0 {
                break;
            }
            let Some(candidate) = self.candidate(depth, shape, is_whole, asked) else { continue };
            let matched = asked.plain.end(depth);
            let found = Found { pipeline: &candidate.pipeline, matched, doubt: None };
            if !candidate.is_own_path() {
                return Some(found);
            }
            // A route for the same path without regard to case goes before it as well.
            own_path = own_path.or(Some(found));
        }
        own_path
    }

    /// The first route of a shape that fits.
    fn candidate<'a>(&'a self, depth: usize, shape: Shape, is_whole: bool, asked: &Asked<'_>) -> Option<&'a Candidate> {
        let path = asked.path(shape)?;
        let filled;
        let key = if shape.mask == 0 {
            &path.text[..path.end(depth)]
        } else {
            filled = path.key(shape)?;
            filled.as_str()
        };
        let fits = |candidate: &&Candidate| {
            (is_whole || candidate.meets == Meets::Below) && asked.meets(&candidate.conditions)
        };
        let in_table = |entries: &'a Entries| entries.get(key)?.iter().find(fits);
        let found = in_table(&self.entries[usize::from(shape.folded)]);
        let has_capitals = asked.wanted.in_any_case && !shape.folded;
        found.or_else(|| if has_capitals { in_table(&self.capitals) } else { None })
    }
}

impl Candidate {
    /// What decides between routes of one path, before their names do.
    fn rank(&self) -> (Meets, std::cmp::Reverse<usize>, bool) {
        (self.meets, std::cmp::Reverse(self.conditions.count()), !self.conditions.names_head_alone())
    }

    /// Whether it is the path that a service has by itself, and is called like that. Routes for the same path go before it.
    fn is_own_path(&self) -> bool {
        self.name.starts_with('/')
    }
}

/// What is asked for, with its path taken apart.
struct Asked<'a> {
    wanted: &'a RouteQuery<'a>,
    plain: Segments<'a>,
    /// Without regard to case; none where no route is declared so.
    folded: Option<Segments<'a>>,
    /// What stands against a condition that was asked.
    doubt: Cell<Option<Doubt>>,
    /// Whether a field is there that is not spelled as nearly all are; none as long as nobody has looked.
    has_odd_names: OnceCell<bool>,
}

impl<'a> Asked<'a> {
    fn of(wanted: &'a RouteQuery<'a>, folded: Option<&'a FoldedPath<'a>>) -> Self {
        let folded = folded.map(|folded| Segments::of(folded.decision()));
        Self {
            wanted,
            plain: Segments::of(wanted.path),
            folded,
            doubt: Cell::default(),
            has_odd_names: OnceCell::new(),
        }
    }

    /// Whether these conditions hold.
    fn meets(&self, conditions: &Conditions) -> bool {
        let holds = conditions.hold(self.wanted);
        if conditions.look_at_values() {
            let odd = *self.has_odd_names.get_or_init(|| spellings::has_odd_names(self.wanted.headers));
            if let Some(doubt) = conditions.doubt(self.wanted, odd, holds) {
                self.doubt.set(Some(doubt));
            }
        }
        holds
    }

    /// The path in the form that routes of a shape are looked up by.
    fn path(&self, shape: Shape) -> Option<&Segments<'a>> {
        if shape.folded || self.wanted.in_any_case { self.folded.as_ref() } else { Some(&self.plain) }
    }
}

/// A path, and where each of its segments ends.
struct Segments<'a> {
    text: &'a str,
    ends: [u32; MAX_DEPTH + 1],
    depth: usize,
}

impl<'a> Segments<'a> {
    fn of(path: DecisionPath<'a>) -> Self {
        let text = path.as_str();
        let mut segments = Self { text, ends: [0; MAX_DEPTH + 1], depth: 0 };
        // Segments are short: whoever looks for many bytes at once begins anew for each of them.
        for (at, byte) in text.bytes().enumerate().skip(1) {
            if byte == b'/' {
                segments.end_at(at);
                if segments.depth == MAX_DEPTH {
                    return segments;
                }
            }
        }
        segments.end_at(text.len());
        segments
    }

    /// One more segment ends here.
    fn end_at(&mut self, at: usize) {
        self.depth += 1;
        // Paths are bounded far below that.
        self.ends[self.depth] = u32::try_from(at).unwrap_or(u32::MAX);
    }

    /// Where so many segments end.
    fn end(&self, depth: usize) -> usize {
        self.ends[depth] as usize
    }

    /// The segment at a position, without its slash; empty if there is none.
    fn segment(&self, position: usize) -> &'a str {
        if position >= self.depth {
            return "";
        }
        self.text.get(self.end(position) + 1..self.end(position + 1)).unwrap_or("")
    }

    /// Whether nothing but a slash stands behind so many segments.
    fn is_whole(&self, depth: usize) -> bool {
        matches!(&self.text[self.end(depth)..], "" | "/")
    }

    /// The key of the path in a shape; none where a parameter would be empty.
    fn key(&self, shape: Shape) -> Option<String> {
        let mut key = String::with_capacity(self.text.len());
        for position in 0..shape.depth {
            let segment = self.segment(position);
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
}

fn is_reserved(segment: &str) -> bool {
    RESERVED_SERVICE_NAMES.contains(&segment)
}

#[cfg(test)]
mod tests;
