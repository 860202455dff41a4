//! What was heard of a host's TCP ports, by their places in the port set.

use super::PortBits;
use crate::finding::Reason;
use crate::plan::Plan;
use crate::port::PortSet;

/// The ports of one host of which something was heard.
#[derive(Debug, Default)]
pub(crate) struct HeardPorts {
    /// Those that answered for themselves.
    answered: PortBits,
    /// Those about which something on the way said that they cannot be reached.
    unreachable: Vec<Unreachable>,
}

#[derive(Debug)]
struct Unreachable {
    reason: Reason,
    ports: PortBits,
}

/// Ports that have not answered for themselves, for one reason.
#[derive(Debug, PartialEq)]
pub(crate) struct Unanswered {
    pub(crate) reason: Reason,
    pub(crate) ports: PortSet,
}

impl HeardPorts {
    /// Whether a port has answered for itself.
    pub(crate) fn has_answered(&self, position: u32) -> bool {
        self.answered.has(position)
    }

    /// Notes that a port has answered for itself.
    pub(crate) fn mark_answered(&mut self, position: u32) {
        self.answered.set(position);
    }

    /// How many have.
    pub(crate) fn answer_count(&self) -> u32 {
        self.answered.len()
    }

    /// Notes that something on the way answered for a port.
    pub(crate) fn mark_unreachable(&mut self, position: u32, reason: Reason) {
        if let Some(known) = self.unreachable.iter_mut().find(|known| known.reason == reason) {
            known.ports.set(position);
            return;
        }
        let mut ports = PortBits::default();
        ports.set(position);
        self.unreachable.push(Unreachable { reason, ports });
    }

    /// Whether anything at all has been heard of a port.
    pub(crate) fn knows(&self, position: u32) -> bool {
        self.answered.has(position) || self.unreachable.iter().any(|known| known.ports.has(position))
    }

    /// Those of the first `count` ports of a plan that cannot be reached, by reason.
    pub(crate) fn unreachable<'a>(&'a self, plan: &'a Plan, count: u32) -> impl Iterator<Item = Unanswered> + 'a {
        self.unreachable.iter().map(move |Unreachable { reason, ports }| {
            let is_told = |position| ports.has(position) && !self.answered.has(position);
            Unanswered { reason: *reason, ports: ports_where(plan, count, is_told) }
        })
    }

    /// Those of the first `count` ports of a plan of which nothing was heard; of a target that has stopped answering, those alone that
    /// were asked in so many first steps of its walk.
    pub(crate) fn silent(&self, plan: &Plan, count: u32, settled: Option<(u64, u32)>) -> Unanswered {
        let mut asked = PortBits::default();
        if let Some((index, steps)) = settled {
            let walk = (0..steps.min(plan.port_count())).filter_map(|step| plan.port_position(index, step));
            walk.for_each(|position| asked.set(position));
        }
        let is_settled = |position| settled.is_none() || asked.has(position);
        let ports = ports_where(plan, count, |position| !self.knows(position) && is_settled(position));
        Unanswered { reason: Reason::NoResponse, ports }
    }
}

fn ports_where(plan: &Plan, count: u32, wanted: impl Fn(u32) -> bool) -> PortSet {
    (0..count).filter(|position| wanted(*position)).filter_map(|at| plan.port(at)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::ScanSpec;

    #[test]
    fn unreachable_ports_are_kept_by_reason_and_an_answer_takes_them_out() {
        let mut heard = HeardPorts::default();
        heard.mark_unreachable(3, Reason::HostUnreach);
        heard.mark_unreachable(4, Reason::AdminProhibited);
        heard.mark_unreachable(5, Reason::HostUnreach);
        heard.mark_answered(5);
        heard.mark_answered(0);
        assert!(heard.knows(4) && !heard.knows(6));
        assert!(heard.has_answered(5) && !heard.has_answered(4));
        let spec = ScanSpec {
            partitions: vec!["10.0.0.1".parse().unwrap()],
            ports: "20-29".parse().unwrap(),
            ..ScanSpec::default()
        };
        let plan = Plan::new(Arc::new(spec), 0).unwrap();
        let unanswered = |reason, ports: &str| Unanswered { reason, ports: ports.parse().unwrap() };
        let unreachable: Vec<Unanswered> = heard.unreachable(&plan, 10).collect();
        assert_eq!(unreachable, [unanswered(Reason::HostUnreach, "23"), unanswered(Reason::AdminProhibited, "24")]);
        assert_eq!(heard.silent(&plan, 8, None), unanswered(Reason::NoResponse, "21,22,26,27"));
        let first: PortSet = (0..5).filter_map(|step| plan.port(plan.port_position(0, step)?)).collect();
        let told = heard.silent(&plan, 10, Some((0, 5))).ports;
        assert!(!told.is_empty() && told.iter().all(|port| first.contains(port)), "of the first five that were asked");
        assert!(heard.silent(&plan, 10, Some((0, 0))).ports.is_empty());
    }
}
