//! Two parts of a unit as one: each host is told once, figures are summed.
//!
//! Pure; `unit` reads the channels.

use crate::finding::{Finding, Observation};
use crate::scan::Counts;
use crate::udp_scan::index_set::IndexSet;
use crate::unit::{UnitOutcome, UnitProgress};

/// What has been told of a unit so far.
#[derive(Debug)]
pub(super) struct Merge {
    /// First index of the unit.
    start: u64,
    /// Hosts that were told to be up, by their place in the unit.
    up: IndexSet,
    /// Whether the first part only looks for hosts.
    is_discovery: bool,
    /// Whether the UDP part asks only the hosts that the first part finds.
    is_fed: bool,
}

impl Merge {
    pub(super) fn new(start: u64, is_discovery: bool, is_fed: bool) -> Self {
        Self { start, up: IndexSet::default(), is_discovery, is_fed }
    }

    /// Whether a finding of the first part is handed on.
    pub(super) fn keeps_first(&mut self, finding: &Finding) -> bool {
        match finding.observation {
            Observation::Host { .. } => self.keeps(finding),
            _ => !self.is_discovery,
        }
    }

    /// Whether a finding of the UDP part is handed on: all but a host that was told already.
    pub(super) fn keeps(&mut self, finding: &Finding) -> bool {
        match finding.observation {
            Observation::Host { .. } => self.up.insert(finding.target_index.saturating_sub(self.start)),
            _ => true,
        }
    }

    /// The figures of both parts. `unsettled` is how many hosts the UDP part still has to do of those that it was fed.
    pub(super) fn counts(&self, udp: &Counts, first: Option<&UnitProgress>, unsettled: u64) -> Counts {
        let mut counts = Counts { hosts_up: self.up.len(), ..udp.clone() };
        if let Some(first) = first {
            counts.targets_done = match self.is_fed {
                true => first.targets_done.saturating_sub(unsettled),
                false => first.targets_done.min(udp.targets_done),
            };
            counts.open_ports += if self.is_discovery { 0 } else { first.open_ports };
            counts.probes_sent += first.probes_sent;
            counts.retransmitted += first.retransmitted;
            counts.replies += first.replies;
        }
        counts
    }

    /// Adds what only the end of the first part tells. A target that one part refused the other refused as well.
    pub(super) fn finish(counts: &mut Counts, first: &UnitOutcome) {
        counts.refused = counts.refused.max(first.refused);
        if first.unresolved_count > counts.unresolved_count {
            counts.unresolved_count = first.unresolved_count;
            counts.unresolved.clone_from(&first.unresolved);
        }
    }

    /// The loss of both parts, each weighted by its answers.
    #[expect(clippy::cast_precision_loss, reason = "a weight needs no more than 52 bits")]
    pub(super) fn loss(udp: &Counts, udp_loss: f64, first: Option<&UnitProgress>) -> f64 {
        let Some(first) = first else { return udp_loss };
        let (here, there) = (udp.replies as f64, first.replies as f64);
        if here + there == 0.0 { 0.0 } else { (udp_loss * here + first.loss_estimate * there) / (here + there) }
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
        assert_eq!(merge.counts(&Counts::default(), None, 0).hosts_up, 2);
    }

    #[test]
    fn ports_that_a_discovery_asked_are_nobodys_business() {
        let port = Port::tcp(443);
        let open = Observation::Port { port, state: PortState::Open, reason: Reason::SynAck, ttl: None };
        assert!(!Merge::new(0, true, true).keeps_first(&finding(1, open.clone())));
        assert!(Merge::new(0, false, true).keeps_first(&finding(1, open)));
    }

    #[test]
    fn a_target_is_done_when_both_parts_have_done_it() {
        let first = UnitProgress { targets_done: 100, open_ports: 5, probes_sent: 7, ..UnitProgress::default() };
        let udp = Counts { targets_done: 10, open_ports: 2, probes_sent: 1, ..Counts::default() };
        let fed = Merge::new(0, false, true).counts(&udp, Some(&first), 30);
        assert_eq!((fed.targets_done, fed.open_ports, fed.probes_sent), (70, 7, 8));
        assert_eq!(Merge::new(0, false, false).counts(&udp, Some(&first), 30).targets_done, 10);
        assert_eq!(Merge::new(0, true, true).counts(&udp, Some(&first), 0).open_ports, 2);
    }

    #[test]
    fn loss_is_weighted_by_answers() {
        let first = UnitProgress { replies: 300, loss_estimate: 0.2, ..UnitProgress::default() };
        let udp = Counts { replies: 100, ..Counts::default() };
        assert!((Merge::loss(&udp, 0.0, Some(&first)) - 0.15).abs() < 1e-9);
        assert_eq!(Merge::loss(&Counts::default(), 0.0, Some(&UnitProgress::default())), 0.0);
    }
}
