//! The stream of a connection whose preface was taken, as calls are read from it and answers written to it.
//!
//! Guarantees: the preface is read again, before all else. A small answer and its end leave in one piece. Over a socket
//! that takes several pieces at once the HTTP/2 library sends whatever is longer than 256 bytes by itself and the end
//! of the answer after it: two writes and two arrivals for each call. Over one that does not, it puts up to a kilobyte
//! together with what follows; the buffer here then makes one write of each larger frame too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};

use super::PREFACE;

/// A frame of the usual 16 KiB, its head, and the head of the answer before it.
const FRAME: usize = 18 * 1024;

pub(super) struct Answering<S> {
    stream: BufWriter<S>,
    /// What is yet to be read of the preface.
    preface: &'static [u8],
}

impl<S: AsyncWrite> Answering<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: BufWriter::with_capacity(FRAME, stream), preface: PREFACE }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Answering<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.preface.is_empty() {
            return Pin::new(self.stream.get_mut()).poll_read(context, buffer);
        }
        let (now, later) = self.preface.split_at(self.preface.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.preface = later;
        Poll::Ready(Ok(()))
    }
}

// That it takes no several pieces at once is the trait's own answer and what this is for.
impl<S: AsyncWrite + Unpin> AsyncWrite for Answering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Keeps each write that it is given, and would take several pieces at once.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn an_answer_and_its_end_are_one_write() {
        let mut answering = Answering::new(Writes::default());
        assert!(!answering.is_write_vectored(), "or the library sends them one by one");
        for part in [vec![1; 9], vec![2; 700], vec![3; 30]] {
            answering.write_all(&part).await.unwrap();
        }
        answering.flush().await.unwrap();
        let sent: Vec<usize> = answering.stream.get_ref().0.iter().map(Vec::len).collect();
        assert_eq!(sent, [739]);
    }
}
