//! How long things took, in classic buckets.

use std::time::Duration;

use super::Counter;

/// The upper bounds of the buckets in nanoseconds, with their `le` in seconds. What is longer falls in the last bucket, `+Inf`.
pub const BOUNDS: [(u64, &str); 14] = [
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (60_000_000_000, "60"),
];

/// Durations, counted by how long they were.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    /// Counts one.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let nanos = duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()));
        let at = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add_one();
        }
        self.nanos.add(nanos);
    }

    /// Adds what it holds to a sum.
    pub fn add_to(&self, sum: &mut Observed) {
        for (sum, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        sum.nanos = sum.nanos.wrapping_add(self.nanos.get());
    }
}

/// What histograms have counted, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// How many fell in each bucket, and in no smaller one.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// How long all of them took together.
    pub nanos: u64,
}

impl Observed {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_in_the_first_bucket_that_holds_it() {
        for (position, (nanos, le)) in BOUNDS.into_iter().enumerate() {
            let seconds: f64 = le.parse().expect("a number");
            assert!((seconds * 1e9 - nanos as f64).abs() < 1e-3, "{le}");
            let histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(nanos));
            histogram.observe(Duration::from_nanos(nanos + 1));
            let mut sum = Observed::default();
            histogram.add_to(&mut sum);
            assert_eq!((sum.buckets[position], sum.buckets[position + 1], sum.count()), (1, 1, 2), "{le}");
            assert_eq!(sum.nanos, 2 * nanos + 1);
        }
        let histogram = Histogram::default();
        histogram.observe(Duration::ZERO);
        histogram.observe(Duration::MAX);
        let mut sum = Observed::default();
        histogram.add_to(&mut sum);
        assert_eq!((sum.buckets[0], sum.buckets[BOUNDS.len()]), (1, 1));
    }
}
