//! The state behind a [`super::Network`]: nodes, connections and faults.
//!
//! Everything here happens at once under one lock; what takes time waits outside, in [`super::wire`] and
//! [`super::pipe`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gate::{Peers, StreamGate};
use crate::peers::{LinkId, NewLink, next_random};
use crate::wire::{DialId, WireEvent};
use crate::{ClusterId, MeshError, PeerId, PreSharedKey};

/// First port given to a node that listens on port 0.
const FIRST_PORT: u16 = 40_000;

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seats: BTreeMap<PeerId, Seat>,
    pub(super) addresses: BTreeMap<SocketAddr, PeerId>,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) blocked: BTreeSet<(PeerId, PeerId)>,
    pub(super) delay: (Duration, Duration),
    pub(super) loss: f64,
    pub(super) random: u64,
    pub(super) next_link: usize,
    pub(super) next_port: u16,
    pub(super) generations: u64,
    /// Changes with the faults, so that what waits looks again.
    pub(super) faults: watch::Sender<u64>,
}

/// A running node.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) psk: PreSharedKey,
    pub(super) cluster: ClusterId,
    pub(super) peers: Arc<Peers>,
    pub(super) gate: StreamGate,
    /// For its event loop; one per connection made or ended, or ping.
    pub(super) events: VecDeque<WireEvent>,
    pub(super) wake: Arc<Notify>,
    /// Tells a restarted node from the one before it.
    pub(super) generation: u64,
}

/// What a node gets with its seat.
#[derive(Debug)]
pub(super) struct Seated {
    /// Its addresses, with the ports that it really has.
    pub(super) listen_addrs: Vec<SocketAddr>,
    /// See [`Seat::generation`].
    pub(super) generation: u64,
}

/// A connection: the dialer's end first.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
}

/// One side's view of a connection. The sides differ while a cut keeps one from learning that the other hung up.
#[derive(Debug)]
pub(super) struct End {
    pub(super) peer: PeerId,
    pub(super) life: CancellationToken,
    pub(super) open: bool,
}

impl Link {
    pub(super) fn end(&mut self, peer: PeerId) -> Option<&mut End> {
        self.ends.iter_mut().find(|end| end.peer == peer)
    }

    pub(super) fn is_open(&self, peer: PeerId) -> bool {
        self.ends.iter().any(|end| end.peer == peer && end.open)
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
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

    pub(super) fn random(&mut self) -> u64 {
        next_random(&mut self.random)
    }

    pub(super) fn sit_down(
        &mut self,
        peer: PeerId,
        listen: &[SocketAddr],
        mut seat: Seat,
    ) -> Result<Seated, MeshError> {
        self.leave(peer, None);
        let mut real = Vec::with_capacity(listen.len());
        for mut address in listen.iter().copied() {
            if address.port() == 0 {
                address.set_port(self.free_port(address));
            }
            if self.addresses.contains_key(&address) || real.contains(&address) {
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
        Ok(Seated { listen_addrs: real, generation: self.generations })
    }

    /// A port that was not given away on this address, or a used one when there is none left.
    fn free_port(&mut self, mut address: SocketAddr) -> u16 {
        for _ in FIRST_PORT..=u16::MAX {
            address.set_port(self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.addresses.contains_key(&address) {
                break;
            }
        }
        address.port()
    }

    /// Takes a node and its connections out; with a generation, only if that one still sits there.
    pub(super) fn leave(&mut self, peer: PeerId, generation: Option<u64>) {
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

    pub(super) fn is_blocked(&self, from: PeerId, to: PeerId) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// How long the next thing is under way.
    pub(super) fn draw_delay(&mut self) -> Duration {
        let (least, most) = self.delay;
        let spread = u64::try_from((most - least).as_nanos()).unwrap_or(u64::MAX);
        if spread == 0 { least } else { least + Duration::from_nanos(self.random() % spread) }
    }

    /// Whether the next frame is lost.
    pub(super) fn draw_loss(&mut self) -> bool {
        // 53 bits fill the fraction of an f64 exactly.
        #[expect(clippy::cast_precision_loss, reason = "both numbers have at most 53 bits")]
        let unit = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < self.loss
    }

    pub(super) fn tell(&mut self, peer: PeerId, event: WireEvent) {
        if let Some(seat) = self.seats.get_mut(&peer) {
            seat.events.push_back(event);
            seat.wake.notify_one();
        }
    }

    /// Makes a connection; both peer tables have their say.
    pub(super) fn connect(&mut self, from: PeerId, to: PeerId, dial: DialId) {
        let now = Instant::now();
        let link = LinkId::new_unchecked(self.next_link);
        self.next_link += 1;
        let end = |peer| End { peer, life: CancellationToken::new(), open: true };
        self.links.insert(link, Link { ends: [end(from), end(to)] });
        let [dialer, listener] = [from, to]
            .map(|peer| self.addresses.iter().find(|(_, owner)| **owner == peer).map(|(address, _)| *address));
        let take_up = |seat: Option<&Seat>, other, inbound, remote| {
            let new = NewLink { id: link, inbound, remote };
            seat.is_some_and(|seat| seat.peers.lock().connected(now, other, new).is_ok())
        };
        let dialer_agrees = take_up(self.seats.get(&from), to, false, listener);
        let listener_agrees = take_up(self.seats.get(&to), from, true, dialer);
        self.tell(from, WireEvent::Connected { peer: to, dial: Some(dial) });
        if dialer_agrees && listener_agrees {
            self.tell(to, WireEvent::Connected { peer: from, dial: None });
        } else {
            self.break_link(link);
        }
    }

    /// One side hangs up. The other learns it if anything gets through to it.
    pub(super) fn close_end(&mut self, peer: PeerId, id: LinkId) {
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
    pub(super) fn break_link(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        let [one, other] = link.ends;
        for (end, peer) in [(&one, other.peer), (&other, one.peer)] {
            end.life.cancel();
            if end.open {
                self.tell(end.peer, WireEvent::Disconnected { peer, link: id, hung_up: true });
            }
        }
    }

    /// One round of pings from a node on all its connections.
    pub(super) fn ping(&mut self, me: PeerId) {
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
