//! A worker's own clock: milliseconds as of its last look around, a few times a second. Whoever asks on a call's way
//! reads a number, and asks the machine for nothing.

use std::cell::Cell;
use std::time::Duration;

/// How often a worker looks at its connections, and its clock moves on.
pub const LOOK: Duration = Duration::from_millis(200);

thread_local! {
    static TICK: Cell<u32> = const { Cell::new(1) };
}

/// This worker's time in milliseconds, as of its last look around. It wraps; differences stay right.
#[inline]
pub fn tick() -> u32 {
    TICK.get()
}

/// Moves this thread's time on, and says what it was.
#[inline]
pub fn set(tick: u32) -> u32 {
    TICK.replace(tick)
}
