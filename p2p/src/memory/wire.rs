//! One node's [`Wire`] in a [`super::World`].

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pipe::{self, Side};
use super::{World, lock};
use crate::gate::Refusal;
use crate::handle::OpenRequest;
use crate::peers::LinkId;
use crate::protocol::ProtocolNames;
use crate::wire::{DialFailure, DialId, Wire, WireEvent};
use crate::{OpenError, PeerId, Timings};

/// See the module's description.
#[derive(Debug)]
pub(super) struct MemoryWire {
    me: PeerId,
    generation: u64,
    world: Arc<Mutex<World>>,
    wake: Arc<Notify>,
    timings: Timings,
    pings: Interval,
    tasks: TaskTracker,
    kill: CancellationToken,
}

impl MemoryWire {
    pub(super) fn new(
        me: PeerId,
        generation: u64,
        world: Arc<Mutex<World>>,
        wake: Arc<Notify>,
        timings: Timings,
        tasks: TaskTracker,
        kill: CancellationToken,
    ) -> Self {
        let mut pings = tokio::time::interval_at(Instant::now() + timings.ping_interval, timings.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { me, generation, world, wake, timings, pings, tasks, kill }
    }

    /// Runs something beside the event loop, until it is done or the mesh is killed.
    fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move {
            kill.run_until_cancelled_owned(work).await;
        });
    }
}

impl Drop for MemoryWire {
    fn drop(&mut self) {
        lock(&self.world).leave(self.me, Some(self.generation));
        self.kill.cancel();
    }
}

impl Wire for MemoryWire {
    fn dial(&mut self, dial: DialId, expected: Option<PeerId>, addresses: Vec<SocketAddr>) {
        let (me, world, limit) = (self.me, Arc::clone(&self.world), self.timings.connect_timeout);
        self.run(async move {
            let mut failure = DialFailure::Unreachable("no address is known".to_owned());
            for address in addresses {
                let connecting = connect(&world, me, dial, expected, address);
                match timeout(limit, connecting).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => failure = error,
                    Err(_elapsed) => failure = DialFailure::Unreachable(format!("{address}: no answer")),
                }
            }
            lock(&world).tell(me, WireEvent::DialFailed { dial, failure });
        });
    }

    fn open(&mut self, peer: PeerId, link: LinkId, request: OpenRequest) {
        let (me, world, limit) = (self.me, Arc::clone(&self.world), self.timings.open_timeout);
        self.run(async move {
            let class = request.class;
            // A request that is dropped here is answered by the handle: the connection went away.
            match timeout(limit, open(&world, me, peer, link, &request)).await {
                Ok(Some(answer)) => {
                    let _ = request.reply.send(answer);
                }
                Ok(None) => {}
                Err(_elapsed) => {
                    let _ = request.reply.send(Err(OpenError::TimedOut { peer, class, after: limit }));
                }
            }
        });
    }

    fn keep(&mut self, _: PeerId, _: LinkId, _: bool) {
        // Connections here do not end for being idle.
    }

    fn close(&mut self, _: PeerId, link: LinkId) {
        lock(&self.world).close_end(self.me, link);
    }

    async fn finish(&mut self) {
        lock(&self.world).leave(self.me, Some(self.generation));
    }

    async fn next_event(&mut self) -> WireEvent {
        loop {
            let event = lock(&self.world).seats.get_mut(&self.me).and_then(|seat| seat.events.pop_front());
            if let Some(event) = event {
                return event;
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                _ = self.pings.tick() => lock(&self.world).ping(self.me),
            }
        }
    }
}

/// Waits until something sent from one node arrives at the other: its delay, and the end of a cut.
pub(super) async fn travel(world: &Mutex<World>, from: PeerId, to: PeerId) {
    let delay = lock(world).draw_delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    wait_until_passable(world, from, to).await;
}

/// Waits for the end of a cut.
pub(super) async fn wait_until_passable(world: &Mutex<World>, from: PeerId, to: PeerId) {
    loop {
        let mut faults = {
            let world = lock(world);
            if !world.is_blocked(from, to) {
                return;
            }
            world.faults.subscribe()
        };
        if faults.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// A dial to one address: there and back, then the checks of the handshake.
async fn connect(
    world: &Mutex<World>,
    me: PeerId,
    dial: DialId,
    expected: Option<PeerId>,
    address: SocketAddr,
) -> Result<(), DialFailure> {
    let refused = || DialFailure::Unreachable(format!("{address}: connection refused"));
    let there = lock(world).addresses.get(&address).copied().ok_or_else(refused)?;
    travel(world, me, there).await;
    travel(world, there, me).await;
    let mut world = lock(world);
    let keys = (world.seats.get(&me), world.seats.get(&there));
    let (Some(mine), Some(theirs)) = keys else { return Err(refused()) };
    if mine.psk.as_bytes() != theirs.psk.as_bytes() {
        return Err(DialFailure::Handshake("greeting: the keys differ".to_owned()));
    }
    if there == me {
        return Err(DialFailure::Oneself);
    }
    if expected.is_some_and(|expected| expected != there) {
        return Err(DialFailure::WrongPeer(there));
    }
    world.connect(me, there, dial);
    Ok(())
}

/// Opens a stream: there, the gate's decision, and back. `None` when the connection is gone.
async fn open(
    world: &Arc<Mutex<World>>,
    me: PeerId,
    peer: PeerId,
    link: LinkId,
    request: &OpenRequest,
) -> Option<Result<crate::FrameStream, OpenError>> {
    let class = request.class;
    let life = lock(world).links.get_mut(&link)?.end(me)?.life.clone();
    life.run_until_cancelled(travel(world, me, peer)).await?;
    let (gate, clusters, their_life) = {
        let mut world = lock(world);
        let theirs = world.links.get_mut(&link)?.end(peer)?.life.clone();
        let (mine, other) = (world.seats.get(&me)?, world.seats.get(&peer)?);
        (other.gate.clone(), (mine.cluster, other.cluster), theirs)
    };
    let (mine, theirs) = clusters;
    let decision = if mine == theirs {
        gate.admit(me, class).map_err(|refusal| match refusal {
            Refusal::NotMember => OpenError::NotAllowed { peer, class, refused_by: peer },
            Refusal::TooMany | Refusal::Busy => OpenError::Busy { peer, class },
        })
    } else {
        let protocol = ProtocolNames::new(mine).of(class).as_ref().to_owned();
        Err(OpenError::Unsupported { peer, class, protocol })
    };
    let opened = decision.map(|admission| {
        let (opener, asked) = (Side { peer: me, life: &life }, Side { peer, life: &their_life });
        let (ours, other) = pipe::stream_pair(world, class, opener, asked, admission.slot);
        admission.place.send(other);
        ours
    });
    life.run_until_cancelled(travel(world, peer, me)).await?;
    Some(opened)
}
