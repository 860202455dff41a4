//! Listens to open ports: ordinary connections beside the raw scan, on a thread of their own.
//!
//! A raw SYN finds a port open and leaves no connection behind, so the kernel makes one in the usual way. Nothing is
//! sent on it; it is closed with a reset. How many are open at once is bounded, how many begin per second is decided by
//! the unit that asks.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;
use tokio_util::sync::CancellationToken;

use crate::connect_scan::Answer;
use crate::finding::{PortState, printable_banner};
use crate::io::bell::Bell;
use crate::io::clock;
use crate::io::connect::socket::{self, Verdict};
use crate::io::reactor::BELL;
use crate::occupancy::{Occupancy, Place};
use crate::port::{Port, fragile};
use crate::slot_map::{Key, SlotMap};

/// Connections open at once: what listens for a third of a second each is then heard at ten thousand per second.
const SOCKETS_MAX: usize = 4096;
/// How long a connection may take to come about: the kernel repeats its SYN after one second and after two more.
const CONNECT_WAIT: Duration = Duration::from_millis(3500);
/// A cancelled unit's connections are ended within this time: the kernel would repeat their SYNs.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Requests that wait for the thread.
pub(super) const QUEUE: usize = 1024;
const EVENTS_AT_ONCE: usize = 512;

/// An open port to listen to.
#[derive(Debug)]
pub(super) struct Request {
    /// Whose.
    pub(super) unit: Key,
    pub(super) index: u64,
    pub(super) to: SocketAddr,
    /// How long to listen once connected.
    pub(super) wait: Duration,
    pub(super) cancel: CancellationToken,
}

/// What was heard.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) request: Request,
    pub(super) banner: Option<String>,
}

#[derive(Debug)]
struct Talk {
    socket: Socket,
    request: Request,
    is_connected: bool,
    heard: Vec<u8>,
    /// Given back when the socket is closed.
    place: Place,
}

/// The thread.
#[derive(Debug)]
pub(super) struct BannerGrabber {
    epoll: Epoll,
    bell: Arc<Bell>,
    requests: Receiver<Request>,
    heard: SyncSender<Heard>,
    /// Rung after something was heard.
    sender: Arc<Bell>,
    talks: SlotMap<Talk>,
    occupancy: Arc<Occupancy>,
    /// Ports that have no place at the moment: others are connected to them.
    put_off: VecDeque<Request>,
    /// When talks end, those that connect and those that listen; each in order.
    connecting: VecDeque<(Duration, Key)>,
    listening: VecDeque<(Duration, Key)>,
    sockets_max: usize,
    looked_at: Duration,
}

impl BannerGrabber {
    pub(super) fn new(
        bell: Arc<Bell>,
        requests: Receiver<Request>,
        heard: SyncSender<Heard>,
        sender: Arc<Bell>,
        occupancy: Arc<Occupancy>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let sockets_max = (crate::io::limits::probe_sockets() / 2).clamp(1, SOCKETS_MAX);
        let (talks, connecting, listening) = (SlotMap::default(), VecDeque::new(), VecDeque::new());
        Ok(Self {
            epoll,
            bell,
            requests,
            heard,
            sender,
            talks,
            occupancy,
            put_off: VecDeque::new(),
            connecting,
            listening,
            sockets_max,
            looked_at: Duration::ZERO,
        })
    }

