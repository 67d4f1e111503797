//! The body of a stream: health watches, reflection, downloads.
//!
//! Guarantees: it holds its place as long as the stream lasts, and ends with UNAVAILABLE when the process
//! leaves, so that no watch holds the drain up and whoever watches turns to another process. A caller that takes nothing
//! of what there is loses its place to others: it is told so if it takes on, and otherwise cut a moment later, so that
//! what was sent into nowhere takes no memory and holds no drain up either.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use hyper::rt::Executor;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

use crate::fault::Fault;

tokio::task_local! {
    /// Ends the call that is being answered, wherever it stands.
    static CUT: CancellationToken;
}

/// How long callers may take nothing of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// After this time the place is lost.
    pub(super) takes: Duration,
    /// This long after that the stream is cut.
    pub(super) hears: Duration,
    /// Instead of both when the process leaves.
    pub(super) leaving: Duration,
}

pub(super) const PATIENCE: Patience =
    Patience { takes: Duration::from_secs(30), hears: Duration::from_secs(30), leaving: Duration::from_millis(500) };

/// Runs the calls of a connection, each so that it can be cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Calls {
    fn execute(&self, call: F) {
        let cut = CancellationToken::new();
        let call = CUT.scope(cut.clone(), call);
        #[expect(clippy::disallowed_methods, reason = "the library's own tasks, which end with their connection")]
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = call => {}
                () = cut.cancelled() => {}
            }
        });
    }
}

pub(super) struct Attached {
    body: Body,
    leaving: CancellationToken,
    left: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    /// Whether it is the caller's turn: to take what it was given, or to make room for the first of it.
    turn: watch::Sender<bool>,
    lost: CancellationToken,
}

impl Attached {
    /// The stream `body`, which holds `place` and lasts until `leaving` at most. Made in the task of its call.
    pub(super) fn new(body: Body, leaving: CancellationToken, place: OwnedSemaphorePermit, patience: Patience) -> Self {
        let (turn, turns) = watch::channel(true);
        let lost = CancellationToken::new();
        let watched = Watched { place, turns, leaving: leaving.clone(), lost: lost.clone(), cut: CUT.try_with(Clone::clone).unwrap_or_default() };
        #[expect(clippy::disallowed_methods, reason = "ends with the stream")]
        tokio::spawn(watched.run(patience));
        Self { body, left: Box::pin(leaving.clone().cancelled_owned()), leaving, ended: false, turn, lost }
    }

    /// The last frame.
    fn end(&mut self, last: Fault) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(Status::from(last).add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

impl http_body::Body for Attached {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.lost.is_cancelled() && !self.leaving.is_cancelled() {
            let text = "Open the stream again, a download at the next offset, and take each part within 30 seconds: its place went to others.";
            return self.end(Fault::exhausted("STREAM_NOT_TAKEN", text));
        }
        // What the stream has to say comes first: the last message of a watch is that the service leaves.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.turn.send_replace(true);
            return Poll::Ready(frame);
        }
        self.turn.send_replace(false);
        std::task::ready!(self.left.as_mut().poll(context));
        self.end(Fault::unavailable("PROCESS_LEAVES", "This process ends; open the stream again."))
    }
}

/// What looks after a stream from outside: the library asks the body for nothing while the caller takes nothing.
struct Watched {
    place: OwnedSemaphorePermit,
    turns: watch::Receiver<bool>,
    leaving: CancellationToken,
    lost: CancellationToken,
    cut: CancellationToken,
}

impl Watched {
    /// Lasts as long as the stream at most, whose end closes `turns`.
    async fn run(mut self, patience: Patience) {
        loop {
            let callers = *self.turns.borrow_and_update();
            tokio::select! {
                turned = self.turns.changed() => if turned.is_err() { return },
                () = tokio::time::sleep(patience.takes), if callers => break,
                () = left(&self.leaving, patience), if callers => break,
            }
        }
        drop(self.place);
        self.lost.cancel();
        loop {
            tokio::select! {
                turned = self.turns.changed() => if turned.is_err() { return },
                () = tokio::time::sleep(patience.hears) => break,
                () = left(&self.leaving, patience) => break,
            }
        }
        self.cut.cancel();
    }
}

