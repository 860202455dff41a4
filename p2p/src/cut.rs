//! Connections that fall silent for a while: a network cut, rehearsed at one node.
//!
//! What a peer sends waits in this node's kernel and what this node sends waits in its own queues, as on a path that drops
//! packets: nobody is told, and whoever wants to know has to find out by the silence. Afterwards everything goes on by
//! itself. Which peers are cut off is in [`Cuts`]; [`Cuttable`] is a socket that heeds it.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::PeerId;

/// Whom this node does not hear, and until when.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    /// Whether there may be a cut; looked at before each read and write, so without the lock.
    any: AtomicBool,
    cut: Mutex<Option<Cut>>,
}

#[derive(Debug)]
struct Cut {
    until: Instant,
    /// `None` cuts everybody off.
    from: Option<BTreeSet<PeerId>>,
}

impl Cuts {
    /// Cuts these peers off until then, or everybody; one cut takes the place of another.
    pub(crate) fn begin(&self, from: Option<BTreeSet<PeerId>>, until: Instant) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(Cut { until, from });
        self.any.store(true, Ordering::Release);
    }

    /// Until when a peer is cut off; `None` where it is not. One that has not said yet who it is counts as anybody.
    fn until(&self, peer: Option<&PeerId>) -> Option<Instant> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut held = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = held.as_ref()?;
        if cut.until <= Instant::now() {
            self.any.store(false, Ordering::Release);
            *held = None;
            return None;
        }
        let is_cut = cut.from.as_ref().is_none_or(|from| peer.is_some_and(|peer| from.contains(peer)));
        is_cut.then_some(cut.until)
    }
}

/// One connection, as far as cuts go.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    cuts: Arc<Cuts>,
    peer: Arc<OnceLock<PeerId>>,
}

impl Line {
    pub(crate) fn new(cuts: Arc<Cuts>) -> Self {
        Self { cuts, peer: Arc::default() }
    }

    /// The peer has proven who it is.
    pub(crate) fn is_to(&self, peer: PeerId) {
        // A connection has one peer: what is set stays.
        let _ = self.peer.set(peer);
    }
}

/// A socket that passes nothing on while its peer is cut off.
#[derive(Debug)]
pub(crate) struct Cuttable<S> {
    socket: S,
    line: Line,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Cuttable<S> {
    pub(crate) fn new(socket: S, line: Line) -> Self {
        Self { socket, line, reading: None, writing: None }
    }
}

/// Waits until the line is not cut.
fn poll_passable(line: &Line, waits: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if let Some(sleep) = waits {
            ready!(sleep.as_mut().poll(cx));
            *waits = None;
        }
        match line.cuts.until(line.peer.get()) {
            None => return Poll::Ready(()),
            Some(until) => *waits = Some(Box::pin(sleep_until(until))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cuttable<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(poll_passable(&this.line, &mut this.reading, cx));
        Pin::new(&mut this.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cuttable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(poll_passable(&this.line, &mut this.writing, cx));
        Pin::new(&mut this.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(poll_passable(&this.line, &mut this.writing, cx));
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    /// Closing waits for no cut: whoever closes has given the connection up.
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
    use crate::Identity;

    fn peer(number: u8) -> PeerId {
        Identity::from_secret([number; 32]).peer_id()
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_cut_is_silent_and_loses_nothing_and_others_go_on() {
        let cuts = Arc::new(Cuts::default());
        let lines = [1, 2].map(|number| {
            let line = Line::new(Arc::clone(&cuts));
            line.is_to(peer(number));
            let (here, there) = duplex(64);
            (Cuttable::new(here.compat(), line), there.compat())
        });
        let [(mut cut, mut other), (mut whole, mut reached)] = lines;
        let (begun, lasts) = (Instant::now(), Duration::from_secs(7));
        cuts.begin(Some(BTreeSet::from([peer(1)])), begun + lasts);
        let mut one = [0_u8; 1];
        whole.write_all(b"a").await.unwrap();
        reached.read_exact(&mut one).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        other.write_all(b"b").await.unwrap();
        cut.read_exact(&mut one).await.unwrap();
        assert_eq!((one, begun.elapsed()), (*b"b", lasts), "it came when the cut was over");
        cut.write_all(b"c").await.unwrap();
        other.read_exact(&mut one).await.unwrap();
        assert_eq!((one, begun.elapsed()), (*b"c", lasts));

        cuts.begin(None, begun + lasts * 2);
        whole.write_all(b"d").await.unwrap();
        assert_eq!(begun.elapsed(), lasts * 2, "everybody is cut off");
        let nobody_yet = Line::new(Arc::clone(&cuts));
        cuts.begin(None, begun + lasts * 3);
        assert!(nobody_yet.cuts.until(nobody_yet.peer.get()).is_some());
        cuts.begin(Some(BTreeSet::from([peer(1)])), begun + lasts * 3);
        assert!(nobody_yet.cuts.until(nobody_yet.peer.get()).is_none(), "it may say who it is");
    }
}
