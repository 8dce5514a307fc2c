//! Match report for `explain`: why a request went to the route it went to, and not to the others. Asked by operators; calls never come here.

use std::cmp::Reverse;
use std::sync::Arc;

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
    Builtin,
    Declared,
    Registered,
    /// Declared for every path of every host.
    Fallback,
}

/// Everything that decides between routes that fit, in order; less goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
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
        if self.origin != first.origin && first.origin == Origin::Builtin {
            "built-in routes go first"
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
        let builtin = is_reserved(asked.plain.segment(0)) && self.is_builtin_host(wanted.host);
        if builtin {
            weighing.layer(&self.builtin, Origin::Builtin, Some(0), "");
        }
        let layers = self.layers(wanted.host.name());
        let place = |layer: &Layer| layers.iter().position(|held| std::ptr::eq(*held, layer));
        for (host, layer) in self.hosts.iter() {
            weighing.layer(layer, Origin::Declared, place(layer), host);
        }
        for (suffix, layer) in self.wildcards.iter() {
            weighing.layer(layer, Origin::Declared, place(layer), &format!("*{suffix}"));
        }
        weighing.layer(&self.any, Origin::Declared, Some(layers.len()), "");
        weighing.layer(&self.registered, Origin::Registered, Some(layers.len()), "");
        weighing.finish(most)
    }
}

struct Weighing<'a> {
    asked: &'a Asked<'a>,
    fitting: Vec<Rank>,
    others: Vec<(Arc<str>, MatchOutcome)>,
}

impl Weighing<'_> {
    /// Holds the routes of one host against the request; `place`: how exact it is for the request's host, if it is.
    fn layer(&mut self, layer: &Layer, origin: Origin, place: Option<usize>, host: &str) {
        for (entries, folded) in layer.entries.iter().zip([false, true]) {
            for (path, candidates) in entries.iter() {
                let shape = shape_of(path, folded);
                let fits = self.fits(path, shape);
                let is_fallback = origin == Origin::Declared && host.is_empty() && shape.depth == 0;
                let origin = if is_fallback { Origin::Fallback } else { origin };
                for candidate in candidates.iter() {
                    self.candidate(candidate, path, shape, fits, origin, place, host);
                }
            }
        }
    }

    /// Whether the request's path begins like the declared one.
    fn fits(&self, path: &str, shape: Shape) -> bool {
        let key = || self.asked.path(shape)?.key(shape);
        shape.depth <= self.asked.plain.depth && key().is_some_and(|found| found == path)
    }

    #[expect(clippy::too_many_arguments, reason = "a route in its place; all of it is looked at once, here")]
    fn candidate(
        &mut self,
        candidate: &Candidate,
        path: &str,
        shape: Shape,
        fits: bool,
        origin: Origin,
        place: Option<usize>,
        host: &str,
    ) {
        let is_whole = !fits || self.asked.plain.is_whole(shape.depth);
        let shown = if path.is_empty() { "/" } else { path };
        let against = match (fits, place) {
            (false, _) => MatchOutcome::Path(format!("the path does not begin with '{shown}'")),
            _ if !is_whole && candidate.meets == Meets::Whole => {
                MatchOutcome::Path(format!("the path goes on behind '{shown}'"))
            }
            (true, None) => MatchOutcome::Host(format!("it is for the host '{host}'")),
            (true, Some(place)) => match candidate.conditions.failing(self.asked.wanted) {
                Some(condition) => MatchOutcome::Condition(condition),
                None => {
                    let (fewer, later, folded) = shape.order();
                    self.fitting.push(Rank {
                        origin,
                        depth: Reverse(shape.depth),
                        host: place,
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
                MatchOutcome::Host(_) => 3,
                MatchOutcome::Path(_) => 4,
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
