//! How long nothing has moved in a body: a limit that costs a timer only where there is something to wait for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use crate::worker;

/// The pause in a body that is under way.
pub struct Pause {
    limit: Duration,
    /// Made when there is something to wait for, and moved on only when it fires.
    alarm: Option<Pin<Box<Sleep>>>,
    last: u32,
}

impl Pause {
    /// A pause that begins now and may last this long.
    pub fn new(limit: Duration) -> Self {
        Self { limit, alarm: None, last: worker::tick() }
    }

    /// Something has moved.
    pub fn stir(&mut self) {
        self.last = worker::tick();
    }

    /// Ready when nothing has moved for too long.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        loop {
            ready!(alarm.as_mut().poll(context));
            let quiet = Duration::from_millis(worker::tick().wrapping_sub(self.last).into());
            match self.limit.checked_sub(quiet) {
                // The tick runs a little behind; a remainder that short is none.
                Some(left) if left > Duration::from_millis(400).min(self.limit / 2) => {
                    alarm.as_mut().reset(tokio::time::Instant::now() + left);
                }
                _ => return Poll::Ready(()),
            }
        }
    }
}
