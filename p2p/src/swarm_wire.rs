//! The real [`Wire`]: a libp2p swarm over TCP, and the start of a mesh on it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::ping;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionError, DialError, Executor, Swarm, SwarmEvent};
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::behaviour::{MeshBehaviour, MeshBehaviourEvent};
use crate::cut::Cuts;
use crate::event_loop::EventLoop;
use crate::gate::{Peers, StreamGate};
use crate::handle::{COMMANDS_MAX, OpenRequest, Shared, events_channel};
use crate::lines::Lines;
use crate::peers::{LinkId, PeerTable};
use crate::protocol::ProtocolNames;
use crate::transport::{self, LinkError};
use crate::wire::{DialFailure, DialId, Wire, WireEvent};
use crate::{Incoming, Mesh, MeshConfig, MeshError, PeerId};

/// Inbound streams of one connection in negotiation at a time; more are reset.
const NEGOTIATING_STREAMS_MAX: usize = 64;

impl Mesh {
    /// Binds the listen addresses and starts the mesh, with nobody a member yet. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`MeshError`]; nothing is bound or running then.
    pub fn start(config: MeshConfig) -> Result<(Self, Incoming), MeshError> {
        config.validate()?;
        let peer_id = config.identity.peer_id();
        let (limits, timings) = (config.limits, config.timings);
        let table = PeerTable::new(peer_id, limits, timings, rand::random());
        let peers = Arc::new(Peers::new(table));
        let (stream_sender, stream_receiver) = mpsc::channel(limits.incoming_streams_max);
        let gate = StreamGate::new(Arc::clone(&peers), stream_sender);
        let (tasks, kill, stop) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());

        let (cuts, lines) = (Arc::new(Cuts::default()), Arc::new(Lines::default()));
        let transport =
            transport::build(&config.identity, &config.psk, timings, (Arc::clone(&cuts), Arc::clone(&lines)))?;
        let behaviour = MeshBehaviour::new(gate, ProtocolNames::new(config.cluster), limits, timings);
        let swarm_config = swarm::Config::with_executor(Tracked { tasks: tasks.clone(), kill: kill.clone() })
            .with_idle_connection_timeout(timings.idle_timeout)
            .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX);
        let mut swarm = Swarm::new(transport, behaviour, peer_id.to_libp2p(), swarm_config);
        let (listen_addrs, listeners) = listen(&mut swarm, &config.listen)?;

        let (command_sender, command_receiver) = mpsc::channel(COMMANDS_MAX);
        let events = events_channel();
        let wire = SwarmWire { swarm, listeners, dials: HashMap::new(), failed: VecDeque::new() };
        let event_loop =
            EventLoop::new(wire, timings, Arc::clone(&peers), command_receiver, events.clone(), stop.clone());
        tasks.spawn(event_loop.run());
        let (commands, cuts, lines) = (command_sender, Some(cuts), Some(lines));
        let shared = Shared { peer_id, listen_addrs, timings, peers, commands, events, stop, kill, tasks, cuts, lines };
        Ok((Self::new(shared), Incoming::new(stream_receiver)))
    }
}

/// Listens on each address and gives the addresses with their real ports.
///
/// libp2p sets `SO_REUSEPORT`, with which a second process of the same user shares a busy port without an error, and
/// half of the peers reach the wrong one. So each address is first bound without it, which fails as it should and finds
/// the port when 0 was asked for, and is let go again. It does not listen, so nobody connects to it meanwhile.
fn listen(
    swarm: &mut Swarm<MeshBehaviour>,
    addresses: &[SocketAddr],
) -> Result<(Vec<SocketAddr>, Vec<ListenerId>), MeshError> {
    let failed = |address: SocketAddr| move |source| MeshError::Listen { address, source };
    let (mut bound, mut listeners) = (Vec::with_capacity(addresses.len()), Vec::with_capacity(addresses.len()));
    for address in addresses.iter().copied() {
        let real = free_address(address).map_err(failed(address))?;
        listeners.push(swarm.listen_on(multiaddr(real)).map_err(|error| failed(real)(into_io(error)))?);
        bound.push(real);
    }
    Ok((bound, listeners))
}

/// The address with a real port, or the error that somebody else has it.
fn free_address(address: SocketAddr) -> io::Result<SocketAddr> {
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        probe.set_only_v6(true)?;
    }
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())?;
    probe.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))
}

fn into_io(error: TransportError<io::Error>) -> io::Error {
    match error {
        TransportError::Other(error) => error,
        TransportError::MultiaddrNotSupported(address) => io::Error::other(format!("{address} is not a TCP address")),
    }
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// Runs libp2p's tasks where they are counted, so that a shutdown can wait for them and end them.
struct Tracked {
    tasks: TaskTracker,
    kill: CancellationToken,
}

impl Executor for Tracked {
    fn exec(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move {
            kill.run_until_cancelled_owned(future).await;
        });
    }
}

/// See the module's description.
struct SwarmWire {
    swarm: Swarm<MeshBehaviour>,
    listeners: Vec<ListenerId>,
    dials: HashMap<LinkId, DialId>,
    /// Dials that failed before they began, to be told like the others.
    failed: VecDeque<WireEvent>,
}

