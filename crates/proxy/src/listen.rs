//! Taking an address: exclusively first, then shared among the workers, a `SO_REUSEPORT` listener for each. Or
//! taking over the sockets that whoever has started this process listens on already (see [`crate::inherit`]).

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections the kernel holds for us until we accept them.
const BACKLOG: i32 = 4_096;

/// What one worker accepts connections from.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Whether somebody else holds it open too: connections that are not accepted yet are then for the next process,
    /// and not lost when this one ends.
    pub outlives_us: bool,
    /// Whether connections begin with a TLS handshake.
    pub tls: bool,
    /// Where connections over QUIC come in beside them.
    pub datagrams: Option<UdpSocket>,
}

impl Listener {
    /// The same, with TLS.
    #[must_use]
    pub fn with_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// The same, with QUIC beside it.
    #[must_use]
    pub fn with_datagrams(self, datagrams: UdpSocket) -> Self {
        Self { datagrams: Some(datagrams), ..self }
    }
}

/// Listeners on one address, a worker each; the kernel spreads connections over them.
///
/// The first one is bound without sharing, so that a second gateway is told that the address is taken instead of
/// silently getting half of the connections. It is kept and only then opened to the others, so that there is no
/// moment in which somebody else could do the same. Port 0 takes a free one.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<Listener>)> {
    let first = socket(address, false)?;
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    first.set_reuse_port(true)?;
    let others = (1..workers.max(1)).map(|_| socket(address, true));
    let all: Vec<Socket> = std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?;
    let listeners = all.into_iter().map(|socket| Listener {
        socket: socket.into(),
        outlives_us: false,
        tls: false,
        datagrams: None,
    });
    Ok((address, listeners.collect()))
}

/// Sockets for datagrams on one address, a worker each; the kernel chooses one by the sender's address. As with [`bind`]
/// nobody else gets a share of them.
pub fn bind_datagrams(address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    let socket = |shared: bool| {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let first = socket(false)?;
    first.set_reuse_port(true)?;
    let others = (1..workers.max(1)).map(|_| socket(true).map(UdpSocket::from));
    std::iter::once(Ok(first.into())).chain(others).collect()
}

/// Handles on one socket that was passed in, a worker each; whoever is first takes a connection.
pub fn share(socket: &TcpListener, workers: usize) -> io::Result<(SocketAddr, Vec<Listener>)> {
    if !SockRef::from(socket).is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket that was passed in does not listen"));
    }
    socket.set_nonblocking(true)?;
    let listeners = (0..workers.max(1))
        .map(|_| Ok(Listener { socket: socket.try_clone()?, outlives_us: true, tls: false, datagrams: None }));
    Ok((socket.local_addr()?, listeners.collect::<io::Result<_>>()?))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a former process that linger in TIME_WAIT do not hold the address. A port that the kernel
    // chooses has none, and must not be one that somebody has bound and not yet listened on.
    socket.set_reuse_address(address.port() != 0)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    // Binding alone is not refused where another socket has bound with SO_REUSEADDR; listening is.
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpStream;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn an_address_that_is_taken_is_not_shared() {
        let (address, first) = bind(([127, 0, 0, 1], 0).into(), 2).expect("a free port");
        assert_eq!(first.len(), 2);
        let error = bind(address, 2).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(address, 1).expect("free again");
    }

    #[test]
    fn datagrams_of_one_sender_come_to_one_worker_and_nobody_else_gets_them() {
        let (address, _held) = bind(([127, 0, 0, 1], 0).into(), 1).expect("a free port");
        let sockets = bind_datagrams(address, 3).expect("free");
        assert_eq!(sockets.len(), 3);
        assert_eq!(bind_datagrams(address, 1).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        let senders: Vec<_> = (0..60).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port")).collect();
        for sender in &senders {
            for _ in 0..2 {
                sender.send_to(b"x", address).expect("sent");
            }
        }
        let got = |socket: &UdpSocket| -> Vec<SocketAddr> {
            std::iter::from_fn(|| socket.recv_from(&mut [0]).ok()).map(|(_, from)| from).collect()
        };
        let got: Vec<Vec<SocketAddr>> = sockets.iter().map(got).collect();
        assert_eq!(got.iter().map(Vec::len).sum::<usize>(), 120);
        for sender in senders.iter().map(|sender| sender.local_addr().expect("an address")) {
            let of_sender = |got: &Vec<SocketAddr>| got.iter().filter(|from| **from == sender).count();
            assert!(got.iter().map(of_sender).all(|count| count == 0 || count == 2), "{sender}");
        }
        assert!(got.iter().all(|got| !got.is_empty()), "they are spread");
    }

    #[test]
    fn of_many_that_start_at_once_one_has_the_address() {
        let free = || bind(([127, 0, 0, 1], 0).into(), 1).expect("a free port").0;
        let mut winners = 0;
        for _ in 0..200 {
            let address = free();
            let start = Barrier::new(4);
            let race = || {
                start.wait();
                bind(address, 2)
            };
            let bound: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
                threads.into_iter().filter_map(|thread| thread.join().expect("no panic").ok()).collect()
            });
            assert!(bound.len() <= 1, "{} share {address}", bound.len());
            winners += bound.len();
        }
        assert!(winners > 0, "it is not given to nobody");
    }

    #[test]
    fn free_ports_are_given_out_once() {
        let start = Barrier::new(4);
        let take = || {
            start.wait();
            (0..100).map(|_| bind(([127, 0, 0, 1], 0).into(), 2).expect("a free port")).collect::<Vec<_>>()
        };
        let taken: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let addresses: HashSet<_> = taken.iter().map(|(address, _)| *address).collect();
        assert_eq!(addresses.len(), taken.len());
    }

    #[test]
    fn connections_are_spread_over_the_listeners() {
        let (address, listeners) = bind(([127, 0, 0, 1], 0).into(), 3).expect("a free port");
        let clients: Vec<_> = (0..90).map(|_| TcpStream::connect(address).expect("connects")).collect();
        let got: Vec<_> = listeners.iter().map(|all| std::iter::from_fn(|| all.socket.accept().ok()).count()).collect();
        assert_eq!(got.iter().sum::<usize>(), clients.len());
        assert!(got.iter().all(|count| *count > 0), "{got:?}");
    }

    #[test]
    fn a_socket_that_was_passed_in_is_shared() {
        let passed = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, listeners) = share(&passed, 3).expect("it listens");
        assert_eq!((address, listeners.len()), (passed.local_addr().expect("an address"), 3));
        drop(TcpStream::connect(address).expect("connects"));
        let of_one = |listener: &Listener| listener.socket.accept().is_ok();
        while !listeners.iter().any(of_one) {}
        let error = listeners[0].socket.accept().expect_err("there was one connection, and nobody waits");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mute = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        assert!(share(&mute.into(), 1).is_err(), "it does not listen");
    }
}
