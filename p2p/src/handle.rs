//! [`Mesh`]: what the rest of a node holds of the mesh, and [`Incoming`]: the streams that peers open.
//!
//! A handle is cheap to clone and asks the one task that owns the network; dropping the last handle ends that task.
//! The same handle drives the real network and the one in [`crate::memory`].

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cut::Cuts;
use crate::gate::Peers;
use crate::lines::Lines;
use crate::{Class, FrameStream, Member, PeerAddress, PeerEvent, PeerId, PeerInfo, Timings};

mod error;
pub use error::{DialError, MeshError, OpenError};

/// Calls that wait for the event loop. It answers each within microseconds, so this is only ever full in a burst.
pub(crate) const COMMANDS_MAX: usize = 256;
/// Attempts of one `open` whose connection closes under it. When two nodes dial each other, or one restarts, the
/// connection that was there a moment ago may be a stillborn one with a good one behind it.
const OPEN_ATTEMPTS: u32 = 3;
/// Pause before the second attempt, twice that before the third.
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// A failure that may be retried takes at least this long. A peer in back-off is known to be unreachable in
/// microseconds, and a caller that tries again at once would keep a core busy with finding that out.
const RETRYABLE_AFTER: Duration = Duration::from_millis(50);
/// Events a slow listener may fall behind by before it is told that it missed some.
const EVENTS_MAX: usize = 1024;

/// A call on its way to the event loop.
#[derive(Debug)]
pub(crate) enum Command {
    Open { peer: PeerId, request: OpenRequest },
    Dial { address: PeerAddress, expected: Option<PeerId>, reply: oneshot::Sender<Result<PeerId, DialError>> },
}

/// A stream that somebody waits for. When nobody waits any more it is dropped at whatever stage it has reached.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) class: Class,
    pub(crate) reply: oneshot::Sender<Result<FrameStream, OpenError>>,
}

/// The handle's and the loop's common parts.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer_id: PeerId,
    pub(crate) listen_addrs: Vec<SocketAddr>,
    pub(crate) timings: Timings,
    pub(crate) peers: Arc<Peers>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    /// Asks the loop to end.
    pub(crate) stop: CancellationToken,
    /// Ends what has not ended by itself after the shutdown's deadline.
    pub(crate) kill: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Whom this node does not hear for a while; `None` in memory, where the network is cut instead.
    pub(crate) cuts: Option<Arc<Cuts>>,
    /// The connections by their own addresses; `None` in memory, where there are none.
    pub(crate) lines: Option<Arc<Lines>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn events_channel() -> broadcast::Sender<PeerEvent> {
    broadcast::Sender::new(EVENTS_MAX)
}

/// A handle to the mesh.
#[derive(Debug, Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
    /// How often a peer has refused a stream because this node is no member there.
    refusals: Arc<AtomicU64>,
}

