//! Match report for `explain`: why a request went to the route it went to, and not to the others. Asked by operators; calls never come here.

use std::cmp::Reverse;
use std::sync::Arc;

use portcullis_core::model::Label;

use super::declared::DeclaredRoutes;
use super::{Asked, Candidate, Layer, MAX_DEPTH, Meets, RouteQuery, Routes, Shape, is_reserved};

/// What stands against a route, or for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchOutcome {
    /// It was chosen.
    Chosen,
    /// It fits, but another goes before it, for this reason.
    Outranked(&'static str),
    /// Everything fits but one of its conditions.
    Condition(String),
    /// Its path fits, but it is for calls that claim another client.
    Client(String),
    /// Its path fits, but it is for other hosts.
    Host(String),
    /// Its path does not fit.
    Path(String),
}

/// The routes there are, held against a request.
#[derive(Debug, Default)]
pub struct MatchReport {
    /// The nearest of them, the chosen one first.
    pub routes: Vec<(Arc<str>, MatchOutcome)>,
    /// How many more there are, none of which was chosen.
    pub left_out: usize,
}

/// Whose a route is; less goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// Declared for the client that the call claims.
    Client,
    Declared,
    /// The own route of a built-in endpoint.
    Builtin,
    Registered,
    /// Declared for every path of every host.
    Fallback,
}

/// Everything that decides between routes that fit, in order; less goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Segments of the path of the built-in endpoint it leads to, and one more; 0, if it leads to none.
    endpoint: Reverse<usize>,
    origin: Origin,
    depth: Reverse<usize>,
    host: usize,
    shape: (u32, u16),
    own_path: bool,
    folded: bool,
    candidate: (Meets, Reverse<usize>, bool),
    name: Arc<str>,
}

impl Rank {
    /// Why the first goes before this one.
    fn behind(&self, first: &Self) -> &'static str {
        if self.endpoint.0 == 0 && first.endpoint.0 > 0 {
            "built-in routes go first"
        } else if self.endpoint != first.endpoint {
            "a longer path goes first"
        } else if self.origin != first.origin && first.origin == Origin::Client {
            "the routes of the client that the call claims go first"
        } else if self.origin == Origin::Builtin && first.origin == Origin::Declared {
            "a declared route goes before the one that a built-in endpoint has by itself"
        } else if self.origin == Origin::Registered && first.origin == Origin::Declared {
            "declared routes go before registered services"
        } else if self.origin == Origin::Fallback && first.origin == Origin::Registered {
            "the route for every path of every host is a fallback behind registered services"
        } else if self.depth != first.depth {
            "a longer path goes first"
        } else if self.host != first.host {
            "a more exact host goes first"
        } else if self.own_path != first.own_path
            && self.shape == first.shape
            && (self.folded != first.folded || self.candidate == first.candidate)
        {
            "a route goes before the path that a service has by itself"
        } else if (self.shape, self.folded) != (first.shape, first.folded) {
            "a path with fewer or later parameters goes first, and one with regard to case"
        } else if self.candidate.0 != first.candidate.0 {
            "an exact path goes first"
        } else if self.candidate.1 != first.candidate.1 {
            "a route with more conditions goes first"
        } else if self.candidate.2 != first.candidate.2 {
            "a route for HEAD alone goes first"
        } else {
            "between equals the name decides"
        }
    }
}

impl Routes {
    /// Holds every route against a request.
    pub fn weigh(&self, wanted: &RouteQuery<'_>, most: usize) -> MatchReport {
        let folded = wanted.path.folded();
        let asked = Asked::of(wanted, Some(&folded));
        let mut weighing = Weighing { asked: &asked, fitting: Vec::new(), others: Vec::new() };
        let answers = self.is_builtin_host(wanted.host);
        if is_reserved(asked.plain.segment(0)) && answers {
            weighing.layer(&self.builtin, &Place::of_all(Origin::Builtin));
        }
        for (endpoint, declared) in self.at_builtin.iter() {
            let depth = endpoint.bytes().filter(|byte| *byte == b'/').count();
            weighing.declared(declared, Endpoint { depth: depth + 1, answers });
        }
        weighing.declared(&self.declared, Endpoint::default());
        weighing.layer(&self.registered, &Place::of_all(Origin::Registered));
        weighing.finish(most)
    }
}

/// The built-in endpoint that declared routes lead to; the default is none.
#[derive(Debug, Clone, Copy, Default)]
struct Endpoint {
    /// Segments of its path, and one more; 0, if there is none.
    depth: usize,
    /// Whether it answers on the request's host.
    answers: bool,
}

/// Where routes stand that are held against a request.
struct Place<'a> {
    origin: Origin,
    endpoint: Endpoint,
    /// The client they are for, where the call does not claim that.
    other: Option<&'a Label>,
    /// The host they are for; empty: all.
    host: &'a str,
    /// How exact that is for the request's host, if it is for that.
    rank: Option<usize>,
}

impl Place<'_> {
    /// For every host and call.
    fn of_all(origin: Origin) -> Self {
        // Behind whatever is for a host; they are compared with nothing else.
        Self { origin, endpoint: Endpoint::default(), other: None, host: "", rank: Some(usize::MAX) }
    }
}

