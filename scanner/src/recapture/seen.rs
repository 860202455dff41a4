//! What a scan has said of its targets, as far as it is needed to ask a sample of its silence again: who is up, a port of
//! each that is known to answer, and a random part of the silent ports of those who are.

use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::finding::{Finding, HostState, Observation, PortState, Reason};
use crate::permute::mix;
use crate::port::{Port, PortSet};
use crate::recall::{Found, StoppedHost};

/// Silent ports of hosts that are kept, those with the lowest draws: all that would be asked again at most. A megabyte.
const KEPT_MAX: usize = 65_536;
/// Hosts that are told apart; of a unit with more nothing is measured.
const HOSTS_MAX: usize = 1 << 20;

/// Ports of a host that are known to answer and may be asked again for that.
const CONTROLS_MAX: usize = 4;
/// No port.
const NONE: (u16, u16) = (u16::MAX, 0);

/// A silent port: its draw, the target's index, the port.
pub(super) type Draw = (u64, u64, u16);

/// What the scan has said.
#[derive(Debug)]
pub(super) struct Seen {
    seed: u64,
    /// The ports that may be asked once more.
    ports: PortSet,
    hosts: HashMap<u64, Host>,
    /// Those with the lowest draws, the highest of them first.
    silent: BinaryHeap<Draw>,
    silent_count: u64,
}

/// A host that is up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    pub(super) address: IpAddr,
    pub(super) open: u32,
    /// Ports that have answered for themselves, with their draws: those with the lowest, ascending; port 0 is none.
    answered: [(u16, u16); CONTROLS_MAX],
    pub(super) is_middlebox: bool,
    /// Ports of which something is known, those of them that are silent, and whether it has stopped answering.
    known: u32,
    silent: u32,
    /// Probes that it had been sent at its last answer, once it has stopped answering.
    probes: u32,
    has_stopped: bool,
}

impl Seen {
    /// Nothing yet; `ports` may be asked once more.
    pub(super) fn new(seed: u64, ports: PortSet) -> Self {
        Self { seed, ports, hosts: HashMap::new(), silent: BinaryHeap::new(), silent_count: 0 }
    }

