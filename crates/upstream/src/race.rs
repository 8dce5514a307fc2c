//! Connecting to a name that has several addresses, of which some may be silent (RFC 8305, Happy Eyeballs version 2).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::guard::Guard;
use crate::sockets::{Socket, Sockets};

/// How long an attempt is alone before the next address is tried beside it (RFC 8305 section 8).
const DELAY: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Debug)]
pub enum Lost {
    /// A connection stood, and led back to this gateway.
    Own(SocketAddr),
    /// The last attempt that failed.
    Failed(SocketAddr, io::Error),
    /// There was nothing to try.
    Nowhere,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(address) => write!(f, "{address} is this gateway"),
            Self::Failed(address, error) => write!(f, "{address}: {error}"),
            Self::Nowhere => f.write_str("no address"),
        }
    }
}

/// The addresses in the order in which they are tried: each is the first one in its turn, and the families alternate, so
/// that a family without a way costs one attempt.
pub fn in_turn(addresses: &[IpAddr], turn: usize) -> Vec<IpAddr> {
    let Some(first) = turn.checked_rem(addresses.len()) else { return Vec::new() };
    let (before, from) = addresses.split_at(first);
    let is_of_first = |address: &&IpAddr| address.is_ipv4() == addresses[first].is_ipv4();
    let (same, other): (Vec<&IpAddr>, Vec<&IpAddr>) = from.iter().chain(before).partition(is_of_first);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(same.next().into_iter().chain(other.next()));
    }
    order
}

/// How long each of so many attempts is alone, so that the last one has as much time as any.
fn delay(attempts: usize, within: Duration) -> Duration {
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    DELAY.min(within / attempts.saturating_add(1))
}

