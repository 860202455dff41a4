//! What is sent next, to whom, and how long its answer is waited for.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::discovery::DiscoveryPort;
use super::host::{Host, HostPhase};
use super::middlebox::next_trial;
use super::{ConnectScan, Flight, Step};
use crate::gate::Stage;
use crate::pace::throttle::History;
use crate::plan::Plan;
use crate::slot_map::Key;
use crate::target::Target;

/// Hosts entered per call, so that the first probe does not wait for all of them.
const ENTER_AT_ONCE: u32 = 256;

impl ConnectScan {
    /// Lets hosts in while there is room for them.
    pub(super) fn enter(&mut self, now: Duration) {
        if now < self.crowded_until {
            return;
        }
        for _ in 0..ENTER_AT_ONCE {
            if self.hosts.len() >= self.active_max || self.waiting.is_empty() {
                return;
            }
            let index = self.waiting.start;
            match self.plan.target(index) {
                Some(Target::Address(address)) => {
                    if let Err(until) = self.neighbours.begin(now, address) {
                        self.crowded_until = until;
                        return;
                    }
                    let host = self.hosts.insert(Host::new(index, address, HostPhase::Resolving));
                    self.begin(host, address);
                }
                Some(Target::Name(name)) => {
                    let name: Arc<str> = Arc::from(name);
                    let mut host = Host::new(index, Ipv4Addr::UNSPECIFIED.into(), HostPhase::Resolving);
                    host.name = Some(Arc::clone(&name));
                    self.lookups.push_back((self.hosts.insert(host), name));
                }
                None => self.counts.targets_done += 1,
            }
            self.waiting.start += 1;
        }
    }

