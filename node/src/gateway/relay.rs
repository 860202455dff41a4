//! Work sessions of nodes outside the log, between their gateway and the leader: one stream for all of them.
//!
//! What waits on either side travels in one frame. A session that does not take its frames is ended and held against
//! nobody else; with the stream, and with the leader's term, all its sessions end, and their nodes begin new ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pentora_p2p::{Class, FrameSink, FrameSource, FrameStream, Mesh, PeerEvent, PeerId};
use pentora_raft::codec::{self, Kind};
use pentora_raft::{NodeId, Raft, Role};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::coordinator::{WorkSessions, granted};
use crate::work_protocol::{LINK_FRAMES_MAX, LeaderFrame, Link, WorkerFrame, pair};

/// What waits for the stream, of all sessions together.
const WAITING_MAX: usize = 1_024;
/// What is put into one frame, in bytes; a frame holds 256 KiB, and one beat of a node is at most a few.
const FRAME_BYTES: usize = 64 << 10;
/// What a node may say at once, in bytes: with what is put around it, it fits a frame, so that no node ends the stream of all.
const SAID_BYTES_MAX: usize = 192 << 10;
/// Sessions that one gateway may carry at once.
const SESSIONS_MAX: usize = 4_096;
/// How long a leader may take to let the stream be opened: members are connected.
const OPENED_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether the leader of a stream still leads: once for all its sessions.
const LEADER_LOOK: Duration = Duration::from_millis(100);

/// A session's number on its stream.
type Number = u64;

/// From a gateway to the leader. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Up {
    /// A session of this node begins.
    Open(NodeId),
    /// The node says this.
    Says(WorkerFrame),
    /// It is over.
    Close,
    /// This node's last connection to the gateway was ended by its side; the number says nothing.
    Gone(NodeId),
}

/// From the leader to a gateway. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Down {
    /// For the node.
    Tells(LeaderFrame),
    /// The session is over.
    Closed,
}

/// The stream to one leader.
#[derive(Debug)]
struct Uplink {
    leader: NodeId,
    up: mpsc::Sender<(Number, Up)>,
    down: Mutex<BTreeMap<Number, mpsc::Sender<LeaderFrame>>>,
    ended: CancellationToken,
}

/// The gateway's side.
#[derive(Debug)]
pub(super) struct Relay {
    raft: Raft,
    sessions: Arc<WorkSessions>,
    mesh: Option<Mesh>,
    uplink: tokio::sync::Mutex<Option<Arc<Uplink>>>,
    numbers: AtomicU64,
}

impl Relay {
    pub(super) fn new(raft: Raft, sessions: Arc<WorkSessions>, mesh: Option<Mesh>) -> Self {
        Self { raft, sessions, mesh, uplink: tokio::sync::Mutex::default(), numbers: AtomicU64::new(0) }
    }

