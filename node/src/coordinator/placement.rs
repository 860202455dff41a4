//! Which worker may take which partition, and the reason where it may not. Used at admission, at grant and to explain.
//!
//! The filters come in one order: is it there, does its release go with ours, is it where the work is, does it do what it
//! gets, has it room. The first that does not hold is the reason.

use ipnet::IpNet;
use pentora_raft::command::UnitKey;
use pentora_raft::state::{Health, Needs, NodeRecord, NodeStatus, of_residency, residency_in, signer_in};
use pentora_raft::{NodeId, State};

use crate::results::choose::is_kept_in;

/// The first filter of all that `node` does not pass for these needs, but for its room, or `None`.
#[must_use]
pub fn refusal(node: &NodeRecord, site: Option<&str>, needs: &Needs, version: &str) -> Option<String> {
    let unavailable = unavailable(node).map(str::to_owned);
    unavailable.or_else(|| incompatible(node, version)).or_else(|| mismatch(node, site, needs))
}

/// The first filter that a node of the cluster does not pass, or `None`: [`refusal`], and whose orders it takes.
#[must_use]
pub fn refused(state: &State, id: NodeId, node: &NodeRecord, needs: &Needs, version: &str) -> Option<String> {
    refusal(node, state.site_of(id), needs, version).or_else(|| untrusted(state.signers(id), needs))
}

/// Why a node that says whose orders it takes alone does not take this one, or `None` where it does. It looks itself as well.
#[must_use]
pub fn untrusted(signers: Option<&[String]>, needs: &Needs) -> Option<String> {
    let signers = signers?;
    match needs.signer() {
        None => Some("it takes signed orders alone, and nobody signed this one".to_owned()),
        Some(key) if signers.iter().any(|signer| signer == key) => None,
        Some(key) => Some(format!("it does not take orders that are signed by {key}")),
    }
}

/// How a site stands among the tags that work requires: no tag of a node can be taken for one, because a node is asked for
/// its site.
const SITE: &str = "site:";

/// What work requires that is for the nodes of a site.
#[must_use]
pub fn of_site(site: &str) -> String {
    format!("{SITE}{site}")
}

/// The site that a required tag stands for, if it does.
#[must_use]
pub fn site_in(tag: &str) -> Option<&str> {
    tag.strip_prefix(SITE)
}

/// Why the release of `node` does not go with `version`, the one that plans, or `None` where it does. Releases go together
/// whose first number is the same, and while that is 0 the second as well.
#[must_use]
pub fn incompatible(node: &NodeRecord, version: &str) -> Option<String> {
    if node.info.version == version {
        return None;
    }
    let line = |text: &str| {
        let mut numbers = text.split(['.', '-', '+']).map(|part| part.parse::<u32>().ok());
        let (major, minor) = (numbers.next().flatten()?, numbers.next().flatten()?);
        Some(if major == 0 { (0, minor) } else { (major, 0) })
    };
    let (own, theirs) = (line(version)?, line(&node.info.version)?);
    (own != theirs).then(|| format!("it runs {}, which does not go with {version}", node.info.version))
}

/// Why a worker that fails what it gets rests at `now_ms`, or `None` where it does not.
#[must_use]
pub fn set_aside(health: Option<&Health>, now_ms: u64) -> Option<String> {
    let health = health.filter(|health| health.is_aside(now_ms))?;
    let seconds = health.aside_until_ms.unwrap_or(now_ms).saturating_sub(now_ms).div_ceil(1000);
    Some(format!("it is set aside for {seconds} s more, because it failed its last units: {}", health.reason))
}

/// How many leases `node` may hold of urgent work, and of other work: that leaves room for urgent work.
#[must_use]
pub fn rooms(node: &NodeRecord, max_load_thousandths: u32) -> (u32, u32) {
    let capacity = node.info.max_concurrent_scans;
    let part = (u64::from(capacity) * u64::from(max_load_thousandths)).div_ceil(1_000);
    (capacity, u32::try_from(part).unwrap_or(capacity).min(capacity))
}

/// Why `node`, which is at `site`, may not take work with these needs, or `None` where it may.
#[must_use]
pub fn mismatch(node: &NodeRecord, site: Option<&str>, needs: &Needs) -> Option<String> {
    let here = node.info.region.as_deref();
    if let Some(region) = needs.residency()
        && here != Some(region)
    {
        return Some(format!("it is in region {}, and the results stay in {region}", here.unwrap_or("(none)")));
    }
    if let Some(region) = &needs.region
        && node.info.region.as_ref() != Some(region)
    {
        return Some(format!("it is in region {}, not {region}", node.info.region.as_deref().unwrap_or("(none)")));
    }
    let missing = |tag: &&String| match site_in(tag) {
        Some(wanted) => site != Some(wanted),
        // That it is there was asked above; whose orders it takes is asked beside.
        None if residency_in(tag).is_some() || signer_in(tag).is_some() => false,
        None => !node.info.tags.contains(*tag),
    };
    if let Some(tag) = needs.required_tags.iter().find(missing) {
        return Some(match site_in(tag) {
            Some(wanted) => format!("it is at site {}, not {wanted}", site.unwrap_or("(none)")),
            None => format!("it has no tag `{tag}`"),
        });
    }
    if let Some(engine) = &needs.engine
        && !node.info.engines.contains(engine)
    {
        return Some(format!("it has no {engine} engine"));
    }
    let unreached = needs.networks.iter().find(|net| !reaches(node.info.networks.as_deref(), net));
    unreached.map(|net| match net.prefix_len() == net.max_prefix_len() {
        true => format!("it does not reach {}", net.addr()),
        false => format!("it does not reach {net}"),
    })
}

