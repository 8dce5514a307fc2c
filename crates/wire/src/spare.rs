//! Running out of file descriptors (`EMFILE`). One is kept for that moment: whoever waits to be let in is sent away at once then,
//! and does not wait for others to go.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::net::TcpListener;

/// How long to wait when nothing else helps.
const PAUSE: Duration = Duration::from_millis(50);
/// How many callers are sent away in one go, so that others have their turn.
const AT_ONCE: u64 = 64;
/// How often it is told that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// EMFILE, ENFILE, ENOBUFS and ENOMEM: the process or the system has no more of something.
const NO_MORE: [i32; 4] = [24, 23, 105, 12];

/// The descriptor.
#[derive(Debug)]
pub struct Spare {
    file: Option<File>,
    told: Option<Instant>,
}

impl Default for Spare {
    fn default() -> Self {
        Self::kept()
    }
}

impl Spare {
    /// Opens one.
    pub fn kept() -> Self {
        Self { file: File::open("/dev/null").ok(), told: None }
    }

    /// Deals with a connection that could not be accepted by a listener of this name, and tells of it, not too often. Returns
    /// how many callers were sent away.
    pub async fn relieve(&mut self, listener: &TcpListener, name: &'static str, error: &io::Error) -> u64 {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(%error, listener = name, "a connection could not be accepted");
        }
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            // That caller is gone; the next may be there.
            return 0;
        }
        let mut sent_away = 0;
        if error.raw_os_error().is_some_and(|code| NO_MORE.contains(&code)) {
            self.file = None;
            // Accepted and dropped: one at a time, because the next needs the descriptor again.
            while sent_away < AT_ONCE && matches!(listener.accept().now_or_never(), Some(Ok(_))) {
                sent_away += 1;
            }
            self.file = Self::kept().file;
        }
        if sent_away == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        sent_away
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_sent_away_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let mut callers = Vec::new();
        for _ in 0..3 {
            callers.push(TcpStream::connect(address).await.expect("connects"));
        }
        listener.accept().await.map(drop).expect("one is there, and the listener knows");
        let mut spare = Spare::kept();
        let mut sent_away = 0;
        while sent_away < 2 {
            sent_away += spare.relieve(&listener, "a test", &io::Error::from_raw_os_error(24)).await;
        }
        for mut caller in callers {
            assert_eq!(caller.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
        }
        assert!(spare.file.is_some(), "and kept again");
        assert_eq!(spare.relieve(&listener, "a test", &io::ErrorKind::ConnectionAborted.into()).await, 0);
    }
}
