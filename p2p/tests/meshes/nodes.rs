//! Nodes for tests: one cluster's secrets, a configuration with short times, and waiting for what must come.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pentora_p2p::{
    Class, ClusterId, FrameStream, Identity, Incoming, Member, Mesh, MeshConfig, PeerEvent, PeerId, PreSharedKey,
};

/// Longer than anything here takes on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pre-shared key of the tests' cluster.
pub(crate) fn psk() -> PreSharedKey {
    PreSharedKey::from_bytes([42; 32])
}

/// The tests' cluster.
pub(crate) fn cluster() -> ClusterId {
    ClusterId::from_bytes([7; 16])
}

/// A node of the tests' cluster on a free loopback port.
pub(crate) fn config() -> MeshConfig {
    let mut config = MeshConfig::new(Identity::generate(), psk(), cluster());
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}

/// A running node and what is needed to name it.
pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    pub(crate) incoming: Incoming,
}

impl Node {
    pub(crate) fn start(config: MeshConfig) -> Self {
        let (mesh, incoming) = Mesh::start(config).unwrap();
        Self { mesh, incoming }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.mesh.peer_id()
    }

    /// This node as an entry in somebody's member list.
    pub(crate) fn member(&self, keep_connected: bool) -> Member {
        let addresses = self.mesh.listen_addrs().into_iter().map(Into::into).collect();
        Member { peer_id: self.id(), addresses, keep_connected }
    }

    /// Waits for the next stream that a peer opens.
    pub(crate) async fn accept(&mut self) -> FrameStream {
        within(self.incoming.next()).await.expect("the mesh runs")
    }
}

/// Two nodes that know each other; neither dials by itself.
pub(crate) fn acquainted() -> (Node, Node) {
    let (one, other) = (Node::start(config()), Node::start(config()));
    introduce(&one, &other, false);
    (one, other)
}

/// Makes two nodes members of each other.
pub(crate) fn introduce(one: &Node, other: &Node, keep_connected: bool) {
    one.mesh.set_members(vec![other.member(keep_connected)]);
    other.mesh.set_members(vec![one.member(keep_connected)]);
}

/// Fails the test instead of hanging it.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it does not take that long")
}

/// Reads events until one fits, and gives it.
pub(crate) async fn event(
    events: &mut tokio::sync::broadcast::Receiver<PeerEvent>,
    fits: impl Fn(&PeerEvent) -> bool,
) -> PeerEvent {
    within(async {
        loop {
            let event = events.recv().await.unwrap();
            if fits(&event) {
                return event;
            }
        }
    })
    .await
}

pub(crate) fn is_up(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Up { .. })
}

pub(crate) fn is_down(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Down { .. })
}

/// Opens a stream from one node to the other and gives both ends.
pub(crate) async fn stream_between(from: &Node, to: &mut Node, class: Class) -> (FrameStream, FrameStream) {
    let opened = within(from.mesh.open(to.id(), class)).await.unwrap();
    let accepted = to.accept().await;
    assert_eq!((accepted.peer, accepted.class, opened.peer), (from.id(), class, to.id()));
    (opened, accepted)
}

/// Sends everything back until the peer has closed its side, then closes.
pub(crate) async fn echo(stream: FrameStream) {
    let (mut sink, mut source) = stream.split();
    while let Some(Ok(frame)) = source.next().await {
        if sink.send(frame).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

/// A frame with this text.
pub(crate) fn frame(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
