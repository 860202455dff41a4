//! Frames over any byte stream: the reading and the writing half, each with its own buffer.
//!
//! Both also watch the life of the connection they run on: when it is given up, because its peer is silent or was
//! removed, a half that waits learns it at once instead of when the operating system does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, Sink, Stream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::frame::codec::{self, Decoder, Kind};
use crate::frame::{FrameError, FrameSink, FrameSource, FrameStream, SinkHalf};
use crate::slots::Slot;
use crate::{Class, PeerId};

/// `feed` writes on its own above this many collected bytes; as large as a frame of a chunk usefully gets.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// One read of small frames; it lives on the stack, so a waiting stream holds no buffer.
const SMALL_READ_BYTES: usize = 4 * 1024;
/// One read within a large frame: what yamux hands over at most. Memory grows by this much, as bytes arrive.
const LARGE_READ_BYTES: usize = 16 * 1024;

/// Makes a frame stream of a byte stream whose opening is done. `read_ahead` is what was read behind the opening,
/// `slot` the counted place of an inbound stream, and `life` ends with the connection.
pub(crate) fn frame_stream<S>(
    peer: PeerId,
    class: Class,
    io: S,
    read_ahead: Decoder,
    slot: Option<Slot>,
    life: &CancellationToken,
) -> FrameStream
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = io.split();
    let sink = IoSink {
        io: Box::pin(writer),
        class,
        buffer: BytesMut::new(),
        refusal: None,
        state: State::Open,
        life: Box::pin(life.clone().cancelled_owned()),
    };
    // The place is held by the source: a peer that has been heard to the end may open the next stream.
    let source = IoSource {
        io: Box::pin(reader),
        decoder: read_ahead,
        over: false,
        life: Box::pin(life.clone().cancelled_owned()),
        slot,
    };
    FrameStream { peer, class, sink: FrameSink::new(sink), source: FrameSource::new(source) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The end frame is in the buffer; nothing more may be added.
    Ending,
    /// Closed, or broken.
    Over,
}

struct IoSink<W: AsyncWrite> {
    io: Pin<Box<W>>,
    class: Class,
    buffer: BytesMut,
    /// What the last frame says instead of that nothing follows.
    refusal: Option<String>,
    state: State,
    life: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<W: AsyncWrite> IoSink<W> {
    /// Writes until at most `keep` bytes are left in the buffer.
    fn poll_write_down(&mut self, cx: &mut Context<'_>, keep: usize) -> Poll<Result<(), FrameError>> {
        while self.buffer.len() > keep {
            match self.io.as_mut().poll_write(cx, &self.buffer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.broken(&io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => self.buffer.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(&error))),
                Poll::Pending => {
                    ready!(self.life.as_mut().poll(cx));
                    return Poll::Ready(Err(self.given_up()));
                }
            }
        }
        if self.buffer.is_empty() && self.buffer.capacity() > WRITE_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        ready!(self.poll_write_down(cx, 0))?;
        match self.io.as_mut().poll_flush(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|error| self.broken(&error))),
            Poll::Pending => {
                ready!(self.life.as_mut().poll(cx));
                Poll::Ready(Err(self.given_up()))
            }
        }
    }

    fn broken(&mut self, error: &io::Error) -> FrameError {
        self.state = State::Over;
        self.buffer = BytesMut::new();
        FrameError::lost(error)
    }

    fn given_up(&mut self) -> FrameError {
        self.broken(&io::Error::other("the connection was given up"))
    }
}

impl<W> Drop for IoSink<W>
where
    W: AsyncWrite,
{
    /// Ends the byte stream without an end frame, so that the peer sees a loss even while our reading half lives on.
    /// One attempt without waiting is all that a drop can make; if it does not go through, the peer learns it when the
    /// other half is dropped as well.
    fn drop(&mut self) {
        if self.state != State::Over {
            let _ = self.io.as_mut().poll_close(&mut Context::from_waker(futures::task::noop_waker_ref()));
        }
    }
}

impl<W: AsyncWrite + Send> SinkHalf for IoSink<W> {
    fn refuse(mut self: Pin<&mut Self>, reason: String) {
        self.refusal = Some(reason);
    }
}

