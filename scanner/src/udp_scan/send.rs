//! What is asked next, of whom, and how long its answer is waited for.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::host::{Host, HostPhase, Note};
use super::payload::{Ask, Requests};
use super::walk::Next;
use super::{FlightKey, LANES, Step, UdpScan};
use crate::finding::{NotProbed, Reason, ScannedHost};
use crate::gate::Stage;
use crate::pace::flows::QUERY_KEPT;
use crate::permute::mix;
use crate::scan::Attempt;
use crate::slot_map::Key;
use crate::target::{Target, socket_address};

/// Hosts entered per call, so that the first probe does not wait for all of them.
const ENTER_AT_ONCE: u32 = 256;
/// Over loopback nothing has to be spared.
const LOOPBACK_GAP: Duration = Duration::from_micros(20);
/// When an address is being asked for another target already, the next one looks again after this.
const SAME_ADDRESS_WAIT: Duration = Duration::from_millis(200);

/// The rest of a try of several datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Encore {
    host: Key,
    port: u16,
    lane: u8,
    variant: usize,
}

impl UdpScan {
    /// Lets hosts in while there is room for them.
    pub(super) fn enter(&mut self, now: Duration) {
        for _ in 0..ENTER_AT_ONCE {
            if self.hosts.len() >= self.active_max {
                return;
            }
            if let Some(index) = self.fed.first() {
                self.enter_fed(now, index);
            } else if !self.enter_target(now) {
                return;
            }
        }
    }

    fn enter_fed(&mut self, now: Duration, index: u64) {
        self.fed.remove(index);
        let named = self.fed_names.remove(&index);
        let address = named.as_ref().map(|(address, _)| *address).or_else(|| match self.plan.target(index)? {
            Target::Address(address) => Some(address),
            Target::Name(_) => None,
        });
        let Some(address) = address else { return };
        let name = named.map(|(_, name)| name);
        let mut host = Host::new(ScannedHost { target_index: index, address, name });
        // Whoever found it has told so.
        host.up = Some(Reason::UserSet);
        let host = self.hosts.insert(host);
        self.begin(now, host, address);
    }

    /// Lets the next target in; false where none may come now.
    fn enter_target(&mut self, now: Duration) -> bool {
        let Some(scanned) = self.waiting.next(now, &self.plan, &self.neighbours) else { return false };
        match scanned.name.clone() {
            Some(name) => {
                self.resolving += 1;
                self.lookups.push_back((self.hosts.insert(Host::new(scanned)), name));
            }
            None => self.begin_unless_known(now, scanned),
        }
        true
    }

