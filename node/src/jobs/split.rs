//! Splits targets by who reaches them: targets that the same nodes reach are one part, whatever their networks.
//!
//! What one node is limited to is looked at with the most specific networks first, so that each address is in one part.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use pentora_raft::state::{Needs, of_residency, of_signer};
use pentora_raft::{NodeId, State};
use pentora_scanner::spec::EngineChoice;
use pentora_scanner::target::{TargetError, TargetSet};

use crate::coordinator::placement;
use crate::document::ScanRequest;

/// Networks that a job is split by, at most; a cluster with more is served by its most specific ones.
const NETWORKS_MAX: usize = 128;
/// Networks that name what no node's limits name; with more, wider ones that cover them do.
const REST_NETWORKS_MAX: usize = 8;
/// Parts of what nobody reaches yet, at most, of each family: each waits for somebody who reaches it.
const WAITING_PARTS_MAX: usize = 16;

/// A part of a job's targets, and what it needs of a worker.
pub(super) type SplitPart = (TargetSet, Needs);

/// The networks that each node is limited to; `None` for no limit.
#[derive(Debug, Default)]
pub(super) struct Reach(Vec<(NodeId, Option<Vec<IpNet>>)>);

impl Reach {
    pub(super) fn of(state: &State) -> Self {
        Self(state.nodes().map(|(id, node)| (id, node.info.networks.clone())).collect())
    }

    /// The networks that nodes are limited to, most specific first.
    fn limits(&self) -> Vec<IpNet> {
        let nets: BTreeSet<IpNet> = self.0.iter().filter_map(|(_, nets)| nets.as_ref()).flatten().copied().collect();
        let mut nets: Vec<IpNet> = nets.into_iter().collect();
        nets.sort_by_key(|net| std::cmp::Reverse(net.prefix_len()));
        nets.truncate(NETWORKS_MAX);
        nets
    }

    /// The nodes that reach all of `net`.
    fn nodes(&self, net: &IpNet) -> BTreeSet<NodeId> {
        let reaching = self.0.iter().filter(|(_, nets)| placement::reaches(nets.as_deref(), net));
        reaching.map(|(id, _)| *id).collect()
    }

    fn is_limited(&self) -> bool {
        self.0.iter().any(|(_, nets)| nets.is_some())
    }

    fn has_only_limited(&self) -> bool {
        self.0.iter().all(|(_, nets)| nets.is_some())
    }
}

/// The parts of `targets`, in the order of their most specific network.
///
/// # Errors
/// Never for targets that were a set before; the type says so for any.
pub(super) fn split(
    targets: &TargetSet,
    request: &ScanRequest,
    site: Option<&str>,
    engine: EngineChoice,
    reach: &Reach,
) -> Result<Vec<SplitPart>, TargetError> {
    let stays = request.residency.as_deref().map(of_residency);
    let own = request.require_worker_tags.iter().cloned();
    let signed = request.order.as_ref().map(|order| of_signer(&order.key));
    let required_tags: Vec<String> = own.chain(site.map(placement::of_site)).chain(stays).chain(signed).collect();
    let needs = |networks: Vec<IpNet>| Needs {
        networks,
        region: request.region.clone().or_else(|| request.residency.clone()),
        required_tags: required_tags.clone(),
        preferred_tags: request.worker_tags.clone(),
        engine: (engine == EngineChoice::Raw).then(|| engine.to_string()),
    };
    let mut groups: Vec<(BTreeSet<NodeId>, Vec<TargetSet>, Vec<IpNet>)> = Vec::new();
    let mut places: BTreeMap<BTreeSet<NodeId>, usize> = BTreeMap::new();
    let mut rest = targets.clone();
    for net in reach.limits() {
        let part = rest.intersect_nets(&[net]);
        if part.is_empty() {
            continue;
        }
        rest = rest.subtract_nets(&[net]);
        let nodes = reach.nodes(&net);
        let at = *places.entry(nodes.clone()).or_insert(groups.len());
        if at == groups.len() {
            groups.push((nodes, Vec::new(), Vec::new()));
        }
        if let Some((_, parts, nets)) = groups.get_mut(at) {
            parts.push(part);
            nets.push(net);
        }
    }
    let mut split = Vec::new();
    for (_, parts, nets) in groups {
        split.push((joined(parts)?, needs(nets)));
    }
    let (rest, apart) = rest.apart();
    if !rest.is_empty() && request.wait_for_worker && reach.has_only_limited() {
        // Who comes may reach any part of it.
        for net in covering(&rest, WAITING_PARTS_MAX) {
            let part = rest.intersect_nets(&[net]);
            let networks = networks_of(&part);
            split.push((part, needs(networks)));
        }
    } else if !rest.is_empty() {
        let networks = if reach.is_limited() { networks_of(&rest) } else { Vec::new() };
        split.push((rest, needs(networks)));
    }
    // Apart, since only connections suit them: addresses beside them are scanned as fast as if they were alone.
    if !apart.is_empty() {
        split.push((apart, needs(Vec::new())));
    }
    Ok(split)
}

fn joined(mut parts: Vec<TargetSet>) -> Result<TargetSet, TargetError> {
    match parts.len() {
        1 => Ok(parts.swap_remove(0)),
        _ => {
            let mut set = TargetSet::builder();
            parts.iter().for_each(|part| set.add_set(part));
            set.build()
        }
    }
}

