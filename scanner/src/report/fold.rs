//! Folds the findings of a unit into host records.
//!
//! Only hosts that answered become records. Open ports are always listed; ports of any other state are listed while
//! a host has few of them in that state, and counted by reason otherwise, as nmap does: a host with 65,000 closed
//! ports costs a few numbers. So does one whose open TCP ports mean nothing, because something answers for all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::finding::{
    Finding, HostRecord, HostState, Identity, NotShown, Observation, PortRecord, PortState, Reason, Service, TcpScan,
    Weakness,
};
use crate::port::{Port, Protocol};
use crate::target::{without_zone, zone_of};

/// Most ports of one host in one state other than open that are listed one by one: what fits a screen, nmap's number.
const LISTED_MAX: usize = 25;
/// Up to so many ports with details, room is made for one at a time: most hosts have one or two.
const DETAILED_FEW: usize = 4;

/// Gathers findings, in any order within a host, and gives the records of the hosts that answered.
#[derive(Debug, Default)]
pub struct Fold {
    hosts: BTreeMap<(IpAddr, Option<Arc<str>>), Host>,
}

/// Where and when records were made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// When their unit was begun: milliseconds since 1970-01-01T00:00:00Z, by the scanning node's clock.
    pub started_at_ms: u64,
    /// When it was done, the same way.
    pub ended_at_ms: u64,
    /// Id of the worker that did it.
    pub worker: &'a str,
    /// How it asked TCP ports; `None` where it asked none.
    pub tcp: Option<TcpScan>,
}

/// What is known of a host so far: small, since a unit may hold tens of thousands of them until it ends.
#[derive(Debug, Default)]
struct Host {
    up: Option<(HostState, Reason)>,
    is_middlebox: bool,
    likely_found_permille: Option<u16>,
    /// The ports that are listed, ascending.
    ports: Vec<(Port, PortState, Reason)>,
    /// What more is known of some of them, ascending.
    details: Vec<(Port, Details)>,
    counted: Counted,
    ttl: Option<u8>,
    /// What more is known of few hosts, or of none where there is no link and no name server.
    identity: Option<Box<Identity>>,
    marks: Option<Box<Marks>>,
}

/// What is said of hardly any host.
#[derive(Debug, Default)]
struct Marks {
    /// Redirected ranges, in the order in which they were told.
    redirected: Vec<(u16, u16)>,
    stopped_after_probes: Option<u32>,
}

impl Marks {
    /// Ranges that meet are one.
    fn into_ranges(mut self) -> Vec<(u16, u16)> {
        self.redirected.sort_unstable();
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for (first, last) in self.redirected {
            match ranges.last_mut().filter(|before| first <= before.1.saturating_add(1)) {
                Some(before) => before.1 = before.1.max(last),
                None => ranges.push((first, last)),
            }
        }
        ranges
    }
}

/// Ports that are counted by state and reason, of which most hosts have one kind: ascending.
#[derive(Debug, Default)]
struct Counted(Vec<((PortState, Reason), u32)>);

impl Counted {
    fn add(&mut self, kind: (PortState, Reason), count: u32) {
        match self.0.binary_search_by_key(&kind, |(counted, _)| *counted) {
            Ok(at) => self.0.iter_mut().skip(at).take(1).for_each(|(_, known)| *known += count),
            Err(_) if count == 0 => {}
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (kind, count));
            }
        }
    }

    /// Takes one out.
    fn take(&mut self, kind: (PortState, Reason)) {
        let known = self.0.iter_mut().find(|(counted, _)| *counted == kind);
        known.into_iter().for_each(|(_, count)| *count = count.saturating_sub(1));
        self.0.retain(|(_, count)| *count > 0);
    }

    fn kinds(&self) -> impl Iterator<Item = (PortState, Reason)> + '_ {
        self.0.iter().map(|(kind, _)| *kind)
    }
}

/// What a port said and is.
#[derive(Debug, Default)]
struct Details {
    banner: Option<Box<str>>,
    service: Option<Arc<Service>>,
    weaknesses: Vec<Arc<Weakness>>,
}

