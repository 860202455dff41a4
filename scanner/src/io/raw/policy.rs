//! Whether rules lead packets another way than the tables do that the raw engine reads.
//!
//! Rules choose tables by more than the destination: marks, interfaces, users (ip-rule(8)); VPNs and VRFs are made of them. A raw
//! packet would go past them. So where a machine has rules of its own, the kernel is asked for the route to a target of each
//! group that is routed alike, and where it takes another one, the unit is left to connections, which the kernel routes.

use std::net::IpAddr;

use super::netlink::{self, RouteEntry};
use super::routes::{LOCAL, Network, first_target};
use crate::syn_scan::Routes;
use crate::target::TargetSet;

/// Groups that are asked about: more have only machines with a table for each of a thousand neighbours.
const ASKED_MAX: usize = 2048;

/// Fails where rules lead any group of the targets another way than `network` does.
pub(super) fn check(network: &Network, targets: &TargetSet) -> Result<(), &'static str> {
    let rules = netlink::rules().map_err(|_refused| "rules of routing that cannot be read")?;
    if rules.is_empty() {
        return Ok(());
    }
    let of_rules = rules.iter().filter_map(|rule| first_target(targets, rule.to?));
    let samples = network.samples(targets).into_iter().chain(of_rules);
    for sample in samples.take(ASKED_MAX) {
        let asked = netlink::route_to(sample).map_err(|_refused| "routes that cannot be read")?;
        if !is_same(network, sample, asked.as_ref()) {
            return Err("addresses that rules of this machine route");
        }
    }
    Ok(())
}

/// Whether the kernel's route to an address is the one that raw packets would take.
fn is_same(network: &Network, address: IpAddr, asked: Option<&RouteEntry>) -> bool {
    let own = network.table.way(address).ok();
    let own = own.and_then(|way| Some((way, network.links.get(usize::from(way.link))?)));
    match (own, asked) {
        (None, None) => true,
        // A route that refuses, or over an interface that is down: nothing is sent raw there.
        (None, Some(_)) => network.is_refused(address),
        (Some(_), None) => false,
        (Some((_, link)), Some(asked)) if link.is_local || asked.kind == LOCAL => link.is_local && asked.kind == LOCAL,
        (Some((way, link)), Some(asked)) => link.interface == asked.interface && way.gateway == asked.gateway,
    }
}
