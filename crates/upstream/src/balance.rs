//! Which target a call goes to: weighted round robin.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The targets of a service, with how far round robin has come.
#[derive(Debug)]
pub struct Targets<T> {
    targets: Vec<T>,
    /// The sum of the weights up to and with each target.
    sums: Vec<u32>,
    /// Goes through all positions below the sum, far apart, so that heavy targets are not hit in a row.
    stride: u32,
    turn: AtomicU32,
}

impl<T> Targets<T> {
    /// Targets with their weights, in the order they were declared.
    pub fn new(weighted: impl IntoIterator<Item = (T, u16)>) -> Self {
        let (targets, weights): (Vec<T>, Vec<u16>) = weighted.into_iter().unzip();
        let sums: Vec<u32> = weights
            .iter()
            .scan(0_u32, |sum, weight| {
                *sum += u32::from(*weight);
                Some(*sum)
            })
            .collect();
        let total = sums.last().copied().unwrap_or(1).max(1);
        Self { targets, sums, stride: stride(total), turn: AtomicU32::new(0) }
    }

    /// The target whose turn it is, then the others in the order they were declared.
    pub fn choose(&self) -> impl Iterator<Item = &T> {
        self.from(self.turn.fetch_add(1, Relaxed))
    }

    /// What [`Self::choose`] would give now; the turn stays where it is.
    pub fn peek(&self) -> impl Iterator<Item = &T> {
        self.from(self.turn.load(Relaxed))
    }

    fn from(&self, turn: u32) -> impl Iterator<Item = &T> {
        let total = self.sums.last().copied().unwrap_or(0);
        let first = if total == 0 {
            0
        } else {
            let turn = u64::from(turn) * u64::from(self.stride);
            let at = u32::try_from(turn % u64::from(total)).unwrap_or(0);
            self.sums.partition_point(|sum| *sum <= at)
        };
        let (before, after) = self.targets.split_at(first.min(self.targets.len()));
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
        let chooser = Targets::new(weights.iter().copied().enumerate());
        let mut counts = vec![0; weights.len()];
        for _ in 0..calls {
            let next = chooser.peek().next().copied();
            let chosen = chooser.choose().next().expect("a target");
            assert_eq!(next.as_ref(), Some(chosen), "what a look says is what is chosen next");
            counts[*chosen] += 1;
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
        let chooser = Targets::new((0..3).map(|target| (target, 1)));
        for _ in 0..3 {
            let mut all: Vec<_> = chooser.choose().copied().collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2]);
        }
        assert_eq!(Targets::<u8>::new([]).choose().count(), 0);
    }
}
