//! Weighted round robin: each target gets its share exactly, heavy ones not in a row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{Balance, Tried};
use crate::member::Member;

/// How far round robin has come.
#[derive(Debug, Default)]
pub struct Turn(AtomicU32);

/// Weighted round robin over the targets of a service.
#[derive(Debug)]
pub struct RoundRobin {
    /// The sum of the weights up to and with each target.
    sums: Vec<u32>,
    /// Goes through all positions below the sum, far apart, so that heavy targets are not hit in a row.
    stride: u32,
    turn: Arc<Turn>,
}

impl RoundRobin {
    /// Round robin by these weights, which goes on where the turn stands.
    pub fn new(weights: impl IntoIterator<Item = u16>, turn: &Arc<Turn>) -> Self {
        let sum = |sum: &mut u32, weight| {
            *sum += u32::from(weight);
            Some(*sum)
        };
        let sums: Vec<u32> = weights.into_iter().scan(0_u32, sum).collect();
        let total = sums.last().copied().unwrap_or(1).max(1);
        Self { sums, stride: stride(total), turn: Arc::clone(turn) }
    }

    /// The target whose turn this is.
    fn at(&self, turn: u32) -> usize {
        let total = u64::from(self.sums.last().copied().unwrap_or(0).max(1));
        let at = u32::try_from(u64::from(turn) * u64::from(self.stride) % total).unwrap_or(0);
        self.sums.partition_point(|sum| *sum <= at)
    }
}

impl Balance for RoundRobin {
    /// The target whose turn it is, then the others in the order they were declared.
    fn pick(&self, from: &[Member], tried: &Tried) -> Option<usize> {
        let first = match tried.last() {
            None => self.at(self.turn.0.fetch_add(1, Relaxed)),
            Some(last) => last + 1,
        };
        (first..first + from.len()).map(|position| position % from.len()).find(|position| !tried.has(*position))
    }

    fn peek(&self, from: &[Member]) -> Option<usize> {
        let position = self.at(self.turn.0.load(Relaxed));
        (position < from.len()).then_some(position)
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
    use crate::testing::members;

    #[test]
    fn whatever_the_targets_become_the_turn_goes_on() {
        let turn = Arc::<Turn>::default();
        let mut shares = [0; 2];
        for _ in 0..50 {
            // Declared anew before each call.
            let balance = RoundRobin::new([1, 4], &turn);
            shares[balance.pick(&members(&[1, 4]), &Tried::default()).expect("a target")] += 1;
        }
        assert_eq!(shares, [10, 40]);
    }
}
