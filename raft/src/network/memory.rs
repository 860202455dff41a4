//! A transport inside one process, with cuts and losses: for this crate's own cluster tests and for the embedded node,
//! which has no peers at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Class, Duplex, FRAME_BYTES_MAX, Transport, TransportError};
use crate::id::NodeId;

/// How many frames wait in one direction of a stream.
const FRAMES_QUEUED: usize = 64;

/// How many inbound streams wait for their node.
const STREAMS_QUEUED: usize = 64;

/// How long opening a stream takes to fail where frames are lost: as a dial does that nobody answers.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// A stream that another node opened.
#[derive(Debug)]
pub struct Inbound {
    /// Who opened it.
    pub from: NodeId,
    /// What it is for.
    pub class: Class,
    /// This side of it.
    pub duplex: Duplex,
}

/// Nodes of one process that reach each other unless cut.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<NodeId, mpsc::Sender<Inbound>>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// From whom to whom frames are lost.
    losses: BTreeSet<(NodeId, NodeId)>,
    streams: Vec<Open>,
}

/// A stream between two nodes.
#[derive(Clone)]
struct Open {
    from: NodeId,
    to: NodeId,
    broken: CancellationToken,
    /// Whether it has lost a frame: it never delivers the next one then.
    lossy: Arc<AtomicBool>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    /// A node's place: the transport it calls through and the streams that others open to it.
    #[must_use]
    pub fn join(&self, node: NodeId) -> (Arc<dyn Transport>, mpsc::Receiver<Inbound>) {
        let (sender, receiver) = mpsc::channel(STREAMS_QUEUED);
        self.lock().nodes.insert(node, sender);
        (Arc::new(Place { own: node, network: self.clone() }), receiver)
    }

    /// Nothing passes between `node` and any other from now on, and what is open breaks.
    pub fn isolate(&self, node: NodeId) {
        let mut inner = self.lock();
        let others: Vec<NodeId> = inner.nodes.keys().copied().filter(|other| *other != node).collect();
        for other in others {
            inner.cuts.insert((node, other));
            inner.cuts.insert((other, node));
        }
        inner.close_where(|stream| stream.from == node || stream.to == node);
    }

    /// Frames from `from` to `to` are lost without a word from now on; the other way they pass.
    pub fn lose(&self, from: NodeId, to: NodeId) {
        self.lock().losses.insert((from, to));
    }

    /// Everything passes again. Streams that lost a frame break, since each delivers in order or not at all.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.cuts.clear();
        inner.losses.clear();
        inner.close_where(|stream| stream.lossy.load(Ordering::Relaxed));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where nobody answers because frames are lost on the way.
    fn connect(&self, from: NodeId, to: NodeId, class: Class) -> Result<Option<Duplex>, TransportError> {
        let mut inner = self.lock();
        let refused = |reason: &str| TransportError { target: to, reason: reason.into() };
        if inner.cuts.contains(&(from, to)) {
            return Err(refused("cut off"));
        }
        if inner.losses.contains(&(from, to)) || inner.losses.contains(&(to, from)) {
            return Ok(None);
        }
        let node = inner.nodes.get(&to).ok_or_else(|| refused("not there"))?.clone();
        let stream = Open { from, to, broken: CancellationToken::new(), lossy: Arc::default() };
        let (near, far) = self.pair(&stream);
        node.try_send(Inbound { from, class, duplex: far }).map_err(|_full| refused("not taking streams"))?;
        inner.streams.retain(|stream| !stream.broken.is_cancelled());
        inner.streams.push(stream);
        Ok(Some(near))
    }

    fn pair(&self, stream: &Open) -> (Duplex, Duplex) {
        let (to_far, from_near) = mpsc::channel(FRAMES_QUEUED);
        let (to_near, from_far) = mpsc::channel(FRAMES_QUEUED);
        let back = Open { from: stream.to, to: stream.from, ..stream.clone() };
        (self.half(stream.clone(), to_far, from_far), self.half(back, to_near, from_near))
    }

    /// One side of a stream; `way` is the direction of what it sends.
    fn half(&self, way: Open, sender: mpsc::Sender<Bytes>, receiver: mpsc::Receiver<Bytes>) -> Duplex {
        let broken = way.broken.clone();
        let network = self.clone();
        let sink = futures::sink::unfold(sender, move |sender, bytes: Bytes| {
            let (way, network) = (way.clone(), network.clone());
            async move {
                if bytes.len() > FRAME_BYTES_MAX {
                    let text = format!("a frame of {} bytes, at most {FRAME_BYTES_MAX} are sent", bytes.len());
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                }
                if network.loses(&way) {
                    return Ok(sender);
                }
                if way.broken.is_cancelled() || sender.send(bytes).await.is_err() {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe));
                }
                Ok(sender)
            }
        });
        let source = futures::stream::unfold(receiver, |mut receiver| async {
            let bytes = receiver.recv().await?;
            Some((Ok(bytes), receiver))
        })
        .take_until(broken.cancelled_owned());
        Duplex { sink: Box::pin(sink.sink_map_err(|error| error)), source: Box::pin(source) }
    }

    fn loses(&self, way: &Open) -> bool {
        let lost = self.lock().losses.contains(&(way.from, way.to)) || way.lossy.load(Ordering::Relaxed);
        if lost {
            way.lossy.store(true, Ordering::Relaxed);
        }
        lost
    }
}

impl Inner {
    fn close_where(&mut self, broken: impl Fn(&Open) -> bool) {
        self.streams.retain(|stream| {
            let broken = broken(stream);
            if broken {
                stream.broken.cancel();
            }
            !broken
        });
    }
}

struct Place {
    own: NodeId,
    network: Network,
}

impl Transport for Place {
    fn open(&self, target: NodeId, _peer: &str, class: Class) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let opened = self.network.connect(self.own, target, class);
        Box::pin(async move {
            if let Some(duplex) = opened? {
                return Ok(duplex);
            }
            tokio::time::sleep(OPEN_TIMEOUT).await;
            Err(TransportError { target, reason: "nobody answers".into() })
        })
    }
}
