//! A mesh inside one process, with faults: for simulations and for a node that has no peers.
//!
//! The handle, the event loop, the peer table and the gate are the real ones; only the wire is replaced. So membership,
//! joining, back-off, refusals and silence behave as they do on the network, and a partition is what it is there:
//! nothing arrives, nobody is told, and connections die of silence. Not modelled: encryption, idle time-outs, and the
//! cutting of frames (a frame arrives whole or its stream is lost).
//!
//! Delays, losses and back-off come from one seed. On Tokio's current-thread runtime with paused time, one seed gives
//! one run, as long as the code above is deterministic too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::event_loop::EventLoop;
use crate::gate::{Peers, StreamGate};
use crate::handle::{COMMANDS_MAX, Shared, events_channel};
use crate::peers::{LinkId, PeerTable};
use crate::{Incoming, Mesh, MeshConfig, MeshError, PeerId};

mod pipe;
mod wire;
mod world;
use wire::MemoryWire;
use world::{Link, Seat, Seated, World};

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
        let gate = StreamGate::new(Arc::clone(&peers), stream_sender);
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
        let Seated { listen_addrs, generation } = self.lock().sit_down(peer_id, &config.listen, seat)?;
        let wire =
            MemoryWire::new(peer_id, generation, Arc::clone(&self.world), wake, timings, tasks.clone(), kill.clone());
        let (command_sender, command_receiver) = mpsc::channel(COMMANDS_MAX);
        let events = events_channel();
        let event_loop =
            EventLoop::new(wire, timings, Arc::clone(&peers), command_receiver, events.clone(), stop.clone());
        tasks.spawn(event_loop.run());
        let (commands, cuts, lines) = (command_sender, None, None);
        let shared = Shared { peer_id, listen_addrs, timings, peers, commands, events, stop, kill, tasks, cuts, lines };
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