    /// Puts a host with a known address into the line.
    pub(super) fn begin(&mut self, now: Duration, key: Key, address: IpAddr) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.scanned.address = address;
        host.queued = true;
        if self.by_address.contains_key(&address) {
            self.asleep.push(Reverse((now + SAME_ADDRESS_WAIT, key)));
            return;
        }
        host.phase = HostPhase::Asking;
        host.is_new = true;
        if self.told_up.has(&host.scanned) {
            host.up.get_or_insert(Reason::UserSet);
        }
        self.new_hosts += 1;
        host.notes = vec![Note::None; self.plan.port_count() as usize].into();
        self.by_address.insert(address, key);
        self.line.push_back(key);
    }

    /// Wakes the hosts whose time has come.
    pub(super) fn wake(&mut self, now: Duration) {
        while let Some(Reverse((_, key))) = self.asleep.peek().filter(|Reverse((at, _))| *at <= now).copied() {
            self.asleep.pop();
            match self.hosts.get(key).map(|host| (host.phase, host.scanned.address)) {
                Some((HostPhase::Resolving, address)) => self.begin(now, key, address),
                Some(_) => self.line.push_back(key),
                None => {}
            }
        }
    }

    /// The next datagram that may go.
    pub(super) fn send(&mut self, now: Duration) -> Option<Step> {
        while let Some(Reverse((_, encore))) = self.encores.peek().filter(|Reverse((at, _))| *at <= now).copied() {
            self.encores.pop();
            let Some(address) = self.hosts.get(encore.host).map(|host| host.scanned.address) else { continue };
            match self.quotas.check(now, address) {
                Ok(pass) => {
                    self.quotas.take(now, pass, &self.pace);
                    return self.write(now, encore);
                }
                Err(until) => self.encores.push(Reverse((until, encore))),
            }
        }
        while let Some(key) = self.line.pop_front() {
            let Some(address) = self.hosts.get_mut(key).map(|host| {
                host.queued = false;
                host.scanned.address
            }) else {
                continue;
            };
            if !self.permits(address, Stage::Datagram) {
                self.refuse(key);
                continue;
            }
            let pass = match self.quotas.check(now, address) {
                Ok(pass) => pass,
                Err(until) => {
                    self.sleep(key, until);
                    continue;
                }
            };
            match self.next_of(now, key) {
                Next::Sleep(until) => self.sleep(key, until),
                Next::Idle => {}
                Next::Finished => self.finish(key),
                Next::Port(position) => {
                    self.quotas.take(now, pass, &self.pace);
                    return self.launch(now, key, position);
                }
                Next::Known(position) => {
                    self.quotas.take(now, pass, &self.pace);
                    return self.ask_known(now, key, position);
                }
            }
        }
        None
    }

    /// Asks a port that is known to be closed once more.
    fn ask_known(&mut self, now: Duration, key: Key, position: u32) -> Option<Step> {
        self.results.tally.retransmitted += 1;
        self.queue_after_send(now, key);
        let port = self.plan.port(position)?.number;
        // One datagram of the port's is enough, and the first lane as good as any.
        let variant = self.requests(port).len() - 1;
        self.write(now, Encore { host: key, port, lane: 0, variant })
    }

    pub(super) fn requests(&self, port: u16) -> Requests<'_> {
        if self.limits.payloads { self.catalogue.of(port, self.takes_any(port)) } else { Requests::EMPTY }
    }

    fn sleep(&mut self, key: Key, until: Duration) {
        if let Some(host) = self.hosts.get_mut(key).filter(|host| !host.queued) {
            host.queued = true;
            self.asleep.push(Reverse((until, key)));
        }
    }

    /// Lets a host that has just been sent to come again after its gap.
    fn queue_after_send(&mut self, now: Duration, key: Key) {
        let host_gap = self.limits.host_gap;
        let Some(host) = self.hosts.get_mut(key) else { return };
        let gap = if host.scanned.address.is_loopback() { LOOPBACK_GAP.min(host_gap) } else { host_gap };
        host.next_at = now + host.limit.gap().unwrap_or(gap);
        let until = host.next_at;
        self.sleep(key, until);
    }

    /// Something has happened to a host that may have been idle: it is looked at again.
    pub(super) fn rouse(&mut self, key: Key) {
        if let Some(host) = self.hosts.get_mut(key).filter(|host| !host.queued) {
            host.queued = true;
            self.line.push_back(key);
        }
    }

    /// The last check before sending says no.
    fn refuse(&mut self, key: Key) {
        if self.hosts.get(key).is_some_and(|host| host.phase != HostPhase::Refused) {
            self.results.left_out.refused += 1;
        }
        self.leave_out(key, NotProbed::OutOfScope);
    }

    /// Asks a port.
    fn launch(&mut self, now: Duration, key: Key, position: u32) -> Option<Step> {
        let port = self.plan.port(position)?.number;
        let tries = self.measures.tries_wanted();
        let host = self.hosts.get_mut(key)?;
        let (address, number) = (host.scanned.address, host.round);
        host.set_note(position, Note::Silent(number));
        host.pending += 1;
        let mut attempt = Attempt { number, ..Attempt::first(now) };
        if attempt.is_repeated() {
            attempt.waited_before = self.measures.wait_of(address, number - 1, tries);
        }
        let timeout = self.measures.rtt.timeout(address);
        self.pace.datagrams().sent(now, timeout, number, &mut attempt.history);
        self.results.tally.retransmitted += u64::from(attempt.is_repeated());
        let flight = FlightKey { host: key, position };
        self.flights.insert(flight, attempt);
        let deadline = now + self.measures.wait_of(address, number, tries);
        self.timers.push(Reverse((deadline, flight, number)));
        self.queue_after_send(now, key);
        self.write(now, Encore { host: key, port, lane: (number - 1) % LANES, variant: 0 })
    }

    /// One datagram of a try; the next one of the same try follows.
    fn write(&mut self, now: Duration, encore: Encore) -> Option<Step> {
        let address = self.hosts.get(encore.host)?.scanned.address;
        if !self.permits(address, Stage::Datagram) || !self.permits_port(encore.port) {
            return None;
        }
        let requests = self.requests(encore.port);
        let bytes = requests.write(encore.variant, &self.ask(address, encore.port))?;
        if encore.variant + 1 < requests.len() {
            self.encores.push(Reverse((now, Encore { variant: encore.variant + 1, ..encore })));
        }
        self.measures.window.sent(now);
        let is_counted = self.limits.common.flows_max.is_some() && !self.neighbours.is_neighbour(address);
        if is_counted && !address.is_loopback() {
            self.pace.flows().open(now, QUERY_KEPT);
        }
        self.results.tally.probes_sent += 1;
        Some(Step::Send { to: socket_address(address, encore.port), lane: encore.lane, bytes })
    }

    /// What requests to a port are made of, the same for all its tries.
    pub(super) fn ask(&self, address: IpAddr, port: u16) -> Ask {
        let folded = match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => {
                let [high, low] = [address.to_bits() >> 64, address.to_bits() & u128::from(u64::MAX)];
                mix(u64::try_from(high).unwrap_or(0)) ^ u64::try_from(low).unwrap_or(0)
            }
        };
        let token = mix(self.secret ^ mix(folded ^ mix(self.secret.rotate_left(17) ^ u64::from(port))));
        Ask { token: token.to_be_bytes(), to: address }
    }

    /// Gives up the probes whose time is over.
    pub(super) fn expire(&mut self, now: Duration) {
        let tries = self.measures.tries_wanted();
        while let Some(Reverse((_, name, number))) = self.timers.peek().filter(|Reverse((at, ..))| *at <= now).copied()
        {
            self.timers.pop();
            let Some(attempt) = self.flights.get(&name).filter(|attempt| attempt.number == number) else { continue };
            let due = attempt.sent_at + self.measures.wait_of(self.address_of(name.host), number, tries);
            if due > now {
                // The path has turned out slower since this was sent.
                self.timers.push(Reverse((due, name, number)));
                continue;
            }
            self.flights.remove(&name);
            self.measures.window.silent(number >= tries);
            self.give_up(name);
        }
    }

    fn give_up(&mut self, flight: FlightKey) {
        let Some(host) = self.hosts.get_mut(flight.host) else { return };
        host.pending -= 1;
        host.limit.silent(flight.position);
        self.rouse(flight.host);
    }

    fn address_of(&self, key: Key) -> IpAddr {
        self.hosts.get(key).map_or(Ipv4Addr::UNSPECIFIED.into(), |host| host.scanned.address)
    }

    /// How long the answer about a port that is known to be closed is waited for.
    pub(super) fn wait_for_known(&self, key: Key) -> Duration {
        (2 * self.measures.rtt.timeout(self.address_of(key))).min(self.limits.common.wait_max * 3)
    }
}