/// Ready a moment after the process began to leave.
async fn left(leaving: &CancellationToken, patience: Patience) {
    leaving.cancelled().await;
    tokio::time::sleep(patience.leaving).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::sync::Arc;

    use futures_util::stream;
    use http_body::Body as _;
    use http_body_util::StreamBody;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper::{client, server};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::sync::Semaphore;
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;
    use crate::tasks::Tasks;

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_secs(3600);

    /// A server with place for one stream, which never ends by itself, and that stream as its caller holds it.
    struct Scene {
        places: Arc<Semaphore>,
        leaving: CancellationToken,
        /// Closed when the server has let go of what the stream is made of.
        source: watch::Sender<()>,
        stream: Incoming,
    }

    impl Scene {
        async fn open(patience: Patience) -> Self {
            let (places, leaving, source) = (Arc::new(Semaphore::new(1)), CancellationToken::new(), watch::Sender::new(()));
            let (near, far) = tokio::io::duplex(64 * 1024);
            let tasks = Tasks::default();
            let (serving, ending, made_of) = (Arc::clone(&places), leaving.clone(), source.clone());
            tasks.spawn("server", async move {
                let service = service_fn(move |_| {
                    let (places, leaving, held) = (Arc::clone(&serving), ending.clone(), made_of.subscribe());
                    async move {
                        let place = places.try_acquire_owned().expect("the only stream");
                        let frames = stream::repeat_with(move || {
                            let _ = &held;
                            Ok::<_, Status>(Frame::data(Bytes::from(vec![7; 1024 * 1024])))
                        });
                        let body = Body::new(StreamBody::new(frames));
                        Ok::<_, Infallible>(http::Response::new(Attached::new(body, leaving, place, patience)))
                    }
                });
                let _ = server::conn::http2::Builder::new(Calls).serve_connection(TokioIo::new(far), service).await;
            });
            let (mut sender, connection) = client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.expect("a connection");
            tasks.spawn("client", async move {
                let _ = connection.await;
            });
            let request = http::Request::new(Body::empty());
            let stream = sender.send_request(request).await.expect("an answer").into_body();
            Self { places, leaving, source, stream }
        }

        async fn lost_its_place(&self) {
            let place = tokio::time::timeout(Duration::from_secs(20), self.places.acquire()).await;
            drop(place.expect("the place is lost"));
        }

        async fn is_cut(&self) {
            tokio::time::timeout(Duration::from_secs(20), self.source.closed()).await.expect("the stream is cut");
        }

        async fn next(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
            poll_fn(|context| Pin::new(&mut self.stream).poll_frame(context)).await
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_loses_the_place_and_is_told_so_when_it_takes_on() {
        let mut scene = Scene::open(Patience { takes: SOON, hears: NEVER, leaving: NEVER }).await;
        scene.lost_its_place().await;
        let told = loop {
            let frame = scene.next().await.expect("an end that says why").expect("the stream is not cut");
            if let Ok(trailers) = frame.into_trailers() {
                break Status::from_header_map(&trailers).expect("a status");
            }
        };
        let reason = told.get_details_error_info().expect("a reason").reason;
        assert_eq!((told.code(), reason.as_str()), (Code::ResourceExhausted, "STREAM_NOT_TAKEN"));
    }

    #[tokio::test]
    async fn who_goes_on_taking_nothing_is_cut() {
        let mut scene = Scene::open(Patience { takes: SOON, hears: SOON, leaving: NEVER }).await;
        scene.is_cut().await;
        while let Some(frame) = scene.next().await {
            let Ok(frame) = frame else { return };
            assert!(frame.is_data(), "the stream has ended in another way: {frame:?}");
        }
        panic!("the stream has ended as if it were whole");
    }

    #[tokio::test]
    async fn who_takes_nothing_holds_no_leaving_process_up() {
        let scene = Scene::open(Patience { takes: NEVER, hears: NEVER, leaving: SOON }).await;
        scene.leaving.cancel();
        scene.lost_its_place().await;
        scene.is_cut().await;
    }

    #[tokio::test]
    async fn who_takes_what_there_is_keeps_the_place() {
        let mut scene = Scene::open(Patience { takes: NEVER, hears: NEVER, leaving: NEVER }).await;
        for _ in 0..64 {
            assert!(scene.next().await.expect("there is more").expect("the stream is not cut").is_data());
        }
        assert_eq!(scene.places.available_permits(), 0);
        drop(scene.stream);
        tokio::time::timeout(Duration::from_secs(20), scene.places.acquire()).await.expect("the place is free").expect("it is open").forget();
    }
}
