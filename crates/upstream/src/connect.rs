//! Opening a connection to a target: resolve, ask the guard, connect, prove who it is where that is TLS, shake hands.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_core::model::TargetUrl;
use portcullis_wire::stream::MOST_PATIENCE;
use portcullis_wire::stream::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Class, Failed, Sent};
use crate::backend::Backend;
use crate::bell::Bell;
use crate::connection::{Connection, LAST_WORDS};
use crate::counting_io::{CountingIo, Counts};
use crate::guard::{Forbidden, Guard, literal};
use crate::http2::shared::Shared;
use crate::http2::{self, Silent};
use crate::names::Names;
use crate::pool::Slot;
use crate::pool_key::Spoken;
use crate::race::{Lost, race};
use crate::settings::Settings;
use crate::sockets::Sockets;
use crate::traffic::timeouts::{Limit, Which};

/// After how much silence a target's machine is asked whether it is there, how often again, and how many times.
const QUIET: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Bytes to a target that the kernel holds before they are on their way.
const UNSENT: u32 = 128 << 10;

/// A connection that has just been opened.
pub enum Opened {
    /// For one call after another.
    Http1(Connection),
    /// For many at once.
    Http2(Shared),
}

/// Opens a connection. The slot is held by the task that drives it, until it is closed.
pub async fn connect(settings: &Settings, backend: &Backend, slot: Slot) -> Result<Opened, Failed> {
    let limit = settings.connect_limit();
    let deadline = Instant::now() + limit.time;
    let opened = connect_until(deadline, limit, settings, backend, slot).await;
    opened.map_err(|failed| if Instant::now() < deadline { failed } else { failed.late(limit.time) })
}

async fn connect_until(
    deadline: Instant,
    limit: Limit,
    settings: &Settings,
    backend: &Backend,
    slot: Slot,
) -> Result<Opened, Failed> {
    let target = &backend.url;
    let spoken = slot.key().spoken;
    let late = limit.told(Which::Connect);
    let generation = backend.generation();
    let (guard, sockets, names) = (&settings.guard, &settings.sockets, &settings.names);
    let opened = timeout_at(deadline, open(guard, sockets, names, limit.time, target)).await;
    let stream = opened.map_err(|_| unreachable(target, format!("no connection in time; {late}")))??;
    stream.set_nodelay(true).map_err(|error| unreachable(target, error))?;
    let watched = watch_over(&stream, settings.first_byte + settings.body_idle);
    watched.and_then(|()| keep_short(&stream)).map_err(|error| unreachable(target, error))?;
    let stream = match &backend.tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            // Apart from the call's own future, which most calls have without ever connecting.
            let handshake = Box::pin(tls.identity.shake_hands(tls.name.clone(), spoken.offered(), stream));
            let shaken =
                timeout_at(deadline, handshake).await.unwrap_or_else(|_| Err(format!("no handshake in time; {late}")));
            Stream::Tls(Box::new(shaken.map_err(|reason| unproved(target, &reason))?))
        }
    };
    let is_http2 = match (&stream, spoken) {
        (_, Spoken::Http1) => false,
        (Stream::Plain(_), _) => true,
        (Stream::Tls(stream), _) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
    };
    if spoken == Spoken::Http2 && !is_http2 {
        return Err(unproved(target, "it does not speak HTTP/2"));
    }
    let stream = CountingIo::new(stream);
    if is_http2 {
        // It carries calls of many.
        slot.holder().set(None);
        let begun = timeout_at(deadline, Box::pin(http2::begin(settings, stream, slot))).await;
        let begun =
            begun.unwrap_or_else(|_| Err(Silent::Other(format!("it has not begun to speak HTTP/2 in time; {late}"))));
        return begun.map(Opened::Http2).map_err(|silent| match silent {
            Silent::Tls(reason) => unproved(target, &reason),
            Silent::Other(reason) => unreachable(target, reason),
        });
    }
    let noted = stream.noted();
    let (sender, connection) = http1::Builder::new()
        .max_header_size(settings.answer_head)
        .max_buf_size(settings.answer_head.max(8_192))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(target, error))?;
    let (key, holder) = (Arc::clone(slot.key()), Arc::clone(slot.holder()));
    let bell = Arc::<Bell>::default();
    let held = bell.held();
    let driven = Arc::clone(&bell).drive(connection.with_upgrades());
    let (seen, passed) = (Arc::clone(&bell), Arc::clone(&noted));
    tokio::spawn(async move {
        drive(driven, &seen, &passed, LAST_WORDS).await;
        drop(slot);
    });
    Ok(Opened::Http1(Connection { key, holder, sender, noted, held, generation }))
}

/// Drives a connection until it has ended and nobody has it any more, or has what it has become. What went wrong is told
/// to the call that waits for an answer.
///
/// Whoever lets go of a connection in the middle may leave some of a request on its way. That may still leave, as long as
/// the target takes some of it now and then; one that takes nothing is not waited for, or it would never let go of the
/// connection's place.
async fn drive(connection: impl Future, bell: &Bell, noted: &Counts, last_words: Duration) {
    let mut connection = pin!(connection);
    let has_ended = poll_fn(|context| {
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        bell.poll_let_go(context).map(|()| false)
    });
    if has_ended.await {
        poll_fn(|context| bell.poll_let_go(context)).await;
        return;
    }
    let mut written = noted.written.load(Relaxed);
    while tokio::time::timeout(last_words, connection.as_mut()).await.is_err() {
        let before = std::mem::replace(&mut written, noted.written.load(Relaxed));
        // What its caller has not sent yet is waited for as long as callers may take.
        let waits_for_caller = noted.is_taking.load(Relaxed) && !noted.is_unflushed.load(Relaxed);
        if before == written && !waits_for_caller {
            return;
        }
    }
}

