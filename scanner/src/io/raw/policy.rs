//! Whether rules lead packets another way than the tables do that the raw engine reads, or IPsec takes them.
//!
//! Rules choose tables by more than the destination: marks, interfaces, users (ip-rule(8)); VPNs and VRFs are made of them. A raw
//! packet would go past them. So where a machine has rules of its own, the kernel is asked for the route to a target of each
//! group that is routed alike, and where it takes another one, the unit is left to connections, which the kernel routes. So it is
//! where a rule looks at protocols or ports, for which no group is alike, and where an IPsec policy covers a target: a raw packet
//! would leave in the clear. Whoever may not administer the network is not told the policies. Where there are to be raw packets alone,
//! groups that rules or policies take another way are left out instead.

use std::cmp::Reverse;
use std::net::IpAddr;

use ipnet::IpNet;

use super::netlink::{self, PolicyEntry, RouteAsker, RouteEntry, RuleEntry, TCP};
use super::routes::{LOCAL, Network, Route, UNICAST, first_target};
use crate::finding::NotProbed;
use crate::syn_scan::Routes;
use crate::target::TargetSet;

/// Groups that are asked about: more have only machines with a table for each of a thousand neighbours.
const ASKED_MAX: usize = 2048;

const RULED: &str = "addresses that rules of this machine route";
const GUARDED: &str = "addresses that IPsec policies of this machine cover";
const UNREADABLE: &str = "routes that cannot be read";

/// The rules of this machine's own.
pub(super) fn rules() -> Result<Vec<RuleEntry>, &'static str> {
    netlink::rules().map_err(|_refused| "rules of routing that cannot be read")
}

/// Fails where rules lead any group of the targets another way than `network` does, or IPsec policies would take them.
pub(super) fn check(network: &Network, targets: &TargetSet, rules: &[RuleEntry]) -> Result<(), &'static str> {
    if is_guarded(network, targets, &netlink::policies().unwrap_or_default()) {
        return Err(GUARDED);
    }
    if rules.is_empty() {
        return Ok(());
    }
    if rules.iter().any(|rule| rule.is_of_flows && first_target(targets, rule.to).is_some()) {
        return Err(RULED);
    }
    let asker = RouteAsker::new().map_err(|_refused| UNREADABLE)?;
    let of_rules =
        rules.iter().filter(|rule| rule.to.prefix_len() > 0).filter_map(|rule| first_target(targets, rule.to));
    let samples = network.samples(targets).into_iter().chain(of_rules);
    for sample in samples.take(ASKED_MAX) {
        let asked = asker.route_to(sample, TCP, None).map_err(|_refused| UNREADABLE)?;
        if !is_same(network, sample, asked.as_ref()) {
            return Err(RULED);
        }
    }
    Ok(())
}

/// Leaves out the groups of the targets that [`check`] would fail for. A group is what no route, rule or policy divides.
pub(super) fn leave_out(network: &mut Network, targets: &TargetSet, rules: &[RuleEntry]) -> Result<(), &'static str> {
    let mut policies = netlink::policies().unwrap_or_default();
    policies.retain(|policy| is_guarded(network, targets, std::slice::from_ref(policy)));
    if rules.is_empty() && policies.is_empty() {
        return Ok(());
    }
    let of_rules = rules.iter().map(|rule| rule.to).filter(|to| to.prefix_len() > 0);
    let of_routes = network.table.routes.iter().map(|route| route.to);
    let mut nets: Vec<IpNet> = of_rules.chain(of_routes).chain(policies.iter().map(|policy| policy.to)).collect();
    nets.sort_by_key(|net| (Reverse(net.prefix_len()), *net));
    nets.dedup();
    let asker = RouteAsker::new().map_err(|_refused| UNREADABLE)?;
    let (mut left, mut routes) = (targets.clone(), Vec::new());
    for (number, to) in nets.into_iter().enumerate() {
        let Some(sample) = first_target(&left, to) else { continue };
        left = left.subtract_nets(&[to]);
        let is_of_flows = rules.iter().any(|rule| rule.is_of_flows && rule.to.contains(&sample));
        let goes_as_asked = || match rules.is_empty() || number >= ASKED_MAX {
            true => Ok(true),
            false => asker.route_to(sample, TCP, None).map(|asked| is_same(network, sample, asked.as_ref())),
        };
        let why = if policies.iter().any(|policy| policy.to.contains(&sample)) {
            Some(GUARDED)
        } else {
            let is_own = !is_of_flows && goes_as_asked().map_err(|_refused| UNREADABLE)?;
            (!is_own).then_some(RULED)
        };
        let way = match why {
            Some(why) => network.leave_out(why),
            None => network.table.way(sample),
        };
        routes.push(Route { to, way });
    }
    network.table.routes = routes;
    Ok(())
}

/// Whether a policy is about packets from an address of `network` to a target.
fn is_guarded(network: &Network, targets: &TargetSet, policies: &[PolicyEntry]) -> bool {
    let is_from_here = |from: &ipnet::IpNet| network.links.iter().any(|link| from.contains(&link.from));
    policies.iter().any(|policy| is_from_here(&policy.from) && first_target(targets, policy.to).is_some())
}

/// Whether the kernel's route to an address is the one that raw packets would take.
fn is_same(network: &Network, address: IpAddr, asked: Option<&RouteEntry>) -> bool {
    let own = network.table.way(address).ok();
    let own = own.and_then(|way| Some((way, network.links.get(usize::from(way.link))?)));
    match (own, asked) {
        (None, None) => true,
        // A route to a group, or over an interface that is down: nothing is sent raw there.
        (None, Some(asked)) => {
            let leads_somewhere = matches!(asked.kind, UNICAST | LOCAL);
            let is_down = network.table.way(address) == Err(NotProbed::InterfaceDown);
            network.is_refused(address) && (is_down || !leads_somewhere)
        }
        (Some(_), None) => false,
        (Some((_, link)), Some(asked)) if link.is_local || asked.kind == LOCAL => link.is_local && asked.kind == LOCAL,
        (Some((way, link)), Some(asked)) => link.interface == asked.interface && way.gateway == asked.gateway,
    }
}