/// Connects to the first of these that answers. The next one is tried when one has failed, or has not answered for
/// [`DELAY`], or for less where there would be no time for all of them; whoever loses is closed. The first attempt has the
/// caller's socket, and each beside it one of `sockets`: where none is left, it waits for those before it.
pub async fn race(
    addresses: &[SocketAddr],
    within: Duration,
    guard: &Guard,
    sockets: &Arc<Sockets>,
) -> Result<TcpStream, Lost> {
    let delay = delay(addresses.len(), within);
    let mut waiting = addresses.iter().copied();
    let mut tried = FuturesUnordered::new();
    let mut lost = Lost::Nowhere;
    let mut next_at = Instant::now();
    loop {
        if tried.is_empty() || Instant::now() >= next_at {
            let spare = if tried.is_empty() { None } else { sockets.take_beside() };
            let may_be_tried = tried.is_empty() || spare.is_some();
            match may_be_tried.then(|| waiting.next()).flatten() {
                Some(address) => tried.push(attempt(address, guard, spare)),
                None if tried.is_empty() => return Err(lost),
                None => {}
            }
            next_at = Instant::now() + delay;
        }
        tokio::select! {
            biased;
            Some(ended) = tried.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(why) => {
                    // That it would have been this gateway is what matters most.
                    if !matches!(lost, Lost::Own(_)) {
                        lost = why;
                    }
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {}
        }
    }
}

/// One attempt, with the socket that it has beside the caller's.
async fn attempt(address: SocketAddr, guard: &Guard, _spare: Option<Socket>) -> Result<TcpStream, Lost> {
    let stream = TcpStream::connect(address).await.map_err(|error| Lost::Failed(address, error))?;
    let ends = (stream.local_addr(), stream.peer_addr());
    if let (Ok(local), Ok(remote)) = ends
        && guard.is_own_connection(local, remote)
    {
        return Err(Lost::Own(remote));
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket as RawSocket, Type};
    use tokio::net::TcpListener;

    use super::*;
    use crate::guard::Allow;

    const WITHIN: Duration = Duration::from_secs(5);

    fn guard(own: Vec<SocketAddr>) -> Guard {
        Guard::new(vec![Allow::Loopback], own)
    }

    /// A listener whose queue is full, so that it answers nobody, with what fills it.
    fn silent(ip: &str) -> (SocketAddr, RawSocket, Vec<RawSocket>) {
        let listener = RawSocket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address: SocketAddr = format!("{ip}:0").parse().expect("an address");
        listener.bind(&address.into()).expect("bound");
        listener.listen(0).expect("listens");
        let address = listener.local_addr().expect("an address");
        let fill = || {
            let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("set");
            // It is under way, or fills the queue.
            let _ = socket.connect(&address);
            socket
        };
        let fillers = (0..4).map(|_| fill()).collect();
        (address.as_socket().expect("an address"), listener, fillers)
    }

    async fn listening() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        (listener.local_addr().expect("an address"), listener)
    }

    async fn refusing() -> SocketAddr {
        listening().await.0
    }

    #[test]
    fn every_address_is_first_in_its_turn_and_families_alternate() {
        let addresses: Vec<IpAddr> =
            ["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"].iter().map(|text| text.parse().expect("an IP")).collect();
        for turn in 0..11 {
            let order = in_turn(&addresses, turn);
            assert_eq!(order[0], addresses[turn % 5]);
            let mut sorted = order.clone();
            sorted.sort_unstable_by_key(|ip| addresses.iter().position(|found| found == ip));
            assert_eq!(sorted, addresses, "each is there once");
            for pair in order[..4].windows(2) {
                assert_ne!(pair[0].is_ipv4(), pair[1].is_ipv4(), "{order:?}");
            }
        }
        assert!(in_turn(&[], 3).is_empty());
    }

    #[tokio::test]
    async fn the_first_that_answers_is_connected_to() {
        let (mute, _listener, _fillers) = silent("127.0.0.1");
        let (good, _good) = listening().await;
        let nobody = refusing().await;
        let sockets = Sockets::new(8);
        for addresses in
            [&[mute, good][..], &[good, mute], &[nobody, good], &[nobody, mute, good], &[mute, nobody, good]]
        {
            let stream = race(addresses, WITHIN, &guard(Vec::new()), &sockets).await.expect("connected");
            assert_eq!(stream.peer_addr().expect("an address"), good, "{addresses:?}");
        }
        for _ in 0..8 {
            std::mem::forget(sockets.take(true).expect("losers gave theirs back"));
        }
    }

    #[test]
    fn every_address_is_tried_in_the_time_there_is() {
        assert_eq!(delay(2, WITHIN), DELAY);
        for attempts in [1, 2, 16, 1_000] {
            for within in [Duration::ZERO, Duration::from_millis(50), Duration::from_secs(1), WITHIN, Duration::MAX] {
                let last = u32::try_from(attempts).expect("few");
                assert!(delay(attempts, within).checked_mul(last + 1).expect("soon") <= within);
            }
        }
    }

    #[tokio::test]
    async fn who_fails_says_why_and_the_gateway_itself_is_no_target() {
        let (nobody, (own, _own)) = (refusing().await, listening().await);
        let sockets = Sockets::new(8);
        let lost = race(&[nobody], WITHIN, &guard(Vec::new()), &sockets).await.expect_err("nobody listens");
        assert!(matches!(&lost, Lost::Failed(address, _) if *address == nobody), "{lost}");
        let is_own = guard(vec![own]);
        for addresses in [&[own][..], &[own, nobody], &[nobody, own]] {
            let lost = race(addresses, WITHIN, &is_own, &sockets).await.expect_err("that is the gateway");
            assert!(matches!(lost, Lost::Own(address) if address == own), "{lost}");
        }
        let (good, _good) = listening().await;
        let stream = race(&[own, good], WITHIN, &is_own, &sockets).await.expect("connected");
        assert_eq!(stream.peer_addr().expect("an address"), good);
        assert!(matches!(race(&[], WITHIN, &is_own, &sockets).await, Err(Lost::Nowhere)));
    }

    #[tokio::test]
    async fn without_a_spare_socket_nothing_is_tried_beside_another() {
        let (mute, _listener, _fillers) = silent("127.0.0.1");
        let (good, listener) = listening().await;
        let sockets = Sockets::new(0);
        let guard = guard(Vec::new());
        let addresses = [mute, good];
        let connected = tokio::select! {
            biased;
            raced = race(&addresses, WITHIN, &guard, &sockets) => raced.is_ok(),
            accepted = listener.accept() => accepted.is_ok(),
            () = tokio::time::sleep(DELAY * 3) => false,
        };
        assert!(!connected, "there is no socket for a second attempt");
        let nobody = refusing().await;
        let stream = race(&[nobody, good], WITHIN, &guard, &sockets).await.expect("one after the other");
        assert_eq!(stream.peer_addr().expect("an address"), good);
    }
}
