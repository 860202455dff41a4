//! Two parts of a unit as one: each host is told once, figures are summed.
//!
//! Pure; `unit` reads the channels.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::finding::{Finding, Observation};
use crate::tally::{Estimates, Tally};
use crate::udp_scan::index_set::IndexSet;
use crate::unit::UnitProgress;

/// What has been told of a unit so far.
#[derive(Debug)]
pub(super) struct Merge {
    /// First index of the unit.
    start: u64,
    /// Hosts that were told to be up, by their place in the unit.
    up: IndexSet,
    /// Hosts that were told to be up of names, which may have several.
    named_up: BTreeSet<(u64, IpAddr)>,
    /// The addresses of these, each once however many names it has.
    addresses_up: BTreeSet<IpAddr>,
    /// Whether the first part only looks for hosts.
    is_discovery: bool,
    /// Whether the UDP part asks only the hosts that the first part finds.
    is_fed: bool,
}

impl Merge {
    pub(super) fn new(start: u64, is_discovery: bool, is_fed: bool) -> Self {
        Self {
            start,
            up: IndexSet::default(),
            named_up: BTreeSet::new(),
            addresses_up: BTreeSet::new(),
            is_discovery,
            is_fed,
        }
    }

    /// Whether a finding of the first part is handed on.
    pub(super) fn keeps_first(&mut self, finding: &Finding) -> bool {
        match finding.observation {
            Observation::Host { .. } => self.keeps(finding),
            Observation::Hardware { .. } => true,
            _ => !self.is_discovery,
        }
    }

    /// Whether a finding of the UDP part is handed on: all but a host that was told already.
    pub(super) fn keeps(&mut self, finding: &Finding) -> bool {
        match finding.observation {
            Observation::Host { .. } if finding.name.is_some() => {
                self.addresses_up.insert(finding.address);
                self.named_up.insert((finding.target_index, finding.address))
            }
            Observation::Host { .. } => self.up.insert(finding.target_index.saturating_sub(self.start)),
            _ => true,
        }
    }

    /// The figures of both parts. `unsettled` is how many hosts the UDP part still has to do of those that it was fed.
    pub(super) fn tally(&self, udp: Tally, first: Option<Tally>, unsettled: u64) -> Tally {
        let hosts_up = self.up.len() + self.addresses_up.len() as u64;
        let Some(first) = first else { return Tally { hosts_up, ..udp } };
        let targets_done = match self.is_fed {
            true => first.targets_done.saturating_sub(unsettled),
            false => first.targets_done.min(udp.targets_done),
        };
        let open_ports = udp.open_ports + if self.is_discovery { 0 } else { first.open_ports };
        // Both parts have the same targets: what one could not send to the other could not either.
        let not_probed = udp.not_probed.or_more(&first.not_probed);
        Tally { targets_done, hosts_up, open_ports, not_probed, ..udp + first }
    }

    /// The estimates of both parts: a loss weighted by their answers, and the recall of the part that is less sure.
    #[expect(clippy::cast_precision_loss, reason = "a weight needs no more than 52 bits")]
    pub(super) fn estimates(udp: &UnitProgress, first: Option<&UnitProgress>) -> Estimates {
        let Some(first) = first else { return udp.estimates };
        let (here, there) = (udp.tally.replies as f64, first.tally.replies as f64);
        let lost = udp.estimates.loss * here + first.estimates.loss * there;
        let loss = if here + there == 0.0 { 0.0 } else { lost / (here + there) };
        Estimates { loss, chance_loss: loss, recall: udp.estimates.recall.min(first.estimates.recall) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{HostState, PortState, Reason};
    use crate::port::Port;

    fn finding(target_index: u64, observation: Observation) -> Finding {
        Finding { target_index, address: "10.0.0.1".parse().unwrap(), name: None, observation }
    }

    fn up() -> Observation {
        Observation::Host { state: HostState::Up, reason: Reason::SynAck }
    }

    #[test]
    fn a_host_is_told_once_whichever_part_finds_it() {
        let mut merge = Merge::new(1000, false, false);
        assert!(merge.keeps_first(&finding(1001, up())));
        assert!(!merge.keeps(&finding(1001, up())));
        assert!(merge.keeps(&finding(1002, up())));
        assert!(!merge.keeps_first(&finding(1002, up())));
        assert_eq!(merge.tally(Tally::default(), None, 0).hosts_up, 2);
        let named = |index, name: &str| Finding { name: Some(name.into()), ..finding(index, up()) };
        assert!(merge.keeps_first(&named(1003, "a.example")) && merge.keeps(&named(1004, "b.example")));
        assert!(!merge.keeps(&named(1003, "a.example")));
        assert_eq!(merge.tally(Tally::default(), None, 0).hosts_up, 3, "one however many names it has");
    }

    #[test]
    fn ports_that_a_discovery_asked_are_nobodys_business() {
        let port = Port::tcp(443);
        let open = Observation::Port { port, state: PortState::Open, reason: Reason::SynAck, ttl: None, stack: None };
        assert!(!Merge::new(0, true, true).keeps_first(&finding(1, open.clone())));
        assert!(Merge::new(0, false, true).keeps_first(&finding(1, open)));
    }

    #[test]
    fn a_target_is_done_when_both_parts_have_done_it() {
        let first = Tally { targets_done: 100, open_ports: 5, probes_sent: 7, ..Tally::default() };
        let udp = Tally { targets_done: 10, open_ports: 2, probes_sent: 1, ..Tally::default() };
        let fed = Merge::new(0, false, true).tally(udp, Some(first), 30);
        assert_eq!((fed.targets_done, fed.open_ports, fed.probes_sent), (70, 7, 8));
        assert_eq!(Merge::new(0, false, false).tally(udp, Some(first), 30).targets_done, 10);
        assert_eq!(Merge::new(0, true, true).tally(udp, Some(first), 0).open_ports, 2);
    }

    #[test]
    fn loss_is_weighted_by_answers_and_recall_that_of_the_part_that_is_less_sure() {
        let part = |replies, loss, recall| UnitProgress {
            tally: Tally { replies, ..Tally::default() },
            estimates: Estimates { loss, chance_loss: loss, recall },
            ..UnitProgress::default()
        };
        let both = Merge::estimates(&part(100, 0.0, 0.9), Some(&part(300, 0.2, 0.8)));
        assert!((both.loss - 0.15).abs() < 1e-9 && both.recall == 0.8);
        assert_eq!(Merge::estimates(&part(0, 0.3, 1.0), Some(&part(0, 0.0, 1.0))), Estimates::default());
        assert_eq!(Merge::estimates(&part(0, 0.3, 1.0), None), part(0, 0.3, 1.0).estimates);
    }
}
