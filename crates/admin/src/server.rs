//! Serves the control plane on a listener of its own, within bounds. Who says nothing keeps nobody out.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::DATE;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use portcullis_core::ports::Clock;
use portcullis_proxy::tls::Termination;
use portcullis_wire::date;
use portcullis_wire::spare::Spare;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::actor::PeerAddress;
use crate::places::{ConnectionPlace, Places};
use crate::router::router;
use crate::state::AdminState;

/// From accepting a connection to its first byte, and from there to the end of a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Fields of a request's head.
const HEAD_FIELDS: usize = 128;
/// How long requests under way may still take when the server stops.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Serves until `shutdown` is done; then finishes what is under way, for ten seconds at most.
pub async fn serve(listener: TcpListener, state: Arc<AdminState>, shutdown: impl Future<Output = ()>) {
    let (tls, clock) = (state.tls.clone(), Arc::clone(&state.clock));
    let places = Places::at_most(state.connections);
    let service = TowerToHyperService::new(router(state));
    let mut spare = Spare::kept();
    let (stop, stopping) = watch::channel(false);
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let Some((place, gone)) = places.take(peer.ip()) else {
                        tracing::warn!("the admin API has more requests under way than it takes");
                        continue;
                    };
                    let connection = Connection {
                        peer: peer.ip(),
                        place: Arc::new(place),
                        service: service.clone(),
                        clock: Arc::clone(&clock),
                        stopping: stopping.clone(),
                    };
                    let serving = connection.begin(stream, tls.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = serving => {}
                            _ = gone => {}
                        }
                    });
                }
                Err(error) => {
                    spare.relieve(&listener, "admin API", &error).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    let _ = stop.send(true);
    drop(stopping);
    // Every connection holds a receiver.
    if timeout(DRAIN_TIME, stop.closed()).await.is_err() {
        tracing::warn!("requests to the admin API were cut off because the gateway stops");
    }
}

type Service = TowerToHyperService<axum::Router>;

/// One connection, from its first byte to its end.
struct Connection {
    peer: IpAddr,
    place: Arc<ConnectionPlace>,
    service: Service,
    clock: Arc<dyn Clock>,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn begin(mut self, stream: TcpStream, tls: Option<Arc<Termination>>) {
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
        let Self { peer, place, service, clock, .. } = self;
        let service = service_fn(move |mut request: Request<_>| {
            request.extensions_mut().insert(PeerAddress(peer));
            let (place, clock, answering) = (Arc::clone(&place), Arc::clone(&clock), service.call(request));
            async move {
                // Whoever has no place any more is about to be sent away.
                let Some(under_way) = place.begin() else { return std::future::pending().await };
                let mut response: Response<Body> = answering.await?;
                response.headers_mut().entry(DATE).or_insert_with(|| date::of(clock.now()).into());
                // It is under way until all of it has been written.
                Ok::<_, std::convert::Infallible>(response.map(|body| {
                    body.map_frame(move |frame| {
                        let _ = &under_way;
                        frame
                    })
                }))
            }
        });
        let connection = http1::Builder::new()
            .auto_date_header(false)
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