/// Why a worker may not go on with a unit that it holds, or `None` where it may: its region, its site, its tags, what it reaches and
/// whose orders it takes may be others than they were when it got it. A node that is not shown a job knows its residency alone.
#[must_use]
pub fn outgrown(state: &State, unit: &UnitKey, worker: NodeId) -> Option<String> {
    let (record, site) = (state.node(worker)?, state.site_of(worker));
    let Some(job) = state.job(unit.job) else {
        let residency = state.residency(unit.job)?;
        let needs = Needs { required_tags: vec![of_residency(residency)], ..Needs::default() };
        return mismatch(record, site, &needs);
    };
    let needs = &job.partitions.get(usize::try_from(unit.partition).ok()?)?.needs;
    mismatch(record, site, needs).or_else(|| untrusted(state.signers(worker), needs))
}

/// Why no node gets work whose results nobody would keep: they stay in a region where no member does.
#[must_use]
pub fn unkept(state: &State, needs: &Needs) -> Option<String> {
    let region = needs.residency().filter(|region| !is_kept_in(state, region))?;
    Some(format!("the results stay in {region}, and no member there keeps results"))
}

/// Why `node` gets no work at all now, or `None` where it may.
#[must_use]
pub fn unavailable(node: &NodeRecord) -> Option<&'static str> {
    match node.status {
        NodeStatus::Active | NodeStatus::Joining | NodeStatus::Stale => None,
        NodeStatus::Failed => Some("it is marked as failed"),
        NodeStatus::Left => Some("it was stopped"),
        NodeStatus::Draining => Some("it is draining"),
    }
}

