//! What commands say of nodes: what a node says of itself, what the cluster lets it be, and the tokens that carry that.
//!
//! **Invariant: a node's word only narrows.** What holds of a node is [`NodePolicy::narrow`] of its policy and its node
//! info, whenever either changes.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Author;
use crate::id::{Digest, NodeId, TokenId};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Unique in the cluster.
    pub name: String,
    /// Its mesh identity, as text.
    pub peer: String,
    /// Mesh addresses `host:port` under which others may dial it; empty for a node that only dials out.
    pub addresses: Vec<String>,
    /// The release it runs.
    pub version: String,
    /// Where it is.
    pub region: Option<String>,
    /// What it may be chosen by.
    pub tags: Vec<String>,
    /// The networks it reaches; `None` for whatever its routes reach.
    pub networks: Option<Vec<IpNet>>,
    /// How many leases it takes at once.
    pub max_concurrent_scans: u32,
    /// The largest unit it takes, in targets.
    pub max_targets_per_scan: u64,
    /// Whether it may vote.
    pub role: NodeRole,
    /// The kinds of engine it has, as words that a partition's needs may name.
    pub engines: Vec<String>,
}

/// What a node may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NodeRole {
    /// A voter or a standby, as the autopilot sees fit.
    #[default]
    Auto,
    /// Scans, and never votes.
    Scanner,
}

/// A step of a node out of the log, or back into it; `state/log_places.rs` says why there are steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogStep {
    /// The node says that it has given up its log, though it holds as a member.
    GiveUp,
    /// The leader says that the group does not count on the node any more.
    Out {
        /// The log index since which it is to give up its log.
        since: u64,
    },
    /// The node says that it has no log, and is there to begin one as a member.
    Back {
        /// The log index since which it was to give up its log.
        since: u64,
    },
}

/// A join token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// The public half.
    pub token: TokenId,
    /// Digest of the secret half.
    pub secret: Digest,
    /// The node name it is for.
    pub name: String,
    /// How long it lasts, in milliseconds of the log's clock.
    pub ttl_ms: u64,
    /// How many nodes may use it.
    pub uses: u32,
    /// The role it allows.
    pub role: NodeRole,
    /// The region it puts a node in, overriding the node's own word.
    pub region: Option<String>,
    /// The networks it limits a node to.
    pub networks: Option<Vec<IpNet>>,
}

/// The cluster's word about a node: given by its token, changed by an administrator, never by the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePolicy {
    /// The most it may become.
    pub role: NodeRole,
    /// Whether it is wanted among the voters.
    pub voting: Voting,
    /// The region it is in, in place of what it says.
    pub region: Option<String>,
    /// The site it is at. A node says none of itself.
    pub site: Option<String>,
    /// The networks it may scan; what it says it reaches counts within them.
    pub networks: Option<Vec<IpNet>>,
    /// What it may be chosen by, in place of what it says.
    pub tags: Option<Vec<String>>,
    /// Whether it comes and goes: it never votes, and is forgotten soon after it went.
    pub ephemeral: bool,
    /// Whether results may be kept on it for others.
    pub keeps_results: bool,
}

impl Default for NodePolicy {
    /// No limit.
    fn default() -> Self {
        Self {
            role: NodeRole::Auto,
            voting: Voting::AsNeeded,
            region: None,
            site: None,
            networks: None,
            tags: None,
            ephemeral: false,
            keeps_results: true,
        }
    }
}

/// Whether a node is wanted among the voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Voting {
    /// As the autopilot sees fit.
    #[default]
    AsNeeded,
    /// Before others.
    Preferred,
    /// Never.
    Never,
}

/// What is changed of a [`NodePolicy`]; what is `None` stays. An empty text or list takes a limit away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The most it may become.
    pub role: Option<NodeRole>,
    /// Whether it is wanted among the voters.
    pub voting: Option<Voting>,
    /// The region it is in.
    pub region: Option<String>,
    /// The site it is at.
    pub site: Option<String>,
    /// The networks it may scan.
    pub networks: Option<Vec<IpNet>>,
    /// What it may be chosen by.
    pub tags: Option<Vec<String>>,
    /// Whether it comes and goes.
    pub ephemeral: Option<bool>,
    /// Whether results may be kept on it for others.
    pub keeps_results: Option<bool>,
}

/// A join token to be made, with all that it allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrant {
    /// The public half.
    pub token: TokenId,
    /// The key that a joiner's proof is verified with. Whoever reads it can verify a proof and make none.
    pub key: Digest,
    /// What it is called in lists.
    pub name: String,
    /// How long it lasts, in milliseconds of the log's clock.
    pub ttl_ms: u64,
    /// How many nodes may use it.
    pub uses: u32,
    /// What the nodes that use it may be.
    pub policy: NodePolicy,
    /// Who makes it: the name of the access token that was shown.
    pub by: String,
}

impl NodePolicy {
    /// What holds of a node that says `info` of itself: never more than the policy lets it be, whatever it says.
    #[must_use]
    pub fn narrow(&self, info: &NodeInfo) -> NodeInfo {
        let scanner = [self.role, info.role].contains(&NodeRole::Scanner);
        NodeInfo {
            role: if scanner { NodeRole::Scanner } else { NodeRole::Auto },
            region: self.region.clone().or_else(|| info.region.clone()),
            tags: self.tags.clone().unwrap_or_else(|| info.tags.clone()),
            networks: match (&self.networks, &info.networks) {
                (Some(allowed), reached) => Some(common(allowed, reached.as_ref().unwrap_or(allowed))),
                (None, reached) => reached.clone(),
            },
            ..info.clone()
        }
    }