    pub(super) fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); EVENTS_AT_ONCE];
        loop {
            let now = clock::now();
            self.end_overdue(now);
            self.end_cancelled(now);
            for request in std::mem::take(&mut self.put_off) {
                self.begin(request, now);
            }
            while self.talks.len() + self.put_off.len() < self.sockets_max {
                match self.requests.try_recv() {
                    Ok(request) => self.begin(request, now),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            let due =
                [self.connecting.front(), self.listening.front()].into_iter().flatten().map(|(due, _)| *due).min();
            let wait =
                if self.talks.is_empty() && self.put_off.is_empty() { Duration::from_millis(500) } else { LOOK_EVERY };
            let millis = due.map_or(wait, |due| due.saturating_sub(now).min(wait)).as_millis() + 1;
            let timeout = EpollTimeout::from(u16::try_from(millis).expect("at most 501"));
            let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
            let now = clock::now();
            for event in events.iter().take(count) {
                match event.data() {
                    BELL => self.bell.silence(),
                    data => self.on_event(Key::from_bits(data), now),
                }
            }
        }
    }

    fn begin(&mut self, request: Request, now: Duration) {
        let to = request.to;
        if request.cancel.is_cancelled() {
            return self.tell(request, None);
        }
        let is_fragile = fragile::class(Port::tcp(to.port())).is_some();
        let Some(place) = self.occupancy.at_port(to, is_fragile) else { return self.put_off.push_back(request) };
        let Some(socket) = socket::open(to).ok().filter(|socket| socket::begin(socket, to).is_ok()) else {
            return self.tell(request, None);
        };
        let key = self.talks.insert(Talk { socket, request, is_connected: false, heard: Vec::new(), place });
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let talk = self.talks.get(key).expect("just put in");
        match self.epoll.add(&talk.socket, EpollEvent::new(flags, key.to_bits())) {
            Ok(()) => self.connecting.push_back((now + CONNECT_WAIT, key)),
            Err(_) => self.end(key),
        }
    }

    fn on_event(&mut self, key: Key, now: Duration) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        if !talk.is_connected {
            match socket::verdict(&talk.socket, talk.request.to, 0) {
                Verdict::Pending => return,
                Verdict::Answer(Answer { state: PortState::Open, .. }) => talk.is_connected = true,
                _ => return self.end(key),
            }
            self.listening.push_back((now + talk.request.wait, key));
        }
        self.hear(key);
    }

    /// Reads what has come, and ends when that is enough.
    fn hear(&mut self, key: Key) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        if socket::read_words(&talk.socket, &mut talk.heard) {
            self.end(key);
        }
    }

    fn end_overdue(&mut self, now: Duration) {
        while let Some(key) = pop_due(&mut self.connecting, now) {
            if self.talks.get(key).is_some_and(|talk| !talk.is_connected) {
                self.end(key);
            }
        }
        while let Some(key) = pop_due(&mut self.listening, now) {
            self.end(key);
        }
    }

    /// Ends what units that were cancelled have begun.
    fn end_cancelled(&mut self, now: Duration) {
        if now < self.looked_at + LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        let cancelled = self.talks.iter().filter(|(_, talk)| talk.request.cancel.is_cancelled());
        let cancelled: Vec<Key> = cancelled.map(|(key, _)| key).collect();
        cancelled.into_iter().for_each(|key| self.end(key));
    }

    fn end(&mut self, key: Key) {
        let Some(Talk { socket, request, heard, place, .. }) = self.talks.remove(key) else { return };
        socket::reset(socket);
        drop(place);
        self.tell(request, printable_banner(&heard));
    }

    fn tell(&self, request: Request, banner: Option<String>) {
        // An engine that has ended needs no answers.
        let _ = self.heard.send(Heard { request, banner });
        self.sender.ring();
    }
}

/// The first of a queue in order of time, if it is due.
fn pop_due(queue: &mut VecDeque<(Duration, Key)>, now: Duration) -> Option<Key> {
    queue.front().filter(|(due, _)| *due <= now)?;
    queue.pop_front().map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_port_that_others_are_connected_to_is_listened_to_when_they_are_gone() {
        let [busy, free] = [(); 2].map(|()| TcpListener::bind("127.55.3.1:0").unwrap());
        let occupancy = Arc::<Occupancy>::default();
        let to = busy.local_addr().unwrap();
        let others = [(); 2].map(|()| occupancy.at_port(to, false).unwrap());
        let (asks, requests) = sync_channel(4);
        let (heard_in, heard) = sync_channel(4);
        let (bell, sender) = (Bell::new().unwrap(), Bell::new().unwrap());
        let grabber = BannerGrabber::new(Arc::clone(&bell), requests, heard_in, sender, Arc::clone(&occupancy));
        let grabber = grabber.unwrap();
        let thread = std::thread::spawn(move || grabber.run());
        for listener in [&busy, &free] {
            let (unit, to) = (Key::from_bits(7), listener.local_addr().unwrap());
            let (wait, cancel) = (Duration::from_millis(1), CancellationToken::new());
            asks.send(Request { unit, index: 0, to, wait, cancel }).unwrap();
        }
        bell.ring();
        free.accept().unwrap();
        busy.set_nonblocking(true).unwrap();
        assert_eq!(busy.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "it was asked for before the other");
        assert_eq!(heard.recv().unwrap().request.to, free.local_addr().unwrap());
        drop(others);
        assert_eq!(heard.recv().unwrap().request.to, to);
        drop(asks);
        bell.ring();
        thread.join().unwrap();
    }
}
