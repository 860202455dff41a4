//! The open ports that wait to be asked, host by host: whose turn it is, and which are not asked at all.
//!
//! Hosts take turns, so that one with many ports holds up nobody, and no more ports of a host are asked at once than it has
//! places for connections ([`crate::occupancy`]). Of a host whose open ports may be no one's but a middlebox's, a
//! handful is asked, and the rest waits for the scan's verdict; of one with dozens of open privileged ports, for the scan's
//! end. Of one that has listeners by the hundred and none that says
//! a word, the usual ports are asked first, and the others no more once enough of them were silent in a row.
//!
//! Pure: told what the scan finds and what asking came to.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::Open;
use crate::finding::{Finding, Observation, PortState};
use crate::occupancy::PER_HOST;
use crate::port::{Protocol, service_name};
use crate::scan::middlebox::{self, HANDFUL, PRIVILEGED_END, Privileged};

/// After so many ports of a host in a row have not said a word, the usual ones first, the others are not asked.
const SILENT_MAX: u32 = 32;
/// Hosts are gone through for those that are done with when there are so many.
const FORGET_FROM: usize = 1024;

/// A target of the unit.
pub(super) type HostKey = (u64, IpAddr);

/// The waiting ports of one unit.
#[derive(Debug)]
pub(super) struct PortQueue {
    hosts: HashMap<HostKey, Host>,
    /// Hosts with a port that may be asked now, in turn.
    line: VecDeque<HostKey>,
    /// Ports that wait, those included whose host has no turn.
    waiting: usize,
    forget_from: usize,
}

/// What is known of a host: small, since every host that has answered is in the table.
#[derive(Debug, Default)]
struct Host {
    ports: Option<Box<Ports>>,
    opened: u32,
    closed: u32,
    privileged: Privileged,
    standing: Standing,
    /// Whether nothing more is waited for.
    is_released: bool,
    /// Ports that are being asked, and those that ever were.
    asked: u16,
    begun: u32,
    silent_in_a_row: u32,
    is_lined: bool,
}

/// Waiting ports of a host: those on which something usual listens, and the others.
#[derive(Debug, Default)]
struct Ports {
    usual: VecDeque<Open>,
    others: VecDeque<Open>,
}

/// What a host's open ports are worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    /// Not known yet.
    #[default]
    Unknown,
    /// They are its own.
    Real,
    /// They are a middlebox's.
    Middlebox,
}

impl Default for PortQueue {
    fn default() -> Self {
        Self { hosts: HashMap::new(), line: VecDeque::new(), waiting: 0, forget_from: FORGET_FROM }
    }
}

impl PortQueue {
    /// Ports that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether a port may be asked now.
    pub(super) fn has_next(&self) -> bool {
        !self.line.is_empty()
    }

    /// Takes in what the scan has found. Returns how many ports of the host are not asked after all.
    pub(super) fn hear(&mut self, finding: &Finding) -> usize {
        let key = (finding.target_index, finding.address);
        match finding.observation {
            Observation::Port { port, state: PortState::Closed, .. } if port.protocol == Protocol::Tcp => {
                self.on_host(key, |host| {
                    host.closed += 1;
                    if middlebox::is_cleared(host.opened, host.closed) && host.standing == Standing::Unknown {
                        host.standing = Standing::Real;
                    }
                })
            }
            Observation::Redirected { first, last, .. } => self.redirect(key, first..=last),
            Observation::Middlebox => self.on_host(key, |host| host.standing = Standing::Middlebox),
            Observation::Cleared => self.on_host(key, |host| host.standing = Standing::Real),
            _ => 0,
        }
    }

    /// Open ports of a range are nobody's: those that wait are not asked. Returns how many that are.
    fn redirect(&mut self, key: HostKey, range: RangeInclusive<u16>) -> usize {
        let mut dropped = 0;
        let more = self.on_host(key, |host| dropped = host.drop_range(&range));
        self.waiting -= dropped;
        dropped + more
    }

    /// An open port of a host is to be asked. Returns how many are not asked after all, as [`Self::hear`].
    pub(super) fn push(&mut self, open: Open) -> usize {
        let is_usual = service_name(open.port.number, open.port.protocol).is_some();
        self.waiting += 1;
        self.on_host((open.host.target_index, open.host.address), |host| {
            if open.port.protocol == Protocol::Tcp {
                host.opened += 1;
                host.privileged.note(open.port.number, PortState::Open);
            }
            let ports = host.ports.get_or_insert_default();
            if is_usual { ports.usual.push_back(open) } else { ports.others.push_back(open) }
        })
    }

