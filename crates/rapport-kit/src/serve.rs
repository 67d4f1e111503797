//! The server: one layer stack for every service, and an end that loses no call.
//!
//! Guarantees: a call passes the layers of [`front`] in one order, written in one place; at the end of the
//! process health says NOT_SERVING first, then new connections are refused, running calls end within the
//! drain time, and idle connections (raw TCP ones too, which the library would wait for) hold nothing up.

mod front;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;

pub(crate) use front::Front;

/// Largest request and answer.
pub(crate) const MAX_MESSAGE: usize = 4 * 1024 * 1024;
const MAX_STREAMS: u32 = 1000;
const MAX_HEADERS: u32 = 16 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Running calls get this long at the end.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves until `stop`, then drains.
pub(crate) async fn serve(listener: TcpListener, routes: Routes, front: Arc<Front>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let routes = routes.prepare();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
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
        let serving = connection(stream, routes.clone(), Arc::clone(&front), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "tracked by the connections of this server")]
        tokio::spawn(connections.track_future(serving));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections were cut after the drain time");
    }
}

/// One connection; ends by itself when the peer leaves, by GOAWAY when the process stops.
async fn connection(stream: TcpStream, routes: Routes, front: Arc<Front>, stop: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // A peer that never speaks HTTP/2 would hold the drain up for ever, so it is waited for before the
    // connection counts as one.
    let mut preface = [0; 1];
    tokio::select! {
        () = stop.cancelled() => return,
        peeked = tokio::time::timeout(KEEPALIVE, stream.peek(&mut preface)) => match peeked {
            Ok(Ok(read)) if read > 0 => {}
            _ => return,
        },
    }
    let peer = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: stream.peer_addr().ok() };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let (routes, front) = (routes.clone(), Arc::clone(&front));
        async move { Ok::<_, Infallible>(front.call(routes, request).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(Duration::from_secs(10));
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN, serving.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
