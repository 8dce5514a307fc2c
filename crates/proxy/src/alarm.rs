//! Time limits on a call's way, kept by its worker: setting one costs no timer and no look at the clock.
//!
//! A worker looks around a few times a second anyway, and then wakes whoever has waited for too long. So a limit ends
//! what it bounds a little late, by up to two looks, and never early.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::worker::{self, LOOK};

thread_local! {
    static ALARMS: RefCell<Alarms> = RefCell::default();
}

/// Those that are waited for on one worker.
#[derive(Default)]
struct Alarms {
    set: Vec<Option<Waiting>>,
    free: Vec<usize>,
}

/// Who is to be woken after a tick.
struct Waiting {
    due: u32,
    waker: Waker,
}

/// Something that takes too long at some time. Takes a place on its worker only when it is waited for.
#[derive(Debug)]
pub struct Alarm {
    due: u32,
    place: Option<usize>,
}

impl Alarm {
    /// Due when so much time has passed from now on.
    pub fn after(limit: Duration) -> Self {
        Self { due: due_after(worker::tick(), limit), place: None }
    }

    /// Due when so much time has passed since this tick.
    pub fn set_after(&mut self, tick: u32, limit: Duration) {
        self.due = due_after(tick, limit);
        if let Some(place) = self.place {
            ALARMS.with_borrow_mut(|alarms| {
                if let Some(waiting) = &mut alarms.set[place] {
                    waiting.due = self.due;
                }
            });
        }
    }

    /// Ready when its time has come.
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        if is_past(worker::tick(), self.due) {
            return Poll::Ready(());
        }
        ALARMS.with_borrow_mut(|alarms| match self.place {
            Some(place) => {
                if let Some(waiting) = &mut alarms.set[place] {
                    waiting.waker.clone_from(context.waker());
                }
            }
            None => {
                let waiting = Some(Waiting { due: self.due, waker: context.waker().clone() });
                self.place = Some(match alarms.free.pop() {
                    Some(place) => {
                        alarms.set[place] = waiting;
                        place
                    }
                    None => {
                        alarms.set.push(waiting);
                        alarms.set.len() - 1
                    }
                });
            }
        });
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        // Dropped outside of the borrow: the last waker of a task takes the task with it.
        let waiting = ALARMS.try_with(|alarms| {
            let mut alarms = alarms.borrow_mut();
            alarms.free.push(place);
            alarms.set[place].take()
        });
        drop(waiting);
    }
}

/// Wakes all whose time has come at this tick. Called by the worker when it looks around.
pub fn ring(tick: u32) {
    // Waking is all that is done, so nobody borrows them a second time meanwhile.
    ALARMS.with_borrow(|alarms| {
        let over = alarms.set.iter().flatten().filter(|waiting| is_past(tick, waiting.due));
        over.for_each(|waiting| waiting.waker.wake_by_ref());
    });
}

/// The last tick at which no more than this has passed: the time of the last look may be one look ago.
fn due_after(tick: u32, limit: Duration) -> u32 {
    let limit = u32::try_from((limit + LOOK).as_millis()).unwrap_or(u32::MAX / 2);
    // Beyond half of the circle the past begins.
    tick.wrapping_add(limit.min(u32::MAX / 2 - 1))
}

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
            for passed in [1_201, 100_000, 2_000_000_000] {
                assert!(is_past(start.wrapping_add(passed), due), "{start} {passed}");
            }
        }
        let longest = due_after(5, Duration::MAX / 2);
        assert!(!is_past(5, longest) && !is_past(2_000_000_000, longest));
    }

    #[test]
    fn those_that_wait_are_woken_and_others_are_not() {
        let (soon, late) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (mut one, mut other) = (Alarm::after(Duration::from_secs(1)), Alarm::after(Duration::from_secs(9)));
        let unheard = Alarm::after(Duration::from_secs(1));
        for (alarm, woken) in [(&mut one, &soon), (&mut other, &late)] {
            let waker = Waker::from(Arc::clone(woken));
            for _ in 0..2 {
                assert!(alarm.poll(&Context::from_waker(&waker)).is_pending());
            }
        }
        let heard = |woken: &Woken| woken.0.load(Relaxed);
        ring(worker::tick() + 1_200);
        assert_eq!((heard(&soon), heard(&late)), (0, 0));
        ring(worker::tick() + 1_201);
        assert_eq!((heard(&soon), heard(&late)), (1, 0));
        one.set_after(worker::tick() + 10_000, Duration::from_secs(1));
        ring(worker::tick() + 10_000);
        assert_eq!((heard(&soon), heard(&late)), (1, 1));
        drop((one, other, unheard));
        ring(worker::tick() + 100_000);
        assert_eq!((heard(&soon), heard(&late)), (1, 1), "nobody waits any more");
        assert_eq!((Arc::strong_count(&soon), Arc::strong_count(&late)), (1, 1));
        ALARMS.with_borrow(|alarms| assert_eq!((alarms.set.len(), alarms.free.len()), (2, 2), "places are used again"));
    }
}