    /// The next port to ask.
    pub(super) fn next(&mut self) -> Option<Open> {
        while let Some(key) = self.line.pop_front() {
            let Some(host) = self.hosts.get_mut(&key) else { continue };
            host.is_lined = false;
            let Some(open) = host.pop() else { continue };
            host.asked += 1;
            host.begun += 1;
            self.waiting -= 1;
            self.on_host(key, |_| {});
            return Some(open);
        }
        None
    }

    /// A port was asked; `has_spoken` where it said anything. Returns how many of its host's are not asked after all.
    pub(super) fn done(&mut self, key: HostKey, has_spoken: bool) -> usize {
        self.on_host(key, |host| {
            host.asked = host.asked.saturating_sub(1);
            host.silent_in_a_row = if has_spoken { 0 } else { host.silent_in_a_row + 1 };
        })
    }

    /// Nothing more will be heard, or the queue is full of ports that wait for a verdict: what waits is asked.
    pub(super) fn release(&mut self) {
        let keys: Vec<HostKey> = self.hosts.keys().copied().collect();
        for key in keys {
            self.on_host(key, |host| {
                host.is_released = true;
                if host.standing == Standing::Unknown {
                    host.standing = Standing::Real;
                }
            });
        }
    }

    /// The same while nothing is being asked.
    pub(super) fn release_idle(&mut self) {
        self.hosts.values_mut().for_each(|host| host.asked = 0);
        self.release();
    }

    /// Forgets hosts below an index that are done with: all is heard of them.
    pub(super) fn forget(&mut self, settled_until: u64) {
        if self.hosts.len() >= self.forget_from {
            self.hosts.retain(|(index, _), host| *index >= settled_until || host.asked > 0 || host.is_waiting());
            self.forget_from = (2 * self.hosts.len()).max(FORGET_FROM);
        }
    }

    /// Changes what is known of a host, and draws the consequences.
    fn on_host(&mut self, key: HostKey, change: impl FnOnce(&mut Host)) -> usize {
        let host = self.hosts.entry(key).or_default();
        change(host);
        let dropped = if host.wants_no_more() { host.drop_waiting() } else { 0 };
        self.waiting -= dropped;
        if host.may_ask() && !host.is_lined {
            host.is_lined = true;
            self.line.push_back(key);
        }
        dropped
    }
}

impl Host {
    fn is_waiting(&self) -> bool {
        self.ports.is_some()
    }

    fn pop(&mut self) -> Option<Open> {
        let ports = self.ports.as_mut()?;
        let open = ports.usual.pop_front().or_else(|| ports.others.pop_front());
        if ports.usual.is_empty() && ports.others.is_empty() {
            self.ports = None;
        }
        open
    }

    fn wants_no_more(&self) -> bool {
        self.standing == Standing::Middlebox || self.silent_in_a_row >= SILENT_MAX
    }

    fn may_ask(&self) -> bool {
        let is_doubtful = self.standing == Standing::Unknown || self.privileged.are_many() && !self.is_released;
        self.is_waiting() && usize::from(self.asked) < PER_HOST && !(is_doubtful && self.begun >= HANDFUL)
    }

    /// Takes the TCP ports of a range out, as if they had not been found.
    fn drop_range(&mut self, range: &RangeInclusive<u16>) -> usize {
        let Some(ports) = &mut self.ports else { return 0 };
        let before = ports.usual.len() + ports.others.len();
        let is_left = |open: &Open| open.port.protocol != Protocol::Tcp || !range.contains(&open.port.number);
        ports.usual.retain(is_left);
        ports.others.retain(is_left);
        let left = ports.usual.len() + ports.others.len();
        if left == 0 {
            self.ports = None;
        }
        if range.start() < &PRIVILEGED_END {
            self.privileged = Privileged::default();
        }
        before - left
    }

