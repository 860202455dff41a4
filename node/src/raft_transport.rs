//! Raft's transport over the mesh: each stream that consensus opens is a mesh stream of its own class.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{SinkExt, StreamExt};
use pentora_p2p::{FrameStream, Mesh, PeerId};
use pentora_raft::{Class, Duplex, NodeId, Transport, TransportError};

/// Raft's transport over the mesh.
#[derive(Debug, Clone)]
pub struct MeshTransport {
    mesh: Mesh,
}

impl MeshTransport {
    /// Opens streams through `mesh`.
    #[must_use]
    pub fn new(mesh: Mesh) -> Arc<Self> {
        Arc::new(Self { mesh })
    }
}

impl Transport for MeshTransport {
    fn open(&self, target: NodeId, peer: &str, class: Class) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let mesh = self.mesh.clone();
        let peer = peer.parse::<PeerId>();
        Box::pin(async move {
            let failed = |reason: String| TransportError { target, reason };
            let peer = peer.map_err(|error| failed(error.to_string()))?;
            let stream = mesh.open(peer, mesh_class(class)).await.map_err(|error| failed(error.to_string()))?;
            Ok(raft_duplex(stream))
        })
    }
}

fn mesh_class(class: Class) -> pentora_p2p::Class {
    match class {
        Class::Append => pentora_p2p::Class::RaftAppend,
        Class::Control => pentora_p2p::Class::RaftControl,
        Class::Snapshot => pentora_p2p::Class::RaftSnapshot,
    }
}

/// Raft's class of a mesh stream, or `None` for streams of other parts.
#[must_use]
pub fn raft_class(class: pentora_p2p::Class) -> Option<Class> {
    match class {
        pentora_p2p::Class::RaftAppend => Some(Class::Append),
        pentora_p2p::Class::RaftControl => Some(Class::Control),
        pentora_p2p::Class::RaftSnapshot => Some(Class::Snapshot),
        _ => None,
    }
}

/// A mesh stream as Raft wants it.
#[must_use]
pub fn raft_duplex(stream: FrameStream) -> Duplex {
    let (sink, source) = stream.split();
    Duplex {
        sink: Box::pin(sink.sink_map_err(io::Error::other)),
        source: Box::pin(source.map(|frame| frame.map_err(io::Error::other))),
    }
}
