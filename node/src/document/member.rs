//! What the cluster says of a node, and what taking one out comes to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `PATCH /api/v1/cluster/nodes/{name}`: what is absent stays; an empty text or list lifts a limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyRequest {
    /// `member` or `scanner`: the most it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The region it is in, in place of what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The site it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The networks it may scan, as prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Its tags, in place of what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Whether it comes and goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<bool>,
    /// Whether results may be kept on it for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeps_results: Option<bool>,
}

/// What `POST /api/v1/cluster/nodes/{name}/remove` did, or with `?plan=true` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovalDocument {
    /// The node's name.
    pub name: String,
    /// Its number, which is not used again.
    pub node_id: u64,
    /// Whether it is out; otherwise the leader is at it, or this is a plan.
    pub removed: bool,
    /// Who leads afterwards, where it led.
    #[serde(default)]
    pub hands_over_to: Option<String>,
    /// The voters before.
    pub voters: Vec<String>,
    /// The voters afterwards.
    pub voters_after: Vec<String>,
    /// Members that stay and do not vote because they are kept from it.
    #[serde(default)]
    pub kept_from_voting: Vec<String>,
    /// Units that others get.
    #[serde(default)]
    pub units_handed_back: u64,
    /// Results that only it keeps.
    #[serde(default)]
    pub results_only_there: u64,
}

/// `POST /api/v1/workers/{id}/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainRequest {
    /// Whether what it works on is given to others at once.
    pub hand_back: bool,
}