    fn drop_waiting(&mut self) -> usize {
        self.ports.take().map_or(0, |ports| ports.usual.len() + ports.others.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Reason, ScannedHost};
    use crate::port::Port;

    fn host(index: u64) -> HostKey {
        (index, IpAddr::from([10, 0, 0, u8::try_from(index).unwrap()]))
    }

    fn open((target_index, address): HostKey, number: u16) -> Open {
        let host = ScannedHost { target_index, address, name: None };
        Open { host, port: Port::tcp(number), packet: None, heard: None }
    }

    fn finding((target_index, address): HostKey, observation: Observation) -> Finding {
        Finding { target_index, address, name: None, observation }
    }

    fn closed(key: HostKey) -> Finding {
        let observation = Observation::Port {
            port: Port::tcp(1),
            state: PortState::Closed,
            reason: Reason::Reset,
            ttl: None,
            stack: None,
        };
        finding(key, observation)
    }

    fn push_all(queue: &mut PortQueue, numbers: std::ops::Range<u16>) {
        for number in numbers {
            assert_eq!(queue.push(open(host(1), number)), 0);
        }
    }

    fn taken(queue: &mut PortQueue) -> Vec<u16> {
        std::iter::from_fn(|| queue.next()).map(|open| open.port.number).collect()
    }

    #[test]
    fn ports_of_a_redirected_range_are_not_asked_and_those_outside_are() {
        let mut queue = PortQueue::default();
        (1..=100).for_each(|number| _ = queue.push(open(host(1), number)));
        queue.push(open(host(1), 8080));
        queue.hear(&finding(host(1), Observation::Cleared));
        assert_eq!(taken(&mut queue).len(), HANDFUL as usize, "with dozens of privileged ones the others wait");
        let redirected = Observation::Redirected { first: 1, last: 1023, open: 100 };
        assert_eq!(queue.hear(&finding(host(1), redirected)), 100 - HANDFUL as usize);
        (0..HANDFUL).for_each(|_| _ = queue.done(host(1), true));
        assert_eq!(taken(&mut queue), [8080]);
        assert!(queue.is_empty());
    }

    #[test]
    fn of_a_host_that_may_answer_on_everything_a_handful_is_asked_until_there_is_a_verdict() {
        for (verdict, more) in [(Observation::Cleared, 11), (Observation::Middlebox, 0)] {
            let mut queue = PortQueue::default();
            push_all(&mut queue, 40_000..40_100);
            assert_eq!(taken(&mut queue).len(), HANDFUL as usize);
            let dropped = queue.hear(&finding(host(1), verdict));
            assert_eq!((dropped, queue.len()), if more == 0 { (95, 0) } else { (0, 95) });
            assert_eq!(taken(&mut queue).len(), more, "sixteen at once");
        }
        let mut queue = PortQueue::default();
        queue.hear(&closed(host(1)));
        push_all(&mut queue, 40_000..40_007);
        assert_eq!(taken(&mut queue).len(), 7, "a closed port has cleared it");
        let mut queue = PortQueue::default();
        push_all(&mut queue, 40_000..40_100);
        taken(&mut queue);
        queue.release();
        assert_eq!(taken(&mut queue).len(), 11, "without a verdict they are asked in the end");
    }

    #[test]
    fn a_host_that_seems_real_and_has_too_many_privileged_ports_waits_for_the_end() {
        let mut queue = PortQueue::default();
        queue.hear(&finding(host(1), Observation::Cleared));
        push_all(&mut queue, 1..34);
        assert_eq!(taken(&mut queue).len(), HANDFUL as usize);
        let mut ended = PortQueue::default();
        ended.hear(&finding(host(1), Observation::Cleared));
        push_all(&mut ended, 1..34);
        ended.release();
        assert_eq!(taken(&mut ended).len(), PER_HOST, "it was real after all");
        assert_eq!(queue.hear(&finding(host(1), Observation::Middlebox)), 33 - HANDFUL as usize);
    }

    #[test]
    fn hosts_take_turns_and_usual_ports_go_first() {
        let mut queue = PortQueue::default();
        for number in [40_000, 22, 40_001] {
            queue.push(open(host(1), number));
        }
        queue.push(open(host(2), 40_002));
        assert_eq!(taken(&mut queue), [22, 40_002, 40_000, 40_001]);
        assert!(queue.is_empty() && !queue.has_next());
    }

    #[test]
    fn a_host_of_silent_listeners_is_left_alone_after_a_while() {
        let mut queue = PortQueue::default();
        queue.hear(&closed(host(1)));
        queue.hear(&finding(host(1), Observation::Cleared));
        push_all(&mut queue, 30_000..31_500);
        let (mut asked, mut dropped) = (0, 0);
        while let Some(_port) = queue.next() {
            asked += 1;
            dropped += queue.done(host(1), false);
        }
        assert_eq!((asked, dropped, queue.len()), (SILENT_MAX as usize, 1500 - SILENT_MAX as usize, 0));
        // One that speaks now and then is asked to the end.
        let mut queue = PortQueue::default();
        queue.hear(&finding(host(1), Observation::Cleared));
        push_all(&mut queue, 30_000..31_500);
        let mut asked = 0;
        while let Some(_port) = queue.next() {
            asked += 1;
            queue.done(host(1), asked % 20 == 0);
        }
        assert_eq!(asked, 1500);
    }

    #[test]
    fn hosts_that_are_done_with_are_forgotten() {
        let mut queue = PortQueue::default();
        for index in 0..2 * FORGET_FROM as u64 {
            let address = IpAddr::from(std::net::Ipv4Addr::from_bits(u32::try_from(index).unwrap()));
            queue.hear(&closed((index, address)));
            queue.forget(index);
        }
        assert!(queue.hosts.len() <= FORGET_FROM);
    }
}
