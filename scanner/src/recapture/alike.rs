//! Networks of which everybody answers all that a scan of one or two ports asks: something on the way may answer for them.
//!
//! One or two open ports of a host are no surprise, so a scan of no more puts no host to the test of [`crate::scan::middlebox`]. A whole
//! network without a closed or a silent port is one. So behind such a scan two of its hosts are asked a few ports that cannot all be
//! open, and where one of the two answers on everything, so are the others. Each is judged by its own answers, so a network of servers
//! that are alike loses nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Stage;
use super::question::Again;
use super::seen::Seen;
use crate::finding::{Finding, Observation};
use crate::network::Network;
use crate::permute::mix;
use crate::scan::middlebox::{self, OPEN_MIN, TRIALS, Trial};
use crate::unit::{UnitOutcome, UnitScan};

/// Hosts of one network that answer alike before it is a surprise: a rack of servers has as many, a /24 has room for sixteen such.
const HOSTS_MIN: usize = 16;
/// Hosts of the network that answer otherwise, or are silent about a port: one for so many, as with the ports of a host.
const ALIKE_PER_OTHER: usize = 8;
/// Hosts that are asked first.
const DRAWN: usize = 2;
/// Longest time for all of it: a /24 takes a few seconds.
const TIME_MAX: Duration = Duration::from_secs(20);
/// It is asked no faster than the scan has asked, nor more slowly than any scan begins.
const RATE_MIN_PPS: u64 = 400;

/// A host by index and address.
type Asked = (u64, IpAddr);

/// The hosts of each network in which nearly all have answered on as many ports as there are, in a random order.
fn networks(seen: &Seen, ports: u32, seed: u64) -> Vec<Vec<Asked>> {
    let mut by_network: BTreeMap<Network, (Vec<Asked>, usize)> = BTreeMap::new();
    for (index, host) in seen.hosts() {
        let (alike, others) = by_network.entry(Network::of(host.address)).or_default();
        match host.open == ports && !host.is_middlebox {
            true => alike.push((index, host.address)),
            false => *others += 1,
        }
    }
    let is_surprising = |(alike, others): &(Vec<Asked>, usize)| {
        alike.len() >= HOSTS_MIN && others.saturating_mul(ALIKE_PER_OTHER) <= alike.len()
    };
    let drawn = |(mut alike, _): (Vec<Asked>, usize)| {
        alike.sort_unstable_by_key(|(index, _)| mix(seed ^ mix(*index)));
        alike
    };
    by_network.into_values().filter(is_surprising).map(drawn).collect()
}

