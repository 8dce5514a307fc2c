//! Serves the control plane on a listener of its own, within bounds.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use portcullis_proxy::tls::Termination;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::actor::PeerAddress;
use crate::api::router;
use crate::state::AdminState;

/// Connections at a time; what comes beyond waits in the listener's backlog.
const CONNECTIONS: usize = 256;
/// From accepting a connection to its first byte, and from there to the end of a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Fields of a request's head.
const HEAD_FIELDS: usize = 128;
/// How long requests under way may still take when the server stops.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How long to wait after the system had no room for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is done; then finishes what is under way, for ten seconds at most.
pub async fn serve(listener: TcpListener, state: Arc<AdminState>, shutdown: impl Future<Output = ()>) {
    let tls = state.tls.clone();
    let service = TowerToHyperService::new(router(state));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopping) = watch::channel(false);
    let accept = async {
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection =
                        Connection { peer: peer.ip(), service: service.clone(), stopping: stopping.clone() };
                    tokio::spawn(connection.begin(stream, tls.clone(), permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    // The connections hold receivers; none of them left means nothing is left to stop.
    let _ = stop.send(true);
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    if timeout(DRAIN_TIME, room.acquire_many(all)).await.is_err() {
        tracing::warn!("requests to the admin API were cut off because the gateway stops");
    }
}

type Service = TowerToHyperService<axum::Router>;

/// One connection, from its first byte to its end.
struct Connection {
    peer: IpAddr,
    service: Service,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn begin(mut self, stream: TcpStream, tls: Option<Arc<Termination>>, permit: OwnedSemaphorePermit) {
        let _permit = permit;
        // The head's own timer starts with the first byte only.
        let first = tokio::select! {
            first = timeout(HEAD_TIME, stream.readable()) => first,
            () = stopped(&mut self.stopping) => return,
        };
        if !matches!(first, Ok(Ok(()))) {
            return;
        }
        // Answers are small and written at once; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.serve(stream).await };
        let handshake = tokio::select! {
            handshake = timeout(HEAD_TIME, Box::pin(tls.accept(stream))) => handshake,
            () = stopped(&mut self.stopping) => return,
        };
        match handshake {
            Ok(Ok(secured)) => self.serve(secured.stream).await,
            Ok(Err((error, _))) => tracing::debug!(%error, "a TLS handshake with the admin API failed"),
            Err(_) => tracing::debug!("a TLS handshake with the admin API took too long"),
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (peer, service) = (self.peer, self.service);
        let service = service_fn(move |mut request| {
            request.extensions_mut().insert(PeerAddress(peer));
            service.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_header_size(HEAD_BYTES)
            .max_headers(HEAD_FIELDS)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut self.stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the admin API broke off");
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}
