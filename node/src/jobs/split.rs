//! Splits targets by who reaches them: targets that the same nodes reach are one part, whatever their networks.
//!
//! What one node is limited to is looked at with the most specific networks first, so that each address is in one part.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use pentora_raft::state::{Needs, of_residency, of_signer};
use pentora_raft::{NodeId, State};
use pentora_scanner::spec::EngineChoice;
use pentora_scanner::target::{TargetError, TargetSet};

use crate::coordinator::placement;
use crate::document::ScanRequest;

/// Networks that a job is split by, at most; a cluster with more is served by its most specific ones.
const NETWORKS_MAX: usize = 128;
/// Networks that name what no node's limits name; with more it is everything.
const REST_NETWORKS_MAX: usize = 8;

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
    if !rest.is_empty() {
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

/// The networks of targets that no node is limited to, for the reason that names them; everything where they are many.
fn networks_of(targets: &TargetSet) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = Vec::new();
    for range in targets.ranges() {
        let room = (REST_NETWORKS_MAX + 1).saturating_sub(nets.len());
        match (range.first, range.last) {
            (std::net::IpAddr::V4(first), std::net::IpAddr::V4(last)) => {
                nets.extend(Ipv4Subnets::new(first, last, 0).take(room).map(IpNet::V4));
            }
            (std::net::IpAddr::V6(first), std::net::IpAddr::V6(last)) => {
                nets.extend(Ipv6Subnets::new(first, last, 0).take(room).map(IpNet::V6));
            }
            _ => {}
        }
        if nets.len() > REST_NETWORKS_MAX {
            let has = |v4: bool| {
                nets.iter().any(|net| net.addr().is_ipv4() == v4)
                    || targets.ranges().any(|range| range.first.is_ipv4() == v4)
            };
            let everything = [(has(true), "0.0.0.0/0"), (has(false), "::/0")];
            return everything.iter().filter(|(there, _)| *there).filter_map(|(_, net)| net.parse().ok()).collect();
        }
    }
    nets
}
