//! The body of a stream: health watches, reflection, downloads.
//!
//! Guarantees: it holds its permit as long as the stream lasts, and ends with UNAVAILABLE when the process
//! leaves, so that no watch holds the drain up and whoever watches turns to another process.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

use crate::fault::Fault;

pub(super) struct Attached {
    body: Body,
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Attached {
    pub(super) fn new(body: Body, leaving: CancellationToken, permit: OwnedSemaphorePermit) -> Self {
        Self { body, leaving: Box::pin(leaving.cancelled_owned()), ended: false, _permit: permit }
    }
}

impl http_body::Body for Attached {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // What the stream has to say comes first: the last message of a watch is that the service leaves.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        std::task::ready!(self.leaving.as_mut().poll(context));
        self.ended = true;
        let mut trailers = HeaderMap::new();
        let last = Status::from(Fault::unavailable("PROCESS_LEAVES", "This process ends; open the stream again."));
        Poll::Ready(Some(last.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}
