//! The seam between the event loop and what carries its bytes: libp2p ([`crate::swarm_wire`]) or memory
//! ([`crate::memory`]).
//!
//! A wire makes and ends connections and opens streams on them; it decides nothing. Each connection is shown to the
//! peer table before it counts, and everything else comes back as a [`WireEvent`].

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use crate::PeerId;
use crate::handle::OpenRequest;
use crate::peers::LinkId;

/// A dial, by the number the event loop gave it.
pub(crate) type DialId = u64;

/// How a dial ended without a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DialFailure {
    /// No TCP connection to any of the addresses.
    Unreachable(String),
    /// A TCP connection, but no agreement on encryption.
    Handshake(String),
    /// TCP connected, and nothing came in time.
    Silent(String),
    /// TCP connected, and the other side hung up before it said who it is.
    HungUp(String),
    /// Another peer than the expected one.
    WrongPeer(PeerId),
    /// This node.
    Oneself,
    /// A limit of ours.
    Denied(String),
}

/// What happened on the wire.
#[derive(Debug)]
pub(crate) enum WireEvent {
    /// A connection that the peer table has taken up is ready; `dial` when it was asked for.
    Connected { peer: PeerId, dial: Option<DialId> },
    /// A connection has ended.
    Disconnected { peer: PeerId, link: LinkId, hung_up: bool },
    /// A dial ended without a connection.
    DialFailed { dial: DialId, failure: DialFailure },
    /// A ping was answered.
    Heard { peer: PeerId, link: LinkId, rtt: Duration },
}

/// See the module's description.
pub(crate) trait Wire: Send + 'static {
    /// Starts to connect to any of the addresses; ends in [`WireEvent::Connected`] or [`WireEvent::DialFailed`].
    fn dial(&mut self, dial: DialId, expected: Option<PeerId>, addresses: Vec<SocketAddr>);

    /// Opens a stream on a connection and answers the request; drops it when the connection is gone.
    fn open(&mut self, peer: PeerId, link: LinkId, request: OpenRequest);

    /// Holds an idle connection open, or stops doing so.
    fn keep(&mut self, peer: PeerId, link: LinkId, keep: bool);

    /// Ends a connection and, at once, all streams on it.
    fn close(&mut self, peer: PeerId, link: LinkId);

    /// Sends what the streams have been given, closes every connection and stops listening.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;

    /// The next event. Cancel-safe.
    fn next_event(&mut self) -> impl Future<Output = WireEvent> + Send;
}
