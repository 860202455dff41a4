//! The sending thread: takes in answers, lets each unit say what to send, transmits it, sleeps when there is nothing.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::banner_grab::{Heard, Request};
use super::neighbour::{Advertised, Resolver};
use super::netlink;
use super::receiver::Routed;
use super::routes::scoped;
use super::transmit::{BATCH, Transmitter};
use super::unit::{Paths, Unit, Waiting};
use super::{PORTS_PER_SLOT, SLOTS, drop_side_by_side, stamp_at};
use crate::finding::NotProbed;
use crate::io::bell::{self, Bell};
use crate::io::clock;
use crate::io::engine_thread::Inbox;
use crate::packet::probe::Keys;
use crate::packet::template::Particulars;
use crate::slot_map::{Key as UnitKey, SlotMap};
use crate::syn_scan::{Transmit, Turn, lane};
use crate::unit::ScanError;

/// While there are units, the loop turns at least this often: it notices a cancelled one well within 100 ms.
const TURN_MAX: Duration = Duration::from_millis(20);
/// How soon a full queue of an interface is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// How often links are looked at: a port is believed to be silent no sooner than twice as long after it was asked.
const LINKS_EVERY: Duration = Duration::from_millis(100);
/// Connections to open ports that are asked for at once.
const BANNER_GRABS_AT_ONCE: usize = 64;

/// The thread's ends of its channels.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) units: Inbox<Waiting>,
    pub(super) replies: Receiver<Vec<Routed>>,
    pub(super) banner_grab: SyncSender<Request>,
    pub(super) heard: Receiver<Heard>,
    pub(super) grabber_bell: Arc<Bell>,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Sender {
    ends: Ends,
    transmitter: Transmitter,
    resolver: Resolver,
    keys: Keys,
    port_first: u16,
    waiting: VecDeque<Waiting>,
    units: SlotMap<Unit>,
    slots: [Option<UnitKey>; SLOTS as usize],
    /// The units of the slots, the one that began first at the front.
    order: Vec<UnitKey>,
    paths: Paths,
    /// When the links were looked at last.
    links_seen: Duration,
    transmits: Vec<Transmit>,
    /// Whose packets were given to the transmitter last, and until when units know that a full queue holds them up.
    sending: Option<UnitKey>,
    held_up_until: Option<Duration>,
    /// Requests that the grabber has had no room for.
    unasked: VecDeque<Request>,
}

/// Why the kernel has refused a packet.
fn why_refused(code: i32) -> NotProbed {
    match code {
        libc::ENETDOWN | libc::ENXIO | libc::ENODEV => NotProbed::InterfaceDown,
        _ => NotProbed::SendRefused,
    }
}

/// What became of a unit's turn.
#[derive(Debug, Clone, Copy)]
struct UnitTurn {
    /// When it wants to go on.
    wake_at: Option<Duration>,
    has_sent: bool,
}

impl Sender {
    pub(super) fn new(ends: Ends, transmitter: Transmitter, resolver: Resolver, keys: Keys, port_first: u16) -> Self {
        Self {
            ends,
            transmitter,
            resolver,
            keys,
            port_first,
            waiting: VecDeque::new(),
            units: SlotMap::default(),
            slots: [None; SLOTS as usize],
            order: Vec::new(),
            paths: Paths::default(),
            links_seen: Duration::ZERO,
            transmits: Vec::new(),
            sending: None,
            held_up_until: None,
            unasked: VecDeque::new(),
        }
    }

    pub(super) fn run(mut self) {
        while !self.ends.units.state().is_stopped() {
            self.take_in();
            let wake_at = self.turn();
            self.sleep(wake_at);
        }
        self.take_in();
        self.waiting.drain(..).for_each(|unit| unit.refuse(ScanError::Stopped));
        let keys: Vec<UnitKey> = self.units.iter().map(|(key, _)| key).collect();
        for mut unit in keys.into_iter().filter_map(|key| self.units.remove(key)) {
            unit.delivery.end(Err(ScanError::Stopped));
            unit.end_turn(clock::now());
            unit.delivery.finish();
        }
        let [arp, nd] = self.resolver.into_sockets();
        drop_side_by_side([self.transmitter.into_outward(), arp, nd]);
    }

    /// New units, answers, hardware addresses and banners.
    fn take_in(&mut self) {
        let now = clock::now();
        while let Ok(batch) = self.ends.replies.try_recv() {
            for Routed { slot, reply } in batch {
                let unit = self.slots.get(usize::from(slot)).copied().flatten();
                if let Some(unit) = unit.and_then(|key| self.units.get_mut(key)) {
                    unit.scan.on_reply(now, &reply);
                }
            }
        }
        while let Some(Advertised { interface, address, mac }) = self.resolver.next() {
            for key in self.slots.iter().flatten() {
                let Some(unit) = self.units.get_mut(*key) else { continue };
                let links = (0..).zip(&unit.links).filter(|(_, link)| link.interface == interface);
                links.for_each(|(link, _)| unit.scan.on_neighbour(now, link, address, mac));
            }
        }
        while let Ok(Heard { request, banner }) = self.ends.heard.try_recv() {
            if let Some(unit) = self.units.get_mut(request.unit) {
                unit.scan.on_banner(request.index, request.to, banner);
            }
        }
        self.look_at_links(now);
        self.waiting.extend(std::iter::from_fn(|| self.ends.units.take()));
        self.begin_units(now);
    }

