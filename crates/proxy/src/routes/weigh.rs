//! Why a request went to the route it went to, and not to the others. Asked by operators; calls never come here.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{Candidate, Ends, Layer, MAX_DEPTH, Meets, Routes, Shape, Wanted, is_reserved, key, name_of};

/// What stands against a route, or for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weight {
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
pub struct Weighed {
    /// The nearest of them, the chosen one first.
    pub routes: Vec<(Arc<str>, Weight)>,
    /// How many more there are, none of which was chosen.
    pub left_out: usize,
}

/// Everything that decides between routes that fit, in order; less goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_declared: bool,
    depth: Reverse<usize>,
    host: usize,
    shape: (u32, u16),
    meets: Meets,
    conditions: Reverse<usize>,
    name: Arc<str>,
}

impl Rank {
    /// Why the first goes before this one.
    fn behind(&self, first: &Self) -> &'static str {
        if self.is_declared != first.is_declared {
            "built-in routes go first"
        } else if self.depth != first.depth {
            "a longer path goes first"
        } else if self.host != first.host {
            "a more exact host goes first"
        } else if self.shape != first.shape {
            "a path with fewer or later parameters goes first"
        } else if self.meets != first.meets {
            "an exact path goes first"
        } else if self.conditions != first.conditions {
            "a route with more conditions goes first"
        } else {
            "between equals the name decides"
        }
    }
}

impl Routes {
    /// Holds every route against a request.
    pub(crate) fn weigh(&self, wanted: &Wanted<'_>, most: usize) -> Weighed {
        let ends = Ends::of(wanted.path);
        let name = name_of(wanted.host);
        let mut weighing = Weighing { wanted, ends: &ends, fitting: Vec::new(), others: Vec::new() };
        let builtin = is_reserved(ends.segment(wanted.path, 0)) && self.is_builtin_host(wanted.host);
        if builtin {
            weighing.layer(&self.builtin, false, Some(0), "");
        }
        let layers = self.layers(name);
        let place = |layer: &Layer| layers.iter().flatten().position(|held| std::ptr::eq(*held, layer));
        for (host, layer) in self.hosts.iter() {
            weighing.layer(layer, true, place(layer), host);
        }
        weighing.layer(&self.any, true, Some(layers.len()), "");
        weighing.finish(most)
    }
}

struct Weighing<'a> {
    wanted: &'a Wanted<'a>,
    ends: &'a Ends,
    fitting: Vec<Rank>,
    others: Vec<(Arc<str>, Weight)>,
}

impl Weighing<'_> {
    /// Holds the routes of one host against the request; `place`: how exact it is for the request's host, if it is.
    fn layer(&mut self, layer: &Layer, is_declared: bool, place: Option<usize>, host: &str) {
        for (path, candidates) in layer.entries.iter() {
            let shape = shape_of(path);
            let fits = self.fits(path, shape);
            for candidate in candidates.iter() {
                self.candidate(candidate, path, shape, fits, is_declared, place, host);
            }
        }
    }

    /// Whether the request's path begins like the declared one.
    fn fits(&self, path: &str, shape: Shape) -> bool {
        shape.depth <= self.ends.depth && key(shape, self.ends, self.wanted.path).is_some_and(|found| found == path)
    }

    #[expect(clippy::too_many_arguments, reason = "a route in its place; all of it is looked at once, here")]
    fn candidate(
        &mut self,
        candidate: &Candidate,
        path: &str,
        shape: Shape,
        fits: bool,
        is_declared: bool,
        place: Option<usize>,
        host: &str,
    ) {
        let Wanted { method, headers, query, path: asked, .. } = *self.wanted;
        let rest = if fits { &asked[self.ends.ends[shape.depth]..] } else { "" };
        let is_whole = rest.is_empty() || rest == "/";
        let shown = if path.is_empty() { "/" } else { path };
        let against = match (fits, place) {
            (false, _) => Weight::Path(format!("the path does not begin with '{shown}'")),
            _ if !is_whole && candidate.meets == Meets::Whole => {
                Weight::Path(format!("the path goes on behind '{shown}'"))
            }
            (true, None) => Weight::Host(format!("it is for the host '{host}'")),
            (true, Some(place)) => match candidate.conditions.failing(method, headers, query) {
                Some(condition) => Weight::Condition(condition),
                None => {
                    self.fitting.push(Rank {
                        is_declared,
                        depth: Reverse(shape.depth),
                        host: place,
                        shape: shape.order(),
                        meets: candidate.meets,
                        conditions: Reverse(candidate.conditions.count()),
                        name: Arc::clone(&candidate.name),
                    });
                    return;
                }
            },
        };
        self.others.push((Arc::clone(&candidate.name), against));
    }

    fn finish(mut self, most: usize) -> Weighed {
        self.fitting.sort();
        let nearness = |(name, weight): &(Arc<str>, Weight)| {
            let near = match weight {
                Weight::Chosen => 0,
                Weight::Outranked(_) => 1,
                Weight::Condition(_) => 2,
                Weight::Host(_) => 3,
                Weight::Path(_) => 4,
            };
            (near, Arc::clone(name))
        };
        self.others.sort_by_key(nearness);
        let mut routes: Vec<(Arc<str>, Weight)> = Vec::new();
        for rank in &self.fitting {
            let weight = match self.fitting.first() {
                Some(first) if first != rank => Weight::Outranked(rank.behind(first)),
                _ => Weight::Chosen,
            };
            routes.push((Arc::clone(&rank.name), weight));
        }
        routes.append(&mut self.others);
        // A route for several hosts stands once for each of them; the nearest place says it all.
        let mut seen = std::collections::HashSet::new();
        routes.retain(|(name, _)| seen.insert(Arc::clone(name)));
        let left_out = routes.len().saturating_sub(most);
        routes.truncate(most);
        Weighed { routes, left_out }
    }
}

/// The shape of a path by its key.
fn shape_of(key: &str) -> Shape {
    let mut shape = Shape { depth: 0, mask: 0 };
    for segment in key.split('/').skip(1).take(MAX_DEPTH) {
        if segment == "{}" {
            shape.mask |= 1 << shape.depth;
        }
        shape.depth += 1;
    }
    shape
}