impl Stage {
    /// Puts networks to the test whose hosts are alike, and tells which of these answer on everything.
    pub(super) async fn try_networks(&mut self, outcome: &UnitOutcome) {
        let ports = self.plan.port_count();
        if ports >= OPEN_MIN || self.seen.is_beyond() {
            return;
        }
        let networks = networks(&self.seen, ports, self.plan.spec().seed);
        if networks.is_empty() {
            return;
        }
        let millis = u64::try_from(outcome.sending.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate_pps = (outcome.progress.tally.probes_sent.saturating_mul(1000) / millis).max(RATE_MIN_PPS);
        let end = Instant::now() + TIME_MAX;
        self.try_hosts(networks.iter().flat_map(|hosts| hosts.iter().take(DRAWN)), rate_pps, end).await;
        let has_failed = |hosts: &&Vec<Asked>| {
            let mut drawn = hosts.iter().take(DRAWN);
            drawn.any(|(index, _)| self.seen.host(*index).is_some_and(|host| host.is_middlebox))
        };
        let failed: Vec<&Vec<Asked>> = networks.iter().filter(has_failed).collect();
        self.try_hosts(failed.into_iter().flat_map(|hosts| hosts.iter().skip(DRAWN)), rate_pps, end).await;
    }

    /// Asks hosts the ports of their test.
    async fn try_hosts(&mut self, hosts: impl Iterator<Item = &Asked>, rate_pps: u64, end: Instant) {
        let spec = Arc::clone(self.plan.spec());
        let ports = |(index, address): &Asked| {
            let (index, address, spec) = (*index, *address, Arc::clone(&spec));
            (0..TRIALS).map(move |number| (address, middlebox::port(&spec, index, Trial::default(), number)))
        };
        let Some((plan, task)) = Again::new(&self.task).ports(hosts.flat_map(ports), rate_pps) else { return };
        let cancel = task.cancel.clone();
        let mut scan = match (self.ask)(plan, task) {
            Ok(scan) => scan,
            Err(error) => {
                tracing::debug!(%error, "hosts that are alike are not put to the test");
                return;
            }
        };
        if timeout_at(end, self.read_verdicts(&mut scan)).await != Ok(true) {
            cancel.cancel();
            // What came until then is true.
            self.read_verdicts(&mut scan).await;
        }
        let UnitScan { findings, outcome, .. } = scan;
        // What is not read holds no engine up.
        drop(findings);
        if let Ok(Ok(outcome)) = outcome.await {
            let (tally, more) = (outcome.progress.tally, &mut self.watermark.more);
            more.probes_sent += tally.probes_sent;
            more.retransmitted += tally.retransmitted;
            more.replies += tally.replies;
        }
        self.watermark.tell();
    }

    /// Reads who answers on everything; false when nobody reads what is told of it.
    async fn read_verdicts(&mut self, scan: &mut UnitScan) -> bool {
        while let Some(batch) = scan.findings.recv().await {
            let failed = batch.into_iter().filter(|finding| finding.observation == Observation::Middlebox);
            let of_unit = failed
                .filter_map(|finding| Some(Finding { target_index: self.plan.index_of(finding.address)?, ..finding }));
            let told: Vec<Finding> = of_unit.collect();
            let known = told.iter().filter_map(|finding| self.seen.host(finding.target_index));
            // They mean nothing.
            self.watermark.fewer_open += known.map(|host| u64::from(host.open)).sum::<u64>();
            self.seen.take_in(&told);
            if !told.is_empty() && self.findings.send(told).await.is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{HostState, PortState, Reason};
    use crate::port::Port;

    fn take_in(seen: &mut Seen, index: u64, address: [u8; 4], open: &[u16], closed: &[u16]) {
        let finding = |observation| Finding { target_index: index, address: address.into(), name: None, observation };
        let port = |number: &u16, state| {
            let (port, reason) = (Port::tcp(*number), Reason::SynAck);
            finding(Observation::Port { port, state, reason, ttl: None, stack: None })
        };
        seen.take_in(&[finding(Observation::Host { state: HostState::Up, reason: Reason::SynAck })]);
        open.iter().for_each(|number| seen.take_in(&[port(number, PortState::Open)]));
        closed.iter().for_each(|number| seen.take_in(&[port(number, PortState::Closed)]));
    }

    #[test]
    fn a_network_is_a_surprise_where_nearly_all_have_answered_all_that_was_asked() {
        let of = |alike: u8, refusing: u8, silent: u8| {
            let mut seen = Seen::new(7, "22,80".parse().unwrap());
            (0..alike).for_each(|last| take_in(&mut seen, last.into(), [10, 0, 1, last], &[22, 80], &[]));
            (0..refusing)
                .for_each(|last| take_in(&mut seen, 1000 + u64::from(last), [10, 0, 1, 100 + last], &[22], &[80]));
            (0..silent).for_each(|last| take_in(&mut seen, 2000 + u64::from(last), [10, 0, 1, 200 + last], &[80], &[]));
            // A neighbour is another network.
            take_in(&mut seen, 3000, [10, 0, 2, 1], &[22, 80], &[]);
            networks(&seen, 2, 9).into_iter().map(|hosts| hosts.len()).collect::<Vec<_>>()
        };
        assert_eq!((of(16, 0, 0), of(64, 4, 4)), (vec![16], vec![64]));
        assert!(of(15, 0, 0).is_empty() && of(64, 9, 0).is_empty() && of(64, 0, 9).is_empty());
    }
}
