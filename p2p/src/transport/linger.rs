//! A TCP connection that is closed without throwing away what was just written.
//!
//! A socket that is dropped while there is something unread in it is reset by the kernel, and a reset discards what is
//! still on its way to the peer. A mesh connection nearly always has something unread, be it a ping. So closing here
//! means: end our direction, then read and drop what comes until the peer has closed as well, for a moment at most.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

/// How long the peer gets to read the rest and close. It answers a close at once, so this is for one that is gone.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// What is read and dropped at a time.
const DISCARD_BYTES: usize = 4096;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Lingering<S> {
    socket: S,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    No,
    Draining(Pin<Box<Sleep>>),
    Done,
}

impl<S> Lingering<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, closing: Closing::No }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.closing {
                Closing::Done => return Poll::Ready(Ok(())),
                Closing::No => {
                    ready!(Pin::new(&mut this.socket).poll_close(cx))?;
                    this.closing = Closing::Draining(Box::pin(sleep(LINGER_MAX)));
                }
                Closing::Draining(deadline) => {
                    let mut discarded = [0_u8; DISCARD_BYTES];
                    match Pin::new(&mut this.socket).poll_read(cx, &mut discarded) {
                        Poll::Ready(Ok(1..)) if !deadline.is_elapsed() => {}
                        Poll::Ready(_) => this.closing = Closing::Done,
                        Poll::Pending => {
                            ready!(deadline.as_mut().poll(cx));
                            this.closing = Closing::Done;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_written_arrives_even_though_something_is_unread() {
        let (near, far) = connection().await;
        let (mut near, mut far) = (Lingering::new(near.compat()), far.compat());
        far.write_all(b"nobody reads this").await.unwrap();
        let writing = async move {
            near.write_all(&vec![7; 8_000_000]).await.unwrap();
            near.close().await.unwrap();
        };
        let reading = async move {
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).await.unwrap();
            bytes.len()
        };
        let ((), received) = tokio::join!(writing, reading);
        assert_eq!(received, 8_000_000);
    }

    #[tokio::test]
    async fn a_peer_that_never_closes_is_not_waited_for() {
        let (near, far) = connection().await;
        let mut near = Lingering::new(near.compat());
        let closed = tokio::time::timeout(LINGER_MAX * 10, near.close()).await;
        closed.unwrap().unwrap();
        drop(far);
    }
}
