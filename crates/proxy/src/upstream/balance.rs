//! Which target a call goes to: weighted round robin.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use portcullis_core::model::{Target, TargetUrl};

/// The targets of a service, with how far round robin has come.
#[derive(Debug)]
pub struct Targets {
    urls: Vec<TargetUrl>,
    /// The sum of the weights up to and with each target.
    sums: Vec<u32>,
    /// Goes through all positions below the sum, far apart, so that heavy targets are not hit in a row.
    stride: u32,
    turn: AtomicU32,
}

impl Targets {
    /// Targets in the order they were declared.
    pub fn new(targets: &[Target]) -> Self {
        let sums: Vec<u32> = targets
            .iter()
            .scan(0_u32, |sum, target| {
                *sum += u32::from(target.weight);
                Some(*sum)
            })
            .collect();
        let total = sums.last().copied().unwrap_or(1).max(1);
        Self {
            urls: targets.iter().map(|target| target.url.clone()).collect(),
            sums,
            stride: stride(total),
            turn: AtomicU32::new(0),
        }
    }

    /// The target whose turn it is, then the others in the order they were declared.
    pub fn choose(&self) -> impl Iterator<Item = &TargetUrl> {
        self.from(self.turn.fetch_add(1, Relaxed))
    }

    /// What [`Self::choose`] would give now; the turn stays where it is.
    pub fn peek(&self) -> impl Iterator<Item = &TargetUrl> {
        self.from(self.turn.load(Relaxed))
    }

    fn from(&self, turn: u32) -> impl Iterator<Item = &TargetUrl> {
        let total = self.sums.last().copied().unwrap_or(0);
        let first = if total == 0 {
            0
        } else {
            let turn = u64::from(turn) * u64::from(self.stride);
            let at = u32::try_from(turn % u64::from(total)).unwrap_or(0);
            self.sums.partition_point(|sum| *sum <= at)
        };
        let (before, after) = self.urls.split_at(first.min(self.urls.len()));
        after.iter().chain(before)
    }
}

/// A step near the golden section of the total that has no divisor in common with it.
fn stride(total: u32) -> u32 {
    let near = (f64::from(total) * 0.618_033_988) as u32;
    (near.max(1)..=total).find(|step| gcd(*step, total) == 1).unwrap_or(1)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(weights: &[u16], calls: usize) -> Vec<usize> {
        let targets: Vec<Target> = weights
            .iter()
            .enumerate()
            .map(|(at, weight)| Target {
                url: format!("http://t{at}/").parse().expect("well formed"),
                weight: *weight,
                instance: None,
            })
            .collect();
        let chooser = Targets::new(&targets);
        let mut counts = vec![0; weights.len()];
        for _ in 0..calls {
            let next = chooser.peek().next().cloned();
            let chosen = chooser.choose().next().expect("a target");
            assert_eq!(next.as_ref(), Some(chosen), "what a look says is what is chosen next");
            counts[targets.iter().position(|target| target.url == *chosen).expect("one of them")] += 1;
        }
        counts
    }

    #[test]
    fn each_target_gets_its_share_exactly() {
        assert_eq!(counts(&[1], 5), [5]);
        assert_eq!(counts(&[1, 1, 1], 9), [3, 3, 3]);
        assert_eq!(counts(&[1, 2, 7], 100), [10, 20, 70]);
        assert_eq!(counts(&[1000, 1], 2_002), [2000, 2]);
    }

    #[test]
    fn all_others_come_behind_the_chosen_one() {
        let targets: Vec<Target> = (0..3)
            .map(|at| Target { url: format!("http://t{at}/").parse().expect("well formed"), weight: 1, instance: None })
            .collect();
        let chooser = Targets::new(&targets);
        for _ in 0..3 {
            let mut all: Vec<_> = chooser.choose().map(ToString::to_string).collect();
            all.sort();
            assert_eq!(all, ["http://t0", "http://t1", "http://t2"]);
        }
        assert_eq!(Targets::new(&[]).choose().count(), 0);
    }
}
