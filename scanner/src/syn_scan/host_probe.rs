//! Discovery: which probes ask whether a host is there, and what a host's silence to them is worth.
//!
//! A host probe that is a SYN to a port of the scan costs nothing where a host is up, since that port is asked anyway; so these
//! come first, and the rest follow as the spec names them. A host that has answered one is asked no more of them.
//!
//! A dark host has to be asked all of them once, and again as far as loss asks for: not so often that each answer would
//! have come, but that one would. How many answers a host would give is learned from the first that are found up, which
//! are asked every host probe ([`DiscoveryYield`]).

use std::collections::HashSet;

use crate::gate::{Gate, Stage, Verdict};
use crate::packet::probe::Probe;
use crate::plan::Plan;
use crate::port::Port;
use crate::spec::DiscoveryProbe;

/// With at most this many TCP ports, they are asked as host probes themselves: that costs little and finds every host that has one.
const OWN_PORTS_MAX: u32 = 3;
/// Hosts that are asked every host probe to learn how many they answer: one in two hundred that answers to one alone shows.
const SAMPLES_MAX: u32 = 256;
/// Answers told apart; more of them are as good as these.
const COUNTS: usize = 32;
/// What is assumed before anything is known: of two hosts' worth, half a host gives one answer, the rest three.
const PRIOR: [(usize, f64); 2] = [(1, 0.5), (3, 1.5)];

/// One discovery probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostProbe {
    pub(super) probe: Probe,
    /// The place of its port in the port set, if it is a SYN that the scan transmits anyway.
    pub(super) position: Option<u32>,
}

/// The discovery probes of a unit.
#[derive(Debug)]
pub(super) struct HostProbes {
    pub(super) list: Vec<HostProbe>,
    /// Whether a target on the link is asked for its hardware address and nothing else.
    pub(super) asks_link: bool,
    sampled: u32,
}

impl HostProbes {
    /// The probes of a plan, as far as the gate lets them through; none when discovery is not wanted.
    pub(super) fn new(plan: &Plan, is_wanted: bool, gate: &Gate) -> Self {
        let (ports, wanted) = (&plan.spec().ports, plan.spec().discovery.iter().filter(|_| is_wanted));
        let named = wanted.clone().filter_map(|probe| match *probe {
            DiscoveryProbe::Link => None,
            DiscoveryProbe::Echo => Some(Probe::Echo),
            DiscoveryProbe::Timestamp => Some(Probe::Timestamp),
            DiscoveryProbe::Syn(port) => Some(Probe::Syn(port)),
            DiscoveryProbe::Ack(port) => match gate.of_port(Some(Port::tcp(port)), Stage::HostProbe) {
                Verdict::Allow => Some(Probe::Ack(port)),
                Verdict::SynOnly => Some(Probe::Syn(port)),
                Verdict::OwnProtocol | Verdict::Deny(_) => None,
            },
        });
        let named: Vec<Probe> = named.collect();
        let asks_own = !named.is_empty() && ports.tcp_count() <= OWN_PORTS_MAX;
        let own = (0..ports.tcp_count()).filter(|_| asks_own).filter_map(|at| ports.get(at));
        let mut seen = HashSet::new();
        let all = own.map(|port| Probe::Syn(port.number)).chain(named).filter(|probe| seen.insert(*probe));
        let mut list: Vec<HostProbe> = all
            .map(|probe| match probe {
                Probe::Syn(port) => HostProbe { probe, position: ports.position(Port::tcp(port)) },
                _ => HostProbe { probe, position: None },
            })
            .collect();
        list.sort_by_key(|host_probe| host_probe.position.is_none());
        Self { list, asks_link: wanted.clone().any(|probe| *probe == DiscoveryProbe::Link), sampled: 0 }
    }

    /// The place of a probe in the list, as a bit.
    pub(super) fn bit(&self, probe: Probe) -> u32 {
        let at = self.list.iter().position(|host_probe| host_probe.probe == probe);
        at.and_then(|at| 1_u32.checked_shl(u32::try_from(at).ok()?)).unwrap_or(0)
    }

