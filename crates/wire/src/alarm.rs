//! Timeouts on a call's way, kept by its worker: setting one costs no timer and no look at the clock.
//!
//! A worker looks around a few times a second anyway, and then wakes whoever has waited for too long. So a limit ends
//! what it bounds a little late, by up to two looks. Time in which a worker could not look around counts for nobody.

use std::cell::RefCell;
use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::clock::{self, LOOK};

thread_local! {
    /// Those that are waited for on one worker.
    static ALARMS: RefCell<Slab<Waiting>> = const { RefCell::new(Slab::new()) };
}

/// Who is to be woken after a tick.
struct Waiting {
    due: u32,
    /// Woken once, and not again before another time is set.
    has_rung: bool,
    waker: Waker,
}

/// Something that takes too long at some time. Takes a place on its worker only when it is waited for, and is not to leave
/// that worker then.
#[derive(Debug)]
pub struct Alarm {
    due: u32,
    place: Option<usize>,
}

impl Alarm {
    /// Due when so much time has passed from now on.
    #[inline]
    pub fn after(limit: Duration) -> Self {
        Self { due: due_after(clock::tick(), limit), place: None }
    }

    /// Due when so much time has passed since this tick.
    pub fn set_after(&mut self, tick: u32, limit: Duration) {
        self.due = due_after(tick, limit);
        let Some(place) = self.place else { return };
        ALARMS.with_borrow_mut(|alarms| {
            if let Some(waiting) = alarms.get_mut(place) {
                (waiting.due, waiting.has_rung) = (self.due, false);
            }
        });
    }

    /// Ready when its time has come.
    #[inline]
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let tick = clock::tick();
        let Some(place) = self.place else {
            if is_past(tick, self.due) {
                return Poll::Ready(());
            }
            let waiting = Waiting { due: self.due, has_rung: false, waker: context.waker().clone() };
            self.place = Some(ALARMS.with_borrow_mut(|alarms| alarms.insert(waiting)));
            return Poll::Pending;
        };
        // A waker is dropped outside of the borrow: the last one of a task takes the task with it.
        let (polled, _former) = ALARMS.with_borrow_mut(|alarms| match alarms.get_mut(place) {
            Some(waiting) if !waiting.has_rung && !is_past(tick, waiting.due) => {
                let is_other = !waiting.waker.will_wake(context.waker());
                (Poll::Pending, is_other.then(|| mem::replace(&mut waiting.waker, context.waker().clone())))
            }
            _ => (Poll::Ready(()), None),
        });
        polled
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        // Dropped outside of the borrow, as above.
        let waiting = ALARMS.try_with(|alarms| alarms.borrow_mut().try_remove(place));
        drop(waiting);
    }
}

/// Wakes all whose time has come at this tick. Called by the worker when it looks around; `late` is by how much longer it
/// has not looked than it should.
pub fn ring(tick: u32, late: u32) {
    // Waking is all that is done, so nobody borrows them a second time meanwhile.
    ALARMS.with_borrow_mut(|alarms| {
        for (_, waiting) in alarms.iter_mut().filter(|(_, waiting)| !waiting.has_rung) {
            waiting.due = waiting.due.wrapping_add(late);
            if is_past(tick, waiting.due) {
                waiting.has_rung = true;
                waiting.waker.wake_by_ref();
            }
        }
    });
}

/// The last tick at which no more than this has passed: the time of the last look may be one look ago.
fn due_after(tick: u32, limit: Duration) -> u32 {
    let limit = u32::try_from((limit + LOOK).as_millis()).unwrap_or(u32::MAX);
    // Beyond half of the circle the past begins.
    tick.wrapping_add(limit.min(FARTHEST))
}

/// How far ahead an alarm is set at most: 12 days.
const FARTHEST: u32 = u32::MAX / 4;

fn is_past(tick: u32, due: u32) -> bool {
    let age = tick.wrapping_sub(due);
    age != 0 && age <= u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_limit_is_over_when_it_has_passed_whenever_the_last_look_was() {
        for start in [1, 1_000, u32::MAX - 100, u32::MAX] {
            let due = due_after(start, Duration::from_secs(1));
            for passed in [0, 1, 999, 1_000, 1_200] {
                assert!(!is_past(start.wrapping_add(passed), due), "{start} {passed}");
            }
            for passed in [1_201, 100_000, 1_000_000_000] {
                assert!(is_past(start.wrapping_add(passed), due), "{start} {passed}");
            }
        }
        let longest = due_after(5, Duration::MAX / 2);
        assert!(!is_past(5, longest) && !is_past(1_000_000_000, longest));
    }

    #[test]
    fn those_that_wait_are_woken_once_and_others_are_not() {
        let (soon, late) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (mut one, mut other) = (Alarm::after(Duration::from_secs(1)), Alarm::after(Duration::from_secs(9)));
        let unheard = Alarm::after(Duration::from_secs(1));
        let poll = |alarm: &mut Alarm, woken: &Arc<Woken>| {
            let waker = Waker::from(Arc::clone(woken));
            alarm.poll(&Context::from_waker(&waker))
        };
        for (alarm, woken) in [(&mut one, &soon), (&mut other, &late)] {
            assert!(poll(alarm, woken).is_pending() && poll(alarm, woken).is_pending());
        }
        let heard = || (soon.0.load(Relaxed), late.0.load(Relaxed));
        ring(clock::tick() + 1_200, 0);
        assert_eq!(heard(), (0, 0));
        for _ in 0..3 {
            ring(clock::tick() + 1_201, 0);
        }
        assert_eq!(heard(), (1, 0));
        assert!(poll(&mut one, &soon).is_ready() && poll(&mut one, &soon).is_ready());
        one.set_after(clock::tick() + 10_000, Duration::from_secs(1));
        assert!(poll(&mut one, &soon).is_pending());
        ring(clock::tick() + 10_000, 0);
        assert_eq!(heard(), (1, 1));
        ring(clock::tick() + 11_201, 0);
        assert_eq!(heard(), (2, 1), "set anew");
        drop((one, other, unheard));
        ring(clock::tick() + 100_000, 0);
        assert_eq!(heard(), (2, 1), "nobody waits any more");
        assert_eq!((Arc::strong_count(&soon), Arc::strong_count(&late)), (1, 1));
        ALARMS.with_borrow(|alarms| assert!(alarms.is_empty() && alarms.vacant_key() < 2, "places are used again"));
    }

    #[test]
    fn time_without_a_look_counts_for_nobody() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut alarm = Alarm::after(Duration::from_secs(1));
        assert!(alarm.poll(&Context::from_waker(&waker)).is_pending());
        ring(clock::tick() + 60_200, 60_000);
        ring(clock::tick() + 61_200, 0);
        assert_eq!(woken.0.load(Relaxed), 0);
        ring(clock::tick() + 61_201, 0);
        assert_eq!(woken.0.load(Relaxed), 1);
    }

    #[test]
    fn whoever_waits_last_is_woken() {
        let (first, last) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let mut alarm = Alarm::after(Duration::from_secs(1));
        for woken in [&first, &last] {
            let waker = Waker::from(Arc::clone(woken));
            assert!(alarm.poll(&Context::from_waker(&waker)).is_pending());
        }
        ring(clock::tick() + 1_201, 0);
        assert_eq!((first.0.load(Relaxed), last.0.load(Relaxed)), (0, 1));
    }
}