impl Fold {
    /// A fold that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one finding.
    pub fn add(&mut self, finding: Finding) {
        let host = self.hosts.entry((finding.address, finding.name)).or_default();
        match finding.observation {
            Observation::Host { state, reason } => host.up = Some((state, reason)),
            Observation::Port { port, state, reason, ttl, .. } => {
                // What something on the way answers has come a shorter way.
                if matches!(state, PortState::Open | PortState::Closed) {
                    host.ttl = host.ttl.or(ttl);
                }
                host.port(port, state, reason);
            }
            Observation::Ports { ports, state, reason } => host.many(ports.iter(), ports.count(), state, reason),
            Observation::Banner { port, banner } => host.details(port).banner = Some(banner.into()),
            Observation::Service { port, service } => host.details(port).service = Some(service),
            Observation::Weakness { port, weakness } => host.details(port).weaknesses.push(weakness),
            Observation::Middlebox => host.is_middlebox = true,
            Observation::Cleared | Observation::Answer { .. } => {}
            Observation::Hardware { mac, vendor } => {
                let identity = host.identity.get_or_insert_default();
                identity.mac = Some(mac);
                identity.vendor = vendor.map(|vendor| vendor.to_string()).or(identity.vendor.take());
            }
            Observation::ReverseDns { name } => {
                host.identity.get_or_insert_default().reverse_dns = Some(name.to_string());
            }
            Observation::Answered { port } => host.no_longer_silent(port),
            Observation::LikelyFound { permille } => host.likely_found_permille = Some(permille),
            Observation::Redirected { first, last, .. } => {
                host.marks.get_or_insert_default().redirected.push((first, last));
            }
            Observation::Stopped { probes } => {
                host.marks.get_or_insert_default().stopped_after_probes = Some(probes);
            }
        }
    }

    /// How many hosts answered so far.
    #[must_use]
    pub fn hosts_up(&self) -> usize {
        self.hosts.values().filter(|host| host.state().is_some()).count()
    }

    /// How many targets stopped answering in mid-scan; a name is one, whatever its addresses.
    #[must_use]
    pub fn stopped(&self) -> u64 {
        let has_stopped = |host: &Host| host.marks.as_ref().is_some_and(|marks| marks.stopped_after_probes.is_some());
        let stopped = || self.hosts.iter().filter(|(_, host)| has_stopped(host)).map(|((_, name), _)| name.as_ref());
        let names: std::collections::BTreeSet<_> = stopped().flatten().collect();
        stopped().filter(Option::is_none).count() as u64 + names.len() as u64
    }

    /// The records of the hosts that answered, by address.
    pub fn finish(self, origin: Origin<'_>) -> impl Iterator<Item = HostRecord> {
        self.hosts.into_iter().filter_map(move |((address, name), host)| {
            let (state, reason) = host.state()?;
            let name = name.map(|name| name.to_string());
            let (is_middlebox, likely_found_permille) = (host.is_middlebox, host.likely_found_permille);
            let mut host = host;
            let marks = host.marks.take().map(|marks| *marks).unwrap_or_default();
            let (stopped_after_probes, redirected) = (marks.stopped_after_probes, marks.into_ranges());
            let is_no_ones = |port: u16| {
                let is_redirected = || redirected.iter().any(|(first, last)| (*first..=*last).contains(&port));
                is_middlebox || is_redirected()
            };
            if is_middlebox || !redirected.is_empty() {
                host = host.without_open_ports(is_no_ones);
            }
            let identity = Identity {
                ttl: host.ttl,
                zone: zone_of(address),
                ..host.identity.take().map(|known| *known).unwrap_or_default()
            };
            let Origin { started_at_ms, ended_at_ms, worker, tcp } = origin;
            let (ports, not_shown) = host.into_ports();
            Some(HostRecord {
                address: without_zone(address),
                name,
                state,
                reason,
                ports,
                not_shown,
                started_at_ms,
                worker: worker.to_owned(),
                is_middlebox,
                ended_at_ms,
                tcp,
                identity,
                likely_found_permille,
                is_target_itself: false,
                redirected,
                stopped_after_probes,
            })
        })
    }
}

impl Host {
    fn port(&mut self, port: Port, state: PortState, reason: Reason) {
        if state == PortState::Open || !self.is_counted(state) {
            match self.ports.binary_search_by_key(&port, |(listed, ..)| *listed) {
                Ok(at) => self.ports.iter_mut().skip(at).take(1).for_each(|known| *known = (port, state, reason)),
                Err(at) => self.ports.insert(at, (port, state, reason)),
            }
            self.count_if_many(state);
        } else {
            self.counted.add((state, reason), 1);
        }
    }

