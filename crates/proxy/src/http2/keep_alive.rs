//! Keep-alive by PING in HTTP/2: a caller that is silent is asked whether it is still there (RFC 9113 section 6.7).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use portcullis_wire::clock;
use tokio::time::{Instant, Sleep};

/// How often a caller that says nothing is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// What asks on one connection.
pub(super) struct KeepAlive {
    pings: PingPong,
    alarm: Pin<Box<Sleep>>,
    asked: bool,
}

impl KeepAlive {
    pub(super) fn new(pings: PingPong) -> Self {
        Self { pings, alarm: Box::pin(tokio::time::sleep(PING)), asked: false }
    }

    /// Ready when the caller has not answered in time; `heard` is the tick at which it last said anything.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, heard: u32) -> Poll<()> {
        if self.asked && self.pings.poll_pong(context).is_ready() {
            self.asked = false;
            self.alarm.as_mut().reset(Instant::now() + PING);
        }
        loop {
            ready!(self.alarm.as_mut().poll(context));
            if self.asked {
                return Poll::Ready(());
            }
            let quiet = Duration::from_millis(clock::tick().wrapping_sub(heard).into());
            // The tick runs a little behind; a second more or less does not matter.
            let wait = match PING.checked_sub(quiet).filter(|left| *left > Duration::from_secs(1)) {
                Some(left) => left,
                None => {
                    self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
                    PONG
                }
            };
            self.alarm.as_mut().reset(Instant::now() + wait);
        }
    }
}
