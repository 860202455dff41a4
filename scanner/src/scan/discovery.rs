//! Which probes decide whether a host is worth asking all its ports.
//!
//! A connection can only be accepted or refused by the host itself, so either answer shows that it is there. Asked
//! are the most popular ports of the scan's own set and those that the spec names for SYNs. Their answers
//! count for the scan, so only the extra ones cost anything where a host is up.

use crate::plan::Plan;
use crate::port::{Port, PortSet};
use crate::spec::DiscoveryProbe;

/// Ports of the scan that are asked first.
const OWN_PORTS: usize = 3;
/// With at most this many ports, asking them all is no dearer than discovery.
const PORTS_MIN: u32 = 3;
/// A partition of at most this many targets was written by hand, by someone who means these hosts: they are asked
/// everything, also when they hide from the few probes of a discovery.
pub(crate) const TARGETS_MIN: u64 = 4;

/// One discovery probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiscoveryPort {
    pub(crate) port: u16,
    /// Its place in the port set, if the scan asks it anyway.
    pub(crate) position: Option<u32>,
}

/// The discovery probes of a plan, the likeliest to be answered first; none when discovery gains nothing.
pub(crate) fn probes(plan: &Plan, wanted: bool) -> Vec<DiscoveryPort> {
    let ports = &plan.spec().ports;
    if !wanted || ports.tcp_count() <= PORTS_MIN || plan.target_count() <= TARGETS_MIN {
        return Vec::new();
    }
    let popular = PortSet::popular_of(ports, OWN_PORTS);
    let extra = plan.spec().discovery.iter().filter_map(|probe| match probe {
        DiscoveryProbe::Syn(port) if !popular.contains(port) => Some(*port),
        _ => None,
    });
    let all = popular.iter().copied().chain(extra);
    all.map(|port| DiscoveryPort { port, position: ports.position(Port::tcp(port)) }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::ScanSpec;

    fn asked(targets: &str, ports: &str, wanted: bool) -> Vec<u16> {
        let spec = ScanSpec {
            partitions: vec![targets.parse().unwrap()],
            ports: ports.parse().unwrap(),
            ..ScanSpec::default()
        };
        probes(&Plan::new(Arc::new(spec), 0).unwrap(), wanted).iter().map(|probe| probe.port).collect()
    }

    #[test]
    fn the_most_popular_ports_of_the_scan_and_the_web_ports_are_asked() {
        assert_eq!(asked("10.0.0.0/24", "1-1000", true), [80, 443, 22]);
        assert_eq!(asked("10.0.0.0/24", "21,22,23,3389,6379", true), [22, 3389, 23, 443, 80]);
        assert_eq!(asked("10.0.0.0/24", "40000-40010", true), [40_000, 40_001, 40_002, 443, 80]);
    }

    #[test]
    fn discovery_is_left_out_where_it_gains_nothing() {
        assert!(asked("10.0.0.0/24", "1-1000", false).is_empty());
        assert!(asked("10.0.0.0/24", "21-23", true).is_empty());
        assert!(asked("10.0.0.1", "1-65535", true).is_empty());
    }
}
