//! What operators have declared for the virtual hosts (the `Host` that calls ask for) of one set of routes: those for the calls
//! of everybody, or those for the calls of one client.

use std::sync::Arc;

use portcullis_core::table::Table;

use super::{Asked, Candidate, DeclaredPath, Found, Layer, Shape};

/// Declared routes by the hosts they are for.
#[derive(Debug, Clone, Default)]
pub(super) struct HostRoutes {
    /// Routes for declared hosts.
    hosts: Table<Arc<str>, Arc<Layer>>,
    /// Routes for every name below a host: `*.example.com` stands under `.example.com`.
    wildcards: Table<Arc<str>, Arc<Layer>>,
    /// For each number of labels how many wildcards have it.
    wildcard_labels: Vec<u32>,
    has_hosts: bool,
    /// Whether a route has ever been there that does not tell upper from lower case.
    has_folded: bool,
    any: Layer,
}

impl HostRoutes {
    /// Sets or takes out a route by its name.
    pub(super) fn set(&mut self, hosts: &[String], path: &DeclaredPath, name: &str, candidate: Option<&Candidate>) {
        self.has_folded |= path.shape.folded && candidate.is_some();
        if hosts.is_empty() {
            self.any.set(path, name, candidate.cloned());
            return;
        }
        for host in hosts {
            let (table, key) = match host.strip_prefix('*') {
                Some(suffix) => (&mut self.wildcards, suffix),
                None => (&mut self.hosts, host.as_str()),
            };
            let mut layer = table.get(key).map(|layer| layer.as_ref().clone()).unwrap_or_default();
            layer.set(path, name, candidate.cloned());
            let before = table.get(key).is_some();
            let is_left = !layer.is_empty();
            if is_left {
                table.insert(key.into(), Arc::new(layer));
            } else {
                table.remove(key);
            }
            if host.starts_with('*') {
                self.count_wildcard(labels(key), before, is_left);
            }
        }
        self.has_hosts = !self.hosts.is_empty() || !self.wildcards.is_empty();
    }

    fn count_wildcard(&mut self, labels: usize, before: bool, now: bool) {
        if self.wildcard_labels.len() <= labels {
            self.wildcard_labels.resize(labels + 1, 0);
        }
        let count = &mut self.wildcard_labels[labels];
        *count = (*count + u32::from(now)).saturating_sub(u32::from(before));
    }

    /// Whether nothing is declared.
    pub(super) fn is_empty(&self) -> bool {
        self.any.is_empty() && !self.has_hosts
    }

    /// Whether a route has ever been there that does not tell upper from lower case.
    pub(super) fn has_folded(&self) -> bool {
        self.has_folded
    }

    /// The routes of a declared host.
    fn layer(&self, host: &str) -> Option<&Layer> {
        let found = match host.strip_prefix('*') {
            Some(suffix) => self.wildcards.get(suffix),
            None => self.hosts.get(host),
        };
        found.map(AsRef::as_ref)
    }

    /// Whether one more shape has room beside those that are declared for these hosts.
    pub(super) fn has_room(&self, hosts: &[String], shape: Shape) -> bool {
        if hosts.is_empty() {
            return self.any.has_room(shape);
        }
        hosts.iter().filter_map(|host| self.layer(host)).all(|layer| layer.has_room(shape))
    }

    /// The route for a request, but for the fallback.
    pub(super) fn find<'a>(&'a self, asked: &Asked<'_>) -> Option<Found<'a>> {
        if !self.has_hosts {
            return self.any.deepest(asked);
        }
        let of_hosts = self.layers(asked.wanted.host.name());
        let at = |depth| of_hosts.iter().find_map(|layer| layer.find(depth, asked));
        (1..=asked.plain.depth)
            .rev()
            .find_map(|depth| at(depth).or_else(|| self.any.find(depth, asked)))
            .or_else(|| at(0))
    }

    /// The route for every path of every host.
    pub(super) fn fallback<'a>(&'a self, asked: &Asked<'_>) -> Option<Found<'a>> {
        self.any.find(0, asked)
    }

    /// How often a request is looked up at most that asks for none of the declared hosts.
    #[cfg(test)]
    pub(super) fn shapes(&self) -> usize {
        self.any.shapes.iter().count()
    }

    /// The tables a host name is looked up in before that of all: its own, and those of its wildcards, the nearest first.
    ///
    /// Wildcards are looked for from the right, as far as some are declared: a name with more labels than any of them is
    /// found like every other.
    fn layers(&self, name: &str) -> Vec<&Layer> {
        let mut layers = Vec::with_capacity(4);
        layers.extend(self.hosts.get(name).map(AsRef::as_ref));
        let dots = name.bytes().rev().enumerate().filter(|(_, byte)| *byte == b'.');
        let nearest = layers.len();
        for (labels, (behind, _)) in dots.enumerate().take(self.wildcard_labels.len().saturating_sub(1)) {
            if self.wildcard_labels[labels + 1] > 0 {
                let suffix = &name[name.len() - behind - 1..];
                layers.extend(self.wildcards.get(suffix).map(AsRef::as_ref));
            }
        }
        layers[nearest..].reverse();
        layers
    }

    /// Shows every table: its routes, the host it is for (empty: all), and how exact that is for a name, if it is for that.
    pub(super) fn each(&self, name: &str, mut show: impl FnMut(&Layer, &str, Option<usize>)) {
        let layers = self.layers(name);
        let place = |layer: &Layer| layers.iter().position(|held| std::ptr::eq(*held, layer));
        for (host, layer) in self.hosts.iter() {
            show(layer, host, place(layer));
        }
        for (suffix, layer) in self.wildcards.iter() {
            show(layer, &format!("*{suffix}"), place(layer));
        }
        show(&self.any, "", Some(layers.len()));
    }
}

/// How many labels a wildcard's suffix has, like `.example.com`.
fn labels(suffix: &str) -> usize {
    suffix.bytes().filter(|byte| *byte == b'.').count()
}
