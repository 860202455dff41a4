//! The targets of a unit that a scan has not begun, in the order of their indexes.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::finding::ScannedHost;
use crate::neighbours::Neighbours;
use crate::plan::Plan;
use crate::target::Target;

/// Targets that wait for their turn.
#[derive(Debug)]
pub(crate) struct Waiting {
    indexes: Range<u64>,
    /// Before this, the next of them has no room in the kernel's table of neighbours.
    crowded_until: Duration,
}

impl Waiting {
    /// Targets at these indexes of a plan; indexes past its end are not there.
    pub(crate) fn new(indexes: Range<u64>, plan: &Plan) -> Self {
        let indexes = indexes.start..indexes.end.min(plan.target_count());
        Self { indexes, crowded_until: Duration::ZERO }
    }

    /// The next target, unless none is left or it has to wait for room among the neighbours. One with a name has to be
    /// looked up before it is asked.
    pub(crate) fn next(&mut self, now: Duration, plan: &Plan, neighbours: &Neighbours) -> Option<ScannedHost> {
        if now < self.crowded_until || self.indexes.is_empty() {
            return None;
        }
        let target_index = self.indexes.start;
        let scanned = match plan.target(target_index).expect("a scan's indexes are its plan's") {
            Target::Address(address) => {
                if let Err(until) = neighbours.begin(now, address) {
                    self.crowded_until = until;
                    return None;
                }
                ScannedHost { target_index, address, name: None }
            }
            Target::Name(name) => {
                ScannedHost { target_index, address: Ipv4Addr::UNSPECIFIED.into(), name: Some(Arc::from(name)) }
            }
        };
        self.indexes.start += 1;
        Some(scanned)
    }

    /// When there will be room for the next target that has to wait for it.
    pub(crate) fn crowded_until(&self, now: Duration) -> Option<Duration> {
        (self.crowded_until > now).then_some(self.crowded_until)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// The index of the next target.
    pub(crate) fn next_index(&self) -> u64 {
        self.indexes.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ScanSpec;

    #[test]
    fn a_crowded_link_holds_the_next_target_back_and_a_name_is_not_held() {
        let spec = |targets: &str| ScanSpec {
            partitions: vec![crate::target::parse_targets(targets, "test").unwrap()],
            ..ScanSpec::default()
        };
        let neighbours = Neighbours::new(&["10.0.0.0/24".parse().unwrap()], 1);
        let now = Duration::from_secs(1);
        let plan = Plan::new(Arc::new(spec("10.0.0.0/30")), 0).unwrap();
        let mut waiting = Waiting::new(0..9, &plan);
        assert_eq!(waiting.next(now, &plan, &neighbours).map(|host| host.target_index), Some(0));
        assert!(waiting.next(now, &plan, &neighbours).is_none());
        let until = waiting.crowded_until(now).unwrap();
        assert_eq!((waiting.next_index(), waiting.crowded_until(until)), (1, None));
        assert!(waiting.next(until, &plan, &neighbours).is_some());
        let plan = Plan::new(Arc::new(spec("a.example")), 0).unwrap();
        let mut waiting = Waiting::new(0..1, &plan);
        let named = waiting.next(until, &plan, &neighbours).unwrap();
        assert_eq!((named.name.as_deref(), named.address), (Some("a.example"), Ipv4Addr::UNSPECIFIED.into()));
        assert!(waiting.is_empty() && waiting.next(until, &plan, &neighbours).is_none());
    }
}
