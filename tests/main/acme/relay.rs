//! A port that is known before the gateway has one of its own: it leads there as soon as it is told.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// The port. It lives as long as the test's process.
pub(super) struct Relay {
    port: u16,
    target: Arc<(Mutex<Option<SocketAddr>>, Condvar)>,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    pub(super) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let relay = Self { port, target: Arc::default(), connections: Arc::default() };
        let (target, connections) = (Arc::clone(&relay.target), Arc::clone(&relay.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, SeqCst);
                let target = Arc::clone(&target);
                std::thread::spawn(move || pass(&stream, &target));
            }
        });
        relay
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Leads there from now on; who has come before has waited.
    pub(super) fn lead_to(&self, target: SocketAddr) {
        *self.target.0.lock().expect("not poisoned") = Some(target);
        self.target.1.notify_all();
    }

    /// How many have come.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

fn pass(stream: &TcpStream, target: &(Mutex<Option<SocketAddr>>, Condvar)) {
    let (known, told) = target;
    let waiting = known.lock().expect("not poisoned");
    let (known, _) = told.wait_timeout_while(waiting, Duration::from_secs(20), |known| known.is_none()).expect("fine");
    let Some(address) = *known else { return };
    drop(known);
    let Ok(gateway) = TcpStream::connect(address) else { return };
    std::thread::scope(|scope| {
        for (mut from, mut to) in [(stream, &gateway), (&gateway, stream)] {
            scope.spawn(move || {
                // Whoever breaks off is done.
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    });
}
