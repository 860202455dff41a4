//! Faults that are rehearsed, and a write that changes nothing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v1/cluster/nodes/{name}/fault`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// What the node is to suffer.
    pub fault: FaultKind,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// Of a cut: the names of the nodes that it is cut off from; all others where none is named.
    #[serde(default)]
    pub from: Vec<String>,
    /// Of a slow disk: how long each sync of the node's log waits before it begins, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// In how many milliseconds it begins: several nodes that are told one after the other suffer at once by it. In 100, where
    /// nothing is said.
    #[serde(default)]
    pub after_ms: u64,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The node's process ends as if killed, and begins anew.
    Kill,
    /// The node's mesh is cut.
    Cut,
    /// Each sync of the node's log waits before it begins.
    SlowDisk,
}

/// What is answered: the fault begins shortly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaultDocument {
    /// The node.
    pub name: String,
    /// In how many milliseconds it begins.
    pub begins_in_ms: u64,
    /// For how long it lasts, in milliseconds.
    pub for_ms: u64,
}

/// `GET /api/v1/cluster/empty-write`: a write that changes nothing went through a majority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EmptyWriteDocument {
    /// Its log index.
    pub index: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