    /// Tells units which of their links carry packets, several times a second.
    fn look_at_links(&mut self, now: Duration) {
        if self.units.is_empty() || now < self.links_seen + LINKS_EVERY {
            return;
        }
        self.links_seen = now;
        let Ok(entries) = netlink::links() else { return };
        for key in self.slots.iter().flatten() {
            let Some(unit) = self.units.get_mut(*key) else { continue };
            let own = (0..).zip(&unit.links).filter(|(_, link)| !link.is_local);
            for (number, link) in own {
                let entry = entries.iter().find(|entry| entry.interface == link.interface);
                unit.scan.on_link(now, number, entry.is_some_and(netlink::LinkEntry::carries));
            }
        }
    }

    /// Begins units that wait, as far as there are slots.
    fn begin_units(&mut self, now: Duration) {
        while let Some(free) = self.slots.iter().position(Option::is_none) {
            let Some(unit) = self.waiting.pop_front() else { break };
            if unit.is_cancelled() {
                unit.refuse(ScanError::Cancelled);
                self.ends.units.ended(1);
                continue;
            }
            let slot = u8::try_from(free).expect("there are sixteen slots");
            let key = self.units.insert(unit.begin(&mut self.paths, now, slot));
            self.order.push(key);
            if let Some(slot) = self.slots.get_mut(free) {
                *slot = Some(key);
            }
        }
        if self.slots.iter().all(Option::is_some) && self.waiting.iter().any(Waiting::is_cancelled) {
            let (cancelled, waiting) = self.waiting.drain(..).partition::<Vec<_>, _>(Waiting::is_cancelled);
            self.ends.units.ended(cancelled.len());
            cancelled.into_iter().for_each(|unit| unit.refuse(ScanError::Cancelled));
            self.waiting.extend(waiting);
        }
    }

    /// Lets one unit of each path send a batch, the first of those that have something to send; returns when to look again, or
    /// `None` to wait for the bell.
    ///
    /// Of two units of a job, the later one fills the pauses of the earlier, which so ends sooner and makes room for the
    /// next; side by side they would pause together.
    fn turn(&mut self) -> Option<Duration> {
        self.ask();
        self.go_on();
        let mut wake_at: Option<Duration> = None;
        let mut busy = Vec::new();
        let mut at = 0;
        while let Some(key) = self.order.get(at).copied() {
            let path = self.units.get(key).map(|unit| unit.path);
            let is_busy = path.is_some_and(|path| busy.contains(&path));
            let unit = if self.transmitter.is_held_up() { self.wait(key) } else { self.drive(key, !is_busy) };
            busy.extend(path.filter(|_| unit.has_sent));
            wake_at = [wake_at, unit.wake_at].into_iter().flatten().min();
            // A unit that is over has left its place to the next.
            at += usize::from(self.order.get(at) == Some(&key));
        }
        let tick = (!self.units.is_empty()).then(|| clock::now() + TURN_MAX);
        [wake_at, tick].into_iter().flatten().min()
    }

    /// Goes on with what a full queue of an interface has held up. All that units decide by time waits as long: what they gave to
    /// send is not out.
    fn go_on(&mut self) {
        self.flush();
        let (now, is_held_up) = (clock::now(), self.transmitter.is_held_up());
        let since = std::mem::replace(&mut self.held_up_until, is_held_up.then_some(now));
        if let Some(since) = since {
            self.units.values_mut().for_each(|unit| unit.scan.put_off(now.saturating_sub(since)));
        }
    }

    /// Sends what the transmitter holds, and tells of what was refused whoever gave it.
    fn flush(&mut self) {
        self.transmitter.flush();
        let refused = std::mem::take(&mut self.transmitter.refused);
        if let Some(unit) = self.sending.and_then(|key| self.units.get_mut(key)) {
            let now = clock::now();
            refused.into_iter().for_each(|(address, code)| unit.scan.on_not_sent(now, address, why_refused(code)));
        }
    }

    /// The turn of a unit that nothing may be sent for.
    fn wait(&mut self, key: UnitKey) -> UnitTurn {
        let now = clock::now();
        self.units.get_mut(key).into_iter().for_each(|unit| _ = unit.begin_turn(now));
        self.end_if_over(key, now);
        UnitTurn { wake_at: Some(now + FULL_PAUSE), has_sent: false }
    }

