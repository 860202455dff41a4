//! What is sent next, to whom, and how long its answer is waited for.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::host::{Host, HostPhase};
use super::middlebox::next_trial;
use super::places::FULL_PAUSE;
use super::room::Judged;
use super::{ConnectScan, Flight, Step};
use crate::finding::{NotProbed, ScannedHost};
use crate::gate::Stage;
use crate::occupancy::Place;
use crate::plan::Plan;
use crate::scan::Attempt;
use crate::scan::discovery::DiscoveryPort;
use crate::scan::middlebox::Trial;
use crate::slot_map::Key;
use crate::target::socket_address;

/// Hosts entered per call, so that the first probe does not wait for all of them.
const ENTER_AT_ONCE: u32 = 256;

impl ConnectScan {
    /// Lets hosts in while there is room for them.
    pub(super) fn enter(&mut self, now: Duration) {
        for _ in 0..ENTER_AT_ONCE {
            if self.hosts.len() >= self.active_max {
                return;
            }
            let Some(scanned) = self.waiting.next(now, &self.plan, &self.neighbours) else { return };
            match scanned.name.clone() {
                Some(name) => {
                    self.resolving += 1;
                    self.lookups.push_back((self.hosts.insert(Host::new(scanned)), name));
                }
                None => self.begin_unless_known(scanned),
            }
        }
    }

    /// Lets a target with an address in, unless it is asked for another one.
    pub(super) fn begin_unless_known(&mut self, scanned: ScannedHost) {
        if !self.results.namesakes.join(&scanned) {
            let address = scanned.address;
            let host = self.hosts.insert(Host::new(scanned));
            self.begin(host, address);
        }
    }