    /// Whether one more host is to be asked all of them.
    pub(super) fn samples(&mut self) -> bool {
        let is_sample = self.list.len() > 1 && self.sampled < SAMPLES_MAX;
        self.sampled += u32::from(is_sample);
        is_sample
    }
}

/// How many answers hosts give when they are asked everything of a list.
#[derive(Debug, Default)]
pub(super) struct DiscoveryYield {
    hosts: [u32; COUNTS],
}

impl DiscoveryYield {
    /// A host has given one more answer and now `answers` in all.
    pub(super) fn note(&mut self, answers: u32) {
        let at = |answers: u32| (answers as usize).checked_sub(1).filter(|at| *at < COUNTS);
        let (Some(new), old) = (at(answers), at(answers.saturating_sub(1))) else { return };
        if let Some(hosts) = old.and_then(|old| self.hosts.get_mut(old)) {
            *hosts = hosts.saturating_sub(1);
        }
        if let Some(hosts) = self.hosts.get_mut(new) {
            *hosts += 1;
        }
    }

    /// How likely a host that is there has been missed, when each probe of the list has been missed with the chance that
    /// `exposure` is the logarithm of. What is lost is lost in groups: all answers but the first count half.
    pub(super) fn miss(&self, exposure: f64) -> f64 {
        let chance = |answers: usize| {
            let more = u32::try_from(answers).unwrap_or(u32::MAX).saturating_sub(1);
            (exposure * (1.0 + f64::from(more) / 2.0)).exp()
        };
        let seen = self.hosts.iter().enumerate().map(|(at, hosts)| (at + 1, f64::from(*hosts)));
        let (mut missed, mut all) = (0.0, 0.0);
        for (answers, hosts) in seen.chain(PRIOR) {
            missed += hosts * chance(answers);
            all += hosts;
        }
        missed / all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::ScanSpec;

    fn host_probes(ports: &str, discovery: &[DiscoveryProbe]) -> Vec<Probe> {
        let spec = ScanSpec {
            partitions: vec!["10.0.0.0/24".parse().unwrap()],
            ports: ports.parse().unwrap(),
            discovery: discovery.to_vec(),
            ..ScanSpec::default()
        };
        HostProbes::new(&Plan::new(Arc::new(spec), 0).unwrap(), true, &Gate::default())
            .list
            .iter()
            .map(|host_probe| host_probe.probe)
            .collect()
    }

    #[test]
    fn what_the_scan_asks_anyway_is_the_first_host_probe() {
        let default = DiscoveryProbe::DEFAULT;
        assert_eq!(
            host_probes("1-100", &default),
            [Probe::Syn(80), Probe::Echo, Probe::Syn(443), Probe::Ack(80), Probe::Timestamp]
        );
        assert_eq!(
            host_probes("22,8080", &default)[..2],
            [Probe::Syn(22), Probe::Syn(8080)],
            "few ports are all asked"
        );
        assert!(host_probes("22", &[]).is_empty() && host_probes("22", &[DiscoveryProbe::Link]).is_empty());
    }

    #[test]
    fn a_fragile_port_is_only_ever_sent_a_syn() {
        assert_eq!(host_probes("1-100", &[DiscoveryProbe::Ack(9100)]), [Probe::Syn(9100)]);
    }

    #[test]
    fn hosts_that_answer_to_much_are_asked_less_often() {
        let (mut much, mut little) = (DiscoveryYield::default(), DiscoveryYield::default());
        for _ in 0..256 {
            (1..=5).for_each(|answers| much.note(answers));
            little.note(1);
        }
        let loss = 0.0975_f64.ln();
        assert!(little.miss(loss) > 0.09 && much.miss(loss) < 0.002);
        assert!(much.miss(2.0 * loss) < 5e-5 && little.miss(2.0 * loss) > 5e-3);
        assert_eq!(much.hosts[4], 256);
    }
}
