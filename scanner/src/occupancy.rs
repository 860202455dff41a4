//! How many connections are open to one host, and to one port, at once: over everything that opens any on this node.
//!
//! Small devices have room for a few, and many at once look like an attack. Whoever asks an open port what it is enters the
//! room of the port and that of the host first, and stays in both as long as the connection is there. Whoever only looks
//! whether a port is open enters the port's. Rooms are those of addresses: however many names, units and jobs ask for one,
//! it has no more of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Connections to one host at once: what a browser opens to a site, twice over.
pub(crate) const PER_HOST: usize = 16;
/// Connections to one port at once: enough to hide one silence behind another.
const PER_PORT: u32 = 2;
/// Slots that nobody uses are forgotten when there are more than twice those in use, and at least so many.
const FORGET_FROM: usize = 4096;

/// The rooms of all hosts and ports that are being asked.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    hosts: Mutex<Slots<IpAddr>>,
    ports: Mutex<Slots<SocketAddr>>,
}

#[derive(Debug)]
struct Slots<K> {
    known: HashMap<K, Weak<Semaphore>>,
    forget_from: usize,
}

impl<K> Default for Slots<K> {
    fn default() -> Self {
        Self { known: HashMap::new(), forget_from: FORGET_FROM }
    }
}

/// The rooms of one port and its host.
#[derive(Debug)]
pub(crate) struct Slot {
    host: Arc<Semaphore>,
    port: Arc<Semaphore>,
    /// How much of the port's room one connection takes.
    share: u32,
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    _port: SemaphorePermit<'a>,
    _host: SemaphorePermit<'a>,
}

/// A place at a port alone; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _port: OwnedSemaphorePermit,
}

impl Occupancy {
    /// The rooms of a port and its host; those of one where only one connection may be open are taken whole.
    pub(crate) fn of(&self, target: SocketAddr, is_one_at_a_time: bool) -> Slot {
        let host = locked(&self.hosts).of(target.ip().to_canonical(), PER_HOST);
        Slot { host, port: self.port(target), share: share(is_one_at_a_time) }
    }

    /// A place at a port for a connection that only shows whether it is open, if there is one now. The host's other ports are
    /// no matter: how many of them are asked at once is for the scan's pace.
    pub(crate) fn at_port(&self, target: SocketAddr, is_one_at_a_time: bool) -> Option<Place> {
        let port = self.port(target).try_acquire_many_owned(share(is_one_at_a_time)).ok()?;
        Some(Place { _port: port })
    }

    fn port(&self, target: SocketAddr) -> Arc<Semaphore> {
        let target = SocketAddr::new(target.ip().to_canonical(), target.port());
        locked(&self.ports).of(target, PER_PORT as usize)
    }
}

/// How much of a port's room one connection takes.
fn share(is_one_at_a_time: bool) -> u32 {
    if is_one_at_a_time { PER_PORT } else { 1 }
}

impl<K: Eq + Hash> Slots<K> {
    fn of(&mut self, key: K, size: usize) -> Arc<Semaphore> {
        if let Some(room) = self.known.get(&key).and_then(Weak::upgrade) {
            return room;
        }
        if self.known.len() >= self.forget_from {
            self.known.retain(|_, room| room.strong_count() > 0);
            self.forget_from = (2 * self.known.len()).max(FORGET_FROM);
        }
        let room = Arc::new(Semaphore::new(size));
        self.known.insert(key, Arc::downgrade(&room));
        room
    }
}

impl Slot {
    /// Waits for a place; `None` where there is none before `deadline`. The port's comes first: whoever waits for that
    /// takes nothing from the host's others.
    pub(crate) async fn enter(&self, deadline: Instant) -> Option<Entered<'_>> {
        let port = timeout_at(deadline, self.port.acquire_many(self.share)).await.ok()?.ok()?;
        let host = timeout_at(deadline, self.host.acquire()).await.ok()?.ok()?;
        Some(Entered { _port: port, _host: host })
    }

    /// A place, if there is one now.
    pub(crate) fn try_enter(&self) -> Option<Entered<'_>> {
        let port = self.port.try_acquire_many(self.share).ok()?;
        let host = self.host.try_acquire().ok()?;
        Some(Entered { _port: port, _host: host })
    }

    /// Whether there is a place now.
    pub(crate) fn has_place(&self) -> bool {
        self.try_enter().is_some()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whoever panicked has left a map that may lack a room, which is made again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn port(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    #[tokio::test]
    async fn a_port_has_two_places_a_fragile_one_a_single_one_and_a_host_sixteen() {
        let occupancy = Occupancy::default();
        let (web, device) = (occupancy.of(port(80), false), occupancy.of(port(502), true));
        let (_first, _second) = (web.try_enter().unwrap(), occupancy.of(port(80), false));
        let _third = web.try_enter().unwrap();
        assert!(!web.has_place(), "whoever asks");
        let held = device.try_enter().unwrap();
        assert!(!device.has_place());
        drop(held);
        let rooms: Vec<Slot> = (1000..1014).map(|number| occupancy.of(port(number), false)).collect();
        let _held: Vec<Entered<'_>> = rooms.iter().map(|room| room.try_enter().unwrap()).collect();
        assert!(!device.has_place(), "two to the web server and fourteen more");
        let mapped = SocketAddr::new("::ffff:10.0.0.1".parse().unwrap(), 4000);
        assert!(!occupancy.of(mapped, false).has_place(), "the same host in other words");
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(device.enter(soon).await.is_none());
        assert!(occupancy.of(SocketAddr::from(([10, 0, 0, 2], 80)), false).has_place());
    }

    #[test]
    fn whoever_looks_whether_a_port_is_open_counts_there_with_those_who_ask_it() {
        let occupancy = Occupancy::default();
        let asks = occupancy.of(port(502), true);
        let look = occupancy.at_port(port(502), true).unwrap();
        assert!(!asks.has_place() && occupancy.at_port(port(502), true).is_none());
        drop(look);
        let _asked = asks.try_enter().unwrap();
        assert!(occupancy.at_port(port(502), true).is_none());
        let many: Vec<Option<Place>> = (1000..1100).map(|number| occupancy.at_port(port(number), false)).collect();
        assert!(many.iter().all(Option::is_some), "the host's room is not theirs");
        let mapped = SocketAddr::new("::ffff:10.0.0.1".parse().unwrap(), 1000);
        let _second = occupancy.at_port(mapped, false).unwrap();
        assert!(occupancy.at_port(port(1000), false).is_none());
    }

    #[test]
    fn rooms_that_nobody_is_in_are_forgotten() {
        let occupancy = Occupancy::default();
        for host in 0..3 * FORGET_FROM {
            let address = std::net::Ipv4Addr::from_bits(u32::try_from(host).unwrap());
            occupancy.of(SocketAddr::new(address.into(), 80), false);
        }
        assert!(locked(&occupancy.hosts).known.len() <= FORGET_FROM);
    }
}