    /// One unit's turn.
    fn drive(&mut self, key: UnitKey, may_send: bool) -> UnitTurn {
        let now = clock::now();
        let mut turn = UnitTurn { wake_at: None, has_sent: false };
        let Some(unit) = self.units.get_mut(key) else { return turn };
        if !unit.begin_turn(now) {
            let room = if unit.delivery.is_blocked() || !may_send { 0 } else { BATCH };
            let banner_grabs = BANNER_GRABS_AT_ONCE.saturating_sub(self.unasked.len());
            let room = u32::try_from(room).expect("a batch is small");
            turn.wake_at = match unit.scan.poll(now, room, banner_grabs, &mut self.transmits) {
                Turn::Sent => {
                    turn.has_sent = true;
                    Some(Duration::ZERO)
                }
                Turn::Wait { until } => Some(until),
                Turn::Done => {
                    unit.done(now);
                    Some(Duration::ZERO)
                }
            };
            self.carry_out(key, now);
        }
        self.end_if_over(key, now);
        turn
    }

    /// Hands over what a unit has found, and lets it go once it is over.
    fn end_if_over(&mut self, key: UnitKey, now: Duration) {
        let is_over = self.units.get_mut(key).is_some_and(|unit| unit.end_turn(now));
        if is_over && let Some(unit) = self.units.remove(key) {
            if let Some(slot) = self.slots.get_mut(usize::from(unit.slot)) {
                *slot = None;
            }
            self.order.retain(|other| *other != key);
            unit.delivery.finish();
            self.ends.units.ended(1);
        }
    }

    /// Sends what a unit gave to send.
    fn carry_out(&mut self, key: UnitKey, now: Duration) {
        let Some(unit) = self.units.get(key) else { return };
        let first_port = self.port_first + u16::from(unit.slot) * PORTS_PER_SLOT;
        let stamp = stamp_at(now);
        for send in self.transmits.drain(..) {
            match send {
                Transmit::Probe { address, probe, lane, link, mac } => {
                    let Some(link) = unit.links.get(usize::from(link)) else { continue };
                    let stamp = if lane::is_stamped(probe, lane) { stamp } else { 0 };
                    let lane = first_port + u16::from(lane);
                    let cookie = self.keys.cookie(probe, address, lane, stamp);
                    let particulars = Particulars { probe, to: address, lane, cookie };
                    self.transmitter.push(link, address, mac, |bytes| link.template.write(&particulars, bytes));
                }
                // Only of probes without a stamp: their number is known.
                Transmit::Reset { address, probe, lane, link, mac } => {
                    let Some(link) = unit.links.get(usize::from(link)) else { continue };
                    let lane = first_port + u16::from(lane);
                    let cookie = self.keys.cookie(probe, address, lane, 0);
                    let particulars = Particulars { probe, to: address, lane, cookie };
                    self.transmitter.push(link, address, mac, |bytes| link.template.write_reset(&particulars, bytes));
                }
                Transmit::Resolve { address, link } => {
                    let Some(link) = unit.links.get(usize::from(link)) else { continue };
                    if let Err(error) = self.resolver.ask(link, address) {
                        // It counts as lost; the next try may find the interface up again.
                        tracing::debug!(%error, interface = link.name, "a request for a neighbour was not sent");
                    }
                }
                Transmit::BannerGrab { index, address, port, link, wait } => {
                    let interface = unit.links.get(usize::from(link)).map_or(0, |link| link.interface);
                    let (to, cancel) = (scoped(address, port, interface), unit.cancel.clone());
                    self.unasked.push_back(Request { unit: key, index, to, wait, cancel });
                }
            }
        }
        self.sending = Some(key);
        self.flush();
        // From here on it may be held up.
        self.held_up_until = self.transmitter.is_held_up().then_some(now);
        self.ask();
    }

    /// Passes requests on to the grabber.
    fn ask(&mut self) {
        let mut is_asked = false;
        while let Some(request) = self.unasked.pop_front() {
            match self.ends.banner_grab.try_send(request) {
                Ok(()) => is_asked = true,
                Err(TrySendError::Full(request)) => {
                    self.unasked.push_front(request);
                    break;
                }
                Err(TrySendError::Disconnected(request)) => {
                    // The thread has died: the port stays found, its words stay unknown.
                    if let Some(unit) = self.units.get_mut(request.unit) {
                        unit.scan.on_banner(request.index, request.to, None);
                    }
                }
            }
        }
        if is_asked {
            self.ends.grabber_bell.ring();
        }
    }

    /// Sleeps until the bell or `wake_at`.
    fn sleep(&self, wake_at: Option<Duration>) {
        let polled = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let [arp, nd] = self.resolver.fds();
        let bell = self.ends.units.state().bell();
        let mut all = [polled(bell.as_fd()), polled(arp), polled(nd)];
        // An idle engine does not care for other people's ARP.
        let watched = if self.units.is_empty() { all.get_mut(..1) } else { all.get_mut(..) };
        if bell::sleep(watched.unwrap_or_default(), wake_at) {
            bell.silence();
        }
    }
}
