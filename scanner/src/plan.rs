//! From index to probe: which target an index of a partition is, and in which order its ports are asked.
//!
//! Everything here is a pure function of the spec, so that any node can do any unit and two nodes that do the same
//! unit ask the same. A unit is `[start, end)` of a partition's index space; the permutation puts its neighbours on
//! far-apart hosts. The ports of one host come in an order of their own, and the scan gives each active host one
//! probe in turn, so that no host is met by a burst of all its ports while others wait.

use std::sync::Arc;

use crate::permute::{Permutation, mix};
use crate::port::Port;
use crate::spec::ScanSpec;
use crate::target::{Target, TargetSet};

/// Keeps the order of ports apart from that of targets, which is drawn from the same seed.
const PORT_ORDER: u64 = 0x706f_7274;

/// The walk through one partition of a spec.
#[derive(Debug, Clone)]
pub struct Plan {
    spec: Arc<ScanSpec>,
    partition: usize,
    targets: Permutation,
    ports: Permutation,
    /// The ports of each target by its place in the set, where it is not all of them.
    asked: Option<Arc<[Box<[u32]>]>>,
}

impl Plan {
    /// The plan of a partition, or `None` when the spec has no such partition.
    #[must_use]
    pub fn new(spec: Arc<ScanSpec>, partition: u32) -> Option<Self> {
        let partition = usize::try_from(partition).ok()?;
        let count = spec.partitions.get(partition)?.count();
        let targets = Permutation::new(count, spec.seed);
        let ports = Permutation::new(spec.ports.count().into(), spec.seed ^ PORT_ORDER);
        Some(Self { spec, partition, targets, ports, asked: None })
    }

    /// The same walk with these ports of each target and no others: their positions in the port set, by the target's place
    /// in the target set.
    pub(crate) fn only(self, asked: Arc<[Box<[u32]>]>) -> Self {
        Self { asked: Some(asked), ..self }
    }

    /// The spec that this is a plan of.
    #[must_use]
    pub fn spec(&self) -> &Arc<ScanSpec> {
        &self.spec
    }

    /// How many indexes the partition has.
    #[must_use]
    pub fn target_count(&self) -> u64 {
        self.targets.count()
    }

