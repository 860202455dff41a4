//! A mesh inside one process, with faults: for simulations and for a node that has no peers.
//!
//! The handle, the event loop, the peer table and the gate are the real ones; only the wire is replaced. So membership,
//! joining, back-off, refusals and silence behave as they do on the network, and a partition is what it is there:
//! nothing arrives, nobody is told, and connections die of silence. Not modelled: encryption, idle time-outs, and the
//! cutting of frames (a frame arrives whole or its stream is lost).
//!
//! Delays, losses and back-off come from one seed. On Tokio's current-thread runtime with paused time, one seed gives
//! one run, as long as the code above is deterministic too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::event_loop::EventLoop;
use crate::gate::{Gate, Peers};
use crate::handle::{COMMANDS_MAX, Shared, events_channel};
use crate::peers::{LinkId, PeerTable, next_random};
use crate::wire::{DialId, WireEvent};
use crate::{ClusterId, Incoming, Mesh, MeshConfig, MeshError, PeerId, PreSharedKey};

mod pipe;
mod wire;
use wire::MemoryWire;

/// First port given to a node that listens on port 0.
const FIRST_PORT: u16 = 40_000;

/// A network that exists in memory. Clones are the same network.
#[derive(Debug, Clone)]
pub struct Network {
    world: Arc<Mutex<World>>,
}