    /// Takes in what was found.
    pub(super) fn take_in(&mut self, batch: &[Finding]) {
        for finding in batch {
            if self.is_beyond() {
                return;
            }
            let Finding { target_index, address, ref observation, .. } = *finding;
            let host = |hosts: &'_ mut HashMap<u64, Host>| {
                *hosts.entry(target_index).or_insert(Host {
                    address,
                    open: 0,
                    answered: [NONE; CONTROLS_MAX],
                    is_middlebox: false,
                    known: 0,
                    silent: 0,
                    probes: 0,
                    has_stopped: false,
                })
            };
            let known = match *observation {
                Observation::Host { state: HostState::Up, .. } => host(&mut self.hosts),
                Observation::Port { port, state: state @ (PortState::Open | PortState::Closed), .. } => {
                    let mut host = host(&mut self.hosts);
                    host.open += u32::from(state == PortState::Open);
                    host.known += 1;
                    if self.ports.contains(port) {
                        host.note_answered(self.draw(target_index, port), port.number);
                    }
                    host
                }
                Observation::Redirected { first, last, open } => {
                    let mut host = host(&mut self.hosts);
                    host.open = host.open.saturating_sub(open);
                    host.forget_answered(first..=last);
                    host
                }
                Observation::Middlebox => Host { is_middlebox: true, ..host(&mut self.hosts) },
                Observation::Stopped { probes } => Host { probes, has_stopped: true, ..host(&mut self.hosts) },
                // Who does not answer any more cannot be asked again.
                Observation::Ports { ref ports, state: PortState::Filtered, reason }
                    if self.has_stopped(target_index) =>
                {
                    let host = host(&mut self.hosts);
                    let silent = if reason == Reason::NoResponse { ports.count() } else { 0 };
                    Host { known: host.known + ports.count(), silent: host.silent + silent, ..host }
                }
                Observation::Ports { ref ports, state: PortState::Filtered, reason: Reason::NoResponse } => {
                    ports.iter().for_each(|port| self.silent_port(target_index, port));
                    continue;
                }
                _ => continue,
            };
            self.hosts.insert(target_index, known);
        }
    }

    fn has_stopped(&self, index: u64) -> bool {
        self.hosts.get(&index).is_some_and(|host| host.has_stopped)
    }

    /// Hosts that have stopped answering, each of which had to be asked so many ports.
    pub(super) fn stopped(&self, ports: u32) -> impl Iterator<Item = StoppedHost> + '_ {
        let stopped = self.hosts.values().filter(|host| host.has_stopped && !host.is_middlebox);
        stopped.map(move |host| StoppedHost {
            ports: ports.into(),
            known: host.known.into(),
            open: host.open.into(),
            silent: host.silent.into(),
            probes: host.probes.into(),
        })
    }

    fn draw(&self, index: u64, port: Port) -> u64 {
        mix(self.seed ^ mix(index << 16 | u64::from(port.number)))
    }

    fn silent_port(&mut self, index: u64, port: Port) {
        if !self.ports.contains(port) {
            return;
        }
        self.silent_count += 1;
        let draw = (self.draw(index, port), index, port.number);
        if self.silent.len() < KEPT_MAX {
            self.silent.push(draw);
        } else if self.silent.peek().is_some_and(|highest| draw < *highest) {
            self.silent.pop();
            self.silent.push(draw);
        }
    }

    /// Whether there were too many hosts to tell them apart.
    pub(super) fn is_beyond(&self) -> bool {
        self.hosts.len() > HOSTS_MAX
    }

    /// The ports that may be asked once more.
    pub(super) fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// What was found, of so many targets.
    pub(super) fn found(&self, targets: u64) -> Found {
        let meant = self.hosts.values().filter(|host| !host.is_middlebox && host.open > 0);
        let (open, hosts) = meant.fold((0, 0), |(open, hosts), host| (open + u64::from(host.open), hosts + 1));
        Found { targets, open, hosts }
    }

    /// All hosts that are up, by index.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (u64, &Host)> {
        self.hosts.iter().map(|(index, host)| (*index, host))
    }

    /// The host at an index, if one is up there.
    pub(super) fn host(&self, index: u64) -> Option<&Host> {
        self.hosts.get(&index)
    }

    /// How many hosts are up.
    pub(super) fn hosts_up(&self) -> u64 {
        self.hosts.len() as u64
    }

    /// How many ports of hosts that are up stayed silent.
    pub(super) fn silent_count(&self) -> u64 {
        self.silent_count
    }

    /// The silent ports in the order in which they are asked again, as many as are kept.
    pub(super) fn take_silent(&mut self) -> Vec<Draw> {
        std::mem::take(&mut self.silent).into_sorted_vec()
    }

    /// Hosts with a port that is known to answer, in a random order.
    pub(super) fn controls(&self) -> Vec<(IpAddr, u16)> {
        let known = self.hosts.values().filter(|host| !host.is_middlebox);
        let drawn = |(address, port)| (mix(self.seed ^ hashed(address, port)), address, port);
        let mut drawn: Vec<_> = known.flat_map(|host| host.controls().map(drawn)).collect();
        drawn.sort_unstable();
        drawn.into_iter().map(|(_, address, port)| (address, port)).collect()
    }
}

impl Host {
    fn note_answered(&mut self, draw: u64, port: u16) {
        let draw = u16::try_from(draw >> 48).expect("sixteen bits are left");
        if let Some(last) = self.answered.last_mut().filter(|last| (draw, port) < **last) {
            *last = (draw, port);
            self.answered.sort_unstable();
        }
    }

    /// What answers at a range of ports is not the host.
    fn forget_answered(&mut self, range: RangeInclusive<u16>) {
        self.answered.iter_mut().filter(|(_, port)| range.contains(port)).for_each(|known| *known = NONE);
        self.answered.sort_unstable();
    }

    /// Ports that it is known to answer, by address and number.
    pub(super) fn controls(&self) -> impl Iterator<Item = (IpAddr, u16)> + use<> {
        let (address, is_meant) = (self.address, !self.is_middlebox && !self.has_stopped);
        let known = self.answered.into_iter().filter(move |(_, port)| is_meant && *port > 0);
        known.map(move |(_, port)| (address, port))
    }
}