    /// Puts a host with a known address into the line.
    pub(super) fn begin(&mut self, key: Key, address: IpAddr) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.address = address;
        // Over loopback an answer costs nothing and is never lost.
        host.phase =
            if self.discovery.is_empty() || address.is_loopback() { HostPhase::Ports } else { HostPhase::Discovery };
        host.queued = true;
        self.line.push_back(key);
    }

    /// The next probe that is worth sending: a new one, or one to send again. What the rate of its host or network does
    /// not allow yet is set aside.
    pub(super) fn choose(&mut self, now: Duration) -> Option<Flight> {
        while let Some(flight) = self.bench.pop_front() {
            let Some(address) = self.hosts.get(flight.host).map(|host| host.address) else { continue };
            match self.quotas.check(now, address) {
                Ok(pass) => {
                    self.quotas.take(now, pass, &self.pace);
                    return Some(Flight { sent_at: now, ..flight });
                }
                Err(until) => {
                    self.held_count += 1;
                    self.held.insert((until, self.held_count), flight);
                }
            }
        }
        while let Some(key) = self.line.pop_front() {
            let Some(host) = self.hosts.get_mut(key) else { continue };
            let pass = match self.quotas.check(now, host.address) {
                Ok(pass) => pass,
                Err(until) => {
                    self.held_hosts.push(Reverse((until, key)));
                    continue;
                }
            };
            host.queued = false;
            let next = match host.phase {
                HostPhase::Resolving => None,
                HostPhase::Discovery => {
                    let probe = self.discovery.get(host.discovery_sent).copied();
                    host.discovery_sent += usize::from(probe.is_some());
                    probe
                }
                HostPhase::Ports => {
                    next_trial(&self.plan, host).or_else(|| next_port(&self.plan, host, &self.discovery))
                }
            };
            let Some(DiscoveryPort { port, position }) = next else {
                self.settle(key);
                continue;
            };
            self.quotas.take(now, pass, &self.pace);
            host.queued = true;
            host.pending += 1;
            self.line.push_back(key);
            let (history, waited_before) = (History::default(), Duration::ZERO);
            return Some(Flight { host: key, port, position, attempt: 1, sent_at: now, waited_before, history });
        }
        None
    }

    /// Puts what the rates of hosts and networks allow by now back in line.
    pub(super) fn release(&mut self, now: Duration) {
        while let Some(entry) = self.held.first_entry().filter(|entry| entry.key().0 <= now) {
            self.bench.push_back(entry.remove());
        }
        while let Some(Reverse((_, key))) = self.held_hosts.peek().filter(|Reverse((at, _))| *at <= now).copied() {
            self.held_hosts.pop();
            self.line.push_front(key);
        }
    }

    /// When the first of what is held back may go.
    pub(super) fn next_release(&self) -> Option<Duration> {
        let host = self.held_hosts.peek().map(|Reverse((at, _))| *at);
        let flight = self.held.first_key_value().map(|((at, _), _)| *at);
        [host, flight].into_iter().flatten().min()
    }

    /// Sends a probe, unless its address turns out not to be allowed or its answer not to matter any more.
    pub(super) fn launch(&mut self, mut flight: Flight, now: Duration) -> Option<Step> {
        let is_trial = self.is_trial(&flight);
        let host = self.hosts.get_mut(flight.host)?;
        let address = host.address;
        let is_answered = flight.attempt > 1 && flight.position.is_none() && host.up.is_some() && !is_trial;
        let is_moot = is_answered || host.is_middlebox();
        if is_moot || !self.permits(address, Stage::Connect) {
            self.forgo(flight.host, is_moot);
            return None;
        }
        self.first_sent_at.get_or_insert(now);
        self.pace.connections().sent(now, self.rtt.timeout(address), flight.attempt, &mut flight.history);
        self.counts.probes_sent += 1;
        self.counts.retransmitted += u64::from(flight.attempt > 1);
        let to = SocketAddr::new(address, flight.port);
        let deadline = now + self.wait_of(&flight, address);
        let probe = self.flights.insert(flight);
        self.timers.push(Reverse((deadline, probe)));
        Some(Step::Send { probe, to })
    }

    /// Drops a probe before it is sent, and its whole host when the address must not be sent to.
    fn forgo(&mut self, key: Key, is_moot: bool) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.pending -= 1;
        if !is_moot && host.step != u32::MAX {
            host.phase = HostPhase::Ports;
            host.step = u32::MAX;
            self.counts.refused += 1;
        }
        self.settle(key);
    }

    /// Gives up the first probe whose time is over; its port is asked again or believed to be silent.
    pub(super) fn expire(&mut self, now: Duration) -> Option<Key> {
        loop {
            let Reverse((deadline, probe)) = *self.timers.peek()?;
            let Some(flight) = self.flights.get(probe).copied() else {
                self.timers.pop();
                continue;
            };
            if deadline > now {
                return None;
            }
            self.timers.pop();
            let address = self.hosts.get(flight.host).map_or(Ipv4Addr::UNSPECIFIED.into(), |host| host.address);
            let wait = self.wait_of(&flight, address);
            if flight.sent_at + wait > now {
                // The path has turned out slower since this was sent.
                self.timers.push(Reverse((flight.sent_at + wait, probe)));
                continue;
            }
            self.flights.remove(probe);
            let is_settled = flight.attempt >= self.tries_wanted();
            self.window.silent(is_settled);
            if is_settled {
                self.note_trial(&flight, None);
                self.give_up(flight.host);
            } else {
                self.bench.push_back(Flight { attempt: flight.attempt + 1, waited_before: wait, ..flight });
            }
            return Some(probe);
        }
    }

    /// Sets the timers of all probes anew, once the first answer has shown how long answers take: what was sent
    /// before would be waited for as long as a network that nobody knows.
    pub(super) fn wait_anew(&mut self) {
        let timers = self.flights.iter().filter_map(|(probe, flight)| {
            let address = self.hosts.get(flight.host)?.address;
            Some(Reverse((flight.sent_at + self.wait_of(flight, address), probe)))
        });
        self.timers = timers.collect();
    }

    /// A probe has ended without an answer.
    fn give_up(&mut self, key: Key) {
        if let Some(host) = self.hosts.get_mut(key) {
            host.pending -= 1;
        }
        self.settle(key);
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((deadline, _))| *deadline)
    }

    fn tries_wanted(&self) -> u8 {
        self.limits.tries.unwrap_or_else(|| self.loss.tries_wanted(self.plan.spec().confidence))
    }

    /// How long this try is waited for: the measured time-out, doubled with each try (RFC 6298 section 5.5) but only
    /// twice, since the window answers for congestion, and the longest for the last one, after which the port would be
    /// missed for good.
    fn wait_of(&self, flight: &Flight, address: IpAddr) -> Duration {
        let timeout = self.rtt.timeout(address);
        let longest = self.limits.wait_max.max(timeout.min(self.limits.wait_max * 3));
        let doubled = timeout * (1 << (flight.attempt - 1).min(2));
        let is_last = flight.attempt >= self.tries_wanted();
        let wait = if is_last { doubled.max(4 * timeout).max(self.limits.last_wait_min) } else { doubled };
        // Before anything has answered, the time-out is RFC 6298's whole second: as good as the longest wait.
        if self.rtt.smoothed().is_none() { self.limits.wait_max } else { wait.min(longest) }
    }
}

/// The next port of a host that discovery has not asked already.
fn next_port(plan: &Plan, host: &mut Host, discovery: &[DiscoveryPort]) -> Option<DiscoveryPort> {
    let asked = discovery.get(..host.discovery_sent).unwrap_or_default();
    loop {
        let position = plan.port_position(host.target_index, host.step)?;
        host.step += 1;
        if !asked.iter().any(|probe| probe.position == Some(position)) {
            return Some(DiscoveryPort { port: plan.port(position)?.number, position: Some(position) });
        }
    }
}
