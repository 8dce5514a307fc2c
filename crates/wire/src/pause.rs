//! Idle timeout of a body: how long nothing has moved in it.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::alarm::Alarm;
use crate::clock;

/// The pause in a body that is under way.
pub struct Pause {
    limit: Duration,
    /// Set when there is something to wait for, and moved on only when it rings.
    alarm: Option<Alarm>,
    last: u32,
}

impl Pause {
    /// A pause that begins now and may last this long.
    #[inline]
    pub fn new(limit: Duration) -> Self {
        Self { limit, alarm: None, last: clock::tick() }
    }

    /// Something has moved.
    #[inline]
    pub fn stir(&mut self) {
        self.last = clock::tick();
    }

    /// Ready when nothing has moved for too long.
    #[inline]
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Alarm::after(self.limit));
        ready!(alarm.poll(context));
        alarm.set_after(self.last, self.limit);
        alarm.poll(context)
    }
}
