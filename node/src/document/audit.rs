//! The audit log: its entries, and an export that can be verified without a node.

use pentora_raft::command::{AuditEntry, Author, Outcome};
use pentora_raft::state::AuditRecord;
use pentora_raft::{ClusterId, Digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::rfc3339;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditDocument {
    /// Its number, from 1 on.
    pub number: u64,
    /// When, RFC 3339.
    pub at: String,
    /// The same in unix milliseconds, as its digest has it.
    pub at_ms: u64,
    /// The name of the token that was shown; empty where none was known.
    pub who: String,
    /// The address that it came from, and through which node where another took it.
    pub from: String,
    /// The method and the path, without its query.
    pub action: String,
    /// On what, as far as the answer tells: names, ids, networks, roles, or the code of a problem; absent where it tells nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// `asked` (about to be carried out), `answered` or `refused`.
    pub outcome: String,
    /// Of what was answered: the number of the entry in which it was asked; 0 for a login or a download, which is noted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// The HTTP status of an answer or refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How often the same came of the same within a short time.
    pub times: u32,
    /// The digest of this entry and of all before it, in hexadecimal.
    pub digest: String,
}

impl AuditDocument {
    /// An entry of the log as a document.
    #[must_use]
    pub fn of(number: u64, record: &AuditRecord) -> Self {
        let AuditEntry { author, action, object, outcome, times } = &record.entry;
        let (word, asked, status) = match *outcome {
            Outcome::Asked => ("asked", None, None),
            Outcome::Answered { asked, status } => ("answered", Some(asked), Some(status)),
            Outcome::Refused { status } => ("refused", None, Some(status)),
        };
        Self {
            number,
            at: rfc3339(record.at_ms),
            at_ms: record.at_ms,
            who: author.who.clone(),
            from: author.from.clone(),
            action: action.clone(),
            object: object.clone(),
            outcome: word.to_owned(),
            asked,
            status,
            times: *times,
            digest: hex::encode(record.digest.0),
        }
    }

    /// The entry that its digest is of; `None` where its outcome is none that this release knows.
    #[must_use]
    pub fn entry(&self) -> Option<AuditEntry> {
        let outcome = match (self.outcome.as_str(), self.asked, self.status) {
            ("asked", None, None) => Outcome::Asked,
            ("answered", Some(asked), Some(status)) => Outcome::Answered { asked, status },
            ("refused", None, Some(status)) => Outcome::Refused { status },
            _ => return None,
        };
        let author = Author { who: self.who.clone(), from: self.from.clone() };
        let (action, object) = (self.action.clone(), self.object.clone());
        Some(AuditEntry { author, action, object, outcome, times: self.times })
    }
}

/// A line of an export (`GET /api/v1/audit/export`): where it begins, its entries in their order, and the signed end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditLine {
    /// The first line.
    Begin {
        /// Which cluster, in hexadecimal.
        cluster: String,
        /// The clusters of which it is what was kept, the last one first: their entries come before its own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<String>,
        /// How many of the first entries are not kept any more.
        gone: u64,
        /// The digest of the last of those, in hexadecimal.
        gone_digest: String,
    },
    /// An entry.
    Entry(AuditDocument),
    /// The last line.
    End {
        /// The number of the last entry.
        last: u64,
        /// Its digest, in hexadecimal.
        digest: String,
        /// The key of the node that signs.
        signer: String,
        /// Its signature over what [`end_statement`] makes of this line and the first one, in hexadecimal.
        signature: String,
    },
}

/// What the signature at the end of an export is of: the cluster's id and those of the ones before it, the number and digest before the first
/// entry, and those of the last one. Ids are ids here and no texts, each of 32 digits: so a statement can be read in one way only.
#[must_use]
pub fn end_statement(
    (cluster, before): (ClusterId, &[ClusterId]),
    (gone, gone_digest): (u64, &Digest),
    (last, digest): (u64, &Digest),
) -> Vec<u8> {
    let clusters = before.iter().fold(cluster.to_string(), |all, before| format!("{all},{before}"));
    let head = format!("pentora audit export {clusters} {gone} {last} ");
    [head.as_bytes(), &gone_digest.0, &digest.0].concat()
}

/// Where the audit log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// The number of the last entry.
    pub last: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
}
