//! The server: one layer stack for every service, and an end that loses no call.
//!
//! Guarantees: a call passes the layers of [`front`] in one order, written in one place; where there is a certificate
//! nobody is listened to who shows none that its authority signed; connections are bounded, from their first byte, and
//! whoever comes beyond the bound is told so; at the end of the process health says NOT_SERVING
//! first, then new connections are refused, running calls end within the drain time, and what is idle (raw TCP
//! connections, watches of health, streams of which nobody takes anything) holds nothing up.

mod answering;
mod attached;
mod front;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;

use answering::Answering;
use attached::Calls;
pub(crate) use front::{Front, Slots, asked_time};

use crate::metrics;
use crate::tls::Tls;

/// Largest request and answer.
pub(crate) const MAX_MESSAGE: usize = 4 * 1024 * 1024;
const MAX_STREAMS: u32 = 1000;
const MAX_HEADERS: u32 = 16 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Connections beyond the bound that are told so at once; more than these are closed without a word.
const TOLD: usize = 64;
/// They are closed after this time.
const TELLING: Duration = Duration::from_secs(5);
/// What a client of HTTP/2 says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What HTTP/2 is spoken over.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How far a server goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections held at once.
    pub(crate) connections: usize,
    /// Running calls get this long at the end.
    pub(crate) drain: Duration,
}

/// What all connections share.
struct Server {
    routes: Routes,
    front: Arc<Front>,
    tls: Option<Tls>,
    limits: Limits,
    stop: CancellationToken,
    cut: AtomicUsize,
}

/// The place that a connection takes up.
struct Place {
    crowded: bool,
    _permit: OwnedSemaphorePermit,
}

/// Serves until `stop`, then drains; answers whether every call had come to its end by then. With `tls` nothing but that
/// is spoken on the port.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    routes: Routes,
    front: Arc<Front>,
    limits: Limits,
    stop: CancellationToken,
) -> bool {
    let connections = TaskTracker::new();
    let (room, told) = (Arc::new(Semaphore::new(limits.connections)), Arc::new(Semaphore::new(TOLD)));
    let server = Arc::new(Server { routes: routes.prepare(), front, tls, limits, stop, cut: AtomicUsize::new(0) });
    loop {
        let stream = tokio::select! {
            () = server.stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely; the loop must not spin on it.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let place = match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => Place { crowded: false, _permit: permit },
            Err(_) => {
                metrics::refused_connections().inc();
                let Ok(permit) = Arc::clone(&told).try_acquire_owned() else { continue };
                Place { crowded: true, _permit: permit }
            }
        };
        let serving = Arc::clone(&server).connection(stream, place);
        #[expect(clippy::disallowed_methods, reason = "tracked by the connections of this server")]
        tokio::spawn(connections.track_future(serving));
    }
    drop(listener);
    connections.close();
    // Each connection ends by itself within the drain time; the second more is for their tasks to be run.
    let ended = tokio::time::timeout(limits.drain + Duration::from_secs(1), connections.wait()).await.is_ok();
    let cut = server.cut.load(Ordering::Relaxed);
    if cut > 0 || !ended {
        tracing::warn!(cut, left = connections.len(), "connections were cut after the drain time");
    }
    ended && cut == 0
}

impl Server {
    /// One connection; ends by itself when the peer leaves, by GOAWAY when the process stops.
    async fn connection(self: Arc<Self>, stream: TcpStream, place: Place) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let peer = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: stream.peer_addr().ok() };
        // A peer that never speaks would hold its place and the drain up for ever, since the libraries wait for the
        // handshake of TLS and for the preface without an end; so both come before the connection counts as one.
        let latest = Instant::now() + if place.crowded { TELLING } else { KEEPALIVE };
        let stream = tokio::select! {
            () = self.stop.cancelled() => return,
            greeted = self.greeted(stream, latest) => match greeted {
                Some(stream) => stream,
                None => return,
            },
        };
        let (server, crowded) = (Arc::clone(&self), place.crowded);
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let server = Arc::clone(&server);
            // The library moves what it is given several times, and a whole call is large.
            Box::pin(async move { Ok::<_, Infallible>(Arc::clone(&server.front).call(server.routes.clone(), request, crowded).await) })
        });
        let mut builder = http2::Builder::new(Calls);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADERS)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(Duration::from_secs(10));
        let serving = builder.serve_connection(TokioIo::new(Answering::new(stream)), service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.leaving(place.crowded) => {
                serving.as_mut().graceful_shutdown();
                match tokio::time::timeout(self.limits.drain, serving.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        self.cut.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }

    /// The connection once its peer has shown who it is, where that is asked for, and has begun to speak HTTP/2; none
    /// if it has not by `latest`.
    async fn greeted(&self, stream: TcpStream, latest: Instant) -> Option<Stream> {
        let mut stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => match timeout_at(latest, tls.accept(stream)).await.unwrap_or_else(|late| Err(late.into())) {
                Ok(stream) => Either::Right(Box::new(stream)),
                Err(error) => {
                    metrics::refused_handshakes().inc();
                    tracing::debug!(%error, "a connection came to no TLS");
                    return None;
                }
            },
        };
        timeout_at(latest, greets(&mut stream)).await.unwrap_or(false).then_some(stream)
    }

    /// Ready when a connection is to take no more calls.
    async fn leaving(&self, crowded: bool) {
        let told = async {
            if crowded {
                tokio::time::sleep(TELLING).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = told => {}
        }
    }
}

/// Takes the whole preface; false as soon as what comes cannot be one.
async fn greets(stream: &mut Stream) -> bool {
    let (mut heard, mut length) = ([0; PREFACE.len()], 0);
    while length < heard.len() {
        match stream.read(&mut heard[length..]).await {
            Ok(read) if read > 0 && PREFACE.starts_with(&heard[..length + read]) => length += read,
            _ => return false,
        }
    }
    true
}
