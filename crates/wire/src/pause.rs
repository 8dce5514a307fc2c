//! Idle timeout and least rate of a body: how long nothing has moved in it, and how slowly it comes.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::alarm::Alarm;
use crate::clock::{self, LOOK};

/// What is wrong with a body that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// Nothing has moved for too long.
    Idle,
    /// It comes too slowly.
    Slow,
}

/// How long a connection that has switched protocols may be silent: what an answer that switches has with it, where the one
/// who has sent it looks after that himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelIdle(pub Duration);

/// The pause in a body that is under way.
pub struct Pause {
    limit: Duration,
    /// Set when there is something to wait for, and moved on only when it rings.
    alarm: Option<Alarm>,
    last: u32,
    pace: Option<Pace>,
}

/// How slowly a body may come: so many bytes for each second in which it was waited for.
struct Pace {
    least: u64,
    bytes: u64,
    /// Milliseconds in which it was waited for.
    waited: u64,
    /// Since when it is waited for.
    since: Option<u32>,
}

impl Pace {
    /// For how much longer nothing may come.
    fn left(&self, grace: Duration, now: u32) -> Duration {
        let earned = self.bytes.saturating_mul(1_000) / self.least;
        let waiting = self.since.map_or(0, |since| now.wrapping_sub(since));
        (grace + Duration::from_millis(earned)).saturating_sub(Duration::from_millis(self.waited + u64::from(waiting)))
    }

    fn moved(&mut self, bytes: u64, now: u32) {
        self.bytes += bytes;
        self.waited += self.since.take().map_or(0, |since| u64::from(now.wrapping_sub(since)));
    }
}

impl Pause {
    /// A pause that begins now and may last this long.
    #[inline]
    pub fn new(limit: Duration) -> Self {
        Self { limit, alarm: None, last: clock::tick(), pace: None }
    }

    /// The same in a body that, once it has been waited for for this long in all, may not have come more slowly than so many
    /// bytes a second; 0 is any.
    #[inline]
    pub fn with_least(limit: Duration, least: u64) -> Self {
        let pace = (least > 0).then_some(Pace { least, bytes: 0, waited: 0, since: None });
        Self { pace, ..Self::new(limit) }
    }

    /// Something has moved.
    #[inline]
    pub fn stir(&mut self) {
        self.stir_by(0);
    }

    /// So many bytes have.
    #[inline]
    pub fn stir_by(&mut self, bytes: u64) {
        self.last = clock::tick();
        if let Some(pace) = &mut self.pace {
            pace.moved(bytes, self.last);
        }
    }

    /// Ready when it has been waited for too long.
    #[inline]
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<TooLong> {
        let now = clock::tick();
        if let Some(pace) = &mut self.pace {
            pace.since.get_or_insert(now);
        }
        let Some(alarm) = &mut self.alarm else {
            let alarm = Alarm::after(self.left(now).0.saturating_sub(LOOK));
            return self.alarm.insert(alarm).poll(context).map(|()| TooLong::Idle);
        };
        ready!(alarm.poll(context));
        match self.left(now) {
            (Duration::ZERO, too_long) => Poll::Ready(too_long),
            (left, too_long) => self.alarm.as_mut().map_or(Poll::Pending, |alarm| {
                alarm.set_after(now, left.saturating_sub(LOOK));
                alarm.poll(context).map(|()| too_long)
            }),
        }
    }

    /// For how much longer nothing may move, and what it is then. By one look more than the limit: what is known as now may be
    /// that long ago.
    fn left(&self, now: u32) -> (Duration, TooLong) {
        let limit = self.limit.saturating_add(LOOK);
        let idle = limit.saturating_sub(Duration::from_millis(u64::from(now.wrapping_sub(self.last))));
        match self.pace.as_ref().map(|pace| pace.left(limit, now)) {
            Some(slow) if slow < idle => (slow, TooLong::Slow),
            _ => (idle, TooLong::Idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// What becomes of a body of which so many bytes come each second, within two minutes: after how many seconds.
    fn ends(least: u64, bytes: u64) -> Option<(u32, TooLong)> {
        let context = Context::from_waker(Waker::noop());
        let start = clock::tick();
        let mut pause = Pause::with_least(Duration::from_secs(30), least);
        let found = (0..1_200).find_map(|look: u32| {
            clock::set(start.wrapping_add(look * 100));
            crate::alarm::ring(clock::tick(), 0);
            if look.is_multiple_of(10) && bytes > 0 {
                pause.stir_by(bytes);
            }
            match pause.poll(&context) {
                Poll::Ready(ended) => Some((look / 10, ended)),
                Poll::Pending => None,
            }
        });
        clock::set(start);
        found
    }

    #[test]
    fn who_is_slower_than_the_least_rate_is_not_waited_for() {
        assert_eq!(ends(240, 240), None);
        assert_eq!(ends(240, 10_000), None);
        assert_eq!(ends(240, 120).map(|(_, ended)| ended), Some(TooLong::Slow));
        let (after, ended) = ends(240, 1).expect("it ends");
        assert!((30..=31).contains(&after) && ended == TooLong::Slow, "{after} {ended:?}");
        assert_eq!(ends(0, 1), None, "any rate will do");
    }

    #[test]
    fn who_says_nothing_is_idle() {
        for least in [0, 240] {
            let (after, ended) = ends(least, 0).expect("it ends");
            assert!((30..=31).contains(&after) && ended == TooLong::Idle, "{after} {ended:?}");
        }
    }
}
