//! Which pipeline answers a host and a path: the longest prefix wins.
//!
//! Prefixes stand in one hash table. A path is looked up once for each *depth* (number of segments) at which
//! any prefix stands, deepest first; so the cost of a call does not grow with the number of routes.

use std::sync::Arc;

use portcullis_core::policy::Pipeline;
use portcullis_core::table::Table;

/// The deepest prefix a route can have, in segments.
pub const MAX_DEPTH: usize = 16;

/// How a route's prefix must meet the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// The path is the prefix, with or without a slash behind it.
    Whole,
    /// The path is the prefix or lies below it.
    Below,
}

#[derive(Debug, Clone)]
struct Entry {
    meets: Meets,
    builtin: bool,
    pipeline: Arc<Pipeline>,
}

/// The routing table. Cheap to copy; a copy does not see later changes.
#[derive(Debug, Clone)]
pub struct Routes {
    entries: Table<Arc<str>, Arc<Entry>>,
    /// How many prefixes stand at each depth.
    depths: [u32; MAX_DEPTH + 1],
    /// The hosts built-in routes answer on; all, if empty.
    builtin_hosts: Arc<[String]>,
}

impl Routes {
    /// An empty table. Built-in routes will answer on these hosts only, or on all if there are none.
    pub fn new(builtin_hosts: Vec<String>) -> Self {
        let hosts: Vec<String> = builtin_hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { entries: Table::default(), depths: [0; MAX_DEPTH + 1], builtin_hosts: hosts.into() }
    }

    /// Sets or takes out the route of a prefix. A prefix begins with `/` and does not end with one.
    pub fn set(&mut self, prefix: &str, meets: Meets, builtin: bool, pipeline: Option<Arc<Pipeline>>) {
        let depth = depth_of(prefix);
        let before = match pipeline {
            Some(pipeline) => {
                let former = self.entries.insert(prefix.into(), Arc::new(Entry { meets, builtin, pipeline }));
                self.depths[depth] += 1;
                former
            }
            None => self.entries.remove(prefix),
        };
        if before.is_some() {
            self.depths[depth] -= 1;
        }
    }

    /// The pipeline for a canonical path.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Pipeline>> {
        // Where each prefix of the path ends, by its depth.
        let mut ends = [0_usize; MAX_DEPTH + 1];
        let mut depth = 0;
        let bytes = path.as_bytes();
        for at in memchr::memchr_iter(b'/', bytes).skip(1).chain([bytes.len()]) {
            if depth == MAX_DEPTH {
                break;
            }
            depth += 1;
            ends[depth] = at;
        }
        while depth > 0 {
            if self.depths[depth] > 0
                && let Some(entry) = self.entries.get(&path[..ends[depth]])
                && self.answers(entry, host, &path[ends[depth]..])
            {
                return Some(&entry.pipeline);
            }
            depth -= 1;
        }
        None
    }

    fn answers(&self, entry: &Entry, host: &str, rest: &str) -> bool {
        let meets = entry.meets == Meets::Below || rest.is_empty() || rest == "/";
        let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
        let host_fine = !entry.builtin
            || self.builtin_hosts.is_empty()
            || self.builtin_hosts.iter().any(|allowed| allowed == host || allowed == name);
        meets && host_fine
    }
}

fn depth_of(prefix: &str) -> usize {
    prefix.bytes().filter(|byte| *byte == b'/').count().min(MAX_DEPTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use portcullis_core::call::{Call, Response, RouteFacts};
    use portcullis_core::policy::Endpoint;
    use portcullis_core::refusal::Refusal;

    struct Nothing;

    #[async_trait]
    impl Endpoint for Nothing {
        async fn answer(&self, _: &mut Call) -> Result<Response, Refusal> {
            Err(Refusal::NoRoute)
        }
    }

    fn pipeline(name: &str) -> Arc<Pipeline> {
        let facts = RouteFacts { name: name.into(), service: None, prefix: name.len() };
        Arc::new(Pipeline::new(Arc::new(facts), Vec::new(), Arc::new(Nothing)))
    }

    fn table() -> Routes {
        let mut routes = Routes::new(vec!["gate.example".into()]);
        for prefix in ["/orders/v1", "/orders/v2", "/orders/v1/special"] {
            routes.set(prefix, Meets::Below, false, Some(pipeline(prefix)));
        }
        routes.set("/-/token", Meets::Whole, true, Some(pipeline("/-/token")));
        routes
    }

    fn check(routes: &Routes, host: &str, path: &str, want: Option<&str>) {
        let found = routes.find(host, path).map(|pipeline| pipeline.route.name.as_ref().to_owned());
        assert_eq!(found.as_deref(), want, "{host} {path}");
    }

    #[test]
    fn the_longest_prefix_wins_at_segment_borders() {
        let routes = table();
        for (path, want) in [
            ("/orders/v1", Some("/orders/v1")),
            ("/orders/v1/", Some("/orders/v1")),
            ("/orders/v1/7/items", Some("/orders/v1")),
            ("/orders/v1/special/7", Some("/orders/v1/special")),
            ("/orders/v1/specials", Some("/orders/v1")),
            ("/orders/v10", None),
            ("/orders", None),
            ("/", None),
            ("/x", None),
            (&format!("/orders/v1{}", "/a".repeat(40)), Some("/orders/v1")),
        ] {
            check(&routes, "any", path, want);
        }
    }

    #[test]
    fn built_in_routes_answer_whole_and_on_their_hosts() {
        let routes = table();
        check(&routes, "gate.example", "/-/token", Some("/-/token"));
        check(&routes, "gate.example:6500", "/-/token", Some("/-/token"));
        check(&routes, "other.example", "/-/token", None);
        check(&routes, "gate.example", "/-/token/x", None);
    }

    #[test]
    fn a_route_that_is_taken_out_is_gone_from_the_new_table_only() {
        let before = table();
        let mut after = before.clone();
        after.set("/orders/v2", Meets::Below, false, None);
        check(&before, "any", "/orders/v2/x", Some("/orders/v2"));
        check(&after, "any", "/orders/v2/x", None);
        after.set("/orders/v2", Meets::Below, false, None);
        check(&after, "any", "/orders/v1/x", Some("/orders/v1"));
    }
}
