//! Load balancing: to which target of a service the next attempt of a call goes. One file per algorithm.
//!
//! An algorithm is made anew whenever the targets are declared anew, and prepares what it needs to know of them. What it
//! remembers from call to call belongs to the cluster and is handed to it ([`Memory`]).

pub mod round_robin;

use std::sync::Arc;

use round_robin::Turn;

use crate::member::Member;

/// The most targets one call tries.
pub const MOST_TRIED: usize = 3;

/// An algorithm. It tells targets by their positions in the order they were declared.
pub trait Balance: Send + Sync {
    /// The target for the next attempt of a call, out of those that it has not tried. None if there are no more.
    fn pick(&self, from: &[Member], tried: &Tried) -> Option<usize>;

    /// The target [`Self::pick`] would give to a new call now. It takes nobody's turn.
    fn peek(&self, from: &[Member]) -> Option<usize>;
}

/// What algorithms remember of a cluster from call to call, whatever its targets are meanwhile.
#[derive(Debug, Default)]
pub struct Memory {
    /// How far round robin has come.
    pub turn: Arc<Turn>,
}

/// The targets that a call has tried, in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    positions: [u16; MOST_TRIED],
    count: u8,
}

impl Tried {
    /// Adds one. Beyond [`MOST_TRIED`] nothing is added.
    pub fn add(&mut self, position: usize) {
        if let Some(next) = self.positions.get_mut(usize::from(self.count)) {
            *next = u16::try_from(position).unwrap_or(u16::MAX);
            self.count += 1;
        }
    }

    /// Whether a call tries no more than these.
    pub fn is_full(&self) -> bool {
        self.all().len() == MOST_TRIED
    }

    /// Whether this one was tried.
    pub fn has(&self, position: usize) -> bool {
        self.all().iter().any(|tried| usize::from(*tried) == position)
    }

    /// The one that was tried last.
    pub fn last(&self) -> Option<usize> {
        self.all().last().copied().map(usize::from)
    }

    fn all(&self) -> &[u16] {
        self.positions.get(..usize::from(self.count)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::round_robin::RoundRobin;
    use super::*;
    use crate::testing::members;

    fn counts(weights: &[u16], calls: usize) -> Vec<usize> {
        let members = members(weights);
        let balance = RoundRobin::new(weights.iter().copied(), &Arc::default());
        let mut counts = vec![0; weights.len()];
        for _ in 0..calls {
            let next = balance.peek(&members);
            let chosen = balance.pick(&members, &Tried::default());
            assert_eq!(next, chosen, "what a look says is what is chosen next");
            counts[chosen.expect("a target")] += 1;
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

    /// The targets one call tries, in order.
    fn tried(balance: &dyn Balance, members: &[Member]) -> Vec<usize> {
        let mut tried = Tried::default();
        let next = || {
            let next = balance.pick(members, &tried).filter(|_| !tried.is_full());
            next.inspect(|next| tried.add(*next))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn all_others_come_behind_the_chosen_one() {
        let balance = |weights: &[u16]| RoundRobin::new(weights.iter().copied(), &Arc::default());
        let three = balance(&[1, 1, 1]);
        let firsts: Vec<_> = (0..3).map(|_| tried(&three, &members(&[1, 1, 1]))).collect();
        assert_eq!(firsts, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(tried(&balance(&[1, 1]), &members(&[1, 1])), [0, 1]);
        assert!(tried(&balance(&[]), &[]).is_empty() && balance(&[]).peek(&[]).is_none());
        assert_eq!(tried(&balance(&[1; 9]), &members(&[1; 9])).len(), MOST_TRIED);
    }
}
