//! One connection to one address: made, kept alive, asked for its health, closed without cutting what runs on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;
use tonic::Code;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::BoxError;

use crate::tls::Tls;

/// A peer that says nothing for this long is asked whether it is there,
const QUIET: Duration = Duration::from_secs(5);
/// and is gone if it does not say so within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// How a connection is protected.
#[derive(Debug)]
pub(super) struct Secure {
    /// What this side shows and believes.
    pub(super) tls: Tls,
    /// Whom the other side's certificate has to name.
    pub(super) host: ServerName<'static>,
}

/// A connection on which calls can be sent.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    sender: http2::SendRequest<Body>,
    /// Calls that wait for their answer.
    pub(super) pending: AtomicUsize,
}

/// What became of a request.
pub(super) enum Sent {
    /// It was answered.
    Answered(Response<Incoming>),
    /// The connection broke: nobody knows whether it was handled.
    Broken(BoxError),
    /// It was not handled: never sent, or given back by the peer.
    Not(BoxError),
}

impl Connection {
    /// Connects; the future drives the connection and ends with it. Dropping that future lets running calls end.
    pub(super) async fn dial(
        address: SocketAddr,
        secure: Option<&Secure>,
        patience: Duration,
    ) -> Result<(Self, impl Future<Output = ()> + Send), BoxError> {
        let stream = tokio::time::timeout(patience, open(address, secure)).await??;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(QUIET)
            .keep_alive_timeout(ANSWER)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let driving = async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "a connection to another service broke");
            }
        };
        Ok((Self { address, sender, pending: AtomicUsize::new(0) }, driving))
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Sent {
        match self.sender.clone().try_send_request(request).await {
            Ok(response) => Sent::Answered(response),
            Err(mut error) => {
                let untouched = error.take_message().is_some();
                let error = error.into_error();
                if untouched || given_back(&error) { Sent::Not(error.into()) } else { Sent::Broken(error.into()) }
            }
        }
    }

    /// Follows what the process at the other end says about itself: `said` hears whether it serves. Ends when it
    /// says nothing more.
    pub(super) async fn health(&self, origin: Uri, patience: Duration, mut said: impl FnMut(bool)) {
        let sender = self.sender.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut sender = sender.clone();
            async move { sender.send_request(request).await }
        });
        let mut client = HealthClient::with_origin(service, origin);
        let watch = tokio::time::timeout(patience, client.watch(HealthCheckRequest::default())).await;
        let mut watch = match watch {
            Ok(Ok(watch)) => watch.into_inner(),
            // It has no health service, or has told enough others: then it serves as far as anybody knows.
            Ok(Err(status)) if matches!(status.code(), Code::Unimplemented | Code::ResourceExhausted) => {
                said(true);
                return std::future::pending().await;
            }
            _ => return,
        };
        while let Ok(Some(answer)) = watch.message().await {
            said(answer.status() == ServingStatus::Serving);
        }
    }
}

/// Opens what HTTP/2 is spoken over; with TLS the other side's certificate has been checked then.
async fn open(address: SocketAddr, secure: Option<&Secure>) -> std::io::Result<Either<TcpStream, Box<TlsStream<TcpStream>>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match secure {
        None => Ok(Either::Left(stream)),
        Some(secure) => Ok(Either::Right(Box::new(secure.tls.connect(secure.host.clone(), stream).await?))),
    }
}

/// Whether the peer said that it has not looked at the request: a stream that it refused, or one that came after
/// it had said goodbye.
fn given_back(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let reason = cause.reason();
        cause.is_remote()
            && (cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR) || cause.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// A connection picked for a call, which counts as pending on it until this is dropped.
#[derive(Debug)]
pub(super) struct Picked(std::sync::Arc<Connection>);

impl Picked {
    pub(super) fn new(connection: std::sync::Arc<Connection>) -> Self {
        connection.pending.fetch_add(1, Ordering::Relaxed);
        Self(connection)
    }
}

impl std::ops::Deref for Picked {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}
