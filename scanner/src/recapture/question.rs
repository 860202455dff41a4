//! What is asked again, as units of the ordinary engines: single ports of many addresses, and addresses as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::plan::Plan;
use crate::port::{Port, PortSet};
use crate::spec::{DiscoveryProbe, ScanSpec};
use crate::target::TargetSet;
use crate::unit::UnitTask;

/// Makes units of the same job, in the same partition, under the same scope, budget and caps.
#[derive(Debug)]
pub(super) struct Again {
    task: UnitTask,
    /// The job's spec without its targets, and with nothing that is asked behind the ports.
    spec: ScanSpec,
}

impl Again {
    pub(super) fn new(task: &UnitTask) -> Self {
        let spec = ScanSpec {
            partitions: Vec::new(),
            services: None,
            weaknesses: false,
            reverse_dns: false,
            notes: Vec::new(),
            ..ScanSpec::clone(&task.spec)
        };
        Self { task: task.clone(), spec }
    }

    /// A unit that asks each of these ports and no other, without a look first whether anybody is there.
    pub(super) fn ports(&self, asked: impl Iterator<Item = (IpAddr, u16)>, rate_pps: u64) -> Option<(Plan, UnitTask)> {
        let mut by_address: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
        asked.for_each(|(address, port)| {
            by_address.entry(address).or_default().insert(port);
        });
        let ports: PortSet = by_address.values().flatten().map(|port| Port::tcp(*port)).collect();
        // Addresses of a set are ascending, IPv4 first, as those of the map are.
        let asked: Vec<Box<[u32]>> = by_address
            .values()
            .map(|of| of.iter().filter_map(|port| ports.position(Port::tcp(*port))).collect())
            .collect();
        let spec = ScanSpec { banners: false, ..self.of(ports, Vec::new(), rate_pps) };
        let (plan, task) = self.unit(by_address.keys().copied(), spec)?;
        Some((plan.only(asked.into()), task))
    }

    /// A unit that asks addresses as the scan did.
    pub(super) fn hosts(&self, asked: impl Iterator<Item = IpAddr>, rate_pps: u64) -> Option<(Plan, UnitTask)> {
        self.unit(asked, self.of(self.spec.ports.clone(), self.spec.discovery.clone(), rate_pps))
    }

    /// A unit that asks every port of addresses that are known to be hosts.
    pub(super) fn wholly(&self, asked: impl Iterator<Item = IpAddr>, rate_pps: u64) -> Option<(Plan, UnitTask)> {
        self.unit(asked, self.of(self.spec.ports.clone(), Vec::new(), rate_pps))
    }

    fn of(&self, ports: PortSet, discovery: Vec<DiscoveryProbe>, rate_pps: u64) -> ScanSpec {
        let max_rate_pps = Some(self.spec.max_rate_pps.unwrap_or(u64::MAX).min(rate_pps));
        ScanSpec { ports, discovery, max_rate_pps, ..self.spec.clone() }
    }

    fn unit(&self, addresses: impl Iterator<Item = IpAddr>, spec: ScanSpec) -> Option<(Plan, UnitTask)> {
        let mut targets = TargetSet::builder();
        addresses.for_each(|address| targets.add_address(address));
        let targets = targets.build().ok().filter(|targets| !targets.is_empty())?;
        let (range, partition) = (0..targets.count(), usize::try_from(self.task.partition).ok()?);
        // In the same partition, so that the engines know the path already.
        let mut partitions = vec![TargetSet::default(); partition];
        partitions.push(targets);
        let spec = Arc::new(ScanSpec { partitions, ..spec });
        let plan = Plan::new(Arc::clone(&spec), self.task.partition)?;
        let cancel = self.task.cancel.child_token();
        Some((plan, UnitTask { spec, range, cancel, ..self.task.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_questions_of_a_unit_are_those_that_were_drawn() {
        let mut task = sample::task(sample::spec("10.0.0.0/24", "1-100", 9));
        task.partition = 2;
        let again = Again::new(&task);
        let wanted: Vec<(IpAddr, u16)> = [("10.0.0.9", 80), ("10.0.0.2", 22), ("10.0.0.9", 7), ("fd00::1", 80)]
            .map(|(address, port)| (address.parse().unwrap(), port))
            .to_vec();
        let (plan, unit) = again.ports(wanted.iter().copied(), 500).unwrap();
        let mut asked = Vec::new();
        for index in unit.range.clone() {
            let Some(crate::target::Target::Address(address)) = plan.target(index) else { panic!("no address") };
            let ports = (0..).map_while(|step| plan.port_position(index, step));
            asked.extend(ports.map(|at| (address, plan.port(at).unwrap().number)));
        }
        let sorted = |mut all: Vec<(IpAddr, u16)>| {
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(asked), sorted(wanted));
        assert_eq!((unit.partition, unit.spec.max_rate_pps, unit.spec.ports.count()), (2, Some(500), 3));
        assert!(unit.spec.discovery.is_empty() && !unit.spec.banners);
        assert!(again.ports(std::iter::empty(), 1).is_none());
        let (plan, unit) = again.hosts(["10.0.0.9".parse().unwrap()].into_iter(), 500).unwrap();
        assert_eq!((plan.port_count(), unit.spec.discovery.len()), (100, task.spec.discovery.len()));
    }
}