impl<W: AsyncWrite> Sink<Bytes> for IoSink<W> {
    type Error = FrameError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        if self.state != State::Open {
            return Poll::Ready(Err(FrameError::Closed));
        }
        if self.buffer.len() < WRITE_BUFFER_BYTES {
            return Poll::Ready(Ok(()));
        }
        self.poll_write_down(cx, 0)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), FrameError> {
        if self.state != State::Open {
            return Err(FrameError::Closed);
        }
        let class = self.class;
        codec::encode(class, Kind::Data, &frame, &mut self.buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        match self.state {
            State::Over => Poll::Ready(Err(FrameError::Closed)),
            State::Open | State::Ending => self.poll_flush_all(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        if self.state == State::Over {
            return Poll::Ready(Ok(()));
        }
        if self.state == State::Open {
            let class = self.class;
            match self.refusal.take() {
                None => codec::encode(class, Kind::End, &[], &mut self.buffer)?,
                Some(reason) => codec::encode(class, Kind::Denied, reason.as_bytes(), &mut self.buffer)?,
            }
            self.state = State::Ending;
        }
        ready!(self.poll_flush_all(cx))?;
        let result = ready!(self.io.as_mut().poll_close(cx));
        self.state = State::Over;
        // The peer may have dropped the stream right after our end frame; it has what it needs.
        Poll::Ready(result.or(Ok(())))
    }
}

struct IoSource<R> {
    io: Pin<Box<R>>,
    decoder: Decoder,
    over: bool,
    life: Pin<Box<WaitForCancellationFutureOwned>>,
    slot: Option<Slot>,
}

impl<R: AsyncRead> IoSource<R> {
    fn finish(&mut self, error: Option<FrameError>) -> Poll<Option<Result<Bytes, FrameError>>> {
        self.over = true;
        self.slot = None;
        *self.decoder.buffer_mut() = BytesMut::new();
        Poll::Ready(error.map(Err))
    }

    /// The stream stopped without an end frame.
    fn finish_lost(&mut self, reason: &io::Error) -> Poll<Option<Result<Bytes, FrameError>>> {
        match self.decoder.buffered() {
            0 => self.finish(Some(FrameError::lost(reason))),
            got => self.finish(Some(FrameError::CutShort { got })),
        }
    }
}

impl<R: AsyncRead> Stream for IoSource<R> {
    type Item = Result<Bytes, FrameError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            match this.decoder.next() {
                Ok(Some(frame)) if frame.kind == Kind::Data => return Poll::Ready(Some(Ok(frame.payload))),
                Ok(Some(frame)) if frame.kind == Kind::End => return this.finish(None),
                Ok(Some(frame)) if frame.kind == Kind::Denied => {
                    let reason = String::from_utf8_lossy(&frame.payload).into_owned();
                    return this.finish(Some(FrameError::Refused { reason }));
                }
                Ok(Some(_)) => {
                    return this.finish(Some(FrameError::Malformed { reason: "an opening frame came again" }));
                }
                Ok(None) => {}
                Err(error) => return this.finish(Some(error)),
            }
            match poll_fill(&mut this.decoder, this.io.as_mut(), cx) {
                Poll::Ready(Ok(0)) => return this.finish_lost(&io::Error::other("it ended without being closed")),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return this.finish_lost(&error),
                Poll::Pending => {
                    ready!(this.life.as_mut().poll(cx));
                    return this.finish_lost(&io::Error::other("the connection was given up"));
                }
            }
        }
    }
}

/// Reads once into the decoder and gives the number of bytes; 0 is the end of the byte stream.
fn poll_fill<R: AsyncRead>(decoder: &mut Decoder, io: Pin<&mut R>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let missing = decoder.missing().unwrap_or(0);
    if missing <= SMALL_READ_BYTES {
        let mut bytes = [0_u8; SMALL_READ_BYTES];
        let read = ready!(io.poll_read(cx, &mut bytes))?;
        decoder.extend(bytes.get(..read).unwrap_or_default());
        return Poll::Ready(Ok(read));
    }
    let before = decoder.buffered();
    let buffer = decoder.buffer_mut();
    buffer.resize(before + missing.min(LARGE_READ_BYTES), 0);
    let result = io.poll_read(cx, buffer.get_mut(before..).unwrap_or_default());
    let read = if let Poll::Ready(Ok(read)) = &result { *read } else { 0 };
    buffer.truncate(before + read);
    result
}

