//! What applying a command answers: what was done, or why nothing was.
//!
//! A refusal is an answer like any other, because applying never fails: every replica comes to the same one.

use serde::{Deserialize, Serialize};

use super::UnitKey;
use crate::id::{JobId, NodeId};
use crate::names::names;
use crate::state::Lease;

/// What applying a command answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Done, with nothing to say.
    Done,
    /// The node is in, under this id.
    Joined {
        /// Its id.
        node: NodeId,
    },
    /// The job is accepted, or was before under the same key.
    Submitted {
        /// Its id.
        job: JobId,
        /// Whether an earlier submission made it.
        existing: bool,
    },
    /// These leases were made.
    Granted {
        /// In the order of the grants that stood.
        leases: Vec<(UnitKey, Lease)>,
    },
    /// For each completion, whether it was counted (now, or before under the same epoch).
    Completed {
        /// In the order asked.
        accepted: Vec<bool>,
    },
    /// Not done; nothing changed.
    Refused(Refusal),
}

/// Why a command was refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The cluster began before.
    #[error("the cluster has begun already")]
    BegunAlready,
    /// No such token.
    #[error("the join token is not known to this cluster (revoked, or made by another one)")]
    TokenUnknown,
    /// The token's time is over.
    #[error("the join token expired; make a new one with `pentora coordinator worker-token create`")]
    TokenExpired,
    /// The token was used as often as it allows.
    #[error("the join token has been used already; make a new one with `pentora coordinator worker-token create`")]
    TokenUsed,
    /// The secret half is another.
    #[error("the join token's secret is wrong")]
    TokenSecretWrong,
    /// Another node has this name.
    #[error("a node named `{name}` (or with the same worker id) is in the cluster already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No such node.
    #[error("node {node} is not in the cluster")]
    NodeUnknown {
        /// Which.
        node: NodeId,
    },
    /// No such job.
    #[error("there is no {job}")]
    JobUnknown {
        /// Which.
        job: JobId,
    },
    /// The job has ended.
    #[error("{job} has ended already")]
    JobEnded {
        /// Which.
        job: JobId,
    },
    /// As many jobs wait as the cluster keeps.
    #[error("{limit} jobs wait or run already; wait for one to end, or cancel one")]
    QueueFull {
        /// The limit.
        limit: usize,
    },
    /// The command itself makes no sense; a bug of the proposer.
    #[error("the command is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
}

names! { Refusal, code, CODES:
    BegunAlready => "already_begun",
    TokenUnknown => "token_unknown",
    TokenExpired => "token_expired",
    TokenUsed => "token_used",
    TokenSecretWrong => "token_wrong",
    NameTaken => "name_taken",
    NodeUnknown => "node_unknown",
    JobUnknown => "job_unknown",
    JobEnded => "job_ended",
    QueueFull => "queue_full",
    Malformed => "malformed",
}
