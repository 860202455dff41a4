//! A stream of frames: the only thing the rest of Pentora sees of a connection.
//!
//! A [`FrameStream`] has two halves that never wait for each other. Keep them in different tasks, or at least always
//! read: a stream has a flow-control window of 256 KiB, and two peers that both insist on writing before they read
//! stop for good once it is full. What the frames mean is the caller's affair; limits and versions are held here.
//!
//! A stream ends well only by [`FrameSink`]'s `close`, which the reader sees as the end (`None`). A side that does not
//! serve it ends it with the reason ([`FrameStream::refuse`]). Everything else, be it a dropped sink, a reset or a dead
//! connection, is [`FrameError::Lost`], so half a transfer never looks complete.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};

use crate::{Class, PeerId};

pub(crate) mod codec;
pub(crate) mod io_half;

/// A bidirectional stream of one class to or from one peer.
#[derive(Debug)]
pub struct FrameStream {
    /// The peer at the other end, proven by its key.
    pub peer: PeerId,
    /// What the stream is for.
    pub class: Class,
    /// Frames to the peer.
    pub sink: FrameSink,
    /// Frames from the peer.
    pub source: FrameSource,
}

impl FrameStream {
    /// The two halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (FrameSink, FrameSource) {
        (self.sink, self.source)
    }

    /// Sends one frame and flushes it onto the network. For many frames in a row use [`SinkExt::feed`] on the sink,
    /// and one [`SinkExt::flush`]. Not cancel-safe: a cancelled call may or may not have sent the frame, but never
    /// leaves half of one.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`], with the stream still usable; any other error ends the stream. Where the peer refused the
    /// stream before it took all of the frame, the error is its reason.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), FrameError> {
        let Self { sink, source, .. } = self;
        let mut sending = sink.send(frame);
        // A peer that refuses a stream reads no more of it, so a large frame would wait for room for ever.
        let sent = std::future::poll_fn(|cx| match sending.poll_unpin(cx) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => source.poll_refusal(cx).map(Err),
        });
        let sent = sent.await;
        match sent {
            // What the peer said last was here before its end was.
            Err(lost @ FrameError::Lost { .. }) => {
                let refused = std::future::poll_fn(|cx| source.poll_refusal(cx)).now_or_never();
                Err(refused.unwrap_or(lost))
            }
            sent => sent,
        }
    }

    /// Ends a stream that is not served with the reason: the peer gets [`FrameError::Refused`], whether it reads or still
    /// writes. A reason above 1,024 bytes is cut.
    ///
    /// # Errors
    /// [`FrameError`] where it cannot be told.
    pub async fn refuse(mut self, reason: &str) -> Result<(), FrameError> {
        let longest = reason.len().min(codec::REASON_BYTES_MAX);
        let cut = (0..=longest).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        self.sink.inner.as_mut().refuse(reason.get(..cut).unwrap_or_default().to_owned());
        self.sink.close().await
    }

    /// The next frame, or `None` once the peer has closed its side. Cancel-safe.
    ///
    /// # Errors
    /// Any [`FrameError`]; it is the last item.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, FrameError> {
        self.source.next().await.transpose()
    }
}

/// The writing half: a [`Sink`] of frames.
///
/// `send` flushes each frame to the network at once; `feed` collects up to 64 KiB before it writes on its own, and
/// `flush` sends the rest. `close` flushes, tells the peer that nothing follows, and ends this half. Dropping the sink
/// without `close` makes the peer see [`FrameError::Lost`].
pub struct FrameSink {
    inner: Pin<Box<dyn SinkHalf>>,
}

/// What stands behind a [`FrameSink`]: a real stream's writing half, or one in memory.
pub(crate) trait SinkHalf: Sink<Bytes, Error = FrameError> + Send {
    /// Has `close` tell the peer that the stream is not served, and why.
    fn refuse(self: Pin<&mut Self>, reason: String);
}

impl FrameSink {
    pub(crate) fn new(inner: impl SinkHalf + 'static) -> Self {
        Self { inner: Box::pin(inner) }
    }
}

impl fmt::Debug for FrameSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameSink")
    }
}

impl Sink<Bytes> for FrameSink {
    type Error = FrameError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        self.inner.as_mut().poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), FrameError> {
        self.inner.as_mut().start_send(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        self.inner.as_mut().poll_close(cx)
    }
}

/// The reading half: a [`Stream`] of frames. After an error, or after the peer's end, it gives `None`.
pub struct FrameSource {
    inner: Pin<Box<dyn Stream<Item = Result<Bytes, FrameError>> + Send>>,
    /// What was read in search of a refusal, and not given out yet.
    ahead: VecDeque<Result<Bytes, FrameError>>,
}

/// Frames that are read ahead at most in search of a refusal, which is the last one of its stream.
const AHEAD_MAX: usize = 4;

impl FrameSource {
    pub(crate) fn new(inner: impl Stream<Item = Result<Bytes, FrameError>> + Send + 'static) -> Self {
        Self { inner: Box::pin(inner), ahead: VecDeque::new() }
    }

    /// The reason for which the peer refused the stream, once it has come. What comes before it is kept for the reader, and
    /// so is the refusal.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<FrameError> {
        loop {
            match self.ahead.back() {
                Some(Err(FrameError::Refused { reason })) => {
                    return Poll::Ready(FrameError::Refused { reason: reason.clone() });
                }
                // Nothing comes behind an error.
                Some(Err(_)) => return Poll::Pending,
                Some(Ok(_)) if self.ahead.len() >= AHEAD_MAX => return Poll::Pending,
                Some(Ok(_)) | None => {}
            }
            match self.inner.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => self.ahead.push_back(item),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl fmt::Debug for FrameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameSource")
    }
}

impl Stream for FrameSource {
    type Item = Result<Bytes, FrameError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.ahead.pop_front() {
            Some(item) => Poll::Ready(Some(item)),
            None => self.inner.as_mut().poll_next(cx),
        }
    }
}

/// Why a frame could not be sent or read. Except for [`FrameError::TooLarge`] from a sink, the stream is over.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame is larger than its class allows. A sink refuses it and stays usable; a source stops reading before
    /// the payload, of which nothing is kept.
    #[error("a {class} frame of {bytes} bytes is above the limit of {max} bytes")]
    TooLarge {
        /// The stream's class.
        class: Class,
        /// The size that was offered or announced, in bytes.
        bytes: usize,
        /// [`Class::frame_bytes_max`].
        max: usize,
    },
    /// The peer frames its messages in a way this release does not know.
    #[error("frame version {found} is unknown, this release speaks version {known}")]
    Version {
        /// The peer's version byte.
        found: u8,
        /// Ours.
        known: u8,
    },
    /// The frame's header makes no sense at this place.
    #[error("malformed frame: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The peer stopped in the middle of a frame.
    #[error("the stream was cut after {got} bytes of a frame")]
    CutShort {
        /// How many bytes of the frame, header included, had arrived.
        got: usize,
    },
    /// The stream or its connection went away without having been closed.
    #[error("the stream was lost: {reason}")]
    Lost {
        /// As much as is known about it.
        reason: String,
    },
    /// The peer does not serve the stream.
    #[error("{reason}")]
    Refused {
        /// Why, in the peer's words.
        reason: String,
    },
    /// Something was sent after `close` or after an error.
    #[error("the stream is closed")]
    Closed,
}

impl FrameError {
    pub(crate) fn lost(error: &io::Error) -> Self {
        Self::Lost { reason: error.to_string() }
    }
}
