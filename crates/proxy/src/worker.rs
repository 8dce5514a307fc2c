//! A worker: one thread with a runtime, its own listeners and upstream pools of its own. Workers share no lock on a
//! call's way.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis_core::vital;
use portcullis_routing::snapshot::{SnapshotReceiver, take_up};
use portcullis_telemetry::Connections;
use portcullis_upstream::pool;
use portcullis_wire::alarm;
use portcullis_wire::clock::{self, LOOK};
use portcullis_wire::date;
use portcullis_wire::spare::Spare;
use portcullis_wire::stream::MOST_PATIENCE;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::connection::ConnectionState;
use crate::connections;
use crate::listen::Listener;
use crate::node::Node;
use crate::revocation;
use crate::serve;
use crate::stage::{self, Stage};

/// At which of the worker's looks it asks whether callers of long calls are still welcome.
const ASK: u32 = 5;

/// Starts a worker thread.
pub fn start(
    name: String,
    node: Arc<Node>,
    listeners: Vec<Listener>,
    admission: Arc<Admission>,
    snapshots: SnapshotReceiver,
    stage: watch::Receiver<Stage>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build()?;
    let called = name.clone();
    let work = move || {
        // Its own: a count that every call takes part in is not shared between cores.
        let node = Arc::new(node.for_one_worker());
        runtime.block_on(run(node, listeners, admission, snapshots, stage));
        // Tasks that are left are dropped here: their calls leave their records.
        runtime.shutdown_timeout(Duration::from_millis(100));
    };
    std::thread::Builder::new().name(name).spawn(move || vital::thread(&called, work))
}

async fn run(
    node: Arc<Node>,
    listeners: Vec<Listener>,
    admission: Arc<Admission>,
    mut snapshots: SnapshotReceiver,
    stage: watch::Receiver<Stage>,
) {
    // Until there is something to route by, callers wait in the kernel's queue.
    let Some(first) = snapshots.recv().await else { return };
    take_up(first);
    let taking = async move {
        while let Some(update) = snapshots.recv().await {
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
            reached = stage::reached(&mut stage) => match reached {
                Stage::Serving => {}
                Stage::Draining => stage::drain(),
                Stage::Closing | Stage::Stopping => break,
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => take(node, admission, stream, peer, tls),
                Err(error) => {
                    let sent_away = spare.relieve(&listener, "data plane", &error).await;
                    node.counters.connections_refused_limit.add(sent_away);
                }
            },
        }
    }
    stage::drain();
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

/// Lets every connection end.
async fn empty(mut stage: watch::Receiver<Stage>) {
    loop {
        connections::for_each(ConnectionState::drain);
        if connections::are_none() || *stage.borrow() >= Stage::Stopping {
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
    let (watch, place) = connections::register();
    let node = Arc::clone(node);
    tokio::spawn(async move {
        serve::connection(node, stream, peer, watch, tls).await;
        drop((place, admitted));
    });
}

/// Tells whoever asks of the connections to targets, which only this worker knows.
fn tell_connections(told: &Mutex<Vec<Connections>>) {
    let connections = pool::figures().into_iter().map(|figures| Connections {
        target: figures.target,
        open: figures.open as u64,
        idle: figures.idle as u64,
        waiting: figures.waiting as u64,
    });
    let connections = connections.collect();
    *told.lock().unwrap_or_else(PoisonError::into_inner) = connections;
}

/// Moves this worker's clock on, and ends what has taken too long.
async fn look_around(node: Arc<Node>, admission: Arc<Admission>) {
    let start = Instant::now();
    let when_crowded = node.timeouts.when_crowded();
    // From seven eighths on, those who do nothing make room for those who come.
    let crowded = node.limits.connections - node.limits.connections / 8;
    let mut looks = 0_u32;
    let told = node.counters.calls.targets.connections();
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Wraps after 49 days; differences stay right.
        #[expect(clippy::cast_possible_truncation, reason = "only differences of ticks are looked at")]
        let now = (start.elapsed().as_millis() as u32).max(1);
        // What a look is late by, because the worker was busy or its machine stood still.
        let late = now.wrapping_sub(clock::set(now)).saturating_sub(2 * LOOK.as_millis() as u32);
        // So that those who know no clock find it.
        date::now(node.clock.as_ref());
        let timeouts = if admission.open() >= crowded { &when_crowded } else { &node.timeouts };
        connections::for_each(|watch| watch.judge(now, timeouts));
        alarm::ring(now, late);
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(ASK) {
            revocation::ask(&node);
            tell_connections(&told.0);
        }
        pool::sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
