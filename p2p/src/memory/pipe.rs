//! The two ends of a stream in memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, PollSender, WaitForCancellationFutureOwned};

use super::wire::wait_until_passable;
use super::{World, lock};
use crate::frame::SinkHalf;
use crate::slots::Slot;
use crate::{Class, FrameError, FrameSink, FrameSource, FrameStream, PeerId};

/// Frames under way in one direction. Like the window of a real stream it is small, so that code which writes without
/// reading stops here as it would there.
const FRAMES_UNDER_WAY_MAX: usize = 32;

/// A frame, or an end, and when it may arrive.
#[derive(Debug)]
struct Parcel {
    arrives: Instant,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Frame(Bytes),
    End,
    /// The end of a stream that is not served, with the reason.
    Denied(String),
}

/// One of the two nodes of a stream, and how long its end of the connection lives.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) peer: PeerId,
    pub(super) life: &'a CancellationToken,
}

/// A stream from `opener` to `other`: the opener's end, and the other's, which holds the opener's place.
pub(super) fn stream_pair(
    world: &Arc<Mutex<World>>,
    class: Class,
    opener: Side<'_>,
    other: Side<'_>,
    slot: Slot,
) -> (FrameStream, FrameStream) {
    let lives = [opener.life.child_token(), other.life.child_token()];
    let [near, far] = &lives;
    let (near, far) = (Side { peer: opener.peer, life: near }, Side { peer: other.peer, life: far });
    let (there, arriving_there) = direction(world, class, near, far, &lives, Some(slot));
    let (back, arriving_back) = direction(world, class, far, near, &lives, None);
    (
        FrameStream { peer: other.peer, class, sink: there, source: arriving_back },
        FrameStream { peer: opener.peer, class, sink: back, source: arriving_there },
    )
}

fn direction(
    world: &Arc<Mutex<World>>,
    class: Class,
    from: Side<'_>,
    to: Side<'_>,
    lives: &[CancellationToken; 2],
    slot: Option<Slot>,
) -> (FrameSink, FrameSource) {
    let (sender, receiver) = mpsc::channel(FRAMES_UNDER_WAY_MAX);
    let sink = PipeSink {
        world: Arc::clone(world),
        class,
        sender: PollSender::new(sender),
        last_arrival: Instant::now(),
        refusal: None,
        closed: false,
        lives: lives.clone(),
        life: Box::pin(from.life.clone().cancelled_owned()),
    };
    let source = PipeSource {
        world: Arc::clone(world),
        from: from.peer,
        to: to.peer,
        receiver,
        life: to.life.clone(),
        over: false,
        slot,
    };
    let frames =
        futures::stream::unfold(source, |mut source| async move { source.next().await.map(|item| (item, source)) });
    (FrameSink::new(sink), FrameSource::new(frames.fuse()))
}

struct PipeSink {
    world: Arc<Mutex<World>>,
    class: Class,
    sender: PollSender<Parcel>,
    /// Nothing overtakes.
    last_arrival: Instant,
    /// What the end says instead of that nothing follows.
    refusal: Option<String>,
    closed: bool,
    /// Both ends of the stream, for a loss.
    lives: [CancellationToken; 2],
    life: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl PipeSink {
    fn post(&mut self, content: Content) -> Result<(), FrameError> {
        let (delay, lost) = {
            let mut world = lock(&self.world);
            (world.draw_delay(), world.draw_loss())
        };
        if lost {
            for life in &self.lives {
                life.cancel();
            }
            self.closed = true;
            return Err(FrameError::Lost { reason: "a frame was lost on purpose".to_owned() });
        }
        self.last_arrival = self.last_arrival.max(Instant::now() + delay);
        self.sender.send_item(Parcel { arrives: self.last_arrival, content }).map_err(|_no_reader| gone())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        if self.life.as_mut().poll(cx).is_ready() {
            self.closed = true;
            return Poll::Ready(Err(given_up()));
        }
        Poll::Ready(ready!(self.sender.poll_reserve(cx)).map_err(|_no_reader| gone()))
    }
}

impl SinkHalf for PipeSink {
    fn refuse(mut self: Pin<&mut Self>, reason: String) {
        self.refusal = Some(reason);
    }
}

impl Sink<Bytes> for PipeSink {
    type Error = FrameError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        if self.closed { Poll::Ready(Err(FrameError::Closed)) } else { self.poll_room(cx) }
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), FrameError> {
        let (class, max) = (self.class, self.class.frame_bytes_max());
        if self.closed {
            return Err(FrameError::Closed);
        }
        if frame.len() > max {
            return Err(FrameError::TooLarge { class, bytes: frame.len(), max });
        }
        self.post(Content::Frame(frame))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        Poll::Ready(if self.closed { Err(FrameError::Closed) } else { Ok(()) })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        if !self.closed {
            ready!(self.poll_room(cx))?;
            let end = self.refusal.take().map_or(Content::End, Content::Denied);
            self.post(end)?;
            self.closed = true;
            self.sender.close();
        }
        Poll::Ready(Ok(()))
    }
}

struct PipeSource {
    world: Arc<Mutex<World>>,
    from: PeerId,
    to: PeerId,
    receiver: mpsc::Receiver<Parcel>,
    life: CancellationToken,
    over: bool,
    slot: Option<Slot>,
}

impl PipeSource {
    async fn next(&mut self) -> Option<Result<Bytes, FrameError>> {
        if self.over {
            return None;
        }
        let life = self.life.clone();
        // What has arrived is handed over even if the connection has ended since, as it would be on a real one.
        let arrived = tokio::select! {
            biased;
            parcel = self.arrive() => parcel.ok_or_else(gone),
            () = life.cancelled() => Err(given_up()),
        };
        match arrived {
            Ok(Parcel { content: Content::Frame(frame), .. }) => Some(Ok(frame)),
            Ok(Parcel { content: Content::End, .. }) => self.finish(None),
            Ok(Parcel { content: Content::Denied(reason), .. }) => self.finish(Some(FrameError::Refused { reason })),
            Err(error) => self.finish(Some(error)),
        }
    }

    async fn arrive(&mut self) -> Option<Parcel> {
        let parcel = self.receiver.recv().await;
        if let Some(parcel) = &parcel
            && parcel.arrives > Instant::now()
        {
            tokio::time::sleep_until(parcel.arrives).await;
        }
        wait_until_passable(&self.world, self.from, self.to).await;
        parcel
    }

    fn finish(&mut self, error: Option<FrameError>) -> Option<Result<Bytes, FrameError>> {
        self.over = true;
        self.slot = None;
        self.receiver.close();
        error.map(Err)
    }
}

fn gone() -> FrameError {
    FrameError::Lost { reason: "it ended without being closed".to_owned() }
}

fn given_up() -> FrameError {
    FrameError::Lost { reason: "the connection was given up".to_owned() }
}
