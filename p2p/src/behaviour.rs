//! The mesh as libp2p sees it: ping, and streams with an gate.
//!
//! [`Streams`] does what the ready-made behaviours (allow-block-list, connection-limits, libp2p-stream) would do
//! together, for four reasons: a peer that is not a member is neither allowed nor blocked but may only join; a stream
//! is refused with a reason instead of being dropped without one; a stream never dials; and nothing is remembered about
//! a connection after it has closed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::multiaddr::Protocol;
use libp2p::ping;
use libp2p::swarm::{
    ConnectionDenied, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gate::StreamGate;
use crate::handle::OpenRequest;
use crate::peers::{LinkId, NewLink};
use crate::protocol::ProtocolNames;
use crate::{Limits, PeerId, Timings};

mod handler;
mod opening;
use handler::{Handler, ToHandler};
use opening::Door;

/// All behaviours of a mesh.
#[derive(NetworkBehaviour)]
pub(crate) struct MeshBehaviour {
    ping: ping::Behaviour,
    pub(crate) streams: Streams,
}

impl MeshBehaviour {
    pub(crate) fn new(gate: StreamGate, names: ProtocolNames, limits: Limits, timings: Timings) -> Self {
        // The ping protocol forgives its first failure, and its time-out starts the next attempt; the verdict on a
        // silent peer is the peer table's, from the time of the last answer.
        let ping = ping::Config::new().with_interval(timings.ping_interval).with_timeout(timings.silence_max);
        Self { ping: ping::Behaviour::new(ping), streams: Streams::new(gate, names, limits, timings) }
    }
}

/// See the module's description.
pub(crate) struct Streams {
    gate: StreamGate,
    names: ProtocolNames,
    limits: Limits,
    timings: Timings,
    /// Inbound connections in their handshake.
    handshakes_in: HashMap<LinkId, Option<IpAddr>>,
    /// Outbound ones.
    handshakes_out: HashSet<LinkId>,
    /// Ends each connection's streams with it.
    lives: HashMap<LinkId, CancellationToken>,
    orders: VecDeque<Order>,
    waker: Option<Waker>,
}

/// Something to be told to a connection.
struct Order {
    peer: PeerId,
    link: LinkId,
    order: ToHandler,
}

/// A limit on handshakes was met.
#[derive(Debug, thiserror::Error)]
#[error("{count} connections are in their handshake already")]
pub(crate) struct TooManyHandshakes {
    count: usize,
}

/// The handshake takes no other keys, so this is never met.
#[derive(Debug, thiserror::Error)]
#[error("the peer's key is not an ed25519 key")]
struct NotEd25519;

impl Streams {
    fn new(gate: StreamGate, names: ProtocolNames, limits: Limits, timings: Timings) -> Self {
        Self {
            gate,
            names,
            limits,
            timings,
            handshakes_in: HashMap::new(),
            handshakes_out: HashSet::new(),
            lives: HashMap::new(),
            orders: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream on a connection; a request for one that is gone is dropped.
    pub(crate) fn open(&mut self, peer: PeerId, link: LinkId, request: OpenRequest) {
        self.order(peer, link, ToHandler::Open(request));
    }

    /// Holds an idle connection open, or stops doing so.
    pub(crate) fn keep(&mut self, peer: PeerId, link: LinkId, keep: bool) {
        self.order(peer, link, ToHandler::Keep(keep));
    }

    /// Ends all streams of a connection at once.
    pub(crate) fn give_up(&mut self, link: LinkId) {
        if let Some(life) = self.lives.remove(&link) {
            life.cancel();
        }
    }

    /// Ends all streams of all connections.
    pub(crate) fn give_up_all(&mut self) {
        for (_, life) in self.lives.drain() {
            life.cancel();
        }
    }

    fn order(&mut self, peer: PeerId, link: LinkId, order: ToHandler) {
        self.orders.push_back(Order { peer, link, order });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take_up(&mut self, peer: libp2p::PeerId, new: NewLink) -> Result<Handler, ConnectionDenied> {
        let Some(peer) = PeerId::from_libp2p(&peer) else { return Err(ConnectionDenied::new(NotEd25519)) };
        self.gate.peers.lock().connected(Instant::now(), peer, new).map_err(|reason| {
            tracing::info!(%peer, %reason, "connection refused");
            ConnectionDenied::new(reason)
        })?;
        let life = CancellationToken::new();
        self.lives.insert(new.id, life.clone());
        let door = Door { peer, gate: self.gate.clone(), names: self.names.clone(), life };
        Ok(Handler::new(Arc::new(door), self.timings.open_timeout))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.give_up_all();
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        link: LinkId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let ip = ip_of(remote);
        let from_there = self.handshakes_in.values().filter(|other| **other == ip).count();
        if self.handshakes_in.len() >= self.limits.handshakes_max || from_there >= self.limits.handshakes_per_ip_max {
            return Err(ConnectionDenied::new(TooManyHandshakes { count: self.handshakes_in.len() }));
        }
        self.handshakes_in.insert(link, ip);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        link: LinkId,
        peer: libp2p::PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handshakes_in.remove(&link);
        self.take_up(peer, NewLink { id: link, inbound: true, remote: socket_of(remote) })
    }

    fn handle_pending_outbound_connection(
        &mut self,
        link: LinkId,
        _: Option<libp2p::PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.handshakes_out.len() >= self.limits.handshakes_max {
            return Err(ConnectionDenied::new(TooManyHandshakes { count: self.handshakes_out.len() }));
        }
        self.handshakes_out.insert(link);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        link: LinkId,
        peer: libp2p::PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handshakes_out.remove(&link);
        self.take_up(peer, NewLink { id: link, inbound: false, remote: socket_of(remote) })
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.give_up(closed.connection_id),
            FromSwarm::DialFailure(failure) => {
                self.handshakes_out.remove(&failure.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.handshakes_in.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: libp2p::PeerId, _: LinkId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.orders.pop_front() {
            Some(Order { peer, link, order }) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id: peer.to_libp2p(),
                handler: NotifyHandler::One(link),
                event: order,
            }),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn socket_of(address: &Multiaddr) -> Option<SocketAddr> {
    let port = address.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None })?;
    Some(SocketAddr::new(ip_of(address)?, port))
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })
}