    /// The policy after a change.
    #[must_use]
    pub fn changed(&self, change: &PolicyChange) -> Self {
        fn text(now: &Option<String>, change: &Option<String>) -> Option<String> {
            change.clone().map_or_else(|| now.clone(), |text| (!text.is_empty()).then_some(text))
        }
        fn list<T: Clone>(now: &Option<Vec<T>>, change: &Option<Vec<T>>) -> Option<Vec<T>> {
            change.clone().map_or_else(|| now.clone(), |list| (!list.is_empty()).then_some(list))
        }
        Self {
            role: change.role.unwrap_or(self.role),
            voting: change.voting.unwrap_or(self.voting),
            region: text(&self.region, &change.region),
            site: text(&self.site, &change.site),
            networks: list(&self.networks, &change.networks),
            tags: list(&self.tags, &change.tags),
            ephemeral: change.ephemeral.unwrap_or(self.ephemeral),
            keeps_results: change.keeps_results.unwrap_or(self.keeps_results),
        }
    }
}

/// What two sets of networks have in common. Of two networks that meet, one holds the other whole.
fn common(one: &[IpNet], other: &[IpNet]) -> Vec<IpNet> {
    let (one, other): (BTreeSet<IpNet>, BTreeSet<IpNet>) =
        (one.iter().map(IpNet::trunc).collect(), other.iter().map(IpNet::trunc).collect());
    let held = |net: &IpNet, by: &BTreeSet<IpNet>| {
        (0..=net.prefix_len()).any(|length| IpNet::new(net.addr(), length).is_ok_and(|wide| by.contains(&wide.trunc())))
    };
    let both: BTreeSet<IpNet> =
        one.iter().filter(|net| held(net, &other)).chain(other.iter().filter(|net| held(net, &one))).copied().collect();
    both.into_iter().collect()
}

/// A node that is to leave for good by its own word, and how the audit log has that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedRetirement {
    /// Which.
    pub node: NodeId,
    /// Who asked.
    pub author: Author,
    /// For what, in the words of the entry by which it was asked.
    pub action: String,
    /// The number of that entry.
    pub asked: u64,
    /// Drawn by whoever proposes it, so that a retry adds nothing.
    pub batch: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parts_test::{any_info, any_policy};
    use crate::command::sample_test::node_info;

    fn nets(list: &[&str]) -> Option<Vec<IpNet>> {
        Some(list.iter().map(|net| net.parse().unwrap()).collect())
    }

    #[test]
    fn a_policy_holds_against_a_node_that_says_more() {
        let policy = NodePolicy {
            role: NodeRole::Scanner,
            region: Some("eu-central".into()),
            networks: nets(&["10.88.0.0/30"]),
            tags: Some(vec!["dmz".into()]),
            ..NodePolicy::default()
        };
        let says = NodeInfo {
            region: Some("other".into()),
            tags: vec!["dmz".into(), "core".into()],
            networks: nets(&["10.88.0.0/16", "192.168.0.0/16"]),
            role: NodeRole::Auto,
            ..node_info("n2")
        };
        let holds = policy.narrow(&says);
        assert_eq!((holds.role, holds.region.as_deref()), (NodeRole::Scanner, Some("eu-central")));
        assert_eq!((holds.tags, holds.networks), (vec!["dmz".to_owned()], nets(&["10.88.0.0/30"])));
        let apart = policy.narrow(&NodeInfo { networks: nets(&["172.16.0.0/12"]), ..says.clone() });
        assert_eq!(apart.networks, Some(Vec::new()), "what has nothing in common reaches nothing");
        let unsaid = policy.narrow(&NodeInfo { networks: None, ..says });
        assert_eq!(unsaid.networks, nets(&["10.88.0.0/30"]));
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_an_empty_value_lifts_a_limit() {
        let before = NodePolicy { region: Some("eu".into()), tags: Some(vec!["a".into()]), ..NodePolicy::default() };
        let change = PolicyChange { region: Some(String::new()), site: Some("fra1".into()), ..PolicyChange::default() };
        let after = before.changed(&change);
        assert_eq!((after.region, after.site.as_deref()), (None, Some("fra1")));
        assert_eq!(after.tags, before.tags);
    }

    proptest! {
        #[test]
        fn no_node_info_widens_a_policy(policy in any_policy(), info in any_info()) {
            let holds = policy.narrow(&info);
            prop_assert_eq!(&policy.narrow(&holds), &holds, "narrowing twice is narrowing once");
            if policy.role == NodeRole::Scanner {
                prop_assert_eq!(holds.role, NodeRole::Scanner);
            }
            if let Some(allowed) = &policy.networks {
                let reached = holds.networks.expect("a limit stays a limit");
                prop_assert!(reached.iter().all(|net| allowed.iter().any(|wide| wide.contains(net))));
                prop_assert!(info.networks.is_none_or(|own| reached.iter().all(|net| own.iter().any(|own| own.contains(net)))));
            }
            prop_assert!(policy.tags.is_none_or(|tags| holds.tags == tags));
            prop_assert!(policy.region.is_none_or(|region| holds.region == Some(region)));
        }
    }
}
