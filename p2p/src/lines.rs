//! Connections by the address of this machine that they are from, so that those end whose address is gone.
//!
//! The kernel keeps such a connection, and sends nothing on it any more: without this it is silent until both sides have waited for
//! an answer as long as they do for a peer that died.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The connections that are open. A connection leaves it with its socket.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Vec<(IpAddr, Weak<CancellationToken>)>>);

impl Lines {
    /// A socket that ends once the address that it is from is said to be gone.
    pub(crate) fn watched<S>(&self, local: IpAddr, socket: S) -> Watched<S> {
        let end = Arc::new(CancellationToken::new());
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|(_, end)| end.strong_count() > 0);
        lines.push((local.to_canonical(), Arc::downgrade(&end)));
        let ended = Box::pin(CancellationToken::clone(&end).cancelled_owned());
        Watched { socket, ended, open: end }
    }

    /// Ends the connections that are from an address which is `gone`, and answers how many.
    pub(crate) fn end_from(&self, gone: impl Fn(IpAddr) -> bool) -> usize {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ending = lines.iter().filter(|(local, _)| gone(*local)).filter_map(|(_, end)| end.upgrade());
        let ending: Vec<Arc<CancellationToken>> = ending.collect();
        ending.iter().for_each(|end| end.cancel());
        ending.len()
    }
}

/// A socket that fails once its connection is ended.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    socket: S,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    open: Arc<CancellationToken>,
}

impl<S> Watched<S> {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the address that it was from is gone"))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Its reader is woken where it ends; that a write is tried then is enough.
        if self.open.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{AsyncReadExt, AsyncWriteExt};
    use tokio::io::duplex;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_with_the_address_that_it_is_from_and_others_go_on() {
        let lines = Lines::default();
        let addresses: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "::ffff:10.0.0.2".parse().unwrap()];
        let ((near, _far), (other, mut others)) = (duplex(64), duplex(64));
        let mut near = lines.watched(addresses[0], near.compat());
        let mut other = lines.watched(addresses[1], other.compat());
        let reading = async {
            let ended = near.read(&mut [0; 4]).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::ConnectionAborted);
            near
        };
        let ending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lines.end_from(|local| local == addresses[0])
        };
        let (mut near, ended) = tokio::join!(reading, ending);
        assert_eq!(ended, 1);
        assert!(near.write(b"x").await.is_err());
        tokio::io::AsyncWriteExt::write_all(&mut others, b"abcd").await.unwrap();
        assert_eq!(other.read(&mut [0; 4]).await.unwrap(), 4);
        drop(near);
        assert_eq!(lines.end_from(|local| local == addresses[0]), 0, "it is not there any more");
        assert_eq!(lines.end_from(|local| local == addresses[1].to_canonical()), 1);
    }
}