    /// Carries one session to whoever leads now, until an end of it.
    pub(super) async fn carry(
        &self,
        node: NodeId,
        mut link: Link<LeaderFrame, WorkerFrame>,
        tasks: &TaskTracker,
    ) -> Result<(), String> {
        let leader = self.raft.status().leader.ok_or("no leader is known")?;
        let uplink = self.uplink(leader, tasks).await?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (tell, mut told) = mpsc::channel(LINK_FRAMES_MAX);
        lock(&uplink.down).insert(number, tell);
        let _closing = Closing { uplink: &uplink, number };
        let gone = || "the stream to the leader broke".to_owned();
        uplink.up.send((number, Up::Open(node))).await.map_err(|_ended| gone())?;
        loop {
            tokio::select! {
                biased;
                () = uplink.ended.cancelled() => return Err(gone()),
                frame = told.recv() => match frame {
                    Some(frame) => if link.out.send(frame).await.is_err() { return Ok(()) },
                    None => return Err("the leader ended the session".into()),
                },
                frame = link.from.recv() => match frame {
                    Some(frame) if codec::encoded_len(&frame) > SAID_BYTES_MAX => {
                        return Err("it says more at once than any node has to say".into());
                    }
                    Some(frame) => uplink.up.send((number, Up::Says(frame))).await.map_err(|_ended| gone())?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Tells whoever leads which nodes have hung up on this one: work does not wait for a process that is gone. It is a hint, of which
    /// the leader makes something where the node has no session either.
    pub(super) async fn keep(&self) {
        let Some(mesh) = &self.mesh else { return };
        let mut events = mesh.events();
        loop {
            let peer = match events.recv().await {
                Ok(PeerEvent::Down { peer, hung_up: true }) => peer.to_string(),
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            let Some(node) = self.raft.read(|state| state.node_of(&peer)) else { continue };
            if self.raft.status().role == Role::Leader {
                self.sessions.hung_up(node);
            } else if let Some(uplink) = self.uplink.lock().await.as_ref() {
                // Without a stream no session came through here; without room on it the node is found out by its silence.
                let _ = uplink.up.try_send((0, Up::Gone(node)));
            }
        }
    }

    /// The stream to `leader`, opened where there is none.
    async fn uplink(&self, leader: NodeId, tasks: &TaskTracker) -> Result<Arc<Uplink>, String> {
        let mut kept = self.uplink.lock().await;
        if let Some(uplink) = kept.as_ref().filter(|it| it.leader == leader && !it.ended.is_cancelled()) {
            return Ok(Arc::clone(uplink));
        }
        if let Some(before) = kept.take() {
            before.ended.cancel();
        }
        // Others may have waited here while it was tried.
        if self.raft.status().leader != Some(leader) {
            return Err("another leads now".into());
        }
        let mesh = self.mesh.as_ref().ok_or("this node has no mesh")?;
        let peer = self.raft.read(|state| state.node(leader).map(|node| node.info.peer.clone()));
        let peer: PeerId =
            peer.ok_or("the leader is not known here yet")?.parse().map_err(|error| format!("{error}"))?;
        let opened = tokio::time::timeout(OPENED_WITHIN, mesh.open(peer, Class::Relay)).await;
        let stream = opened.map_err(|_elapsed| "the leader does not answer")?.map_err(|error| error.to_string())?;
        let (sink, source) = stream.split();
        let (up, waiting) = mpsc::channel(WAITING_MAX);
        let (down, ended) = (Mutex::default(), CancellationToken::new());
        let uplink = Arc::new(Uplink { leader, up, down, ended: ended.clone() });
        let over = ended.clone().drop_guard();
        tasks.spawn(write(sink, waiting, ended.clone(), over));
        let over = ended.clone().drop_guard();
        tasks.spawn(hand_down(source, Arc::clone(&uplink), over));
        tasks.spawn(end_with(self.raft.clone(), leader, ended));
        *kept = Some(Arc::clone(&uplink));
        Ok(uplink)
    }
}

/// Ends a stream, and with it all its sessions, when another leads than `leader`.
async fn end_with(raft: Raft, leader: NodeId, ended: CancellationToken) {
    let _over = ended.clone().drop_guard();
    while raft.status().leader.is_none_or(|now| now == leader) {
        tokio::select! {
            biased;
            () = ended.cancelled() => return,
            () = raft.status_changed(LEADER_LOOK) => {}
        }
    }
}

/// Tells the leader that a session is over, however it ends.
struct Closing<'a> {
    uplink: &'a Uplink,
    number: Number,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        lock(&self.uplink.down).remove(&self.number);
        // Where there is no room for it, the leader gets the node's next session, which takes the place of this one.
        let _ = self.uplink.up.try_send((self.number, Up::Close));
    }
}

/// Hands what the leader tells to the sessions, until the stream ends.
async fn hand_down(mut source: FrameSource, uplink: Arc<Uplink>, _over: DropGuard) {
    while let Some(frames) = tokio::select! {
        frames = read::<Down>(&mut source) => frames,
        () = uplink.ended.cancelled() => None,
    } {
        for (number, frame) in frames {
            let mut sessions = lock(&uplink.down);
            let is_taken = match frame {
                Down::Tells(frame) => sessions.get(&number).is_some_and(|session| session.try_send(frame).is_ok()),
                Down::Closed => false,
            };
            if !is_taken {
                sessions.remove(&number);
            }
        }
    }
    lock(&uplink.down).clear();
}

/// Serves the sessions that another member carries here, until its stream ends. One that comes while this node does not
/// lead is ended at once.
///
/// # Errors
/// Where the stream carries more than any gateway may.
pub async fn serve(
    stream: FrameStream,
    raft: &Raft,
    sessions: &Arc<WorkSessions>,
    tasks: &TaskTracker,
) -> Result<(), String> {
    let (sink, mut source) = stream.split();
    let (down, waiting) = mpsc::channel(WAITING_MAX);
    let ended = CancellationToken::new();
    let _over = ended.clone().drop_guard();
    tasks.spawn(write(sink, waiting, ended.clone(), ended.clone().drop_guard()));
    let mut carried: BTreeMap<Number, mpsc::Sender<WorkerFrame>> = BTreeMap::new();
    while let Some(frames) = tokio::select! {
        frames = read::<Up>(&mut source) => frames,
        () = ended.cancelled() => None,
    } {
        for (number, frame) in frames {
            match frame {
                Up::Open(node) => {
                    carried.retain(|_, session| !session.is_closed());
                    if carried.len() >= SESSIONS_MAX {
                        return Err(format!("a gateway carries more than {SESSIONS_MAX} sessions"));
                    }
                    let (near, far) = pair();
                    carried.insert(number, near.out);
                    let (raft, sessions) = (raft.clone(), Arc::clone(sessions));
                    tasks.spawn(async move { sessions.serve(node, far, || granted(&raft, node)).await });
                    tasks.spawn(hand_on(number, near.from, down.clone()));
                }
                Up::Says(frame) => {
                    if carried.get(&number).is_some_and(|session| session.try_send(frame).is_err()) {
                        carried.remove(&number);
                    }
                }
                Up::Close => drop(carried.remove(&number)),
                Up::Gone(node) => sessions.hung_up(node),
            }
        }
    }
    Ok(())
}

/// Sends what the leader tells one node towards its gateway, and at last that the session is over.
async fn hand_on(number: Number, mut from: mpsc::Receiver<LeaderFrame>, down: mpsc::Sender<(Number, Down)>) {
    while let Some(frame) = from.recv().await {
        if down.send((number, Down::Tells(frame))).await.is_err() {
            return;
        }
    }
    let _ = down.send((number, Down::Closed)).await;
}

/// Sends what waits, together as far as it fits a frame, until nobody has more to say or the stream ends.
async fn write<T: Serialize>(
    mut sink: FrameSink,
    mut waiting: mpsc::Receiver<(Number, T)>,
    ended: CancellationToken,
    _over: DropGuard,
) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => Some(first),
            None => tokio::select! {
                biased;
                () = ended.cancelled() => None,
                first = waiting.recv() => first,
            },
        };
        let Some(first) = first else { break };
        let mut bytes = codec::encoded_len(&first);
        let mut together = vec![first];
        while let Ok(more) = waiting.try_recv() {
            bytes += codec::encoded_len(&more);
            if bytes > FRAME_BYTES {
                next = Some(more);
                break;
            }
            together.push(more);
        }
        let frame: Bytes = codec::encode(Kind::WorkFrame, &together).into();
        let sent = tokio::select! {
            biased;
            () = ended.cancelled() => false,
            sent = sink.send(frame) => sent.is_ok(),
        };
        if !sent {
            break;
        }
    }
    drop(sink.close().await);
}

/// The next frame's messages; `None` at the end of the stream, or where it makes no sense.
async fn read<T: DeserializeOwned>(source: &mut FrameSource) -> Option<Vec<(Number, T)>> {
    let frame = source.next().await?;
    let frame = frame.inspect_err(|error| tracing::debug!(%error, "a relay of work sessions ended")).ok()?;
    match codec::decode(Kind::WorkFrame, &frame) {
        Ok(frames) => Some(frames),
        Err(error) => {
            tracing::warn!(%error, "a relay of work sessions ended: a frame does not decode");
            None
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
