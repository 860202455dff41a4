//! Which worker may take which partition, and the reason where it may not. Used at admission, at grant and to explain.

use ipnet::IpNet;
use pentora_raft::state::{Needs, NodeRecord, NodeStatus};

/// Why `node` may not take work with these needs, or `None` where it may.
#[must_use]
pub fn mismatch(node: &NodeRecord, needs: &Needs) -> Option<String> {
    if let Some(region) = &needs.region
        && node.info.region.as_ref() != Some(region)
    {
        return Some(format!("it is in region {}, not {region}", node.info.region.as_deref().unwrap_or("(none)")));
    }
    if let Some(tag) = needs.required_tags.iter().find(|tag| !node.info.tags.contains(tag)) {
        return Some(format!("it has no tag `{tag}`"));
    }
    if let Some(engine) = &needs.engine
        && !node.info.engines.contains(engine)
    {
        return Some(format!("it has no {engine} engine"));
    }
    let unreached = needs.networks.iter().find(|net| !reaches(node.info.networks.as_deref(), net));
    unreached.map(|net| format!("it does not reach {net}"))
}

/// Why `node` gets no work at all now, or `None` where it may.
#[must_use]
pub fn unavailable(node: &NodeRecord) -> Option<&'static str> {
    match node.status {
        NodeStatus::Active | NodeStatus::Joining | NodeStatus::Stale => None,
        NodeStatus::Failed => Some("it is marked as failed"),
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
    use pentora_raft::command::NodeInfo;

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
        assert_eq!(mismatch(&eu, &raw).unwrap(), "it has no raw engine");
        assert_eq!(mismatch(&eu, &needs(Some("eu"), Some("dmz"), Some("10.9.0.0/16"))), None);
        assert_eq!(mismatch(&eu, &needs(Some("us"), None, None)).unwrap(), "it is in region eu, not us");
        assert_eq!(mismatch(&eu, &needs(None, Some("prod"), None)).unwrap(), "it has no tag `prod`");
        assert_eq!(
            mismatch(&eu, &needs(None, None, Some("192.168.0.0/16"))).unwrap(),
            "it does not reach 192.168.0.0/16"
        );
        assert_eq!(mismatch(&node(NodeInfo::default()), &needs(None, None, Some("::/0"))), None);
    }
}