/// Whether a node with this access reaches all of `net`.
#[must_use]
pub fn reaches(access: Option<&[IpNet]>, net: &IpNet) -> bool {
    access.is_none_or(|nets| nets.iter().any(|own| own.contains(net)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::command::{Command, NodeInfo, PolicyChange, Proposal, SpecRef, Submission};
    use pentora_raft::state::{FIRST_NODE, Partition, of_signer};
    use pentora_raft::{ClusterId, Digest, JobId};

    fn node(info: NodeInfo) -> NodeRecord {
        NodeRecord {
            info,
            status: NodeStatus::Active,
            draining: false,
            joined_at_ms: 0,
            started_at_ms: 0,
            changed_at_ms: 0,
        }
    }

    #[test]
    fn releases_of_one_line_go_together_and_others_are_named() {
        let runs = |version: &str| node(NodeInfo { version: version.into(), ..NodeInfo::default() });
        for (theirs, own, fits) in [
            ("0.1.0", "0.1.9", true),
            ("0.2.0", "0.1.0", false),
            ("1.2.0", "1.9.3-rc.1", true),
            ("2.0.0", "1.0.0", false),
            ("", "1.0.0", true),
        ] {
            assert_eq!(incompatible(&runs(theirs), own).is_none(), fits, "{theirs} beside {own}");
        }
        assert_eq!(incompatible(&runs("2.0.0"), "1.0.0").unwrap(), "it runs 2.0.0, which does not go with 1.0.0");
    }

    #[test]
    fn some_room_is_kept_for_urgent_work_and_a_worker_of_one_unit_takes_it_for_any() {
        let of = |max_concurrent_scans| node(NodeInfo { max_concurrent_scans, ..NodeInfo::default() });
        assert_eq!([10, 2, 1, 0].map(|capacity| rooms(&of(capacity), 800)), [(10, 8), (2, 2), (1, 1), (0, 0)]);
    }

    #[test]
    fn a_node_that_takes_signed_orders_alone_gets_those_of_its_signers_and_others_get_all() {
        let signed = |key: &str| Needs { required_tags: vec![of_signer(key)], ..Needs::default() };
        assert_eq!(mismatch(&node(NodeInfo::default()), None, &signed("a")), None, "no node needs a tag for it");
        let signers = ["a".to_owned()];
        assert_eq!(untrusted(None, &Needs::default()).or(untrusted(None, &signed("b"))), None);
        assert_eq!(untrusted(Some(&signers), &signed("a")), None);
        assert!(untrusted(Some(&signers), &signed("b")).unwrap().ends_with("signed by b"));
        assert!(untrusted(Some(&signers), &Needs::default()).unwrap().contains("nobody signed"));
        assert!(untrusted(Some(&[]), &signed("a")).is_some());
    }

    #[test]
    fn a_worker_may_not_go_on_once_its_region_its_tags_or_its_networks_are_others() {
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |state: &mut State, command| {
            index += 1;
            state.apply(index, &Proposal { at_ms: index, command });
            index
        };
        let info = NodeInfo {
            name: "a".into(),
            peer: "a".into(),
            region: Some("eu".into()),
            tags: vec!["dmz".into()],
            ..NodeInfo::default()
        };
        apply(&mut state, Command::Begin { cluster: ClusterId::default(), info, admin_token: Digest::of(&[]) });
        let needs = Needs {
            networks: vec!["10.77.0.0/16".parse().unwrap()],
            required_tags: vec!["dmz".into(), of_residency("eu")],
            ..Needs::default()
        };
        let partitions = vec![Partition { target_count: 9, needs }];
        let submission = Submission { partitions, ..Submission::plain(SpecRef::Inline(Vec::new()), 9, 1) };
        let job = JobId(apply(&mut state, Command::SubmitJob(Box::new(submission))));
        let unit = UnitKey { job, partition: 0, start: 0 };
        let mut becomes = |change: PolicyChange| {
            apply(&mut state, Command::SetPolicy { node: FIRST_NODE, change: Box::new(change) });
            outgrown(&state, &unit, FIRST_NODE)
        };
        assert_eq!(becomes(PolicyChange::default()), None);
        let region = |region: &str| PolicyChange { region: Some(region.into()), ..PolicyChange::default() };
        let left = becomes(region("us")).unwrap();
        assert_eq!(left, "it is in region us, and the results stay in eu");
        assert_eq!(becomes(region("eu")), None, "it is back");
        let tags = |tag: &str| PolicyChange { tags: Some(vec![tag.into()]), ..PolicyChange::default() };
        assert_eq!(becomes(tags("other")).unwrap(), "it has no tag `dmz`");
        assert_eq!(becomes(tags("dmz")), None);
        let networks = vec!["10.99.0.0/16".parse().unwrap()];
        let networks = becomes(PolicyChange { networks: Some(networks), ..PolicyChange::default() });
        assert_eq!(networks.unwrap(), "it does not reach 10.77.0.0/16");
        assert_eq!(outgrown(&State::default(), &unit, FIRST_NODE), None, "nothing is known");
    }

    #[test]
    fn a_node_is_refused_for_its_region_its_tags_or_its_networks_and_told_which() {
        let eu = node(NodeInfo {
            region: Some("eu".into()),
            tags: vec!["dmz".into()],
            networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
            engines: vec!["connect".into()],
            ..NodeInfo::default()
        });
        let needs = |region: Option<&str>, tag: Option<&str>, net: Option<&str>| Needs {
            region: region.map(Into::into),
            required_tags: tag.into_iter().map(Into::into).collect(),
            networks: net.into_iter().map(|net| net.parse().unwrap()).collect(),
            preferred_tags: vec!["never needed".into()],
            engine: None,
        };
        let raw = Needs { engine: Some("raw".into()), ..needs(None, None, None) };
        let mismatch = |node: &NodeRecord, needs: &Needs| super::mismatch(node, Some("berlin"), needs);
        let at = |site: &str| needs(None, Some(&of_site(site)), None);
        assert_eq!(mismatch(&eu, &at("berlin")), None);
        assert_eq!(mismatch(&eu, &at("madrid")).unwrap(), "it is at site berlin, not madrid");
        assert_eq!(super::mismatch(&eu, None, &at("madrid")).unwrap(), "it is at site (none), not madrid");
        assert_eq!(mismatch(&eu, &raw).unwrap(), "it has no raw engine");
        let stays = |region: &str| needs(None, Some(&of_residency(region)), None);
        assert_eq!(mismatch(&eu, &stays("eu")), None);
        assert_eq!(mismatch(&eu, &stays("us")).unwrap(), "it is in region eu, and the results stay in us");
        let nowhere = super::mismatch(&node(NodeInfo::default()), None, &stays("eu")).unwrap();
        assert_eq!(nowhere, "it is in region (none), and the results stay in eu");
        assert_eq!(mismatch(&eu, &needs(Some("eu"), Some("dmz"), Some("10.9.0.0/16"))), None);
        assert_eq!(mismatch(&eu, &needs(Some("us"), None, None)).unwrap(), "it is in region eu, not us");
        assert_eq!(mismatch(&eu, &needs(None, Some("prod"), None)).unwrap(), "it has no tag `prod`");
        assert_eq!(
            mismatch(&eu, &needs(None, None, Some("192.168.0.0/16"))).unwrap(),
            "it does not reach 192.168.0.0/16"
        );
        let one = mismatch(&eu, &needs(None, None, Some("192.168.0.7/32"))).unwrap();
        assert_eq!(one, "it does not reach 192.168.0.7");
        assert_eq!(mismatch(&node(NodeInfo::default()), &needs(None, None, Some("::/0"))), None);
    }
}
