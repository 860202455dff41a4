//! A spec with UDP ports as the parts that different engines do: the TCP part or a discovery alone, and the UDP part.
//!
//! All parts have the same partitions and the same seed, so an index means the same target in each.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::plan::Plan;
use crate::port::{Port, PortSet};
use crate::scan::discovery::TARGETS_MIN;
use crate::spec::{DiscoveryProbe, EngineChoice, Profile, ScanSpec};

/// Split specs that are remembered: those of the jobs that a node works on at once.
const REMEMBERED: usize = 4;
/// Asked by connections when a discovery names no TCP port.
const DISCOVERY_PORTS: [u16; 2] = [443, 80];

/// The parts of a spec.
#[derive(Debug)]
pub(super) struct Split {
    /// What goes before or beside the UDP part.
    pub(super) first: First,
    /// The UDP ports alone.
    pub(super) udp: Arc<ScanSpec>,
}

/// What goes before or beside the UDP part.
#[derive(Debug)]
pub(super) enum First {
    /// The TCP ports alone.
    Tcp(Arc<ScanSpec>),
    /// A look for hosts that are up; only that is of interest.
    Discovery(Arc<ScanSpec>),
    /// Nothing.
    None,
}

impl Split {
    fn of(spec: &ScanSpec) -> Self {
        let part = |ports: PortSet| Arc::new(ScanSpec { ports, ..spec.clone() });
        let first = match spec.ports.only_tcp() {
            tcp if !tcp.is_empty() => First::Tcp(part(tcp)),
            _ if looks_first(spec) => First::Discovery(Arc::new(ScanSpec {
                ports: discovery_ports(&spec.discovery),
                // That raw packets are asked for is about TCP ports.
                engine: if spec.engine == EngineChoice::Raw { EngineChoice::Auto } else { spec.engine },
                banners: false,
                services: None,
                weaknesses: false,
                ..spec.clone()
            })),
            _ => First::None,
        };
        Self { first, udp: part(spec.ports.only_udp()) }
    }
}

/// Whether a spec asks for a discovery at all.
fn looks_first(spec: &ScanSpec) -> bool {
    !spec.discovery.is_empty() && spec.profile == Profile::Default
}

/// Whether only hosts that were found up are asked over UDP. A few targets were written by hand, by someone who means
/// them: they are asked in any case. So are names, each of which may be several hosts. They are looked for all the same: the
/// silence of a port says nothing of whether its host is there.
pub(super) fn is_fed(plan: &Plan) -> bool {
    looks_first(plan.spec()) && plan.target_count() > TARGETS_MIN && plan.target_set().name_count() == 0
}

/// The TCP ports that a discovery asks, which is all that connections can do: an answer of any kind shows the host.
fn discovery_ports(probes: &[DiscoveryProbe]) -> PortSet {
    let named = probes.iter().filter_map(|probe| match probe {
        DiscoveryProbe::Syn(port) | DiscoveryProbe::Ack(port) => Some(Port::tcp(*port)),
        DiscoveryProbe::Link | DiscoveryProbe::Echo | DiscoveryProbe::Timestamp => None,
    });
    let ports: PortSet = named.collect();
    if ports.is_empty() { DISCOVERY_PORTS.into_iter().map(Port::tcp).collect() } else { ports }
}

/// The splits of the specs in work: a spec may hold millions of ranges, and its units come one by one.
#[derive(Debug, Default)]
pub(super) struct Splits {
    recent: Mutex<Vec<(Weak<ScanSpec>, Arc<Split>)>>,
}

impl Splits {
    /// The parts of a spec, made once.
    pub(super) fn of(&self, spec: &Arc<ScanSpec>) -> Arc<Split> {
        // A thread that died here left a list.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(known, _)| known.strong_count() > 0);
        if let Some((_, split)) = recent.iter().find(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(spec))) {
            return Arc::clone(split);
        }
        let split = Arc::new(Split::of(spec));
        if recent.len() >= REMEMBERED {
            recent.remove(0);
        }
        recent.push((Arc::downgrade(spec), Arc::clone(&split)));
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(ports: &str) -> ScanSpec {
        ScanSpec {
            partitions: vec!["10.0.0.0/24".parse().unwrap()],
            ports: ports.parse().unwrap(),
            ..ScanSpec::default()
        }
    }

    #[test]
    fn each_part_has_its_own_ports_and_the_same_targets() {
        let both = Split::of(&spec("T:22,U:53"));
        let First::Tcp(tcp) = &both.first else { panic!("{both:?}") };
        assert_eq!((tcp.ports.to_string(), both.udp.ports.to_string()), ("22".to_owned(), "U:53".to_owned()));
        assert_eq!((&tcp.partitions, tcp.seed), (&both.udp.partitions, both.udp.seed));
        let First::Discovery(look) = Split::of(&spec("U:53")).first else { panic!() };
        assert_eq!(look.ports.to_string(), "80,443");
        let blind = ScanSpec { discovery: Vec::new(), ..spec("U:53") };
        assert!(matches!(Split::of(&blind).first, First::None));
        let fragile = ScanSpec { profile: Profile::OtSafe, ..spec("U:53") };
        assert!(matches!(Split::of(&fragile).first, First::None));
    }

    #[test]
    fn a_spec_is_split_once_while_it_is_in_work() {
        let (splits, first) = (Splits::default(), Arc::new(spec("U:53")));
        assert!(Arc::ptr_eq(&splits.of(&first), &splits.of(&first)));
        let others: Vec<_> = (0..9).map(|_| Arc::new(spec("U:54"))).collect();
        others.iter().for_each(|other| assert_eq!(splits.of(other).udp.ports.to_string(), "U:54"));
        assert!(splits.recent.lock().unwrap().len() <= REMEMBERED);
    }
}