/// Reads bytes into the decoder until it has a whole frame: the opening of a stream.
///
/// # Errors
/// As the stream of a [`FrameSource`].
pub(crate) async fn read_frame<R: AsyncRead + Unpin>(
    io: &mut R,
    decoder: &mut Decoder,
) -> Result<codec::Frame, FrameError> {
    loop {
        if let Some(frame) = decoder.next()? {
            return Ok(frame);
        }
        let read = std::future::poll_fn(|cx| poll_fill(decoder, Pin::new(io), cx)).await;
        if read.map_err(|error| FrameError::lost(&error))? == 0 {
            return Err(FrameError::Lost { reason: "it ended before it was accepted".to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;
    use crate::Identity;

    /// A frame stream whose other end is bare bytes, through a pipe that holds `room` of them.
    fn stream_over_bytes(room: usize) -> (FrameStream, DuplexStream, CancellationToken) {
        let (here, there) = duplex(room);
        let life = CancellationToken::new();
        let peer = Identity::from_secret([1; 32]).peer_id();
        (frame_stream(peer, Class::Work, here.compat(), Decoder::new(Class::Work), None, &life), there, life)
    }

    async fn first_error(bytes: &[u8]) -> FrameError {
        let (mut stream, mut raw, _life) = stream_over_bytes(1 << 20);
        raw.write_all(bytes).await.unwrap();
        drop(raw);
        let error = stream.receive().await.unwrap_err();
        assert!(stream.receive().await.unwrap().is_none(), "an error is the last item");
        error
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_short_is_never_handed_over() {
        for cut in 1..10 {
            let whole = [1, 0, 0, 0, 0, 4, b'a', b'b', b'c', b'd'];
            let error = first_error(&whole[..cut]).await;
            assert!(matches!(error, FrameError::CutShort { got } if got == cut), "{error}");
        }
    }

    #[tokio::test]
    async fn a_byte_stream_that_just_stops_is_lost() {
        assert!(matches!(first_error(&[]).await, FrameError::Lost { .. }));
    }

    #[tokio::test]
    async fn bad_headers_are_typed_errors() {
        assert!(matches!(first_error(&[9, 0, 0, 0, 0, 0]).await, FrameError::Version { found: 9, known: 1 }));
        assert!(matches!(first_error(&[1, 9, 0, 0, 0, 0]).await, FrameError::Malformed { .. }));
        assert!(matches!(first_error(&[1, 2, 0, 0, 0, 0]).await, FrameError::Malformed { .. }));
        let error = first_error(&[1, 0, 0x7f, 0xff, 0xff, 0xff]).await;
        assert!(matches!(error, FrameError::TooLarge { bytes: 0x7fff_ffff, max: 262_144, .. }), "{error}");
    }

    #[tokio::test]
    async fn what_the_peer_said_before_a_loss_is_still_read_and_a_refusal_is_the_error_of_who_writes() {
        let answered_and_refused = [&[1, 0, 0, 0, 0, 1, b'a'][..], &[1, 4, 0, 0, 0, 2, b'n', b'o']].concat();
        let (mut stream, mut raw, _life) = stream_over_bytes(1 << 20);
        raw.write_all(&answered_and_refused).await.unwrap();
        drop(raw);
        let error = stream.send(Bytes::from_static(b"unheard")).await.unwrap_err();
        assert!(matches!(&error, FrameError::Refused { reason } if reason == "no"), "{error}");
        assert_eq!(stream.receive().await.unwrap().unwrap(), "a");
        assert!(matches!(stream.receive().await, Err(FrameError::Refused { .. })));
        assert!(stream.receive().await.unwrap().is_none(), "an error is the last item");

        let (mut stream, raw, _life) = stream_over_bytes(1 << 20);
        drop(raw);
        assert!(matches!(stream.send(Bytes::from_static(b"x")).await, Err(FrameError::Lost { .. })));
        assert!(matches!(stream.receive().await, Err(FrameError::Lost { .. })), "the loss is told to the reader too");
    }

    #[tokio::test]
    async fn a_large_frame_that_nobody_takes_ends_with_the_refusal() {
        let (mut stream, mut raw, _life) = stream_over_bytes(16);
        let (sent, ()) = tokio::join!(stream.send(Bytes::from(vec![0; 1000])), async {
            tokio::task::yield_now().await;
            raw.write_all(&[1, 4, 0, 0, 0, 2, b'n', b'o']).await.unwrap();
        });
        assert!(matches!(&sent, Err(FrameError::Refused { reason }) if reason == "no"), "{sent:?}");
    }

    #[tokio::test]
    async fn feed_collects_and_flush_sends() {
        let (mut stream, mut raw, _life) = stream_over_bytes(1 << 20);
        for _ in 0..100 {
            stream.sink.feed(Bytes::from_static(b"x")).await.unwrap();
        }
        let mut bytes = vec![0; 1000];
        assert!(raw.read(&mut bytes).now_or_never().is_none(), "nothing is written before the flush");
        stream.sink.flush().await.unwrap();
        assert_eq!(raw.read(&mut bytes).await.unwrap(), 700);
        stream.sink.feed(Bytes::from(vec![0; WRITE_BUFFER_BYTES])).await.unwrap();
        stream.sink.feed(Bytes::from_static(b"y")).await.unwrap();
        assert!(raw.read(&mut bytes).await.unwrap() > 0, "a full buffer is written");
    }

    #[tokio::test]
    async fn a_half_that_waits_learns_at_once_that_the_connection_is_given_up() {
        let (stream, raw, life) = stream_over_bytes(16);
        let (mut sink, mut source) = stream.split();
        let giving_up = async {
            tokio::task::yield_now().await;
            life.cancel();
        };
        let all = async { tokio::join!(source.next(), sink.send(Bytes::from(vec![0; 100])), giving_up) };
        let (read, written, ()) = tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
        assert!(matches!(read, Some(Err(FrameError::Lost { .. }))), "{read:?}");
        assert!(matches!(written, Err(FrameError::Lost { .. })), "{written:?}");
        drop(raw);
    }

    #[tokio::test]
    async fn large_frames_arrive_whole_through_a_narrow_pipe() {
        let (here, there) = duplex(777);
        let (life, peer) = (CancellationToken::new(), Identity::from_secret([1; 32]).peer_id());
        let ends = [here, there]
            .map(|io| frame_stream(peer, Class::Chunk, io.compat(), Decoder::new(Class::Chunk), None, &life));
        let [mut writer, mut reader] = ends;
        let frames = [1, 4095, 4096, 4097, 16_384, 100_000, 262_144].map(|size| Bytes::from(vec![7; size]));
        let expected = frames.clone();
        let writing = async {
            for frame in frames {
                writer.send(frame).await.unwrap();
            }
            writer.sink.close().await.unwrap();
        };
        let reading = async {
            for frame in expected {
                assert!(reader.receive().await.unwrap().unwrap() == frame);
            }
            assert!(reader.receive().await.unwrap().is_none());
        };
        tokio::join!(writing, reading);
    }

    #[tokio::test]
    async fn an_idle_stream_holds_no_buffer() {
        let mut decoder = Decoder::new(Class::Chunk);
        let (mut near, mut far) = {
            let (near, far) = duplex(1 << 20);
            (near.compat(), far)
        };
        let mut wire = BytesMut::new();
        codec::encode(Class::Chunk, Kind::Data, &vec![1; 200_000], &mut wire).unwrap();
        far.write_all(&wire).await.unwrap();
        assert_eq!(read_frame(&mut near, &mut decoder).await.unwrap().payload.len(), 200_000);
        assert_eq!(decoder.buffer_mut().capacity(), 0);
    }
}