    /// The target at an index, or `None` from [`Self::target_count`] on.
    #[must_use]
    pub fn target(&self, index: u64) -> Option<Target<'_>> {
        self.target_set().get(self.targets.apply(index)?)
    }

    /// The index of an address, if it is one of the partition's.
    #[must_use]
    pub fn index_of(&self, address: std::net::IpAddr) -> Option<u64> {
        self.targets.invert(self.target_set().position(address)?)
    }

    /// How many ports each target is asked.
    #[must_use]
    pub fn port_count(&self) -> u32 {
        self.spec.ports.count()
    }

    /// The position in the port set of the port asked at `step` of the target at `index`.
    ///
    /// Each host begins elsewhere in the same shuffled order, so that hosts asked side by side are asked different
    /// ports.
    #[must_use]
    pub fn port_position(&self, index: u64, step: u32) -> Option<u32> {
        if let Some(asked) = &self.asked {
            let at = usize::try_from(self.targets.apply(index)?).ok()?;
            return asked.get(at)?.get(usize::try_from(step).ok()?).copied();
        }
        let count = self.ports.count();
        if u64::from(step) >= count {
            return None;
        }
        let begin = mix(self.spec.seed ^ mix(index)) % count;
        self.ports.apply((begin + u64::from(step)) % count).and_then(|position| u32::try_from(position).ok())
    }

    /// The port at a position of the port set.
    #[must_use]
    pub fn port(&self, position: u32) -> Option<Port> {
        self.spec.ports.get(position)
    }

    /// All targets of the partition.
    #[must_use]
    pub fn target_set(&self) -> &TargetSet {
        self.in_spec()
    }

    /// Whether all targets are this machine's loopback, behind which no network could be too full.
    pub(crate) fn is_own_machine(&self) -> bool {
        let targets = self.target_set();
        targets.name_count() == 0 && targets.ranges().all(|range| range.first.is_loopback() && range.last.is_loopback())
    }

    fn in_spec(&self) -> &TargetSet {
        self.spec.partitions.get(self.partition).expect("a plan is only made of a partition that is there")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn plan(targets: &str, ports: &str, seed: u64) -> Plan {
        let spec = ScanSpec {
            partitions: vec![targets.parse().unwrap()],
            ports: ports.parse().unwrap(),
            seed,
            ..ScanSpec::default()
        };
        Plan::new(Arc::new(spec), 0).unwrap()
    }

    #[test]
    fn a_partition_that_is_not_there_has_no_plan() {
        assert!(Plan::new(Arc::new(ScanSpec::default()), 0).is_none());
    }

    #[test]
    fn hosts_side_by_side_are_asked_different_ports() {
        let plan = plan("10.0.0.0/24", "1-1000", 3);
        let first: BTreeSet<_> = (0..256).map(|index| plan.port_position(index, 0).unwrap()).collect();
        assert!(first.len() > 200, "{} different ports", first.len());
    }

    #[test]
    fn of_a_sample_each_target_is_asked_its_own_ports() {
        let sample = plan("10.0.0.0/30", "80-99", 3).only(Arc::new([[1].into(), [].into(), [7, 2].into(), [0].into()]));
        for (last, ports) in [(0, vec![1]), (1, vec![]), (2, vec![7, 2]), (3, vec![0])] {
            let index = sample.index_of(std::net::IpAddr::from([10, 0, 0, last])).unwrap();
            let asked: Vec<u32> = (0..20).map_while(|step| sample.port_position(index, step)).collect();
            assert_eq!(asked, ports);
        }
        assert_eq!(sample.port_position(4, 0), None);
    }

    proptest! {
        #[test]
        fn units_cover_each_target_once_for_any_exclusions(
            seed: u64, excluded in proptest::collection::vec((0_u32..4096, 0_u32..64), 0..8), unit in 1_u64..700
        ) {
            let exclude = excluded.iter().map(|(first, more)| {
                let address = |bits: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 + bits);
                format!("{}-{}", address(*first), address(first + more))
            });
            let exclude: TargetSet = exclude.collect::<Vec<_>>().join(",").parse().unwrap();
            let targets: TargetSet = "10.0.0.0/20,2001:db8::/121,a.example".parse().unwrap();
            let targets = targets.exclude(&exclude);
            let spec = ScanSpec { partitions: vec![targets.clone()], seed, ..ScanSpec::default() };
            let plan = Plan::new(Arc::new(spec), 0).unwrap();
            let mut seen = BTreeSet::new();
            let mut start = 0;
            while start < plan.target_count() {
                for index in start..(start + unit).min(plan.target_count()) {
                    let target = plan.target(index).unwrap();
                    prop_assert!(seen.insert(format!("{target:?}")), "{target:?} twice");
                }
                start += unit;
            }
            prop_assert_eq!(seen.len() as u64, targets.count());
            prop_assert!(plan.target(plan.target_count()).is_none());
        }

        #[test]
        fn an_address_has_the_index_it_is_at(seed: u64, index in 0_u64..4096) {
            let plan = plan("10.0.0.0/20,10.9.0.0/24", "80", seed);
            let Some(Target::Address(address)) = plan.target(index) else { panic!("no address at {index}") };
            prop_assert_eq!(plan.index_of(address), Some(index));
            prop_assert_eq!(plan.index_of("10.8.0.1".parse().unwrap()), None);
        }

        #[test]
        fn each_port_of_a_host_is_asked_once(seed: u64, index: u64) {
            let plan = plan("10.0.0.1", "1-100,U:53", seed);
            let asked: BTreeSet<_> = (0..101).map(|step| plan.port_position(index, step).unwrap()).collect();
            prop_assert_eq!(asked.len(), 101);
            prop_assert_eq!(plan.port_position(index, 101), None);
        }
    }
}