/// The same needs, with the networks of the targets themselves where a worker has to reach any and they are few.
pub(super) fn as_asked(targets: &TargetSet, needs: &Needs) -> Needs {
    let own = networks_of(targets);
    let is_few = !own.is_empty() && own.iter().all(|net| net.prefix_len() > 0);
    match needs.networks.is_empty() || !is_few {
        true => needs.clone(),
        false => Needs { networks: own, ..needs.clone() },
    }
}

/// The networks of targets that no node is limited to; where they are many, wider ones that cover them.
fn networks_of(targets: &TargetSet) -> Vec<IpNet> {
    let exact = exact(targets, REST_NETWORKS_MAX);
    if !exact.is_empty() {
        return exact;
    }
    let one = covering(targets, 1);
    // Of one that covers nearly everything nobody learns what is missing.
    if one.iter().all(|net| net.prefix_len() >= 8) { one } else { covering(targets, REST_NETWORKS_MAX) }
}

/// The networks that make up the targets; none where they are more than `most`.
fn exact(targets: &TargetSet, most: usize) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = Vec::new();
    for range in targets.ranges() {
        let room = (most + 1).saturating_sub(nets.len());
        match (range.first, range.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                nets.extend(Ipv4Subnets::new(first, last, 0).take(room).map(IpNet::V4));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                nets.extend(Ipv6Subnets::new(first, last, 0).take(room).map(IpNet::V6));
            }
            _ => {}
        }
        if nets.len() > most {
            return Vec::new();
        }
    }
    nets
}

/// Networks of which each target is in one, at most `most` of each family: those that make them up, or as narrow as so few can be.
fn covering(targets: &TargetSet, most: usize) -> Vec<IpNet> {
    let exact = exact(targets, most);
    if !exact.is_empty() {
        return exact;
    }
    let (v4, v6): (Vec<_>, Vec<_>) =
        targets.ranges().map(|range| (range.first, range.last)).partition(|(first, _)| first.is_ipv4());
    [(v4, 32), (v6, 128)].iter().flat_map(|(ranges, bits)| covering_of(ranges, *bits, most)).collect()
}

/// The same of ranges of one family, whose addresses have so many bits.
fn covering_of(ranges: &[(IpAddr, IpAddr)], bits: u8, most: usize) -> Vec<IpNet> {
    // The narrowest blocks that are few enough: the wider they are, the fewer.
    let (mut wide, mut narrow) = (0, bits);
    while wide < narrow {
        let middle = (wide + narrow).div_ceil(2);
        match blocks(ranges, middle, most) {
            Some(_) => wide = middle,
            None => narrow = middle - 1,
        }
    }
    let of_block = |(first, last): (IpAddr, IpAddr)| {
        let same = (0..=bits).rev().find(|prefix| block(first, *prefix) == block(last, *prefix))?;
        Some(IpNet::new(first, same).ok()?.trunc())
    };
    blocks(ranges, wide, most).into_iter().flatten().filter_map(of_block).collect()
}

/// The first and last address of the ranges in each block of a prefix's length; `None` where more than `most` blocks have any.
fn blocks(ranges: &[(IpAddr, IpAddr)], prefix: u8, most: usize) -> Option<Vec<(IpAddr, IpAddr)>> {
    let mut blocks: Vec<(IpAddr, IpAddr)> = Vec::new();
    for (first, last) in ranges {
        let mut from = *first;
        loop {
            let net = block(from, prefix)?;
            let to = net.broadcast().min(*last);
            match blocks.last_mut().filter(|(known, _)| net.contains(known)) {
                Some(known) => known.1 = to,
                None => blocks.push((from, to)),
            }
            if blocks.len() > most {
                return None;
            }
            if to == *last {
                break;
            }
            from = after(to);
        }
    }
    Some(blocks)
}

/// The block of a prefix's length that an address is in.
fn block(address: IpAddr, prefix: u8) -> Option<IpNet> {
    Some(IpNet::new(address, prefix).ok()?.trunc())
}

/// The next address; none follows the last one, of which this is not asked.
fn after(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits().saturating_add(1))),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits().saturating_add(1))),
    }
}

#[cfg(test)]
mod tests {
    use pentora_scanner::target::parse_targets;

    use super::*;

    fn covered(targets: &str, most: usize) -> Vec<String> {
        covering(&parse_targets(targets, "test").unwrap(), most).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn targets_are_covered_by_few_networks_that_are_as_narrow_as_can_be() {
        assert_eq!(covered("10.50.0.0/28,10.60.0.0/28", 16), ["10.50.0.0/28", "10.60.0.0/28"]);
        assert_eq!(covered("10.50.0.0/28,10.60.0.0/28", 1), ["10.48.0.0/12"]);
        let single: String = (0..40).map(|host| format!("10.1.{host}.7,")).collect::<String>() + "192.168.5.5";
        assert_eq!(covered(&single, 2), ["10.1.0.0/18", "192.168.5.5/32"]);
        assert_eq!(covered("0.0.0.1-255.255.255.254", 1), ["0.0.0.0/0"]);
        let both = covered("10.0.0.1-6,2001:db8::1-2001:db8::fffe", 1);
        assert_eq!(both, ["10.0.0.0/29", "2001:db8::/112"]);
        assert_eq!(covered("255.255.255.250-255.255.255.255", 8), ["255.255.255.250/31", "255.255.255.252/30"]);
    }
}
