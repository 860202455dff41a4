//! One host being scanned: where it stands and which of its ports are settled.

use std::net::IpAddr;
use std::sync::Arc;

use crate::finding::{Finding, Observation, Reason};
use crate::scan::PortBits;
use crate::scan::middlebox::Trial;

/// A host from its first probe to its last.
#[derive(Debug)]
pub(super) struct Host {
    /// The target's index in its partition.
    pub(super) target_index: u64,
    pub(super) address: IpAddr,
    /// The name that the address was resolved from.
    pub(super) name: Option<Arc<str>>,
    pub(super) phase: HostPhase,
    /// The next step of its walk through the ports.
    pub(super) step: u32,
    /// How many of the discovery probes were sent.
    pub(super) discovery_sent: usize,
    /// Probes in flight or waiting to be sent again, and banners being read.
    pub(super) pending: u32,
    /// Whether it waits in line for its next probe.
    pub(super) queued: bool,
    /// How it is known to be up, once it is.
    pub(super) up: Option<Reason>,
    /// Ports that answered for themselves.
    pub(super) answered: PortBits,
    /// Ports about which something on the way said that they cannot be reached.
    pub(super) unreachable: Vec<(Reason, PortBits)>,
    /// Ports that answered, by what they said.
    pub(super) opened: u32,
    pub(super) closed: u32,
    /// The test whether it answers on everything, once it has begun.
    pub(super) trial: Option<Trial>,
}

/// How far a host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostPhase {
    /// Its name is being resolved; it has no address yet.
    Resolving,
    /// A few probes ask whether it is there at all.
    Discovery,
    /// All its ports are asked.
    Ports,
}

impl Host {
    pub(super) fn new(target_index: u64, address: IpAddr, phase: HostPhase) -> Self {
        Self {
            target_index,
            address,
            name: None,
            phase,
            step: 0,
            discovery_sent: 0,
            pending: 0,
            queued: false,
            up: None,
            answered: PortBits::default(),
            unreachable: Vec::new(),
            opened: 0,
            closed: 0,
            trial: None,
        }
    }

    /// Something seen of this host.
    pub(super) fn finding(&self, observation: Observation) -> Finding {
        let Self { target_index, address, ref name, .. } = *self;
        Finding { target_index, address, name: name.clone(), observation }
    }

    /// Notes that something on the way answered for a port.
    pub(super) fn mark_unreachable(&mut self, position: u32, reason: Reason) {
        if let Some((_, ports)) = self.unreachable.iter_mut().find(|(known, _)| *known == reason) {
            ports.set(position);
            return;
        }
        let mut ports = PortBits::default();
        ports.set(position);
        self.unreachable.push((reason, ports));
    }

    /// Whether anything at all has been heard about a port.
    pub(super) fn has_heard_of(&self, position: u32) -> bool {
        self.answered.has(position) || self.unreachable.iter().any(|(_, ports)| ports.has(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_ports_are_kept_by_reason() {
        let mut host = Host::new(0, "10.0.0.1".parse().unwrap(), HostPhase::Ports);
        host.mark_unreachable(3, Reason::HostUnreach);
        host.mark_unreachable(4, Reason::AdminProhibited);
        host.mark_unreachable(5, Reason::HostUnreach);
        assert_eq!(host.unreachable.len(), 2);
        assert!(host.has_heard_of(5) && !host.has_heard_of(6));
    }
}