/// A number for a port of an address.
fn hashed(address: IpAddr, port: u16) -> u64 {
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("masked to its bits");
    let bits = match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => mix(half(address.to_bits() >> 64)) ^ half(address.to_bits()),
    };
    mix(bits) ^ u64::from(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(target_index: u64, observation: Observation) -> Finding {
        Finding { target_index, address: "10.0.0.1".parse().unwrap(), name: None, observation }
    }

    fn port(number: u16, state: PortState) -> Observation {
        Observation::Port { port: Port::tcp(number), state, reason: Reason::SynAck, ttl: None, stack: None }
    }

    fn silent(ports: &str, reason: Reason) -> Observation {
        Observation::Ports { ports: Box::new(ports.parse().unwrap()), state: PortState::Filtered, reason }
    }

    #[test]
    fn hosts_and_their_silence_are_counted_and_what_must_not_be_asked_again_is_left_out() {
        let mut seen = Seen::new(7, "22,80,443,1000-3000".parse().unwrap());
        let up = Observation::Host { state: HostState::Up, reason: Reason::SynAck };
        seen.take_in(&[
            finding(1, up.clone()),
            finding(1, port(22, PortState::Open)),
            finding(1, port(502, PortState::Open)),
            finding(1, silent("80,443,9100", Reason::NoResponse)),
            finding(2, port(80, PortState::Closed)),
            finding(2, silent("22", Reason::AdminProhibited)),
            finding(3, port(80, PortState::Open)),
            finding(3, Observation::Middlebox),
            finding(4, port(2000, PortState::Open)),
            finding(4, port(2001, PortState::Open)),
            finding(4, Observation::Redirected { first: 1024, last: 2100, open: 2 }),
        ]);
        assert_eq!(seen.found(9), Found { targets: 9, open: 2, hosts: 1 });
        assert!(seen.host(4).is_some_and(|host| host.controls().next().is_none()), "somebody else answers");
        assert_eq!((seen.hosts_up(), seen.silent_count(), seen.take_silent().len()), (4, 2, 2));
        let controls: Vec<u16> = seen.controls().into_iter().map(|(_, port)| port).collect();
        assert!(controls.len() == 2 && controls.contains(&22) && controls.contains(&80));
        assert!(seen.host(3).is_some_and(|host| host.controls().next().is_none()) && seen.host(5).is_none());
    }

    #[test]
    fn who_has_stopped_answering_cannot_be_asked_again_and_what_it_hides_is_no_silence() {
        let mut seen = Seen::new(7, "1-3000".parse().unwrap());
        seen.take_in(&[
            finding(1, port(22, PortState::Open)),
            finding(1, port(23, PortState::Closed)),
            finding(1, Observation::Stopped { probes: 9 }),
            finding(1, silent("80,443", Reason::NoResponse)),
            finding(1, silent("81", Reason::AdminProhibited)),
            finding(2, port(80, PortState::Closed)),
            finding(2, silent("22,23", Reason::NoResponse)),
        ]);
        assert_eq!(
            seen.stopped(3000).collect::<Vec<_>>(),
            [StoppedHost { ports: 3000, known: 5, open: 1, silent: 2, probes: 9 }]
        );
        assert_eq!((seen.silent_count(), seen.take_silent().len(), seen.controls().len()), (2, 2, 1));
    }

    #[test]
    fn of_more_silent_ports_than_are_kept_a_random_part_is() {
        let mut seen = Seen::new(7, "1-60000".parse().unwrap());
        (0..4).for_each(|index| seen.take_in(&[finding(index, silent("1-60000", Reason::NoResponse))]));
        let kept = seen.take_silent();
        assert_eq!((seen.silent_count(), kept.len()), (240_000, KEPT_MAX));
        for index in 0..4 {
            let of_host = kept.iter().filter(|(_, of, _)| *of == index).count();
            assert!((15_500..17_300).contains(&of_host), "{of_host} of {index}");
        }
        let low = kept.iter().take(1_000).filter(|(_, _, port)| *port <= 30_000).count();
        assert!((430..570).contains(&low), "any part of it is as random: {low}");
    }
}
