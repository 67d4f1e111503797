//! The caller's side of the load: bare HTTP/2 connections and answers that are counted, not decoded, so that what a
//! caller does with an answer does not weigh as if the service did it.

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::Outcome;

/// Connections of a load client to one service: one alone does not use several cores.
const CONNECTIONS: usize = 8;

/// An answer of which nothing is read.
pub(crate) type Unread = ();

/// A page of which the records are counted.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Page {
    /// Encoded records.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) records: Vec<Bytes>,
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    sender: SendRequest<Body>,
    origin: Uri,
}

impl Client {
    /// Open connections to the program at `port`.
    #[expect(clippy::disallowed_methods, reason = "a connection ends with the client that holds it; nobody waits for it")]
    pub(crate) async fn several(port: u16) -> Outcome<Vec<Self>> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(1024 * 1024).initial_connection_window_size(4 * 1024 * 1024);
            let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            clients.push(Self { sender, origin: format!("http://127.0.0.1:{port}").parse()? });
        }
        Ok(clients)
    }

    /// Calls the method at `path`.
    pub(crate) async fn call<Q, A>(self, path: &'static str, request: Request<Q>) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut sender = self.sender;
        let service = tower::service_fn(move |request| sender.send_request(request));
        let mut grpc = Grpc::with_origin(service, self.origin);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let answer = grpc.unary(request, PathAndQuery::from_static(path), ProstCodec::<Q, A>::default()).await?;
        Ok(answer.into_inner())
    }
}
