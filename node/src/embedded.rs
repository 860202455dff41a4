//! The node inside `pentora scan` as the command line sees it: how it is started, asked, suspended and resumed.
//!
//! `app` makes such a node, `cli` scans with it, and `dispatch` hands the one to the other, so that neither imports the
//! other. Not in here: what the node consists of (`app`), and the file that keeps a suspended scan (`cli`).

use std::collections::BTreeSet;

use bytes::Bytes;
use pentora_raft::Digest;
use pentora_raft::state::Counts;
use pentora_scanner::detect::RuleSet;
use pentora_scanner::finding::{HostRecord, NotProbedCounts};
use pentora_scanner::vendors::Vendors;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::document::{ScanAccepted, ScanRequest};
use crate::failure::Failure;
use crate::feeds::FeedStore;

/// How an embedded node differs from its defaults.
#[derive(Debug)]
pub struct EmbeddedOptions {
    /// The host's name, which becomes the node's.
    pub name: String,
    /// What services are matched with.
    pub feeds: Option<FeedStore>,
    /// By what services are known, where it is more than the program's own rules.
    pub rules: Option<RuleSet>,
    /// Whose network interfaces are, where it is not the system's registry that says so.
    pub vendors: Option<Vendors>,
}

/// A node inside this process.
pub trait EmbeddedNode {
    /// Asks it.
    fn client(&self) -> Client;

    /// Why it does not scan with raw packets, in a line for the user; `None` where it does.
    fn note(&self) -> Option<&str>;

    /// Ends a scan early and takes out what it has. The node takes no more work.
    ///
    /// # Errors
    /// The job is not there, or its chunks cannot be read: bugs, told in words.
    fn suspend(&self, job_id: &str) -> impl Future<Output = Result<Suspended, Failure>> + Send;

    /// The request with the hosts of whole IPv6 links in their place.
    ///
    /// # Errors
    /// A link that may not or cannot be asked.
    fn with_link_hosts(&self, request: ScanRequest) -> impl Future<Output = Result<ScanRequest, Failure>> + Send;

    /// Submits a scan of which `units` are finished; `spec` is that of the scan they were taken from.
    ///
    /// # Errors
    /// The request is refused, or is not the one that the units belong to.
    fn resume(
        &self,
        request: ScanRequest,
        spec: Digest,
        units: Vec<SavedUnit>,
    ) -> impl Future<Output = Result<ScanAccepted, Failure>> + Send;
}

/// A finished unit and its results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedUnit {
    /// Of which partition.
    pub partition: u32,
    /// Its first index.
    pub start: u64,
    /// The index after its last.
    pub end: u64,
    /// What it counts.
    pub counts: Counts,
    /// Its hosts, as a chunk: packed, so that those of a large scan are kept in the room that the node has for them already.
    pub chunk: Bytes,
}

/// What a suspended scan has.
#[derive(Debug)]
pub struct Suspended {
    /// What is scanned and in which order, by the digest of the spec.
    pub spec: Digest,
    /// What is finished.
    pub units: Vec<SavedUnit>,
    /// What was remarked on what is finished.
    pub remarks: SavedRemarks,
    /// Hosts that answered among the targets that are not finished; they will be asked again.
    pub unfinished: Vec<HostRecord>,
    /// Probes that were sent to targets that are not finished.
    pub unfinished_probes: u64,
}

/// What was remarked on finished units beside what they count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SavedRemarks {
    /// Targets that no probe reached, by reason.
    pub not_probed: NotProbedCounts,
    /// Lines for people.
    pub notes: BTreeSet<String>,
}