impl Mesh {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), refusals: Arc::default() }
    }

    /// This node's name.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.shared.peer_id
    }

    /// The addresses this node listens on, with the ports it really has.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<SocketAddr> {
        self.shared.listen_addrs.clone()
    }

    /// Replaces the list of members: who may open streams, where they are, and whom to stay connected to. Takes effect
    /// for the next stream before the call returns; connections follow. An entry for this node itself is ignored, and
    /// the first of two entries with the same name counts.
    pub fn set_members(&self, members: Vec<Member>) {
        self.shared.peers.lock().set_members(Instant::now(), members);
        self.shared.peers.changed.notify_one();
    }

    /// Opens a stream, dialing the peer first when it is a member with an address and not connected. Waits at most
    /// [`Timings::open_timeout`]; a failure that may be retried takes 50 ms at least, so that a loop around this call does
    /// not spin. Cancel-safe: a cancelled call leaves no stream behind.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is open then.
    pub async fn open(&self, peer: PeerId, class: Class) -> Result<FrameStream, OpenError> {
        if class != Class::Join && !self.shared.peers.lock().is_member(peer) {
            return Err(OpenError::NotAllowed { peer, class, refused_by: self.shared.peer_id });
        }
        let (started, after) = (Instant::now(), self.shared.timings.open_timeout);
        let opening = async {
            for attempt in 1..=OPEN_ATTEMPTS {
                if let Some(answer) = self.ask_to_open(peer, class).await {
                    return answer;
                }
                tokio::time::sleep(OPEN_PAUSE * attempt).await;
            }
            Err(OpenError::Unreachable { peer, reason: "its connections close before a stream is open".to_owned() })
        };
        let opened = tokio::time::timeout(after, opening).await;
        let opened = opened.unwrap_or(Err(OpenError::TimedOut { peer, class, after }));
        if matches!(&opened, Err(OpenError::NotAllowed { refused_by, .. }) if *refused_by == peer) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        if opened.as_ref().is_err_and(OpenError::is_retryable) {
            tokio::time::sleep_until(started + RETRYABLE_AFTER).await;
        }
        opened
    }

    /// One attempt; `None` when the connection that the request was handed to went away with it.
    async fn ask_to_open(&self, peer: PeerId, class: Class) -> Option<Result<FrameStream, OpenError>> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Open { peer, request: OpenRequest { class, reply } };
        if self.shared.commands.send(command).await.is_err() {
            return Some(Err(OpenError::Closed));
        }
        match answer.await {
            Ok(answer) => Some(answer),
            Err(_dropped) if self.shared.stop.is_cancelled() => Some(Err(OpenError::Closed)),
            Err(_dropped) => None,
        }
    }

    /// Has this node neither hear nor reach these peers for so long, or with `None` anybody, to rehearse a network cut: their
    /// connections stay, and are silent. It ends by itself; another call takes the place of this one. Answers whether it was
    /// done: a mesh in memory is cut by its [`crate::memory::Network`].
    pub fn cut_off(&self, from: Option<BTreeSet<PeerId>>, lasts: Duration) -> bool {
        let Some(cuts) = &self.shared.cuts else { return false };
        cuts.begin(from, Instant::now() + lasts);
        true
    }

    /// Ends the connections that are from an address of this machine which is `gone`: nothing comes or goes on them any more, and
    /// their peers are dialed anew. Answers how many.
    pub fn end_from(&self, gone: impl Fn(IpAddr) -> bool) -> usize {
        self.shared.lines.as_ref().map_or(0, |lines| lines.end_from(gone))
    }

    /// How often a peer has refused a stream because this node is not a member for it: one that was not told of this
    /// node yet, or one that was told of its removal.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Connects to an address, whether or not a member lives there: the first step of joining. The connection is closed
    /// again after [`Timings::pending_member_ttl`] unless its peer becomes a member. With `expected` already connected,
    /// returns at once; a name with several addresses has them tried in turn, within the time for one. Cancel-safe.
    ///
    /// # Errors
    /// [`DialError`]; no connection was made then.
    pub async fn dial(&self, address: PeerAddress, expected: Option<PeerId>) -> Result<PeerId, DialError> {
        let timings = &self.shared.timings;
        let limit = timings.resolve_timeout + timings.connect_timeout + timings.handshake_timeout;
        let (reply, answer) = oneshot::channel();
        let command = Command::Dial { address: address.clone(), expected, reply };
        let dialing = async {
            self.shared.commands.send(command).await.map_err(|_loop_ended| DialError::Closed)?;
            answer.await.unwrap_or(Err(DialError::Closed))
        };
        let late = |_elapsed| Err(DialError::Unreachable { address, reason: format!("no answer within {limit:?}") });
        tokio::time::timeout(limit, dialing).await.unwrap_or_else(late)
    }

    /// Members going up and down, from now on. A listener that falls more than 1,024 events behind gets `Lagged` and
    /// should look at [`Mesh::peers`].
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.shared.events.subscribe()
    }

    /// Every member and every connected stranger, as known now.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.peers.lock().snapshot(Instant::now())
    }

    /// One of [`Self::peers`], of which there may be thousands.
    #[must_use]
    pub fn peer(&self, peer: PeerId) -> Option<PeerInfo> {
        self.shared.peers.lock().peer(peer, Instant::now())
    }

    /// Whether there is a connection to the peer now.
    #[must_use]
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.shared.peers.lock().is_connected(peer)
    }

    /// Sends what closed and flushed streams still have on the way, closes every connection and ends all tasks of the
    /// mesh, within [`Timings::shutdown_timeout`] or by force after it. Streams that are open then are lost. All handles
    /// answer `Closed` from then on.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        let deadline = self.shared.timings.shutdown_timeout;
        if tokio::time::timeout(deadline, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(?deadline, "mesh connections did not close in time and are cut");
            self.shared.kill.cancel();
            // What is left stops at its next await; a moment is enough and nothing depends on it.
            let _ = tokio::time::timeout(Duration::from_millis(500), self.shared.tasks.wait()).await;
        }
    }
}

/// The streams that peers open to this node, in the order they came.
///
/// Read it in a loop that only hands each stream to a task of its own: the queue is bounded, and when it is full
/// further streams are refused with [`OpenError::Busy`].
#[derive(Debug)]
pub struct Incoming {
    receiver: mpsc::Receiver<FrameStream>,
}

impl Incoming {
    pub(crate) fn new(receiver: mpsc::Receiver<FrameStream>) -> Self {
        Self { receiver }
    }

    /// The next stream, or `None` once the mesh has shut down. Cancel-safe.
    pub async fn next(&mut self) -> Option<FrameStream> {
        self.receiver.recv().await
    }
}

impl Stream for Incoming {
    type Item = FrameStream;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameStream>> {
        self.receiver.poll_recv(cx)
    }
}