    fn many(&mut self, ports: impl Iterator<Item = Port>, count: u32, state: PortState, reason: Reason) {
        if state != PortState::Open && (self.is_counted(state) || count as usize > LISTED_MAX) {
            self.counted.add((state, reason), count);
            self.count_if_many(state);
        } else {
            ports.for_each(|port| self.port(port, state, reason));
        }
    }

    /// Takes a port out of those that are silent.
    fn no_longer_silent(&mut self, port: Port) {
        let is_silent = |state, reason| state == PortState::Filtered && reason == Reason::NoResponse;
        match self.ports.binary_search_by_key(&port, |(listed, ..)| *listed) {
            Ok(at) if self.ports.get(at).is_some_and(|(_, state, reason)| is_silent(*state, *reason)) => {
                self.ports.remove(at);
            }
            Ok(_) => {}
            Err(_) => self.counted.take((PortState::Filtered, Reason::NoResponse)),
        }
    }

    /// Where to note more about a port.
    fn details(&mut self, port: Port) -> &mut Details {
        let at = self.details.binary_search_by_key(&port, |(known, _)| *known).unwrap_or_else(|at| {
            if self.details.len() < DETAILED_FEW {
                self.details.reserve_exact(1);
            }
            self.details.insert(at, (port, Details::default()));
            at
        });
        let (_, details) = self.details.get_mut(at).expect("it was found or put there");
        details
    }

    fn is_counted(&self, state: PortState) -> bool {
        self.counted.kinds().any(|(counted, _)| counted == state)
    }

    /// Turns the listed ports of a state into counts once there are too many of them, or some are counted already.
    fn count_if_many(&mut self, state: PortState) {
        let is_few = || self.ports.iter().filter(|(_, listed, _)| *listed == state).count() <= LISTED_MAX;
        if state == PortState::Open || (!self.is_counted(state) && is_few()) {
            return;
        }
        self.ports.retain(|(_, listed, reason)| {
            if *listed == state {
                self.counted.add((state, *reason), 1);
            }
            *listed != state
        });
    }

    /// Up when the host was said to be, or when a port of it can only have been answered by the host itself.
    fn state(&self) -> Option<(HostState, Reason)> {
        let states = self.ports.iter().map(|(_, state, reason)| (*state, *reason)).chain(self.counted.kinds());
        let answered = states.filter(|(state, _)| matches!(state, PortState::Open | PortState::Closed));
        self.up.or_else(|| answered.map(|(_, reason)| (HostState::Up, reason)).next())
    }

    /// The same with those open TCP ports counted that mean nothing, and nothing of what was made of them.
    fn without_open_ports(mut self, is_no_ones: impl Fn(u16) -> bool) -> Self {
        let counted = &mut self.counted;
        self.ports.retain(|(port, state, reason)| {
            let is_open = port.protocol == Protocol::Tcp && *state == PortState::Open;
            let is_meant = !(is_open && is_no_ones(port.number));
            counted.add((*state, *reason), u32::from(!is_meant));
            is_meant
        });
        self
    }

    fn into_ports(self) -> (Vec<PortRecord>, Vec<NotShown>) {
        let mut details = self.details.into_iter().peekable();
        let ports = self.ports.into_iter().map(|(port, state, reason)| {
            // What is known of ports that are not listed is passed over.
            while details.next_if(|(known, _)| *known < port).is_some() {}
            let (_, Details { banner, service, weaknesses }) =
                details.next_if(|(known, _)| *known == port).unwrap_or((port, Details::default()));
            let mut weaknesses: Vec<Weakness> = weaknesses.into_iter().map(Arc::unwrap_or_clone).collect();
            weaknesses.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
            PortRecord {
                port: port.number,
                protocol: port.protocol,
                state,
                reason,
                banner: banner.map(String::from),
                service: service.map(|service| Box::new(Arc::unwrap_or_clone(service))),
                weaknesses,
            }
        });
        let ports = ports.collect();
        let counted = self.counted.0.into_iter().map(|((state, reason), count)| NotShown { state, reason, count });
        (ports, counted.collect())
    }
}

#[cfg(test)]
#[path = "fold/fold_test.rs"]
mod tests;
