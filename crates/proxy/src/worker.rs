//! A worker: one thread with a runtime, its own listeners and upstream pools of its own. Workers share no lock on a
//! call's way.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis_core::directory::Directory;
use portcullis_core::network;
use portcullis_core::vital;
use slab::Slab;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::alarm;
use crate::connection::Watch;
use crate::date;
use crate::listen::Listener;
use crate::node::Node;
use crate::routes::{Leads, Wanted};
use crate::serve;
use crate::snapshot::{Inbox, Snapshot, Update};
use crate::spare::Spare;
use crate::tie;
use crate::upstream::pool;

/// How often a worker looks at its connections.
pub const LOOK: Duration = Duration::from_millis(200);
/// The most milliseconds that a socket takes.
pub const MOST_PATIENCE: Duration = Duration::from_millis(i32::MAX as u64);
/// At which of these looks it asks whether callers of long calls are still welcome.
const ASK: u32 = 5;

thread_local! {
    static SNAPSHOT: RefCell<Option<Arc<Snapshot>>> = const { RefCell::new(None) };
    /// The watches on the connections of one worker.
    static CONNECTIONS: RefCell<Slab<Arc<Watch>>> = const { RefCell::new(Slab::new()) };
    static TICK: Cell<u32> = const { Cell::new(1) };
    static DRAINING: Cell<bool> = const { Cell::new(false) };
}

/// This worker's time in milliseconds, as of its last look around.
pub fn tick() -> u32 {
    TICK.get()
}

/// Sets this thread's time.
#[cfg(test)]
pub(crate) fn set_tick(tick: u32) {
    TICK.set(tick);
}

/// Whether this worker is being emptied.
pub fn is_draining() -> bool {
    DRAINING.get()
}

/// The pipeline this worker routes a request to, and how many bytes of its path that has matched.
pub fn find(wanted: &Wanted<'_>) -> Option<Leads> {
    SNAPSHOT.with_borrow(|snapshot| Some(snapshot.as_ref()?.find(wanted)?.into()))
}

/// A watch that this worker looks at, from now until the place is dropped.
pub fn watch() -> (Arc<Watch>, Place) {
    let watch = Watch::new(tick());
    let place = Place::take(&watch);
    (watch, place)
}

/// A place among them; given back when it is dropped.
pub struct Place(usize);

impl Place {
    fn take(watch: &Arc<Watch>) -> Self {
        Self(CONNECTIONS.with_borrow_mut(|connections| connections.insert(Arc::clone(watch))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let watch = CONNECTIONS.with_borrow_mut(|connections| connections.remove(self.0));
        // Outside of the borrow.
        drop(watch);
    }
}

fn for_each_connection(look: impl Fn(&Watch)) {
    // Waking is all that is done, so nobody borrows the list a second time meanwhile.
    CONNECTIONS.with_borrow(|connections| connections.iter().for_each(|(_, watch)| look(watch)));
}

/// Who is let in: connections in all and of each peer. Shared by the workers, touched once a connection.
#[derive(Default)]
pub struct Admission {
    open: AtomicUsize,
    peers: Mutex<std::collections::HashMap<IpAddr, usize>>,
}

/// A connection that was let in.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    peer: IpAddr,
    node: Arc<Node>,
}

impl Admission {
    /// Connections open on all workers.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, node: &Arc<Node>) -> Option<Admitted> {
        // A trusted proxy brings the connections of many; those of its neighbours are not its own.
        let peer = if node.trusts(address) { address.to_canonical() } else { network::of(address) };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = peers.entry(peer).or_insert(0);
        if *of_peer >= node.limits.connections_per_peer && !node.trusts(address) {
            node.counters.connections_refused_peer.add_one();
            return None;
        }
        *of_peer += 1;
        drop(peers);
        self.open.fetch_add(1, Relaxed);
        node.counters.connections_accepted.add_one();
        node.counters.connections_open.up();
        Some(Admitted { admission: Arc::clone(self), peer, node: Arc::clone(node) })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut peers = self.admission.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = peers.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                peers.remove(&self.peer);
            }
        }
        drop(peers);
        self.admission.open.fetch_sub(1, Relaxed);
        self.node.counters.connections_open.down();
    }
}

/// How far the gateway is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    Serving,
    /// Answers say `Connection: close`; new connections are still taken.
    Draining,
    /// No new connections; what is under way is finished.
    Closing,
    /// What is left is cut off.
    Stopping,
}