impl SwarmWire {
    fn translate(&mut self, event: SwarmEvent<MeshBehaviourEvent>) -> Option<WireEvent> {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                let dial = self.dials.remove(&connection_id);
                Some(WireEvent::Connected { peer: PeerId::from_libp2p(&peer_id)?, dial })
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection ended");
                // What this side ends, for its idleness or for shutting down, ends without an error of the transport.
                let hung_up = matches!(cause, Some(ConnectionError::IO(_)));
                Some(WireEvent::Disconnected { peer: PeerId::from_libp2p(&peer_id)?, link: connection_id, hung_up })
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                let dial = self.dials.remove(&connection_id)?;
                Some(WireEvent::DialFailed { dial, failure: dial_failure(error) })
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                // With a public address this is every port scanner that comes by, so it is no matter for the log.
                tracing::debug!(from = %send_back_addr, %error, "inbound connection failed");
                None
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "the mesh listens no more");
                None
            }
            SwarmEvent::Behaviour(MeshBehaviourEvent::Ping(ping::Event { peer, connection, result: Ok(rtt) })) => {
                Some(WireEvent::Heard { peer: PeerId::from_libp2p(&peer)?, link: connection, rtt })
            }
            _ => None,
        }
    }
}

impl Wire for SwarmWire {
    fn dial(&mut self, dial: DialId, expected: Option<PeerId>, addresses: Vec<SocketAddr>) {
        // From a port of its own, not the listening one: two nodes that dial each other at the same moment would
        // otherwise meet in one TCP connection with two dialers, and a redial would collide with the dead connection.
        let options = match (expected, addresses.as_slice()) {
            (_, []) => {
                let failure = DialFailure::Unreachable("no address is known".to_owned());
                return self.failed.push_back(WireEvent::DialFailed { dial, failure });
            }
            (Some(peer), all) => DialOpts::peer_id(peer.to_libp2p())
                .condition(PeerCondition::Always)
                .addresses(all.iter().copied().map(multiaddr).collect())
                .allocate_new_port()
                .build(),
            (None, [first, ..]) => DialOpts::unknown_peer_id().address(multiaddr(*first)).allocate_new_port().build(),
        };
        let link = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(link, dial);
            }
            Err(error) => self.failed.push_back(WireEvent::DialFailed { dial, failure: dial_failure(error) }),
        }
    }

    fn open(&mut self, peer: PeerId, link: LinkId, request: OpenRequest) {
        self.swarm.behaviour_mut().streams.open(peer, link, request);
    }

    fn keep(&mut self, peer: PeerId, link: LinkId, keep: bool) {
        self.swarm.behaviour_mut().streams.keep(peer, link, keep);
    }

    fn close(&mut self, _: PeerId, link: LinkId) {
        self.swarm.behaviour_mut().streams.give_up(link);
        self.swarm.close_connection(link);
    }

    async fn finish(&mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener);
        }
        // Closing a connection first writes what its streams have in their queues; dropping it would not.
        for peer in self.swarm.connected_peers().copied().collect::<Vec<_>>() {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        while self.swarm.connected_peers().next().is_some() {
            self.swarm.select_next_some().await;
        }
    }

    async fn next_event(&mut self) -> WireEvent {
        loop {
            if let Some(event) = self.failed.pop_front() {
                return event;
            }
            let event = self.swarm.select_next_some().await;
            if let Some(event) = self.translate(event) {
                return event;
            }
        }
    }
}

fn dial_failure(error: DialError) -> DialFailure {
    match error {
        // libp2p strikes our own listen addresses from a dial; we never pass it an empty list.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => DialFailure::Oneself,
        DialError::WrongPeerId { obtained, .. } => match PeerId::from_libp2p(&obtained) {
            Some(found) => DialFailure::WrongPeer(found),
            None => DialFailure::Handshake("the peer's key is not an ed25519 key".to_owned()),
        },
        DialError::Denied { cause } => DialFailure::Denied(chain(&cause)),
        DialError::Transport(failures) => transport_failure(failures),
        error @ (DialError::DialPeerConditionFalse(_) | DialError::Aborted) => {
            DialFailure::Unreachable(error.to_string())
        }
    }
}

/// One verdict for all addresses: a failed handshake tells more than an address that does not answer.
fn transport_failure(failures: Vec<(Multiaddr, TransportError<io::Error>)>) -> DialFailure {
    let mut reasons = Vec::with_capacity(failures.len());
    for (address, failure) in failures {
        match &failure {
            TransportError::Other(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<LinkError>()) {
                Some(LinkError::Handshake(reason)) => return DialFailure::Handshake(reason.clone()),
                Some(LinkError::Silent(reason)) => return DialFailure::Silent(reason.clone()),
                Some(LinkError::HungUp(reason)) => return DialFailure::HungUp(reason.clone()),
                Some(LinkError::Connect(reason)) => reasons.push(format!("{address}: {reason}")),
                None => reasons.push(format!("{address}: {error}")),
            },
            TransportError::MultiaddrNotSupported(_) => reasons.push(format!("{address}: not a usable TCP address")),
        }
    }
    DialFailure::Unreachable(reasons.join(", "))
}

/// An error with its causes; libp2p's own texts leave them out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
