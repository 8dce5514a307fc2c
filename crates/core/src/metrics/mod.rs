//! What is counted while the gateway runs, and how it is written for Prometheus.
//!
//! What every call counts is counted in a shard of its worker's own ([`Shards`]), so that no two workers write to one
//! place; whoever reads adds the shards up. Labels are bounded where they are given out ([`Family`], [`Texts`]): what
//! comes beyond the bound shares one place, which is told as `other`.

mod family;
mod histogram;
pub mod text;

use std::sync::atomic::{AtomicU64, Ordering};

pub use family::{Cells, Family, Labels, Shard, Shards, Slot, Texts};
pub use histogram::{BOUNDS, Histogram, Observed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    #[inline]
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Counts several.
    #[inline]
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down: how many of something there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less. Every call is paired with an [`up`](Self::up) before it.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