/// Starts a worker thread.
pub fn start(
    name: String,
    node: Arc<Node>,
    listeners: Vec<Listener>,
    admission: Arc<Admission>,
    inbox: Inbox,
    stage: watch::Receiver<Stage>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build()?;
    let called = name.clone();
    let work = move || {
        // Its own: a count that every call takes part in is not shared between cores.
        let node = Arc::new(node.for_one_worker());
        runtime.block_on(run(node, listeners, admission, inbox, stage));
        // Tasks that are left are dropped here: their calls leave their records.
        runtime.shutdown_timeout(Duration::from_millis(100));
    };
    std::thread::Builder::new().name(name).spawn(move || vital::thread(&called, work))
}

async fn run(
    node: Arc<Node>,
    listeners: Vec<Listener>,
    admission: Arc<Admission>,
    mut inbox: Inbox,
    stage: watch::Receiver<Stage>,
) {
    // Until there is something to route by, callers wait in the kernel's queue.
    let Some(first) = inbox.recv().await else { return };
    take_up(first);
    let taking = async move {
        while let Some(update) = inbox.recv().await {
            take_up(update);
        }
    };
    tokio::spawn(vital::task("a worker's taking up of changes", taking));
    let looking = look_around(Arc::clone(&node), Arc::clone(&admission));
    tokio::spawn(vital::task("a worker's look around", looking));
    let accepting = listeners.into_iter().map(|listener| listen(&node, listener, &admission, stage.clone()));
    futures_util::future::join_all(accepting).await;
    empty(stage).await;
}

/// Takes connections from a listener until no more are to be taken, and those over QUIC beside them.
async fn listen(node: &Arc<Node>, listener: Listener, admission: &Arc<Admission>, stage: watch::Receiver<Stage>) {
    #[cfg(feature = "http3")]
    if let Some(datagrams) = listener.datagrams {
        let listener = Listener { datagrams: None, ..listener };
        let over_quic = crate::http3::accept(node, datagrams, admission, stage.clone());
        futures_util::future::join(accept(node, listener, admission, stage), over_quic).await;
        return;
    }
    accept(node, listener, admission, stage).await;
}

/// Takes connections from a listener until no more are to be taken.
async fn accept(node: &Arc<Node>, listener: Listener, admission: &Arc<Admission>, mut stage: watch::Receiver<Stage>) {
    let Listener { socket, outlives_us, tls, .. } = listener;
    let patience = node.timeouts.body_idle.max(node.timeouts.keep_alive);
    if let Err(error) = watch_over(&socket, patience) {
        tracing::warn!(%error, "a listener does not notice callers that are gone");
    }
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            return vital::lost("a listener of a worker", &format!("it cannot be used: {error}"));
        }
    };
    let mut spare = Spare::kept();
    loop {
        tokio::select! {
            biased;
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow() >= Stage::Closing {
                    break;
                }
                if *stage.borrow() == Stage::Draining {
                    DRAINING.set(true);
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => take(node, admission, stream, peer, tls),
                Err(error) => {
                    let sent_away = spare.relieve(&listener, "data plane", &error).await;
                    node.counters.connections_refused_limit.add(sent_away);
                }
            },
        }
    }
    DRAINING.set(true);
    if !outlives_us {
        // What the kernel has already accepted for us would be lost with the socket.
        while let Some(Ok((stream, peer))) = futures_util::FutureExt::now_or_never(listener.accept()) {
            take(node, admission, stream, peer, tls);
        }
    }
}

/// A caller that is gone without a word while something is on its way to it is noticed after `patience`, though nobody
/// else waits for it. Connections have from their listener what is set here; nothing has to be said for each.
fn watch_over(socket: &std::net::TcpListener, patience: Duration) -> io::Result<()> {
    SockRef::from(socket).set_tcp_user_timeout(Some(patience.min(MOST_PATIENCE)))
}

fn take_up(update: Update) {
    // In one moment: no call of this worker is in between.
    SNAPSHOT.set(Some(update.snapshot));
    Directory::take(update.step);
    // Whoever published may have stopped waiting.
    let _ = update.done.send(());
}