    /// Puts a host with a known address into the line.
    fn begin(&mut self, key: Key, address: IpAddr) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.scanned.address = address;
        // Over loopback an answer costs nothing and is never lost.
        host.phase =
            if self.discovery.is_empty() || address.is_loopback() { HostPhase::Ports } else { HostPhase::Discovery };
        host.queued = true;
        self.line.push_back(key);
    }

    /// The next probe that is worth sending, a new one or one to send again, and its place at the port. What the rate of its host
    /// or network does not allow yet, or has no place, is set aside.
    pub(super) fn choose(&mut self, now: Duration) -> Option<(Flight, Place)> {
        self.choose_again(now).or_else(|| self.choose_new(now))
    }

    /// The next one to send again.
    fn choose_again(&mut self, now: Duration) -> Option<(Flight, Place)> {
        while let Some(flight) = self.bench.pop_front() {
            let Some(host) = self.hosts.get_mut(flight.host) else { continue };
            if host.is_held_by_pulse() && !flight.is_pulse {
                self.held_count += 1;
                self.held.insert((now + FULL_PAUSE, self.held_count), flight);
                continue;
            }
            let address = host.scanned.address;
            let place = self.places.at(socket_address(address, flight.port), &self.gate);
            let allowed = place.ok_or(now + FULL_PAUSE).and_then(|place| Ok((self.quotas.check(now, address)?, place)));
            match allowed.and_then(|allowed| host.own.admit(now).map(|()| allowed)) {
                Ok((pass, place)) => {
                    self.quotas.take(now, pass, &self.pace);
                    let flight = Flight { attempt: Attempt { sent_at: now, ..flight.attempt }, ..flight };
                    return Some((flight, place));
                }
                Err(until) => {
                    self.held_count += 1;
                    self.held.insert((until, self.held_count), flight);
                }
            }
        }
        None
    }

    /// The next new one.
    fn choose_new(&mut self, now: Duration) -> Option<(Flight, Place)> {
        while let Some(key) = self.line.pop_front() {
            let Some(host) = self.hosts.get_mut(key) else { continue };
            let allowed = self.quotas.check(now, host.scanned.address);
            let pass = match allowed.and_then(|pass| host.own.admit(now).map(|()| pass)) {
                Ok(pass) => pass,
                Err(until) => {
                    self.held_hosts.push(Reverse((until, key)));
                    continue;
                }
            };
            host.queued = false;
            if host.is_held_by_pulse() {
                continue;
            }
            let before = (host.step, host.discovery_sent, host.trial);
            let pulse = host.next_pulse(self.plan.port_count());
            let next = match host.phase {
                _ if pulse.is_some() => pulse,
                HostPhase::Resolving => None,
                HostPhase::Discovery => {
                    let probe = self.discovery.get(host.discovery_sent).copied();
                    host.discovery_sent += usize::from(probe.is_some());
                    probe
                }
                HostPhase::Ports => {
                    let trial = next_trial(&self.plan, host);
                    let is_held = host.trial.is_some_and(Trial::holds_others);
                    match trial {
                        None if !is_held => next_port(&self.plan, host, &self.discovery),
                        trial => trial,
                    }
                }
            };
            let Some(DiscoveryPort { port, position }) = next else {
                self.settle(key);
                continue;
            };
            let Some(place) = self.places.at(socket_address(host.scanned.address, port), &self.gate) else {
                (host.step, host.discovery_sent, host.trial) = before;
                pulse.into_iter().for_each(|_| host.pulse.take_back());
                host.queued = true;
                self.held_hosts.push(Reverse((now + FULL_PAUSE, key)));
                continue;
            };
            self.quotas.take(now, pass, &self.pace);
            host.queued = true;
            host.pending += 1;
            self.line.push_back(key);
            let attempt = Attempt::first(now);
            let (is_pulse, asked) = (pulse.is_some(), None);
            let flight = Flight {
                host: key,
                port,
                position,
                attempt,
                is_held: false,
                is_patient: false,
                voids: 0,
                is_pulse,
                asked,
            };
            return Some((flight, place));
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
    pub(super) fn launch(&mut self, mut flight: Flight, place: Place, now: Duration) -> Option<Step> {
        let is_trial = self.is_trial(&flight);
        let host = self.hosts.get_mut(flight.host)?;
        let address = host.scanned.address;
        let is_answered = match flight.is_pulse {
            true => !host.pulse.is_asking(),
            false => flight.attempt.is_repeated() && flight.position.is_none() && host.up.is_some() && !is_trial,
        };
        let is_moot = is_answered || host.is_middlebox() || host.not_sent.is_some() || host.pulse.has_stopped();
        if is_moot || !self.permits(address, Stage::Connect) {
            self.forgo(flight.host, is_moot);
            return None;
        }
        self.measures.window.sent(now);
        self.note_flow(now, address);
        let (timeout, attempt) = (self.measures.rtt.timeout(address), &mut flight.attempt);
        self.pace.connections().sent(now, timeout, attempt.number, &mut attempt.history);
        self.measures.note_try(attempt);
        let host = self.hosts.get_mut(flight.host)?;
        host.sent += 1;
        host.rounds.tries.sent(attempt.number);
        host.own.sent(now, timeout, attempt);
        self.results.tally.probes_sent += 1;
        self.results.tally.retransmitted += u64::from(attempt.is_repeated());
        let to = socket_address(address, flight.port);
        let deadline = now + self.wait_of(&flight, address);
        let probe = self.flights.insert(flight);
        self.places.enter(probe, place);
        self.expect_repeat(now, probe);
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
            self.results.left_out.refused += 1;
            host.not_sent = Some(NotProbed::OutOfScope);
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
            if flight.is_question() {
                self.land(probe);
                self.end_question(now, &flight, false);
                return Some(probe);
            }
            let address = self.hosts.get(flight.host).map_or(Ipv4Addr::UNSPECIFIED.into(), |host| host.scanned.address);
            let wait = self.wait_of(&flight, address);
            let due = flight.attempt.sent_at + wait;
            if due > now {
                // The path has turned out slower since this was sent.
                self.timers.push(Reverse((due, probe)));
                continue;
            }
            let is_lost = self.hosts.get(flight.host).is_none_or(|host| host.not_sent.is_some());
            let judged = if is_lost { Judged::Silent } else { self.judge_silence(now, probe, &flight, address) };
            match judged {
                Judged::Silent | Judged::Unproved => {}
                Judged::Later => continue,
                Judged::Again => return Some(probe),
            }
            let is_last = flight.attempt.number >= self.tries_wanted(flight.host) || self.is_repeat_enough(&flight);
            let is_settled = is_lost || is_last;
            if is_settled && !is_lost && self.is_to_be_held(&flight) {
                self.hold(probe, flight, address);
                continue;
            }
            self.land(probe);
            if flight.is_held {
                self.note_repeat(flight.host, false);
            }
            self.measures.window.silent(is_settled);
            if is_settled {
                if judged == Judged::Unproved {
                    self.note_unproved(&flight);
                }
                self.note_given_up(&flight);
                self.note_trial(&flight, None);
                self.miss_pulse(now, &flight);
                self.give_up(flight.host);
            } else {
                self.bench.push_back(Flight {
                    attempt: flight.attempt.next(wait),
                    is_held: false,
                    is_patient: false,
                    ..flight
                });
            }
            return Some(probe);
        }
    }

    /// Sets the timers of all probes anew, once the first answer has shown how long answers take: what was sent
    /// before would be waited for as long as a network that nobody knows.
    pub(super) fn wait_anew(&mut self) {
        let timers = self.flights.iter().filter_map(|(probe, flight)| {
            let address = self.hosts.get(flight.host)?.scanned.address;
            Some(Reverse((flight.attempt.sent_at + self.wait_of(flight, address), probe)))
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
}

/// The next port of a host of which nothing was heard, and that discovery has not asked already.
fn next_port(plan: &Plan, host: &mut Host, discovery: &[DiscoveryPort]) -> Option<DiscoveryPort> {
    let asked = discovery.get(..host.discovery_sent).unwrap_or_default();
    loop {
        let position = plan.port_position(host.scanned.target_index, host.step)?;
        host.step += 1;
        let is_asked = host.rounds.number == 0 && asked.iter().any(|probe| probe.position == Some(position));
        if !is_asked && !host.heard.knows(position) {
            return Some(DiscoveryPort { port: plan.port(position)?.number, position: Some(position) });
        }
    }
}