struct Weighing<'a> {
    asked: &'a Asked<'a>,
    fitting: Vec<Rank>,
    others: Vec<(Arc<str>, MatchOutcome)>,
}

impl Weighing<'_> {
    /// Holds declared routes against the request.
    fn declared(&mut self, declared: &DeclaredRoutes, endpoint: Endpoint) {
        let wanted = self.asked.wanted;
        let name = wanted.host.name();
        for (client, routes) in declared.clients() {
            let other = Some(client).filter(|client| wanted.client != Some(client));
            routes.each(name, |layer, host, rank| {
                self.layer(layer, &Place { origin: Origin::Client, endpoint, other, host, rank });
            });
        }
        declared.of_all().each(name, |layer, host, rank| {
            self.layer(layer, &Place { origin: Origin::Declared, endpoint, other: None, host, rank });
        });
    }

    /// Holds the routes of one place against the request.
    fn layer(&mut self, layer: &Layer, place: &Place<'_>) {
        for (entries, folded) in layer.entries.iter().zip([false, true]) {
            for (path, candidates) in entries.iter() {
                let shape = shape_of(path, folded);
                let fits = self.fits(path, shape);
                for candidate in candidates.iter() {
                    self.candidate(candidate, path, shape, fits, place);
                }
            }
        }
    }

    /// Whether the request's path begins like the declared one.
    fn fits(&self, path: &str, shape: Shape) -> bool {
        let key = || self.asked.path(shape)?.key(shape);
        shape.depth <= self.asked.plain.depth && key().is_some_and(|found| found == path)
    }

    fn candidate(&mut self, candidate: &Candidate, path: &str, shape: Shape, fits: bool, place: &Place<'_>) {
        let is_whole = !fits || self.asked.plain.is_whole(shape.depth);
        let shown = if path.is_empty() { "/" } else { path };
        let is_fallback = place.origin == Origin::Declared && place.host.is_empty() && shape.depth == 0;
        let leads_nowhere = place.endpoint.depth > 0 && !place.endpoint.answers;
        let against = match (fits, place.other, place.rank) {
            (false, ..) => MatchOutcome::Path(format!("the path does not begin with '{shown}'")),
            _ if !is_whole && candidate.meets == Meets::Whole => {
                MatchOutcome::Path(format!("the path goes on behind '{shown}'"))
            }
            (true, Some(client), _) => {
                MatchOutcome::Client(format!("it is for calls that claim the client '{client}'"))
            }
            (true, None, _) if leads_nowhere => {
                MatchOutcome::Host("built-in endpoints do not answer on this host".to_owned())
            }
            (true, None, None) => MatchOutcome::Host(format!("it is for the host '{}'", place.host)),
            (true, None, Some(rank)) => match candidate.conditions.failing(self.asked.wanted) {
                Some(condition) => MatchOutcome::Condition(condition),
                None => {
                    let (fewer, later, folded) = shape.order();
                    // The own route of an endpoint is as deep as that.
                    let own = if place.origin == Origin::Builtin { shape.depth + 1 } else { 0 };
                    self.fitting.push(Rank {
                        endpoint: Reverse(place.endpoint.depth.max(own)),
                        origin: if is_fallback { Origin::Fallback } else { place.origin },
                        depth: Reverse(shape.depth),
                        host: rank,
                        shape: (fewer, later),
                        own_path: candidate.is_own_path(),
                        folded,
                        candidate: candidate.rank(),
                        name: Arc::clone(&candidate.name),
                    });
                    return;
                }
            },
        };
        self.others.push((Arc::clone(&candidate.name), against));
    }

    fn finish(mut self, most: usize) -> MatchReport {
        self.fitting.sort();
        let nearness = |(name, weight): &(Arc<str>, MatchOutcome)| {
            let near = match weight {
                MatchOutcome::Chosen => 0,
                MatchOutcome::Outranked(_) => 1,
                MatchOutcome::Condition(_) => 2,
                MatchOutcome::Client(_) => 3,
                MatchOutcome::Host(_) => 4,
                MatchOutcome::Path(_) => 5,
            };
            (near, Arc::clone(name))
        };
        self.others.sort_by_key(nearness);
        let mut routes: Vec<(Arc<str>, MatchOutcome)> = Vec::new();
        for rank in &self.fitting {
            let weight = match self.fitting.first() {
                Some(first) if first != rank => MatchOutcome::Outranked(rank.behind(first)),
                _ => MatchOutcome::Chosen,
            };
            routes.push((Arc::clone(&rank.name), weight));
        }
        routes.append(&mut self.others);
        // A route for several hosts stands once for each of them; the nearest place says it all.
        let mut seen = std::collections::HashSet::new();
        routes.retain(|(name, _)| seen.insert(Arc::clone(name)));
        let left_out = routes.len().saturating_sub(most);
        routes.truncate(most);
        MatchReport { routes, left_out }
    }
}

/// The shape of a path by its key.
fn shape_of(key: &str, folded: bool) -> Shape {
    let mut shape = Shape { depth: 0, mask: 0, folded };
    for segment in key.split('/').skip(1).take(MAX_DEPTH) {
        if segment == "{}" {
            shape.mask |= 1 << shape.depth;
        }
        shape.depth += 1;
    }
    shape
}
