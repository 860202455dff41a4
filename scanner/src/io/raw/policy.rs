//! Whether rules lead packets another way than the tables do that the raw engine reads, or IPsec takes them.
//!
//! Rules choose tables by more than the destination: marks, interfaces, users (ip-rule(8)); VPNs and VRFs are made of them. A raw
//! packet would go past them. So where a machine has rules of its own, the kernel is asked for the route to a target of each
//! group that is routed alike, and where it takes another one, the unit is left to connections, which the kernel routes. So it is
//! where a rule looks at protocols or ports, for which no group is alike, and where an IPsec policy covers a target: a raw packet
//! would leave in the clear. Whoever may not administer the network is not told the policies.

use std::net::IpAddr;

use super::netlink::{self, PolicyEntry, RouteAsker, RouteEntry, RuleEntry, TCP};
use super::routes::{LOCAL, Network, UNICAST, first_target};
use crate::finding::NotProbed;
use crate::syn_scan::Routes;
use crate::target::TargetSet;

/// Groups that are asked about: more have only machines with a table for each of a thousand neighbours.
const ASKED_MAX: usize = 2048;

/// The rules of this machine's own.
pub(super) fn rules() -> Result<Vec<RuleEntry>, &'static str> {
    netlink::rules().map_err(|_refused| "rules of routing that cannot be read")
}

/// Fails where rules lead any group of the targets another way than `network` does, or IPsec policies would take them.
pub(super) fn check(network: &Network, targets: &TargetSet, rules: &[RuleEntry]) -> Result<(), &'static str> {
    const RULED: &str = "addresses that rules of this machine route";
    if is_guarded(network, targets, &netlink::policies().unwrap_or_default()) {
        return Err("addresses that IPsec policies of this machine cover");
    }
    if rules.is_empty() {
        return Ok(());
    }
    if rules.iter().any(|rule| rule.is_of_flows && first_target(targets, rule.to).is_some()) {
        return Err(RULED);
    }
    let asker = RouteAsker::new().map_err(|_refused| "routes that cannot be read")?;
    let of_rules =
        rules.iter().filter(|rule| rule.to.prefix_len() > 0).filter_map(|rule| first_target(targets, rule.to));
    let samples = network.samples(targets).into_iter().chain(of_rules);
    for sample in samples.take(ASKED_MAX) {
        let asked = asker.route_to(sample, TCP, None).map_err(|_refused| "routes that cannot be read")?;
        if !is_same(network, sample, asked.as_ref()) {
            return Err(RULED);
        }
    }
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
