//! A transport inside one process, with cuts: for this crate's own cluster tests and for the embedded node, which has
//! no peers at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// An inbound stream: from whom, of what class.
pub type Inbound = (NodeId, Class, Duplex);

/// Nodes of one process that reach each other unless cut.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<NodeId, mpsc::Sender<Inbound>>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    streams: Vec<(NodeId, NodeId, CancellationToken)>,
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
        inner.streams.retain(|(from, to, stream)| {
            let broken = *from == node || *to == node;
            if broken {
                stream.cancel();
            }
            !broken
        });
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.lock().cuts.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, from: NodeId, to: NodeId, class: Class) -> Result<Duplex, TransportError> {
        let mut inner = self.lock();
        let refused = |reason: &str| TransportError { target: to, reason: reason.into() };
        if inner.cuts.contains(&(from, to)) {
            return Err(refused("cut off"));
        }
        let node = inner.nodes.get(&to).ok_or_else(|| refused("not there"))?.clone();
        let broken = CancellationToken::new();
        let (near, far) = pair(&broken);
        node.try_send((from, class, far)).map_err(|_full| refused("not taking streams"))?;
        inner.streams.retain(|(_, _, stream)| !stream.is_cancelled());
        inner.streams.push((from, to, broken));
        Ok(near)
    }
}

struct Place {
    own: NodeId,
    network: Network,
}

impl Transport for Place {
    fn open(&self, target: NodeId, _peer: &str, class: Class) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let opened = self.network.connect(self.own, target, class);
        Box::pin(async move { opened })
    }
}

fn pair(broken: &CancellationToken) -> (Duplex, Duplex) {
    let (to_far, from_near) = mpsc::channel(FRAMES_QUEUED);
    let (to_near, from_far) = mpsc::channel(FRAMES_QUEUED);
    (half(to_far, from_far, broken.clone()), half(to_near, from_near, broken.clone()))
}

fn half(sender: mpsc::Sender<Bytes>, receiver: mpsc::Receiver<Bytes>, broken: CancellationToken) -> Duplex {
    let stop = broken.clone();
    let sink = futures::sink::unfold(sender, move |sender, bytes: Bytes| {
        let stop = stop.clone();
        async move {
            if bytes.len() > FRAME_BYTES_MAX {
                let text = format!("a frame of {} bytes, at most {FRAME_BYTES_MAX} are sent", bytes.len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            if stop.is_cancelled() || sender.send(bytes).await.is_err() {
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