/// Lets every connection end.
async fn empty(mut stage: watch::Receiver<Stage>) {
    loop {
        for_each_connection(Watch::drain);
        let empty = CONNECTIONS.with_borrow(Slab::is_empty);
        if empty || *stage.borrow() >= Stage::Stopping {
            return;
        }
        tokio::select! {
            changed = stage.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

fn take(node: &Arc<Node>, admission: &Arc<Admission>, stream: TcpStream, peer: SocketAddr, tls: bool) {
    if admission.open() >= node.limits.connections {
        node.counters.connections_refused_limit.add_one();
        return;
    }
    let Some(admitted) = admission.admit(peer.ip(), node) else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let (watch, place) = watch();
    let node = Arc::clone(node);
    tokio::spawn(async move {
        serve::connection(node, stream, peer, watch, tls).await;
        drop((place, admitted));
    });
}

/// Moves this worker's clock on, and ends what has taken too long.
async fn look_around(node: Arc<Node>, admission: Arc<Admission>) {
    let start = Instant::now();
    let when_crowded = node.timeouts.when_crowded();
    // From seven eighths on, those who do nothing make room for those who come.
    let crowded = node.limits.connections - node.limits.connections / 8;
    let mut looks = 0_u32;
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Wraps after 49 days; differences stay right.
        #[expect(clippy::cast_possible_truncation, reason = "only differences of ticks are looked at")]
        let now = (start.elapsed().as_millis() as u32).max(1);
        // What a look is late by, because the worker was busy or its machine stood still.
        let late = now.wrapping_sub(TICK.replace(now)).saturating_sub(2 * LOOK.as_millis() as u32);
        // So that those who know no clock find it.
        date::now(&node);
        let timeouts = if admission.open() >= crowded { &when_crowded } else { &node.timeouts };
        for_each_connection(|watch| watch.judge(now, timeouts));
        alarm::ring(now, late);
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(ASK) {
            tie::ask(&node);
        }
        pool::sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Limits, testing};

    /// Connections of which as many as may be are let in, one after the other.
    fn admitted(node: &Arc<Node>, peers: &[&str]) -> usize {
        let admission = Arc::<Admission>::default();
        let admit = |peer: &&str| admission.admit(peer.parse().expect("an address"), node);
        peers.iter().filter_map(admit).collect::<Vec<_>>().len()
    }

    #[test]
    fn connections_are_counted_by_whom_an_address_stands_for() {
        let limits = Limits { connections_per_peer: 2, ..Limits::default() };
        let trusted_proxies = vec!["2001:db8:9::7/128".parse().expect("a network")];
        let node = Arc::new(Node { limits, trusted_proxies, ..testing::node() });
        for (let_in, peers) in [
            (2, &["192.0.2.7", "192.0.2.7", "192.0.2.7"][..]),
            (2, &["192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.7"]),
            (3, &["192.0.2.7", "192.0.2.7", "192.0.2.8"]),
            (2, &["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:0:ffff::1"]),
            (3, &["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8::4"]),
            // A proxy that is trusted brings the connections of many, and takes none of its neighbours'.
            (
                5,
                &["2001:db8:9::7", "2001:db8:9::7", "2001:db8:9::7", "2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::3"],
            ),
        ] {
            assert_eq!(admitted(&node, peers), let_in, "{peers:?}");
        }
    }

    #[test]
    fn a_place_is_given_back_to_whom_it_was_taken_from() {
        let limits = Limits { connections_per_peer: 1, ..Limits::default() };
        let node = Arc::new(Node { limits, ..testing::node() });
        let admission = Arc::<Admission>::default();
        let admit = |peer: &str| admission.admit(peer.parse().expect("an address"), &node);
        let first = admit("2001:db8::1").expect("let in");
        assert!(admit("2001:db8::2").is_none());
        drop(first);
        assert!(admit("2001:db8::2").is_some());
        assert!(admission.peers.lock().expect("no panic").is_empty() && admission.open() == 0);
    }

    #[tokio::test]
    async fn connections_have_from_their_listener_when_a_caller_is_given_up() {
        for patience in [Duration::from_secs(75), Duration::from_secs(100 * 365 * 86_400)] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            watch_over(&listener, patience).expect("set");
            let _caller = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
            let (accepted, _) = listener.accept().expect("accepted");
            let found = SockRef::from(&accepted).tcp_user_timeout().expect("an option");
            assert_eq!(found, Some(patience.min(MOST_PATIENCE)));
        }
    }
}
