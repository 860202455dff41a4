//! The sockets of one thread: opened within the budget, watched, put by for the next probe, closed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use socket2::Socket;

use super::Budget;
use super::socket;
use crate::connect_scan::Listen;
use crate::io::reactor::BELL;
use crate::slot_map::{Key, SlotMap};

/// Sockets kept between probes; at the rate of one machine, more are never free at once for long.
const IDLE_MAX: usize = 256;

/// Every socket of every unit.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) epoll: Epoll,
    pub(super) open: SlotMap<Watched>,
    /// Open ports being listened to, with the time at which that ends; the oldest first.
    pub(super) listening: VecDeque<(Duration, Key)>,
    /// Sockets between two probes, IPv4 and IPv6.
    idle: [Vec<Key>; 2],
    pub(super) budget: Arc<Budget>,
}

/// A socket and what it is for.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) socket: Socket,
    pub(super) unit: Key,
    pub(super) purpose: Purpose,
}

#[derive(Debug)]
pub(super) enum Purpose {
    /// None at the moment.
    Idle,
    /// Being connected.
    Probe { probe: Key, to: SocketAddr },
    /// Connected; its first words are awaited.
    Listen { listen: Listen, heard: Vec<u8> },
}

impl Sockets {
    pub(super) fn new(epoll: Epoll, budget: Arc<Budget>) -> Self {
        Self { epoll, open: SlotMap::default(), listening: VecDeque::new(), idle: [Vec::new(), Vec::new()], budget }
    }

    /// How many more sockets may be used.
    pub(super) fn room(&self) -> usize {
        (self.budget.max + self.idle_count()).saturating_sub(self.budget.used.load(Ordering::Relaxed))
    }

    fn idle_count(&self) -> usize {
        self.idle.iter().map(Vec::len).sum()
    }

    /// Begins a probe with a socket that was put by, or a new one.
    pub(super) fn connect(&mut self, unit: Key, probe: Key, to: SocketAddr) -> io::Result<Key> {
        let key = match self.idle_of(to).pop() {
            Some(key) => key,
            None => self.open(to)?,
        };
        let watched = self.open.get_mut(key).expect("an idle socket is open");
        watched.unit = unit;
        watched.purpose = Purpose::Probe { probe, to };
        let begun = socket::begin(&watched.socket, to);
        if begun.is_err() {
            self.put_by(key, to);
        }
        begun.map(|()| key)
    }

    /// A new socket, watched for everything that can happen to it.
    fn open(&mut self, to: SocketAddr) -> io::Result<Key> {
        let socket = socket::open(to)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.budget.used.fetch_add(1, Ordering::Relaxed);
        let key = self.open.insert(Watched { socket, unit: Key::from_bits(BELL), purpose: Purpose::Idle });
        let watched = self.open.get(key).expect("just put in");
        if let Err(errno) = self.epoll.add(&watched.socket, EpollEvent::new(flags, key.to_bits())) {
            self.remove(key);
            return Err(errno.into());
        }
        Ok(key)
    }

    /// Takes a socket out; it is closed when the caller drops it.
    pub(super) fn remove(&mut self, key: Key) -> Option<Watched> {
        let removed = self.open.remove(key)?;
        self.budget.used.fetch_sub(1, Ordering::Relaxed);
        Some(removed)
    }

    fn idle_of(&mut self, to: SocketAddr) -> &mut Vec<Key> {
        let [v4, v6] = &mut self.idle;
        if to.is_ipv4() { v4 } else { v6 }
    }

    /// Keeps a socket whose attempt has failed for the next probe.
    pub(super) fn put_by(&mut self, key: Key, to: SocketAddr) {
        if self.idle_count() >= IDLE_MAX {
            self.remove(key);
            return;
        }
        if let Some(watched) = self.open.get_mut(key) {
            watched.purpose = Purpose::Idle;
            self.idle_of(to).push(key);
        }
    }

    /// Closes a socket that is, or may be, connected.
    pub(super) fn close(&mut self, key: Key) {
        if let Some(watched) = self.remove(key) {
            socket::reset(watched.socket);
        }
    }

    pub(super) fn close_all_of(&mut self, unit: Key) {
        let used =
            self.open.iter().filter(|(_, watched)| watched.unit == unit && !matches!(watched.purpose, Purpose::Idle));
        let keys: Vec<Key> = used.map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.close(key));
    }

    /// Closes the sockets that were put by: nobody is scanning.
    pub(super) fn close_idle(&mut self) {
        let [v4, v6] = std::mem::take(&mut self.idle);
        for key in v4.into_iter().chain(v6) {
            self.remove(key);
        }
    }
}