/// A machine that has gone without a word is noticed, be it while nothing passes or, after `patience`, while something
/// is on its way. A connection that is shared would get call after call, and a tunnel may be silent for long.
fn watch_over(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(QUIET).with_interval(PROBE).with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(patience.min(MOST_PATIENCE)))
}

/// Lets the kernel hold little of what is not on its way yet. What a target that does not read is sent stays here then,
/// where it is seen, and does not look like what it has taken.
fn keep_short(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

/// Refuses a target whose URL itself names an address that is not connected to. Names are judged by what they
/// resolve to, when it is time.
pub fn admit(settings: &Settings, target: &TargetUrl) -> Result<(), Failed> {
    match literal(target) {
        Some(address) if !settings.guard.admits(address) => Err(forbidden(target, address)),
        _ => Ok(()),
    }
}

/// A connection to where a target's name leads, if the guard admits it: to whichever of its addresses answers first.
/// The guard judges each of them each time, however long ago the name was resolved.
pub(crate) async fn open(
    guard: &Guard,
    sockets: &Arc<Sockets>,
    names: &Arc<Names>,
    within: Duration,
    target: &TargetUrl,
) -> Result<TcpStream, Failed> {
    let addresses = resolve(names, target).await?;
    let (mut allowed, mut is_own) = (Vec::with_capacity(addresses.len()), false);
    for address in &addresses {
        match guard.judge(*address) {
            Ok(()) => allowed.push(*address),
            Err(reason) => is_own |= reason == Forbidden::Own,
        }
    }
    if allowed.is_empty() {
        return Err(addresses
            .first()
            .map_or_else(|| unreachable(target, "no address"), |found| forbidden(target, *found)));
    }
    race(&allowed, within, guard, sockets).await.map_err(|lost| match lost {
        // Of a name that leads to the gateway itself, that is what matters most.
        lost if is_own || matches!(lost, Lost::Own(_)) => {
            Failed::new(Class::Forbidden, Sent::Nothing, format!("{target} is this gateway"))
        }
        lost => unreachable(target, lost),
    })
}

async fn resolve(names: &Arc<Names>, target: &TargetUrl) -> Result<Vec<SocketAddr>, Failed> {
    if let Some(address) = literal(target) {
        return Ok(vec![address]);
    }
    let found = names.resolve(target.host()).await.map_err(|reason| unreachable(target, reason))?;
    Ok(found.into_iter().map(|address| SocketAddr::new(address, target.port())).collect())
}

fn forbidden(target: &TargetUrl, found: SocketAddr) -> Failed {
    Failed::new(Class::Forbidden, Sent::Nothing, format!("{target} is at {found}"))
}

fn unproved(target: &TargetUrl, reason: &str) -> Failed {
    Failed::new(Class::Tls, Sent::Nothing, format!("{target}: {reason}"))
}

fn unreachable(target: &TargetUrl, reason: impl std::fmt::Display) -> Failed {
    Failed::new(Class::Unreachable, Sent::Nothing, format!("{target}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has passed over a connection that nobody reads.
    async fn noted() -> Arc<Counts> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        CountingIo::new(Stream::Plain(stream)).noted()
    }

    /// Drives what never ends and does this each time it is looked at, after whoever had it has let it go. How often it
    /// was looked at.
    async fn looked_at(noted: &Counts, mut look: impl FnMut(u32)) -> u32 {
        let bell = Arc::<Bell>::default();
        drop(bell.held());
        let mut looks = 0;
        let connection = poll_fn(|_| {
            looks += 1;
            look(looks);
            Poll::<()>::Pending
        });
        drive(connection, &bell, noted, Duration::from_millis(1)).await;
        looks
    }

    #[tokio::test]
    async fn a_connection_that_nobody_has_is_driven_only_while_something_leaves() {
        let noted = noted().await;
        assert!(looked_at(&noted, |_| ()).await < 5, "nothing leaves");
        let leaves = |looks| _ = noted.written.fetch_add(u64::from(looks < 100), Relaxed);
        assert!((100..110).contains(&looked_at(&noted, leaves).await));
        // What the caller has not sent yet is waited for, unless the target does not take what there is.
        noted.is_taking.store(true, Relaxed);
        let is_full = |looks| noted.is_unflushed.store(looks >= 200, Relaxed);
        assert!((200..210).contains(&looked_at(&noted, is_full).await));
    }

    #[tokio::test]
    async fn a_connection_that_somebody_has_is_counted_until_it_is_let_go() {
        let noted = noted().await;
        let bell = Arc::<Bell>::default();
        let held = bell.held();
        let mut driving = pin!(drive(std::future::ready(()), &bell, &noted, LAST_WORDS));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(driving.as_mut().poll(&mut context).is_pending(), "it may have become a tunnel");
        drop(held);
        driving.await;
    }

    #[tokio::test]
    async fn a_machine_that_has_gone_is_noticed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        watch_over(&stream, Duration::from_secs(30)).expect("set");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), QUIET);
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(Duration::from_secs(30)));
    }
}