impl Network {
    /// A network without faults or delay. `seed` decides everything that is random in it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { world: Arc::new(Mutex::new(World::new(seed))) }
    }

    /// Starts a node on this network, as [`Mesh::start`] does on the real one. Addresses are names without meaning
    /// here, and port 0 takes a free one. A node with the same identity that is still running is disconnected.
    ///
    /// # Errors
    /// [`MeshError`], also when another node has the address.
    pub fn start(&self, config: MeshConfig) -> Result<(Mesh, Incoming), MeshError> {
        config.validate()?;
        let peer_id = config.identity.peer_id();
        let (limits, timings) = (config.limits, config.timings);
        let seed = self.lock().random();
        let peers = Arc::new(Peers::new(PeerTable::new(peer_id, limits, timings, seed)));
        let (stream_sender, stream_receiver) = mpsc::channel(limits.incoming_streams_max);
        let gate = Gate::new(Arc::clone(&peers), stream_sender);
        let (tasks, kill, stop) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let wake = Arc::new(Notify::new());
        let seat = Seat {
            psk: config.psk,
            cluster: config.cluster,
            peers: Arc::clone(&peers),
            gate,
            events: VecDeque::new(),
            wake: Arc::clone(&wake),
            generation: 0,
        };
        let (listen_addrs, generation) = self.lock().sit_down(peer_id, &config.listen, seat)?;
        let wire =
            MemoryWire::new(peer_id, generation, Arc::clone(&self.world), wake, timings, tasks.clone(), kill.clone());
        let (command_sender, command_receiver) = mpsc::channel(COMMANDS_MAX);
        let events = events_channel();
        let event_loop =
            EventLoop::new(wire, timings, Arc::clone(&peers), command_receiver, events.clone(), stop.clone());
        tasks.spawn(event_loop.run());
        let shared =
            Shared { peer_id, listen_addrs, timings, peers, commands: command_sender, events, stop, kill, tasks };
        Ok((Mesh::new(shared), Incoming::new(stream_receiver)))
    }

    /// Nothing passes between the two any more. Neither is told; what is under way waits for [`Network::heal`].
    pub fn cut(&self, a: PeerId, b: PeerId) {
        self.change_faults(|world| {
            world.blocked.insert((a, b));
            world.blocked.insert((b, a));
        });
    }

    /// Nothing from `from` reaches `to` any more; the other direction is left as it is.
    pub fn oneway(&self, from: PeerId, to: PeerId) {
        self.change_faults(|world| {
            world.blocked.insert((from, to));
        });
    }

    /// Cuts a node off from every other one that is there now.
    pub fn isolate(&self, peer: PeerId) {
        self.change_faults(|world| {
            let others: Vec<PeerId> = world.seats.keys().copied().filter(|other| *other != peer).collect();
            for other in others {
                world.blocked.insert((peer, other));
                world.blocked.insert((other, peer));
            }
        });
    }

    /// Takes every cut away. Delay and loss stay.
    pub fn heal(&self) {
        self.change_faults(|world| world.blocked.clear());
    }

    /// How long a frame is under way: something between the two, drawn for each frame. Frames of one direction of a
    /// stream keep their order.
    pub fn set_delay(&self, least: Duration, most: Duration) {
        self.lock().delay = (least, most.max(least));
    }

    /// The probability, 0 to 1, that a frame is lost. Streams are reliable, so losing a frame means losing its stream.
    pub fn set_loss(&self, probability: f64) {
        self.lock().loss = probability.clamp(0.0, 1.0);
    }

    /// Breaks the connections between the two at once, as a reset does. They may connect again.
    pub fn reset(&self, a: PeerId, b: PeerId) {
        let mut world = self.lock();
        let between = |link: &Link| link.ends.iter().all(|end| end.peer == a || end.peer == b);
        let broken: Vec<LinkId> = world.links.iter().filter(|(_, link)| between(link)).map(|(id, _)| *id).collect();
        for link in broken {
            world.break_link(link);
        }
    }

    fn change_faults(&self, change: impl FnOnce(&mut World)) {
        let mut world = self.lock();
        change(&mut world);
        world.faults.send_modify(|generation| *generation += 1);
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

/// Locks the world. Order of locks: the world, then a node's peer table.
fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything there is.
#[derive(Debug)]
struct World {
    seats: BTreeMap<PeerId, Seat>,
    addresses: BTreeMap<SocketAddr, PeerId>,
    links: BTreeMap<LinkId, Link>,
    blocked: BTreeSet<(PeerId, PeerId)>,
    delay: (Duration, Duration),
    loss: f64,
    random: u64,
    next_link: usize,
    next_port: u16,
    generations: u64,
    /// Changes with the faults, so that what waits looks again.
    faults: watch::Sender<u64>,
}

/// A running node.
#[derive(Debug)]
struct Seat {
    psk: PreSharedKey,
    cluster: ClusterId,
    peers: Arc<Peers>,
    gate: Gate,
    /// For its event loop; one per connection made or ended, or ping.
    events: VecDeque<WireEvent>,
    wake: Arc<Notify>,
    /// Tells a restarted node from the one before it.
    generation: u64,
}

/// A connection: the dialer's end first.
#[derive(Debug)]
struct Link {
    ends: [End; 2],
}

/// One side's view of a connection. The sides differ while a cut keeps one from learning that the other hung up.
#[derive(Debug)]
struct End {
    peer: PeerId,
    life: CancellationToken,
    open: bool,
}

impl Link {
    fn end(&mut self, peer: PeerId) -> Option<&mut End> {
        self.ends.iter_mut().find(|end| end.peer == peer)
    }

    fn is_open(&self, peer: PeerId) -> bool {
        self.ends.iter().any(|end| end.peer == peer && end.open)
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seats: BTreeMap::new(),
            addresses: BTreeMap::new(),
            links: BTreeMap::new(),
            blocked: BTreeSet::new(),
            delay: (Duration::ZERO, Duration::ZERO),
            loss: 0.0,
            random: seed,
            next_link: 1,
            next_port: FIRST_PORT,
            generations: 0,
            faults: watch::Sender::new(0),
        }
    }

    fn random(&mut self) -> u64 {
        next_random(&mut self.random)
    }

    fn sit_down(
        &mut self,
        peer: PeerId,
        listen: &[SocketAddr],
        mut seat: Seat,
    ) -> Result<(Vec<SocketAddr>, u64), MeshError> {
        self.leave(peer, None);
        let mut real = Vec::with_capacity(listen.len());
        for mut address in listen.iter().copied() {
            while address.port() == 0 || (self.addresses.contains_key(&address) && self.next_port > address.port()) {
                address.set_port(self.next_port);
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            }
            if self.addresses.contains_key(&address) {
                return Err(MeshError::Listen { address, source: io::ErrorKind::AddrInUse.into() });
            }
            real.push(address);
        }
        for address in &real {
            self.addresses.insert(*address, peer);
        }
        self.generations += 1;
        seat.generation = self.generations;
        self.seats.insert(peer, seat);
        Ok((real, self.generations))
    }

    /// Takes a node and its connections out; with a generation, only if that one still sits there.
    fn leave(&mut self, peer: PeerId, generation: Option<u64>) {
        let there = self.seats.get(&peer).map(|seat| seat.generation);
        if there.is_none() || generation.is_some_and(|generation| Some(generation) != there) {
            return;
        }
        let links: Vec<LinkId> = self.links.iter().filter(|(_, link)| link.is_open(peer)).map(|(id, _)| *id).collect();
        for link in links {
            self.close_end(peer, link);
        }
        self.seats.remove(&peer);
        self.addresses.retain(|_, owner| *owner != peer);
    }

    fn is_blocked(&self, from: PeerId, to: PeerId) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// How long the next thing is under way.
    fn draw_delay(&mut self) -> Duration {
        let (least, most) = self.delay;
        let spread = u64::try_from((most - least).as_nanos()).unwrap_or(u64::MAX);
        if spread == 0 { least } else { least + Duration::from_nanos(self.random() % spread) }
    }

    /// Whether the next frame is lost.
    fn draw_loss(&mut self) -> bool {
        // 53 bits fill the fraction of an f64 exactly.
        #[expect(clippy::cast_precision_loss, reason = "both numbers have at most 53 bits")]
        let unit = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < self.loss
    }

    fn tell(&mut self, peer: PeerId, event: WireEvent) {
        if let Some(seat) = self.seats.get_mut(&peer) {
            seat.events.push_back(event);
            seat.wake.notify_one();
        }
    }

    /// Makes a connection; both peer tables have their say.
    fn connect(&mut self, from: PeerId, to: PeerId, dial: DialId) {
        let now = Instant::now();
        let link = LinkId::new_unchecked(self.next_link);
        self.next_link += 1;
        let end = |peer| End { peer, life: CancellationToken::new(), open: true };
        self.links.insert(link, Link { ends: [end(from), end(to)] });
        let take_up = |seat: Option<&Seat>, other, inbound| {
            seat.is_some_and(|seat| seat.peers.lock().connected(now, other, link, inbound).is_ok())
        };
        let dialer_agrees = take_up(self.seats.get(&from), to, false);
        let listener_agrees = take_up(self.seats.get(&to), from, true);
        self.tell(from, WireEvent::Connected { peer: to, dial: Some(dial) });
        if dialer_agrees && listener_agrees {
            self.tell(to, WireEvent::Connected { peer: from, dial: None });
        } else {
            self.break_link(link);
        }
    }

    /// One side hangs up. The other learns it if anything gets through to it.
    fn close_end(&mut self, peer: PeerId, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(end) = link.end(peer) {
            end.open = false;
            end.life.cancel();
        }
        let other = link.ends.iter().find(|end| end.peer != peer && end.open).map(|end| end.peer);
        match other {
            Some(other) if self.is_blocked(peer, other) => {}
            _ => self.break_link(id),
        }
    }

    /// Ends a connection for whoever still has it.
    fn break_link(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        let [one, other] = link.ends;
        for (end, peer) in [(&one, other.peer), (&other, one.peer)] {
            end.life.cancel();
            if end.open {
                self.tell(end.peer, WireEvent::Disconnected { peer, link: id });
            }
        }
    }

    /// One round of pings from a node on all its connections.
    fn ping(&mut self, me: PeerId) {
        let mine: Vec<(LinkId, PeerId, bool)> = self
            .links
            .iter()
            .filter(|(_, link)| link.is_open(me))
            .filter_map(|(id, link)| link.ends.iter().find(|end| end.peer != me).map(|end| (*id, end.peer, end.open)))
            .collect();
        for (link, peer, open) in mine {
            if self.is_blocked(me, peer) || self.is_blocked(peer, me) {
                continue;
            }
            if open {
                let rtt = self.draw_delay() + self.draw_delay();
                self.tell(me, WireEvent::Heard { peer, link, rtt });
            } else {
                // The other side hung up during a cut; now its reset comes through.
                self.break_link(link);
            }
        }
    }
}
